"""What the components of a map need: taken down while the inputs are read, and gathered in few groups."""

from __future__ import annotations

import json
import math
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Sized
from typing import Any

from wingspan._words import counted
from wingspan.errors import SettingsError
from wingspan.jobs import Resources, all_of
from wingspan.maps._entries import ENTRIES, entry_of, spelled, with_entries
from wingspan.maps._errors import InvalidInputs
from wingspan.maps._options import Options
from wingspan.maps._requests import PER_COMPONENT, parse_request
from wingspan.maps._worker_job import resources_of
from wingspan.worker import parts, rounds

__all__ = [
    "MOST_GROUPS",
    "MOST_KINDS",
    "Asked",
    "Group",
    "changed_needs",
    "largest",
    "options_for",
    "with_pilot",
]

#: How many groups of workers a map has at most where sizes and times can be rounded up; and how many where
#: components differ in other things, as each is a submission of its own.
MOST_GROUPS, MOST_KINDS = 16, 64
#: How coarse sizes and times may become, one after the other: neighbours that differ by less are taken
#: together.
_RATIOS = (1.1, 1.25, 1.5, 2.0, 4.0, 16.0, math.inf)
#: What can be rounded up.
_AMOUNTS = frozenset({"request_memory", "request_disk", "time"})

#: Needs, and the components that have them.
Group = tuple[Mapping[str, Any], Sequence[int]]
#: What one component asks for, in the order of the names.
_Row = tuple[Any, ...]


class Asked:
    """What each component of a new map asks for.

    Args:
        options: The map's.
        call: ``"map"``, or ``"starmap"`` where each input is ``(args, kwargs)``.
    """

    def __init__(self, options: Options, call: str) -> None:
        self._options = options
        self._starred = call == "starmap"
        self._names = list(options.each)
        self._rows: dict[_Row, int] = {}
        self._row_of = array("I")

    def reading(self, inputs: Iterable[Any]) -> Iterable[Any]:
        """The inputs, each of them looked at as it passes.

        Raises:
            InvalidInputs: An option has more or fewer values than there are inputs, or a function cannot say
                what a component asks for. What is only known when all inputs are read is raised then.
        """
        if not self._names:
            return inputs
        if isinstance(inputs, Sized):
            self._check_lengths(len(inputs))
        return self._looked_at(inputs)

    def _check_lengths(self, count: int) -> None:
        for name, values in self._options.each.items():
            if not callable(values) and len(values) != count:
                raise InvalidInputs(
                    f"{name} has {counted(len(values), 'value')}, and there are {count:,} inputs",
                    hint="one value for each input, one for all, or a function of the input: "
                    + spelled(name, "lambda x: …"),
                )

    def _looked_at(self, inputs: Iterable[Any]) -> Iterator[Any]:
        known: dict[tuple[str, type, Any], Any] = {}
        entries = [at for at, name in enumerate(self._names) if entry_of(name)[1]]
        count = 0
        for number, given in enumerate(inputs):
            row = tuple(self._value(name, number, given, known) for name in self._names)
            if entries:  # True and 1 are equal in Python, and not to a scheduler
                row = tuple((type(value), value) if at in entries else value for at, value in enumerate(row))
            self._row_of.append(self._rows.setdefault(row, len(self._rows)))
            count = number + 1
            yield given
        self._check_lengths(count)

    def _value(self, name: str, number: int, given: Any, known: dict[tuple[str, type, Any], Any]) -> Any:
        values = self._options.each[name]
        if not callable(values):
            return values[number] if number < len(values) else None  # their number is checked at the end
        try:
            value = values(*given[0], **given[1]) if self._starred else values(given)
        except Exception as error:
            raise InvalidInputs(
                f"the function that says {name} fails for component {number}: {type(error).__name__}: {error}",
                hint="it is called here with what the map's function is called with",
            ) from error
        try:
            if (name, type(value), value) not in known:
                known[name, type(value), value] = parse_request(name, value)
            return known[name, type(value), value]
        except (SettingsError, TypeError) as error:  # a list, say, cannot be looked up
            told = error.message if isinstance(error, SettingsError) else f"{name}={value!r:.60}"
            hint = (
                error.hint
                if isinstance(error, SettingsError)
                else "the function says one value for a component"
            )
            raise InvalidInputs(f"component {number}: {told}", hint=hint) from None

    def groups(self, to_do: Iterable[int]) -> list[Group]:
        """The groups of some components of a map whose inputs were all read; none where no component asks for
        anything of its own.

        Raises:
            InvalidInputs: They ask for too many different things that cannot be rounded up.
        """
        if not self._names or not self._row_of:
            return []
        rounded = _few(list(self._rows), self._names)
        groups: dict[str, tuple[Mapping[str, Any], list[int]]] = {}
        group_of = []
        for row in rounded:
            needs = self._needs(row)
            group_of.append(groups.setdefault(json.dumps(needs, sort_keys=True), (needs, []))[1])
        for component in to_do:
            group_of[self._row_of[component]].append(component)
        return [(needs, members) for needs, members in groups.values() if members]

    def groups_beside(self, to_do: Sequence[int]) -> list[Group]:
        """The groups of the other components, whose outputs are there already."""
        if not self._names or len(to_do) == len(self._row_of):
            return []
        chosen = set(to_do)
        return self.groups(number for number in range(len(self._row_of)) if number not in chosen)

    def _needs(self, row: _Row) -> dict[str, Any]:
        needs = {
            name: value[1] if entry_of(name)[1] else value
            for name, value in zip(self._names, row, strict=True)
        }
        needs = with_entries(needs, {option: getattr(self._options, option) for option in ENTRIES})
        if "requirements" in needs:
            needs["requirements"] = all_of(self._options.requirements, needs["requirements"])
        return {name: value for name, value in needs.items() if value != getattr(self._options, name)}


