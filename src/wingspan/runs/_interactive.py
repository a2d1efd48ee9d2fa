"""A shell with a run's files in its environment, where the run would execute."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from wingspan.pools import Pool, choose_pool
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._api import Plan, plan_run
from wingspan.runs._errors import RunError
from wingspan.runs._files import keep_inputs
from wingspan.runs._jobs import start_words

__all__ = ["open_shell"]


def open_shell(
    command: str | Sequence[str],
    *,
    pool: str | None = None,
    progress: Progress = NO_PROGRESS,
    shell: Sequence[str] | None = None,
    **options: Any,
) -> Callable[[], int]:
    """Prepare everything; what is returned opens the shell on this terminal and answers its exit code.

    Where jobs run on this machine (personal and local pool), so does the shell, in a folder of its own. On a site's
    HTCondor it is an interactive job: ``condor_submit -interactive`` of the rendered files.

    Args:
        command, options: As for `run`; the command is not started, its files are there.
        pool: Kind of pool; None: chosen.
        progress: Hears of the environment being built.
        shell: Program and arguments instead of an interactive shell.

    Raises:
        RunError: The pool has no interactive jobs.
    """
    chosen = choose_pool(pool, progress).pool
    plan = plan_run(command, progress=progress, **options)
    if chosen.shares_files:
        return lambda: _here(plan, chosen, shell, progress)
    if chosen.kind != "htcondor" or shutil.which("condor_submit") is None:
        raise RunError(
            f"the {chosen.kind} pool has no interactive jobs for Wingspan",
            hint="render the files and use their interact.sh: wingspan render slurm DIR",
        )
    return lambda: _as_job(plan, progress)


def _here(plan: Plan, pool: Pool, shell: Sequence[str] | None, progress: Progress) -> int:
    folder = Path(tempfile.mkdtemp(prefix="wingspan-shell-"))
    try:
        keep_inputs(plan.spec.inputs, folder, progress)
        words, _ = start_words(plan.bundle, shared=True)
        program = list(shell or (os.environ.get("SHELL") or "sh", "-i"))
        environment = {**os.environ, **plan.spec.variables, "PIXI_PROJECT_ROOT": str(folder)}
        return subprocess.run([*words, *program], cwd=folder, env=environment, check=False).returncode
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_job(plan: Plan, progress: Progress) -> int:
    from wingspan.runs._render import write_files

    folder = Path(tempfile.mkdtemp(prefix="wingspan-shell-", dir="."))
    try:
        write_files("htcondor", plan, folder, progress)
        return subprocess.run(["sh", "./interact.sh"], cwd=folder, check=False).returncode
    finally:
        shutil.rmtree(folder, ignore_errors=True)
