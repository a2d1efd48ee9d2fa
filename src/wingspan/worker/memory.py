"""Ends an executor that takes more memory than its job asked for, where the system does not see to it."""

import os
import signal
import sys

from .measures import family, resident_kib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Optional

#: Seconds between two looks at the memory of the executor.
WEIGH_SECONDS = 1.0


class MemoryLimit(object):
    """The limit on a personal pool. Elsewhere the system sees to it (cgroups), or nobody asked for one.

    Args:
        request: What the job asked for (bytes), or None.
    """

    def __init__(self, request: "Optional[int]") -> "None":
        watched = "_WINGSPAN_PERSONAL_POOL" in os.environ and sys.platform.startswith("linux")
        self._most_kib = (request or 0) // 1024 if watched else 0
        self._next_look = 0.0
        self._broken = ""

    def enforce(self, executor: "int", now: "float") -> "None":
        """Kill the executor, with what it has started, if it takes more; it is looked at now and then."""
        if not self._most_kib or now < self._next_look:
            return
        self._next_look = now + WEIGH_SECONDS
        pids = family(executor)
        if resident_kib(pids, shared=True) <= self._most_kib:
            return
        taken = resident_kib(pids, shared=False)
        if taken <= self._most_kib:
            return
        self._broken = "it took %d MiB of memory and its job asked for %d MiB" % (
            taken // 1024,
            self._most_kib // 1024,
        )
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass

    def why_killed(self) -> "str":
        """What the executor that died last had done; empty if it was not killed for its memory."""
        broken, self._broken = self._broken, ""
        return broken
