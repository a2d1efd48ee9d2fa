"""``--watch``: the same text, drawn anew on a terminal until there is nothing more to see."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from typing import Any, TypeVar

import click

from wingspan._shown import shown
from wingspan.cli._terminal import echo

__all__ = ["watch_until_done", "watching"]

#: Seconds between two looks; a look that takes long is followed by a longer pause.
_PAUSE = 1.0

Command = TypeVar("Command", bound=Callable[..., Any])


def watching(command: Command) -> Command:
    """The option ``watch``."""
    told = "Go on showing it until all is done; Ctrl-C ends that."
    return click.option("-w", "--watch", "watch", is_flag=True, help=told)(command)


def watch_until_done(look: Callable[[], tuple[str, bool]]) -> None:
    """Show a text again and again, until what it tells of is done, or Ctrl-C. In a pipe: once.

    Args:
        look: What to show, and whether it is done.
    """
    if not sys.stdout.isatty():
        echo(look()[0])
        return
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    try:
        with Live(console=Console(), auto_refresh=False, vertical_overflow="ellipsis") as screen:
            while True:
                begun = time.monotonic()
                text, done = look()
                clock = "" if done else f"\n{time.strftime('%H:%M:%S')}   Ctrl-C ends this view"
                screen.update(Text(shown(text) + clock), refresh=True)
                if done:
                    return
                time.sleep(max(_PAUSE, 10 * (time.monotonic() - begun)))
    except KeyboardInterrupt:
        return
