"""Progress on standard error: bars on a terminal, one line a piece of work elsewhere."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from wingspan._shown import shown
from wingspan.cli._terminal import echo
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["progress"]


class _Lines:
    """For logs and pipes: says what begins, and nothing more."""

    def start(self, description: str, total: float | None = None) -> int:
        echo(f"{description} …", err=True)
        return 0

    def advance(self, task: int, amount: float = 1) -> None:
        pass

    def finish(self, task: int) -> None:
        pass


@contextmanager
def progress(*, quiet: bool = False) -> Iterator[Progress]:
    """A `Progress` for library code; it draws on standard error, so that output can be piped.

    Args:
        quiet: Draw nothing.
    """
    if quiet:
        yield NO_PROGRESS
        return
    if not sys.stderr.isatty():
        yield _Lines()
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        SpinnerColumn,
        TaskID,
        TaskProgressColumn,
        TextColumn,
    )
    from rich.progress import Progress as Bars

    from wingspan.maps._display import columns

    class Drawn:
        def __init__(self, bars: Bars) -> None:
            self.bars = bars

        def start(self, description: str, total: float | None = None) -> int:
            return self.bars.add_task(shown(description), total=total)

        def advance(self, task: int, amount: float = 1) -> None:
            self.bars.advance(TaskID(task), amount)

        def finish(self, task: int) -> None:
            one = self.bars.tasks[task]
            self.bars.update(TaskID(task), total=one.total or 1, completed=one.total or 1)

    parts = (
        SpinnerColumn(finished_text="✓"),
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=24),
        TaskProgressColumn(),
        columns()[1],
    )
    with Bars(*parts, console=Console(stderr=True), transient=False) as bars:
        yield Drawn(bars)
