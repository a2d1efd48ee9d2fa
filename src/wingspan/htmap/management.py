"""Finding, removing and looking at maps."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from typing import Any

import wingspan
from wingspan._words import lasting, sized
from wingspan.htmap.exceptions import translated
from wingspan.htmap.maps import Map, map_of
from wingspan.htmap.settings import follow_htmap_dir
from wingspan.htmap.state import ComponentStatus
from wingspan.htmap.tags import get_tags

__all__ = ["clean", "get_tags", "load", "load_maps", "remove", "status", "status_csv", "status_json"]


def load(tag: str) -> Map:
    """The map with this tag.

    Raises:
        TagNotFound: There is none.
    """
    return Map.load(tag)


def load_maps(pattern: str | None = None) -> tuple[Map, ...]:
    """All maps whose tag matches `pattern` (``*``, ``?``, ``[…]``), by tag."""
    follow_htmap_dir()
    with translated():
        return tuple(map_of(one) for one in wingspan.load_maps(pattern))


def remove(tag: str, not_exist_ok: bool = True) -> None:
    """Remove a map: its jobs, its results and its tag.

    Raises:
        TagNotFound: There is none, and `not_exist_ok` is false.
    """
    follow_htmap_dir()
    with translated(tag):
        wingspan.remove(tag, missing_ok=not_exist_ok)


def clean(*, all: bool = False) -> tuple[str, ...]:
    """Remove the maps that nobody gave a tag (with `all`: every map). Answers their tags.

    Maps that are still at work stay, unless `all` is given.
    """
    follow_htmap_dir()
    with translated():
        return wingspan.clean(all=all)


def _record(one: Map, include_state: bool, include_meta: bool) -> dict[str, Any]:
    """What is known of a map, as plain values: bytes and seconds."""
    record: dict[str, Any] = {"tag": one.tag, "transient": one.is_transient, "components": len(one)}
    if include_state:
        counts = one.counts()
        record |= {status.value: counts[status] for status in ComponentStatus.display_statuses()}
    if include_meta:
        times = [measures.wall for measures in one.wingspan_map.runtimes.values()]
        record |= {
            "local_data": one.local_data,
            "max_memory": max(one.wingspan_map.memory.values(), default=0),
            "max_runtime": round(max(times, default=0.0), 3),
            "total_runtime": round(sum(times), 3),
        }
    return record


def _records(maps: Iterable[Map] | None, include_state: bool, include_meta: bool) -> list[dict[str, Any]]:
    chosen = load_maps() if maps is None else maps
    return [_record(one, include_state, include_meta) for one in sorted(chosen)]


#: What a table for people calls the facts, and how it shows them.
_SHOWN: dict[str, tuple[str, Any]] = {
    "local_data": ("Local Data", sized),
    "max_memory": ("Max Memory", sized),
    "max_runtime": ("Max Runtime", lasting),
    "total_runtime": ("Total Runtime", lasting),
}


def status(maps: Iterable[Map] | None = None, include_state: bool = True, include_meta: bool = True) -> str:
    """A table of maps (None: of all), as text. A tag with a star before it was made up.

    Args:
        maps: Which ones.
        include_state: How many components have each status.
        include_meta: Sizes and times.
    """
    columns, rows = status_table(maps, include_state, include_meta)
    widths = [max(map(len, cells)) for cells in zip(columns, *rows, strict=True)]
    lines = [
        "  ".join(
            [
                row[0].ljust(widths[0]),
                *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True)),
            ]
        )
        for row in (columns, *rows)
    ]
    return "\n".join(line.rstrip() for line in lines)


def status_table(
    maps: Iterable[Map] | None, include_state: bool, include_meta: bool
) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of the table of `status`."""
    states = [one.value for one in ComponentStatus.display_statuses()] if include_state else []
    facts = list(_SHOWN) if include_meta else []
    rows = [
        [
            ("* " if record["transient"] else "") + record["tag"],
            *(str(record[name]) for name in states),
            *(_SHOWN[name][1](record[name]) for name in facts),
        ]
        for record in _records(maps, include_state, include_meta)
    ]
    return ["Tag", *states, *(_SHOWN[name][0] for name in facts)], rows


def status_json(
    maps: Iterable[Map] | None = None,
    include_state: bool = True,
    include_meta: bool = True,
    compact: bool = False,
) -> str:
    """The same as `status`, as JSON: an object for each map, by tag; sizes in bytes, times in seconds."""
    records = {record["tag"]: record for record in _records(maps, include_state, include_meta)}
    return json.dumps(records, indent=None if compact else 2, separators=(",", ":") if compact else None)


def status_csv(
    maps: Iterable[Map] | None = None, include_state: bool = True, include_meta: bool = True
) -> str:
    """The same as `status`, as CSV with a line of headings; sizes in bytes, times in seconds."""
    records = _records(maps, include_state, include_meta)
    names = ["tag", "transient", "components"]
    names += [one.value for one in ComponentStatus.display_statuses()] if include_state else []
    names += list(_SHOWN) if include_meta else []
    text = io.StringIO()
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()
