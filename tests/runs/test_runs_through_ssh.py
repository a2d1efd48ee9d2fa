"""Runs of an access point that this machine reaches through SSH."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

import wingspan
from _ssh import AccessPoint, ap, one_access_point
from _waiting import PATIENCE, until
from wingspan.runs import RunExists
from wingspan.settings import load_settings

__all__ = ["ap", "one_access_point"]

AP = "ssh://ap"


def test_a_run_of_another_machine_is_as_any_other(ap: AccessPoint, tmp_path: Path) -> None:
    """Inputs go there, outputs and what the jobs print come back, jobs are done again; the access point has
    the run under its name until it is removed here.
    """
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts/a.txt").write_text("hello")
    command = ["sh", "-c", "cat parts/a.txt; cat parts/a.txt > out-$n.txt; exit $n"]
    r = wingspan.run(
        command, sweep={"n": [0, 1]}, inputs=["parts"], outputs=["out-{n}.txt"], workspace=tmp_path, pool=AP
    )
    assert [job.state for job in r.wait(PATIENCE).jobs] == ["completed", "failed"]
    assert (r.stdout(0), r.outputs(0)["out-0.txt"].read_text()) == ("hello", "hello")
    assert [one.name for one in (ap.data / "runs").iterdir()] == [r.name]
    assert r.rerun(memory="200MB") == [1]
    again = wingspan.load_run(r.name)
    assert [job.state for job in again.wait(PATIENCE).jobs] == ["completed", "failed"]
    assert [again.resources(number).memory for number in (0, 1)] == [None, 200 << 20]
    r.remove()
    assert list((ap.data / "runs").iterdir()) == []


def test_jobs_of_a_run_over_there_are_held_and_released(ap: AccessPoint, tmp_path: Path) -> None:
    """What is done to a run here is done to its jobs there, and their print-out is followed."""
    gate = tmp_path / "gate"
    command = ["sh", "-c", f"echo begun; while ! [ -e {gate} ]; do sleep 0.05; done; echo done"]
    r = wingspan.run(command, name="train", pool=AP)
    until(lambda: r.stdout() == "begun\n", r.status)
    r.hold()
    until(lambda: r.status().state == "held", r.status)
    gate.touch()
    r.release()
    assert "".join(r.follow()).endswith("done\n")
    assert r.wait(PATIENCE).state == "completed"
    r.remove()


def test_a_name_that_was_made_up_is_free_on_both_machines(ap: AccessPoint) -> None:
    """Two laptops make up the same name: the access point has it already, and the second gets another."""
    first = wingspan.run(["true"], pool=AP)
    first.wait(PATIENCE)
    copy = first.path
    away = copy.rename(copy.parent.parent / "away")
    second = wingspan.run(["true"], pool=AP)
    assert (first.name, second.name) == ("true-1", "true-2")
    assert second.wait(PATIENCE).state == "completed"
    with pytest.raises(RunExists):
        wingspan.run(["true"], name="true-1", pool=AP)
    away.rename(copy)
    for one in (first, second):
        one.remove()


def test_the_command_line_names_the_pool(
    ap: AccessPoint, wingspan_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """``--pool ssh://…`` and ``wingspan set pool``; what was printed is shown."""
    done = wingspan_cli("run", "--pool", AP, "--name", "cli", "--", "echo", "hi")
    assert done.returncode == 0, done.stderr
    assert wingspan.load_run("cli").wait(PATIENCE).state == "completed"
    assert wingspan_cli("logs", "cli").stdout == "hi\n"
    assert wingspan_cli("set", "pool", AP).returncode == 0
    assert load_settings().pool == AP
