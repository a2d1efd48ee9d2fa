"""`Map`: HTMap's words for a map of Wingspan's."""

from __future__ import annotations

import contextlib
import datetime
import functools
import os
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import wingspan
from wingspan._words import counted
from wingspan.htmap.errors import ComponentError, component_error
from wingspan.htmap.exceptions import (
    CannotRerunComponents,
    CannotRetagMap,
    CannotRetagToInvalid,
    CannotRetagToTaken,
    ExpectedError,
    MapComponentHeld,
    MapComponentRemoved,
    MapWasRemoved,
    OutputNotFound,
    TimeoutError,
    component_error_of,
    of_component,
    translated,
)
from wingspan.htmap.holds import ComponentHold
from wingspan.htmap.options import MapOptions
from wingspan.htmap.settings import follow_htmap_dir, wait_time
from wingspan.htmap.state import ComponentStatus, status_of
from wingspan.htmap.streams import MapOutputFiles, MapStdErr, MapStdOut
from wingspan.htmap.submission import changed_options
from wingspan.maps._display import WaitDisplay
from wingspan.maps._waiting import deadline_of

__all__ = ["Map", "map_of"]

Timeout = float | datetime.timedelta | None
_Method = TypeVar("_Method", bound=Callable[..., Any])

#: Pause between two looks at a paused map (s).
_PAUSE = 0.05
#: What can be done again: everything else is still to be done.
_AT_REST = frozenset(
    {ComponentStatus.COMPLETED, ComponentStatus.ERRORED, ComponentStatus.HELD, ComponentStatus.REMOVED}
)
#: Nothing more comes of these by itself.
_ENDED = frozenset({ComponentStatus.COMPLETED, ComponentStatus.ERRORED, ComponentStatus.REMOVED})

#: The maps of this process, by the name of their folder: one object for each.
_alive: weakref.WeakValueDictionary[str, Map] = weakref.WeakValueDictionary()


def map_of(one: wingspan.Map) -> Map:
    """HTMap's object for a map of Wingspan's; the same one each time."""
    name = one.path.name
    found = _alive.get(name)
    if found is None:
        found = _alive[name] = Map(one)
    return found


def _as_htmap(method: _Method) -> _Method:
    """For methods: a removed map refuses, and Wingspan's errors become HTMap's."""

    @functools.wraps(method)
    def call(self: Map, *args: Any, **kwargs: Any) -> Any:
        self._check_it_is_there()
        with translated(self.tag):
            return method(self, *args, **kwargs)

    return call  # type: ignore[return-value]


