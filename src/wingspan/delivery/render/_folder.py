"""The folder that is written, and the scripts that are the same for maps and runs: submit.sh and interact.sh."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from wingspan.errors import WingspanError
from wingspan.jobs import Resources
from wingspan.pools.submit_description import quote_arguments
from wingspan.pools.text import DEFAULT_MEMORY, DEFAULT_TIME, clock, mebibytes
from wingspan.worker import trust

__all__ = [
    "SHELL_IN_ENVIRONMENT",
    "FolderInUse",
    "Target",
    "check_empty",
    "interact_script",
    "new_folder",
    "put",
    "shell_script",
    "ssh_command",
    "submit_script",
]

Target = Literal["htcondor", "slurm"]

#: For ``sh -c``, inside an environment; its first argument is the person's shell. Without single quotes: it is put between such.
SHELL_IN_ENVIRONMENT = """\
# A .bashrc may put other programs before those of the environment (pyenv, conda): PATH is set again after it.
case ${1##*/} in
bash)
    export WINGSPAN_PATH="$PATH" WINGSPAN_SHELL_PREFIX="${CONDA_PREFIX:-}"
    if rc=$(mktemp); then
        printf "%s\\n" "rm -f \\"$rc\\"" "rc=~/.bashrc; [ ! -r \\"\\$rc\\" ] || . \\"\\$rc\\"" "PATH=\\$WINGSPAN_PATH" \\
            "[ -z \\"\\$WINGSPAN_SHELL_PREFIX\\" ] || CONDA_PREFIX=\\$WINGSPAN_SHELL_PREFIX" \\
            "unset rc WINGSPAN_PATH WINGSPAN_SHELL_PREFIX" >"$rc"
        exec "$1" --rcfile "$rc" -i
    fi
    ;;
esac
exec "$1" -i
"""


class FolderInUse(WingspanError, FileExistsError):
    """The folder to write into holds something."""


def check_empty(folder: Path) -> None:
    """Nothing, if `folder` is new or empty.

    Raises:
        FolderInUse: It is not.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderInUse(f"{folder} holds something already", hint="name a new folder")


@contextlib.contextmanager
def new_folder(folder: Path) -> Iterator[None]:
    """`folder` while files are put into it: it holds all of them in the end, or is what it was.

    Raises:
        FolderInUse: It holds something.
    """
    check_empty(folder)
    was_there = folder.exists()
    try:
        (trust.close_folder if was_there else trust.make_folder)(str(folder))
    except trust.NotClosed as error:
        raise FolderInUse(f"{folder} cannot be used: {error.strerror}", hint="name a new folder") from None
    try:
        yield
    except BaseException:
        for entry in folder.iterdir():
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
        if not was_there:
            folder.rmdir()
        raise


def put(folder: Path, name: str, text: str, mode: int = trust.FILE) -> None:
    """Write a file of the rendering."""
    trust.write_whole(str(folder / name), text.encode(), mode=mode)


def submit_script(main: str, *, why: str, before: str = "") -> str:
    """``submit.sh``, which submits the file `main` after the commands `before`."""
    program = "condor_submit" if main.endswith(".sub") else "sbatch"
    return (
        "#!/bin/sh\n"
        f"# {why} Options go to {program}.\n"
        "set -eu\n"
        'cd "$(dirname "$0")"\n'
        f"{before}"
        "mkdir -p logs\n"
        f'{program} "$@" {shlex.quote(main)}\n'
    )


#: HTCondor's own command for condor_ssh_to_job, with a terminal (HTCondor manual, SSH_TO_JOB_<SSH-CLIENT>_CMD).
_SSH = (
    "ssh -t -oUser=%u -oIdentityFile=%i -oStrictHostKeyChecking=yes -oUserKnownHostsFile=%k -oGlobalKnownHostsFile=%k "
    "-oProxyCommand=%x %h"
)


def ssh_command(remote: str) -> str:
    """The environment variable's value with which condor_ssh_to_job executes `remote` (shell) in a terminal of its own.

    The variable is ``_CONDOR_SSH_TO_JOB_SSH_CMD``. Without a remote command there would be a login shell; with one in the
    ordinary way, no terminal.
    """
    return quote_arguments((*_SSH.split(), remote.replace("%", "%%")))


