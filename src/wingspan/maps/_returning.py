"""Workers of a chain that leave while no input is there, and who brings them back.

On HTCondor the schedd does: the job leaves by an exit code of its own, stays in the queue, and is started
again after a pause. On Slurm other jobs are in the queue that start when the earlier map's have ended.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan.jobs import ComesBack
from wingspan.worker.one_map import EXIT_LATER, EXIT_TRY_AGAIN

if TYPE_CHECKING:
    from wingspan.maps._folder import MapFolder
    from wingspan.pools import Pool

__all__ = ["WAITING_AT_SITE", "comes_back", "on_exit_remove", "seconds_to_stay"]

#: A worker that has had nothing to do for so long leaves (s), where something brings it or others back.
STAY_SECONDS, STAY_SECONDS_AT_SITE = 30.0, 120.0
#: How long it pauses the first time, and how long at most (s).
PAUSES, PAUSES_AT_SITE = (1.0, 10.0), (60.0, 600.0)
#: At a site so many workers are in the queue at a time; when one is at work, the next one comes.
WAITING_AT_SITE = 20
#: A job that has left so often is not started again.
MOST_RETURNS = 2000
#: A job is not started again if it fails after so many starts. HTCondor counts all starts in one number: of a
#: job that comes back some of them are no failures.
MOST_STARTS, MOST_STARTS_IF_RETURNING = 5, 50


def seconds_to_stay(pool: Pool) -> float:
    """How long a worker waits in its slot before it leaves."""
    return STAY_SECONDS if pool.own else STAY_SECONDS_AT_SITE


def comes_back(folder: MapFolder, pool: Pool) -> ComesBack | None:
    """How workers of a map come back; None: the map is no chain, or this pool does not start jobs again."""
    if folder.info.chain is None or not pool.brings_back:
        return None
    first, longest = PAUSES if pool.own else PAUSES_AT_SITE
    return ComesBack(exit_code=EXIT_LATER, first_pause=first, longest_pause=longest)


def on_exit_remove(returns: ComesBack | None) -> str:
    """When a worker's job that has ended leaves HTCondor's queue (its ``on_exit_remove``).

    A process that is killed by a signal (out of memory, an operator's kill -9) is started again, and resumes
    what it claimed; so is one that cannot reach its map for a moment.

    >>> on_exit_remove(None)
    '(ExitBySignal =!= true && ExitCode =!= 75) || NumJobStarts >= 5'
    """
    failed = f"ExitBySignal =!= true && ExitCode =!= {EXIT_TRY_AGAIN}"
    if returns is None:
        return f"({failed}) || NumJobStarts >= {MOST_STARTS}"
    early = f"ExitCode =?= {returns.exit_code}, NumJobStarts >= {MOST_RETURNS}"
    return f"ifThenElse({early}, ({failed}) || NumJobStarts >= {MOST_STARTS_IF_RETURNING})"
