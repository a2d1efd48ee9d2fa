"""End an executor that takes more memory than its job asked for, if the system does not do that."""

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
    """The memory limit on a personal pool. Elsewhere the system enforces it (cgroups), or there is none.

    Args:
        request: What the job asked for (bytes), or None.
    """

    def __init__(self, request: "Optional[int]") -> "None":
        watched = "_WINGSPAN_PERSONAL_POOL" in os.environ and sys.platform.startswith("linux")
        self._most_kib = (request or 0) // 1024 if watched else 0
        self._next_look = 0.0
        self._broken = ""

    def enforce(self, executor: "int", now: "float") -> "None":
        """Kill the executor and its children if they take more. The memory is measured now and then."""
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
        """Why the last executor was killed; empty if it was not killed for its memory."""
        broken, self._broken = self._broken, ""
        return broken
