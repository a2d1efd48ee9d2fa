"""`Map`: what users get from `wingspan.map`."""

from __future__ import annotations

import contextlib
import datetime
import importlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingspan._files import lock
from wingspan._words import notice
from wingspan.errors import DiskError, PoolError
from wingspan.maps._again import Rerun, add_function, check_function, notices, versions
from wingspan.maps._cancelling import cancel_components
from wingspan.maps._changing import Changing, chosen_by, enough_of
from wingspan.maps._code import FunctionVersion
from wingspan.maps._components import OUTPUT, sorted_numbers
from wingspan.maps._display import WaitDisplay, map_html
from wingspan.maps._done import mark_unread
from wingspan.maps._errors import (
    ComponentError,
    InvalidInputs,
    MapError,
    MapRemoved,
)
from wingspan.maps._failures import summary
from wingspan.maps._folder import MapFolder, remove_map_folder, tags_root, told
from wingspan.maps._layered import check_options
from wingspan.maps._needs import changed_needs
from wingspan.maps._origins import Origins
from wingspan.maps._output_files import Fetching
from wingspan.maps._status import MapStatus
from wingspan.maps._tags import check_tag, write_tag
from wingspan.maps._waiting import Timeout, deadline_of
from wingspan.maps._worker_job import bundle_of
from wingspan.pools import get_pool
from wingspan.pools.submissions import LoggedSubmission, remove_jobs
from wingspan.views._showable import Showable
from wingspan.worker import rounds
from wingspan.worker.transports import Gone

if TYPE_CHECKING:
    from wingspan.maps._options import Options
    from wingspan.views._source import Source

__all__ = ["Map"]


#: Seconds that `Map.retag` waits for another process that retags the map.
RETAG_SECONDS = 20.0
#: Why jobs of a removed map leave the queue, for the scheduler's own notes.
_REMOVED = "removed by its owner through wingspan"


