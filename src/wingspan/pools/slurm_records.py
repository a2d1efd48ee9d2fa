"""What Slurm's jobs write about themselves: a record for each task, in the folder ``slurm``."""

from __future__ import annotations

import contextlib
import json
import math
import os
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import attrs

from wingspan.jobs import Submission
from wingspan.pools import slurm_commands
from wingspan.pools._base import JobEvent, JobState
from wingspan.pools.slurm_queue import Task

__all__ = ["FOLDER", "ON_NODE", "SlurmWatcher", "said"]

#: States of tasks that are on a node.
ON_NODE = frozenset({JobState.RUNNING, JobState.SUSPENDED})
FOLDER = "slurm"


#: What a job may say of itself beside its state and the time.
_SAID: dict[str, type] = {"code": int, "signal": int, "reason": str, "host": str, "exceeded": str}


def _facts(line: bytes) -> dict[str, Any] | None:
    """A line of a record; None if it is none."""
    try:
        facts = json.loads(line)
        told = {name: facts[name] for name, kind in _SAID.items() if isinstance(facts.get(name), kind)}
        seconds = float(facts["time"])
        if not math.isfinite(seconds):
            return None
        return {**told, "state": JobState(facts["state"]), "time": seconds}
    except (AttributeError, KeyError, OverflowError, RecursionError, TypeError, ValueError):
        return None  # of a job that was killed while it wrote: Slurm knows the rest


def said(folder: Path, task: Task) -> JobState | None:
    """The state in a task's record: the last one, or COMPLETED if it was ever written."""
    try:
        lines = (folder / FOLDER / f"{task.cluster}.{task.number}").read_bytes().splitlines()
    except FileNotFoundError:
        return None
    states = [facts["state"] for facts in map(_facts, lines) if facts]
    if JobState.COMPLETED in states:
        return JobState.COMPLETED
    return states[-1] if states else None


def _by_person(state: JobState, reason: str | None) -> bool:
    """Somebody holds the job. Slurm itself holds only jobs that it could not launch, and says so."""
    return state is JobState.HELD and "launch" not in (reason or "")


def _vanished(job: tuple[str, int], told: JobState | None) -> Task:
    """A task that Slurm has forgotten and that never said how it ended."""
    began = told in ON_NODE
    return Task(
        cluster=job[0],
        number=job[1],
        state=JobState.COMPLETED if began else JobState.REMOVED,
        reason="it left Slurm's queue without a word: "
        + ("its time was over, its node failed, or it was cancelled" if began else "it was cancelled"),
    )


@attrs.define
class SlurmWatcher:
    """Reads what jobs write about themselves."""

    submissions: list[Submission]
    folder: Path
    _read: dict[str, int] = attrs.field(factory=dict)
    #: The last state that was told of each job, by (array job, task).
    _told: dict[tuple[str, int], JobState] = attrs.field(factory=dict)
    #: What was told of jobs that will not start.
    _waiting: dict[tuple[str, int], str] = attrs.field(factory=dict)
    _next_look: float = 0.0
    _opened: int = 0

    #: Seconds between two looks at the folder, and how many files are opened in a second: it is on a shared
    #: file system.
    INTERVAL, OPENED = 0.2, 500

    def poll(self) -> Iterable[JobEvent]:
        now = time.monotonic()
        if now < self._next_look:
            return []
        self._opened = 0
        events = list(self._new())
        self._next_look = now + max(self.INTERVAL, self._opened / self.OPENED)
        return events

    def _new(self) -> Iterator[JobEvent]:
        wanted = {submission.cluster for submission in self.submissions}
        try:
            entries = list(os.scandir(self.folder))
        except FileNotFoundError:
            return
        for entry in entries:
            cluster, _, task = entry.name.rpartition(".")
            if not task.isdecimal() or not entry.is_file(follow_symlinks=False):
                continue  # jobs write no such thing
            if cluster not in wanted or self._told.get((cluster, int(task))) in (
                JobState.COMPLETED,
                JobState.REMOVED,
            ):
                continue
            self._opened += 1
            with contextlib.suppress(FileNotFoundError), Path(entry.path).open("rb") as file:
                file.seek(self._read.get(entry.name, 0))
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._read[entry.name] = self._read.get(entry.name, 0) + len(line)
                    facts = _facts(line)
                    if facts is None:
                        continue
                    event = JobEvent(
                        cluster=cluster,
                        proc=int(task),
                        by_person=_by_person(facts["state"], facts.get("reason")),
                        begins=facts["state"] is JobState.RUNNING,
                        **facts,
                    )
                    self._tell(event)
                    yield event
                    if event.state.is_final:  # what was written down after it had ended does not count
                        break

    def _tell(self, event: JobEvent) -> JobEvent:
        self._told[(event.cluster, event.proc)] = event.state
        return event

    def ask(self) -> Iterable[JobEvent]:
        """What Slurm knows and jobs have not said: that they wait, are held, or have left without a word."""
        known = {
            (task.cluster, task.number): task
            for task in slurm_commands.queue(submission.cluster for submission in self.submissions)
        }
        events = list(self._new())  # after the question: what has ended since has said so
        for submission in self.submissions:
            for number in range(submission.count):
                job = (submission.cluster, number)
                told = self._told.get(job)
                if told is not None and told.is_final:
                    continue
                task = known.get(job) or _vanished(job, told)
                if task.is_ending and not task.state.is_final:
                    continue  # sent off its node, or at its end: it says so, or the next answer does
                waits = task.reason if task.state is JobState.IDLE else None
                news = waits is not None and self._waiting.get(job) != waits
                if waits is not None:
                    self._waiting[job] = waits
                if news or task.state is not (told or JobState.IDLE):
                    events.append(
                        self._tell(
                            JobEvent(
                                cluster=task.cluster,
                                proc=number,
                                state=task.state,
                                time=time.time(),
                                code=task.code,
                                signal=task.signal,
                                reason=task.reason,
                                host=task.host,
                                by_person=_by_person(task.state, task.reason),
                                never_starts=waits is not None,
                                exceeded=task.exceeded,
                            )
                        )
                    )
        return events

    def close(self) -> None:
        """No file is kept open."""
