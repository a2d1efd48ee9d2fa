"""How the jobs of a map fare: a state machine without any I/O. Events in, states out."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

import attrs

from wingspan.jobs import Submission
from wingspan.pools import JobEvent, JobState

__all__ = ["Job", "Jobs"]


@attrs.define
class Job:
    """One worker's job.

    Attributes:
        worker: Its number in the map.
        pool: Kind of the pool it is in.
        cluster: The submission that it belongs to.
        state: What it is now.
        started: It has been running at least once.
        code: Exit code or hold reason code.
        reason: Why it is held or removed.
        signal: Signal that ended it.
        host: Where it runs.
        evictions: How often it was sent off its machine.
        since: When it last changed (Unix time).
        held_by_person: It is held because a person wanted that.
        exceeded: Of which of its requests it took more, ``"memory"`` for instance, and was ended for it.
    """

    worker: int
    pool: str
    cluster: str = ""
    state: JobState = JobState.IDLE
    started: bool = False
    code: int | None = None
    reason: str | None = None
    signal: int | None = None
    host: str | None = None
    evictions: int = 0
    since: float = 0.0
    held_by_person: bool = False
    exceeded: str | None = None


class Jobs:
    """All jobs of one map."""

    def __init__(self) -> None:
        self.by_worker: dict[int, Job] = {}
        #: By pool, submission and number in that: two schedulers may both count from 1.
        self._by_id: dict[tuple[str, str, int], Job] = {}
        self._pools: dict[str, None] = {}
        self._early: list[tuple[JobEvent, str | None]] = []

    def add(self, submission: Submission, first: int) -> None:
        """Jobs were submitted; their workers are numbered from `first`."""
        pool, cluster = submission.pool, submission.cluster
        self._pools[pool] = None
        for process in range(submission.count):
            if (pool, cluster, process) not in self._by_id:
                job = Job(worker=first + process, pool=pool, cluster=cluster)
                self._by_id[(pool, cluster, process)] = self.by_worker[job.worker] = job
        # A job's first events may be read before its submitter has written down the submission.
        early, self._early = self._early, []
        for event, told_by in early:
            self.apply(event, told_by)

    def apply(self, event: JobEvent, pool: str | None = None) -> bool:
        """Take in an event; True if anything is different now. Events of unknown jobs wait for `add`.

        Args:
            event: What happened.
            pool: Kind of the pool that tells it; None: the job may be in any.
        """
        pools = list(self._pools) if pool is None else [pool]
        if event.proc < 0:
            jobs = [
                job
                for (kind, cluster, _), job in self._by_id.items()
                if cluster == event.cluster and kind in pools and not job.state.is_final
            ]
        else:
            ids = ((kind, event.cluster, event.proc) for kind in pools)
            job = next((self._by_id[one] for one in ids if one in self._by_id), None)
            if job is None:
                self._early.append((event, pool))
                return False
            jobs = [job]
        changed = [self._change(job, event) for job in jobs]
        return any(changed)

    def _change(self, job: Job, event: JobEvent) -> bool:
        if event.begins and job.state is event.state is JobState.RUNNING and event.time > job.since:
            # The job begins again, and nothing has told of its end: so it is with jobs that Slurm kills and
            # starts again.
            job.evictions, job.since = job.evictions + 1, event.time
        if job.state.is_final or (
            job.state is event.state
            and (job.code, job.reason, job.signal) == (event.code, event.reason, event.signal)
        ):
            return False
        if job.state is JobState.RUNNING and event.state is JobState.IDLE:
            job.evictions += 1
        job.state, job.since = event.state, event.time
        job.started = job.started or event.state is JobState.RUNNING
        job.code, job.reason, job.signal = event.code, event.reason, event.signal
        job.held_by_person = event.by_person
        job.exceeded = event.exceeded or job.exceeded
        job.host = event.host or job.host
        return True

    def apply_all(self, events: Iterable[JobEvent], pool: str | None = None) -> bool:
        """Take in several events, all told by one pool."""
        changed = [self.apply(event, pool) for event in events]
        return any(changed)

    def counts(self) -> Counter[JobState]:
        """How many jobs are in each state."""
        return Counter(job.state for job in self.by_worker.values())

    def live(self) -> list[Job]:
        """Jobs that are in the queue or running."""
        return [job for job in self.by_worker.values() if not job.state.is_final]

    @property
    def can_progress(self) -> bool:
        """Some job runs, or waits to run."""
        return any(job.state is not JobState.HELD for job in self.live())

    @property
    def held(self) -> list[Job]:
        """Jobs that are held."""
        return [job for job in self.by_worker.values() if job.state is JobState.HELD]

    @property
    def removed(self) -> list[Job]:
        """Jobs that were removed from the queue before they ended."""
        return [job for job in self.by_worker.values() if job.state is JobState.REMOVED]
