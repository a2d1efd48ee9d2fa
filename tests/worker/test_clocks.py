"""A clock that is wrong by an hour, on the worker, here, or on the machine that keeps the files."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

import wingspan
from _own_folders import data_dir
from wingspan.maps import _folder
from wingspan.maps._folder import MapFolder
from wingspan.worker import limits

__all__ = ["data_dir"]


@pytest.mark.parametrize("jump", [-3600.0, 3600.0])
def test_a_worker_s_clock_that_is_set_ends_no_component(monkeypatch: pytest.MonkeyPatch, jump: float) -> None:
    """A limit counts the seconds that go by: that the clock is set while a component runs makes no
    difference.
    """
    clock = SimpleNamespace(wall=1e9, passed=0.0)
    monkeypatch.setattr(
        limits, "time", SimpleNamespace(time=lambda: clock.wall, monotonic=lambda: clock.passed)
    )
    killed: list[int] = []
    monkeypatch.setattr(limits, "kill_family", killed.append)
    started = clock.wall
    process = SimpleNamespace(pid=1, board=SimpleNamespace(get=lambda: (7, 0, 0, started)))
    limit = limits.TimeLimit(60.0)
    for passed in (0.2, 0.4, 59.0):
        clock.passed, clock.wall = passed, started + passed + (jump if passed > 0.2 else 0.0)
        limit.enforce(process, {})  # type: ignore[arg-type]
    assert killed == []
    clock.passed = 61.0
    limit.enforce(process, {})  # type: ignore[arg-type]
    assert killed == [1]
    assert limit.killed() == 7


@pytest.mark.parametrize("wrong", [-3600.0, 0.0, 3600.0])
def test_who_is_silent_is_told_by_the_clock_of_the_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: float
) -> None:
    """A worker that has written a moment ago is at work, and one that has been silent for longer than the
    lease is not, whatever the clock here says.
    """
    m = wingspan.map(abs, [1], options=wingspan.Options(workers=0))
    folder = MapFolder(m.path)
    now = time.time()
    with monkeypatch.context() as patch:
        patch.setattr(_folder, "time", SimpleNamespace(time=lambda: time.time() + wrong))
        assert folder.was_written_lately(now)
        assert not folder.was_written_lately(now - 2 * folder.info.lease_seconds)
