"""Processes that outlive the one that starts them."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE, until
from wingspan.pools.outliving import collect_ended


def children() -> set[int]:
    """The processes that this one has started and not collected, zombies included."""
    return {
        int(pid)
        for thread in Path("/proc/self/task").iterdir()
        for pid in (thread / "children").read_text().split()
    }


def test_workers_and_jobs_that_have_ended_are_no_zombies(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a local map and a local run have started is collected after its end, whatever pool object the
    next one has.
    """
    monkeypatch.chdir(tmp_path)
    before = children()
    run = wingspan.run(["true"], pool="local")
    run.wait(PATIENCE)
    m = wingspan.map(abs, [-1], pool="local", options=wingspan.Options(workers=1))
    assert list(m.iter(timeout=PATIENCE)) == [1]
    started = children() - before
    assert started
    m.remove()
    run.remove()
    for pid in started:
        os.kill(pid, signal.SIGKILL)

    def collected() -> bool:
        collect_ended()
        return not started & children()

    until(collected, lambda: started & children())
