"""Options that name files."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from wingspan._kept_files import is_url
from wingspan.errors import SettingsError

__all__ = ["copied", "joined_remaps", "paths", "per_component", "remaps"]


def paths(given: Any) -> tuple[str, ...]:
    """Paths and URLs as texts.

    Raises:
        SettingsError: One of them is neither.
    """
    if isinstance(given, str | os.PathLike):
        given = (given,)
    if isinstance(given, Mapping | bytes) or not isinstance(given, Iterable):
        raise SettingsError(
            f"input_files={given!r:.60} is no list of files", hint='for example input_files=["data.csv"]'
        )
    paths = tuple(given)
    for one in paths:
        if not isinstance(one, str | os.PathLike) or not str(one):
            raise SettingsError(
                f"input_files names {one!r:.60}, which is no path",
                hint='for example input_files=["data.csv"]',
            )
    return tuple(map(str, paths))


def per_component(given: Any) -> tuple[Any, ...] | None:
    """Files of each component.

    Raises:
        SettingsError: They are no list.
    """
    if given is None:
        return None
    if isinstance(given, str | bytes | os.PathLike | Mapping) or not isinstance(given, Iterable):
        raise SettingsError(
            f"component_input_files={given!r:.60} is no list with an entry for each input",
            hint='for example component_input_files=["a.csv", "b.csv"]; input_files are for all components',
        )
    entries = tuple(
        None if one is None else one if isinstance(one, str | os.PathLike) else paths(one) for one in given
    )
    return tuple(str(one) if isinstance(one, os.PathLike) else one for one in entries)


def remaps(given: Any) -> Any:
    """Where output files go: a table of URLs and whole paths by name, or a list of such tables.

    Raises:
        SettingsError: It is neither.
    """
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return _remap(given)
    if isinstance(given, str | bytes) or not isinstance(given, Iterable):
        raise _no_remap(given)
    return [_remap(one) for one in given]


def _remap(given: Any) -> dict[str, str]:
    if not isinstance(given, Mapping):
        raise _no_remap(given)
    checked = {}
    for name, target in given.items():
        if not isinstance(name, str | os.PathLike) or not isinstance(target, str | os.PathLike):
            raise _no_remap({name: target})
        if "/" in str(name):
            raise SettingsError(
                f"output_remaps names {str(name)!r}, and only the last part of a path counts",
                hint=f"write {str(name).rpartition('/')[2]!r}",
            )
        text = str(target)
        checked[str(name)] = text if is_url(text) else os.path.abspath(os.path.expanduser(text))  # noqa: PTH100, PTH111 - a text
    return checked


def _no_remap(given: Any) -> SettingsError:
    return SettingsError(
        f"output_remaps={given!r:.60} says not where files go",
        hint='for example output_remaps={"out.csv": "osdf:///ospool/me/out-{component}.csv"}',
    )


def joined_remaps(earlier: Any, later: Any) -> Any:
    """Both tables, name by name, where they are for all components; else the later one."""
    several = isinstance(earlier, list) or isinstance(later, list)
    return later if several else {**earlier, **later}


def copied(remaps: Any) -> Any:
    """The same, as values of its own."""
    return dict(remaps) if isinstance(remaps, Mapping) else [dict(one) for one in remaps]
