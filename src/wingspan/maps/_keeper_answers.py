"""What a map's state machine answers: whether its workers refuse, never began, or make no progress."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wingspan.maps import _keeper_events as ev
from wingspan.maps._components import Components, WorkerStart
from wingspan.maps._jobs import Job, Jobs
from wingspan.maps._lines import found_closed
from wingspan.pools import JobState
from wingspan.pools.submissions import LoggedSubmission

__all__ = ["Answers"]

#: When so many workers refuse and none has succeeded, the user is told.
TELLING_REFUSALS = 3
#: Workers in good order write a record at least this often (s).
SILENT_SECONDS = 20.0


class Answers:
    """The part of a `wingspan.maps._keeper_state.KeeperState` that answers questions, and changes nothing."""

    components: Components
    jobs: Jobs
    entries: Sequence[LoggedSubmission]
    last_news: float

    @property
    def finished(self) -> bool:
        raise NotImplementedError

    @property
    def removed(self) -> list[Job]:
        raise NotImplementedError

    def refusal(self) -> ev.Refused | None:
        """The newest workers have refused, and no worker is expected that could do better."""
        first = self.entries[-1].first if self.entries else 0
        newest = [start for start in self.components.newest_starts() if start.number >= first]
        refused = [start for start in newest if start.refused is not None]
        if not refused or any(start.productive for start in newest):
            return None
        if len(refused) < TELLING_REFUSALS and self.jobs.can_progress:
            return None
        return ev.Refused(refused[-1], len(refused))

    def never_began(self) -> int | None:
        """All workers have ended, and the newest ones without a sign of life: the first of these."""
        if self.finished or not self.entries or self.entries[-1].external or self.jobs.live() or self.removed:
            return None
        if found_closed(self.jobs) and not self.entries[-1].way:
            return None  # others, which need no line, take their place
        workers = self.entries[-1].numbers
        if any(self._starts_of(worker) for worker in workers) or workers[0] not in self.jobs.by_worker:
            return None
        return workers[0]

    def at_work(self, stopped: Iterable[str]) -> set[int]:
        """Components that workers are at, as far as they have said so; not those in `stopped` pools."""
        return {
            start.component
            for start in self.components.newest_starts()
            if start.component is not None
            and (job := self.jobs.by_worker.get(start.number)) is not None
            and job.state is JobState.RUNNING
            and job.pool not in stopped
        }

    def questions(self, now: float) -> list[ev.Explain]:
        """Instructions to ask pools why jobs make no progress, where it looks that way."""
        if self.finished:
            return []
        live, asked = self.jobs.live(), []
        for kind in dict.fromkeys(job.pool for job in live):
            jobs = [job for job in live if job.pool == kind]
            fails = any(job.evictions for job in jobs)
            at_work = any(job.state is JobState.RUNNING and self._starts_of(job.worker) for job in jobs)
            if at_work and not fails and now - self.last_news < SILENT_SECONDS:
                continue
            moved = [job.since for job in jobs] + [entry.time for entry in self.entries if entry.pool == kind]
            asked.append(ev.Explain(kind, 0.0 if fails else max(moved, default=0.0)))
        return asked

    def _starts_of(self, worker: int) -> list[WorkerStart]:
        return self.components.starts_of.get(worker, [])
