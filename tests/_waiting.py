"""The one way in which tests wait: for a condition, never for a time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

__all__ = ["PATIENCE", "NotInTime", "until"]

Value = TypeVar("Value")

#: Seconds after which a test gives up waiting. Long: a busy machine must not fail a test.
PATIENCE = 300.0


class NotInTime(AssertionError):
    """The condition did not come true."""


def until(
    condition: Callable[[], Value],
    what: str | Callable[[], object] = "the condition",
    *,
    seconds: float = PATIENCE,
) -> Value:
    """Wait until `condition` answers something true, and return that.

    Args:
        condition: Asked again and again.
        what: What is waited for, or a function that says how things stand when there is no more patience.
        seconds: How long to wait at most.

    Raises:
        NotInTime: It did not come true; the test fails.
    """
    deadline, pause = time.monotonic() + seconds, 0.01
    while not (value := condition()):
        if time.monotonic() > deadline:
            raise NotInTime(f"not within {seconds:.0f} s: {what() if callable(what) else what}")
        time.sleep(pause)
        pause = min(
            0.2, 1.2 * pause
        )  # what takes long is asked seldom: asking takes time from those who work
    return value
