"""Progress of maps on terminals and in notebooks. Drawn by rich, and only where a person looks."""

from __future__ import annotations

import contextlib
import itertools
import sys
import threading
import time
from collections.abc import Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any

from wingspan._kernel import is_kernel
from wingspan._shown import shown
from wingspan._words import counted, sized

if TYPE_CHECKING:
    from wingspan.maps._keeper import Keeper
    from wingspan.maps._status import MapStatus
    from wingspan.progress import Progress

__all__ = ["LateProgress", "LateWait", "WaitDisplay", "is_watched", "map_html"]


def is_watched() -> bool:
    """Standard error is a terminal, or this is a notebook: a person sees what is drawn."""
    if is_kernel():
        return True
    try:
        return sys.stderr.isatty()
    except (AttributeError, ValueError):
        return False


#: A terminal with fewer columns has no room for times.
NARROW = 70


def columns(width: int = NARROW) -> tuple[Any, ...]:
    """Columns of a progress bar of rich: how much is done, with its unit, and the time, with a word for it if
    there is room."""
    from rich.progress import ProgressColumn, Task
    from rich.table import Column
    from rich.text import Text

    class Amount(ProgressColumn):
        def render(self, task: Task) -> Text:
            done, total = int(task.completed), task.total
            if total is None:
                return Text("")
            if task.fields.get("unit") == "bytes":
                return Text(f"{sized(done)} of {sized(int(total))}", style="progress.download")
            return Text(f"{done:,}/{int(total):,}", style="progress.download")

    class Times(ProgressColumn):
        def render(self, task: Task) -> Text:
            gone = task.finished_time if task.finished else task.elapsed
            text = f"{_clock(gone or 0)} gone"
            left = task.time_remaining
            if left and not task.finished:
                text += f", {_clock(left)} left"
            return Text(text, style="progress.elapsed")

    amount = Amount(table_column=Column(no_wrap=True))
    return (amount, Times(table_column=Column(no_wrap=True))) if width >= NARROW else (amount,)


def _bar(transient: bool = False) -> Any:
    from wingspan.maps._notebook_text import NotebookText, needs_text

    if needs_text():
        return NotebookText(transient)
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn
    from rich.table import Column

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(None if console.width < NARROW else 40),
        *columns(console.width),
        TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
        console=console,
        transient=transient,
    )


def _clock(seconds: float) -> str:
    """A time for people.

    >>> _clock(3.4), _clock(75), _clock(3700)
    ('3 s', '1:15 min', '1:01 h')
    """
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    return (
        f"{whole // 60}:{whole % 60:02} min" if whole < 3600 else f"{whole // 3600}:{whole % 3600 // 60:02} h"
    )


#: What is counted in bytes, by the first word of its description.
_IN_BYTES = frozenset(
    "checking copying downloading fetching hashing reading sending writing unpacking compressing uploading".split()
)


def _unit(description: str, total: float | None) -> str:
    """``"bytes"`` if the work with this description is counted in bytes."""
    return "bytes" if description.partition(" ")[0].lower() in _IN_BYTES and (total or 0) > 100_000 else ""


class LateProgress:
    """A `wingspan.progress.Progress` that draws nothing until the work has lasted a second."""

    #: Seconds.
    PATIENCE = 1.0

    def __init__(self) -> None:
        self._bar: Any = None
        self._tasks: dict[int, tuple[str, float | None]] = {}
        self._drawn: dict[int, Any] = {}
        self._done: dict[int, float] = {}
        self._numbers = itertools.count()
        self._started = 0.0
        self._lock = threading.RLock()
        self._timer: threading.Timer | None = None

    def start(self, description: str, total: float | None = None) -> int:
        with self._lock:
            task = next(self._numbers)
            self._tasks[task] = (description, total)
            self._started = time.monotonic()
            self._done[task] = 0.0
            if self._bar is not None:
                self._draw(task)
            elif self._timer is None:  # work that takes long is shown, even if it never says how far it is
                self._timer = threading.Timer(self.PATIENCE, self._begin)
                self._timer.daemon = True
                self._timer.start()
            return task

    def _begin(self) -> None:
        with self._lock:
            if self._timer is None or self._bar is not None or not self._tasks:
                return
            self._bar = _bar()
            self._bar.start()
            for task in self._tasks:
                self._draw(task)

    def _draw(self, task: int) -> None:
        description, total = self._tasks[task]
        self._drawn[task] = self._bar.add_task(
            shown(description), total=total, note="", unit=_unit(description, total)
        )
        self._bar.update(self._drawn[task], completed=self._done[task])

    def advance(self, task: int, amount: float = 1) -> None:
        self._done[task] += amount
        if self._bar is None and time.monotonic() - self._started >= self.PATIENCE:
            self._begin()
        if task in self._drawn:
            self._bar.update(self._drawn[task], completed=self._done[task])

    def finish(self, task: int) -> None:
        with self._lock:
            if task in self._drawn:
                done = self._done[task] or 1
                self._bar.update(self._drawn[task], total=done, completed=done)
            del self._tasks[task]
            if not self._tasks:
                self.close()

    def close(self) -> None:
        """Stop drawing: an error or Ctrl-C has ended the work."""
        with self._lock:
            if self._timer is not None:
                self._timer.cancel()
                self._timer = None
            if self._bar is not None:
                self._bar.stop()
                self._bar = None
            self._drawn.clear()


