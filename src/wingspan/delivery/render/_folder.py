"""The folder that is written, and scripts that maps and runs have alike: submit.sh, interact.sh, shell.sh."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from wingspan._shell import Shell, exports, filled, words
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

_SCRIPTS = Path(__file__).with_name("scripts")
#: For ``sh -c``, inside an environment; its first argument is the person's shell.
SHELL_IN_ENVIRONMENT = filled(_SCRIPTS / "shell_in_environment.sh")


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
    """Let the caller put files into `folder`: when an error ends that, the folder is as it was before.

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


def submit_script(*mains: str, why: str) -> str:
    """``submit.sh``, which submits these files."""
    program = "condor_submit" if mains[0].endswith(".sub") else "sbatch"
    elsewhere = (
        "submit on an access point, or to a personal pool: wingspan pool run sh submit.sh"
        if program == "condor_submit"
        else "submit on a login node of the cluster"
    )
    commands = "\n".join(words((program, Shell('"$@"'), main)) for main in mains)
    return filled(
        _SCRIPTS / "submit.sh",
        why=Shell(why),
        program=program,
        missing=f"submit.sh: {program} is not here: {elsewhere}",
        commands=Shell(commands),
    )


#: HTCondor's command for condor_ssh_to_job, with a terminal (HTCondor manual, SSH_TO_JOB_<SSH-CLIENT>_CMD).
_SSH = (
    "ssh -t -oUser=%u -oIdentityFile=%i -oStrictHostKeyChecking=yes -oUserKnownHostsFile=%k -oGlobalKnownHostsFile=%k "
    "-oProxyCommand=%x %h"
)


def ssh_command(remote: str) -> str:
    """A value for the environment variable ``_CONDOR_SSH_TO_JOB_SSH_CMD``.

    With it condor_ssh_to_job executes `remote` (shell) in a terminal. Without a remote command there would be
    a login shell; a remote command of HTCondor's own command line has no terminal.
    """
    return quote_arguments((*_SSH.split(), remote.replace("%", "%%")))


def shell_script(
    target: Target, *, entered: bool, variables: Mapping[str, str] | None = None, hint: str = ""
) -> str:
    """``shell.sh``: what interact.sh starts on the machine.

    Args:
        target: Whose machine.
        entered: There is an environment, in which ``enter.sh`` starts commands.
        variables: Variables of the job.
        hint: What the script says before the shell starts.
    """
    # What HTCondor transfers lies in the job's folder; on Slurm the folder that was rendered is seen.
    enter = "enter.sh" if target == "htcondor" else Shell('"$WINGSPAN_FOLDER"/enter.sh')
    shell = Shell('"$wingspan_shell"')
    inside = words(("sh", enter, "sh", "-c", str(SHELL_IN_ENVIRONMENT), "sh", shell))
    return filled(
        _SCRIPTS / "shell.sh",
        variables=Shell("\n".join(exports(variables or {}))),
        hint=words(("echo", hint)) if hint else Shell(""),
        shell=inside if entered else words((shell, "-i")),
    )


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
        entered: There is an environment, in which ``enter.sh`` starts commands.
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
        return filled(
            _SCRIPTS / "interact_htcondor.sh",
            **{"with": Shell(", in its environment" if entered else "")},
            ssh=ssh_command("sh shell.sh"),
            options=words(word for line in appended for word in ("-append", line)),
            main=main,
        )
    options = [
        f"--cpus-per-task={resources.cpus}",
        f"--mem={mebibytes(resources.memory or DEFAULT_MEMORY)}M",
        f"--time={clock(resources.time_limit or DEFAULT_TIME)}",
        *([f"--gpus-per-node={resources.gpus}"] if resources.gpus else []),
    ]
    folder = "a copy of its inputs" if inputs else "a folder of its own"
    return filled(
        _SCRIPTS / "interact_slurm.sh",
        **{"with": Shell(f"{folder}{' and in its environment' if entered else ''}")},
        options=words(options),
    )
