"""Obtain ShellCheck for `make lint` on a Debian-family machine that has none: one folder, nothing installed.

Prints the folder to put on PATH. A second call answers at once.

    python tools/engines/shellcheck.py
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

PACKAGES = ["shellcheck"]


def obtain() -> Path:
    """The folder that holds ``shellcheck``."""
    found = shutil.which("shellcheck")
    if found:
        return Path(found).parent
    target = engines_folder() / "shellcheck"
    program = target / "usr/bin/shellcheck"
    if not program.is_file():
        debian.obtain(PACKAGES, target)
    subprocess.run([program, "--version"], check=True, capture_output=True)
    return program.parent


if __name__ == "__main__":
    print(obtain())
