"""Where a map runs: its pool, ready to take jobs. Little is imported here, as in `_api`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from wingspan._words import notice
from wingspan.errors import SettingsError, WingspanError
from wingspan.maps._calls import length_of
from wingspan.maps._options import Options
from wingspan.pools import check_kind, choose_pool, get_pool, refuse_computation_here

if TYPE_CHECKING:
    from wingspan.pools import Pool
    from wingspan.progress import Progress

__all__ = ["Where", "ready_pool", "several", "warm_up"]

#: What ``pool=`` of a map takes: a pool or its name, several of these, or None, for one that is chosen.
Where: TypeAlias = "str | Pool | Sequence[str | Pool] | None"

_told: set[str] = set()


def several(pool: Where) -> list[str | Pool | None]:
    """The pools that are meant, one at least.

    Raises:
        SettingsError: There is no such pool (also where none will be needed, since the map is there already);
            the list is empty, or has two pools of a kind: a map tells them apart by their kinds.

    >>> several("local"), several(["local", "slurm"])
    (['local'], ['local', 'slurm'])
    """
    if isinstance(pool, str):
        check_kind(pool)
        return [pool]
    if not isinstance(pool, Sequence):
        return [pool]
    for named in pool:
        if isinstance(named, str):
            check_kind(named)
    kinds = [one if isinstance(one, str) else one.kind for one in pool]
    if not kinds:
        raise SettingsError("pool=[] names no pool", hint='pool=["personal", "slurm"], or leave pool out')
    twice = next((kind for kind in kinds if kinds.count(kind) > 1), None)
    if twice is not None:
        raise SettingsError(
            f"the pool {twice!r} is named twice", hint="name each once; Options(workers=…) says how many"
        )
    return list(pool)


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
