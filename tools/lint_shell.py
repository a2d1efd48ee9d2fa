"""ShellCheck over everything that is shell: files, the starter as it is put together, and what `wingspan render` writes.

    python tools/lint_shell.py

Warnings and errors count. One that is meant as it stands has a ``shellcheck disable`` line with the reason beside it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent / "engines"))

from apptainer import engines_folder

from wingspan.environments.bundles.remote import remote_program
from wingspan.runs._render import render

ROOT = Path(__file__).resolve().parents[1]
#: Not checked as they stand: the starter's frame and its parts (checked when they are put together), the head of a file that goes on
#: with base64, and one that is shell and Python at once.
_PARTS = ("starter.sh", "unpack_header.sh", "unpacker_head.sh")
_FOLDERS_OF_PARTS = ("starter",)
#: One of each kind of run.
_RUNS = {
    "plain": {"outputs": ["out/*.txt"], "inputs": ["in.txt"]},
    "sweep": {"sweep": {"word": ["one", "two"]}, "outputs": ["out"]},
    "gpu": {"gpus": 1, "profile": "chtc", "time": "3h"},
    "checkpoint": {"checkpoint": ["state"], "outputs": ["a", "b"]},
}


def program() -> str | None:
    """ShellCheck: on PATH, or where tools/engines/shellcheck.py puts it."""
    kept = engines_folder() / "shellcheck/usr/bin"
    return shutil.which("shellcheck", path=f"{os.environ['PATH']}{os.pathsep}{kept}")


def files() -> list[Path]:
    """The scripts of the repository."""
    listed = subprocess.run(
        ["git", "ls-files", "*.sh", ".ci/run"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    paths = map(Path, listed)
    return [
        ROOT / path for path in paths if path.name not in _PARTS and path.parent.name not in _FOLDERS_OF_PARTS
    ]


def written(folder: Path) -> list[Path]:
    """What is put together, and what is rendered, in `folder`."""
    os.environ["WINGSPAN_DATA_DIR"] = str(folder / "data")
    starter = folder / "starter.sh"
    starter.write_bytes(remote_program("starter.sh"))
    found = [starter]
    (folder / "in.txt").touch()
    for name, options in _RUNS.items():
        command = ["sh", "-c", "echo {word}" if name == "sweep" else "true"]
        for target in ("htcondor", "slurm"):
            paths = render(target, folder / f"{target}-{name}", command, workspace=folder, **options)  # type: ignore[arg-type]
            found += [path for path in paths if path.suffix in (".sh", ".sbatch")]
    return found


def main() -> int:
    shellcheck = program()
    if shellcheck is None:
        print(
            "lint: ShellCheck is not here, and shell is not looked at; python tools/engines/shellcheck.py obtains it"
        )
        return 0
    with tempfile.TemporaryDirectory() as folder:
        command = [shellcheck, "--severity=warning", *files(), *written(Path(folder))]
        return subprocess.run(command, check=False).returncode


if __name__ == "__main__":
    raise SystemExit(main())
