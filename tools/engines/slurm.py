"""Obtain Slurm for the tests: as root from the machine's own Debian, else its packages unpacked into the
user's cache.

Prints the folder that has ``sbatch``. Nothing is started: the fixture `slurm_cluster` of the tests does that.
A second call answers at once.

    python tools/engines/slurm.py
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

PACKAGES = ["slurm-client", "slurmctld", "slurmd", "slurm-wlm-basic-plugins"]
#: What they are linked with, by Debian 12's names: a machine may lack them, and only root can install them.
LIBRARIES = [
    "libdbus-1-3",
    "libhwloc15",
    "libjson-c5",
    "liblua5.1-0",
    "liblz4-1",
    "libmunge2",
    "libnuma1",
    "libreadline8",
    "libyaml-0-2",
]
PROGRAMS = ["sbatch", "scancel", "scontrol", "sinfo", "squeue", "srun", "slurmctld", "slurmd", "slurmstepd"]
#: Where Debian puts the daemons: not on an ordinary user's PATH.
SYSTEM = os.pathsep.join([os.environ.get("PATH", os.defpath), "/usr/sbin", "/sbin"])
WRAPPER = """#!/bin/sh
LD_LIBRARY_PATH="@LIBRARIES@${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "@PROGRAM@" "$@"
"""


def obtain() -> Path:
    """The folder that holds ``sbatch``.

    Raises:
        DebianUnavailable: This is no Debian, or its mirror has no Slurm.
    """
    if all(shutil.which(program, path=SYSTEM) for program in PROGRAMS):
        found = shutil.which("sbatch", path=SYSTEM)
        assert found
        return Path(found).parent
    if os.geteuid() == 0 and shutil.which("apt-get") and _install():
        return Path("/usr/bin")
    return _unpack(engines_folder() / "slurm")


def _install() -> bool:
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = ["-qq", "-y", "--no-install-recommends", "-o", "Dpkg::Use-Pty=0"]
    for command in (["update", "-qq"], ["install", *quiet, *PACKAGES]):
        done = subprocess.run(["apt-get", *command], env=environment, stdout=sys.stderr, check=False)
    return done.returncode == 0


def _unpack(target: Path) -> Path:
    """The packages in `target`, their programs behind wrappers that name the libraries beside them."""
    if works(target / "bin"):
        return target / "bin"
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=".slurm-", dir=target.parent) as name:
        debs = debian.fetch([*PACKAGES, *LIBRARIES], Path(name) / "debs")
        shutil.rmtree(target, ignore_errors=True)  # one that was broken off
        debian.unpack(debs, target / "root")
    folders = {path.parent for path in (target / "root").rglob("*.so.*")}
    folders |= {path.parent for path in (target / "root").rglob("libslurmfull.so")}
    libraries = os.pathsep.join(str(folder) for folder in sorted(folders))
    (target / "bin").mkdir()
    for program in PROGRAMS:
        folder = target / "root/usr" / ("sbin" if program.startswith("slurm") else "bin")
        binary = folder / program
        # slurmd-wlm and its like become slurmd by update-alternatives, which only root can ask; they look at
        # their own name.
        if not binary.is_file() and (folder / f"{program}-wlm").is_file():
            binary.symlink_to(f"{program}-wlm")
        if not binary.is_file():
            raise debian.DebianUnavailable(f"Debian's packages have no {program}")
        text = WRAPPER.replace("@LIBRARIES@", libraries).replace("@PROGRAM@", str(binary))
        (target / "bin" / program).write_text(text)
        (target / "bin" / program).chmod(0o755)
    if not works(target / "bin"):
        raise debian.DebianUnavailable(f"the unpacked {target / 'bin/slurmd'} does not start")
    return target / "bin"


def works(folder: Path) -> bool:
    """The programs in `folder` find their libraries."""
    for program in ("slurmctld", "slurmd"):  # sbatch would look for a configuration, for a minute
        if not (folder / program).is_file():
            return False
        if subprocess.run([folder / program, "-V"], capture_output=True, check=False).returncode:
            return False
    return True


if __name__ == "__main__":
    try:
        print(obtain())
    except debian.DebianUnavailable as error:
        raise SystemExit(f"Slurm could not be obtained: {error}") from None
