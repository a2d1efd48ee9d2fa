"""The model: what there is to see of a map or a run, as plain values that every face draws."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any, Literal

import attrs

from wingspan._shown import shown

__all__ = [
    "STATES",
    "TEXT_LIMIT",
    "Cells",
    "Detail",
    "ErrorGroup",
    "HoldGroup",
    "Report",
    "Stage",
    "View",
    "WorkerSpan",
    "cut",
    "entry_of",
    "hold_groups",
]

#: States of components and jobs, by the number that stands for each in `Cells`. A failed job of a run counts
#: as errored.
STATES = ("idle", "completed", "errored", "running", "held", "suspended", "removed")

#: What sets colours and the like on a terminal (ECMA-48, SGR).
_COLOUR = re.compile("\x1b\\[[0-9;:]*m")
#: How many reasons for holds are shown.
_MOST_REASONS = 20
#: Characters of a longer text that are shown.
TEXT_LIMIT = 4000


def cut(text: str) -> str:
    """The text, or its beginning and how much is left out."""
    if len(text) <= TEXT_LIMIT:
        return text
    return f"{text[:TEXT_LIMIT]}\n… {len(text) - TEXT_LIMIT:,} characters more"


def clean(text: str) -> str:
    r"""A text from elsewhere, as a page shows it: without a terminal's colours. Characters that cannot be
    seen or turn the direction of writing around stand there as Python writes them.

    >>> clean("\x1b[31mred\x1b[0m\r\n\u202etxt")
    'red\n\\u202etxt'
    """
    return shown(_COLOUR.sub("", text).replace("\r\n", "\n").replace("\r", "\n"))


def _cleaned(value: Any) -> Any:
    return clean(value) if isinstance(value, str) else value


@attrs.frozen(kw_only=True)
class ErrorGroup:
    """Errors of one kind.

    Attributes:
        kind: Type of the exception, such as ``"ZeroDivisionError"``.
        count: How many components failed so.
        component: The first of them: the example.
        text: What the example says.
        hint: What to do about it, or None.
        at_least: There may be more: not all errors were read.
    """

    kind: str
    count: int
    component: int
    text: str
    hint: str | None = None
    at_least: bool = False


@attrs.frozen(kw_only=True)
class HoldGroup:
    """Jobs that are held for one reason.

    Attributes:
        reason: In the scheduler's words.
        count: How many jobs.
        hint: What to do about it.
    """

    reason: str
    count: int
    hint: str


def hold_groups(reasons: Iterable[str | None]) -> tuple[HoldGroup, ...]:
    """Held jobs by reason, the most frequent first.

    Args:
        reasons: One for each job.

    >>> [(group.reason, group.count) for group in hold_groups(["disk", None, "disk"])]
    [('disk', 2), ('held', 1)]
    """
    counts = Counter(reason or "held" for reason in reasons)
    return tuple(
        HoldGroup(reason=reason, count=count, hint="once the reason is gone, Release lets them try again")
        for reason, count in counts.most_common(_MOST_REASONS)
    )


def _plain(one: Any) -> dict[str, Any]:
    return {name: _cleaned(value) for name, value in attrs.asdict(one).items()}


@attrs.frozen(kw_only=True)
class Stage:
    """How far a map before this one in a chain is.

    Attributes:
        name: Its tag.
        components: How many components.
        completed: Those with an output.
        errored: Those that have failed.
    """

    name: str
    components: int
    completed: int
    errored: int


@attrs.frozen(kw_only=True)
class View:
    """How a map or a run fares at one moment.

    Attributes:
        kind: ``"map"`` or ``"run"``.
        name: Its tag, or its name.
        title: The function, or the command.
        components: How many components, or jobs.
        created: When it was made, Unix time.
        now: The moment, Unix time.
        states: Components by state (see `STATES`); only states that some have.
        workers: Jobs by state.
        pools: Kinds of the pools that work on it.
        is_done: Nothing will change by itself.
        rate: Components a second, of late; None: not known.
        left: Seconds until the rest is done, at that rate; None: not known.
        history: ``(Unix time, components finished, workers running)``, oldest first.
        message: What keeps it, with the next step, or None.
        errors: What failed, grouped by kind, the most frequent first.
        holds: Why jobs are held, the most frequent first.
        actions: What can be done to it now: ``"hold"``, ``"release"``, ``"rerun"``, ``"cancel"``.
        is_removed: It is gone; what is shown is what was seen last.
        cancelled: Components that their owner has cancelled; they are among those that are removed.
        before: The maps that it waits for, the first of the chain first.
    """

    kind: Literal["map", "run"]
    name: str
    title: str
    components: int
    created: float
    now: float
    states: Mapping[str, int]
    workers: Mapping[str, int]
    pools: tuple[str, ...]
    is_done: bool
    rate: float | None = None
    left: float | None = None
    history: tuple[tuple[float, int, int], ...] = ()
    message: str | None = None
    errors: tuple[ErrorGroup, ...] = ()
    holds: tuple[HoldGroup, ...] = ()
    actions: tuple[str, ...] = ()
    is_removed: bool = False
    cancelled: int = 0
    before: tuple[Stage, ...] = ()

    @property
    def finished(self) -> int:
        """Components that are completed, have failed, or were cancelled."""
        return self.states.get("completed", 0) + self.states.get("errored", 0) + self.cancelled

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON, under the names of the attributes, and ``finished``."""
        return {
            **self.now_to_json(),
            **self.groups_to_json(),
            "history": [list(point) for point in self.history],
        }

    def now_to_json(self) -> dict[str, Any]:
        """Those of `to_json` that change all the time, and are short."""
        return {
            "kind": self.kind,
            "name": clean(self.name),
            "title": clean(self.title),
            "components": self.components,
            "created": self.created,
            "now": self.now,
            "states": dict(self.states),
            "workers": dict(self.workers),
            "pools": list(self.pools),
            "is_done": self.is_done,
            "rate": self.rate,
            "left": self.left,
            "message": _cleaned(self.message),
            "actions": list(self.actions),
            "is_removed": self.is_removed,
            "cancelled": self.cancelled,
            "finished": self.finished,
        }

    def groups_to_json(self) -> dict[str, Any]:
        """Those of `to_json` that change seldom, and may be long: errors, holds, the maps before this one."""
        return {
            "errors": [_plain(group) for group in self.errors],
            "holds": [_plain(group) for group in self.holds],
            "before": [_plain(stage) for stage in self.before],
        }


