"""A whole engine that Wingspan does not know, with no more than what `PlainPool` leaves open."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from wingspan.jobs import JobDescription, Submission
from wingspan.pools import Action, JobEvent, JobState, PlainPool
from wingspan.pools.gpus import Gpu
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["ToyPool"]


class ToyPool(PlainPool):
    """Starts every job as a child of this process, at once. Jobs that are held end."""

    kind = "toy"
    runs_here = True
    ends_held_jobs = True
    answers_at_once = True
    own = True

    def __init__(self) -> None:
        self.jobs: dict[str, list[subprocess.Popen[bytes]]] = {}
        self.held: set[tuple[str, int]] = set()

    def title(self) -> str:
        return "toys"

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        return sys.executable, (), False

    def make_ready(self, progress: Progress = NO_PROGRESS) -> None:
        """It is ready."""

    def default_workers(self, count: int) -> int:
        return min(count, 2)

    def gpus(self) -> list[Gpu]:
        return []

    def submit(self, job: JobDescription) -> Submission:
        cluster = f"{os.getpid()}-{time.time_ns()}"
        self.jobs[cluster] = [self._start(job, number) for number in range(job.count)]
        return Submission(pool=self.kind, cluster=cluster, count=job.count)

    def _start(self, job: JobDescription, number: int) -> subprocess.Popen[bytes]:
        def filled(text: str | None) -> str:
            return (text or os.devnull).replace("$(Process)", str(number + job.first))

        with Path(filled(job.stdout)).open("ab") as out, Path(filled(job.stderr)).open("ab") as err:
            return subprocess.Popen(
                [job.executable, *map(filled, job.arguments)],
                cwd=job.working_dir,
                env={**os.environ, **job.environment},
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        for submission in submissions:
            for number, process in enumerate(self.jobs.get(submission.cluster, ())):
                if action != "release" and process.poll() is None:
                    if action == "hold":
                        self.held.add((submission.cluster, number))
                    process.send_signal(signal.SIGTERM)
                    process.wait()

    def find(self, folder: Path, *, ask: bool) -> list[tuple[Submission, str]]:
        return []

    def watch(self, submissions: Sequence[Submission], folder: Path) -> ToyWatcher:
        return ToyWatcher(self, list(submissions))


class ToyWatcher:
    """Looks at the processes."""

    def __init__(self, pool: ToyPool, submissions: list[Submission]) -> None:
        self.pool, self.submissions = pool, submissions

    def poll(self) -> Iterable[JobEvent]:
        return list(self._events())

    ask = poll

    def _events(self) -> Iterator[JobEvent]:
        for submission in self.submissions:
            for number, process in enumerate(self.pool.jobs.get(submission.cluster, ())):
                code = process.poll()
                held = code is not None and (submission.cluster, number) in self.pool.held
                ended = JobState.HELD if held else JobState.COMPLETED
                yield JobEvent(
                    cluster=submission.cluster,
                    proc=number,
                    state=JobState.RUNNING if code is None else ended,
                    time=time.time(),
                    code=None if held else code,
                    by_person=held,
                )

    def close(self) -> None:
        """Nothing is open."""
