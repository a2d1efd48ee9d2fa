"""A map whose inputs come while it is at work: calls are appended, and their outcomes taken as they arrive.

The worker's side, and what lies on disk, is `wingspan.worker.coming`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from concurrent.futures import Future
from types import CodeType
from typing import TYPE_CHECKING, Any

from wingspan.errors import WingspanError
from wingspan.maps._carried import FileNotes
from wingspan.maps._components import ERROR
from wingspan.maps._errors import MapRemoved, NotPicklable
from wingspan.maps._failures import raisable
from wingspan.maps._own import OwnCode, named_in
from wingspan.maps._own_files import locate
from wingspan.maps._places import Newcomers
from wingspan.maps._stuck import check_it_can_go_on
from wingspan.pools import get_pool
from wingspan.worker import coming, failure, formats, rounds
from wingspan.worker.pickling import Dumper, culprit, reason
from wingspan.worker.streams import Gathering
from wingspan.worker.transfer_path import TransferPath

if TYPE_CHECKING:
    from wingspan.maps._map import Map

__all__ = ["CallFuture", "OpenMap", "tops_of"]

#: When inputs and results take so many bytes, the next calls go to another map: this one can be removed when
#: its calls are done.
MOST_BYTES = 1 << 31
_REFUSED = "make it inside the function, so that each worker makes its own"


def tops_of(call: Any) -> set[str]:
    """Top modules that a call refers to.

    Raises:
        NotPicklable: It cannot travel; the message says which part of it.
    """
    own = OwnCode()
    dumper = Dumper(by_value=own.by_value, on_own=own.saw)
    try:
        dumper.try_out(call)
    except Exception as error:
        raise _refusal(call, error, dumper) from error
    own.codes = dumper.codes
    return own.tops()


def _refusal(call: Any, error: Exception, dumper: Dumper) -> NotPicklable:
    where, kind = culprit(call, "the call", dumper.try_out)
    return NotPicklable(f"{where} of type {kind} cannot be pickled: {reason(error)}", hint=_REFUSED)


class CallFuture(Future[Any]):
    """The future of one call of a `wingspan.Executor`."""

    def __init__(self) -> None:
        super().__init__()
        self._place: tuple[OpenMap, int] | None = None

    def running(self) -> bool:
        """A worker has begun the call."""
        if super().running():
            return True
        place = self._place
        if place is not None and not self.done() and place[0].is_claimed(place[1]):
            self.begin()
        return super().running()

    def cancel(self) -> bool:
        """Take the call back; False if a worker has begun it, or it is done."""
        if self.cancelled():
            return True
        if self.done() or self.running() or self._place is None:
            return False
        taken, component = self._place
        if not taken.take_back(component):
            self.begin()
            return False
        super().cancel()
        self.set_running_or_notify_cancel()  # what waits for it is told
        return True

    def begin(self) -> None:
        """Nobody can cancel it any more."""
        with self._condition:
            if not self.done() and not super().running():
                self.set_running_or_notify_cancel()


class OpenMap:
    """One open map of an executor, from its first call to its end.

    Attributes:
        map: The map.
        calls: Futures that have no outcome yet, by component.

    Args:
        made: The map; its first call is its first input.
        own: What its workers have of the user's own modules.
    """

    def __init__(self, made: Map, own: OwnCode) -> None:
        self.map = made
        self.calls: dict[int, CallFuture] = {}
        self._folder = made._folder
        self._keeper = made._keeper
        self._lock = threading.Lock()
        self._own = own
        #: Files that travel with the call that is being added.
        self._files = FileNotes()
        self._dumper = Dumper(by_value=own.by_value, on_own=own.saw, on_file=self._reduced)
        self._is_dumping = False
        self._known_tops = own.tops()
        self._known_codes: dict[int, CodeType] = {}
        self._newcomers = Newcomers(made._keeper.results.places)
        path = self._folder.path
        self._data = os.open(path / "inputs.bin", os.O_WRONLY | os.O_NOFOLLOW)
        self._index = os.open(path / "inputs.idx", os.O_RDWR | os.O_NOFOLLOW)
        self._count, self._end = 1, os.fstat(self._data).st_size
        self._results = f"c{os.getpid()}.{time.time_ns()}"
        self._results_end = 0
        self._touched = time.monotonic()

    # -- calls -----------------------------------------------------------------------------------------------

    @property
    def is_full(self) -> bool:
        """Other calls should go to another map."""
        results = sum(start.frames_end for start in self._keeper.results.starts.values())
        if self._index < 0:
            return True
        return self._count >= coming.MOST or self._end + results > MOST_BYTES

    def begins_with(self, future: CallFuture) -> None:
        """The future of the call that the map was made with."""
        future._place = (self, 0)
        self.calls[0] = future

    def add(self, call: Any, future: CallFuture) -> bool:
        """Append a call; False if its workers lack own modules that it needs, or do not reach its files.

        Raises:
            NotPicklable: The call cannot travel.
            InvalidInputs: Files that travel with it are missing.
            DiskError: It cannot be written.
        """
        if self._is_dumping:  # an interrupt has left the pickler half-way
            own = self._own
            self._dumper = Dumper(by_value=own.by_value, on_own=own.saw, on_file=self._reduced)
        self._is_dumping = True
        # An interrupt may have come behind the last call's last write: the file knows better than we do.
        known = os.fstat(self._index).st_size // 8
        self._count, self._end = (
            known - 1,
            int.from_bytes(os.pread(self._index, 8, 8 * (known - 1)), "little"),
        )
        offset, full = self._end, None

        def send(data: memoryview) -> None:
            nonlocal offset, full
            try:
                while data:
                    written = os.pwrite(self._data, data, offset)
                    offset, data = offset + written, data[written:]
            except OSError as error:
                full = error
                raise

        self._files = FileNotes()
        gathering = Gathering(send)
        try:
            self._dumper.dump(call, gathering.write)
            if not gathering.is_large:
                send(memoryview(gathering.kept()))
        except Exception as error:
            if error is full:
                raise self._folder.trouble(full, "given a call") from error
            self._dumper.codes.clear()
            raise _refusal(call, error, self._dumper) from error
        self._is_dumping = False
        self._files.check()
        if self._lacks_own() or self._lacks_files():
            return False
        try:
            # From here on it is there.
            os.pwrite(self._index, offset.to_bytes(8, "little"), 8 * (self._count + 1))
        except OSError as error:
            raise self._folder.trouble(error, "given a call") from error
        with self._lock:
            future._place = (self, self._count)
            self.calls[self._count] = future
        self._count, self._end = self._count + 1, offset
        return True

    def _lacks_own(self) -> bool:
        """What was pickled last refers to own modules that the workers have not got."""
        codes, own = self._dumper.codes, self._own
        fresh = [code for code in codes if id(code) not in self._known_codes]
        codes.clear()
        tops = {name.partition(".")[0] for name in own.names}
        for code in fresh:
            tops |= named_in(code)
        for top in tops - self._known_tops:
            file, folders = locate(top)
            if file is not None or folders:
                return True
        self._known_tops |= tops
        self._known_codes.update((id(code), code) for code in fresh)
        return False

    def _reduced(self, one: TransferPath) -> Any:
        return self._files.reduced(one)

    def _lacks_files(self) -> bool:
        """Workers do not reach the files of the call that was pickled last."""
        if not self._files:
            return False
        known = self._folder.info.files
        if known is None:
            return True
        return not get_pool(self._folder.info.pool).shares_files and not set(self._files.places) <= set(
            known["reach"]
        )

    def is_claimed(self, component: int) -> bool:
        """A worker has begun it, or somebody has taken it back."""
        return self._folder.transport.modified(f"rounds/0/claims/{component}") is not None

    def take_back(self, component: int) -> bool:
        """Take a call back: claim it, so that no worker does, and say so in a record; False if a worker was
        first.
        """
        try:
            key, transport = self._folder.key, self._folder.transport
            if not rounds.claim(transport, key, 0, component, self._results):
                signed = transport.read(f"rounds/0/claims/{component}")
                if rounds.claim_owner(key, 0, component, signed) != self._results:
                    return False
                # An interrupt came behind our claim.
        except OSError:
            return False  # the map was removed, or the disk is full
        with self._lock:
            self.calls.pop(component, None)
            payload = failure.dumps(failure.crash("lost", "it was cancelled"))
            now = time.time()
            header = formats.RECORD.pack(
                formats.ERROR, formats.MAX_ATTEMPT, 1, 0, component, now, 0.0, 0.0, 0, len(payload)
            )
            frame = formats.frame(self._folder.key, self._results, self._results_end, [header], [payload])
            with contextlib.suppress(OSError):  # nobody waits for it, and nobody will do it
                self._folder.transport.append(f"results/{self._results}", frame)
                self._results_end += len(frame)
        return True

    # -- outcomes --------------------------------------------------------------------------------------------

    def look(self) -> bool:
        """Take in what has arrived, and look after the workers; true if there was anything.

        Raises:
            WingspanError: The workers cannot go on.
        """
        news = self.map._look()
        while self._newcomers.are_there():
            component = self._newcomers.take()
            with self._lock:
                future = self.calls.get(component)
            # One that failed may be tried again: then it arrives again.
            if future is not None and self.map._is_final(component):
                future.begin()
                self._settle(future, component)
                with self._lock:
                    self.calls.pop(component, None)
        if self._keeper.removed and self.calls:
            check_it_can_go_on(self.map._keeper)
        return news

    def _settle(self, future: CallFuture, component: int) -> None:
        try:
            if self._keeper.results.state[component] == ERROR:
                future.set_exception(raisable(self.map._fresh_error(component)))
            else:
                future.set_result(self.map._output(component))
        except MapRemoved:
            raise
        except WingspanError as error:
            future.set_exception(error)

    def fail(self, error: BaseException) -> None:
        """No call has any hope left."""
        with self._lock:
            calls, self.calls = self.calls, {}
        for future in calls.values():
            future.begin()
            future.set_exception(error)

    def workers(self) -> int:
        """How many workers are at work, or wait to be."""
        return len(self._keeper.jobs.live())

    def add_workers(self, count: int) -> None:
        """Submit further workers, where their pool takes them."""
        with contextlib.suppress(WingspanError):
            self._keeper.add_workers(count)

    # -- the end ---------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """Let the workers know that their owner is alive."""
        if time.monotonic() - self._touched >= coming.owner_seconds(self._folder.info.lease_seconds):
            self._touched = time.monotonic()
            with contextlib.suppress(OSError):
                os.utime(self._folder.path / coming.OWNER)

    def close(self) -> None:
        """Say that nothing more comes: workers leave when all is done."""
        if self._index >= 0:
            with contextlib.suppress(OSError):
                os.pwrite(self._index, coming.CLOSED.to_bytes(8, "little"), 8 * (self._count + 1))
            os.close(self._index)
            os.close(self._data)
            self._index = self._data = -1

    def remove(self) -> None:
        """Remove the map, whose calls are all done."""
        self.close()
        with contextlib.suppress(WingspanError, OSError):
            self.map.remove(force=True)
