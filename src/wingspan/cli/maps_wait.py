"""``wingspan wait``: until maps are done, with a bar for each on a terminal and lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Any, Protocol

import click

from wingspan._shown import shown
from wingspan._words import counted
from wingspan.cli._main import print_error
from wingspan.cli._output import own_words_for_interrupts, progress_text, selected, several_maps
from wingspan.cli._terminal import echo

if TYPE_CHECKING:
    from wingspan.errors import WingspanError
    from wingspan.maps import Map, MapStatus

__all__ = ["wait"]

#: Seconds that one map is waited for before the next is looked at.
_TURN = 0.2
#: What timeout(1) answers when the time is over.
_TIMED_OUT = 124
_INTERRUPTED = 130


class _Display(Protocol):
    def show(self, status: MapStatus, last: bool = False) -> None: ...
    def close(self) -> None: ...


class _Silence:
    def show(self, status: MapStatus, last: bool = False) -> None:
        pass

    def close(self) -> None:
        pass


class _Lines:
    """For logs and pipes: a line when something is new, more and more seldom."""

    FIRST, LONGEST = 2.0, 60.0

    def __init__(self) -> None:
        self._told: dict[str, str] = {}
        self._next: dict[str, float] = {}
        self._pause: dict[str, float] = {}

    def show(self, status: MapStatus, last: bool = False) -> None:
        text, now = progress_text(status), time.monotonic()
        if self._told.get(status.tag) == text or (not last and now < self._next.get(status.tag, 0.0)):
            return
        pause = self._pause.get(status.tag, self.FIRST)
        self._told[status.tag], self._next[status.tag] = text, now + pause
        self._pause[status.tag] = min(self.LONGEST, 1.5 * pause)
        echo(f"{status.tag}: {text}", err=True)

    def close(self) -> None:
        pass


class _Bars:
    """For people: one bar a map."""

    def __init__(self, maps: list[Map]) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn
        from rich.table import Column

        from wingspan.maps._display import columns

        console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            *columns(console.width),
            TextColumn("{task.fields[note]}", markup=False, table_column=Column(no_wrap=True)),
            console=console,
        )
        self._tasks: dict[str, Any] = {
            one.tag: self._bars.add_task(one.tag, total=len(one), note="") for one in maps
        }
        self._bars.start()

    def show(self, status: MapStatus, last: bool = False) -> None:
        from wingspan.maps import ComponentStatus as Status

        done = status.counts[Status.COMPLETED] + status.counts[Status.ERRORED] + status.cancelled
        note = shown(progress_text(status).partition(", ")[2])
        self._bars.update(self._tasks[status.tag], completed=done, note=note)

    def close(self) -> None:
        self._bars.stop()


@click.command()
@several_maps
@click.option("--timeout", type=click.FloatRange(min=0), metavar="SECONDS", help="Wait no longer than this.")
@click.option("--holds-ok", is_flag=True, help="Go on waiting when all workers of a map are held.")
@click.option("-q", "--quiet", is_flag=True, help="Show no progress.")
def wait(
    *,
    tags: tuple[str, ...],
    patterns: tuple[str, ...],
    everything: bool,
    timeout: float | None,
    holds_ok: bool,
    quiet: bool,
) -> int:
    """Wait until maps are done.

    Ctrl-C only stops the waiting: the maps go on by themselves.

    \b
    Exit codes:
      0    every component is completed
      1    components failed, or workers are held, removed or cannot start
      124  the timeout was over first
      130  Ctrl-C
    """
    import wingspan

    maps = [wingspan.load(tag) for tag in selected(tags, patterns, everything)]
    display: _Display = _Silence() if quiet else _Bars(maps) if sys.stderr.isatty() else _Lines()
    try:
        try:
            with own_words_for_interrupts():
                errors, late = _wait_for_all(maps, display, timeout, holds_ok)
        finally:
            display.close()
    except KeyboardInterrupt:
        names = " ".join(one.tag for one in maps)
        goes = "The map goes on" if len(maps) == 1 else "The maps go on"
        echo(f"\n{goes} without you. To come back: wingspan wait {names}", err=True)
        return _INTERRUPTED
    return _report(maps, errors, late)


def _wait_for_all(
    maps: list[Map], display: _Display, timeout: float | None, holds_ok: bool
) -> tuple[dict[str, WingspanError], list[str]]:
    """Wait for the maps by turns.

    Returns what keeps a map, by its tag, and the tags that were not in time.
    """
    import wingspan

    deadline = None if timeout is None else time.monotonic() + timeout
    errors: dict[str, WingspanError] = {}
    waiting, next_look = list(maps), 0.0
    for one in waiting:
        display.show(one.status())
    while waiting:
        for one in list(waiting):
            left = _TURN if deadline is None else min(_TURN, max(0.0, deadline - time.monotonic()))
            try:
                status = one.wait(
                    timeout=left / len(waiting), progress=False, errors_ok=True, holds_ok=holds_ok
                )
            except wingspan.MapTimeout:
                continue
            except wingspan.WingspanError as error:
                errors[one.tag] = error
            else:
                display.show(status, last=True)
            waiting.remove(one)
        if deadline is not None and time.monotonic() >= deadline:
            break
        begun = time.monotonic()
        if begun >= next_look:
            for one in waiting:
                display.show(one.status())
            # A million components take a while to count: not more than a tenth of the time goes into it.
            next_look = time.monotonic() + 10 * (time.monotonic() - begun)
    return errors, [one.tag for one in waiting]


def _report(maps: list[Map], errors: dict[str, WingspanError], late: list[str]) -> int:
    """Say how each map ended; the exit code."""
    from wingspan.maps import ComponentStatus

    code = 0
    for one in maps:
        if one.tag in errors:
            print_error(errors[one.tag])
            code = 1
        elif one.tag in late:
            echo(f"{one.tag}: the time is over, the map goes on: {progress_text(one.status())}", err=True)
        elif failed := one.status().counts[ComponentStatus.ERRORED]:
            echo(
                f"{one.tag}: {failed:,} of {counted(len(one), 'component')} failed; see: wingspan errors {one.tag}",
                err=True,
            )
            code = 1
    return code or (_TIMED_OUT if late else 0)
