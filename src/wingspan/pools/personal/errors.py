"""What can go wrong with the personal pool."""

from __future__ import annotations

from wingspan.errors import PoolError, PoolUnavailable

__all__ = ["InstallationError", "PoolDidNotStart", "PoolNotRunning", "SourceError"]


class InstallationError(PoolError):
    """HTCondor could not be obtained from any source; the message lists what each one said."""


class SourceError(PoolError):
    """One source of HTCondor failed. Caught and remembered while others are left to try."""


class PoolDidNotStart(PoolUnavailable):
    """The daemons were started and did not become ready."""


class PoolNotRunning(PoolUnavailable):
    """The personal pool is not running."""