def shell_script(
    target: Target, *, entered: bool, variables: Mapping[str, str] | None = None, hint: str = ""
) -> str:
    """``shell.sh``: what interact.sh starts on the machine.

    Args:
        target: Whose machine.
        entered: There is an environment, which ``enter.sh`` starts a command in.
        variables: Variables of the job.
        hint: What the shell says first.
    """
    exports = [f"export {name}={shlex.quote(value)}" for name, value in (variables or {}).items()]
    enter = ("sh enter.sh " if target == "htcondor" else 'sh "$folder/enter.sh" ') if entered else ""
    lines = [
        "#!/bin/sh",
        "# What interact.sh starts on the machine: a shell with what the job has.",
        "set -eu",
        "# What is done by hand in this shell belongs to no submission.",
        "unset WINGSPAN_SUBMISSION",
        'export PIXI_PROJECT_ROOT="$PWD" INIT_CWD="$PWD"',
        *exports,
        "# The shell that HTCondor found for the user, or the user's own; the machine need not have it.",
        "shell=${_CONDOR_SHELL:-${SHELL:-/bin/sh}}",
        'command -v "$shell" >/dev/null 2>&1 || shell=/bin/sh',
        *([f"echo {shlex.quote(hint)}"] if hint else []),
        f'exec {enter}sh -c {shlex.quote(SHELL_IN_ENVIRONMENT)} sh "$shell"'
        if entered
        else 'exec "$shell" -i',
    ]
    return "\n".join(lines) + "\n"


def interact_script(
    main: str,
    resources: Resources,
    *,
    entered: bool,
    inputs: bool = True,
    append: str | None = None,
    also: str = "shell.sh",
) -> str:
    """``interact.sh``: a shell with what the job has.

    Args:
        main: The file that is submitted.
        resources: What a job needs.
        entered: There is an environment, which ``enter.sh`` starts a command in.
        inputs: The job's files may lie in ``inputs``.
        append: A line before the queue statement, for one job only where there would be several.
        also: Files beside `main` that the shell needs and a job does not.
    """
    if main.endswith(".sub"):
        appended = [
            *([append] if append else []),
            f"transfer_input_files = $(transfer_input_files), {also}",
            'transfer_output_files = ""',
        ]
        options = " ".join(f"-append {shlex.quote(line)}" for line in appended)
        return (
            "#!/bin/sh\n"
            "# A shell on a machine of the pool, with the same files, resources and container as the job"
            f"{', in its environment' if entered else ''}.\n"
            "# Nothing comes back by itself: copy what you want to keep. Options go to condor_submit.\n"
            "# HTCondor connects by condor_ssh_to_job: the machine must have an OpenSSH server (sshd), and the pool must allow it.\n"
            "set -eu\n"
            'cd "$(dirname "$0")"\n'
            "mkdir -p logs\n"
            "# HTCondor's own command, with a terminal, and what it starts there (SSH_TO_JOB_SSH_CMD in HTCondor's manual).\n"
            "# shellcheck disable=SC2089,SC2090 # HTCondor reads these quotes, no shell does\n"
            f"_CONDOR_SSH_TO_JOB_SSH_CMD={shlex.quote(ssh_command('sh shell.sh'))}\n"
            "# shellcheck disable=SC2090\n"
            "export _CONDOR_SSH_TO_JOB_SSH_CMD\n"
            "# The job waits for minutes for somebody to connect; whatever becomes of the shell, nothing stays in the queue.\n"
            "mark=$(hostname)-$$\n"
            'leave() { condor_rm -constraint "WingspanShell == \\"$mark\\"" >/dev/null 2>&1 || :; }\n'
            "trap leave EXIT\n"
            "trap 'exit 130' INT\n"
            "trap 'exit 143' TERM HUP\n"
            f'condor_submit -interactive -append "+WingspanShell = \\"$mark\\"" {options} "$@" {shlex.quote(main)}\n'
        )
    gpus = f" --gpus-per-node={resources.gpus}" if resources.gpus else ""
    copy = '    if [ -d "$folder/inputs" ]; then cp -R "$folder/inputs/." "$scratch/"; fi\n' if inputs else ""
    return (
        "#!/bin/sh\n"
        f"# A shell on a node, with the same resources as the job, in {'a copy of its inputs' if inputs else 'a folder of its own'}"
        f"{' and in its environment' if entered else ''}.\n"
        "# Nothing comes back by itself: copy what you want to keep. Options go to srun.\n"
        "set -eu\n"
        'cd "$(dirname "$0")"\n'
        "folder=$PWD\nexport folder\n"
        f"exec srun --pty --ntasks=1 --cpus-per-task={resources.cpus} --mem={mebibytes(resources.memory or DEFAULT_MEMORY)}M "
        f'--time={clock(resources.time_limit or DEFAULT_TIME)}{gpus} "$@" sh -c \'\n'
        "    set -eu\n"
        "    scratch=$(mktemp -d || mktemp -d /tmp/tmp.XXXXXX)\n"
        f"{copy}"
        '    cd "$scratch"\n'
        "    code=0\n"
        '    sh "$folder/shell.sh" || code=$?\n'
        '    rm -rf "$scratch"\n'
        '    exit "$code"'
        "'\n"
    )
