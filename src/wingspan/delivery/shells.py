"""Shells beside jobs that are running: by HTCondor's condor_ssh_to_job, or as a step of Slurm."""

from __future__ import annotations

import base64
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan._shell import Shell, words
from wingspan.delivery.carriage import carriage_to
from wingspan.delivery.render import SHELL_IN_ENVIRONMENT
from wingspan.errors import WingspanError
from wingspan.pools import Pool

if TYPE_CHECKING:
    from wingspan.environments.bundles import Bundle

__all__ = ["by_ssh", "shell_beside"]

_NEEDS = "the pool's machines need an OpenSSH server (sshd) and must allow condor_ssh_to_job (ENABLE_SSH_TO_JOB): ask the site"
#: The same where the machine is the user's own.
_NEEDS_HERE = (
    "install an OpenSSH server, of which only the program sshd is used and nothing has to listen (Debian, Ubuntu: apt-get install openssh-server; "
    "Fedora: dnf install openssh-server), then wingspan pool stop and start; without it: wingspan run --interactive opens a shell with the same files"
)


def shell_beside(
    pool: Pool,
    cluster: str,
    process: int,
    bundle: Bundle | None,
    command: Sequence[str],
    refused: type[WingspanError],
) -> Callable[[], int] | None:
    """A function that opens a shell beside a running job, in its folder and environment, and returns its exit
    code.

    Args:
        pool: The job's.
        cluster: Its submission.
        process: Its number in that.
        bundle: The job's environment; None: it has none.
        command: Program and arguments instead of an interactive shell.
        refused: The error to raise.

    Returns:
        None if the pool has no way into its jobs. What is returned raises `refused` when no shell starts.

    Raises:
        refused: It cannot be opened, as far as this machine can tell.
    """
    if pool.shells not in ("condor_ssh_to_job", "srun"):
        return None
    remote = _remote(bundle, pool, command)
    if pool.shells == "condor_ssh_to_job":
        return _shell_by_ssh(pool, f"{cluster}.{process}", remote, refused)
    return lambda: _by_srun(f"{cluster}_{process}", remote, refused)


#: What HTCondor's programs print on this machine's standard error when there is no shell.
_REFUSALS = re.compile(
    r"sshd not correctly configured|SSH_TO_JOB|condor_ssh_to_job|Error executing SSH|^ERROR: "
)


def by_ssh(
    words: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    refused: type[WingspanError],
    needs: str = _NEEDS,
) -> int:
    """Run a command that ends in HTCondor's ssh, with this terminal.

    Args:
        words: The command.
        folder: Where it is executed.
        environment: Its variables.
        refused: The error to raise.
        needs: What would have to be there for a shell: a hint.

    Raises:
        refused: HTCondor says why there is no shell.
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
        raise refused(f"HTCondor started no shell: {problem}", hint=needs)
    return process.returncode


def _shell_by_ssh(pool: Pool, job: str, remote: str, refused: type[WingspanError]) -> Callable[[], int]:
    """A function that opens a shell in an HTCondor job, such as ``12.0``, and executes `remote` in it.

    Raises:
        refused: It cannot be opened, as far as this machine can tell.
    """
    from wingspan.delivery.render import ssh_command

    tools = {**os.environ, **pool.tools()}
    if shutil.which("condor_ssh_to_job", path=tools.get("PATH")) is None:
        raise refused("condor_ssh_to_job is not on PATH", hint="use the access point's HTCondor")
    needs = _NEEDS_HERE if pool.runs_here else _NEEDS
    if (why := pool.why_no_shell()) is not None:
        raise refused(why, hint=needs)
    # HTCondor's own shell on the machine splits it at blanks and expands stars before it is executed.
    wrapped = f'eval "$(echo {base64.b64encode(remote.encode()).decode()} | base64 -d)"'
    environment = {**tools, "_CONDOR_SSH_TO_JOB_SSH_CMD": ssh_command(wrapped)}
    return lambda: by_ssh(["condor_ssh_to_job", "-auto-retry", job], Path(), environment, refused, needs)


#: A job of ours works in a folder that only its own processes know; the step of srun has the job's number.
_INTO_FOLDER = """\
for process in /proc/[0-9]*; do
    folder=$(readlink "$process/cwd" 2>/dev/null) || continue
    case $folder in */wingspan-run.*) ;; *) continue ;; esac
    tr "\\0" "\\n" <"$process/environ" 2>/dev/null | grep -qx "SLURM_JOB_ID=$SLURM_JOB_ID" && cd "$folder" && break
done
"""


def _by_srun(task: str, remote: str, refused: type[WingspanError]) -> int:
    """A step beside those of a running task of an array, which srun knows by its own number only."""
    asked = subprocess.run(
        ["squeue", "--noheader", "--format=%A", f"--jobs={task}"], capture_output=True, text=True, check=False
    )
    number = asked.stdout.strip()
    if not number.isdigit():
        raise refused(f"Slurm knows no job {task}: {asked.stderr.strip() or 'it has ended'}")
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
    """The shell command that is executed beside the job, in its folder and with its variables."""
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
