"""Outputs of a map, as HTMap hands them out: at once, waited for, one after the other."""

from __future__ import annotations

import datetime
import functools
import itertools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import wingspan
from wingspan.htmap.errors import ComponentError, component_error
from wingspan.htmap.exceptions import (
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
from wingspan.htmap.settings import wait_time
from wingspan.htmap.state import ComponentStatus, status_of
from wingspan.maps._waiting import deadline_of, seconds_of

__all__ = ["Outputs", "Timeout", "as_htmap", "turns"]

Timeout = float | datetime.timedelta | None
_Method = TypeVar("_Method", bound=Callable[..., Any])

#: Pause between two looks at a paused map, and the shortest wait before it is looked whether one is held (s).
_PAUSE, _SHORTEST_TURN = 0.05, 0.1


def as_htmap(method: _Method) -> _Method:
    """For methods: a removed map refuses, and Wingspan's errors become HTMap's."""

    @functools.wraps(method)
    def call(self: Outputs, *args: Any, **kwargs: Any) -> Any:
        self._check_it_is_there()
        with translated(self.tag):
            return method(self, *args, **kwargs)

    return call  # type: ignore[return-value]


class _Pause:
    """Waiting for a paused map to go on, until a deadline."""

    def __init__(self, deadline: float | None) -> None:
        self._deadline = deadline

    def sleep(self, tag: str) -> None:
        """Sleep a moment.

        Raises:
            TimeoutError: The time is over.
        """
        if self._deadline is not None and time.monotonic() >= self._deadline:
            raise TimeoutError(
                f"map {tag} is paused, and was not done in time", hint="m.resume() lets it go on"
            )
        time.sleep(_PAUSE)


class Outputs(Sequence[Any]):
    """The outputs of a map, and the statuses that say which of them are there.

    Attributes:
        wingspan_map: The `wingspan.Map` behind it.
    """

    def __init__(self, wingspan_map: wingspan.Map) -> None:
        self.wingspan_map = wingspan_map
        self._is_removed = False

    def _check_it_is_there(self) -> None:
        if self._is_removed or not self.wingspan_map.exists:
            raise MapWasRemoved(f"the map {self.tag} was removed", hint="make it again")

    @property
    def tag(self) -> str:
        """Its name."""
        return self.wingspan_map.tag

    def __len__(self) -> int:
        return len(self.wingspan_map)

    def __contains__(self, component: object) -> bool:
        """`component` is the number of a component. (It is not looked for among the outputs.)"""
        return component in self.wingspan_map.components

    def number(self, component: Any) -> int:
        """`component`, if there is such a one.

        Raises:
            IndexError: There is none.
        """
        if component not in self:
            raise IndexError(f"component {component} of map {self.tag}, which has {len(self):,}")
        return int(component)

    # -- statuses --------------------------------------------------------------------------------------------

    @property
    def component_statuses(self) -> list[ComponentStatus]:
        """The status of each component, as of now."""
        with translated(self.tag):
            statuses = [status_of(status) for status in self.wingspan_map.statuses]
            if ComponentStatus.HELD in statuses and self._is_paused():
                paused = {ComponentStatus.HELD: ComponentStatus.SUSPENDED}
                statuses = [paused.get(status, status) for status in statuses]
            return statuses

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

    @as_htmap
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
        deadline, waits = deadline_of(timeout), turns()
        while True:
            turn = next(waits)
            left = turn if deadline is None else deadline - time.monotonic()
            try:
                return ask(timeout=max(0.0, min(turn, left)))
            except (wingspan.OutputNotReady, wingspan.MapTimeout) as error:
                if component_error_of(error) is not None:
                    raise
            except (wingspan.ComponentHeld, wingspan.ComponentRemoved) as error:
                if component_error_of(error) is not None:
                    raise
                self._check_comes(number)
                time.sleep(min(max(0.0, left), _PAUSE))  # it is paused, or goes on by now
            self._check_comes(number)
            if left <= 0:
                if timeout is not None and seconds_of(timeout) > 0:
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

    @as_htmap
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
        outcomes = self._translated(functools.partial(iterate, return_exceptions=safe), timeout)
        return map(self._told, outcomes) if safe else outcomes

    def _with_inputs(
        self, iterate: Callable[..., Iterator[Any]], timeout: Timeout, safe: bool
    ) -> Iterator[tuple[tuple[tuple[Any, ...], dict[str, Any]], Any]]:
        self._check_it_is_there()
        pairs = functools.partial(iterate, with_inputs=True, return_exceptions=safe)
        return (
            (self._call(given), self._told(outcome)) for given, outcome in self._translated(pairs, timeout)
        )

    def _translated(self, iterate: Callable[..., Iterator[Any]], timeout: Timeout) -> Iterator[Any]:
        """What is iterated over, and HTMap's errors for what it raises. While the map is paused it waits, for
        `timeout` at most."""
        outcomes, given = iterate(timeout=timeout), 0
        paused: _Pause | None = None
        while True:
            try:
                with translated(self.tag):
                    outcome = next(outcomes)
            except StopIteration:
                return
            except MapComponentHeld:
                if not self._is_paused():
                    raise
                paused = paused or _Pause(deadline_of(timeout))
                paused.sleep(self.tag)
                outcomes = itertools.islice(iterate(timeout=timeout), given, None)
                continue
            given, paused = given + 1, None
            yield outcome

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
        return map(self._call, self._translated(lambda timeout: self.wingspan_map.iter_inputs(), None))


def turns() -> Iterator[float]:
    """How long to wait before it is looked whether components are held or have failed (s): longer and longer,
    up to ``WAIT_TIME``."""
    turn, longest = _SHORTEST_TURN, wait_time()
    while True:
        yield min(turn, longest)
        turn *= 1.5
