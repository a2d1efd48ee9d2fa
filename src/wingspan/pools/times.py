"""When the jobs of a map or a run waited and ran, from the event logs of their pools."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator
from pathlib import Path

from wingspan.errors import PoolError
from wingspan.pools._base import JobEvent
from wingspan.pools._select import get_pool
from wingspan.pools.submissions import LoggedSubmission
from wingspan.views._spans import Ran, times_it_ran

__all__ = ["times_of_jobs"]


def times_of_jobs(
    submissions: Iterable[LoggedSubmission], folder: Path
) -> Iterator[tuple[int, LoggedSubmission, list[Ran]]]:
    """For each job its number in the map or run, its submission, and the times that it ran.

    Args:
        submissions: Which jobs.
        folder: Of the map or run.
    """
    for submission in submissions:
        events: list[JobEvent] = []
        # Where the log cannot be read, the jobs are those that have not run yet.
        with contextlib.suppress(PoolError, OSError):
            watcher = get_pool(submission.pool, submission.place).watch([submission], folder)
            events = list(watcher.poll())
            watcher.close()
        for process, number in enumerate(submission.numbers):
            own = [
                (event.time, event.state.value, event.host) for event in events if event.proc in (process, -1)
            ]
            yield number, submission, times_it_ran(submission.time, own)
