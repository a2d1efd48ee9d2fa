"""Reading profiles: the shipped ones, and the user's on top of them."""

from __future__ import annotations

import copy
import fnmatch
import functools
import graphlib
import socket
import sys
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from wingspan.errors import SettingsError
from wingspan.pools.profiles._model import Profile
from wingspan.pools.profiles._reading import read_profile
from wingspan.settings import Settings, load_settings

__all__ = ["find_profile", "load_profile", "profiles"]

def _merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """`above` on `below`: tables are joined, all else is replaced."""
    both = dict(below)
    for key, value in above.items():
        under = both.get(key)
        both[key] = (
            _merged(under, value) if isinstance(under, Mapping) and isinstance(value, Mapping) else value
        )
    return both


@functools.cache
def _shipped() -> dict[str, dict[str, Any]]:
    # Each process that makes a map reads them. Python's own parser, where it has one, is imported and done in
    # a third of the time.
    if sys.version_info >= (3, 11):
        from tomllib import loads
    else:
        import tomlkit

        def loads(text: str) -> dict[str, Any]:
            return tomlkit.parse(text).unwrap()

    found: dict[str, dict[str, Any]] = {}
    for entry in resources.files(__package__ or "wingspan.pools.profiles").iterdir():
        if entry.name.endswith(".toml"):
            found |= loads(entry.read_text(encoding="utf-8"))["profile"]
    return found


def profiles(settings: Settings | None = None) -> dict[str, Profile]:
    """All profiles by name: the shipped ones, with the user's ``[profile.NAME]`` tables on top of them.

    A table with ``extends = "chtc"`` begins as a copy of that profile.

    Args:
        settings: They hold the user's tables; None: the settings as they are now.

    Raises:
        SettingsError: A table that cannot be read; it says which key.
    """
    shipped: dict[str, Any] = copy.deepcopy(_shipped())
    own = (settings or load_settings()).profile
    tables = dict(shipped)
    for name in _bases_first(own, shipped):
        mine = dict(own[name])
        base = mine.pop("extends", None)
        # A table that has the name of a shipped profile and extends nothing stands on top of that profile.
        below = shipped.get(name, {}) if base is None else tables[base]
        tables[name] = _merged(below, mine)
    return {name: read_profile(name, table) for name, table in sorted(tables.items())}


def _bases_first(own: Mapping[str, Any], shipped: Mapping[str, Any]) -> Iterator[str]:
    """Names of the user's tables, each after the one that it extends.

    Raises:
        SettingsError: One is no table, extends what is not there, or extends itself, be it by way of others.
    """
    order: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name, table in own.items():
        if not isinstance(table, Mapping):
            raise SettingsError(
                f"[profile.{name}] is not a table", hint=f"write [profile.{name}] and its keys below it"
            )
        base = table.get("extends")
        if base is None:
            order.add(name)
        elif base == name:
            raise SettingsError(
                f"[profile.{name}] extends itself",
                hint=f"leave extends out: the table then changes what the shipped profile {name!r} says"
                if name in shipped
                else f"leave extends out, or name another: {', '.join(shipped)}",
            )
        elif not isinstance(base, str) or (base not in own and base not in shipped):
            raise SettingsError(
                f"[profile.{name}] extends {base!r}, which is not there",
                hint=f"there are: {', '.join(dict.fromkeys((*shipped, *own)))}",
            )
        else:
            order.add(name, base)
    try:
        yield from (name for name in order.static_order() if name in own)
    except graphlib.CycleError as error:
        circle = " extends ".join(f"[profile.{name}]" for name in reversed(error.args[1]))
        raise SettingsError(
            f"profiles extend each other in a circle: {circle}", hint="take extends out of one of them"
        ) from None


def load_profile(name: str, settings: Settings | None = None) -> Profile:
    """The profile of that name.

    Raises:
        SettingsError: There is none, or the user's cannot be read.
    """
    known = profiles(settings)
    if name not in known:
        raise SettingsError(
            f"no site profile {name!r}",
            hint=f"there are: {', '.join(known)}; or add [profile.{name}] to config.toml",
        )
    return known[name]


def find_profile(settings: Settings | None = None, host: str | None = None) -> Profile:
    """The profile of the site that this machine is an access point of; ``generic`` if no pattern fits.

    Args:
        settings: Holds the user's profiles.
        host: Full name of the machine; by default this one's.
    """
    host = (host or socket.getfqdn()).lower()
    known = profiles(settings)
    for profile in known.values():
        if any(fnmatch.fnmatchcase(host, pattern.lower()) for pattern in profile.hosts):
            return profile
    return known["generic"]
