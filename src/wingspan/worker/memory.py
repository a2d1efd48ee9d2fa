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
    """The memory limit on a personal pool, or where the map asks for more for what exceeds it. Elsewhere the
    system enforces it (cgroups), or there is none.

    Args:
        request: What the job asked for (bytes), or None.
        always: On every pool: components that take more are done again with more.
    """

    def __init__(self, request: "Optional[int]", always: "bool" = False) -> "None":
        watched = ("_WINGSPAN_PERSONAL_POOL" in os.environ or always) and sys.platform.startswith("linux")
        self._request_kib = (request or 0) // 1024
        self._most_kib = self._request_kib if watched else 0
        self._next_look = 0.0
        self._broken = ""
        self._kills = kills_for_memory()

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

    def was_exceeded(self, status: "int", peak_kib: "int") -> "bool":
        """The executor, which ended so (wait4(2)), was killed for its memory: by this worker, or, as far as
        can be told, by the system. To be asked before `why_killed`.
        """
        if self._broken:
            return True
        if not os.WIFSIGNALED(status) or os.WTERMSIG(status) != signal.SIGKILL:
            return False
        before, self._kills = self._kills, kills_for_memory()
        return self._kills > before or (0 < self._request_kib <= peak_kib * 10 // 9)

    def why_killed(self) -> "str":
        """Why the last executor was killed; empty if it was not killed for its memory."""
        broken, self._broken = self._broken, ""
        return broken


def kills_for_memory() -> "int":
    """How many processes of this one's control group the system has killed for their memory (cgroup v2,
    ``memory.events``); 0 where it does not say.
    """
    try:
        with open("/proc/self/cgroup") as file:
            group = file.read().strip().rpartition("::")[2]
        with open("/sys/fs/cgroup%s/memory.events" % group) as file:
            return sum(int(line.split()[1]) for line in file if line.startswith("oom_kill "))
    except (OSError, ValueError, IndexError):
        return 0
