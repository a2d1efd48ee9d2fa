"""More memory for jobs of a run that took more than they had asked for."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from wingspan.errors import PoolError
from wingspan.jobs import size_text
from wingspan.pools import get_pool
from wingspan.pools.submissions import by_pool
from wingspan.runs._errors import InvalidRun
from wingspan.runs._units import parse_size
from wingspan.runs._watch import RunJobs

if TYPE_CHECKING:
    from wingspan.pools import Pool
    from wingspan.runs._spec import RunSpec
    from wingspan.runs._status import RunStatus

__all__ = ["MoreMemory", "check_more_memory", "most_memory"]


def most_memory(given: Any, memory: int | None) -> int | None:
    """The most memory that is asked for after a job took too much (bytes).

    Args:
        given: As it was given.
        memory: Bytes that are asked for at first.

    Raises:
        InvalidRun: It is no size, or less than what is asked for at first, or nobody says what that is.
    """
    most = parse_size(given, "retry_memory")
    if most is None:
        return None
    if memory is None:
        raise InvalidRun(
            f"retry_memory = {given!r} says how far memory may be raised, and memory is not given",
            hint="--memory 2GB: what a job asks for at first",
        )
    if most < memory:
        raise InvalidRun(
            f"retry_memory = {given!r} is less than memory, {size_text(memory)}",
            hint="retry_memory is the most that is asked for when memory was not enough",
        )
    return most


def check_more_memory(spec: RunSpec, pool: Pool) -> None:
    """See that the pool can raise the memory of jobs, if the run wants that.

    Raises:
        InvalidRun: It cannot. A pool that never ends a job for its memory passes.
    """
    most = spec.resources.retry_memory
    if most is None or pool.raises_memory or not pool.limits_memory:
        return
    raise InvalidRun(
        f"retry_memory is for HTCondor: the pool {pool.kind} ends a job that takes too much, and no one does it again",
        hint=f"leave it out (--retry-memory, or retry-memory in the manifest) and ask for enough: --memory {size_text(most)}",
    )


class MoreMemory(RunJobs):
    """The part of a `wingspan.Run` that raises the memory of held jobs.

    From HTCondor 25.10 on the schedd itself does that, before it would hold them. This is for older ones, and
    for jobs that a rule of the site holds.
    """

    def asks_for_more(self, status: RunStatus) -> bool:
        """Have jobs that are held because they took too much memory ask for twice as much, and go on.

        Args:
            status: How the run fares.

        Returns:
            Some go on.
        """
        most = self.spec.resources.retry_memory
        if most is None or not status.counts["held"] or not get_pool(self.pool).raises_memory:
            return False
        count = 0
        for kind, submissions in by_pool(self._submissions()).items():
            with contextlib.suppress(PoolError):
                count += get_pool(kind).enlarge(submissions, memory=most, disk=None)
        if count:  # the event log tells it later: the next look must not find these jobs held
            for watcher in self._watchers.values():
                with contextlib.suppress(PoolError):
                    self._take_all(watcher.ask())
        return count > 0
