"""An engine that Wingspan does not know: what a pool says of itself is all that maps and runs ask."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tests._waiting import PATIENCE, until

import wingspan
from wingspan.jobs import JobDescription, Resources, Submission
from wingspan.pools import Action, JobEvent, JobState, Pool, _select, get_pool, register
from wingspan.pools.gpus import Gpu
from wingspan.progress import NO_PROGRESS, Progress


class ToyPool:
    """Starts every job as a child of this process, at once. Jobs that are held end."""

    kind = "toy"
    place: str | None = None
    transport = "file"
    shares_files = True
    runs_here = True
    warms_up = False
    moves_files = False
    writes_log = False
    ends_held_jobs = True
    answers_at_once = True
    fetches_urls = False
    container_universe = False
    takes_requirements = False
    follows_site = False
    renders_profile = False
    hands_out_gpus = True
    sends_mail = False
    brings_back = False
    raises_memory = False
    limits_memory = True
    orders_jobs = False
    rewards_short_jobs = False
    own = True
    elsewhere = False
    shells = None

    def __init__(self) -> None:
        self.jobs: dict[str, list[subprocess.Popen[bytes]]] = {}
        self.held: set[tuple[str, int]] = set()

    def title(self) -> str:
        return "toys"

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        return sys.executable, (), False

    def make_ready(self, progress: Progress = NO_PROGRESS) -> None:
        """It is ready."""

    def warm_up(self, archive: Path, count: int) -> None:
        """It cannot."""

    def cool_down(self) -> None:
        """Nothing was prepared."""

    def default_workers(self, count: int) -> int:
        return min(count, 2)

    def largest_submission(self, count: int) -> int:
        return count

    def queued_jobs(self) -> int | None:
        return None

    def gpus(self) -> list[Gpu]:
        return []

    def why_no_gpu(self, resources: Resources) -> tuple[str, str] | None:
        return None

    def check_gpus(self, job: JobDescription) -> None:
        """It has none, and nobody asks."""

    def machine_ads(self, constraint: str, projection: Sequence[str] = ()) -> Sequence[Mapping[str, Any]]:
        return []

    def tools(self) -> Mapping[str, str]:
        return {}

    def why_no_shell(self) -> str | None:
        return "it is a toy"

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

    def unavailable_reason(self) -> str | None:
        return None

    def why_waiting(self, submissions: Sequence[Submission], folder: Path) -> str | None:
        return None

    def revive(self) -> None:
        """It never stops."""

    def reschedule(self) -> None:
        """Nothing waits."""

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


def test_it_is_a_pool_like_all(toy: ToyPool) -> None:
    """What is registered is found by its name, and nothing else is."""
    pool: Pool = toy
    assert get_pool("toy") is pool
    with pytest.raises(wingspan.SettingsError, match="there is no pool 'game'") as refused:
        get_pool("game")
    assert "toy" in str(refused.value.hint)


def test_it_executes_a_map(toy: ToyPool, tmp_path: Path) -> None:
    """A map runs on it, and may be held: what its workers had claimed is done by others after the release."""
    gate = tmp_path / "gate"

    def wait(number: int, gate: str = str(gate)) -> int:
        import os
        import time

        while not os.path.exists(gate):  # noqa: PTH110 - in a worker
            time.sleep(0.02)
        return 2 * number

    m = wingspan.map(wait, range(6), tag="toy", pool="toy")
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 2, "both workers are at work")
    m.hold()
    until(lambda: m.status().workers == {"held": 2}, "both are held")
    gate.touch()
    m.release()
    assert list(wingspan.load("toy").wait(timeout=PATIENCE) and m) == [0, 2, 4, 6, 8, 10]
    assert m.status().pools == ("toy",)
    m.remove()


def test_it_executes_a_run(toy: ToyPool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run runs on it, and its output comes back."""
    monkeypatch.chdir(tmp_path)
    r = wingspan.run(["sh", "-c", "echo hello > greeting.txt"], outputs=["greeting.txt"], pool="toy")
    assert [job.state for job in r.wait(timeout=PATIENCE).jobs] == ["completed"]
    assert r.outputs()["greeting.txt"].read_text() == "hello\n"
    r.remove()