@attrs.frozen(kw_only=True)
class Cells:
    """The grid: each cell is a component, or several neighbours where there are too many.

    Attributes:
        first: Number of the first component that is shown.
        stop: Number behind the last one.
        size: Components in a cell.
        layer: What colours a cell: ``"state"``, ``"runtime"`` or ``"memory"``.
        data: For ``"state"`` two bytes a cell: the number of its most telling state in `STATES`, and how much
            of it is finished (0 to 255). For the others one byte a cell: 0 where nothing is known, else 1 to
            255 on a logarithmic scale.
        low, high: What 1 and 255 stand for: seconds, or bytes. None for ``"state"``, and where nothing is
            known.
    """

    first: int
    stop: int
    size: int
    layer: str
    data: bytes
    low: float | None = None
    high: float | None = None


@attrs.frozen(kw_only=True)
class Detail:
    """One component, or job.

    Attributes:
        number: Its number.
        state: See `STATES`.
        facts: What else is known, as pairs to be shown one below the other: host, worker, attempt, seconds,
            memory.
        texts: Longer texts by name, such as ``"input"``, ``"output"``, ``"error"``, ``"stdout"``; cut to
            `TEXT_LIMIT`.
    """

    number: int
    state: str
    facts: tuple[tuple[str, str], ...] = ()
    texts: tuple[tuple[str, str], ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "number": self.number,
            "state": self.state,
            "facts": [[clean(part) for part in fact] for fact in self.facts],
            "texts": [[clean(part) for part in text] for text in self.texts],
        }


@attrs.frozen(kw_only=True)
class WorkerSpan:
    """One job at work, from its submission to its end.

    Attributes:
        name: Of the worker, or the job.
        pool: Kind of its pool.
        host: Where it ran, or None.
        submitted: Unix time, or None where it is not known.
        started: Unix time, or None: not yet.
        ended: Unix time, or None: it is running.
        state: What it is, or was at its end.
        busy: Seconds that its components took.
        components: How many it finished.
    """

    name: str
    pool: str
    host: str | None
    submitted: float | None
    started: float | None
    ended: float | None
    state: str
    busy: float = 0.0
    components: int = 0


@attrs.frozen(kw_only=True)
class Report:
    """What a report is made of.

    Attributes:
        view: How it fares now.
        spans: Its jobs, in the order in which they started.
        started: When each finished component began, Unix time; all four are of equal length, in the order of
            the components.
        runtimes: Seconds of each finished component.
        cpu: Seconds of processor time of each finished component.
        memory: Peak resident memory of each finished component, bytes.
        gpu_use: Use of the GPUs, 0 to 1, of those components that it was measured of.
        gpu_memory: The most GPU memory that was taken meanwhile, bytes.
        requested: What was asked for, as pairs to be shown.
        requested_memory: Bytes that each job asked for, or None.
        requested_cpus: Cores that each job asked for.
        facts: What else is told at the head, as pairs.
    """

    view: View
    spans: tuple[WorkerSpan, ...]
    started: tuple[float, ...]
    runtimes: tuple[float, ...]
    cpu: tuple[float, ...]
    memory: tuple[int, ...]
    gpu_use: tuple[float, ...] = ()
    gpu_memory: tuple[int, ...] = ()
    requested: tuple[tuple[str, str], ...] = ()
    requested_memory: int | None = None
    requested_cpus: int = 1
    facts: tuple[tuple[str, str], ...] = ()


def entry_of(name: str, view: View) -> dict[str, Any]:
    """A line of the list."""
    return {
        "id": name,
        "kind": view.kind,
        "name": clean(view.name),
        "title": clean(view.title),
        "components": view.components,
        "states": dict(view.states),
        "created": view.created,
        "is_done": view.is_done,
    }
