"""`Map`: HTMap's words for a map of Wingspan's."""

from __future__ import annotations

import contextlib
import datetime
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import wingspan
from wingspan._words import counted
from wingspan.htmap.errors import ComponentError
from wingspan.htmap.exceptions import (
    CannotRerunComponents,
    CannotRetagMap,
    CannotRetagToInvalid,
    CannotRetagToTaken,
    TimeoutError,
    translated,
)
from wingspan.htmap.holds import ComponentHold
from wingspan.htmap.options import MapOptions
from wingspan.htmap.outputs import Outputs, Timeout, as_htmap, turns
from wingspan.htmap.settings import follow_htmap_dir
from wingspan.htmap.state import ComponentStatus
from wingspan.htmap.streams import MapOutputFiles, MapStdErr, MapStdOut
from wingspan.htmap.submission import changed_options
from wingspan.maps._display import WaitDisplay
from wingspan.maps._waiting import deadline_of
from wingspan.views._showable import Showable

if TYPE_CHECKING:
    from wingspan.views._source import Source

__all__ = ["Map", "map_of"]

#: What can be done again: everything else is still to be done.
_AT_REST = frozenset(
    {ComponentStatus.COMPLETED, ComponentStatus.ERRORED, ComponentStatus.HELD, ComponentStatus.REMOVED}
)
#: Nothing more comes of these by itself.
_ENDED = frozenset({ComponentStatus.COMPLETED, ComponentStatus.ERRORED, ComponentStatus.REMOVED})

#: The maps of this process, by the name of their folder: one object for each.
_alive: weakref.WeakValueDictionary[str, Map] = weakref.WeakValueDictionary()
_one_at_a_time = threading.Lock()


def map_of(one: wingspan.Map) -> Map:
    """HTMap's object for a map of Wingspan's; the same one each time."""
    name = one.path.name
    with _one_at_a_time:
        found = _alive.get(name)
        if found is None:
            found = _alive[name] = Map(one)
        elif found.tag != one.tag:
            found.wingspan_map = one  # another process has given it another tag
        return found


class Map(Outputs, Showable):
    """A function applied to many inputs, found again by its tag.

    ``m[i]`` does not wait, ``m.get(i)`` does. Components are numbered from 0; no negative numbers, no slices.

    Attributes:
        wingspan_map: The `wingspan.Map` behind it, with everything that HTMap did not have.
    """

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

    def _source(self) -> Source:
        return self.wingspan_map._source()

    def _repr_html_(self) -> str:
        return self.wingspan_map._repr_html_()

    # -- facts -----------------------------------------------------------------------------------------------

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

    # -- how it fares ----------------------------------------------------------------------------------------

    @as_htmap
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
        deadline, one, waits = deadline_of(timeout), self.wingspan_map, turns()
        with WaitDisplay(one._keeper, show_progress_bar) as display:
            while not self._is_waited_for(holds_ok, errors_ok):
                display.update()
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    raise TimeoutError(
                        f"map {self.tag} was not done in time", hint="it goes on; ask again later"
                    )
                turn = next(waits)
                with contextlib.suppress(wingspan.MapTimeout):
                    one.wait(
                        turn if left is None else min(turn, left),
                        progress=False,
                        errors_ok=True,
                        holds_ok=True,
                    )
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

    @as_htmap
    def components_by_status(self) -> Mapping[ComponentStatus, tuple[int, ...]]:
        """Component numbers by status; statuses that no component has are left out."""
        groups: dict[ComponentStatus, list[int]] = {}
        for component, status in enumerate(self.component_statuses):
            groups.setdefault(status, []).append(component)
        return {status: tuple(components) for status, components in groups.items()}

    @as_htmap
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

    @as_htmap
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

    @as_htmap
    def hold(self) -> None:
        """Hold its jobs; `release` lets them go on."""
        if self.is_active:
            self._pause.unlink(missing_ok=True)
            self.wingspan_map.hold()

    @as_htmap
    def release(self) -> None:
        """Let held jobs go on."""
        if self.is_active:
            self.wingspan_map.release()
            self._pause.unlink(missing_ok=True)

    @as_htmap
    def pause(self) -> None:
        """Stop its jobs; `resume` lets them go on. Components that were at work begin anew then."""
        if self.is_active:
            self._pause.touch()
            self.wingspan_map.pause()

    @as_htmap
    def resume(self) -> None:
        """Let paused jobs go on."""
        self.release()

    @as_htmap
    def vacate(self) -> None:
        """Send its jobs off their machines; they go on elsewhere."""
        if self.is_active:
            self.wingspan_map.vacate()

    @as_htmap
    def set_memory(self, memory: int) -> None:
        """Have jobs that have not begun ask for other memory; those that run keep what they have.

        Args:
            memory: MB, as a number.
        """
        if self.is_active:
            self.wingspan_map.set_memory(memory)

    @as_htmap
    def set_disk(self, disk: int) -> None:
        """Have jobs that have not begun ask for other disk; those that run keep what they have.

        Args:
            disk: kB, as a number.
        """
        if self.is_active:
            self.wingspan_map.set_disk(f"{disk}KB")

    @as_htmap
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

    @as_htmap
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

    @as_htmap
    def remove(self, force: bool = False) -> None:
        """Remove its jobs, its results and its tag. Nothing can be done with it afterwards.

        Args:
            force: Remove the data even where the scheduler does not answer.
        """
        self.wingspan_map.remove(force=force)
        self._is_removed = True
