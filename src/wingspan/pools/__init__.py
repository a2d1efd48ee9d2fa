"""Engines that execute jobs, and which of them is used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan._lazy import lazy_names
from wingspan.pools._base import Action, Changed, JobEvent, JobState, JobWatcher, Pool
from wingspan.pools._select import (
    Choice,
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

if TYPE_CHECKING:
    from wingspan.pools._explain import Candidate, explain_choice

__all__ = [
    "Action",
    "Candidate",
    "Changed",
    "Choice",
    "JobEvent",
    "JobState",
    "JobWatcher",
    "Pool",
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

if not TYPE_CHECKING:  # a checker would take any name for one that is there
    __getattr__ = lazy_names(globals(), dict.fromkeys(("Candidate", "explain_choice"), "._explain"))
