"""How the workers of maps fare on this machine: their locks tell (see `wingspan.pools.local`)."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from pathlib import Path

import attrs

from wingspan._files import JsonLog
from wingspan.jobs import Submission
from wingspan.pools._base import JobEvent, JobState
from wingspan.pools.local_job import is_alive

__all__ = ["LocalWatcher", "removed_jobs"]


def removed_jobs(folder: Path) -> JsonLog:
    """Which submissions of the map in `folder` somebody has removed, and why: no lock tells that."""
    return JsonLog(folder / "workers" / "removed")


@attrs.define(eq=False, repr=False)
class LocalWatcher:
    """Looks at the locks, seldom: a worker that is alive is usually still alive a moment later."""

    submissions: list[Submission]
    folder: Path
    _known: dict[tuple[str, int], JobState] = attrs.field(factory=dict)
    _next_look: float = 0.0
    _early: list[JobEvent] = attrs.field(factory=list)

    #: Seconds between two looks at the locks.
    INTERVAL = 0.05

    def take_for_alive(self) -> None:
        """The workers were started this moment: they are alive, and the first look can wait."""
        self._next_look = time.monotonic() + self.INTERVAL
        self._early = [
            JobEvent(cluster=submission.cluster, proc=process, state=JobState.RUNNING, time=time.time())
            for submission in self.submissions
            for process in range(submission.count)
        ]

    def poll(self) -> Iterable[JobEvent]:
        if self._early:
            early, self._early = self._early, []
            return early
        now = time.monotonic()
        if now < self._next_look:
            return ()
        self._next_look = now + self.INTERVAL
        return self.ask()

    def ask(self) -> Iterable[JobEvent]:
        held = (self.folder / "held").exists()
        alive: dict[tuple[str, int], int] = {}
        for path in (self.folder / "workers").glob("*.run"):
            if is_alive(path):
                try:
                    facts = json.loads(path.read_bytes())
                except (FileNotFoundError, ValueError):
                    continue  # it is being started this moment, or the map is removed
                alive[(facts["cluster"], facts["proc"])] = facts["pid"]
        removed = {
            str(entry.get("cluster")): str(entry.get("reason", ""))
            for entry in removed_jobs(self.folder).entries()
        }
        events = []
        for submission in self.submissions:
            for process in range(submission.count):
                job = (submission.cluster, process)
                before = self._known.get(job, JobState.RUNNING)
                if job in alive:
                    state = JobState.RUNNING
                elif submission.cluster in removed:
                    state = JobState.REMOVED
                elif held:
                    state = JobState.HELD
                else:
                    state = JobState.COMPLETED
                if state != before or job not in self._known:
                    self._known[job] = state
                    is_held = state is JobState.HELD
                    events.append(
                        JobEvent(
                            cluster=job[0],
                            proc=job[1],
                            state=state,
                            time=time.time(),
                            reason="held by its owner" if is_held else removed.get(job[0]),
                            by_person=is_held,
                        )
                    )
        return events

    def close(self) -> None:
        pass
