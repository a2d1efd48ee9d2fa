"""Workers that cannot reach their map: chirp is switched off on their machines. No file is read here."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from wingspan.maps import _keeper_events as ev
from wingspan.maps._components import Components, WorkerStart
from wingspan.maps._jobs import Job, Jobs
from wingspan.pools import JobState
from wingspan.pools.submissions import LoggedSubmission
from wingspan.worker import rounds
from wingspan.worker.one_map import EXIT_NO_LINE

__all__ = ["Lines", "found_closed", "has_deaf_workers", "left_open"]


def found_closed(jobs: Jobs) -> bool:
    """Some worker has found chirp switched off."""
    return any(map(_found_no_line, jobs.by_worker.values()))


def _found_no_line(job: Job) -> bool:
    return job.code == EXIT_NO_LINE and job.state is JobState.COMPLETED


def has_deaf_workers(jobs: Jobs, entries: Sequence[LoggedSubmission]) -> bool:
    """Workers with shares are in the queue or at work."""
    shared = {_jobs_of(entry) for entry in entries if entry.way == "transfer"}
    return any(_jobs_of(job) in shared for job in jobs.live())


def _jobs_of(one: Job | LoggedSubmission) -> tuple[str, str]:
    """What identifies a submission: two schedulers may use the same number."""
    return one.pool, one.cluster


def left_open(job: Job, starts: Sequence[WorkerStart], entries: Sequence[LoggedSubmission]) -> frozenset[str]:
    """Names in which a worker that is gone may have claimed what it has not finished."""
    names = {start.name for start in starts if not start.left}
    if any(entry.way == "transfer" and _jobs_of(entry) == _jobs_of(job) for entry in entries):
        # Its share was claimed for its first start, and it has said nothing if it was never started. A start
        # that kept what it had ended in order, and another one went on with the share.
        newest = max(starts, key=lambda start: int(start.name.rpartition(".")[2]), default=None)
        if newest is not None and newest.left:
            return frozenset()
        return frozenset({*names, f"{job.worker}.0"})
    return frozenset(names)


class Lines:
    """What is to be done about workers that cannot reach their map."""

    def __init__(self) -> None:
        self._rounds_shared = 0

    def due(
        self,
        known: Components,
        entries: Sequence[LoggedSubmission],
        jobs: Jobs,
        starts_of: Callable[[int], Sequence[WorkerStart]],
    ) -> Iterator[ev.Instruction]:
        """What is due now, while jobs are in the queue or at work.

        Args:
            known: What is known of the components.
            entries: All submissions.
            jobs: How the jobs fare.
            starts_of: The starts of a worker.
        """
        shared = {_jobs_of(entry) for entry in entries if entry.way == "transfer"}
        live = jobs.live()
        with_share = [job for job in live if _jobs_of(job) in shared]
        closed = {job.pool for job in jobs.by_worker.values() if _found_no_line(job)}
        if closed:
            ours = {
                _jobs_of(entry)
                for entry in entries
                if entry.pool in closed and not entry.way and not entry.external
            }
            waiting = [job for job in live if _jobs_of(job) in ours]
            if waiting and not any(starts_of(job.worker) for job in waiting):
                # None of them reaches the map: those that wait would not, either.
                if not any(job for job in live if job not in waiting):
                    yield ev.ReadClaims(None, rounds.REPAIR)
                    yield ev.Submit()
                taken = {_jobs_of(job) for job in waiting}
                gone = tuple(entry for entry in entries if _jobs_of(entry) in taken)
                yield ev.Act("remove", gone, "chirp is switched off on the machines of this pool")
        if with_share:
            # These see no round that is published now: others are given what it does.
            if known.retryable:
                yield ev.ReadClaims(None, rounds.RESUME)
            if self._rounds_shared != len(known.plans):
                self._rounds_shared = len(known.plans)
                yield ev.Submit()
