"""One map in several pools at once: what holds for all of them, and what each has done."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from wingspan._words import counted
from wingspan.errors import PoolError, SettingsError
from wingspan.maps._folder import MapFolder

if TYPE_CHECKING:
    from wingspan.maps._components import Components
    from wingspan.maps._jobs import Jobs
    from wingspan.pools import Pool

__all__ = [
    "check_together",
    "done_by_pool",
    "for_all",
    "on_each",
    "stopped_pools",
    "told_by_pool",
    "without_a_sign",
]

_One = TypeVar("_One")
#: The name under which components are counted that workers of no known pool have done.
OTHERS = "by hand"


def check_together(pools: Sequence[Pool]) -> None:
    """See that workers of these pools can do one map.

    Raises:
        SettingsError: One of them has its maps on another machine, where the others do not reach them.
    """
    alone = next((pool for pool in pools if pool.elsewhere), None)
    if alone is not None and len(pools) > 1:
        raise SettingsError(
            f"the pool {alone.kind} keeps its maps on another machine, where workers of other pools do not reach them",
            hint=f"name pool={alone.kind!r} alone; for several pools of that machine make the map there, with pool=[…]",
        )


def on_each(folder: MapFolder, add: Callable[[str], int], *, once: bool) -> int:
    """Submit workers to the pools of a map; one that takes none now is noted, as long as another takes some.

    Args:
        folder: The map's.
        add: Submits workers to the pool of this kind; answers how many.
        once: The first pool that takes workers is enough.

    Raises:
        PoolError: None of them takes workers.
    """
    refusals, done = [], 0
    for kind in (folder.info.pool, *folder.info.pools):
        try:
            done += add(kind)
        except PoolError as error:
            refusals.append((kind, error))
        else:
            if once and done:
                break
    if refusals and not done:
        raise refusals[0][1]
    for kind, refusal in refusals:
        note = f"the {kind} pool takes no workers now, and others do the map: {refusal.message}"
        if note not in folder.notes():
            folder.note(note)
    return done


def for_all(ones: Iterable[_One], act: Callable[[_One], object], *, any_will_do: bool = False) -> list[_One]:
    """Do something with each of several pools, also when it fails with one of them.

    Args:
        ones: The pools, or what is known of them.
        act: Is called with each.
        any_will_do: It is enough if it succeeds with one.

    Returns:
        With which it has failed.

    Raises:
        PoolError: It failed with all of them: the first error.
    """
    errors, failed, succeeded = list[PoolError](), list[_One](), 0
    for one in ones:
        try:
            act(one)
            succeeded += 1
        except PoolError as error:
            errors.append(error)
            failed.append(one)
    if errors and not (any_will_do and succeeded):
        raise errors[0]
    return failed


def without_a_sign(
    stopped: Iterable[str],
    silent: Iterable[str],
    jobs: Jobs,
    components: Components,
    lease: float,
    now: float,
) -> frozenset[str]:
    """Pools from which nothing is to be expected, while others do the map.

    Args:
        stopped: Pools that do not run.
        silent: Pools whose schedulers do not answer: they count if none of their workers has written
            anything within its lease, and if some pool is left.
        jobs: The map's.
        components: What is known of them, and of the workers.
        lease: How long a worker may be silent (s).
        now: Unix time.
    """

    def is_alive(kind: str) -> bool:
        starts = (
            start
            for job in jobs.by_worker.values()
            if job.pool == kind
            for start in components.starts_of.get(job.worker, ())
        )
        return any(not start.left and now - start.last_seen < lease for start in starts)

    gone = frozenset(stopped)
    lost = gone | {kind for kind in silent if not is_alive(kind)}
    return gone if {job.pool for job in jobs.live()} <= lost else lost


def stopped_pools(kinds: Iterable[str], pool: Callable[[str], Pool]) -> dict[str, str]:
    """Those of these pools that do not run, and what to do about each."""
    told = {}
    for kind in kinds:
        with contextlib.suppress(PoolError):
            unavailable_reason = pool(kind).unavailable_reason()
            if unavailable_reason is not None:
                told[kind] = unavailable_reason
    return told


def done_by_pool(jobs: Jobs, components: Components) -> dict[str, int]:
    """How many components the workers of each pool have done, for a map that has workers in several pools."""
    pools = dict.fromkeys(job.pool for job in jobs.by_worker.values())
    if len(pools) < 2:
        return {}
    done: Counter[str] = Counter(dict.fromkeys(pools, 0))
    for worker, count in components.done_by().items():
        job = jobs.by_worker.get(worker)
        done[OTHERS if job is None else job.pool] += count
    return dict(done)


def told_by_pool(by_pool: dict[str, int]) -> str:
    """What each pool has done, for people.

    >>> told_by_pool({"personal": 1200, "slurm": 1})
    'personal 1,200 components, slurm 1 component'
    """
    return ", ".join(f"{kind} {counted(count, 'component')}" for kind, count in by_pool.items())
