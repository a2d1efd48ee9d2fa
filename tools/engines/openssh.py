"""Obtain an sshd for the tests on a Debian-family machine that has none: one folder, nothing installed,
nothing started.

HTCondor starts it in a job for whoever asks for a shell there (condor_ssh_to_job, condor_submit
-interactive). Prints the folder to put on PATH. A second call answers at once.

    python tools/engines/openssh.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from apptainer import engines_folder

import debian

PACKAGES = ["openssh-server", "libwrap0"]
SYSTEM = "/usr/local/sbin:/usr/sbin:/sbin"

# From OpenSSH 9.8 on a program of its own serves a connection, at a path that was compiled in.
WRAPPER = """#!/bin/sh
export LD_LIBRARY_PATH="@ROOT@/usr/lib/x86_64-linux-gnu"
session="@ROOT@/usr/lib/openssh/sshd-session"
if [ -x "$session" ]; then
    set -- -o SshdSessionPath="$session" "$@"
fi
exec "@ROOT@/usr/sbin/sshd" "$@"
"""


def works(program: Path) -> bool:
    """Whether it starts at all."""
    done = subprocess.run([program, "-V"], capture_output=True, text=True, check=False)
    return "OpenSSH_" in done.stdout + done.stderr


def obtain() -> Path:
    """The folder that holds an ``sshd`` program."""
    found = shutil.which("sshd", path=SYSTEM)
    if found:
        return Path(found).parent
    target = engines_folder() / "openssh"
    program = target / "bin/sshd"
    if program.is_file() and works(program):
        return program.parent
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".openssh-", dir=target.parent) as name:
        debs = debian.fetch(PACKAGES, Path(name) / "debs")
        shutil.rmtree(target, ignore_errors=True)  # a build that was broken off
        debian.unpack(debs, target / "root")
    program.parent.mkdir(parents=True)
    program.write_text(WRAPPER.replace("@ROOT@", str(target / "root")))
    program.chmod(0o755)
    for folder in (target, target.parent):
        folder.chmod(0o755)
    if not works(program):
        raise SystemExit(f"{program} does not start")
    return program.parent


if __name__ == "__main__":
    print(obtain())