class Map(Sequence[Any]):
    """A function applied to many inputs, found again by its tag.

    ``m[i]`` does not wait, ``m.get(i)`` does. Components are numbered from 0; no negative numbers, no slices.

    Attributes:
        wingspan_map: The `wingspan.Map` behind it, with everything that HTMap did not have.
    """

    def __init__(self, wingspan_map: wingspan.Map) -> None:
        self.wingspan_map = wingspan_map
        self._is_removed = False

    @classmethod
    def load(cls, tag: str) -> Map:
        """The map with this tag; the same object as long as it is in use in this process.

        Raises:
            TagNotFound: There is none.
        """
        follow_htmap_dir()
        with translated(tag):
            return map_of(wingspan.load(tag))

    def __reduce__(self) -> tuple[Any, ...]:
        return map_of, (self.wingspan_map,)

    def _check_it_is_there(self) -> None:
        if self._is_removed or not self.wingspan_map.exists:
            raise MapWasRemoved(f"the map {self.tag} was removed", hint="make it again")

    # -- facts -----------------------------------------------------------------------------------------------

    @property
    def tag(self) -> str:
        """Its name."""
        return self.wingspan_map.tag

    @property
    def exists(self) -> bool:
        """It has not been removed."""
        return self.wingspan_map.exists

    @property
    def is_transient(self) -> bool:
        """Nobody chose its tag: `clean` removes it."""
        return self.wingspan_map.is_transient

    @property
    def components(self) -> tuple[int, ...]:
        """The numbers of its components."""
        return tuple(self.wingspan_map.components)

    def __len__(self) -> int:
        return len(self.wingspan_map)

    def __contains__(self, component: object) -> bool:
        """`component` is the number of a component. (It is not looked for among the outputs.)"""
        return component in self.wingspan_map.components

    def __repr__(self) -> str:
        return f"Map(tag = {self.tag})"

    def __lt__(self, other: Map) -> bool:
        return self.tag < other.tag if isinstance(other, Map) else NotImplemented

    def __le__(self, other: Map) -> bool:
        return self.tag <= other.tag if isinstance(other, Map) else NotImplemented

    def __gt__(self, other: Map) -> bool:
        return self.tag > other.tag if isinstance(other, Map) else NotImplemented

    def __ge__(self, other: Map) -> bool:
        return self.tag >= other.tag if isinstance(other, Map) else NotImplemented

    def number(self, component: Any) -> int:
        """`component`, if there is such a one.

        Raises:
            IndexError: There is none.
        """
        if component not in self:
            raise IndexError(f"component {component} of map {self.tag}, which has {len(self):,}")
        return int(component)

    # -- outputs ---------------------------------------------------------------------------------------------

    def __getitem__(self, component: Any) -> Any:
        """The output of a component, if it is there.

        Raises:
            OutputNotFound: It is not there yet.
            MapComponentError: The component has failed.
            MapComponentHeld: Its job is held.
            IndexError: There is no such component.
        """
        if isinstance(component, slice):
            raise TypeError("a map has no slices: write [m.get(i) for i in …], or m.wingspan_map[…]")
        return self.get(component, timeout=0)

    @_as_htmap
    def get(self, component: int, timeout: Timeout = None) -> Any:
        """The output of a component; waits for it.

        Args:
            component: Its number.
            timeout: Seconds (or a timedelta) to wait; None waits for ever, 0 not at all.

        Raises:
            OutputNotFound: It is not there yet, and `timeout` is not above 0.
            TimeoutError: It was not there in time.
            MapComponentError, MapComponentHeld, MapComponentRemoved: It will not come by itself.
            IndexError: There is no such component.
        """
        number = self.number(component)
        return self._waited_for(number, timeout, functools.partial(self.wingspan_map.get, number))

    def wait_for_one(self, number: int, timeout: Timeout) -> None:
        """Wait until a component has an output or has failed.

        Raises:
            OutputNotFound, TimeoutError, MapComponentHeld, MapComponentRemoved: As for `get`.
        """
        self._waited_for(number, timeout, functools.partial(self.wingspan_map._finished_component, number))

    def _waited_for(self, number: int, timeout: Timeout, ask: Callable[..., Any]) -> Any:
        """What `ask` answers of a component; it is asked with short timeouts, until `timeout` is over."""
        deadline = deadline_of(timeout)
        while True:
            left = _turn() if deadline is None else deadline - time.monotonic()
            turn = max(0.0, min(_turn(), left))
            try:
                return ask(timeout=turn)
            except (wingspan.OutputNotReady, wingspan.MapTimeout) as error:
                if component_error_of(error) is not None:
                    raise
            except (wingspan.ComponentHeld, wingspan.ComponentRemoved) as error:
                if component_error_of(error) is not None:
                    raise
                self._check_comes(number)
                time.sleep(min(turn, _PAUSE))  # it is paused, or goes on by now
            self._check_comes(number)
            if left <= 0:
                waited = timeout.total_seconds() if isinstance(timeout, datetime.timedelta) else timeout
                if waited is not None and waited > 0:
                    raise TimeoutError(f"component {number} of map {self.tag} was not there in time")
                raise OutputNotFound(
                    f"component {number} of map {self.tag} is not done", hint="m.get(i) waits for it"
                )

    def _check_comes(self, number: int) -> None:
        """See that a component that has no output yet is not held or removed."""
        counts = self.counts()
        if not counts[ComponentStatus.HELD] and not counts[ComponentStatus.REMOVED]:
            return
        status = self.component_statuses[number]
        if status is ComponentStatus.HELD:
            self._raise_held(number)
        if status is ComponentStatus.REMOVED:
            self._raise_removed(number)

    def _raise_held(self, number: int) -> NoReturn:
        hold = self.wingspan_map.holds.get(number)
        reason = ComponentHold(hold.code, hold.reason) if hold else "the scheduler does not say why"
        raise MapComponentHeld(
            f"component {number} of map {self.tag} is held: {reason}",
            hint="m.release() lets it try again once the reason is gone",
        )

    def _raise_removed(self, number: int) -> NoReturn:
        raise MapComponentRemoved(
            f"the job of component {number} of map {self.tag} was removed from the queue",
            hint=f"m.rerun([{number}]) does it again",
        )

    @_as_htmap
    def get_err(self, component: int, timeout: Timeout = None) -> ComponentError:
        """What is known of a component that failed; waits for that.

        Args:
            component: Its number.
            timeout: Seconds (or a timedelta) to wait; None waits for ever, 0 not at all.

        Raises:
            ExpectedError: The component has an output.
            OutputNotFound, TimeoutError, MapComponentHeld, IndexError: As for `get`.
        """
        number = self.number(component)
        self.wait_for_one(number, timeout)
        found = self.wingspan_map.errors.get(number)
        if found is None:
            raise ExpectedError(
                f"component {number} of map {self.tag} has an output", hint=f"m[{number}] is it"
            )
        return self._error(found)

    def _error(self, error: wingspan.ComponentError) -> ComponentError:
        starts = self.wingspan_map._keeper.results.starts
        start = starts.get(error.worker or "")
        return component_error(self, error, start.facts if start else None)

    def __iter__(self) -> Iterator[Any]:
        return self.iter()

    def iter(self, timeout: Timeout = None, *, return_exceptions: bool = False) -> Iterator[Any]:
        """The outputs in the order of the inputs.

        Args:
            timeout: Seconds (or a timedelta) to wait for each.
            return_exceptions: Give the exception of a component that failed instead of raising it. (HTMap did
                not have that.)
        """
        return self._outcomes(self.wingspan_map.iter, timeout, return_exceptions)

    def iter_with_inputs(
        self, timeout: Timeout = None, *, return_exceptions: bool = False
    ) -> Iterator[tuple[tuple[tuple[Any, ...], dict[str, Any]], Any]]:
        """``((args, kwargs), output)`` in the order of the inputs; the arguments are those of `iter`."""
        return self._with_inputs(self.wingspan_map.iter, timeout, return_exceptions)

    def iter_as_available(self, timeout: Timeout = None, *, return_exceptions: bool = False) -> Iterator[Any]:
        """The outputs in the order in which they come.

        Args:
            timeout: Seconds (or a timedelta) for the whole iteration.
            return_exceptions: As for `iter`.
        """
        return self._outcomes(self.wingspan_map.iter_as_available, timeout, return_exceptions)

    def iter_as_available_with_inputs(
        self, timeout: Timeout = None, *, return_exceptions: bool = False
    ) -> Iterator[tuple[tuple[tuple[Any, ...], dict[str, Any]], Any]]:
        """``((args, kwargs), output)`` in the order in which they come; see `iter_as_available`."""
        return self._with_inputs(self.wingspan_map.iter_as_available, timeout, return_exceptions)

    def _outcomes(self, iterate: Callable[..., Iterator[Any]], timeout: Timeout, safe: bool) -> Iterator[Any]:
        self._check_it_is_there()
        return self._translated(iterate(return_exceptions=safe, timeout=timeout), safe)

    def _with_inputs(
        self, iterate: Callable[..., Iterator[Any]], timeout: Timeout, safe: bool
    ) -> Iterator[tuple[tuple[tuple[Any, ...], dict[str, Any]], Any]]:
        self._check_it_is_there()
        pairs = iterate(with_inputs=True, return_exceptions=safe, timeout=timeout)
        return ((self._call(given), self._told(outcome)) for given, outcome in self._translated(pairs, False))

    def _translated(self, outcomes: Iterator[Any], safe: bool) -> Iterator[Any]:
        """What `outcomes` gives, and HTMap's errors for what it raises."""
        while True:
            try:
                with translated(self.tag):
                    outcome = next(outcomes)
            except StopIteration:
                return
            yield self._told(outcome) if safe else outcome

    def _told(self, outcome: Any) -> Any:
        """An outcome; where it is the exception of a component, the one that `get` would raise."""
        error = component_error_of(outcome) if isinstance(outcome, Exception) else None
        if error is None:
            return outcome
        made = of_component(error, self.tag)
        made.__cause__ = outcome
        return made

    def _call(self, given: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """An input as the arguments of a call."""
        if self.wingspan_map._folder.info.call == "starmap":
            args, kwargs = given
            return tuple(args), dict(kwargs)
        return (given,), {}

    def iter_inputs(self) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
        """The inputs, as ``(args, kwargs)``, in order."""
        self._check_it_is_there()
        return map(self._call, self._translated(self.wingspan_map.iter_inputs(), False))

    # -- how it fares ----------------------------------------------------------------------------------------

    def counts(self) -> Mapping[ComponentStatus, int]:
        """How many components have each status."""
        counts = dict.fromkeys(ComponentStatus, 0)
        for status, count in self.wingspan_map.status().counts.items():
            counts[status_of(status)] += count
        if counts[ComponentStatus.HELD] and self._is_paused():
            counts[ComponentStatus.SUSPENDED] += counts[ComponentStatus.HELD]
            counts[ComponentStatus.HELD] = 0
        return counts

    def _is_paused(self) -> bool:
        """All that is held is held because of `pause`."""
        held = self.wingspan_map._keeper.jobs.held
        return bool(held) and self._pause.exists() and all(job.held_by_person for job in held)

    @property
    def _pause(self) -> Path:
        """A file that is there from `pause` until `resume`: HTCondor tells a paused job from a held one, and
        other pools do not."""
        return Path(self.wingspan_map.path) / "paused"

    @_as_htmap
    def wait(
        self,
        timeout: Timeout = None,
        show_progress_bar: bool = False,
        holds_ok: bool = False,
        errors_ok: bool = False,
    ) -> None:
        """Wait until all components are completed.

        Args:
            timeout: Seconds (or a timedelta); None waits for ever.
            show_progress_bar: Draw a bar on standard error.
            holds_ok: Components that are held count as done.
            errors_ok: Components that have failed count as done.

        Raises:
            TimeoutError: The time was over first.
            MapComponentHeld, MapComponentError: A component is held, or has failed, and that is not ok.
            MapComponentRemoved: The job of a component was removed from the queue.
        """
        deadline, one = deadline_of(timeout), self.wingspan_map
        with WaitDisplay(one._keeper, show_progress_bar) as display:
            while not self._is_waited_for(holds_ok, errors_ok):
                display.update()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(
                        f"map {self.tag} was not done in time", hint="it goes on; ask again later"
                    )
                turn = _turn() if left is None else min(_turn(), left)
                with contextlib.suppress(wingspan.MapTimeout):
                    one.wait(turn, progress=False, errors_ok=True, holds_ok=True)
            display.update()

    def _is_waited_for(self, holds_ok: bool, errors_ok: bool) -> bool:
        """The map needs no more waiting.

        Raises:
            MapComponentHeld, MapComponentError, MapComponentRemoved: As for `wait`.
        """
        counts = self.counts()
        if counts[ComponentStatus.ERRORED] and not errors_ok:
            first = min(self.wingspan_map.errors)
            self.wingspan_map.get(first, timeout=0)
        if counts[ComponentStatus.HELD] and not holds_ok:
            self._raise_held(min(self.wingspan_map.holds, default=0))
        open_ones = len(self) - sum(counts[status] for status in _ENDED)
        if counts[ComponentStatus.REMOVED] and not open_ones:
            self._raise_removed(self.component_statuses.index(ComponentStatus.REMOVED))
        return not open_ones - (counts[ComponentStatus.HELD] if holds_ok else 0)

    @property
    def is_done(self) -> bool:
        """All components are completed."""
        with translated(self.tag):
            return self.counts()[ComponentStatus.COMPLETED] == len(self)

    @property
    def is_active(self) -> bool:
        """Some component is still to be done, or held. (Removed ones do not count here.)"""
        with translated(self.tag):
            return sum(self.counts()[status] for status in _ENDED) < len(self)

    @property
    def component_statuses(self) -> list[ComponentStatus]:
        """The status of each component, as of now."""
        with translated(self.tag):
            statuses = [status_of(status) for status in self.wingspan_map.statuses]
            if ComponentStatus.HELD in statuses and self._is_paused():
                paused = {ComponentStatus.HELD: ComponentStatus.SUSPENDED}
                statuses = [paused.get(status, status) for status in statuses]
            return statuses

    @_as_htmap
    def components_by_status(self) -> Mapping[ComponentStatus, tuple[int, ...]]:
        """Component numbers by status; statuses that no component has are left out."""
        groups: dict[ComponentStatus, list[int]] = {}
        for component, status in enumerate(self.component_statuses):
            groups.setdefault(status, []).append(component)
        return {status: tuple(components) for status, components in groups.items()}

    @_as_htmap
    def status(self) -> str:
        """How far it is, as one line."""
        counts = self.counts()
        shown = list(ComponentStatus.display_statuses())
        shown += [status for status, count in counts.items() if count and status not in shown]
        told = " | ".join(f"{status.value} = {counts[status]}" for status in shown)
        return f"Map {self.tag} ({counted(len(self), 'component')}): {told}"

    @property
    def holds(self) -> dict[int, ComponentHold]:
        """Why components are held, by component."""
        with translated(self.tag):
            holds = self.wingspan_map.holds
            paused = bool(holds) and self._is_paused()
            return {} if paused else {n: ComponentHold(one.code, one.reason) for n, one in holds.items()}

    @_as_htmap
    def hold_report(self) -> str:
        """Why components are held, as a table."""
        rows = [("Component", "Code", "Hold Reason")]
        rows += [
            (str(number), "" if hold.code is None else str(hold.code), hold.reason)
            for number, hold in self.holds.items()
        ]
        widths = [max(len(row[place]) for row in rows) for place in range(3)]
        return "\n".join(
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        )

    @property
    def errors(self) -> dict[int, ComponentError]:
        """What has failed so far, by component. Does not wait."""
        with translated(self.tag):
            return {number: self._error(error) for number, error in self.wingspan_map.errors.items()}

    def error_reports(self) -> Iterator[str]:
        """A report of each component that has failed so far. Does not wait."""
        self._check_it_is_there()
        return (error.report() for error in self.errors.values())

    @property
    def memory_usage(self) -> list[int]:
        """Peak memory of each component, MB; 0 where it is not known."""
        with translated(self.tag):
            known = self.wingspan_map.memory
            return [-(-known.get(number, 0) // (1 << 20)) for number in self.wingspan_map.components]

    @property
    def runtime(self) -> list[datetime.timedelta]:
        """Wall time of each component; 0 where it is not finished. (HTMap told processor time.)"""
        with translated(self.tag):
            known = self.wingspan_map.runtimes
            return [
                datetime.timedelta(seconds=known[number].wall if number in known else 0)
                for number in self.wingspan_map.components
            ]

    @property
    def local_data(self) -> int:
        """Bytes of its files on this machine."""
        total = 0
        for folder, _, names in os.walk(self.wingspan_map.path):  # what vanishes meanwhile is passed over
            for name in names:
                with contextlib.suppress(FileNotFoundError):
                    total += Path(folder, name).lstat().st_size
        return total

    @property
    def stdout(self) -> MapStdOut:
        """What components print."""
        return MapStdOut(self)

    @property
    def stderr(self) -> MapStdErr:
        """What components write to standard error."""
        return MapStdErr(self)

    @property
    def output_files(self) -> MapOutputFiles:
        """The folders with the files that components have sent."""
        return MapOutputFiles(self)

    # -- doing something to it -------------------------------------------------------------------------------

    @_as_htmap
    def hold(self) -> None:
        """Hold its jobs; `release` lets them go on."""
        if self.is_active:
            self._pause.unlink(missing_ok=True)
            self.wingspan_map.hold()

    @_as_htmap
    def release(self) -> None:
        """Let held jobs go on."""
        if self.is_active:
            self.wingspan_map.release()
            self._pause.unlink(missing_ok=True)

    @_as_htmap
    def pause(self) -> None:
        """Stop its jobs; `resume` lets them go on. Components that were at work begin anew then."""
        if self.is_active:
            self._pause.touch()
            self.wingspan_map.pause()

    @_as_htmap
    def resume(self) -> None:
        """Let paused jobs go on."""
        self.release()

    @_as_htmap
    def vacate(self) -> None:
        """Send its jobs off their machines; they go on elsewhere."""
        if self.is_active:
            self.wingspan_map.vacate()

    @_as_htmap
    def set_memory(self, memory: int) -> None:
        """Have jobs that have not begun ask for other memory; those that run keep what they have.

        Args:
            memory: MB, as a number.
        """
        if self.is_active:
            self.wingspan_map.set_memory(memory)

    @_as_htmap
    def set_disk(self, disk: int) -> None:
        """Have jobs that have not begun ask for other disk; those that run keep what they have.

        Args:
            disk: kB, as a number.
        """
        if self.is_active:
            self.wingspan_map.set_disk(f"{disk}KB")

    @_as_htmap
    def rerun(self, components: Iterable[int] | None = None, map_options: MapOptions | None = None) -> None:
        """Do components again; all of them, if none are given. What they had is given up.

        Args:
            components: Their numbers.
            map_options: What they ask for from now on: more memory, for instance. (HTMap did not have that.)

        Raises:
            CannotRerunComponents: Some of them are still to be done.
            IndexError: There is no such component.
        """
        chosen = list(self.components) if components is None else [self.number(one) for one in components]
        statuses = self.component_statuses
        busy = [number for number in chosen if statuses[number] not in _AT_REST]
        if busy:
            raise CannotRerunComponents(
                f"component {busy[0]} of map {self.tag} is {statuses[busy[0]].value.lower()}",
                hint="wait until it is done; m.wingspan_map.rerun does it again at once",
            )
        self.wingspan_map.rerun(chosen, options=None if map_options is None else changed_options(map_options))

    @_as_htmap
    def retag(self, tag: str) -> None:
        """Give it another tag; it is then no longer transient.

        Raises:
            CannotRetagMap: The tag cannot be used (also an `InvalidTag`), another map has it (also a
                `TagAlreadyExists`), or the map has it already.
        """
        if tag == self.tag:
            raise CannotRetagMap(f"the map has the tag {tag} already", hint="give another one")
        try:
            self.wingspan_map.retag(tag)
        except wingspan.InvalidTag as error:
            raise CannotRetagToInvalid(error.message, hint=error.hint) from error
        except wingspan.TagExists as error:
            raise CannotRetagToTaken(error.message, hint="choose another tag") from error

    @_as_htmap
    def remove(self, force: bool = False) -> None:
        """Remove its jobs, its results and its tag. Nothing can be done with it afterwards.

        Args:
            force: Remove the data even where the scheduler does not answer.
        """
        self.wingspan_map.remove(force=force)
        self._is_removed = True


def _turn() -> float:
    """How long to wait before it is looked whether components are held or have failed (s)."""
    return min(0.2, wait_time())
