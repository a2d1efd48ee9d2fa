"""Submitting the workers of a map, and changing what they ask for."""

from __future__ import annotations

import contextlib
import threading
import time

from wingspan.errors import PoolError, SubmitError
from wingspan.maps import _keeper_events as ev
from wingspan.maps._folder import MapFolder, told
from wingspan.maps._keeper_state import KeeperState
from wingspan.maps._options import Options
from wingspan.maps._results import Results
from wingspan.maps._worker_job import worker_job
from wingspan.pools import Changed, Pool, get_pool
from wingspan.pools.submissions import by_pool

__all__ = ["Submits"]


class Submits:
    """The part of a `wingspan.maps._keeper.Keeper` that submits workers.

    Attributes:
        folder: The map's.
        results: Its results, as far as they have been read.
        state: Decides what is to be done.
        options: What each worker gets; see `read_options`.
        lock: Held while anything is read or done.
    """

    folder: MapFolder
    results: Results
    state: KeeperState
    options: Options
    lock: threading.RLock
    _folder: MapFolder
    _newest_pool: Pool | None = None

    def _poll_jobs(self) -> bool:
        raise NotImplementedError

    def _follow(self, event: ev.Event) -> None:
        raise NotImplementedError

    def read_options(self) -> None:
        """Take in what ``map.json`` says of the options: they may have been changed."""
        self.options = Options.from_dict(self.folder.info.options)

    def _pool(self, kind: str) -> Pool:
        """The pool of this kind that has jobs of the map; where none has, the one of the settings."""
        places = [one.place for one in self.folder.submissions.entries() if one.pool == kind]
        return get_pool(kind, places[-1] if places else None)

    @told("given workers")
    def add_workers(self, count: int | None, pool: Pool | None = None, *, for_held: bool = False) -> int:
        """Submit `count` workers, or (None) as many as suit what is unfinished.

        Returns how many were submitted.

        With `count` None, a map whose workers are all external gets none.
        """
        if count is None and self.options.workers == 0:
            return 0
        pool = pool or self._pool(self.folder.info.pool)
        pool.make_ready()
        if count is None:
            left = max(1, self.results.n - self.results.finished + len(self.results.retryable))
            count = min(left, self.options.workers or pool.default_workers(left))
        return self._submit(pool, count, for_held=for_held) if count else 0

    def _submit(self, pool: Pool, count: int, *, for_held: bool) -> int:
        with self.lock:
            self.folder.read_info()
            self.read_options()  # another process may have changed them
            most, left = pool.largest_submission(count), count
            while left:
                some = min(most, left)
                first = self.folder.reserve_workers(some, pool.kind, pool.place)
                job = worker_job(self.folder, self.options, pool, first, some)
                try:
                    submission = pool.submit(job)
                except SubmitError:
                    self.folder.cancel_reservation(first)
                    if left == count:
                        raise
                    break  # the workers that were submitted can do everything
                with contextlib.suppress(FileNotFoundError):
                    self.folder.submissions.add(submission, first=first, place=pool.place, for_held=for_held)
                if not self.folder.exists:
                    # The map was removed meanwhile. Nobody else knows of these jobs.
                    with contextlib.suppress(PoolError):
                        pool.act("remove", [submission], self.folder.path, "the map was removed")
                    raise self.folder.removed()
                left -= some
            self._poll_jobs()
            self._newest_pool = pool
            self._follow(ev.Submitted(time.monotonic(), pool.kind))
            return count - left

    def description(self) -> str:
        """What the map's pool is told when workers are submitted."""
        pool = self._pool(self.folder.info.pool)
        return pool.describe(worker_job(self.folder, self.options, pool, 0, max(1, self.folder.info.workers)))

    def change(self, *, memory: int | None = None, disk: int | None = None) -> Changed:
        """Have jobs that wait ask for so much (bytes); see `wingspan.pools.Pool.change`."""
        with self.lock:
            self._poll_jobs()
            changed = running = 0
            for kind, submissions in by_pool(self.state.entries).items():
                done = self._pool(kind).change(submissions, memory=memory, disk=disk)
                changed, running = changed + done.changed, running + done.running
            return Changed(changed=changed, running=running)
