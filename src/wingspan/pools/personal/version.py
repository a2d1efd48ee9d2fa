"""Versions of HTCondor: which one a program is, and the oldest that will do."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from wingspan.pools.personal.errors import SourceError

__all__ = ["MINIMUM_VERSION", "numbers", "version_of"]

#: The oldest HTCondor that is started. Seen: 25.14.1 works; 23.9.6 (Debian 13) refuses the bindings'
#: authentication.
MINIMUM_VERSION = (24, 0)


def version_of(program: Path, environment: dict[str, str] | None = None) -> str:
    """What ``condor_version`` beside `program` says, such as ``"25.14.1"``.

    Raises:
        SourceError: It cannot be run, or says something else.
    """
    # CONDOR_CONFIG: without any configuration the program refuses to tell even its version.
    environment = {**os.environ, "CONDOR_CONFIG": "/dev/null", **(environment or {})}
    try:
        done = subprocess.run(
            [program], capture_output=True, text=True, timeout=30, env=environment, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SourceError(f"{program} does not run: {error}") from None
    found = re.search(r"\$CondorVersion: (\d+\.\d+\.\d+)", done.stdout)
    if found is None:
        said = (done.stderr or done.stdout).strip().splitlines()
        raise SourceError(f"{program} does not tell its version: {said[-1] if said else 'no output'}")
    return found.group(1)


def numbers(version: str) -> tuple[int, ...]:
    """
    >>> numbers("25.14.1")
    (25, 14, 1)
    """
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