def _few(rows: list[_Row], names: list[str]) -> list[_Row]:
    """The rows, with sizes and times rounded up until there are `MOST_GROUPS` different ones at most.

    >>> _few([(10,), (11,), (500,)], ["request_memory"])
    [(10,), (11,), (500,)]
    >>> len(set(_few([(size,) for size in range(1000, 9000)], ["request_memory"]))) <= MOST_GROUPS
    True
    """
    if len(set(rows)) <= MOST_GROUPS:
        return rows
    amounts = [at for at, name in enumerate(names) if name in _AMOUNTS]
    kinds = {tuple(value for at, value in enumerate(row) if at not in amounts) for row in rows}
    if len(kinds) > MOST_KINDS:
        told = ", ".join(name for name in names if name not in _AMOUNTS)
        raise InvalidInputs(
            f"the components ask for {len(kinds)} different things ({told}), and a map has {MOST_KINDS} groups of workers "
            "at most",
            hint="ask for fewer different ones, or make several maps",
        )
    for ratio in _RATIOS:
        boxes = [_box(row, amounts, ratio) for row in rows]
        if len(set(boxes)) <= max(MOST_GROUPS, len(kinds)):
            break
    most: dict[_Row, list[Any]] = {}
    for row, box in zip(rows, boxes, strict=True):
        known = most.setdefault(box, list(row))
        for at in amounts:
            if row[at] is not None:
                known[at] = max(known[at], row[at])
    final = {box: tuple(values) for box, values in most.items()}
    return [final[box] for box in boxes]


def _box(row: _Row, amounts: list[int], ratio: float) -> _Row:
    """The values for rows that are taken together."""
    return tuple(
        value
        if at not in amounts or value is None
        else 0
        if ratio == math.inf
        else int(math.log(value) / math.log(ratio))
        for at, value in enumerate(row)
    )


#: The most workers that do a pilot.
_PILOT_WORKERS = 2


