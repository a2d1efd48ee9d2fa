"""A Pixi workspace: manifest and lock together, and the selection of one environment in it."""

from __future__ import annotations

import os
from pathlib import Path

import attrs

from wingspan.environments.lock import LockedEnvironment

__all__ = ["Environment", "Workspace", "load_environment"]


@attrs.frozen
class Environment:
    """Names the environment that a map or run executes in.

    Args:
        workspace: Folder, manifest or lock.
        name: Environment name.
        platform: Platform name of the manifest or the lock; None: chosen by `load_environment`.
        kind: Bundle kind to use (``"squashfs"``, ``"sif"``, ``"oci"``, ``"pack"``, ``"install"``); None: chosen by the pool.
    """

    workspace: Path = attrs.field(converter=Path)
    name: str = "default"
    platform: str | None = None
    kind: str | None = None

    def load(self, *, gpus: bool = False) -> LockedEnvironment:
        """Read it; see `load_environment`."""
        return load_environment(self.workspace, self.name, self.platform, gpus=gpus)


def load_environment(
    manifest_or_lock: str | os.PathLike[str],
    environment: str = "default",
    platform: str | None = None,
    *,
    gpus: bool = False,
    check_lock: bool = True,
) -> LockedEnvironment:
    """Read one environment of a lock.

    Args:
        manifest_or_lock: ``pixi.toml``, ``pyproject.toml``, ``pixi.lock`` or the folder that has them.
        environment: Environment name.
        platform: Name of a platform in the manifest or the lock, or a subdir that only one platform has.
            None: the platform of this machine's architecture on Linux whose virtual packages fit `gpus`.
        gpus: Whether GPUs are wanted: chooses the platform with ``__cuda``.
        check_lock: Compare the manifest with the lock first.

    Raises:
        ManifestError, LockError, UnknownEnvironment, UnknownPlatform: see `wingspan.environments.errors`.
    """
    raise NotImplementedError


class Workspace:
    """A manifest and the lock beside it."""

    @classmethod
    def open(cls, path: str | os.PathLike[str] = ".") -> Workspace:
        """Open the workspace at `path`: a folder (parents are searched too), a manifest or a lock."""
        raise NotImplementedError
