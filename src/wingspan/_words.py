"""Numbers, sizes and times as people read them, near words for mistyped ones, and notices."""

from __future__ import annotations

import contextlib
import signal
import sys
import time
from collections.abc import Iterable, Iterator

from wingspan._shown import shown

__all__ = ["INTERRUPTED", "counted", "going_on", "moment", "nearest", "notice", "sized"]


def counted(number: int, noun: str, several: str | None = None) -> str:
    """A number and its noun.

    >>> counted(1, "map"), counted(12000, "component"), counted(2, "process", "processes"), counted(0, "GPU")
    ('1 map', '12,000 components', '2 processes', '0 GPUs')
    """
    return f"{number:,} {noun if number == 1 else several or noun + 's'}"


def sized(count: int | None) -> str:
    """Bytes, in powers of 1000 as registries and disks give them.

    >>> sized(4000703925), sized(512), sized(-45078187), sized(None)
    ('4.0 GB', '512 B', '-45 MB', '?')
    """
    if count is None:
        return "?"
    value = float(count)
    for unit in ("B", "kB", "MB"):
        if abs(value) < 999.5:
            return f"{value:.0f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def lasting(seconds: float | None) -> str:
    """How long something lasts.

    >>> lasting(0.0000348), lasting(0.0123), lasting(4.2), lasting(75), lasting(7260), lasting(None)
    ('35 µs', '12 ms', '4.2 s', '1:15 min', '2:01 h', '?')
    """
    if not seconds:
        return "?" if seconds is None else "0 s"
    if seconds < 0.001:
        return f"{seconds * 1e6:.0f} µs"
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 60:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02} min"
    return f"{whole // 3600:,}:{whole % 3600 // 60:02} h"


def moment(seconds: float | None) -> str:
    """A point in time: Unix time in, this machine's time out."""
    return "?" if seconds is None else time.strftime("%d %b %Y %H:%M:%S", time.localtime(seconds))


def ranges_text(numbers: Iterable[int]) -> str:
    """Numbers for people.

    >>> ranges_text((0, 1, 2, 5, 7, 8))
    '0-2, 5, 7-8'
    """
    runs: list[list[int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1][1] = number
        else:
            runs.append([number, number])
    return ", ".join(str(a) if a == b else f"{a}-{b}" for a, b in runs)


def nearest(word: str, known: Iterable[str]) -> str | None:
    """The known word that was most likely meant; None where none is near.

    >>> nearest("stauts", ["status", "stop"]), nearest("qqq", ["status"])
    ('status', None)
    """
    import difflib

    folded = {one.lower().replace("-", "_"): one for one in known}
    near = difflib.get_close_matches(word.lower().replace("-", "_"), folded, n=1, cutoff=0.7)
    return folded[near[0]] if near else None


#: The logger of what is told to somebody who pressed Ctrl-C; the command line has its own words for that.
INTERRUPTED = "wingspan.interrupted"


def notice(text: str, logger: str = "wingspan") -> None:
    """Tell a person something that keeps nothing from being done; each time there is reason to.

    The logger ``wingspan`` tells it: on standard error, unless the program has set it up otherwise. What an
    access point or a scheduler has said may be in it: it commands no terminal.
    """
    import logging

    logging.getLogger(logger).warning("%s", shown(text))


@contextlib.contextmanager
def going_on(text: str) -> Iterator[None]:
    """Within the block, Ctrl-C ends the waiting and not what is waited for: `text` says so, and how to
    come back.
    """
    try:
        yield
    except BaseException as error:
        if _is_interrupt(error):
            notice(text, INTERRUPTED)
        raise


def _is_interrupt(error: BaseException | None) -> bool:
    """Whether Ctrl-C is what raised `error`: as KeyboardInterrupt, or by way of asyncio, which cancels the
    task that it runs.

    Other reasons to cancel a task (a time limit, another task's error) are the program's own.
    """
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or not isinstance(error, asyncio.CancelledError):
        return isinstance(error, KeyboardInterrupt)
    # Since Python 3.11 asyncio.run has a handler of its own, a method of its Runner, which counts the
    # interrupts. Before, it cancels all tasks while it handles KeyboardInterrupt.
    runner = getattr(getattr(signal.getsignal(signal.SIGINT), "func", None), "__self__", None)
    if getattr(runner, "_interrupt_count", 0):
        return True
    while error is not None and not isinstance(error, KeyboardInterrupt):
        error = error.__context__
    return error is not None
