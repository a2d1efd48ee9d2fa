"""Shells: with a run's files in its environment where the run would execute, and in a job that is running."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan._shell import Shell, quoted, words
from wingspan.delivery.carriage import carriage_here, carriage_to
from wingspan.delivery.render import SHELL_IN_ENVIRONMENT
from wingspan.pools import Pool, choose_pool, get_pool
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
    from wingspan.environments.bundles import Bundle
    from wingspan.runs._run import Run

__all__ = ["open_shell", "shell_in_job"]

#: Seconds for HTCondor to be done with a job whose shell has ended.
_PATIENCE = 60.0
_NEEDS = "the pool's machines need an OpenSSH server (sshd) and must allow condor_ssh_to_job (ENABLE_SSH_TO_JOB): ask the site"
#: The same where the machine is the user's own.
_NEEDS_HERE = (
    "install an OpenSSH server, of which only the program sshd is used and nothing has to listen (Debian, Ubuntu: apt-get install openssh-server; "
    "Fedora: dnf install openssh-server), then wingspan pool stop and start; without it: wingspan run --interactive opens a shell with the same files"
)


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
        return _by_ssh(["sh", "./interact.sh"], folder, os.environ)
    finally:
        _remove(folder)


def _remove(folder: Path) -> None:
    """Remove the folder of an interactive job when HTCondor is done with it, some time after the shell."""
    deadline = time.monotonic() + _PATIENCE
    while time.monotonic() < deadline and any(map(_goes_on, folder.glob("*.log"))):
        time.sleep(0.1)
    shutil.rmtree(folder, ignore_errors=True)


def _goes_on(log: Path) -> bool:
    """An event log tells of a submission (000) and of no end (005), removal (009) or hold (012)."""
    events = re.findall(r"^(\d{3}) \(", log.read_text(encoding="utf-8", errors="replace"), re.MULTILINE)
    return "000" in events and not {"005", "009", "012"} & set(events)


#: What HTCondor's programs print on this machine's standard error when there is no shell.
_REFUSALS = re.compile(
    r"sshd not correctly configured|SSH_TO_JOB|condor_ssh_to_job|Error executing SSH|^ERROR: "
)


def _by_ssh(words: Sequence[str], folder: Path, environment: Mapping[str, str], needs: str = _NEEDS) -> int:
    """Run a command that ends in HTCondor's ssh, with this terminal.

    Raises:
        RunError: HTCondor says why there is no shell.
    """
    # Ctrl-C is for the command: it removes the job, and needs its time.
    main = threading.current_thread() is threading.main_thread()
    before = signal.signal(signal.SIGINT, lambda *_: None) if main else None
    said = bytearray()
    try:
        with subprocess.Popen(words, cwd=folder, env=dict(environment), stderr=subprocess.PIPE) as process:
            assert process.stderr is not None
            while data := process.stderr.read1():  # type: ignore[attr-defined]
                sys.stderr.buffer.write(data)
                sys.stderr.flush()
                said[:] = (said + data)[-4000:]
    finally:
        if main:
            signal.signal(signal.SIGINT, before)
    lines = [line.strip() for line in said.decode("utf-8", "replace").splitlines() if line.strip()]
    problem = next((line for line in reversed(lines) if _REFUSALS.search(line)), None)
    if process.returncode not in (0, 130) and problem is not None:
        raise RunError(f"HTCondor started no shell: {problem}", hint=needs)
    return process.returncode


def shell_in_job(run: Run, number: int = 0, command: Sequence[str] = ()) -> Callable[[], int]:
    """A shell beside a running job, in its folder and environment (condor_ssh_to_job, srun --overlap).

    Args:
        run: The run.
        number: Which of its jobs.
        command: Program and arguments instead of an interactive shell.

    Returns:
        What opens it on this terminal and answers its exit code; it raises `RunError` when HTCondor starts no
        shell.

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
    remote = _remote(bundle_of(run._folder), pool, command)
    if pool.shells == "condor_ssh_to_job" and pool.follows_site:
        from wingspan.delivery.render import site_profile

        reason = site_profile(run.spec.profile).no_ssh(run.spec.resources)
        if reason is not None:
            raise RunError(
                f"nobody gets a shell in job {number} of the run {run.name!r}: {reason}",
                hint=f"wingspan logs -f {run.name} shows what it prints; condor_tail {cluster}.{process} FILE shows a file of its folder",
            )
    if pool.shells == "condor_ssh_to_job":
        return _shell_by_ssh(pool, f"{cluster}.{process}", remote)
    if pool.shells == "srun":
        return lambda: _by_srun(f"{cluster}_{process}", remote)
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


