"""ShellCheck over everything that is shell: files, the starter in one piece, and what `wingspan render`
writes.

    python tools/lint_shell.py

Warnings and errors count. One that is meant as it stands has a ``shellcheck disable`` line with the reason
beside it.
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

import wingspan
from wingspan.environments.bundles.remote import remote_program
from wingspan.maps._render import render_map
from wingspan.runs._render import render

ROOT = Path(__file__).resolve().parents[1]
#: Not checked as they stand. `written` puts the starter together, and adds to the head of a pack what follows
#: it there; the unpacker's head is shell and Python at once.
_NO_SHELL = ("starter.sh", "unpack_header.sh", "unpacker_head.sh")
#: Folders with parts of a script, which is checked as a whole, too.
_FOLDERS_OF_PARTS = ("starter", "scripts")
#: These warnings mean nothing for a part alone. Variables that one part sets, another reads (SC2034, SC2154);
#: job.sh begins with `set -e`, which looks at each `cd` (SC2164); and it sets PATH on purpose (SC2123).
_OF_OTHER_PARTS = "SC2034,SC2154,SC2164,SC2123"
#: One of each kind of run.
_RUNS = {
    "plain": {"outputs": ["out/*.txt"], "inputs": ["in.txt"]},
    "sweep": {"sweep": {"word": ["one", "two"]}, "outputs": ["out"]},
    "gpu": {"gpus": 1, "profile": "chtc", "time": "3h"},
    "checkpoint": {"checkpoint": ["state"], "outputs": ["a", "b"]},
}
#: Those that only HTCondor can be given.
_RUNS_OF_HTCONDOR = {
    "addresses": {"outputs": ["model.pt=osdf:///a/model.pt", "*.txt=osdf:///a/texts/", "log"]},
}


def program() -> str | None:
    """ShellCheck: on PATH, or where tools/engines/shellcheck.py puts it."""
    kept = engines_folder() / "shellcheck/usr/bin"
    return shutil.which("shellcheck", path=f"{os.environ['PATH']}{os.pathsep}{kept}")


def files() -> tuple[list[Path], list[Path]]:
    """The scripts of the repository, and the parts of scripts."""
    listed = subprocess.run(
        ["git", "ls-files", "*.sh", ".ci/run"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.split()
    paths = [ROOT / name for name in listed if Path(name).name not in _NO_SHELL]
    parts = [path for path in paths if path.parent.name in _FOLDERS_OF_PARTS]
    return [path for path in paths if path not in parts], parts


def written(folder: Path) -> list[Path]:
    """What is put together, and what is rendered, in `folder`."""
    os.environ["WINGSPAN_DATA_DIR"] = str(folder / "data")
    starter, commented = folder / "starter.sh", folder / "starter-with-comments.sh"
    starter.write_bytes(remote_program("starter.sh"))
    commented.write_bytes(remote_program("starter.sh", comments=True))
    header = folder / "unpack_header.sh"
    header.write_bytes(remote_program("unpack_header.sh") + b":\n")  # for the data that follows
    found = [starter, commented, header]
    (folder / "in.txt").touch()
    a_map = wingspan.map(abs, [1], tag="linted", pool="local", options=wingspan.Options(workers=0))
    for target in ("htcondor", "slurm"):
        paths = render_map(target, folder / f"{target}-map", a_map)  # type: ignore[arg-type]
        runs = _RUNS | _RUNS_OF_HTCONDOR if target == "htcondor" else _RUNS
        for name, options in runs.items():
            command = ["sh", "-c", "echo {word}" if name == "sweep" else "true"]
            paths += render(target, folder / f"{target}-{name}", command, workspace=folder, **options)  # type: ignore[arg-type]
        found += [path for path in paths if path.suffix in (".sh", ".sbatch")]
    return found


def main() -> int:
    shellcheck = program()
    if shellcheck is None:
        print(
            "lint: ShellCheck is not here, and shell is not looked at; python tools/engines/shellcheck.py obtains it"
        )
        return 0
    whole, parts = files()
    with tempfile.TemporaryDirectory() as folder:
        check = [shellcheck, "--severity=warning"]
        codes = [
            subprocess.run([*check, *whole, *written(Path(folder))], check=False).returncode,
            subprocess.run(
                [*check, "--shell=sh", f"--exclude={_OF_OTHER_PARTS}", *parts], check=False
            ).returncode,
        ]
    return max(codes)


if __name__ == "__main__":
    raise SystemExit(main())
