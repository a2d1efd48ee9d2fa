"""Whether this machine can be a site's: asked for each map that is done here, before any profile is read."""

from __future__ import annotations

import fnmatch
import functools
import re
import socket
from collections.abc import Iterable
from pathlib import Path

from wingspan.settings import load_settings

__all__ = ["fits_this_machine", "may_have_a_profile"]

#: The line of a shipped profile that has its patterns; a test compares them with what the parser reads.
_HOSTS = re.compile(r"^hosts = \[(.*)\]$", re.MULTILINE)
_FOLDER = Path(__file__).parent / "profiles"


def may_have_a_profile() -> bool:
    """False if no shipped profile is for machines of this name, and the user has neither written nor added
    any: then the profile in force is ``generic``.
    """
    settings = load_settings()
    if settings.profile or (settings.data_dir / "profiles").exists():
        return True
    return fits_this_machine(shipped_patterns())


def fits_this_machine(patterns: Iterable[str], host: str | None = None) -> bool:
    """A pattern fits a name of this machine.

    The name that the resolver answers may be an alias, or ``localhost``, where the machine itself knows its
    full name; and the other way round. So both count.

    Args:
        patterns: As of a shell, in letters of any case.
        host: A name to be looked at instead.
    """
    names = {name.lower() for name in ((host,) if host else (socket.getfqdn(), socket.gethostname()))}
    return any(fnmatch.fnmatchcase(name, pattern.lower()) for pattern in patterns for name in names)


@functools.cache
def shipped_patterns() -> tuple[str, ...]:
    """Patterns of the machines' names that shipped profiles are for."""
    found: list[str] = []
    for path in sorted(_FOLDER.glob("*.toml")):
        for listed in _HOSTS.findall(path.read_text(encoding="utf-8")):
            found += re.findall(r'"([^"]*)"', listed)
    return tuple(found)
