"""Obtain Docker for the tests on a Debian-family machine without installing it: one folder with daemon and
client; nothing is started.

Prints the folder. Who starts the daemon must be root, and puts its ``usr/bin`` and ``usr/sbin`` on PATH. A
second call answers at once.

    python tools/engines/docker.py
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from apptainer import engines_folder

import debian

# tini is what Docker calls docker-init
PACKAGES = ["docker.io", "containerd", "runc", "tini", "libdevmapper1.02.1", "libseccomp2"]


def variables(folder: Path) -> dict[str, str]:
    """Those with which its programs start."""
    libraries = ":".join(str(path) for path in sorted(folder.glob("**/lib/x86_64-linux-gnu")))
    return {
        **os.environ,
        "PATH": f"{folder}/usr/sbin:{folder}/usr/bin:{os.environ['PATH']}",
        "LD_LIBRARY_PATH": libraries,
    }


def works(folder: Path) -> bool:
    """Whether the daemon starts at all."""
    program = folder / "usr/sbin/dockerd"
    if not program.is_file():
        return False
    done = subprocess.run(
        [program, "--version"], capture_output=True, text=True, check=False, env=variables(folder)
    )
    return "Docker version" in done.stdout


def obtain() -> Path:
    """The folder that holds ``usr/sbin/dockerd``."""
    target = engines_folder() / "docker"
    if works(target):
        return target
    debian.obtain(PACKAGES, target)
    if not works(target):
        raise SystemExit(f"{target}/usr/sbin/dockerd does not start")
    return target


if __name__ == "__main__":
    print(obtain())
