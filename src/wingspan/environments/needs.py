"""What a machine must have to run a locked environment."""

from __future__ import annotations

from typing import Any

import attrs

from wingspan.environments.lock import LockedEnvironment

__all__ = ["Needs", "derive_needs"]


@attrs.frozen(kw_only=True)
class Needs:
    """What a machine must have; None means that nothing is asked, or that it is unknown (then a warning says so).

    Attributes:
        platform: Subdir: ``"linux-64"``.
        glibc_min: ``"2.28"``.
        cuda_runtime_min: ``"12.0"``: HTCondor's ``gpus_minimum_runtime``. None: no CUDA in it.
        gpu_capability_min: ``"7.5"``: ``gpus_minimum_capability``.
        gpu_capability_max: ``"9.9"``: ``gpus_maximum_capability``; None: later GPUs run it from PTX.
        download_bytes: Sum of the archive sizes that the lock has.
        installed_bytes: Measured where packages are in a cache, else estimated (a warning says so).
        python: ``"3.12"``.
        warnings: What a person should know, one sentence each.
    """

    platform: str
    glibc_min: str | None = None
    cuda_runtime_min: str | None = None
    gpu_capability_min: str | None = None
    gpu_capability_max: str | None = None
    download_bytes: int = 0
    installed_bytes: int = 0
    python: str | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The attributes under their names; `warnings` as a list."""
        return {**attrs.asdict(self), "warnings": list(self.warnings)}


def derive_needs(env: LockedEnvironment, *, strict_ptx: bool = False) -> Needs:
    """Derive the needs from the lock, and from package archives where a cache or a local channel has them.

    Args:
        env: The environment.
        strict_ptx: For code that compiles PTX at run time: ask for the toolkit's minor version of the CUDA runtime too
            (12.9 instead of 12.0).
    """
    raise NotImplementedError
