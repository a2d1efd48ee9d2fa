"""The folder that is written, and the scripts that are the same for maps and runs: submit.sh and interact.sh."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Literal

from wingspan.errors import WingspanError
from wingspan.jobs import Resources
from wingspan.pools.render._text import DEFAULT_MEMORY, DEFAULT_TIME, clock, mebibytes

__all__ = ["FolderInUse", "Target", "check_empty", "interact_script", "put", "submit_script"]

Target = Literal["htcondor", "slurm"]


class FolderInUse(WingspanError, FileExistsError):
    """The folder to write into holds something."""


def check_empty(folder: Path) -> None:
    """Nothing, if `folder` is new or empty.

    Raises:
        FolderInUse: It is not.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FolderInUse(f"{folder} holds something already", hint="name a new folder")


def put(folder: Path, name: str, text: str, mode: int = 0o644) -> None:
    """Write a file of the rendering."""
    path = folder / name
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)


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


def interact_script(
    main: str, resources: Resources, *, entered: bool, inputs: bool = True, append: str | None = None
) -> str:
    """``interact.sh``: a shell with what the job has.

    Args:
        main: The file that is submitted.
        resources: What a job needs.
        entered: There is an environment, which ``enter.sh`` starts a command in.
        inputs: The job's files may lie in ``inputs``.
        append: A line before the queue statement, for one job only where there would be several.
    """
    if main.endswith(".sub"):
        inside = "sh enter.sh" if entered else "there is nothing to enter: the programs are the machine's own"
        one = f" -append {shlex.quote(append)}" if append else ""
        return (
            "#!/bin/sh\n"
            "# A shell on a machine of the pool, with the same files, resources and container as the job.\n"
            f"# Then, for the environment: {inside}\n"
            "set -eu\n"
            'cd "$(dirname "$0")"\n'
            f'echo "In the shell, for the environment: {inside}"\n'
            f'condor_submit -interactive{one} "$@" {shlex.quote(main)}\n'
        )
    gpus = f" --gpus-per-node={resources.gpus}" if resources.gpus else ""
    shell = 'sh "$folder/enter.sh"' if entered else '"${SHELL:-/bin/sh}"'
    copy = '    if [ -d "$folder/inputs" ]; then cp -R "$folder/inputs/." "$scratch/"; fi\n' if inputs else ""
    return (
        "#!/bin/sh\n"
        f"# A shell on a node, with the same resources as the job, in {'a copy of its inputs' if inputs else 'a folder of its own'}"
        " and in its environment.\n"
        "set -eu\n"
        'cd "$(dirname "$0")"\n'
        "folder=$PWD\nexport folder\n"
        f"exec srun --pty --ntasks=1 --cpus-per-task={resources.cpus} --mem={mebibytes(resources.memory or DEFAULT_MEMORY)}M "
        f'--time={clock(resources.time_limit or DEFAULT_TIME)}{gpus} "$@" sh -c \'\n'
        "    set -eu\n"
        "    scratch=$(mktemp -d)\n"
        f"{copy}"
        '    cd "$scratch"\n'
        f"    exec {shell}'\n"
    )
