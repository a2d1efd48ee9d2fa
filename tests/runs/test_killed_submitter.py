"""A submitter that dies between the scheduler's answer and writing it down: its jobs are found again."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wingspan
from _on_disk import submissions
from _waiting import PATIENCE, until
from wingspan.runs import load_run

pytestmark = pytest.mark.htcondor

#: Dies at the very moment at which it would have written down what it has just submitted.
_KILLED = """
import os, sys
from pathlib import Path
import wingspan
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool
from wingspan.pools.submissions import SubmissionLog

pool = PersonalHTCondorPool(PersonalPool(Path(sys.argv[1])))
command = ["sh", "-c", "echo $n >> result.txt"]
made = None
if sys.argv[2] == "rerun":
    import wingspan.pools._select as select
    select._make = lambda kind, data: pool
    made = wingspan.load_run("orphan")
SubmissionLog.add = lambda *_, **__: os.kill(os.getpid(), 9)
if made is not None:
    made.rerun([1])
wingspan.run(command, name="orphan", outputs=["result.txt"], sweep={"n": [1, 2]}, pool=pool)
"""


def _die(pool, what: str) -> None:
    command = [sys.executable, "-c", _KILLED, str(pool.directory), what]
    assert subprocess.run(command, check=False, capture_output=True).returncode == -9


def test_jobs_of_a_killed_submitter_are_found(use_personal_pool) -> None:
    """Both jobs belong to the run, complete, and are not submitted twice; those of a killed rerun as well."""
    _die(use_personal_pool, "run")
    found = load_run("orphan")
    assert found.wait(PATIENCE).state == "completed"
    assert [path.read_text() for path in (found.outputs(n)["result.txt"] for n in (0, 1))] == ["1\n", "2\n"]
    assert len(submissions(found)) == 1

    _die(use_personal_pool, "rerun")
    again = load_run("orphan")
    status = again.wait(PATIENCE)
    assert [job.state for job in status.jobs] == ["completed", "completed"]
    assert again.outputs(1)["result.txt"].read_text() == "2\n"
    entries = submissions(again)
    assert [(entry["first"], entry["count"]) for entry in entries] == [(0, 2), (1, 1)]


def test_one_job_of_a_run_that_was_never_submitted(done, monkeypatch) -> None:
    """After a rerun of one job the others are still "never submitted"; a rerun of the rest does them."""
    with monkeypatch.context() as patch:  # whoever makes it dies before it has submitted anything
        patch.setattr("wingspan.runs._api.submit_jobs", lambda folder, pool: None)
        wingspan.run(["sh", "-c", "echo $N"], sweep={"N": ["0", "1", "2"]}, pool="local", name="cut")
    run = load_run("cut")
    assert {job.state for job in run.status().jobs} == {"removed"}
    run.rerun([1])
    until(lambda: run.status().jobs[1].state == "completed", run.status)
    others = [run.status().jobs[number] for number in (0, 2)]
    assert {job.state for job in others} == {"removed"}
    assert all("never submitted" in str(job.reason) for job in others)
    assert run.rerun() == [0, 2]
    done(run)
    assert {job.state for job in run.status().jobs} == {"completed"}
