"""Naming an environment, without reading anything yet."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from wingspan.environments.lock import LockedEnvironment

__all__ = ["Environment"]


@attrs.frozen
class Environment:
    """Names the environment that a map or a run executes in.

    Args:
        workspace: Folder, manifest or lock.
        name: Environment name.
        platform: Platform name of the manifest or the lock; None: chosen as `load_environment` says.
        kind: Bundle kind (``"squashfs"``, ``"sif"``, ``"oci"``, ``"pack"``, ``"install"``) or None: by pool.
        frozen: Use the lock without comparing it with the manifest.

    >>> Environment("analysis", "gpu", "linux-64")
    Environment(workspace=PosixPath('analysis'), name='gpu', platform='linux-64', kind=None, frozen=False)
    """

    workspace: Path = attrs.field(converter=Path, default=Path())
    name: str = "default"
    platform: str | None = None
    kind: str | None = None
    frozen: bool = False

    def load(self, *, gpus: bool = False) -> LockedEnvironment:
        """Read it; see `load_environment`.

        Raises:
            UnknownPlatform: Its platform is none of Linux: no job can execute in it.
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
        return found
