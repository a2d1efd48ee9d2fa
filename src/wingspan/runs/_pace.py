"""How often somebody who waits for a run looks at its jobs."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wingspan.runs._status import RunStatus

__all__ = ["LONGEST", "Pace", "pause_between"]

#: Seconds between two looks, at least and at most.
SHORTEST, LONGEST = 0.01, 0.25


def pause_between(silence: float, cost: float) -> float:
    """Seconds until the next look at a run's jobs.

    Jobs that end one after the other are seen soon. Jobs that take long are looked at seldom. A run of many
    jobs, whose look takes long, does not keep a processor busy.

    Args:
        silence: Seconds since a job was last seen to begin or end.
        cost: Seconds that the last look took.

    >>> pause_between(0.5, 0.001), pause_between(3600, 0.001), pause_between(0.0, 0.1)
    (0.1, 0.25, 0.25)
    """
    return min(LONGEST, max(SHORTEST, silence / 5, cost * 20))


class Pace:
    """The pauses of one who waits for a run."""

    def __init__(self) -> None:
        self._news = self._woke = time.monotonic()
        self._counts: dict[str, int] = {}

    def begin(self) -> None:
        """A look begins that follows no pause."""
        self._woke = time.monotonic()

    def sleep(self, status: RunStatus, *, longest: float = LONGEST) -> None:
        """Sleep until the next look, at most `longest` seconds.

        Args:
            status: What the last look saw.
            longest: In seconds.
        """
        now = time.monotonic()
        if status.counts != self._counts:
            self._counts, self._news = dict(status.counts), now
        time.sleep(min(longest, pause_between(now - self._news, now - self._woke)))
        self.begin()
