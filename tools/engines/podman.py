"""Obtain podman, skopeo and runc for the tests (as root, from the machine's own Debian), with settings that
work in containers.

Prints the folder of the settings: CONTAINERS_CONF and CONTAINERS_STORAGE_CONF of the tests point into it. A
second call answers at once.

    python tools/engines/podman.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from apptainer import engines_folder

PROGRAMS = {"podman": "podman", "skopeo": "skopeo", "runc": "runc"}
# runc, because crun refuses hybrid cgroups; own limits, because root may lack CAP_SYS_RESOURCE
CONTAINERS = """[containers]
default_ulimits = ["nofile=1024:1024", "nproc=1024:1024"]
netns = "host"
[engine]
cgroup_manager = "cgroupfs"
events_logger = "file"
runtime = "runc"
"""


def obtain() -> Path:
    """The folder with ``containers.conf``; podman is on PATH afterwards where that could be done."""
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if missing and os.geteuid() == 0 and shutil.which("apt-get"):
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        quiet = ["-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]
        subprocess.run(["apt-get", "-qq", "update"], check=True, env=environment, stdout=sys.stderr)
        subprocess.run(
            ["apt-get", "install", *quiet, *missing], check=True, env=environment, stdout=sys.stderr
        )
    folder = engines_folder() / "podman"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "containers.conf").write_text(CONTAINERS)
    return folder


if __name__ == "__main__":
    print(obtain())
    if not shutil.which("podman"):
        raise SystemExit("podman is not there, and only root can install it")
