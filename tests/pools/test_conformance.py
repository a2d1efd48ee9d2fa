"""What maps and runs ask of every engine.

A toy engine, which Wingspan does not know, does it with no more than what `PlainPool` leaves open.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import pytest

import wingspan
from _each_engine import ENGINES, use_engine
from _own_folders import data_dir
from _waiting import PATIENCE, until
from wingspan.jobs import JobDescription, Submission
from wingspan.pools import Action, JobEvent, JobState, PlainPool, Pool, _select, get_pool, register
from wingspan.pools.gpus import Gpu
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["data_dir"]


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


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch) -> Iterator[ToyPool]:
    """The engine, registered for this test alone."""
    monkeypatch.setattr(_select, "_registered", {})
    pool = ToyPool()
    register("toy", lambda: pool)
    _select._make.cache_clear()
    yield pool
    _select._make.cache_clear()
    for processes in pool.jobs.values():
        for process in processes:
            process.kill()
            process.wait()


@pytest.fixture(params=["toy", *ENGINES])
def engine(request: pytest.FixtureRequest, data_dir: Path) -> str:
    """The name of a pool that is ready: what follows is tried on each."""
    if request.param == "toy":
        request.getfixturevalue("toy")
        return "toy"
    return use_engine(request, request.param)


def test_it_is_a_pool_like_all(toy: ToyPool) -> None:
    """What is registered is found by its name, and nothing else is."""
    pool: Pool = toy
    assert get_pool("toy") is pool
    with pytest.raises(wingspan.SettingsError, match="there is no pool 'game'") as refused:
        get_pool("game")
    assert "toy" in str(refused.value.hint)


def test_it_executes_a_map(engine: str, tmp_path: Path) -> None:
    """A map runs on it, and may be held: what its workers had claimed is done by others after the release."""
    gate = tmp_path / "gate"

    def wait(number: int, gate: str = str(gate)) -> int:
        import os
        import time

        while not os.path.exists(gate):  # noqa: PTH110 - in a worker
            time.sleep(0.02)
        return 2 * number

    m = wingspan.map(wait, range(6), tag="toy", pool=engine, options=wingspan.Options(workers=2))
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 2, "both workers are at work")
    m.hold()
    until(lambda: m.status().workers == {"held": 2}, "both are held")
    gate.touch()
    m.release()
    m.wait(PATIENCE)
    assert list(wingspan.load("toy")) == [0, 2, 4, 6, 8, 10]
    assert m.status().pools == (engine,)
    m.remove()


def test_it_executes_a_run(engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run runs on it, and its output comes back."""
    monkeypatch.chdir(tmp_path)
    r = wingspan.run(["sh", "-c", "echo hello > greeting.txt"], outputs=["greeting.txt"], pool=engine)
    assert [job.state for job in r.wait(timeout=PATIENCE).jobs] == ["completed"]
    assert r.outputs()["greeting.txt"].read_text() == "hello\n"
    r.remove()
