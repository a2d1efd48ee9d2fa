"""Engines that execute jobs, and which of them is used."""

from wingspan.pools._base import Action, JobEvent, JobState, JobWatcher, Pool
from wingspan.pools._explain import Candidate, explain_choice
from wingspan.pools._select import Choice, choose_pool, get_pool

__all__ = [
    "Action",
    "Candidate",
    "Choice",
    "JobEvent",
    "JobState",
    "JobWatcher",
    "Pool",
    "choose_pool",
    "explain_choice",
    "get_pool",
]
