"""A run that follows others: what is done once these are done."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan.runs._files import keep_inputs
from wingspan.runs._jobs import submit_jobs
from wingspan.runs._run import Run

if TYPE_CHECKING:
    from wingspan.pools import Pool
    from wingspan.runs._folder import RunFolder

__all__ = ["begin_later"]


def begin_later(folder: RunFolder, pool: Pool, fetched: Mapping[str, Callable[[Path], object]]) -> None:
    """Take the inputs of a run, and submit its jobs, unless somebody has.

    Args:
        folder: The run's.
        pool: It takes the jobs.
        fetched: Put the outputs of what the run follows into a folder.

    Raises:
        InputMissing: An input is not there, though what the run follows is done.
        PoolError: The jobs are refused.
    """
    run = Run(folder)
    run._adopt(ask=True)
    if folder.submissions.entries():
        return
    temporary = folder.path / f".new-inputs-{os.getpid()}"
    try:
        if folder.spec.inputs:
            keep_inputs(folder.spec.inputs, temporary, profile=folder.spec.profile)
        for fetch in fetched.values():
            fetch(temporary)
        if temporary.is_dir():
            shutil.rmtree(folder.inputs(0), ignore_errors=True)
            temporary.rename(folder.inputs(0))
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    pool.make_ready()
    submit_jobs(folder, pool)
    pool.reschedule()
