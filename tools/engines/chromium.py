"""Obtain Chromium for the tests that drive a real browser (as root, from the machine's own Debian).

Prints the path of the program. A second call answers at once.

    python tools/engines/chromium.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys


def obtain() -> str | None:
    """The browser's program; None where it is not there and cannot be installed."""
    if find() is None and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        quiet = ["-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]
        subprocess.run(["apt-get", "-qq", "update"], check=True, env=environment, stdout=sys.stderr)
        subprocess.run(
            ["apt-get", "install", *quiet, "chromium"], check=True, env=environment, stdout=sys.stderr
        )
    return find()


def find() -> str | None:
    """Where it is, under one of its names."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


if __name__ == "__main__":
    program = obtain()
    if program is None:
        raise SystemExit("Chromium is not there, and only root can install it")
    print(program)
