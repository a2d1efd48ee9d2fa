"""Reading profiles: the shipped ones, and the user's on top of them."""

from __future__ import annotations

import copy
import functools
import graphlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from wingspan.errors import SettingsError
from wingspan.pools.profiles._handed_out import added_tables, handed_out_table, index_written, parse_toml
from wingspan.pools.profiles._model import Profile
from wingspan.pools.profiles._reading import read_profile
from wingspan.pools.site_hosts import fits_this_machine
from wingspan.settings import Settings, load_settings

__all__ = ["chosen_profile", "find_profile", "load_profile", "profile_on_top", "profiles"]


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
    found: dict[str, dict[str, Any]] = {}
    for entry in Path(__file__).parent.iterdir():
        if entry.name.endswith(".toml"):
            found |= parse_toml(entry.read_text(encoding="utf-8"))["profile"]
    return found


def profiles(settings: Settings | None = None) -> dict[str, Profile]:
    """All profiles by name: the shipped ones, those that were added, and on top of them the user's
    ``[profile.NAME]`` tables.

    A table with ``extends = "chtc"`` begins as a copy of that profile.

    Args:
        settings: They hold the user's tables; None: the settings as they are now.

    Raises:
        SettingsError: A table that cannot be read; it says which key.
    """
    settings = settings or load_settings()
    # A map asks several times; settings are the same object as long as nothing has changed.
    written = index_written(settings)
    if _known and _known[0] is settings and _known[1] == written:
        return dict(_known[2])
    found = {
        name: read_profile(name, table, origin)
        for name, (table, origin) in sorted(_tables(settings, settings.profile).items())
    }
    _known[:] = settings, written, found
    return dict(found)


#: The settings, when the list of added profiles was written, and the profiles that were read of both.
_known: list[Any] = []


def _tables(
    settings: Settings, own: Mapping[str, Any], alone: str | None = None
) -> dict[str, tuple[dict[str, Any], str]]:
    """Whole tables by name, each with where it comes from.

    Args:
        settings: Say where added profiles are kept.
        own: Tables that stand on top.
        alone: Name of one that stands on nothing of its own name.
    """
    below: dict[str, Any] = copy.deepcopy(_shipped())
    origins = dict.fromkeys(below, "shipped")
    for name, (table, url) in added_tables(settings).items():
        below[name], origins[name] = table, url
    raw: dict[str, Any] = dict(below)
    for name, table in own.items():
        # A table with the name of a profile that is there, and without `extends`, stands on top of that one.
        stands_on_top = (
            name in below and name != alone and isinstance(table, Mapping) and table.get("extends") is None
        )
        raw[name] = _merged(below[name], table) if stands_on_top else table
        origins[name] = f"{origins[name]}, changed in config.toml" if stands_on_top else "config.toml"
    tables: dict[str, tuple[dict[str, Any], str]] = {}
    for name in _bases_first(raw, below):
        mine = dict(raw[name])
        base = mine.pop("extends", None)
        if base is not None:
            inherited = dict(tables[base][0])
            # It applies only to the machines that it names itself: otherwise it would replace its base there.
            if "environment" not in mine:
                inherited.pop("hosts", None)
            if base.startswith("generic"):
                inherited.pop("title", None)  # "Any HTCondor pool" is no site's name
            mine = _merged(inherited, mine)
        tables[name] = mine, origins[name]
    return tables


def chosen_profile(name: str | None, settings: Settings | None = None) -> Profile:
    """The profile that was named; None: that of this machine.

    Raises:
        SettingsError: There is no such profile, or it cannot be read.
    """
    return find_profile(settings) if name is None else load_profile(name, settings)


def _bases_first(tables: Mapping[str, Any], below: Mapping[str, Any]) -> Iterator[str]:
    """Names of tables, each after the one that it extends.

    Args:
        tables: All of them.
        below: Those that are there without the user's.

    Raises:
        SettingsError: One is no table, extends what is not there, or extends itself, be it by way of others.
    """
    order: graphlib.TopologicalSorter[str] = graphlib.TopologicalSorter()
    for name, table in tables.items():
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
                if name in below
                else f"leave extends out, or name another: {', '.join(below)}",
            )
        elif not isinstance(base, str) or base not in tables:
            raise SettingsError(
                f"[profile.{name}] extends {base!r}, which is not there",
                hint=f"there are: {', '.join(tables)}",
            )
        else:
            order.add(name, base)
    try:
        yield from order.static_order()
    except graphlib.CycleError as error:
        circle = " extends ".join(f"[profile.{name}]" for name in reversed(error.args[1]))
        raise SettingsError(
            f"profiles extend each other in a circle: {circle}", hint="take extends out of one of them"
        ) from None


def load_profile(name: str, settings: Settings | None = None) -> Profile:
    """The profile of that name, or the one that a site hands out at an address.

    Args:
        name: A name; or ``https://…/site.toml#sha256=…``, which is fetched when it is first named, and kept.
        settings: Hold the user's profiles, and say where fetched ones are kept.

    Raises:
        SettingsError: There is none, or it cannot be read, or it is not the one that the digest is of.
    """
    settings = settings or load_settings()
    if "://" in name:
        return profile_on_top(*handed_out_table(name, settings), name, settings)
    known = profiles(settings)
    if name not in known:
        raise SettingsError(
            f"no site profile {name!r}",
            hint=f"there are: {', '.join(known)}; or add [profile.{name}] to config.toml",
        )
    return known[name]


def profile_on_top(name: str, table: Mapping[str, Any], origin: str, settings: Settings) -> Profile:
    """The profile `name` that `table` describes, whatever else has this name.

    Raises:
        SettingsError: It cannot be read, or extends what is not there.
    """
    own = {**settings.profile, name: dict(table)}
    return read_profile(name, _tables(settings, own, alone=name)[name][0], origin)


def find_profile(settings: Settings | None = None, host: str | None = None) -> Profile:
    """The profile of the site that this machine is an access point of; ``generic`` if no pattern fits.

    Where several fit, one that also names this process's environment comes first, then one that the user has
    written or added, then a shipped one.

    Args:
        settings: Holds the user's profiles.
        host: Full name of the machine; by default this one's.
    """
    known = profiles(settings)
    fitting = [profile for profile in known.values() if _is_for(profile, host)]
    return min(fitting, key=_rank, default=known["generic"])


def _is_for(profile: Profile, host: str | None) -> bool:
    return fits_this_machine(profile.hosts, host) and all(
        os.environ.get(name) == value for name, value in profile.environment.items()
    )


def _rank(profile: Profile) -> tuple[int, bool]:
    return -len(profile.environment), profile.origin == "shipped"
