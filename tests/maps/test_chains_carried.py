"""Chains that nobody looks after: the scheduler carries them, and nobody waits in a slot for long."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wingspan
from _waiting import until
from wingspan.pools import JobState

#: Makes a chain and ends. Workers of the second map wait for inputs for a moment only.
SCRIPT = """
import pathlib, sys, time, wingspan
from wingspan.maps import _returning
_returning.STAY_SECONDS = _returning.STAY_SECONDS_AT_SITE = 0.2
_returning.PAUSES = 1.0, 1.0
gate, done, pool, workers = sys.argv[1:]
options = wingspan.Options(workers=int(workers))

def first(x):
    while not pathlib.Path(gate).exists():
        time.sleep(0.01)
    return x

one = wingspan.map(first, range(2), pool=pool, tag="first", options=wingspan.Options(workers=1))
one.map(lambda x: pathlib.Path(done, str(x)).touch(), pool=pool, tag="second", options=options)
"""


@pytest.mark.parametrize(
    "engine",
    [pytest.param("personal", marks=pytest.mark.htcondor), pytest.param("slurm", marks=pytest.mark.slurm)],
    indirect=True,
)
def test_the_scheduler_brings_workers_back(
    engine: str, other_python: Callable[..., Any], gate: SimpleNamespace, tmp_path: Path
) -> None:
    """The session that made the chain has ended, and a worker of the second map has left its slot because no
    input came. Once the first map is done, so is the second."""
    done = tmp_path / "done"
    done.mkdir()
    other_python(SCRIPT, tmp_path / "gate", done, engine, 3 if engine == "slurm" else 1)
    second = wingspan.load("second")

    def has_left() -> bool:
        second._keeper.refresh()
        jobs = second._keeper.jobs.by_worker.values()
        return any(job.evictions or (job.started and job.state is JobState.COMPLETED) for job in jobs)

    until(has_left, lambda: second.status())
    assert second._keeper.jobs.live(), "something brings a worker back"
    assert not list(done.iterdir())
    gate.open()
    until(lambda: len(list(done.iterdir())) == 2, "the outputs of the second map")
    second.wait()
    wingspan.load("first").wait()
