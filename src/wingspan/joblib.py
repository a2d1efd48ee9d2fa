"""joblib on a pool: importing this module registers the backend ``"wingspan"``.

import wingspan.joblib
from joblib import Parallel, delayed, parallel_config

with parallel_config("wingspan", pool="slurm", n_jobs=50):
    Parallel()(delayed(simulate)(seed) for seed in range(1000))
"""

from __future__ import annotations

import weakref
from collections.abc import Callable
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from wingspan.errors import WingspanError

try:
    from joblib import register_parallel_backend
    from joblib.parallel import AutoBatchingMixin, ParallelBackendBase
except ImportError as error:  # pragma: no cover - the tests have it
    raise WingspanError("joblib is not installed here", hint="pip install 'wingspan[joblib]'") from error

from wingspan.maps import Executor

if TYPE_CHECKING:
    from wingspan.maps import Options
    from wingspan.pools import Pool

__all__ = ["WingspanBackend"]


class WingspanBackend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]  # joblib has no types
    """Batches of joblib's calls on the workers of a `wingspan.Executor`.

    It is made by ``parallel_config("wingspan", …)`` or ``Parallel(backend="wingspan")``. Its workers stay for
    all `Parallel` objects of one ``with parallel_config(…)``. Inside a batch, joblib uses threads.

    Args:
        pool: As for `wingspan.map`.
        options: What each worker gets.
        how: What joblib passes to every backend.
    """

    supports_retrieve_callback = True
    default_n_jobs = -1

    def __init__(self, *, pool: str | Pool | None = None, options: Options | None = None, **how: Any) -> None:
        super().__init__(**how)
        self._pool, self._options = pool, options
        self._executor: tuple[int | None, Executor] | None = None
        self._calls: weakref.WeakSet[Future[Any]] = weakref.WeakSet()

    def _of(self, n_jobs: int | None) -> Executor:
        """The executor of so many workers; it stays until another number is wanted."""
        workers = n_jobs if n_jobs is not None and n_jobs > 0 else None
        if self._executor is None or self._executor[0] != workers:
            self._executor = (workers, Executor(workers, pool=self._pool, options=self._options))
        return self._executor[1]

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """How many workers there are: `n_jobs`, or (negative) as many as a map on this pool gets.

        1 means this process to joblib.
        """
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None or n_jobs == 1:
            return 1
        return n_jobs if n_jobs > 0 else max(2, self._of(n_jobs).max_workers)

    def configure(self, n_jobs: int = 1, parallel: Any = None, **_: Any) -> int:
        """Get ready for a `Parallel`: how many workers it has."""
        self.parallel = parallel
        count = self.effective_n_jobs(n_jobs)
        if count > 1:
            self._of(n_jobs)
        return count

    def submit(
        self, func: Callable[[], Any], callback: Callable[[Future[Any]], None] | None = None
    ) -> Future[Any]:
        """Have a worker do a batch."""
        assert self._executor is not None
        future = self._executor[1].submit(func)
        self._calls.add(future)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    def retrieve_result_callback(self, future: Future[Any]) -> Any:
        """The outputs of a batch, or its exception."""
        return future.result()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """A call has failed: take back what no worker has begun."""
        for future in list(self._calls):
            future.cancel()

    def terminate(self) -> None:
        """A `Parallel` ends: its workers stay for the next.

        Each refers to the other until here. Without that circle the workers go with the ``with`` block.
        """
        self.reset_batch_stats()
        self.parallel = None


register_parallel_backend("wingspan", WingspanBackend)
