"""A real HTCondor of one's own on this machine: obtained without root, started, found again, stopped."""

from wingspan.pools.personal.errors import InstallationError, PoolDidNotStart, PoolNotRunning, SourceError
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
