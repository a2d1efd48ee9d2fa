"""A summary of a workspace."""

from __future__ import annotations

from typing import Any

import attrs

from wingspan.environments.cuda import find_cuda
from wingspan.environments.errors import UnknownPlatform, nearest
from wingspan.environments.freshness import Mismatch
from wingspan.environments.lock import LockedEnvironment
from wingspan.environments.platforms import choose_platform
from wingspan.environments.workspace import Workspace

__all__ = ["EnvironmentSummary", "summarize"]


@attrs.frozen(kw_only=True)
class EnvironmentSummary:
    """One (environment, platform).

    Attributes:
        environment: It.
        default: Whether this platform is chosen if none is named.
        cuda: Version of the CUDA that packages were built for, or None.
        mismatches: Why its lock is outdated; empty if it is fresh.
    """

    environment: LockedEnvironment
    default: bool
    cuda: str | None
    mismatches: tuple[Mismatch, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``wingspan env show --json`` prints them."""
        env = self.environment
        return {
            "environment": env.name,
            "platform": env.platform.label,
            "lock_platform": env.platform.name,
            "subdir": env.platform.subdir,
            "virtual_packages": list(env.platform.virtual_packages),
            "default_platform": self.default,
            "conda_packages": len(env.conda_packages),
            "pypi_packages": len(env.pypi_packages),
            "download_bytes": env.download_bytes,
            "python": env.python,
            "cuda": self.cuda,
            "digest": env.digest,
            "outdated": [str(m) for m in self.mismatches],
        }


def summarize(
    workspace: Workspace, *, environment: str | None = None, platform: str | None = None
) -> tuple[EnvironmentSummary, ...]:
    """All environments of a workspace with the platforms of each, or only the named ones.

    Raises:
        UnknownEnvironment, UnknownPlatform: There is none of that name.
    """
    found = []
    labels: set[str] = set()
    for name in workspace.environments if environment is None else (environment,):
        platforms = workspace.platforms(name)
        labels.update(p.label for p in platforms)
        try:
            default = choose_platform(platforms, ordered=workspace.manifest is not None).name
        except UnknownPlatform:
            default = None
        for one in platforms:
            if platform is not None and platform not in {one.label, one.name, one.subdir}:
                continue
            env = workspace.load(name, one.name, check_lock=False)
            cuda = find_cuda(env)
            found.append(
                EnvironmentSummary(
                    environment=env,
                    default=one.name == default,
                    cuda=(cuda.version or str(cuda.major)) if cuda.users and cuda.major else None,
                    mismatches=workspace.mismatches(env),
                )
            )
    if not found and platform is not None:
        raise UnknownPlatform(
            f"{workspace.lock_path} is not locked for platform {platform!r}",
            hint=nearest(platform, sorted(labels)),
        )
    return tuple(found)