@contextlib.contextmanager
def default_progress() -> Iterator[Progress]:
    """`LateProgress` if a person looks, else no progress."""
    from wingspan.progress import NO_PROGRESS

    if not is_watched():
        yield NO_PROGRESS
        return
    drawn = LateProgress()
    try:
        yield drawn
    finally:
        drawn.close()


class WaitDisplay:
    """The bar of `Map.wait`."""

    #: Seconds between two updates.
    INTERVAL = 0.1

    def __init__(self, keeper: Keeper, wanted: bool | None, *, transient: bool = False) -> None:
        self._keeper = keeper
        self._wanted = is_watched() if wanted is None else wanted
        self._transient = transient
        self._bar: Any = None
        self._task: Any = None
        self._next = 0.0

    def __enter__(self) -> WaitDisplay:
        if self._wanted:
            self._bar = _bar(self._transient)
            self._task = self._bar.add_task(
                self._keeper.folder.info.tag, total=self._keeper.results.n, note=""
            )
            self._bar.start()
        return self

    def update(self) -> None:
        """Draw what is known now."""
        now = time.monotonic()
        if self._bar is None or now < self._next:
            return
        self._next = now + self.INTERVAL
        self._draw()

    def _draw(self) -> None:
        keeper = self._keeper
        failed = len(keeper.results.failed)
        counts = keeper.jobs.counts()
        notes = [
            f"{counted(count, 'worker')} {state.value}"
            for state, count in counts.items()
            if not state.is_final
        ]
        if failed:
            notes.insert(0, f"{failed:,} failed")
        self._bar.update(self._task, completed=keeper.results.finished, note=", ".join(notes))

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._draw()
            self._bar.stop()


class LateWait:
    """A bar for a person who waits for an output: it is drawn once that has lasted a second.

    It goes when the output is there, so that it is not in the way of what the person prints.
    """

    #: Seconds.
    PATIENCE = 1.0

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._begun = time.monotonic()
        self._display: WaitDisplay | None = None
        # Of several threads that wait, each would draw over the others.
        self._may = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> LateWait:
        return self

    def update(self) -> None:
        """Draw what is known now, if it is time to draw."""
        if self._display is not None:
            self._display.update()
        elif self._may and time.monotonic() - self._begun >= self.PATIENCE:
            self._may = False
            if is_watched():
                self._display = WaitDisplay(self._keeper, True, transient=True)
                self._display.__enter__()
                self._display.update()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._display is not None:
            self._display.__exit__(kind, error, traceback)


def map_html(status: MapStatus, function: str) -> str:
    """A map as a notebook shows it: its name, a bar by status, and what keeps it."""
    import html

    from wingspan.views._still import still_bar, still_message

    counts = ", ".join(f"{count:,} {key.value.lower()}" for key, count in status.counts.items() if count)
    workers = ", ".join(f"{count:,} {state}" for state, count in status.workers.items()) or "none"
    bar = still_bar({key.value.lower(): count for key, count in status.counts.items()})
    return (
        f"<div><b>{html.escape(status.tag)}</b>: <code>{html.escape(function)}</code> × {status.components:,}"
        f"{bar}<small>{counts}; workers: {workers} ({', '.join(status.pools)})</small>"
        f"{still_message(status.message or '')}</div>"
    )
