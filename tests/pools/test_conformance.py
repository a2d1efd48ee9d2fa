"""What maps and runs ask of every engine; a toy engine, which Wingspan does not know, does it, too."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _each_engine import ENGINES, use_engine
from _own_folders import data_dir
from _toy_engine import ToyPool
from _waiting import PATIENCE, until
from wingspan.pools import Pool, _select, get_pool, register

__all__ = ["data_dir"]


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