class Map(Origins, Changing, Fetching, Showable):
    """A function applied to many inputs: a sequence of outputs, in the order of the inputs.

    `wingspan.map` and its like make it, `wingspan.load` finds it again. Indexing and iterating wait for
    outputs that are not there yet; `get` waits no longer than its timeout. A component that failed raises its
    own exception.

    Any number of `Map` objects, in any number of processes, may look at the same map at once.
    """

    # -- facts -----------------------------------------------------------------------------------------------

    @property
    def created(self) -> datetime.datetime:
        """When it was made, in this machine's time zone."""
        return datetime.datetime.fromtimestamp(self._folder.info.created).astimezone()

    @property
    def function_name(self) -> str:
        """Name of the function."""
        return self._folder.info.function

    @property
    def seed(self) -> int | None:
        """What the seeds of its components follow from (`Options.seed`); None for maps of early versions."""
        return self._folder.info.seed

    @property
    def is_transient(self) -> bool:
        """Nobody gave it a tag: `wingspan.clean` removes it."""
        return self._folder.info.transient

    @property
    def exists(self) -> bool:
        """It has not been removed."""
        return self._folder.exists

    @property
    def path(self) -> Any:
        """Its folder (`pathlib.Path`)."""
        return self._folder.path

    @property
    def components(self) -> range:
        """The numbers of its components."""
        return range(len(self))

    if not TYPE_CHECKING:  # a checker would take any name for one that is there

        def __getattr__(self, name: str) -> Any:
            told = f"a Map has no attribute {name!r}"
            if not name.startswith("_"):
                from wingspan._foreign import hint_for_attribute

                hint = hint_for_attribute(name, dir(type(self)))
                told += f": {hint}" if hint else ""
            raise AttributeError(told, name=name, obj=None)

    def __repr__(self) -> str:
        begins = f"wingspan.Map {self.tag!r}: {self.function_name} × {len(self):,}"
        try:
            results = self._keeper.results
            self._keeper.refresh()
        except Exception:  # noqa: BLE001 - also one that was removed, or is damaged, can be shown
            return f"<{begins}>"
        failed = len(results.failed)
        cancelled = len(results.cancelled)
        told = f"{results.finished - failed - cancelled:,} completed" + (
            f", {failed:,} failed" if failed else ""
        )
        told += f", {cancelled:,} cancelled" if cancelled else ""
        waits = "" if self._keeper.finished else f", {results.n - results.finished:,} to do"
        return f"<{begins}: {told}{waits}>"

    def _repr_html_(self) -> str:
        return map_html(self.status(), self.function_name)

    def _source(self) -> Source:
        from wingspan.maps._view import MapSource

        return MapSource(self)

    def __reduce__(self) -> tuple[Any, ...]:
        return load_folder, (str(self.path),)

    def __hash__(self) -> int:
        return hash(self._folder.info.id)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Map) and other._folder.info.id == self._folder.info.id

    # -- how it fares ----------------------------------------------------------------------------------------

    def wait(
        self,
        timeout: Timeout = None,
        *,
        progress: bool | None = None,
        errors_ok: bool = False,
        holds_ok: bool = False,
        acceptance: float | None = None,
    ) -> MapStatus:
        """Wait until every component is completed or has failed.

        Args:
            timeout: Seconds (or a timedelta); None waits for ever.
            progress: Draw a progress bar (None: on a terminal and in a notebook).
            errors_ok: Do not raise when components have failed.
            holds_ok: Go on waiting when all workers are held.
            acceptance: Wait no longer once this share of the components is completed, 0.95 for instance, and
                do not raise for the others. The map goes on.

        Returns:
            The status at the end.

        Raises:
            ComponentErrors: Components have failed: all of them, grouped by kind.
            MapTimeout: The time was over first; the map goes on.
            ComponentHeld: All workers that are left are held.
            ComponentRemoved: The workers were removed from the queue.
            WorkersCannotStart: The workers end before they do anything.
        """
        enough, results = enough_of(acceptance, len(self)), self._keeper.results

        def is_enough() -> bool:
            return (
                enough is not None
                and results.finished - len(results.failed) - len(results.cancelled) >= enough
            )

        with WaitDisplay(self._keeper, progress) as display:

            def ready() -> bool:
                display.update()
                return self._keeper.finished or is_enough()

            self._wait_for(ready, deadline_of(timeout), "the rest", holds_ok, silently=True)
        if not errors_ok and self._keeper.results.failed and not is_enough():
            raise summary(self.errors, len(self), self.tag)
        return self.status()

    # -- what comes after it ---------------------------------------------------------------------------------

    def map(self, func: Callable[[Any], Any], **how: Any) -> Map:
        """``wingspan.map(func, self, …)``: components start as the outputs of this map arrive."""
        made: Map = _maker("map")(func, self, **how)
        return made

    def reduce(self, func: Callable[[Any, Any], Any], **how: Any) -> Map:
        """``wingspan.reduce(func, self, …)``: one component joins the outputs, when all are there."""
        made: Map = _maker("reduce")(func, self, **how)
        return made

    # -- doing something to it -------------------------------------------------------------------------------

    @property
    def functions(self) -> tuple[FunctionVersion, ...]:
        """The functions it was given: the one it was made with, then those given to `rerun`."""
        self._keeper.refresh()
        return tuple(versions(self._folder, self._keeper.results.plans).values())

    def function_of(self, component: int) -> FunctionVersion:
        """Which of its `functions` a component was, or will be, done with."""
        self._keeper.refresh()
        number, results = self._component(component), self._keeper.results
        done_in = results.round_of(number) if results.state[number] else max(results.plans)
        file = rounds.function_of(results.plans, number, done_in)
        return versions(self._folder, results.plans)[file]

    @told("run again")
    def rerun(
        self,
        components: Iterable[int] | Callable[[ComponentError], Any] | None = None,
        *,
        function: Callable[..., Any] | None = None,
        options: Options | None = None,
    ) -> Rerun:
        """Do components again, or (None) all that have no output and are not being done.

        A component that is being done, and is named here, is stopped and begun anew.

        ``m.rerun(m.errors)`` does again what failed, ``m.rerun(m.components)`` everything, and
        ``m.rerun(lambda error: error.type_name == "OSError")`` what failed in that way. Earlier outputs and
        errors of these components no longer count.

        Args:
            components: Their numbers; or a function that is given the error of each component that failed
                (`ComponentError`), and says whether that one is to be done again.
            function: Called from now on instead of the map's own, for these components and those that are
                done again later. Outputs of others stay as they are. None: the function that was given last.
            options: What these components ask for from now on, joined to what they asked for: more memory,
                for instance. They get workers of their own. ``workers`` says how many at most are submitted
                for this.

        Returns:
            Which components, and with which function.

        Raises:
            IndexError: There is no such component.
            InvalidInputs: `components` is a function, and raises.
            MapDamaged: The inputs, the function or the environment's bundle are not all there any more.
            SettingsError: One of `options` is of the whole map, such as ``retries``.
            NotPicklable, PythonsDiffer: `function` cannot travel, or its workers could not read it.
        InvalidInputs: Files that travel with `function` are missing, or the map was made without any.

        If the function has changed in this session or in its file since the map got it, a notice on standard
        error says so.
        """
        self._keeper.refresh()
        change = None if options is None else changed_needs(self.options, check_options(options))
        results = self._keeper.results
        if components is None:
            # A component that a worker is at has not failed yet.
            at_work = self._keeper.at_work()
            chosen = [
                component
                for component in self.components
                if results.state[component] != OUTPUT and component not in at_work
            ]
        elif callable(components):
            chosen = chosen_by(components, self.errors)
        else:
            chosen = sorted_numbers([self._component(component) for component in components], len(self))
        known = versions(self._folder, results.plans)
        file = rounds.newest_function(results.plans)
        if not chosen:
            return Rerun(tag=self.tag, components=(), function=known[file])
        self._folder.check_inputs()
        if self.options.workers != 0:
            bundle_of(self._folder)  # outputs are not given up for workers that could not start
        if function is not None:
            file = self._take_function(function)
            self._keeper.refresh()
        else:
            check_function(self._folder, file, known[file])
        most = None if options is None else options.workers
        while not self._keeper.publish(rounds.RERUN, chosen, file, change, most):
            continue  # another process published a round at the same moment: try the next number
        mark_unread(self._folder)
        if self.options.memo:
            from wingspan.maps._memo import forget

            forget(self._folder, chosen)
        # Workers that seem to run may be about to end. So others are submitted; they end at once if they are
        # not needed.
        needs = [needs for needs, _ in rounds.groups_of(results.plans, chosen)]
        self._keeper.add_workers(None, needs=needs, most=most)
        version = versions(self._folder, results.plans)[file]
        told = notices(version, function)
        for one in told:
            notice(one)
        return Rerun(tag=self.tag, components=tuple(chosen), function=version, notices=told)

    def _take_function(self, function: Callable[..., Any]) -> str:
        """Keep a function that was given later. Returns its file."""
        from wingspan.maps._callable import check_callable
        from wingspan.maps._functions import pickle_function
        from wingspan.maps._layered import plain

        function = plain(function)
        check_callable(function)
        tops = self._folder.info.own_modules
        pickled = pickle_function(function, tops)
        pickled.files.check()
        if pickled.files and self._folder.info.files is None:
            raise InvalidInputs(
                "the function has files that travel with it, and this map was made without files",
                hint="make a new map with it, or pass what is in the files",
            )
        return add_function(self._folder, function, pickled)

    @told("given workers")
    def add_workers(self, count: int, pool: str | None = None) -> None:
        """Let more workers join, from this map's pool or another: all share the same blocks.

        Where components need different amounts, these workers do all of them, and ask for the most that any
        needs. Where components differ in other things (requirements, attributes, submit commands), each group
        gets its share of the workers, and at least one.

        Args:
            count: How many.
            pool: ``"local"``, ``"personal"``, ``"htcondor"`` or ``"slurm"``; None is the map's own.

        Raises:
            PoolError: That pool cannot be used.
        """
        if count < 1:
            raise MapError(f"{count} workers cannot join", hint="give at least 1")
        self._folder.check_inputs()
        self._keeper.add_workers(count, get_pool(pool) if pool else None)

    @told("held")
    def hold(self) -> None:
        """Hold its workers: they stop, keep their place, and go on after `release`."""
        self._keeper.act("hold", "held by its owner through wingspan")

    @told("released")
    def release(self) -> None:
        """Let held workers go on."""
        self._keeper.act("release", "released by its owner through wingspan")

    @told("cancelled")
    def cancel(self, components: int | Iterable[int] | None = None) -> tuple[int, ...]:
        """Cancel components, or (None) take all jobs of the map out of the queue.

        Cancelled components are not begun any more, and those that run are ended: within a second or so on
        `local`, `personal` and Slurm, within some ten on a site's HTCondor. They count as removed. Iterating
        raises `ComponentCancelled` for them, and nothing waits for them. What is finished is kept. `rerun`
        does them after all.

        Args:
            components: A number, or several; negative ones count from the end.

        Returns:
            The components that are cancelled now: those of `components` that are not finished.

        Raises:
            IndexError: There is no such component.
            MapError: The map was made by a Wingspan whose workers know nothing of this.
        """
        if components is None:
            self._keeper.stop_following("it was cancelled before it began")
            self._keeper.act("remove", "cancelled by its owner through wingspan")
            return ()
        given = components if isinstance(components, Iterable) else [components]
        chosen = sorted_numbers([self._component(component) for component in given], len(self))
        return cancel_components(self._folder, self._keeper, chosen)

    @told("sent away")
    def vacate(self) -> None:
        """Send its workers off their machines: they start again elsewhere and resume what they had
        claimed."""
        self._keeper.act("vacate", "vacated by its owner through wingspan")

    @told("removed")
    def remove(self, *, force: bool = False) -> None:
        """Remove its jobs, its results and its tag.

        Args:
            force: Remove the data even where the scheduler does not answer.

        Raises:
            PoolError: The scheduler does not answer; nothing is removed then.
        """
        ended: tuple[LoggedSubmission, ...] = ()
        with contextlib.suppress(MapRemoved, Gone):  # another process removes it, too
            try:
                ended = self._end_jobs(force)
            except (PoolError, DiskError):
                if not force:
                    raise
        if self.options.memo:
            from wingspan.maps._memo import keep_outputs

            with contextlib.suppress(MapRemoved, Gone):
                keep_outputs(self._folder.path, results=self._keeper.results)
        self._keeper.close()
        self._folder.read_info()
        remove_map_folder(
            self._folder.path,
            self.tag,
            *self._folder.info.also,
            # Another process may have submitted workers since: nobody would know of them any more.
            before_files=lambda folder: remove_jobs(folder, _REMOVED, force=True, but=ended),
        )
        if self._folder.info.store is not None:
            from wingspan.maps._stored import forget_values

            forget_values(self._folder.info)

    def _end_jobs(self, force: bool) -> tuple[LoggedSubmission, ...]:
        """Take its jobs out of their queues. Returns the submissions that were known then."""
        keeper = self._keeper
        if keeper.remove_elsewhere(force=force):
            return self._folder.submissions.entries()
        keeper.stop_following(_REMOVED)
        try:
            keeper.refresh()
        except (MapRemoved, DiskError):
            raise
        except MapError:
            pass  # a damaged map can be removed
        if self._folder.submissions.entries() or self._folder.open_reservations():
            keeper.adopt()
            known = self._folder.submissions.entries()
            if not keeper.jobs.by_worker or keeper.jobs.live():
                keeper.remove_for_good(_REMOVED)
                keeper.wait_for_the_end()
            return known
        return ()

    @told("given another tag")
    def retag(self, tag: str) -> None:
        """Give it another tag; it is then no longer transient.

        Raises:
            InvalidTag: The tag is no name for a map.
            TagExists: Another map has it.
        """
        check_tag(tag)
        if not self.exists:
            raise self._folder.removed()
        folder = self._folder
        self._keeper.retag(tag)
        with lock(folder.path / "lock", patience=RETAG_SECONDS):
            folder.settle_tags()
            old = self.tag
            if tag != old:
                # Written down before it is done: if this process dies here, `load` still knows the map by one
                # tag.
                folder.update_info(also=[tag])
                try:
                    write_tag(tags_root(), tag, folder.info.id)
                except BaseException:
                    folder.update_info(also=[])
                    raise
            folder.update_info(tag=tag, transient=False, also=[old] if tag != old else [])
            folder.settle_tags()


def _maker(name: str) -> Callable[..., Map]:
    """The module that makes maps imports this one, so it is imported when it is needed."""
    made: Callable[..., Map] = getattr(importlib.import_module("wingspan.maps"), name)
    return made


def load_folder(path: str) -> Map:
    """The map in this folder. A pickled `Map` is loaded by this."""
    return Map(MapFolder(Path(path)))
