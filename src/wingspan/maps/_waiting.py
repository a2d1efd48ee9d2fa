"""Waiting: how long to sleep between two looks at a map, and which components have come meanwhile."""

from __future__ import annotations

import datetime
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from wingspan.maps._places import Newcomers

if TYPE_CHECKING:
    from wingspan.maps._components import Components

__all__ = ["Arrivals", "Pauses", "Timeout", "deadline_of", "seconds_of"]

Timeout = float | datetime.timedelta | None
#: Sleep between two looks (s). The shortest is for warm workers on this machine, and is used only for a
#: moment.
_SHORTEST, _MOMENT, _SHORT, _LONGEST = 0.0003, 0.1, 0.01, 1.0


class Pauses:
    """How long to sleep before looking again: a twentieth of the silence so far."""

    def __init__(self) -> None:
        self._began = self._quiet_since = time.monotonic()

    def next(self, news: bool) -> float:
        now = time.monotonic()
        if news:
            self._quiet_since = now
        shortest = _SHORTEST if now - self._began < _MOMENT else _SHORT
        return min(_LONGEST, max(shortest, 0.05 * (now - self._quiet_since)))


class Arrivals:
    """Components in the order in which they are finished, each once."""

    def __init__(self, results: Components, is_final: Callable[[int], bool]) -> None:
        self._is_final = is_final
        self._seen = bytearray(results.n)
        self._newcomers = Newcomers(results.places)

    def are_there(self) -> bool:
        """There is something new to `take`, or to look at."""
        return self._newcomers.are_there()

    def take(self) -> Iterator[int]:
        """Those that are finished and have not been taken."""
        while self.are_there():
            component = self._newcomers.take()
            # A component that is tried again arrives again.
            if not self._seen[component] and self._is_final(component):
                self._seen[component] = 1
                yield component


def deadline_of(timeout: Timeout) -> float | None:
    if timeout is None:
        return None
    seconds = timeout.total_seconds() if isinstance(timeout, datetime.timedelta) else float(timeout)
    return time.monotonic() + seconds


def seconds_of(timeout: float | datetime.timedelta) -> float:
    return timeout.total_seconds() if isinstance(timeout, datetime.timedelta) else float(timeout)
