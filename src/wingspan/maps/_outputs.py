"""Outputs of a map: waiting for them, indexing, iterating, with asyncio and without."""

from __future__ import annotations

import contextlib
import functools
import operator
import os
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from typing import Any, overload

from wingspan._words import going_on, notice
from wingspan.maps._code import working_folder
from wingspan.maps._components import CANCELLED, ERROR, OUTPUT
from wingspan.maps._display import LateWait
from wingspan.maps._done import mark_read
from wingspan.maps._errors import (
    ComponentCancelled,
    ComponentError,
    MapError,
    MapRemoved,
    MapTimeout,
    OutputNotReady,
)
from wingspan.maps._failures import component_error, raisable
from wingspan.maps._files import told_of_left
from wingspan.maps._folder import MapFolder
from wingspan.maps._keeper import Keeper
from wingspan.maps._pickled import Pickled
from wingspan.maps._reading import read_value
from wingspan.maps._stuck import LOOK_BEFORE_SECONDS, attend_earlier, check_it_can_go_on
from wingspan.maps._waiting import Arrivals, Pauses, Timeout, deadline_of, seconds_of
from wingspan.stores.errors import StoreError
from wingspan.worker import rebuild

__all__ = ["Outputs"]


def _keeper_of(folder: MapFolder) -> Keeper:
    """What looks after a map: here, or on the machine that this is a copy from."""
    if not folder.info.pool.startswith("ssh://"):
        return Keeper(folder)
    from wingspan.maps._ssh_keeper import SshKeeper

    return SshKeeper(folder)


