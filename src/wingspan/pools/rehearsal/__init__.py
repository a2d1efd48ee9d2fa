"""A job is executed on this machine as a worker would see it, before it is submitted.

sandbox.py   what the job sees, and how the rest is hidden     sandbox.sh    the same by namespaces
execution.py the job in it, its limits and measures            advice.py     what it missed and what is here
pool.py      what a worker is, for the job's description       result.py     what is told, and the folder
"""

from __future__ import annotations

from wingspan.pools.rehearsal.advice import Here, missed
from wingspan.pools.rehearsal.execution import Execution, execute
from wingspan.pools.rehearsal.pool import RehearsalPool, engine_for
from wingspan.pools.rehearsal.result import Rehearsal, RehearsalFailed, printed_by, rehearsal_folder
from wingspan.pools.rehearsal.sandbox import WAYS, Sandbox, find_sandbox

__all__ = [
    "WAYS",
    "Execution",
    "Here",
    "Rehearsal",
    "RehearsalFailed",
    "RehearsalPool",
    "Sandbox",
    "engine_for",
    "execute",
    "find_sandbox",
    "missed",
    "printed_by",
    "rehearsal_folder",
]
