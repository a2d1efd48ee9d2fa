"""Obtain a container registry for the tests on a Debian-family machine that has none: one folder, nothing
installed, nothing started.

It is Debian's docker-registry. Prints the program. A second call answers at once.

    python tools/engines/registry.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parent))

from apptainer import engines_folder

import debian


def works(program: Path) -> bool:
    """Whether it starts at all."""
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    return "registry" in done.stdout


def obtain() -> Path:
    """The program ``docker-registry``."""
    if found := shutil.which("docker-registry"):
        return Path(found)
    target = engines_folder() / "registry"
    program = target / "usr/bin/docker-registry"
    if program.is_file() and works(program):
        return program
    debian.obtain(["docker-registry"], target)
    if not works(program):
        raise SystemExit(f"{program} does not start")
    return program


if __name__ == "__main__":
    print(obtain())
