"""``wingspan cancel``: jobs end, what is finished is kept."""

from __future__ import annotations

import os

import wingspan
from _command_line import wingspan_here
from _own_folders import data_dir
from _waiting import PATIENCE, until

__all__ = ["data_dir"]


def command(*words: str) -> str:
    done = wingspan_here(*words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_map_that_is_cancelled(tmp_path):
    """Its jobs are gone, its outputs are there, and a rerun does the rest."""
    gate = tmp_path / "gate"

    def component(number, gate=str(gate)):
        import time

        while number and not os.path.exists(gate):  # noqa: PTH110 - in a worker
            time.sleep(0.05)
        return number

    options = wingspan.Options(workers=1, block_size=1)
    m = wingspan.map(component, range(3), pool="local", tag="long", options=options)
    m.get(0, timeout=PATIENCE)
    assert "cancelled" in command("cancel", "long")
    until(lambda: not m.status().workers.get("running"), "no worker")
    assert m[0] == 0
    gate.touch()
    command("rerun", "long")
    m.wait(timeout=PATIENCE)
    assert list(m) == [0, 1, 2]


def test_a_run_that_is_cancelled(tmp_path, monkeypatch):
    """Its job is removed; what it has printed is there; cancelled again, it says that nothing is left to
    do.
    """
    monkeypatch.chdir(tmp_path)
    run = wingspan.run(["sh", "-c", "echo begun; sleep 600"], pool="local", name="long")
    until(lambda: "begun" in run.stdout(0), "the command has begun")
    assert "cancelled" in command("cancel", "long")
    until(lambda: run.status().jobs[0].state == "removed", run.status)
    assert run.stdout(0) == "begun\n"
    command("cancel", "long")
    run.remove()
