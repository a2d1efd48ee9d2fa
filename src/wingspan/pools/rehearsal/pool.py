"""A pool whose workers have nothing of this machine: it describes the jobs that are rehearsed."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from wingspan.errors import PoolError
from wingspan.jobs import JobDescription, Submission
from wingspan.pools._base import Action, JobWatcher, PlainPool, Pool
from wingspan.pools.htcondor import HTCondorPool
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["RehearsalPool", "engine_for"]


def _never(*_: object, **__: object) -> NoReturn:
    raise PoolError("a rehearsal executes its job itself", hint="name a pool of jobs")


class RehearsalPool(PlainPool):
    """Jobs get a folder with the files that are sent, as with HTCondor. A map's folder they reach by path."""

    kind = "rehearsal"
    shares_files = False
    runs_here = True
    moves_files = True
    fetches_urls = True
    container_universe = True
    takes_requirements = True
    sends_mail = True
    own = True

    def title(self) -> str:
        return "a rehearsal on this machine"

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        """As on a site's HTCondor: whatever Python of our version the machine has."""
        return HTCondorPool().launch()

    def make_ready(self, progress: Progress = NO_PROGRESS) -> None:
        """There is nothing to start."""

    def default_workers(self, count: int) -> int:
        return 1

    def gpus(self) -> NoReturn:
        _never()

    def submit(self, job: JobDescription) -> Submission:
        _never()

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        """Nothing was submitted."""

    def find(self, folder: Path, *, ask: bool) -> list[tuple[Submission, str]]:
        return []

    def watch(self, submissions: Sequence[Submission], folder: Path) -> JobWatcher:
        _never()


def engine_for(pool: Pool | None) -> Pool:
    """The pool in whose words a job is described that is rehearsed for `pool`.

    Machines that see the file systems of this one get nothing sent. On this machine itself a rehearsal is
    about other machines, which do not.
    """
    return pool if pool is not None and pool.shares_files and not pool.runs_here else RehearsalPool()
