"""A real HTCondor of one's own on this machine: obtained without root, started, found again, stopped."""

from __future__ import annotations

from wingspan._lazy import lazy_names

# The same as `typing.TYPE_CHECKING`; importing `typing` would cost more than everything else here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from wingspan.pools.personal.errors import (
        InstallationError,
        PoolDidNotStart,
        PoolNotRunning,
        SourceError,
    )
    from wingspan.pools.personal.installation import Installation, install
    from wingspan.pools.personal.pool import PersonalPool
    from wingspan.pools.personal.state import PersonalPoolStatus
    from wingspan.pools.personal.tenants import Tenant

__all__ = [
    "Installation",
    "InstallationError",
    "PersonalPool",
    "PersonalPoolStatus",
    "PoolDidNotStart",
    "PoolNotRunning",
    "SourceError",
    "Tenant",
    "install",
]

if not TYPE_CHECKING:  # a checker would take any name for one that is there
    __getattr__ = lazy_names(
        globals(),
        {
            **dict.fromkeys(__all__, ".errors"),
            **dict.fromkeys(("Installation", "install"), ".installation"),
            "PersonalPool": ".pool",
            "PersonalPoolStatus": ".state",
            "Tenant": ".tenants",
        },
    )