def _shell_by_ssh(pool: Pool, job: str, remote: str) -> Callable[[], int]:
    """What opens a shell in an HTCondor job, such as ``12.0``, and executes `remote` in it.

    Raises:
        RunError: It cannot be opened, as far as this machine can tell.
    """
    from wingspan.delivery.render import ssh_command

    tools = {**os.environ, **pool.tools()}
    if shutil.which("condor_ssh_to_job", path=tools.get("PATH")) is None:
        raise RunError("condor_ssh_to_job is not on PATH", hint="use the access point's HTCondor")
    needs = _NEEDS_HERE if pool.runs_here else _NEEDS
    if (why := pool.why_no_shell()) is not None:
        raise RunError(why, hint=needs)
    # HTCondor's own shell on the machine splits it at blanks and expands stars before it is executed.
    wrapped = f'eval "$(echo {base64.b64encode(remote.encode()).decode()} | base64 -d)"'
    environment = {**tools, "_CONDOR_SSH_TO_JOB_SSH_CMD": ssh_command(wrapped)}
    return lambda: _by_ssh(["condor_ssh_to_job", "-auto-retry", job], Path(), environment, needs)


#: A job of ours works in a folder that only its own processes know; the step of srun has the job's number.
_INTO_FOLDER = """\
for process in /proc/[0-9]*; do
    folder=$(readlink "$process/cwd" 2>/dev/null) || continue
    case $folder in */wingspan-run.*) ;; *) continue ;; esac
    tr "\\0" "\\n" <"$process/environ" 2>/dev/null | grep -qx "SLURM_JOB_ID=$SLURM_JOB_ID" && cd "$folder" && break
done
"""


def _by_srun(task: str, remote: str) -> int:
    """A step beside those of a running task of an array, which srun knows by its own number only."""
    asked = subprocess.run(
        ["squeue", "--noheader", "--format=%A", f"--jobs={task}"], capture_output=True, text=True, check=False
    )
    number = asked.stdout.strip()
    if not number.isdigit():
        raise RunError(f"Slurm knows no job {task}: {asked.stderr.strip() or 'it has ended'}")
    pty = ["--pty"] if sys.stdin.isatty() else []
    # srun does not look into the word after -c: the shell on the node does.
    step = [
        "srun",
        "--overlap",
        "--quiet",
        f"--jobid={number}",
        *pty,
        "sh",
        "-c",
        f"{_INTO_FOLDER}exec {remote}",
    ]
    return subprocess.run(step, check=False).returncode


_ENTER_UNPACKED = """\
_wingspan=("$@")
set --
for _wingspan_script in "$_CONDOR_SCRATCH_DIR"/.wingspan-*/activate.sh; do
    [ -r "$_wingspan_script" ] || { echo "the job has not unpacked its environment yet: try again" >&2; exit 1; }
    . "$_wingspan_script"
done
exec "${_wingspan[@]}"
"""


def _remote(bundle: Bundle | None, pool: Pool, command: Sequence[str]) -> Shell:
    """What is executed beside the job: shell, in the job's folder and with its variables."""
    person = Shell('"${_CONDOR_SHELL:-/bin/sh}"')
    if bundle is None:
        return words(command or (person, "-i"))
    inside = words(command or ("sh", "-c", str(SHELL_IN_ENVIRONMENT), "sh", person))
    if bundle.kind in ("pack", "install"):
        # The job has unpacked it already, beside its own files.
        return words(("bash", "-c", _ENTER_UNPACKED, "bash", inside))
    carriage = carriage_to(pool, bundle)
    # The job has the starter of the Wingspan that submitted it, which may be another one.
    starter = str(carriage.starter) if pool.shares_files else Shell("starter-*.sh")
    return words(("sh", starter, *carriage.options, inside))
