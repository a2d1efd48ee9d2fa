"""`Map`: what a person holds in hand."""

from __future__ import annotations

import functools
import operator
import pickle
import shutil
import time
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, overload

from wingspan.errors import PoolError
from wingspan.maps._by_hand import HINT
from wingspan.maps._display import WaitDisplay, map_html
from wingspan.maps._errors import (
    ComponentError,
    ComponentHeld,
    ComponentRemoved,
    MapError,
    MapRemoved,
    MapTimeout,
    OutputNotReady,
    WrongInterpreter,
)
from wingspan.maps._failures import component_error, raisable, summary
from wingspan.maps._folder import MapFolder, tags_root
from wingspan.maps._functions import adopt_classes
from wingspan.maps._keeper import Keeper
from wingspan.maps._results import ERROR, NOTHING, OUTPUT, Measures, sorted_numbers
from wingspan.maps._status import ComponentStatus, Hold, MapStatus
from wingspan.maps._streams import Streams
from wingspan.maps._tags import check_tag, remove_tag, write_tag
from wingspan.maps._waiting import Arrivals, Pauses, Timeout, deadline_of, seconds_of
from wingspan.pools import JobState, get_pool
from wingspan.worker import compatibility, formats, rounds

__all__ = ["Map"]


_STATUS_OF = {OUTPUT: ComponentStatus.COMPLETED, ERROR: ComponentStatus.ERRORED}


