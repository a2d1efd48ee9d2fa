"""The carrier of a map or run that follows others: ``python -m wingspan.carrier FOLDER``.

It waits until what is followed is done, looks after it meanwhile as a process that waits does, and begins the
map or run in FOLDER; or it writes down why that will not begin. See `wingspan.pools.following`.
"""

from __future__ import annotations

import contextlib
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan._words import counted
from wingspan.errors import DiskError, PoolError, WingspanError
from wingspan.pools.following import Earlier, Following

if TYPE_CHECKING:
    from wingspan.maps._map import Map
    from wingspan.pools import Pool
    from wingspan.runs._run import Run

__all__ = ["main"]

#: Seconds between two looks, on a pool of one's own and elsewhere: a twentieth of the time so far, but within
#: these bounds.
_PAUSES, _PAUSES_AT_SITE = (0.1, 2.0), (2.0, 30.0)
#: How long a carrier keeps its slot (s), where the scheduler can start another when earlier jobs have ended.
_IN_A_SLOT = 30.0


class _Failed(Exception):
    """What is followed is not, and will not be, what the follower needs."""


class _Carrier:
    """Looks after one map or run that has not begun."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._following = Following(folder)
        self._looks: dict[Earlier, Callable[[], bool]] = {}
        self._began = time.monotonic()

    def work(self) -> None:
        """Wait, and begin it."""
        while self._folder.is_dir() and self._following.is_waiting:
            with self._following.alone() as alone:
                if alone and self._step():
                    return
            time.sleep(self._pause())

    @property
    def _pool(self) -> Pool:
        from wingspan.pools import get_pool

        entry = self._following.carriers.entries()[-1]
        return get_pool(entry.pool, entry.place)

    def _pause(self) -> float:
        low, high = _PAUSES if self._pool.own or self._pool.runs_here else _PAUSES_AT_SITE
        return min(high, max(low, 0.05 * (time.monotonic() - self._began)))

    def _step(self) -> bool:
        """Look once; true if nothing is left to do for this carrier."""
        try:
            done = [self._look(one) for one in self._following.earlier]
            if all(done):
                self._begin()
                self._following.end(None)
                return True
        except (PoolError, DiskError):
            pass  # a scheduler does not answer or takes no jobs, a disk is away or full: later it does
        except (_Failed, WingspanError) as error:
            told = error.message if isinstance(error, WingspanError) else str(error)
            self._following.end(told)
            return True
        if self._pool.orders_jobs and time.monotonic() - self._began > _IN_A_SLOT:
            try:
                self._following.carry(self._pool)  # it starts when the jobs that are there now have ended
            except PoolError:
                return False
            return True
        return False

    def _look(self, one: Earlier) -> bool:
        """True if it is done as it should be.

        Raises:
            _Failed, WingspanError: It will not be.
        """
        try:
            if one not in self._looks:
                self._looks[one] = _look_at_map(one) if one.kind == "map" else _look_at_run(one)
            return self._looks[one]()
        except WingspanError as error:
            if isinstance(error, DiskError) or one.path.is_dir():
                raise
            raise _Failed(f"{one} was removed") from None

    def _begin(self) -> None:
        from wingspan.maps._folder import MapFolder
        from wingspan.maps._map import Map
        from wingspan.runs._folder import RunFolder
        from wingspan.runs._later import begin_later

        if (self._folder / "map.json").exists():
            begun = Map(MapFolder(self._folder))._keeper
            begun.adopt()
            begun.refresh()
            if not begun.state.entries and not begun.finished:
                if begun.folder.info.pools:
                    begun.add_workers(None)  # to each of its pools that takes some
                else:
                    begun.begin(self._pool)
            return
        fetched = {
            one.name: _fetch_from(one)
            for one in self._following.earlier
            if one.name in self._following.outputs_of
        }
        begin_later(RunFolder(self._folder), self._pool, fetched)


def _map_at(one: Earlier) -> Map:
    from wingspan.maps._folder import MapFolder
    from wingspan.maps._map import Map

    return Map(MapFolder(one.path))


def _run_at(one: Earlier) -> Run:
    from wingspan.runs._folder import RunFolder
    from wingspan.runs._run import Run

    return Run(RunFolder(one.path))


def _look_at_map(one: Earlier) -> Callable[[], bool]:
    from wingspan.maps._errors import ComponentHeld
    from wingspan.maps._stuck import attend_earlier, check_it_can_go_on

    earlier = _map_at(one)
    keeper = earlier._keeper

    def look() -> bool:
        keeper.refresh()
        if not keeper.finished:
            keeper.reconcile()
            with contextlib.suppress(ComponentHeld):  # somebody may release it
                check_it_can_go_on(keeper)
                attend_earlier(keeper, holds_ok=False)
            return False
        keeper.tidy()
        failed, cancelled = len(keeper.results.failed), len(keeper.results.cancelled)
        if failed or cancelled:
            what = "failed" if failed else "were cancelled"
            raise _Failed(f"{counted(failed or cancelled, 'component')} of {one} {what}")
        return True

    return look


def _look_at_run(one: Earlier) -> Callable[[], bool]:
    earlier = _run_at(one)

    def look() -> bool:
        status = earlier.status()
        for job in status.jobs:
            if job.state in ("failed", "removed"):
                raise _Failed(
                    f"job {job.number} of {one} {'was' if job.state == 'removed' else 'has'} {job.state}: {job.reason}"
                )
        if not status.is_done:
            earlier.attend(status)
        return status.is_done

    return look


def _fetch_from(one: Earlier) -> Callable[[Path], object]:
    """Puts the outputs of what is followed into a folder, each thing in a folder of its name."""
    if one.kind == "map":
        return _map_at(one).fetch
    earlier = _run_at(one)
    return lambda to: earlier.fetch(to if len(earlier) > 1 else to / earlier.name)


def main() -> int:
    """The command line."""
    _Carrier(Path(sys.argv[1])).work()
    return 0


if __name__ == "__main__":
    sys.exit(main())
