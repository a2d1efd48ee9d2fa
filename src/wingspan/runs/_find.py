"""Finding and removing runs that were made before."""

from __future__ import annotations

import contextlib

from wingspan.pools.submissions import remove_jobs
from wingspan.runs._errors import RunDamaged, RunError
from wingspan.runs._folder import list_names, open_run_folder, remove_run_folder, runs_root
from wingspan.runs._run import Run
from wingspan.runs._spec import check_name

__all__ = ["load_run", "load_runs", "remove_run", "run_names"]


def load_run(name: str) -> Run:
    """Open the run of that name.

    Raises:
        RunNotFound: There is none; the message names the nearest.
        RunDamaged: It cannot be read.
    """
    return Run(open_run_folder(name))


def run_names() -> tuple[str, ...]:
    """Names of all runs, sorted."""
    return list_names()


def load_runs() -> list[Run]:
    """All runs that can be read, in the order of their names."""
    runs = []
    for name in list_names():
        with contextlib.suppress(RunError):
            runs.append(load_run(name))
    return runs


def remove_run(name: str, *, force: bool = False) -> None:
    """Remove the run of that name, a damaged one too.

    Args:
        name: Its name.
        force: Remove the files even where the scheduler does not answer.

    Raises:
        RunNotFound: There is none.
        PoolError: The scheduler does not answer; nothing is removed then.
        DiskError: The list of its jobs cannot be read; nothing is removed then.
    """
    try:
        load_run(name).remove(force=force)
    except RunDamaged:
        path = runs_root() / check_name(name)
        remove_jobs(path, "its run was removed", force=force)
        remove_run_folder(path)
