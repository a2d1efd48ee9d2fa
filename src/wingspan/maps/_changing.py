"""Changing a map that is there: what its jobs ask for, and which of its components are done again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from wingspan._files import lock
from wingspan._words import counted
from wingspan.jobs import parse_size, size_text
from wingspan.maps._entries import ENTRIES
from wingspan.maps._errors import ComponentError, InvalidInputs, MapError
from wingspan.maps._folder import told
from wingspan.maps._options import Options
from wingspan.maps._reports import Reports

__all__ = ["Changing", "Edited", "Request", "chosen_by", "enough_of"]

#: Seconds that a process waits for another one that changes the same map.
_PATIENCE = 20.0


@attrs.frozen(repr=False, kw_only=True)
class Edited:
    """What `Map.set_memory` or `Map.set_disk` has done.

    Attributes:
        tag: The map's.
        what: ``"memory"`` or ``"disk"``.
        size: Bytes that are asked for now.
        changed: Jobs that have not begun, and ask for it now.
        running: Jobs that run, and keep what they have.
    """

    tag: str
    what: str
    size: int
    changed: int
    running: int

    def __str__(self) -> str:
        runs = f"; {counted(self.running, 'job')} at work keep what they have" if self.running else ""
        return (
            f"map {self.tag}: {counted(self.changed, 'waiting job')}, and those submitted from now on, "
            f"ask for {size_text(self.size)} of {self.what}{runs}"
        )

    __repr__ = __str__


@attrs.frozen(kw_only=True)
class Request:
    """What some components of a map ask for.

    Attributes:
        components: Their numbers.
        options: What each of their workers gets.
    """

    components: tuple[int, ...]
    options: Options

    def beyond(self, usual: Options) -> dict[str, Any]:
        """What of it is not the map's `usual`: amounts and times by option, attributes and commands by name.

        >>> asked = Options(request_cpus=2, custom={"Project": "a", "Same": 1})
        >>> Request(components=(0,), options=asked).beyond(Options(custom={"Same": 1}))
        {'request_cpus': 2, 'Project': 'a'}
        """
        mine: Mapping[str, Any] = self.options.as_dict()
        theirs: Mapping[str, Any] = usual.as_dict()
        found: dict[str, Any] = {}
        for name, value in mine.items():
            if value == theirs[name]:
                continue
            if name in ENTRIES:
                found.update({one: said for one, said in value.items() if said != theirs[name].get(one)})
            else:
                found[name] = value
        return found


class Changing(Reports):
    """What can be changed about a map."""

    @property
    def options(self) -> Any:
        """The `Options` it was made with; `set_memory` and `set_disk` change them."""
        return self._keeper.options

    @property
    def requests(self) -> tuple[Request, ...]:
        """What its components ask for: those that ask for the same share workers.

        >>> import wingspan
        >>> m = wingspan.map(abs, [-1, -2, -3], options=wingspan.Options(request_memory=[100, 100, 200]))
        >>> [(one.components, one.options.request_memory >> 20) for one in m.requests]
        [((0, 1), 100), ((2,), 200)]
        """
        self._keeper.refresh()
        if not any(plan.has_needs for plan in self._keeper.results.plans.values()):
            return (Request(components=tuple(range(self._keeper.results.n)), options=self.options),)
        return tuple(
            Request(components=tuple(members), options=options)
            for options, members in self._keeper.requests()
        )

    @told("changed")
    def set_memory(self, size: int | str) -> Edited:
        """Have its jobs that wait, and those that are submitted later, ask for another amount of memory.

        Jobs that run keep what they have.

        Args:
            size: ``"4GB"``; a plain number is MB.

        Raises:
            SettingsError: It is no size.
            PoolError: The scheduler does not answer, or refuses. Jobs that are submitted later ask for it all
                the same.
        """
        return self._edit("request_memory", size)

    @told("changed")
    def set_disk(self, size: int | str) -> Edited:
        """Have its jobs that wait, and those that are submitted later, ask for another amount of disk.

        As `set_memory`. Slurm's jobs ask for no disk.
        """
        return self._edit("request_disk", size)

    def _edit(self, option: str, size: int | str) -> Edited:
        bytes_ = int(parse_size(size, option.removeprefix("request_")))
        folder, keeper = self._folder, self._keeper
        if not folder.exists:
            raise folder.removed()
        with lock(folder.path / "lock", patience=_PATIENCE):
            folder.read_info()
            keeper.refresh()
            newest = max(keeper.results.plans)
            folder.update_info(
                options={**folder.info.options, option: bytes_},
                edited={**folder.info.edited, option: (bytes_, newest)},
            )
        keeper.read_options()
        done = keeper.change(**{option.removeprefix("request_"): bytes_})
        return Edited(
            tag=self.tag,
            what=option.removeprefix("request_"),
            size=bytes_,
            changed=done.changed,
            running=done.running,
        )

    @told("described")
    def submit_description(self) -> str:
        """What the scheduler was told, or will be told, when workers are submitted: a submit description of
        HTCondor, a script for sbatch, or a command line.

        Raises:
            PoolError: The map's pool cannot be used.
        """
        self._keeper.refresh()
        return self._keeper.description()

    @told("paused")
    def pause(self) -> None:
        """Stop its workers, which keep their place in the queue, until `resume`: the same as `hold`."""
        self._keeper.act("hold", "paused by its owner through wingspan")

    @told("resumed")
    def resume(self) -> None:
        """Let its workers go on after `pause` or `hold`: the same as `release`."""
        self._keeper.act("release", "resumed by its owner through wingspan")


def chosen_by(predicate: Callable[[ComponentError], Any], errors: Mapping[int, ComponentError]) -> list[int]:
    """Components whose errors fulfil a predicate.

    Raises:
        InvalidInputs: It cannot judge one of them; the message names the component.
    """
    chosen = []
    for component, error in errors.items():
        try:
            if predicate(error):
                chosen.append(component)
        except Exception as wrong:
            raise InvalidInputs(
                f"the predicate cannot judge the error of component {component}: {type(wrong).__name__}: {wrong}",
                hint="it is given a ComponentError: lambda error: error.type_name == 'MemoryError'",
            ) from wrong
    return chosen


def enough_of(acceptance: float | None, n: int) -> int | None:
    """How many of `n` components are enough.

    Raises:
        MapError: `acceptance` is no share.

    >>> enough_of(0.95, 40), enough_of(1, 3), enough_of(None, 3)
    (38, 3, None)
    """
    if acceptance is None:
        return None
    if isinstance(acceptance, bool) or not isinstance(acceptance, int | float) or not 0 < acceptance <= 1:
        raise MapError(
            f"acceptance={acceptance!r} is no share of the components",
            hint="a number above 0 and up to 1: m.wait(acceptance=0.95)",
        )
    return -int(-(acceptance * n - 1e-9) // 1)
