"""Shells: with a run's files in its environment where the run would execute, and in a job that is running."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan._shell import quoted
from wingspan.delivery.carriage import carriage_here
from wingspan.delivery.render import SHELL_IN_ENVIRONMENT
from wingspan.delivery.shells import by_ssh, shell_beside
from wingspan.pools import choose_pool, get_pool
from wingspan.pools.ssh_connection import shell_there
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._errors import RunError
from wingspan.runs._files import keep_inputs
from wingspan.runs._jobs import bundle_of
from wingspan.runs._plan import Plan, plan_run
from wingspan.runs._request import RunRequest
from wingspan.runs._script import job_script
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.delivery.render import Target
    from wingspan.runs._run import Run

__all__ = ["open_shell", "shell_in_job"]

#: Seconds for HTCondor to be done with a job whose shell has ended.
_PATIENCE = 60.0


def open_shell(
    request: RunRequest,
    *,
    pool: str | None = None,
    progress: Progress = NO_PROGRESS,
    shell: Sequence[str] | None = None,
) -> Callable[[], int]:
    """Prepare a shell with the files of a run.

    Where jobs run on this machine (personal and local pool), so does the shell, in a folder of its own. On a
    site's HTCondor it is an interactive job, ``condor_submit -interactive`` of the rendered files, on Slurm
    ``srun --pty``.

    Args:
        request: As for a run; the command is not started, its files are there.
        pool: Kind of pool; None: chosen.
        progress: Hears of the environment being built.
        shell: Program and arguments instead of an interactive shell; on this machine only.

    Raises:
        RunError: The scheduler's program for it is not here; from what is returned: HTCondor started no
            shell.
    """
    chosen = choose_pool(pool, progress).pool
    plan = plan_run(request, progress=progress)
    if chosen.runs_here:
        return lambda: _here(plan, shell, progress)
    target: Target = "slurm" if chosen.shells == "srun" else "htcondor"
    program = "srun" if target == "slurm" else "condor_submit"
    if shutil.which(program) is None:
        raise RunError(
            f"{program} is not on PATH, and starts the interactive jobs of the {chosen.kind} pool",
            hint="use a machine from which jobs are submitted, or -p local",
        )
    return lambda: _as_job(target, plan, progress)


def _here(plan: Plan, shell: Sequence[str] | None, progress: Progress) -> int:
    folder = Path(tempfile.mkdtemp(prefix="wingspan-shell-"))
    try:
        keep_inputs(plan.spec.inputs, folder, progress)
        inside = carriage_here(plan.bundle).words if plan.bundle is not None else ()
        script = folder / "job.sh"
        # The shell is in the environment already.
        trust.write_whole(str(script), job_script(plan.spec, ()).encode(), mode=trust.PROGRAM)
        start = SHELL_IN_ENVIRONMENT if inside else 'exec "$1" -i\n'
        hint = "In this shell: sh job.sh 0  does what the job does. This folder goes when the shell ends."
        interactive = ("sh", "-c", f"echo {quoted(hint)} >&2\n{start}", "sh", os.environ.get("SHELL") or "sh")
        program = list(shell or interactive)
        environment = {**os.environ, **plan.spec.variables, "PIXI_PROJECT_ROOT": str(folder)}
        return subprocess.run([*inside, *program], cwd=folder, env=environment, check=False).returncode
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _as_job(target: Target, plan: Plan, progress: Progress) -> int:
    from wingspan.runs._render import write_files

    folder = Path(tempfile.mkdtemp(prefix="wingspan-shell-", dir="."))
    try:
        write_files(target, plan, folder, progress)
        return by_ssh(["sh", "./interact.sh"], folder, os.environ, RunError)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove the folder of an interactive job when HTCondor is done with it, some time after the shell."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and any(map(_goes_on, folder.glob("*.log"))):
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)
    # A schedd that writes one more event meanwhile makes the log anew, and the folder is not empty.
    while time.monotonic() < deadline and folder.exists():
        time.sleep(0.1)
        shutil.rmtree(folder, ignore_errors=True)


def _goes_on(log: Path) -> bool:
    """An event log tells of a submission (000) and of no end (005), removal (009) or hold (012)."""
    events = re.findall(r"^(\d{3}) \(", log.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return "000" in events and not {"005", "009", "012"} & set(events)


def shell_in_job(run: Run, number: int = 0, command: Sequence[str] = ()) -> Callable[[], int]:
    """A shell beside a running job, in its folder and environment (condor_ssh_to_job, srun --overlap).

    Args:
        run: The run.
        number: Which of its jobs.
        command: Program and arguments instead of an interactive shell.

    Returns:
        A function that opens it on this terminal and returns its exit code; it raises `RunError` when
        HTCondor starts no shell.

    Raises:
        RunError: The job is not running, or its pool has no way into it.
    """
    _check_running(run, number)
    cluster, process = next(
        (entry.cluster, number - entry.first)
        for entry in reversed(run._submissions())
        if number in entry.numbers
    )
    pool = get_pool(run.pool)
    if pool.shells == "condor_ssh_to_job" and pool.follows_site:
        from wingspan.delivery.render import site_profile

        reason = site_profile(run.spec.profile).no_ssh(run.spec.resources)
        if reason is not None:
            raise RunError(
                f"no shell can be opened in job {number} of the run {run.name!r}: {reason}",
                hint=f"wingspan logs -f {run.name} shows what it prints; condor_tail {cluster}.{process} FILE shows a file of its folder",
            )
    if pool.elsewhere:
        return shell_there(pool.kind, ["ssh", run.name, str(number), *(["--", *command] if command else [])])
    opens = shell_beside(pool, cluster, process, bundle_of(run._folder), command, RunError)
    if opens is not None:
        return opens
    raise RunError(
        f"a job of the {pool.kind} pool is nothing but processes of this machine: there is no way into it",
        hint=f"what it prints: wingspan logs -f {run.name}; its folder: {run.path}",
    )


def _check_running(run: Run, number: int) -> None:
    if not 0 <= number < len(run):
        raise RunError(
            f"the run {run.name!r} has no job {number}", hint=f"it has {len(run)}, numbered from 0"
        )
    state = run.status().jobs[number].state
    if state != "running":
        raise RunError(
            f"job {number} of the run {run.name!r} is {state}, not running",
            hint=f"wingspan status {run.name}; for a shell with the files of a run: wingspan run --interactive",
        )
