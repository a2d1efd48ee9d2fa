"""This machine's sshd, by which HTCondor opens shells in jobs of a personal pool."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from wingspan._shell import filled
from wingspan.pools.personal.installation import Installation
from wingspan.worker import trust

__all__ = ["find_sshd", "has_sshd", "write_sshd"]


def find_sshd() -> str | None:
    """The machine's sshd, which is seldom on an ordinary user's PATH; None if it has none."""
    places = [os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"]
    return shutil.which("sshd", path=os.pathsep.join(places))


def has_sshd(directory: Path) -> bool:
    """Whether the pool in `directory` was started with an sshd, or the machine has one by now."""
    return (directory / "sshd").exists() or find_sshd() is not None


def write_sshd(directory: Path, installation: Installation) -> Path | None:
    """Write the program that HTCondor starts as sshd; None if this machine has no sshd."""
    path = directory / "sshd"
    program = find_sshd()
    if program is None:
        path.unlink(missing_ok=True)
        return None
    # Debian's package has the library one folder above the one where HTCondor looks for it.
    libraries = (installation.lib / "libgetpwnam.so", installation.lib.parent / "libgetpwnam.so")
    accounts = next((str(library) for library in libraries if library.exists()), "")
    text = filled(Path(__file__).with_name("sshd.sh"), program=program, accounts=accounts)
    trust.write_whole(str(path), text.encode(), mode=trust.PROGRAM)
    return path
