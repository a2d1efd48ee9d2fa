"""Obtain Harper, which reads English, for `make lint`: one folder, nothing installed. It needs Node and npm.

Prints the folder. A second call answers at once.

    python tools/engines/harper.py
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from apptainer import engines_folder

PACKAGE = "harper.js@2.10.0"


def obtain() -> Path:
    """The folder that holds ``node_modules/harper.js``."""
    target = engines_folder() / PACKAGE.replace("@", "-")
    if not (target / "node_modules/harper.js/package.json").is_file():
        npm = shutil.which("npm")
        if npm is None or shutil.which("node") is None:
            raise SystemExit("Harper needs Node and npm")
        working = target.with_name(f".{target.name}")
        shutil.rmtree(working, ignore_errors=True)
        working.mkdir(parents=True)
        words = [
            npm,
            "install",
            "--silent",
            "--no-save",
            "--ignore-scripts",
            "--prefix",
            str(working),
            PACKAGE,
        ]
        subprocess.run(words, check=True, cwd=working, stdout=sys.stderr)
        shutil.rmtree(target, ignore_errors=True)
        working.rename(target)
    return target


if __name__ == "__main__":
    print(obtain())
