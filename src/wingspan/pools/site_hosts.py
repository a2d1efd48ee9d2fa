"""Whether this machine can be a site's: asked for each map that is done here, before any profile is read."""

from __future__ import annotations

import fnmatch
import functools
import re
import socket
from pathlib import Path

from wingspan.settings import load_settings

__all__ = ["may_have_a_profile"]

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
    host = socket.getfqdn().lower()
    return any(fnmatch.fnmatchcase(host, pattern.lower()) for pattern in shipped_patterns())


@functools.cache
def shipped_patterns() -> tuple[str, ...]:
    """Patterns of the machines' names that shipped profiles are for."""
    found: list[str] = []
    for path in sorted(_FOLDER.glob("*.toml")):
        for listed in _HOSTS.findall(path.read_text(encoding="utf-8")):
            found += re.findall(r'"([^"]*)"', listed)
    return tuple(found)
