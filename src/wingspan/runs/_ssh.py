"""Runs that an access point is to do, which is reached through SSH.

Here lies a copy of the run, which `wingspan.pools.ssh_mirror` keeps up to date.
"""

from __future__ import annotations

import re
from pathlib import Path

import attrs

from wingspan.delivery.sent import environment_to_send
from wingspan.pools import Pool
from wingspan.pools.ssh_mirror import Mirror
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._files import keep_inputs
from wingspan.runs._folder import create_run_folder, name_in_use, remove_run_folder
from wingspan.runs._plan import Plan
from wingspan.runs._run import Run

__all__ = ["send_run"]


def send_run(plan: Plan, pool: Pool, progress: Progress = NO_PROGRESS) -> Run:
    """Send a run to an access point, which submits its jobs. If it does not take them, nothing is left.

    Raises:
        WingspanError: As `wingspan.run`.
    """
    pool.make_ready(progress)
    spec = plan.spec
    if plan.stem is not None:
        spec = attrs.evolve(spec, name=_free_name(spec.name, pool))
    size: int | None = None

    def fill(now: Path, later: Path) -> int | None:
        nonlocal size
        if spec.inputs and size is None:
            size = keep_inputs(spec.inputs, now / "inputs", progress)
        if plan.named is not None:
            environment_to_send(plan.named).write(now)
        return size

    made = Run(create_run_folder(spec, pool.kind, fill))
    mirror = Mirror(made.path, pool.kind)
    try:
        mirror.send()
        mirror.look()
    except BaseException:
        remove_run_folder(made.path)
        raise
    return made


def _free_name(name: str, pool: Pool) -> str:
    """A name that no run and no map has, here and over there: ``train-3``, where ``train-1`` was made up."""
    stem, number = re.sub("-[0-9]+$", "", name), 1
    while name_in_use(name) or Mirror(Path("runs", name), pool.kind).ask("taken").get("taken"):
        number += 1
        name = f"{stem}-{number}"
    return name
