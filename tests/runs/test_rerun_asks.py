"""Doing jobs again with more memory, time and the like than the run was made with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest

import wingspan
from wingspan.environments import Environment
from wingspan.runs import InvalidRun, NoSuchMachine, Run, load_run
from wingspan.runs._asks import read_asks

MB = 1 << 20
#: Prints what the job has asked for, as its scheduler knows it, and fails.
_ASKED = (
    'if [ -n "${_CONDOR_JOB_AD:-}" ]; then sed -n "s/^RequestMemory = //p" "$_CONDOR_JOB_AD"; '
    'else echo "${SLURM_MEM_PER_NODE:-}"; fi; exit 3'
)


def test_jobs_ask_for_something_else_from_then_on(pool: str, done: Any, wingspan_cli: Any) -> None:
    """What is said counts for these jobs, now and later, and adds up; others ask for what they asked for."""
    run: Run = done(
        wingspan.run(["sh", "-c", _ASKED], memory="100MB", sweep={"n": [0, 1]}, name="small", pool=pool)
    )
    before = [run.stdout(number) for number in (0, 1)]
    assert wingspan_cli("rerun", "small", "1", "--memory", "200MB", "--time", "1h").returncode == 0
    done(run)
    asked = load_run("small").resources(1)
    assert (asked.memory, asked.time_limit, asked.disk, asked.cpus) == (200 * MB, 3600, None, 1)
    assert run.resources(0) == run.spec.resources
    told = {"local": "\n", "personal": "200\n", "slurm": "200\n"}[pool]
    assert [run.stdout(0), run.stdout(1)] == [before[0], told]
    assert run.rerun(memory="300MB") == [0, 1]  # they differ in the rest, and are submitted one by one
    done(run)
    assert [run.resources(number).memory for number in (0, 1)] == [300 * MB, 300 * MB]
    assert [run.resources(number).time_limit for number in (0, 1)] == [None, 3600]


def test_what_cannot_be_asked_for_gives_nothing_up(folders: Path, done: Any) -> None:
    """Outputs and states stay as they are."""
    run = done(wingspan.run(["sh", "-c", "echo kept"], name="kept", pool="local"))
    for wrong, error in (
        ({"memory": "much"}, InvalidRun),
        ({"cpus": 0}, InvalidRun),
        ({"time": "soon"}, InvalidRun),
        ({"cpus": 100_000}, NoSuchMachine),
    ):
        with pytest.raises(error):
            run.rerun([0], **wrong)
    assert run.stdout() == "kept\n"
    assert run.status().state == "completed"
    without_gpus = attrs.evolve(run.spec, environment=Environment)
    with pytest.raises(InvalidRun, match="made for machines without GPUs"):
        read_asks(without_gpus, gpus=1)