def with_pilot(
    groups: Sequence[Group], first: Sequence[int], workers: int, block_size: int | None, *, timed: bool
) -> rounds.Plan:
    """The first round of a map whose pilot are these components; its `rest` are the other ones, whose jobs
    ask for the time that they need if they are `timed`.
    """
    chosen = set(first)
    ahead = [(needs, [one for one in members if one in chosen]) for needs, members in groups]
    ahead = [group for group in ahead if group[1]]
    few = min(workers, _PILOT_WORKERS)
    plan = rounds.plan_by_needs(rounds.INITIAL, ahead, few, 1)
    later = [(needs, [one for one in members if one not in chosen]) for needs, members in groups]
    rest = rounds.plan_by_needs(rounds.INITIAL, [group for group in later if group[1]], workers, block_size)
    plan.rest = rest.parts
    plan.rest_is_timed = timed
    return plan


def options_for(options: Options, needs: Mapping[str, Any]) -> Options:
    """The options of workers that do components with these needs.

    >>> options_for(Options(request_cpus=2), {"request_memory": 1 << 30}).request_memory
    1073741824
    """
    return Options.from_dict({**options.as_dict(), **needs}) if needs else options


def largest(options: Options, plans: Mapping[int, rounds.Plan]) -> Resources:
    """What workers for all components ask for: the most that any component needs."""
    asked = [
        resources_of(options_for(options, part.needs)) for plan in plans.values() for part in plan.parts
    ] or [resources_of(options)]

    def most(name: str) -> Any:
        values = [getattr(one, name) for one in asked]
        return max((value for value in values if value is not None), default=None)

    return Resources(
        cpus=most("cpus"),
        memory=most("memory"),
        disk=most("disk"),
        gpus=most("gpus"),
        time_limit=most("time_limit"),
    )


def are_of_several_kinds(options: Options, groups: Iterable[Group]) -> bool:
    """The groups differ in more than amounts and times: no worker could do components of all of them.

    >>> several = [({"request_memory": 1}, [0]), ({"custom": {"Project": "a"}}, [1])]
    >>> are_of_several_kinds(Options(), several), are_of_several_kinds(Options(), several[:1])
    (True, False)
    """
    usual = options.as_dict()
    return len({parts.kind_of({**usual, **needs}) for needs, _ in groups}) > 1


#: Options that components may be done again with, beside those of `PER_COMPONENT`.
_FOR_RERUN = frozenset({"component_timeout", *ENTRIES, "profile", "switches"})


def changed_needs(usual: Options, changes: Options) -> Callable[[Mapping[str, Any]], dict[str, Any]]:
    """How `Map.rerun` changes needs, when it is given other options. ``workers`` is not about needs.

    Args:
        usual: The map's options.
        changes: What the components are to be done again with.

    Raises:
        SettingsError: One of `changes` is of the whole map.
    """
    if changes.each:
        name = next(iter(changes.each))
        raise SettingsError(
            f"rerun takes one {name} for all components that it does again",
            hint=f"call it once for each value: m.rerun([3, 4], options=Options({spelled(name, '…')}))",
        )
    if changes.given >= {"workers"} and not changes.workers:
        raise SettingsError(
            f"rerun cannot do anything with workers={changes.workers}",
            hint="give at least 1; leave it out, and there are as many as the map had",
        )
    for name in sorted(changes.given - PER_COMPONENT.keys() - _FOR_RERUN - {"workers"}):
        hint = f"options that it takes: {', '.join(sorted({*PER_COMPONENT, *_FOR_RERUN, 'workers'}))}"
        if name == "retries":
            hint = (
                f"what is done again may fail {usual.retries} times more, as they are counted anew; "
                "m.rerun(m.errors) does again what has failed after that"
            )
        raise SettingsError(f"rerun cannot change {name}: it is the same for the whole map", hint=hint)

    def change(needs: Mapping[str, Any]) -> dict[str, Any]:
        joined: Mapping[str, Any] = options_for(usual, needs).merged(changes).as_dict()
        base: Mapping[str, Any] = usual.as_dict()
        kept = {*PER_COMPONENT, *_FOR_RERUN}
        return {name: value for name, value in joined.items() if name in kept and value != base[name]}

    return change