class Outputs(Sequence[Any]):
    """The outputs of a map, in the order of its inputs; each waits until it is there."""

    def __init__(self, folder: MapFolder) -> None:
        self._folder = folder
        self._keeper = _keeper_of(folder)
        self._errors: dict[int, tuple[int, ComponentError]] = {}
        self._told_left = False

    @property
    def tag(self) -> str:
        """Its name."""
        return self._folder.info.tag

    def __len__(self) -> int:
        return self._folder.n

    # -- waiting ---------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Take in news, and do what is due; True if there were news."""
        news = self._keeper.refresh()
        self._keeper.reconcile()
        return news

    def _looks(
        self, ready: Callable[[], bool], deadline: float | None, what: str, holds_ok: bool = False
    ) -> Iterator[float]:
        """Look at the map until `ready`; between two looks, how long to sleep (s).

        Raises:
            MapTimeout: The deadline was over first.
            ComponentHeld, ComponentRemoved, WorkersCannotStart: It never will be ready, as things are.
        """
        pauses = Pauses()
        look_before = time.monotonic() + LOOK_BEFORE_SECONDS
        while True:
            # This comes first: outputs that are there are there, whatever has become of the jobs.
            news = self._keeper.refresh()
            if ready():
                self._keeper.tidy()
                if self._keeper.finished:
                    self._tell_left()
                return
            self._keeper.reconcile()
            if not holds_ok:
                check_it_can_go_on(self._keeper)
            if self._folder.info.chain and time.monotonic() >= look_before:
                look_before = time.monotonic() + LOOK_BEFORE_SECONDS
                attend_earlier(self._keeper, holds_ok)
            pause = pauses.next(news)
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise MapTimeout(
                        f"{what} of map {self.tag!r} was not there in time",
                        hint="it goes on; ask again later",
                    )
                pause = min(pause, left)
            yield pause

    def _wait_for(
        self,
        ready: Callable[[], bool],
        deadline: float | None,
        what: str,
        holds_ok: bool = False,
        *,
        silently: bool = False,
    ) -> None:
        """Block until `ready`; see `_looks`. A person who waits long sees a bar, unless `silently`."""
        with self._going_on(), LateWait(self._keeper) as bar:
            for pause in self._looks(ready, deadline, what, holds_ok):
                if not silently:
                    bar.update()
                time.sleep(pause)

    def _going_on(self) -> contextlib.AbstractContextManager[None]:
        return going_on(
            f"Interrupted: the map {self.tag!r} goes on by itself. wingspan.load({self.tag!r}).wait() comes back to it, "
            f"wingspan.remove({self.tag!r}) ends it."
        )

    async def _wait_for_async(self, ready: Callable[[], bool], deadline: float | None, what: str) -> None:
        """Wait until `ready`; each look is taken in a thread, so that the event loop goes on."""
        import asyncio

        looks = self._looks(ready, deadline, what)
        with self._going_on(), LateWait(self._keeper) as bar:
            while (pause := await asyncio.to_thread(next, looks, None)) is not None:
                bar.update()
                await asyncio.sleep(pause)

    def _is_final(self, component: int) -> bool:
        state = self._keeper.results.state[component]
        return state in (OUTPUT, CANCELLED) or (state == ERROR and self._keeper.final_error(component))

    def _component(self, index: int) -> int:
        number = operator.index(index)
        if number < 0:
            number += len(self)
        if not 0 <= number < len(self):
            raise IndexError(f"component {index} of map {self.tag!r}, which has {len(self):,}")
        return number

    # -- outputs ---------------------------------------------------------------------------------------------

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """An output, or a list of outputs; waits for those that are not there yet.

        Negative numbers count from the end.
        """
        if isinstance(index, slice):
            return [self.get(component) for component in range(*index.indices(len(self)))]
        return self.get(index)

    def get(self, component: int, timeout: Timeout = None) -> Any:
        """The output of a component.

        Args:
            component: Its number; negative ones count from the end.
            timeout: Seconds (or a timedelta) to wait for it; None waits for ever, 0 not at all.

        Raises:
            OutputNotReady: It is not there, and `timeout` is 0.
            MapTimeout: It was not there in time.
            Exception: The component's own, if it failed; see `ComponentError` for when it cannot be raised.
        """
        return self._output(self._finished_component(component, timeout))

    def _finished_component(self, component: int, timeout: Timeout) -> int:
        """The number of a component, once it is done; raises as `get` does."""
        number = self._component(component)
        if not self._is_final(number):
            if timeout is not None and seconds_of(timeout) <= 0:
                self._look()
                if not self._is_final(number):
                    raise OutputNotReady(
                        f"component {number} of map {self.tag!r} is not done",
                        hint="m.get(i) without a timeout waits for it",
                    )
            else:
                self._wait_for(lambda: self._is_final(number), deadline_of(timeout), f"component {number}")
        return number

    def _output(self, component: int) -> Any:
        if self._keeper.results.state[component] == CANCELLED:
            raise self._cancelled(component)
        if self._keeper.results.state[component] == ERROR:
            raise raisable(self._fresh_error(component))
        return self._load(self._keeper.results.output(component), f"the output of component {component}")

    def _load(self, pickled: Pickled, what: str) -> Any:
        try:
            return read_value(self._folder, pickled, what)
        except (MapError, StoreError):
            raise
        except (Exception, SystemExit) as error:
            hint = "import or install here what it is made of, or return plain data"
            if not isinstance(error, ImportError):
                hint = f"is a class another here than where it was written? The class here is the one that is used; {hint}"
            raise MapError(
                f"{what} of map {self.tag!r} cannot be unpickled here: {type(error).__name__}: {error}",
                hint=hint,
            ) from error

    def _error(self, component: int) -> ComponentError:
        number = self._keeper.results.round_of(component)
        cached = self._errors.get(component)
        if cached is None or cached[0] != number:
            cached = self._errors[component] = (number, self._fresh_error(component))
        return cached[1]

    def _fresh_error(self, component: int) -> ComponentError:
        """A copy of an error with a new exception: raising an exception changes it."""
        results = self._keeper.results
        start = results.start_of(component)
        return component_error(
            component,
            results.payload(component),
            load=lambda pickled: read_value(
                self._folder,
                Pickled(rebuild.holds_code(pickled), [pickled]),
                f"the exception of component {component}",
            ),
            host=(start.facts or {}).get("host"),
            worker=start.name,
            attempt=results.tries(component),
            folders=self._folders(),
        )

    def _folders(self) -> list[str]:
        """Folders that relative paths in messages may be relative to."""
        info = self._folder.info
        code = (info.code or {}).get("file")
        found = [info.made_in, os.path.dirname(code) if code else None, working_folder()]  # noqa: PTH120 - as text
        return [one for one in found if one]

    @property
    def left_files(self) -> tuple[str, ...]:
        """Names of files that components have written into folders that are removed with their jobs: they are
        lost."""
        self._keeper.refresh()
        return tuple(sorted(self._keeper.results.left_files))

    def _tell_left(self) -> None:
        """Tell of `left_files`, once."""
        told = told_of_left(self.tag, sorted(self._keeper.results.left_files))
        if told is not None and not self._told_left:
            self._told_left = True
            notice(told)

    def _cancelled(self, component: int) -> ComponentCancelled:
        return ComponentCancelled(
            f"component {component} of map {self.tag!r} was cancelled by its owner",
            hint=f"m.rerun([{component}]) or wingspan rerun {self.tag} {component} does it after all",
        )

    def _outcome(self, component: int, return_exceptions: bool) -> Any:
        if return_exceptions and self._keeper.results.state[component] == CANCELLED:
            return self._cancelled(component)
        if self._keeper.results.state[component] == ERROR:
            exception = raisable(self._fresh_error(component))
            if return_exceptions:
                return exception
            raise exception
        return self._output(component)

    def __iter__(self) -> Iterator[Any]:
        return self.iter()

    def iter(
        self, *, with_inputs: bool = False, return_exceptions: bool = False, timeout: Timeout = None
    ) -> Iterator[Any]:
        """Outputs in the order of the inputs, each as soon as it and all before it are there.

        Args:
            with_inputs: Give ``(input, output)``.
            return_exceptions: Give the exception of a component that failed instead of raising it.
            timeout: Seconds (or a timedelta) to wait for each.
        """
        component = 0
        while component < len(self):
            if not self._is_final(component):
                is_final = functools.partial(self._is_final, component)
                self._wait_for(is_final, deadline_of(timeout), f"component {component}")
            for outcome in self._finished_from(component, with_inputs, return_exceptions):
                yield outcome
                component += 1
        mark_read(self._folder)

    def _finished_from(self, component: int, with_inputs: bool, return_exceptions: bool) -> Iterator[Any]:
        """The outcome of a finished component, and of those that lie in one record with it."""
        results = self._keeper.results
        if results.state[component] == OUTPUT and not with_inputs:
            replaced = results.replaced
            values = results.outputs_from(component)
            for value in values:  # millions may pass here
                if (
                    results.replaced != replaced
                ):  # components were done again while the caller worked on an output
                    return
                yield value
            if values:
                return
        yield self._told(component, with_inputs, return_exceptions)

    def _told(self, component: int, with_inputs: bool, return_exceptions: bool) -> Any:
        outcome = self._outcome(component, return_exceptions)
        return (self.input(component), outcome) if with_inputs else outcome

    def iter_as_available(
        self, *, with_inputs: bool = False, return_exceptions: bool = False, timeout: Timeout = None
    ) -> Iterator[Any]:
        """Outputs in the order in which they come.

        Args:
            with_inputs: Give ``(input, output)``.
            return_exceptions: Give the exception of a component that failed instead of raising it.
            timeout: Seconds (or a timedelta) for the whole iteration.
        """
        arrivals = Arrivals(self._keeper.results, self._is_final)
        left, deadline = len(self), deadline_of(timeout)
        while left:
            for component in arrivals.take():
                left -= 1
                yield self._told(component, with_inputs, return_exceptions)
            if left:
                self._wait_for(arrivals.are_there, deadline, "the next component")
        mark_read(self._folder)

    def iter_with_inputs(self, **how: Any) -> Iterator[tuple[Any, Any]]:
        """`iter` with ``with_inputs=True``."""
        return self.iter(with_inputs=True, **how)

    def iter_as_available_with_inputs(self, **how: Any) -> Iterator[tuple[Any, Any]]:
        """`iter_as_available` with ``with_inputs=True``."""
        return self.iter_as_available(with_inputs=True, **how)

    def iter_inputs(self) -> Iterator[Any]:
        """The inputs, in order; for a starmap ``(args, kwargs)``."""
        if earlier := self._earlier_maps():
            for component in range(len(self)):
                yield self._chained_input(component, earlier)
            return
        for component, pickled in enumerate(self._folder.input_pickles(0, len(self))):
            yield self._load(pickled, f"input {component}")

    def input(self, component: int) -> Any:
        """The input of a component; for a starmap ``(args, kwargs)``."""
        number = self._component(component)
        if earlier := self._earlier_maps():
            return self._chained_input(number, earlier)
        (pickled,) = self._folder.input_pickles(number, number + 1)
        return self._load(pickled, f"input {number}")

    def _earlier_maps(self) -> list[Outputs]:
        """Of a chain: the maps whose outputs are its inputs."""
        chain = self._folder.info.chain or {"maps": ()}
        return [type(self)(MapFolder(self._folder.path.parent / name)) for name in chain["maps"]]

    def _chained_input(self, component: int, earlier: Sequence[Outputs], timeout: Timeout = None) -> Any:
        """The outputs of earlier maps that a component takes; waits for each no longer than `timeout`."""
        chain = self._folder.info.chain
        if chain and chain["whole"]:
            return [earlier[0].get(number, timeout) for number in range(len(earlier[0]))]
        given = tuple(one.get(component, timeout) for one in earlier)
        return given if len(given) > 1 else given[0]

    def _inputs_now(self) -> list[Any]:
        """The inputs, without waiting. Of a chain's, None stands for those that are not there: their
        component is not done, has failed, or was removed with its map.
        """
        if not self._folder.info.chain:
            return list(self.iter_inputs())
        try:
            earlier = self._earlier_maps()
            for one in earlier:
                one._keeper.refresh()
            return [self._chained_input_now(component, earlier) for component in range(len(self))]
        except MapRemoved:
            return [None] * len(self)

    def _chained_input_now(self, component: int, earlier: Sequence[Outputs]) -> Any:
        chain = self._folder.info.chain or {}
        needed = range(len(earlier[0])) if chain.get("whole") else (component,)
        if any(one._keeper.results.state[number] != OUTPUT for one in earlier for number in needed):
            return None
        return self._chained_input(component, earlier, timeout=0)

    # -- asynchronously --------------------------------------------------------------------------------------

    def __aiter__(self) -> AsyncIterator[Any]:
        return self.aiter()

    async def aiter(
        self, *, with_inputs: bool = False, return_exceptions: bool = False, timeout: Timeout = None
    ) -> AsyncIterator[Any]:
        """`iter` for asyncio: outputs in order, without blocking the event loop while waiting."""
        component = 0
        while component < len(self):
            if not self._is_final(component):
                is_final = functools.partial(self._is_final, component)
                await self._wait_for_async(is_final, deadline_of(timeout), f"component {component}")
            for outcome in self._finished_from(component, with_inputs, return_exceptions):
                yield outcome
                component += 1
        mark_read(self._folder)

    async def aiter_as_available(
        self, *, with_inputs: bool = False, return_exceptions: bool = False, timeout: Timeout = None
    ) -> AsyncIterator[Any]:
        """`iter_as_available` for asyncio."""
        arrivals = Arrivals(self._keeper.results, self._is_final)
        left, deadline = len(self), deadline_of(timeout)
        while left:
            for component in arrivals.take():
                left -= 1
                yield self._told(component, with_inputs, return_exceptions)
            if left:
                await self._wait_for_async(arrivals.are_there, deadline, "the next component")
        mark_read(self._folder)

    def __await__(self) -> Iterator[Any]:
        """``await m`` waits for all and gives the list of outputs."""

        async def gather() -> list[Any]:
            return [output async for output in self]

        return gather().__await__()
