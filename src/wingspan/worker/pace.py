"""The pace at which a worker asks the access point for something.

The map says how many operations a second all its workers may ask together, and for how many workers it was
planned. Each keeps to its part of that, and so all do. What was not asked for a while may be asked at once,
up to `BURST`: a map of short components is done before anybody has to wait.
"""

import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Mapping, Optional

#: How many operations may come one right after the other.
BURST = 60
#: The part of what a worker may ask that appends of records get.
_APPENDS = 0.5
#: An append that took longer than this (s) has met a slow access point: the next one comes so many times
#: later.
_SLOW_SECONDS, _BACK_OFF = 0.1, 20.0


class Pace(object):
    """How often a worker may ask.

    Args:
        rate: Operations a second; None: as often as it likes.
        lease: A worker that is silent for so long is taken for lost (s).

    Attributes:
        between: Seconds between two appends of gathered records, beside what the transport wants.
        heartbeat: Seconds between two signs of life, at least.
    """

    def __init__(self, rate: "Optional[float]", lease: "float") -> "None":
        self._rate = rate
        self._longest = lease / 4
        self._at = 0.0
        self._slow = 0.0
        self.heartbeat = self._between = 0.0
        if rate is not None:
            self._between = min(self._longest, 1.0 / (_APPENDS * rate))
            self.heartbeat = min(self._longest, 4.0 / rate)

    @classmethod
    def of_map(cls, info: "Mapping[str, Any]", lease: "float") -> "Pace":
        """The pace of a worker of the map that ``map.json`` says this of."""
        budget, workers = info.get("operations"), info.get("workers") or 1
        return cls(budget / workers if budget else None, lease)

    @property
    def between(self) -> "float":
        return max(self._between, self._slow)

    def took(self, seconds: "float") -> "None":
        """An append took so long: a slow access point is asked less often."""
        self._slow = min(self._longest, _BACK_OFF * seconds) if seconds > _SLOW_SECONDS else 0.0

    def take(self, count: "int" = 1) -> "None":
        """So many operations are asked."""
        if self._rate is not None:
            now = time.monotonic()
            # Signs of life are given beyond the budget, too: no debt that would silence the worker for long.
            self._at = min(now + self._longest, max(self._at, now - BURST / self._rate) + count / self._rate)

    def may_claim(
        self, is_busy: "bool", flush: "Callable[[], object]", is_told: "Callable[[], bool]"
    ) -> "bool":
        """Whether the access point may be asked for a block now.

        Args:
            is_busy: There is something to do meanwhile. Else the worker waits here until it may ask.
            flush: Called before it waits: what was gathered is appended.
            is_told: The worker is to end.
        """
        if self.due():
            if is_busy:
                return False
            flush()
        while self.due() and not is_told():
            time.sleep(min(0.2, self.due()))
        self.take(2)
        return not is_told()

    def due(self) -> "float":
        """Seconds until another operation may be asked, at most a quarter of the lease."""
        if self._rate is None:
            return 0.0
        return min(self._longest, max(0.0, self._at - time.monotonic()))
