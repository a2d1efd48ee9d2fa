"""Obtain squashfs-mount, a setuid program, for the tests on a Debian-family machine, as root: one folder,
nothing installed. Debian has it from its release 13 on; its program runs on Debian 12, too.

Prints the folder to put on PATH. A second call answers at once.

    python tools/engines/squashfs_mount.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from apptainer import engines_folder

import debian

#: The first one that has it is taken; None: the machine's own.
SUITES = (None, "stable", "unstable")


def works(program: Path) -> bool:
    """Whether it starts at all, as root for everybody."""
    if not program.is_file() or not program.stat().st_mode & 0o4000:
        return False
    return subprocess.run([program, "-v"], capture_output=True, check=False).returncode == 0


def obtain() -> Path:
    """The folder that holds a ``squashfs-mount`` program."""
    found = shutil.which("squashfs-mount")
    if found:
        return Path(found).parent
    target = engines_folder() / "squashfs-mount"
    program = target / "bin/squashfs-mount"
    if works(program):
        return program.parent
    if os.geteuid() != 0:
        raise SystemExit("only root can make a setuid program")
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".squashfs-mount-", dir=target.parent) as name:
        for suite in SUITES:
            try:
                debs = debian.fetch(["squashfs-mount"], Path(name) / "debs", suite=suite)
                break
            except debian.DebianUnavailable as error:
                why = error
        else:
            raise SystemExit(f"no suite of Debian's has squashfs-mount: {why}")
        debian.unpack(debs, Path(name) / "root")
        shutil.rmtree(target, ignore_errors=True)  # a build that was broken off
        program.parent.mkdir(parents=True)
        shutil.copyfile(Path(name) / "root/usr/bin/squashfs-mount", program)
    for folder in (target.parent, target, program.parent):
        folder.chmod(0o755)
    program.chmod(0o4755)
    if not works(program):
        raise SystemExit(f"{program} does not start")
    return program.parent


if __name__ == "__main__":
    print(obtain())
