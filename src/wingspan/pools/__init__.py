"""Engines that execute jobs, and which of them is used."""

from __future__ import annotations

from wingspan._lazy import lazy_names

# The same as `typing.TYPE_CHECKING`; importing `typing` would cost more than everything else here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from wingspan.pools._base import Action, Changed, JobEvent, JobState, JobWatcher, PlainPool, Pool
    from wingspan.pools._explain import Candidate, explain_choice
    from wingspan.pools._select import (
        Choice,
        check_kind,
        choose_pool,
        get_pool,
        is_kind,
        personal_pool,
        pool_at,
        pool_kinds,
        refuse_computation_here,
        register,
        site_pool,
    )

__all__ = [
    "Action",
    "Candidate",
    "Changed",
    "Choice",
    "JobEvent",
    "JobState",
    "JobWatcher",
    "PlainPool",
    "Pool",
    "check_kind",
    "choose_pool",
    "explain_choice",
    "get_pool",
    "is_kind",
    "personal_pool",
    "pool_at",
    "pool_kinds",
    "refuse_computation_here",
    "register",
    "site_pool",
]

_HOMES = {
    **dict.fromkeys(
        ("Action", "Changed", "JobEvent", "JobState", "JobWatcher", "PlainPool", "Pool"), "._base"
    ),
    **dict.fromkeys(("Candidate", "explain_choice"), "._explain"),
}

if not TYPE_CHECKING:  # a checker would take any name for one that is there
    # A local run's own program is in this package and needs nothing of it.
    __getattr__ = lazy_names(globals(), {**dict.fromkeys(__all__, "._select"), **_HOMES})
