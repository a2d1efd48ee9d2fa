"""One reader for everybody who looks at a map or run: it looks in a thread of its own, as often as that
costs little.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable

import attrs

from wingspan.errors import WingspanError
from wingspan.views._model import Cells, Detail, Report, View
from wingspan.views._source import Source

__all__ = ["Live", "live"]

_log = logging.getLogger("wingspan")

#: Seconds from one look to the next at least; and while nothing is expected to change.
_SOON, _SELDOM = 0.246, 1.0
#: Where nothing but the rate and the time left changes, so many seconds go by until that is told.
_RATE_APART = 1.0
#: A look that takes a second is followed by so many seconds of rest: looking takes less than 3 % of a core.
_REST = 36.0

#: Called with what is seen.
Seen = Callable[[View], None]


class Live:
    """A map or run that somebody looks at. All methods may be called by any thread.

    Args:
        source: Asked by one thread at a time.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self._lock = threading.RLock()
        self._watchers: dict[int, Seen] = {}
        self._numbers = 0
        self._thread: threading.Thread | None = None
        self._wake = threading.Event()
        self._last: View | None = None

    @property
    def is_removed(self) -> bool:
        """It was there, and is gone."""
        return self._last is not None and self._last.is_removed

    def view(self) -> View:
        """How it fares now. Where it cannot be read, or is gone: what was seen last, and why.

        Raises:
            WingspanError: It cannot be read, and never could.
        """
        with self._lock:
            try:
                self._last = self.source.view()
            except WingspanError as error:
                if self._last is None:
                    raise
                self._last = attrs.evolve(self._last, message=error.message)
                if not self.source.exists():
                    self._last = attrs.evolve(self._last, is_removed=True, is_done=True, actions=())
            return self._last

    def cells(self, first: int, stop: int, layer: str, most: int = 4096) -> Cells:
        """See `Source.cells`; whatever is asked for is brought within its limits."""
        with self._lock:
            count = (self._last or self.view()).components
            first = max(0, min(first, count - 1))
            return self.source.cells(first, max(first + 1, min(stop, count)), layer, most)

    def detail(self, number: int) -> Detail:
        """See `Source.detail`."""
        with self._lock:
            return self.source.detail(number)

    def act(self, action: str) -> str:
        """Do what a button says: what was done, or why it was not, in a sentence. Raises nothing."""
        with self._lock:
            try:
                told = self.source.act(action)
            except WingspanError as error:
                told = f"{error.message}; {error.hint}" if error.hint else error.message
        self._wake.set()
        return told

    def report(self) -> Report:
        """See `Source.report`."""
        with self._lock:
            return self.source.report()

    def watch(self, seen: Seen) -> Callable[[], None]:
        """Call `seen` with each view that differs from the one before, in a thread of our own.

        Returns:
            What ends it.
        """
        with self._lock:
            self._numbers += 1
            number = self._numbers
            self._watchers[number] = seen
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="wingspan-live", daemon=True)
                self._thread.start()
        self._wake.set()

        def end() -> None:
            with self._lock:
                self._watchers.pop(number, None)
            self._wake.set()

        return end

    def _look(self) -> None:
        before: View | None = None
        known: set[int] = set()
        due = told = time.monotonic()
        cost = 0.0  # of a look, seconds of processor time; peaks count a quarter
        while True:
            with self._lock:
                watchers = dict(self._watchers)
                if not watchers:
                    self._thread = None
                    return
            begin = time.thread_time()
            try:
                view = self.view()
            except WingspanError as error:
                _log.warning("what is shown of %s is not brought up to date: %s", self.source.key, error)
                time.sleep(_SELDOM)
                continue
            changed = before is None or _steady(view) != _steady(before)
            if not changed and time.monotonic() - told >= _RATE_APART:
                changed = before is not None and (view.rate, view.left) != (before.rate, before.left)
            if changed:
                before, told = view, time.monotonic()
            for number, seen in watchers.items():
                if changed or number not in known:
                    self._tell(number, seen, view)
            known = set(watchers)
            if view.is_removed:
                with self._lock:
                    self._watchers.clear()
                continue
            spent = time.thread_time() - begin
            # One look that took long, such as the first of a large map, does not keep later ones waiting.
            cost = spent if spent < cost or not cost else cost + (spent - cost) / 4
            # A look that comes late does not put off those that follow.
            now, period = time.monotonic(), _SELDOM if view.is_done else _SOON
            due = max(min(due, now) + period, now + _REST * cost)
            self._wake.wait(due - now)
            self._wake.clear()

    def _tell(self, number: int, seen: Seen, view: View) -> None:
        try:
            seen(view)
        except Exception:  # noqa: BLE001 - one view must not end the others
            # One that looked is gone (a closed browser, a kernel that ends): the others go on.
            _log.debug("a view of %s is gone", self.source.key, exc_info=True)
            with self._lock:
                self._watchers.pop(number, None)


def _steady(view: View) -> View:
    """The view without what changes as time goes by, though nothing happens."""
    return attrs.evolve(view, now=0.0, history=(), rate=None, left=None)


_known: weakref.WeakValueDictionary[str, Live] = weakref.WeakValueDictionary()
_known_lock = threading.Lock()


def live(source: Source) -> Live:
    """The one `Live` of what `source` shows: several views share it, and so one reader."""
    with _known_lock:
        found = _known.get(source.key)
        if found is None:
            found = Live(source)
            _known[source.key] = found
        return found
