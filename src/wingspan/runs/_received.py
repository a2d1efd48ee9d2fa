"""A run that was made on another machine, and sent here through SSH.

It is submitted as if it had been made here.
"""

from __future__ import annotations

import json
from pathlib import Path

import attrs

from wingspan._words import notice
from wingspan.delivery.sent import asked_for
from wingspan.pools import Pool
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._api import submit_plan
from wingspan.runs._info import RunInfo
from wingspan.runs._plan import Plan, with_environment
from wingspan.runs._run import Run

__all__ = ["received_run"]


def received_run(temporary: Path, pool: Pool, progress: Progress = NO_PROGRESS) -> Run:
    """Make a run of what was received, and submit its jobs.

    Args:
        temporary: The folder with all its files; its inputs are copied.
        pool: Ready to take jobs.
        progress: Hears of the environment being built.

    Raises:
        WingspanError: As `wingspan.run`. Nothing is left then.
    """
    info = RunInfo.from_json(json.loads((temporary / "run.json").read_bytes()), temporary)
    inputs = tuple((temporary / "inputs" / place, place) for _, place in info.spec.inputs)
    spec = attrs.evolve(info.spec, base=temporary, inputs=inputs, environment=None)
    plan, environment = Plan(spec=spec), asked_for(temporary)
    if environment is not None:
        plan = with_environment(plan, environment, pool=pool, progress=progress)
    for warning in plan.spec.warnings:
        if warning not in spec.warnings:
            notice(warning)
    return submit_plan(plan, pool, progress)
