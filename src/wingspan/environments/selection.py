"""Naming an environment, without reading anything yet."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from wingspan.environments.lock import LockedEnvironment

__all__ = ["Environment"]


def _paths(given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[Path, ...]:
    """One path, or several."""
    return (Path(given),) if isinstance(given, (str, os.PathLike)) else tuple(map(Path, given))


@attrs.frozen
class Environment:
    """Names the environment that a map or a run executes in.

    Args:
        workspace: Folder, manifest or lock.
        name: Environment name.
        platform: Platform name of the manifest or the lock; None: chosen as `load_environment` says.
        kind: Bundle kind (``"squashfs"``, ``"sif"``, ``"oci"``, ``"pack"``, ``"install"``) or None: by pool.
        frozen: Use the lock without comparing it with the manifest.
        inject: Wheels of one's own that go into it as well.

    >>> Environment("analysis", "gpu").name
    'gpu'
    """

    workspace: Path = attrs.field(converter=Path, default=Path())
    name: str = "default"
    platform: str | None = None
    kind: str | None = None
    frozen: bool = False
    inject: tuple[Path, ...] = attrs.field(converter=_paths, default=())

    def load(self, *, gpus: bool = False) -> LockedEnvironment:
        """Read it; see `load_environment`.

        Raises:
            UnknownPlatform: Its platform is none of Linux: no job can execute in it.
            InvalidWheel: A wheel cannot go into it.
        """
        from wingspan.environments.errors import UnknownPlatform
        from wingspan.environments.workspace import Workspace

        workspace = Workspace.open(self.workspace)
        found = workspace.load(self.name, self.platform, gpus=gpus, check_lock=not self.frozen)
        if not found.platform.subdir.startswith("linux-"):
            linux = [p.label for p in workspace.platforms(self.name) if p.subdir.startswith("linux-")]
            raise UnknownPlatform(
                f"environment {self.name!r} on {found.platform} cannot be where jobs execute: workers are Linux machines",
                hint=f"leave the platform out, or name {' or '.join(linux)}"
                if linux
                else "pixi workspace platform add linux-64",
            )
        if self.inject:
            from wingspan.environments.inject import inject_wheels

            found = inject_wheels(found, self.inject)
        return found
