"""`wingspan.Executor`: calls one by one, as `concurrent.futures` has them, on a pool.

Behind it stands an open map (`wingspan.maps._open_map`): each call is one of its components. One thread takes
the outcomes as they arrive.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import functools
import itertools
import operator
import select
import socket
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import BrokenExecutor, Future
from typing import TYPE_CHECKING, Any, TypeVar

from wingspan.errors import SettingsError
from wingspan.maps._create import Opened, create
from wingspan.maps._display import default_progress
from wingspan.maps._errors import InvalidInputs, MapError, MapRemoved, NotPicklable
from wingspan.maps._functions import pickle_function
from wingspan.maps._layered import check_options
from wingspan.maps._open_map import CallFuture, OpenMap, tops_of
from wingspan.maps._options import Options, default_options
from wingspan.maps._waiting import Pauses
from wingspan.maps._where import ready_pool
from wingspan.pools import Pool
from wingspan.progress import NO_PROGRESS
from wingspan.settings import load_settings
from wingspan.worker import coming, formats

if TYPE_CHECKING:
    from wingspan.maps._map import Map

__all__ = ["Executor", "ExecutorBroken"]

_Result = TypeVar("_Result")

#: The longest time between two looks of a worker for calls: on your own pool, and on a site's (s).
_LOOK_SECONDS, _LOOK_SECONDS_AT_SITE = 0.02, 2.0
#: Workers at a site leave when no call has come for so long (s); others are submitted when calls come.
_IDLE_SECONDS_AT_SITE = 300.0
#: How long after a submission of workers the executor looks whether more are needed (s).
_GROW_SECONDS = 1.0
#: The kernel's poll takes whole milliseconds: shorter waits are slept (s).
_POLL_SECONDS = 0.002
#: The function of the map. Its inputs are calls, each of which is a `functools.partial`.
_CALL = operator.methodcaller("__call__")


def _with(options: Options, **changes: Any) -> Options:
    return Options.from_dict({**options.as_dict(), "environment": options.environment, **changes})


class ExecutorBroken(MapError, BrokenExecutor):
    """The workers of an executor cannot do anything: no more calls are taken."""


class _Bell:
    """Wakes the thread. An interrupt at any moment leaves it usable.

    It would leave the lock of a `threading.Event` taken.
    """

    def __init__(self) -> None:
        self._inner, self._outer = socket.socketpair()
        self._inner.setblocking(False)
        self._outer.setblocking(False)
        self._poll = select.poll()
        self._poll.register(self._inner, select.POLLIN)

    def ring(self) -> None:
        with contextlib.suppress(OSError):  # it rings already, or nobody listens any more
            self._outer.send(b"!")

    def wait(self, seconds: float) -> bool:
        """Wait no longer than this; true if it has rung."""
        if seconds < _POLL_SECONDS:
            time.sleep(seconds)
        else:
            self._poll.poll(1e3 * seconds)
        try:
            return bool(self._inner.recv(4096))
        except BlockingIOError:
            return False

    def close(self) -> None:
        self._inner.close()
        self._outer.close()


class _Calls:
    """The calls of one executor, and the thread that takes their outcomes.

    The thread holds this object, and not the executor: so an executor that nobody has any more can end.
    """

    def __init__(self, pool: Pool, options: Options) -> None:
        self.pool = pool
        self.limit = options.workers or pool.default_workers(1_000_000)
        self._options = _with(options, workers=self.limit, block_size=None)
        self._lock = threading.RLock()
        self._bell: _Bell | None = None
        #: The last one takes calls.
        self._maps: list[OpenMap] = []
        self._thread: threading.Thread | None = None
        self._closing = ""
        self._broken: BaseException | None = None
        self._next_growth = 0.0
        self._lease = formats.LEASE_SECONDS

    # -- calls -----------------------------------------------------------------------------------------------

    def submit(self, call: functools.partial[Any]) -> CallFuture:
        """Have a worker do the call."""
        future = CallFuture()
        with self._lock:
            if self._closing:
                raise RuntimeError(f"cannot schedule new futures after {self._closing}")
            if self._broken is not None:
                raise ExecutorBroken(
                    f"the executor's workers cannot go on: {self._broken}",
                    hint="see the error before; make another executor",
                ) from self._broken
            try:
                self._add(call, future)
            except (InvalidInputs, NotPicklable) as error:
                future.begin()
                future.set_exception(error)
                return future
            if self._thread is None:
                self._bell = _Bell()
                self._thread = threading.Thread(target=self._attend, name="wingspan.Executor", daemon=True)
                _living.add(self)
                self._thread.start()
        self._ring()
        return future

    def _ring(self) -> None:
        """Let the thread look."""
        if self._bell is not None:
            self._bell.ring()

    def _add(self, call: functools.partial[Any], future: CallFuture) -> None:
        if self._maps and not self._maps[-1].is_full and self._maps[-1].add(call, future):
            return
        made, own = self._make(call)
        self._lease = made._folder.info.lease_seconds
        if self._maps:
            self._maps[-1].close()
        self._maps.append(OpenMap(made, own))
        self._maps[-1].begins_with(future)

    def _make(self, call: functools.partial[Any]) -> tuple[Map, Any]:
        """An open map whose first input is this call."""
        function = pickle_function(_CALL, tops_of(call))
        function.holds_code = True  # calls that come later may hold code
        opened = Opened(
            workers=self.limit if self.pool.own else 1,
            look_seconds=_LOOK_SECONDS if self.pool.own else _LOOK_SECONDS_AT_SITE,
            idle_seconds=None if self.pool.own else _IDLE_SECONDS_AT_SITE,
        )
        made = create(
            _CALL,
            function,
            [call],
            call="map",
            tag=None,
            pool=self.pool,
            options=self._options,
            progress=NO_PROGRESS,
            opened=opened,
        )
        self._next_growth = time.monotonic() + _GROW_SECONDS / 10
        return made, function.own

    # -- the thread ------------------------------------------------------------------------------------------

    def _attend(self) -> None:
        pauses, bell = Pauses(), self._bell
        assert bell is not None
        try:
            while True:
                with self._lock:
                    waiting = any(one.calls for one in self._maps)
                    if not waiting and (self._closing or self._broken):
                        break
                for one in list(self._maps):
                    one.touch()
                if not waiting:
                    bell.wait(coming.owner_seconds(self._lease))
                    pauses = Pauses()
                    continue
                news = [self._look(one) for one in list(self._maps)]
                self._grow()
                if bell.wait(pauses.next(any(news))):
                    pauses = Pauses()
        finally:
            bell.close()
            for one in self._maps:
                one.remove()
            _living.discard(self)

    def _look(self, one: OpenMap) -> bool:
        try:
            news = one.look() if one.calls else False
        except MapRemoved as error:
            with self._lock:
                self._maps.remove(one)  # calls that come go to another
            one.close()
            one.fail(error)
            return True
        except Exception as error:  # noqa: BLE001 - whatever it is, somebody waits
            with self._lock:
                self._broken = error
            for other in self._maps:
                other.fail(error)
            return True
        with self._lock:
            if not one.calls and one is not self._maps[-1]:
                self._maps.remove(one)
                one.remove()
        return news

    def _grow(self) -> None:
        """Submit more workers where calls wait."""
        now = time.monotonic()
        if now < self._next_growth or not self._maps:
            return
        self._next_growth = now + _GROW_SECONDS
        one = self._maps[-1]
        workers = one.workers()
        missing = min(self.limit, len(one.calls)) - workers
        if workers and missing > 0:  # where none is left, the map's keeper knows whether others may come
            one.add_workers(missing)

    # -- the end ---------------------------------------------------------------------------------------------

    def close(self, why: str, *, cancel: bool = False) -> None:
        """Take no more calls; and take back those that no worker has begun."""
        with self._lock:
            self._closing = self._closing or why
            calls = [future for one in self._maps for future in list(one.calls.values())] if cancel else []
        for future in calls:
            future.cancel()
        self._ring()

    def join(self) -> None:
        """Wait until all calls are done."""
        if self._thread is not None:
            self._thread.join()

    def leave(self) -> None:
        """This process ends, and calls are not done: their workers end when they are."""
        for one in self._maps:
            one.close()


#: Executors whose thread is at work.
_living: set[_Calls] = set()
_is_registered = False


def _at_exit() -> None:
    """The interpreter ends: wait for calls, as executors of the standard library do."""
    living = list(_living)
    for calls in living:
        calls.close("interpreter shutdown")
    try:
        for calls in living:
            calls.join()
    except BaseException:
        for calls in living:
            calls.leave()
        raise


def _register() -> None:
    """Have `_at_exit` called when the interpreter ends, before that waits for its threads."""
    global _is_registered  # noqa: PLW0603 - of this process
    if not _is_registered:
        threading._register_atexit(_at_exit)  # type: ignore[attr-defined]  # as concurrent.futures does
        _is_registered = True


def _in_chunks(
    map_them: Callable[..., Iterator[Any]],
    fn: Callable[..., Any],
    arguments: Iterator[tuple[Any, ...]],
    size: int,
    timeout: float | None,
    more: dict[str, Any],
) -> Iterator[Any]:
    """`Executor.map`, in pieces of so many calls."""
    chunks = list(iter(lambda: list(itertools.islice(arguments, size)), []))
    # A worker knows nothing of this module, so what it calls is made of builtins.
    calls = (map(fn, *map(list, zip(*chunk, strict=True))) for chunk in chunks)
    outputs = map_them(list, calls, timeout=timeout, **more)

    def each() -> Iterator[Any]:
        for chunk, several in zip(chunks, outputs, strict=True):
            if len(several) < len(chunk):
                raise RuntimeError(f"{fn!r} raised StopIteration for {chunk[len(several)]!r:.100}")
            yield from several

    return each()


class Executor(concurrent.futures.Executor):
    """Calls on a pool, one by one, in the way of `concurrent.futures`.

    Each call is a component of a map that stays open. Workers keep waiting for calls until `shutdown`, the
    end of the ``with`` block, or the end of the interpreter, each of which waits for all calls.

    Args:
        max_workers: At most so many workers; None: as many as a map on this pool gets.
        pool: As for `wingspan.map`.
        options: What each worker gets.

    Raises:
        PoolError: The pool cannot be used.

    >>> with Executor(2, pool="local") as executor:
    ...     executor.submit(pow, 2, 5).result()
    32
    """

    def __init__(
        self,
        max_workers: int | None = None,
        *,
        pool: str | Pool | None = None,
        options: Options | None = None,
    ) -> None:
        if max_workers is not None and max_workers < 1:
            raise ValueError("max_workers must be greater than 0")
        layers = [] if options is None else [check_options(options)]
        options = default_options(load_settings()).merged(*layers)
        if options.each or options.component_input_files is not None:
            raise SettingsError(
                "an executor's calls are not known yet, so options cannot go by them",
                hint="give each option one value; calls with other needs go to another executor",
            )
        if options.workers == 0:
            raise SettingsError(
                "an executor submits its own workers, and workers=0 means none", hint="leave workers out"
            )
        if max_workers is not None:
            options = _with(options, workers=max_workers)
        with default_progress() as progress:
            chosen = ready_pool(pool, progress)
        self._calls = _Calls(chosen, options)
        _register()
        weakref.finalize(self, self._calls.close, "shutdown").atexit = False

    @property
    def max_workers(self) -> int:
        """At most so many workers."""
        return self._calls.limit

    def submit(self, fn: Callable[..., _Result], /, *args: Any, **kwargs: Any) -> Future[_Result]:
        """Have a worker call ``fn(*args, **kwargs)``.

        What is passed is pickled now. The future has the function's own exception, with the remote traceback
        as its cause.

        Raises:
            RuntimeError: `shutdown` was called, or the interpreter ends.
            ExecutorBroken: The workers cannot start.
        """
        return self._calls.submit(functools.partial(fn, *args, **kwargs))

    def map(
        self,
        fn: Callable[..., _Result],
        *iterables: Iterable[Any],
        timeout: float | None = None,
        chunksize: int = 1,
        **more: Any,
    ) -> Iterator[_Result]:
        """As the builtin ``map``; the outputs come in the order of the inputs.

        Args:
            fn: Called with one item of each iterable; the shortest ends it.
            iterables: Read at once.
            timeout: Seconds from now for all outputs.
            chunksize: So many calls go to a worker as one: for calls that take less than some milliseconds.
            more: What this Python's own executors take beside, such as ``buffersize``.

        Raises:
            TimeoutError: An output was not there in time.
        """
        if chunksize < 1:
            raise ValueError("chunksize must be >= 1.")
        if chunksize == 1:
            return super().map(fn, *iterables, timeout=timeout, **more)
        return _in_chunks(super().map, fn, zip(*iterables, strict=False), chunksize, timeout, more)

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls, and let the workers go when all are done.

        Args:
            wait: Return only then.
            cancel_futures: Take back calls that no worker has begun.
        """
        self._calls.close("shutdown", cancel=cancel_futures)
        if wait:
            self._calls.join()