class Map(Sequence[Any]):
    """A function applied to many inputs, and what has become of each: a sequence of outputs, in the order of the inputs.

    Made by `wingspan.map` and its like, found again by `wingspan.load`. Indexing and iterating wait for what is not
    there yet; `get` with a timeout does not wait longer than that. A component that failed raises its own exception.

    Any number of `Map` objects, in any number of processes, may look at the same map at once.
    """

    def __init__(self, folder: MapFolder) -> None:
        self._folder = folder
        self._keeper = Keeper(folder)
        self._errors: dict[int, tuple[int, ComponentError]] = {}

    # -- facts ---------------------------------------------------------------------------------------------------------

    @property
    def tag(self) -> str:
        """Its name."""
        return str(self._folder.info["tag"])

    @property
    def options(self) -> Any:
        """The `Options` it was made with."""
        return self._keeper.options

    @property
    def is_transient(self) -> bool:
        """Nobody gave it a tag: `wingspan.clean` removes it."""
        return bool(self._folder.info.get("transient"))

    @property
    def exists(self) -> bool:
        """It has not been removed."""
        return (self._folder.path / "map.json").exists()

    @property
    def path(self) -> Any:
        """Its folder (`pathlib.Path`)."""
        return self._folder.path

    def __len__(self) -> int:
        return self._folder.n

    @property
    def components(self) -> range:
        """The numbers of its components."""
        return range(len(self))

    def __repr__(self) -> str:
        return f"<wingspan.Map {self.tag!r}: {self._folder.info['function']} × {len(self):,}>"

    def _repr_html_(self) -> str:
        return map_html(self.status(), self._folder.info)

    def __reduce__(self) -> tuple[Any, ...]:
        from wingspan.maps._find import load_folder

        return load_folder, (str(self.path),)

    def __hash__(self) -> int:
        return hash(self._folder.info["id"])

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Map) and other._folder.info["id"] == self._folder.info["id"]

    # -- waiting -------------------------------------------------------------------------------------------------------

    def _look(self) -> bool:
        """Take in news, and do what a client can; True if there was any."""
        news = self._keeper.refresh()
        self._keeper.tend()
        return news

    def _wait_for(
        self, ready: Callable[[], bool], timeout: Timeout, what: str, holds_ok: bool = False
    ) -> None:
        """Block until `ready`.

        Raises:
            MapTimeout: It was not in time.
            ComponentHeld, ComponentRemoved, WorkersCannotStart: It never will be, as things are.
        """
        deadline, pauses = deadline_of(timeout), Pauses()
        while True:
            # Ready first: what is there is there, whatever has become of the jobs.
            news = self._keeper.refresh()
            if ready():
                return
            self._keeper.tend()
            if not holds_ok:
                self._check_obstacles()
            pause = pauses.next(news)
            if deadline is not None:
                left = deadline - time.monotonic()
                if left <= 0:
                    raise MapTimeout(
                        f"{what} of map {self.tag!r} was not there in time",
                        hint="it goes on; ask again later",
                    )
                pause = min(pause, left)
            time.sleep(pause)

    def _check_obstacles(self) -> None:
        keeper = self._keeper
        held, live = keeper.jobs.held, keeper.jobs.live()
        if held and not keeper.jobs.can_progress and len(live) == len(held):
            job = held[0]
            code = f" (code {job.code})" if job.code is not None else ""
            raise ComponentHeld(
                f"all {len(held):,} workers of map {self.tag!r} that are left are held: {job.reason}{code}",
                hint=f"m.release() or wingspan release {self.tag} lets them try again once the reason is gone",
            )
        removed = keeper.removed
        if removed and not keeper.finished:
            reason = f": {removed[0].reason}" if removed[0].reason else ""
            raise ComponentRemoved(
                f"the workers of map {self.tag!r} were removed from the queue{reason}",
                hint=f"m.rerun() or wingspan rerun {self.tag} does what is missing; what is finished is kept",
            )

    def wait(
        self,
        timeout: Timeout = None,
        *,
        progress: bool | None = None,
        errors_ok: bool = False,
        holds_ok: bool = False,
    ) -> MapStatus:
        """Wait until every component is completed or has failed.

        Args:
            timeout: Seconds (or a timedelta); None waits for ever.
            progress: Draw a progress bar (None: on a terminal and in a notebook).
            errors_ok: Do not raise when components have failed.
            holds_ok: Go on waiting when all workers are held.

        Returns:
            The status at the end.

        Raises:
            ComponentErrors: Components have failed: all of them, grouped by kind.
            MapTimeout: The time was over first; the map goes on.
            ComponentHeld: All workers that are left are held.
            ComponentRemoved: The workers were removed from the queue.
            WorkersCannotStart: The workers end before they do anything.
        """
        with WaitDisplay(self, progress) as display:

            def ready() -> bool:
                display.update()
                return self._keeper.finished

            self._wait_for(ready, timeout, "the rest", holds_ok)
        self._keeper.tend()
        if not errors_ok and self._keeper.results.failed:
            raise summary(self.errors, len(self), self.tag)
        return self.status()

    def _is_final(self, component: int) -> bool:
        state = self._keeper.results.state[component]
        return state == OUTPUT or (state == ERROR and self._keeper.final_error(component))

    def _component(self, index: int) -> int:
        number = operator.index(index)
        if number < 0:
            number += len(self)
        if not 0 <= number < len(self):
            raise IndexError(f"component {index} of map {self.tag!r}, which has {len(self):,}")
        return number

    # -- outputs -------------------------------------------------------------------------------------------------------

    @overload
    def __getitem__(self, index: int) -> Any: ...
    @overload
    def __getitem__(self, index: slice) -> list[Any]: ...
    def __getitem__(self, index: int | slice) -> Any:
        """An output, or a list of them; waits for what is not there yet. Negative numbers count from the end."""
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
                self._wait_for(lambda: self._is_final(number), timeout, f"component {number}")
        return self._output(number)

    def _output(self, component: int) -> Any:
        if self._keeper.results.state[component] == ERROR:
            raise raisable(self._fresh_error(component))
        return self._load(self._keeper.results.payload(component), f"the output of component {component}")

    def _load(self, pickled: bytes, what: str) -> Any:
        written = self._folder.info["interpreter"]
        if (
            b"cloudpickle" in pickled
        ):  # code travels by value in there: only its own Python version may read it
            obstacle = compatibility.obstacle(written, {**written, **compatibility.this_python()})
            if obstacle:
                raise WrongInterpreter(
                    f"{what} of map {self.tag!r} holds code, and {obstacle.replace('this worker', 'this session')}",
                    hint=f"read it with Python {written['python']}, or return plain data",
                )
            adopt_classes(self._folder.info.get("classes", {}))
        try:
            return pickle.loads(pickled)  # noqa: S301 - the record was signed with the map's key
        except Exception as error:
            raise MapError(
                f"{what} of map {self.tag!r} cannot be unpickled here: {type(error).__name__}: {error}",
                hint="import or install here what it is made of, or return plain data",
            ) from error

    def _error(self, component: int) -> ComponentError:
        number = self._keeper.results.round_of(component)
        cached = self._errors.get(component)
        if cached is None or cached[0] != number:
            cached = self._errors[component] = (number, self._fresh_error(component))
        return cached[1]

    def _fresh_error(self, component: int) -> ComponentError:
        """An error with an exception of its own: raising one changes it."""
        results = self._keeper.results
        start = results.start_of(component)
        adopt_classes(self._folder.info.get("classes", {}))
        return component_error(
            component,
            results.payload(component),
            host=(start.facts or {}).get("host"),
            worker=start.name,
            attempt=results.attempts(component),
        )

    def _outcome(self, component: int, return_exceptions: bool) -> Any:
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
        results = self._keeper.results
        state, component, n = results.state, 0, len(self)
        while component < n:
            if not self._is_final(component):
                self._wait_for(
                    functools.partial(self._is_final, component), timeout, f"component {component}"
                )
            if state[component] == OUTPUT and not with_inputs:
                values, first = results.run_of(component)
                for value in values[component - first :]:  # millions may pass here
                    if state[component] != OUTPUT:
                        break
                    yield value
                    component += 1
                if values:
                    continue
            outcome = self._outcome(component, return_exceptions)
            yield (self.input(component), outcome) if with_inputs else outcome
            component += 1

    def iter_as_available(
        self, *, with_inputs: bool = False, return_exceptions: bool = False, timeout: Timeout = None
    ) -> Iterator[Any]:
        """Outputs in the order in which they come.

        Args:
            with_inputs: Give ``(input, output)``.
            return_exceptions: Give the exception of a component that failed instead of raising it.
            timeout: Seconds (or a timedelta) for the whole iteration.
        """
        deadline = deadline_of(timeout)
        for component in self._as_available(deadline):
            outcome = self._outcome(component, return_exceptions)
            yield (self.input(component), outcome) if with_inputs else outcome

    def _as_available(self, deadline: float | None) -> Iterator[int]:
        arrivals, left = Arrivals(self), len(self)
        while left:
            for component in arrivals.take():
                left -= 1
                yield component
            if left:
                timeout = None if deadline is None else max(0.0, deadline - time.monotonic())
                self._wait_for(arrivals.are_there, timeout, "the next component")

    def iter_with_inputs(self, **how: Any) -> Iterator[tuple[Any, Any]]:
        """`iter` with ``with_inputs=True``."""
        return self.iter(with_inputs=True, **how)

    def iter_as_available_with_inputs(self, **how: Any) -> Iterator[tuple[Any, Any]]:
        """`iter_as_available` with ``with_inputs=True``."""
        return self.iter_as_available(with_inputs=True, **how)

    def iter_inputs(self) -> Iterator[Any]:
        """The inputs, in order; for a starmap ``(args, kwargs)``."""
        for component, pickled in enumerate(self._folder.input_pickles(0, len(self))):
            yield self._load(pickled, f"input {component}")

    def input(self, component: int) -> Any:
        """The input of a component; for a starmap ``(args, kwargs)``."""
        number = self._component(component)
        (pickled,) = self._folder.input_pickles(number, number + 1)
        return self._load(pickled, f"input {number}")

    # -- asynchronously ------------------------------------------------------------------------------------------------

    async def _wait_async(self, ready: Callable[[], bool]) -> None:
        import asyncio

        pauses = Pauses()
        while True:
            news = self._keeper.refresh()
            if ready():
                return
            self._keeper.tend()
            self._check_obstacles()
            await asyncio.sleep(pauses.next(news))

    def __aiter__(self) -> AsyncIterator[Any]:
        return self.aiter()

    async def aiter(
        self, *, with_inputs: bool = False, return_exceptions: bool = False
    ) -> AsyncIterator[Any]:
        """`iter` for asyncio: outputs in order, without blocking the event loop while waiting."""
        for component in self.components:
            if not self._is_final(component):
                await self._wait_async(functools.partial(self._is_final, component))
            outcome = self._outcome(component, return_exceptions)
            yield (self.input(component), outcome) if with_inputs else outcome

    async def aiter_as_available(
        self, *, with_inputs: bool = False, return_exceptions: bool = False
    ) -> AsyncIterator[Any]:
        """`iter_as_available` for asyncio."""
        arrivals, left = Arrivals(self), len(self)
        while left:
            for component in arrivals.take():
                left -= 1
                outcome = self._outcome(component, return_exceptions)
                yield (self.input(component), outcome) if with_inputs else outcome
            if left:
                await self._wait_async(arrivals.are_there)

    def __await__(self) -> Iterator[Any]:
        """``await m`` waits for all and gives the list of outputs."""

        async def gather() -> list[Any]:
            return [output async for output in self]

        return gather().__await__()

    # -- how it fares --------------------------------------------------------------------------------------------------

    @property
    def statuses(self) -> list[ComponentStatus]:
        """The status of each component, as of now."""
        self._keeper.refresh()
        exceptions, rest = self._exceptional_statuses(), self._status_of_the_rest()
        statuses = [rest if state == NOTHING else _STATUS_OF[state] for state in self._keeper.results.state]
        for component, status in exceptions.items():
            statuses[component] = status
        return statuses

    def _exceptional_statuses(self) -> dict[int, ComponentStatus]:
        """Components whose status does not follow from their record alone, or from there being none."""
        results, jobs = self._keeper.results, self._keeper.jobs
        rest = self._status_of_the_rest()
        exceptions = dict.fromkeys(self._keeper.results.retryable, rest)
        stopped = self._keeper.stopped_pools()
        for start in self._keeper.by_hand():
            if start.component is not None and results.state[start.component] != OUTPUT:
                exceptions[start.component] = ComponentStatus.RUNNING
        for start in results.starts.values():
            component, job = start.component, jobs.by_worker.get(start.number)
            if component is None or job is None or results.state[component] == OUTPUT:
                continue
            if job.pool in stopped:
                continue
            if job.state is JobState.RUNNING:
                exceptions[component] = ComponentStatus.RUNNING
            elif job.state is JobState.HELD:
                exceptions.setdefault(component, ComponentStatus.HELD)
        return exceptions

    def _status_of_the_rest(self) -> ComponentStatus:
        """What a component is that nobody has begun."""
        jobs = self._keeper.jobs
        live = jobs.live()
        if live and all(job.state is JobState.HELD for job in live):
            return ComponentStatus.HELD
        if live and all(job.state in (JobState.SUSPENDED, JobState.HELD) for job in live):
            return ComponentStatus.SUSPENDED
        if self._keeper.removed:
            return ComponentStatus.REMOVED
        return ComponentStatus.IDLE

    def components_by_status(self) -> dict[ComponentStatus, tuple[int, ...]]:
        """Component numbers by status; statuses that no component has are left out."""
        groups: dict[ComponentStatus, list[int]] = {}
        for component, status in enumerate(self.statuses):
            groups.setdefault(status, []).append(component)
        return {status: tuple(components) for status, components in groups.items()}

    def status(self) -> MapStatus:
        """How far it is, in numbers, and what keeps it."""
        self._keeper.refresh()
        results = self._keeper.results
        counts = dict.fromkeys(ComponentStatus, 0)
        counts[ComponentStatus.COMPLETED] = results.state.count(OUTPUT)
        counts[ComponentStatus.ERRORED] = results.state.count(ERROR)
        counts[self._status_of_the_rest()] = results.state.count(NOTHING)
        for component, status in self._exceptional_statuses().items():
            state = results.state[component]
            counts[self._status_of_the_rest() if state == NOTHING else _STATUS_OF[state]] -= 1
            counts[status] += 1
        workers = {
            state.value: count
            for state, count in sorted(self._keeper.jobs.counts().items(), key=lambda item: item[0].value)
        }
        pools = tuple(dict.fromkeys(job.pool for job in self._keeper.jobs.by_worker.values()))
        by_hand = len(self._keeper.by_hand()) if not self._keeper.finished else 0
        if by_hand:
            running = JobState.RUNNING.value
            workers[running] = workers.get(running, 0) + by_hand
        if by_hand or self.options.workers == 0:
            pools += ("by hand",)
        message = None
        if not self._keeper.finished:
            try:
                self._check_obstacles()
                self._keeper.check_refusals()
            except MapError as error:
                message = str(error)
            stopped = self._keeper.stopped_pools()
            if message is None and self.options.workers == 0 and not workers:
                message = f"nobody works on it: {HINT.format(tag=self.tag)}"
            if stopped:
                message = "\n".join([*([message] if message else []), *stopped.values()])
        troubles = [start.trouble for start in self._keeper.results.starts.values() if start.trouble]
        if troubles:
            told = f"part of the results cannot be used and is done again: {'; '.join(troubles)}"
            message = f"{message}\n{told}" if message else told
        return MapStatus(
            tag=self.tag,
            components=len(self),
            counts=counts,
            workers=workers,
            pools=pools or (self._folder.info["pool"],),
            message=message,
        )

    @property
    def is_done(self) -> bool:
        """Every component is completed or has failed."""
        self._keeper.refresh()
        return self._keeper.finished

    @property
    def errors(self) -> Mapping[int, ComponentError]:
        """What failed so far, by component. Does not wait."""
        self._keeper.refresh()
        return {
            component: self._error(component)
            for component in sorted(self._keeper.results.failed)
            if self._keeper.final_error(component)
        }

    @property
    def holds(self) -> Mapping[int, Hold]:
        """Why components are held, by component; empty while nothing is held."""
        statuses = self.statuses
        held = self._keeper.jobs.held
        if not held:
            return {}
        at = {
            start.component: job
            for job in held
            for start in self._keeper.results.starts.values()
            if start.number == job.worker and start.component is not None
        }
        holds = {}
        for component, status in enumerate(statuses):
            if status is ComponentStatus.HELD:
                job = at.get(component, held[0])
                holds[component] = Hold(code=job.code, reason=job.reason or "held", worker=job.worker)
        return holds

    def _measured(self) -> dict[int, Measures]:
        self._keeper.refresh()
        results = self._keeper.results
        return {
            component: results.measures(component)
            for component in self.components
            if results.state[component]
        }

    @property
    def runtimes(self) -> Mapping[int, Measures]:
        """What each finished component took: ``m.runtimes[3].wall`` and ``.cpu`` are seconds."""
        return self._measured()

    @property
    def memory(self) -> Mapping[int, int]:
        """Peak resident memory of each finished component, bytes; of a running one, so far."""
        memory = {component: measures.peak_memory for component, measures in self._measured().items()}
        for start in self._keeper.results.starts.values():
            if start.component is not None and start.peak_memory:
                memory.setdefault(start.component, start.peak_memory)
        return memory

    @property
    def stdout(self) -> Streams:
        """What components print: ``m.stdout(3)`` or ``m.stdout[3]``, also while they run."""
        return Streams(self, formats.STDOUT)

    @property
    def stderr(self) -> Streams:
        """What components write to standard error: ``m.stderr(3)`` or ``m.stderr[3]``, also while they run."""
        return Streams(self, formats.STDERR)

    def _printed(self, component: int, kind: int) -> str:
        self._keeper.refresh()
        return self._keeper.results.printed(self._component(component), kind).decode("utf-8", "replace")

    # -- doing something to it -------------------------------------------------------------------------------------------

    def rerun(self, components: Iterable[int] | None = None) -> None:
        """Do components again, or (None) all that have no output.

        ``m.rerun(m.errors)`` does again what failed, ``m.rerun(m.components)`` everything. What they gave before no longer counts.

        Raises:
            IndexError: There is no such component.
            MapDamaged: The inputs or the function are not all there any more.
        """
        self._keeper.refresh()
        results = self._keeper.results
        if components is None:
            chosen = [component for component in self.components if results.state[component] != OUTPUT]
        else:
            chosen = sorted_numbers([self._component(component) for component in components], len(self))
        if not chosen:
            return
        self._folder.check_inputs()
        while not self._keeper.publish(rounds.RERUN, chosen):
            continue  # another process published a round at the same moment: ours is the next
        # Workers that seem to run may have looked for work for the last time: others come too, and end at once if they are not needed.
        self._keeper.add_workers(None)

    def add_workers(self, count: int, pool: str | None = None) -> None:
        """Let more workers join, from this map's pool or another: all share the same blocks.

        Args:
            count: How many.
            pool: ``"local"``, ``"personal"``, ``"htcondor"``; None is the map's own.

        Raises:
            PoolError: That pool cannot be used.
        """
        if count < 1:
            raise MapError(f"{count} workers cannot join", hint="give at least 1")
        self._folder.check_inputs()
        self._keeper.add_workers(count, get_pool(pool) if pool else None)

    def hold(self) -> None:
        """Hold its workers: they stop, keep their place, and go on after `release`."""
        self._keeper.act("hold", "held by its owner through wingspan")

    def release(self) -> None:
        """Let held workers go on."""
        self._keeper.act("release", "released by its owner through wingspan")

    def vacate(self) -> None:
        """Send its workers off their machines; they start again elsewhere and resume what they had claimed."""
        self._keeper.act("vacate", "vacated by its owner through wingspan")

    def remove(self, *, force: bool = False) -> None:
        """Remove its jobs, its results and its tag.

        Args:
            force: Remove the data even where the scheduler does not answer.

        Raises:
            PoolError: The scheduler does not answer; nothing is removed then.
        """
        try:
            if self._keeper.jobs.live() or self._folder.submissions():
                self._keeper.refresh()
                if self._keeper.jobs.live():
                    self._keeper.act("remove", "removed by its owner through wingspan")
        except PoolError:
            if not force:
                raise
        except MapRemoved:
            pass
        except MapError:
            self._keeper.act(
                "remove", "removed by its owner through wingspan"
            )  # a damaged map can be removed
        self._keeper.close()
        self._folder.read_info()
        remove_tag(tags_root(), self.tag, self._folder.info["id"])
        doomed = self._folder.path.with_name(f".removed-{self._folder.info['id']}")
        try:
            self._folder.path.rename(doomed)
        except FileNotFoundError:
            return
        shutil.rmtree(doomed, ignore_errors=True)

    def retag(self, tag: str) -> None:
        """Give it another tag; it is then no longer transient.

        Raises:
            InvalidTag, TagExists: The tag cannot be had.
        """
        check_tag(tag)
        if not self.exists:
            raise self._folder.removed()
        self._folder.read_info()
        old = self.tag
        if tag != old:
            write_tag(tags_root(), tag, self._folder.info["id"])
        self._folder.update_info(tag=tag, transient=False)
        if tag != old:
            remove_tag(tags_root(), old, self._folder.info["id"])
