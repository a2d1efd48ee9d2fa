"""Why an output was taken from an earlier map, or not: what differed from the nearest one that was kept."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from wingspan._words import moment
from wingspan.maps._memo import facts_of, hits_of, keep_outputs, keys_of, store
from wingspan.maps._memo_store import Trouble

if TYPE_CHECKING:
    from wingspan.maps._facts import MemoFacts
    from wingspan.maps._folder import MapFolder

__all__ = ["why"]

#: What a person reads where digests differ, and nothing that has a name differs.
_UNNAMED = "function: something in it that has no name"


def why(folder: MapFolder, component: int) -> str:
    """Why the output of a component was taken from the store when its map was made, or was not."""
    facts = facts_of(folder.path)
    if facts is None:
        return (
            "computed: nothing was looked for. The map was made without memo=True, has files, gets its inputs later "
            "(from another map, or an executor), or its function holds what cannot be compared"
        )
    if (origin := hits_of(facts, component)) is not None:
        return (
            f"taken: component {origin['component']} of the map {origin.get('tag', '?')!r}, made on "
            f"{moment(origin.get('made'))}, had the same function, input and environment"
        )
    keys = keys_of(folder.path)
    if component >= len(keys):
        return "computed: the digests of the inputs are gone"
    try:
        kept, name = store(), facts["facts"]["name"]
        for other in kept.pending_of(name):
            if other.name != folder.path.name:
                keep_outputs(other, kept)
        others = kept.others(keys[component], name, but=folder.path.name)
    except Trouble as trouble:
        return f"computed; what is kept cannot be looked at: {trouble}"
    return f"computed: {_obstacle(facts, others)}"


def _obstacle(facts: MemoFacts, others: list[dict[str, Any]]) -> str:
    """What kept an output from being taken; `others` are functions that outputs are kept of."""
    mine, digest = facts["facts"], bytes.fromhex(facts["digest"])
    strangers = [one for one in others if one["digest"] != digest]
    told = _nearest((one for one in strangers if one["same_input"]), mine)
    if told is not None:
        return f"an output of the same input is kept, and what differs is {told}"
    if any(one["digest"] == digest and one["count"] for one in others):
        return (
            "input: outputs of the same function and environment are kept, none of them of this input before"
        )
    told = _nearest((one for one in strangers if one["count"]), mine)
    if told is not None:
        return f"outputs of a function of this name are kept, and what differs is {told}; and the input"
    return f"no output of a function called {mine['name']} was kept"


def _nearest(some: Iterable[Mapping[str, Any]], mine: Mapping[str, Any]) -> str | None:
    """What differs from the one that is most like `mine`; None if there is none."""
    told = sorted((_differences(one, mine) for one in some), key=len)
    return ("; ".join(told[0]) or _UNNAMED) if told else None


def _differences(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[str]:
    """What differs between two functions and their environments, in words."""
    told = []
    parts = _changed(old["parts"], new["parts"])
    closure = [name for name in parts if name.startswith(("the value of ", "the object of "))]
    function = [name for name in parts if name not in closure]
    if function:
        told.append(f"function: {_few(function)}")
    if closure:
        told.append(f"closure: {_few(closure)}")
    if modules := _changed(old["modules"], new["modules"]):
        told.append(f"function: modules of your own: {_few(modules)}")
    if old["call"] != new["call"]:
        told.append(f"call: {old['call']}, now {new['call']}")
    if old.get("seed") != new.get("seed"):
        told.append("seed: the function may ask for it, and each map has its own but for Options(seed=…)")
    before, now = old["environment"], new["environment"]
    for name in dict.fromkeys([*before, *now]):
        if before.get(name) == now.get(name):
            continue
        if name == "packages":
            gone, come = set(before.get(name, ())), set(now.get(name, ()))
            told.append(f"environment: packages {_few(sorted(gone - come))} → {_few(sorted(come - gone))}")
        else:
            told.append(f"environment: {name} {before.get(name)} → {now.get(name)}")
    return told


def _changed(old: Mapping[str, str], new: Mapping[str, str]) -> list[str]:
    return [name for name in dict.fromkeys([*old, *new]) if old.get(name) != new.get(name)]


def _few(names: list[str]) -> str:
    return ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "") or "none"
