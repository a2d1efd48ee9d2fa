"""The shadow of a personal pool's jobs: HTCondor's own, told not to let jobs wait for nothing."""

from __future__ import annotations

from pathlib import Path

from wingspan._shell import quoted
from wingspan.pools.personal.installation import Installation
from wingspan.worker import trust

__all__ = ["write_shadow"]

#: With this option a shadow answers "carry on" when the starter asks what to do after the transfer of a job's
#: files; all other questions, such as those about common files, are answered as ever. Without it HTCondor 25
#: often answers "ask again in five seconds", because the shadow has not yet collected the process that sent
#: the files (HTCondor's sources: pseudo_ops.cpp).
_OPTION = "--use-guidance-in-job-ad"


def write_shadow(directory: Path, installation: Installation) -> Path | None:
    """Write the program that the schedd starts as shadow; None if this HTCondor does not know the option."""
    path = directory / "shadow"
    program = installation.sbin / "condor_shadow"
    try:
        known = _OPTION.encode() in program.read_bytes()
    except OSError:
        known = False
    if not known:
        path.unlink(missing_ok=True)
        return None
    text = f'#!/bin/sh\nexec {quoted(program)} {_OPTION} "$@"\n'
    trust.write_whole(str(path), text.encode(), mode=trust.PROGRAM)
    return path
