"""Where a map runs: its pool, ready to take jobs. Little is imported here, as in `_api`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wingspan._words import notice
from wingspan.errors import WingspanError
from wingspan.maps._calls import length_of
from wingspan.maps._options import Options
from wingspan.pools import choose_pool, get_pool, refuse_computation_here

if TYPE_CHECKING:
    from wingspan.pools import Pool
    from wingspan.progress import Progress

__all__ = ["ready_pool", "warm_up"]

_told: set[str] = set()


def warm_up(pool: str | Pool | None, options: Options, inputs: Iterable[Any]) -> Pool | None:
    """Start workers before they are needed, if the pool is known and can do that. Returns the pool."""
    if options.environment is not None or options.workers == 0 or options.memo or pool is None:
        return None
    if isinstance(pool, str):
        try:
            pool = get_pool(pool)
        except WingspanError:
            return None  # `choose_pool` says why, once it is known that the function can travel
    if not pool.warms_up:
        return None
    from wingspan.pools.zipapp import worker_zipapp

    pool.warm_up(worker_zipapp(), options.workers or length_of(inputs))
    return pool



def ready_pool(pool: str | Pool | None, progress: Progress) -> Pool:
    """The pool that is meant, ready to take jobs.

    Raises:
        PoolError: The one that was named cannot be used.
        SettingsError: There is no pool of that name.
    """
    if pool is not None and not isinstance(pool, str):
        refuse_computation_here(pool)
        pool.make_ready(progress)
        return pool
    choice = choose_pool(pool, progress)
    if choice.is_fallback and choice.reason not in _told:
        _told.add(choice.reason)
        notice(choice.reason)
    return choice.pool
