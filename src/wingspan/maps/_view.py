"""A map as it is shown: the answers of one map to `wingspan.views`."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._words import counted, lasting, moment, sized
from wingspan.errors import WingspanError
from wingspan.maps._folder import MapFolder
from wingspan.maps._pickled import Pickled
from wingspan.maps._several import done_by_pool, told_by_pool
from wingspan.maps._status import ComponentStatus, MapStatus
from wingspan.pools.times import times_of_jobs
from wingspan.views._cells import StateGrid, measure_cells
from wingspan.views._model import (
    TEXT_LIMIT,
    Cells,
    Detail,
    ErrorGroup,
    HoldGroup,
    Report,
    Stage,
    View,
    WorkerSpan,
    cut,
    hold_groups,
)
from wingspan.views._pace import Pace
from wingspan.views._spans import Ran

if TYPE_CHECKING:
    from wingspan.maps._components import Measures, WorkerStart

__all__ = ["MapSource"]

#: How many errors are read at once, and how many kinds of them are shown.
_ERRORS_AT_ONCE, _KINDS = 200, 20


class MapSource:
    """One map. It has a reader of its own, so that the user's `Map` object is not changed.

    Args:
        shown: A `wingspan.Map`, whose module imports this one.
    """

    def __init__(self, shown: Any) -> None:
        self.key = f"map {shown.path}"
        self._map = type(shown)(MapFolder(shown.path))
        self.created: float = self._map._folder.info.created
        self._pace = Pace()
        self._kinds: dict[int, tuple[str, str, str | None]] = {}
        self._grid = StateGrid()

    def exists(self) -> bool:
        """The map has not been removed."""
        return bool(self._map.exists)

    # -- the view --------------------------------------------------------------------------------------------

    def view(self) -> View:
        """How it fares now."""
        status, now = self._map.status(), time.time()
        states = {state.value.lower(): count for state, count in status.counts.items() if count}
        finished = states.get("completed", 0) + states.get("errored", 0) + status.cancelled
        is_done = status.is_done
        self._pace.see(now, finished, status.workers.get("running", 0))
        rate = None if is_done else self._pace.rate()
        return View(
            cancelled=status.cancelled,
            kind="map",
            name=self._map.tag,
            title=self._map.function_name,
            components=status.components,
            created=self.created,
            now=now,
            states=states,
            workers=status.workers,
            pools=status.pools,
            is_done=is_done,
            rate=rate,
            left=(status.components - finished) / rate if rate else None,
            history=tuple(self._pace.points),
            message=status.message,
            errors=self._errors() if states.get("errored") else (),
            holds=self._held(),
            actions=_actions(status),
            before=() if is_done else self._before(),
        )

    def _before(self) -> tuple[Stage, ...]:
        return tuple(
            Stage(name=tag, components=n, completed=completed, errored=failed)
            for tag, (n, completed, failed) in self._map._keeper.stages(
                look=False
            ).items()  # `status` has looked
        )

    def _errors(self) -> tuple[ErrorGroup, ...]:
        failed = self._map._keeper.results.failed
        self._kinds = {number: told for number, told in self._kinds.items() if number in failed}
        new = sorted(failed - self._kinds.keys())[:_ERRORS_AT_ONCE]
        for component in new:
            try:
                error = self._map._error(component)
            except WingspanError as trouble:
                self._kinds[component] = (type(trouble).__name__, trouble.message, trouble.hint)
            else:
                self._kinds[component] = (error.type_name, cut(error.text), error.hint)
        groups: dict[str, list[int]] = {}
        for component in sorted(self._kinds):
            groups.setdefault(self._kinds[component][0], []).append(component)
        partial = len(self._kinds) < len(failed)
        ranked = sorted(groups.items(), key=lambda group: -len(group[1]))
        return tuple(
            ErrorGroup(
                kind=kind,
                count=len(components),
                component=components[0],
                text=self._kinds[components[0]][1],
                hint=self._kinds[components[0]][2],
                at_least=partial,
            )
            for kind, components in ranked[:_KINDS]
        )

    def _held(self) -> tuple[HoldGroup, ...]:
        return hold_groups(job.reason for job in self._map._keeper.jobs.held)

    # -- the grid --------------------------------------------------------------------------------------------

    def cells(self, first: int, stop: int, layer: str, most: int) -> Cells:
        """The grid of some components, by state, runtime or memory."""
        if layer == "runtime":
            return measure_cells(lambda number: self._measure(number, "wall"), first, stop, layer, most)
        if layer == "memory":
            return measure_cells(
                lambda number: self._measure(number, "peak_memory"), first, stop, layer, most
            )
        exceptions = {
            component: status.value.lower() for component, status in self._map._exceptional_statuses().items()
        }
        rest = self._map._status_of_the_rest().value.lower()
        results = self._map._keeper.results
        return self._grid.cells(results.state, exceptions, rest, first, stop, most)

    def _measure(self, component: int, name: str) -> float | None:
        results = self._map._keeper.results
        if not results.state[component] or component in results.cancelled:
            return None
        value: float = getattr(results.measures(component), name)
        return value or None

    # -- one component ---------------------------------------------------------------------------------------

    def detail(self, number: int) -> Detail:
        """Input, output, error, prints and measures of one component."""
        shown = self._map
        if not 0 <= number < len(shown):
            raise IndexError(f"map {shown.tag} has no component {number}")
        status = shown.statuses[number]
        results = shown._keeper.results
        facts: list[tuple[str, str]] = []
        texts: list[tuple[str, str]] = []
        if results.state[number] and number not in results.cancelled:
            measures, start = results.measures(number), results.start_of(number)
            facts += _measured(measures, start)
        else:
            facts += [
                fact for start in results.at_work() if start.component == number for fact in _at_work(start)
            ]
        texts.append(("input", self._input(number)))
        if status is ComponentStatus.ERRORED:
            error = shown._error(number)
            texts.append(("error", error.traceback or f"{error.type_name}: {error.text}"))
            if error.hint:
                texts.append(("what to do", error.hint))
        elif status is ComponentStatus.COMPLETED:
            texts.append(("output", self._output(number)))
        texts += [("stdout", shown.stdout[number]), ("stderr", shown.stderr[number])]
        return Detail(
            number=number,
            state=status.value.lower(),
            facts=tuple(facts),
            texts=tuple((name, cut(text)) for name, text in texts if text),
        )

    def _input(self, number: int) -> str:
        (pickled,) = self._map._folder.input_pickles(number, number + 1)
        return _written(pickled, lambda: self._map.input(number), f"m.input({number})")

    def _output(self, number: int) -> str:
        pickled = self._map._keeper.results.output(number)
        return _written(pickled, lambda: self._map.get(number, timeout=0), f"m[{number}]")

    # -- doing something -------------------------------------------------------------------------------------

    def act(self, action: str) -> str:
        """Hold, release, rerun what failed, or take the jobs out of the queue."""
        shown = self._map
        if action == "hold":
            shown.hold()
            return "its workers are held"
        if action == "release":
            shown.release()
            return "its workers are released"
        if action == "rerun":
            failed = sorted(shown.errors)
            shown.rerun(failed)
            return f"{counted(len(failed), 'component')} will be done again"
        if action == "cancel":
            shown.cancel()
            return "its jobs are out of the queue; what is finished is kept"
        raise WingspanError(
            f"there is no action {action!r}", hint="load the page again: it is of another version"
        )

    # -- the report ------------------------------------------------------------------------------------------

    def report(self) -> Report:
        """Everything about it."""
        view = self.view()
        results = self._map._keeper.results
        started, runtimes, cpu, memory = [], [], [], []
        gpu_use: list[float] = []
        gpu_memory: list[int] = []
        works: dict[str, _Work] = {}
        for measures in self._map._measured().values():
            started.append(measures.started)
            runtimes.append(measures.wall)
            cpu.append(measures.cpu)
            memory.append(measures.peak_memory)
            works.setdefault(measures.worker, _Work()).add(measures.started, measures.wall)
            if measures.gpu_use is not None:
                gpu_use.append(measures.gpu_use)
                gpu_memory.append(measures.gpu_memory or 0)
        options = self._map.options
        info = self._map._folder.info
        facts = [("made", moment(info.created)), ("function", info.function)]
        if info.environment:
            facts.append(("environment", str(info.environment.get("name") or "locked")))
        if by_pool := done_by_pool(self._map._keeper.jobs, results):
            facts.append(("pools", told_by_pool(by_pool)))
        facts += [("requests", note) for note in self._map._folder.notes()]
        return Report(
            view=view,
            spans=tuple(self._spans(results.starts, works)),
            started=tuple(started),
            runtimes=tuple(runtimes),
            cpu=tuple(cpu),
            memory=tuple(memory),
            gpu_use=tuple(gpu_use),
            gpu_memory=tuple(gpu_memory),
            requested=tuple(
                (name.removeprefix("request_").replace("_", " "), str(value))
                for name in (
                    "request_cpus",
                    "request_memory",
                    "request_disk",
                    "request_gpus",
                    "workers",
                    "time",
                )
                if (value := getattr(options, name, None))
            ),
            requested_memory=_bytes(getattr(options, "request_memory", None)),
            requested_cpus=int(getattr(options, "request_cpus", None) or 1),
            facts=tuple(facts),
        )

    def _spans(self, starts: dict[str, WorkerStart], works: dict[str, _Work]) -> list[WorkerSpan]:
        """One span for each time that a job ran, from its pool's event log; for workers of others, from
        their results.
        """
        spans: list[WorkerSpan] = []
        names: dict[int, list[str]] = {}
        for name, start in starts.items():
            names.setdefault(start.number, []).append(name)
        for worker, submission, times in times_of_jobs(
            self._map._folder.submissions.entries(), self._map.path
        ):
            spans += _spans_of(worker, submission.pool, times, sorted(names.pop(worker, [])), starts, works)
        for remaining in names.values():
            spans += [_span_of_start(starts[name], works) for name in remaining]
        return sorted(spans, key=lambda span: span.started or span.submitted or 0.0)


def _actions(status: MapStatus) -> tuple[str, ...]:
    live = [state for state in ("idle", "running", "held", "suspended") if status.workers.get(state)]
    actions = []
    if not status.is_done and (status.workers.get("idle") or status.workers.get("running")):
        actions.append("hold")
    if status.workers.get("held"):
        actions.append("release")
    if status.counts[ComponentStatus.ERRORED]:
        actions.append("rerun")
    if live and not status.is_done:
        actions.append("cancel")
    return tuple(actions)


def _written(pickled: Pickled, load: Callable[[], Any], how: str) -> str:
    """How Python writes a value. A large one is not read into memory only to be shown."""
    if pickled.is_large:
        return f"it is large: {how} reads it"
    try:
        return short_repr(load())
    except Exception as error:  # noqa: BLE001 - a value may need what this session lacks
        return f"cannot be read here: {type(error).__name__}: {error}"


def short_repr(value: Any) -> str:
    """How Python writes a value; of large containers the beginning."""
    import reprlib

    shortener = reprlib.Repr()
    shortener.maxstring = shortener.maxother = TEXT_LIMIT
    shortener.maxlist = shortener.maxtuple = shortener.maxdict = shortener.maxset = 50
    return value if isinstance(value, str) else shortener.repr(value)


def _measured(measures: Measures, start: WorkerStart) -> list[tuple[str, str]]:
    facts = [
        ("runtime", lasting(measures.wall)),
        ("processor time", lasting(measures.cpu)),
        ("peak memory", sized(measures.peak_memory)),
        ("started", moment(measures.started)),
        ("attempt", str(measures.attempt)),
    ]
    if measures.gpu_use is not None:
        facts.append(("GPU use", f"{measures.gpu_use:.0%}"))
        facts.append(("GPU memory", sized(measures.gpu_memory or 0)))
    return [*facts, *_where(start)]


def _at_work(start: WorkerStart) -> list[tuple[str, str]]:
    facts = [("since", moment(start.since))]
    if start.progress is not None and start.progress[0] == start.component:
        facts.append(("progress", str(start.progress[1])))
    if start.peak_memory:
        facts.append(("memory so far", sized(start.peak_memory)))
    return [*facts, *_where(start)]


def _where(start: WorkerStart) -> list[tuple[str, str]]:
    known = start.facts or {}
    facts = [("worker", start.name)]
    for name in ("host", "slot", "gpus", "python"):
        if known.get(name):
            facts.append((name, str(known[name])))
    return facts


def _bytes(text: Any) -> int | None:
    from wingspan.jobs import parse_size

    if text is None:
        return None
    try:
        return int(parse_size(text))
    except (ValueError, TypeError, WingspanError):
        return None


@attrs.define
class _Work:
    """What one start of a worker has finished.

    Attributes:
        first: When it began the first component, Unix time.
        last: When it had finished the last one.
        busy: Seconds that all of them took.
        count: How many.
    """

    first: float = 0.0
    last: float = 0.0
    busy: float = 0.0
    count: int = 0

    def add(self, started: float, wall: float) -> None:
        self.first = min(self.first or started, started)
        self.last = max(self.last, started + wall)
        self.busy += wall
        self.count += 1


def _spans_of(
    worker: int,
    pool: str,
    times: list[Ran],
    names: list[str],
    starts: dict[str, WorkerStart],
    works: dict[str, _Work],
) -> list[WorkerSpan]:
    """Each time the job ran is a span; a job that never ran is one that never started."""
    spans = []
    for at, ran in enumerate(times):
        # The newest names belong to the newest times that the job ran.
        name = names[at - len(times)] if len(names) >= len(times) - at else ""
        start, work = starts.get(name), works.get(name)
        host = (start.facts or {}).get("host") if start is not None else None
        begun, ended = ran.started, ran.ended
        if work is not None and (begun is None or begun > work.first):
            # A pool without an event log tells what its jobs are when it is asked, and not since when.
            is_open = begun is not None and ended is None
            begun, ended = work.first, None if is_open else work.last
        spans.append(
            WorkerSpan(
                name=name or str(worker),
                pool=pool,
                host=str(host or ran.host or "") or None,
                submitted=ran.submitted,
                started=begun,
                ended=ended,
                state=ran.state,
                busy=work.busy if work is not None else 0.0,
                components=work.count if work is not None else 0,
            )
        )
    return spans


def _span_of_start(start: WorkerStart, works: dict[str, _Work]) -> WorkerSpan:
    """A worker that no job of ours is known of: it is known by its results."""
    work = works.get(start.name, _Work())
    return WorkerSpan(
        name=start.name,
        pool="by hand",
        host=str((start.facts or {}).get("host") or "") or None,
        submitted=None,
        started=work.first or start.since or start.last_seen,
        ended=max(work.last, start.last_seen),
        state="completed" if start.left else "running",
        busy=work.busy,
        components=work.count,
    )
