"""Runs whose jobs take more memory than they had asked for."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE, until
from wingspan.lint import lint
from wingspan.pools import get_pool
from wingspan.pools.htcondor_jobs import constraint_of
from wingspan.pools.slurm import SlurmPool
from wingspan.runs import InvalidRun
from wingspan.runs._more_memory import check_more_memory
from wingspan.runs._plan import plan_run
from wingspan.runs._render import render
from wingspan.runs._request import RunRequest

MB = 1 << 20

#: It takes the memory at once: HTCondor looks at it when a job begins, and seldom later.
_GREEDY = """\
held = bytearray(b"1") * (300 << 20)
import pathlib, sys, threading
flag = pathlib.Path(sys.argv[1])
if not flag.exists():
    flag.touch()
    threading.Event().wait(float(sys.argv[2]))  # until it is stopped
print("done")
"""


@pytest.mark.htcondor
def test_a_job_that_takes_too_much_is_done_again_with_more(
    folders: Path, use_personal_pool, wingspan_cli
) -> None:
    """HTCondor itself does that; the status says so, also to somebody who looks at it later."""
    (folders / "greedy.py").write_text(_GREEDY)
    command = [sys.executable, "greedy.py", str(folders / "flag"), str(PATIENCE)]
    run = wingspan.run(
        command, inputs=["greedy.py"], memory="200MB", retry_memory="1GB", name="greedy", pool="personal"
    )
    status = run.wait(PATIENCE)
    assert status.state == "completed"
    assert run.stdout() == "done\n"
    assert status.jobs[0].raised_memory == 400 * MB
    told = "job 0 took more memory than it had asked for, and was done again with 400MB"
    assert status.notes == (told,)
    assert told in str(status)
    assert told in wingspan_cli("status", "greedy").stdout


@pytest.mark.htcondor
def test_a_held_job_asks_for_more_and_goes_on(folders: Path, use_personal_pool) -> None:
    """A job that a rule holds for its memory, as older HTCondors do it, is released by who waits for the
    run.
    """
    script = f"until test -e {folders / 'flag'}; do sleep 0.1; done"
    run = wingspan.run(["sh", "-c", script], memory="100MB", retry_memory="150MB", pool="personal")
    run.hold()
    until(lambda: run.status().state == "held")
    with get_pool("personal")._schedd() as schedd:
        job = constraint_of(run._folder.submissions.entries())
        schedd.edit(job, "PeriodicHold", "RequestMemory < 150")
        schedd.edit(job, "PeriodicHoldSubCode", "102")
    run.release()
    until(lambda: run.status().state == "held")
    (folders / "flag").touch()
    status = run.wait(PATIENCE)
    assert status.state == "completed"
    assert status.jobs[0].raised_memory == 150 * MB


def test_the_manifest_may_say_it(folders: Path) -> None:
    """As retry-memory, of all runs or of a task; what is said for a run counts more."""
    (folders / "pixi.toml").write_text(
        '[workspace]\nname = "w"\nchannels = []\nplatforms = ["linux-64"]\n'
        '[tool.wingspan]\nmemory = "1GB"\nretry-memory = "4GB"\n'
    )
    said = plan_run(RunRequest(command=["true"])).spec.resources
    assert (said.memory, said.retry_memory) == (1024 * MB, 4096 * MB)
    assert plan_run(RunRequest(command=["true"], retry_memory="8GB")).spec.resources.retry_memory == 8 << 30


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"memory": "4GB", "retry_memory": "2GB"}, "less than memory, 4GB"),
        ({"retry_memory": "2GB"}, "memory is not given"),
        ({"memory": "1GB", "retry_memory": "much"}, "is no size"),
    ],
)
def test_what_cannot_be_meant(folders: Path, options: dict[str, str], words: str) -> None:
    """Less than what is asked for at first, no first request, no size."""
    with pytest.raises(InvalidRun, match=words):
        wingspan.run(["true"], pool="local", **options)


def test_slurm_is_told_to_ask_for_enough(folders: Path) -> None:
    """No one would do the job again: a run and rendered files are refused there, with what to do instead."""
    request = RunRequest(command=["true"], memory="1GB", retry_memory="4GB")
    with pytest.raises(InvalidRun) as caught:
        check_more_memory(plan_run(request).spec, SlurmPool())
    assert "--memory 4GB" in str(caught.value.hint)
    with pytest.raises(InvalidRun, match="Slurm"):
        render("slurm", folders / "made", ["true"], memory="1GB", retry_memory="4GB")


def test_rendered_files_let_htcondor_do_it(folders: Path, wingspan_cli) -> None:
    """One size after the other, as the command line has it; our lint takes the line."""
    done = wingspan_cli(
        "render", "htcondor", "made", "--memory", "1GB", "--retry-memory", "3GB", "-n", "a", "--", "true"
    )
    assert done.returncode == 0, done.stderr
    text = (folders / "made/a.sub").read_text()
    assert "\nretry_request_memory = 2048MB, 3072MB\n" in text
    assert not lint([folders / "made/a.sub"])


def test_who_asks_for_no_more_gets_no_line(folders: Path) -> None:
    """Without the option the submit description says nothing of it."""
    render("htcondor", folders / "made", ["true"], memory="1GB", name="a")
    assert "retry_request" not in (folders / "made/a.sub").read_text()
