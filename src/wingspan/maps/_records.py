"""Reading records whose place is known: outputs, errors, measures, what was printed."""

from __future__ import annotations

import functools
import os
import pickle
import threading
import weakref
from array import array
from collections.abc import Callable, Iterator
from typing import Any, Concatenate, ParamSpec, TypeVar

from wingspan._open import OpenFiles
from wingspan.maps._components import Components, Measures
from wingspan.maps._folder import MapFolder, told
from wingspan.maps._pickled import Pickled
from wingspan.worker import failure, formats, rebuild
from wingspan.worker.pickling import PROTOCOL
from wingspan.worker.streams import signed_pieces
from wingspan.worker.transports import read_at

__all__ = ["Records", "alone"]

#: How much is read where a record begins (bytes): usually the next one that is wanted follows it.
_WINDOW = 1 << 18
#: Files of results that are open at once, of all maps of this process.
_MOST_OPEN = 64

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")
_Some = TypeVar("_Some", bound="Records")


def alone(
    method: Callable[Concatenate[_Some, _Given], _Answer],
) -> Callable[Concatenate[_Some, _Given], _Answer]:
    """For methods that only one thread may be in at a time: threads share open files and what was read
    last."""

    @told("read")
    @functools.wraps(method)
    def locked(self: _Some, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Answer:
        with self._lock:
            return method(self, *args, **kwargs)

    return locked


class Records(Components):
    """The records of a map.

    Attributes:
        left_files: Names of files that components wrote into folders that are removed with their jobs.

    Args:
        folder: The map's.
    """

    def __init__(self, folder: MapFolder) -> None:
        super().__init__(folder.n, folder.info.retries)
        self._folder = folder
        self._lock = threading.RLock()
        self.left_files: set[str] = set()
        self._printed: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
        self._gpus: dict[int, tuple[int, float, int]] = {}
        self._descriptors: dict[int, int] = {}
        self._reading = -1
        # A session may make thousands of maps and never close one.
        weakref.finalize(self, _close_all, self._descriptors)
        self._window: tuple[int, int, bytes] = (-1, 0, b"")
        self._run: tuple[tuple[int, int], list[Any], int] | None = None

    def _descriptor(self, file: int) -> int:
        _open_files.use(self, file)
        descriptor = self._descriptors.get(file)
        if descriptor is None:
            try:
                descriptor = os.open(
                    self._folder.path / "results" / self._names[file],
                    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK,
                )
            except FileNotFoundError:
                raise self._folder.damaged(f"the file results/{self._names[file]} is missing") from None
            self._descriptors[file] = descriptor
        return descriptor

    def _close_one(self, file: int) -> bool:
        """Close a file that was used longest ago; False if it is being read this moment."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if file == self._reading:
                return False
            descriptor = self._descriptors.pop(file, None)
            if descriptor is not None:
                os.close(descriptor)
        finally:
            self._lock.release()
        return True

    def _bytes(self, file: int, at: int, length: int) -> bytes:
        window_file, window_at, window = self._window
        if file == window_file and window_at <= at and at + length <= window_at + len(window):
            return window[at - window_at : at - window_at + length]
        data = read_at(self._descriptor(file), max(length, _WINDOW), at)
        if len(data) < length:
            raise self._folder.damaged(
                f"the file results/{self._names[file]} is cut at byte {at + len(data)}"
            )
        if length > _WINDOW:
            return data  # nothing lies behind it, and a large one is not to be kept
        self._window = (file, at, data)
        return data[:length]

    def _record(self, component: int) -> tuple[Any, ...]:
        return formats.RECORD.unpack(
            self._bytes(self._file_of(component), self._header_of(component), formats.RECORD.size)
        )

    @alone
    def payload(self, component: int) -> bytes:
        """The pickle of a finished component's output, or its error."""
        record = self._record(component)
        if record[0] == formats.RUN:
            values, first = self.run_of(component)
            return pickle.dumps(values[component - first], PROTOCOL)
        return self._bytes(self._file_of(component), self._payload_of(component), int(record[9]))

    @alone
    def output(self, component: int) -> Pickled:
        """The pickle of a finished component's output, which is read when it is loaded."""
        record = self._record(component)
        if record[0] != formats.LARGE:
            data = self.payload(component)
            return Pickled(rebuild.holds_code(data), [data])
        table = self._bytes(self._file_of(component), self._payload_of(component), int(record[9]))
        name = self._name_of(component)
        pieces = list(formats.PIECE.iter_unpack(table[1:]))
        return Pickled(table[0] == 1, self._checked(component, self._file_of(component), name, pieces))

    @alone
    def length_of(self, component: int) -> int:
        """Bytes of the pickle of a large output."""
        record = self._record(component)
        table = self._bytes(self._file_of(component), self._payload_of(component), int(record[9]))
        return sum(length for _, length in formats.PIECE.iter_unpack(table[1:]))

    def _checked(
        self, component: int, file: int, name: str, pieces: list[tuple[int, int]]
    ) -> Iterator[memoryview]:
        # A descriptor of its own: others are closed when there are many, and this may be read slowly.
        with self._lock:
            descriptor = os.dup(self._descriptor(file))
        try:
            yield from signed_pieces(descriptor, self._folder.key, name, pieces)
        except ValueError as error:
            told = self._folder.damaged(f"the output of component {component} is not whole: {error}")
            told.hint = f"m.rerun([{component}]) does it again"
            raise told from None
        finally:
            os.close(descriptor)

    @alone
    def run_of(self, component: int) -> tuple[list[Any], int]:
        """All outputs in the record of `component`, and the component that the first belongs to."""
        where = (self._file_of(component), self._header_of(component))
        if self._run is not None and self._run[0] == where:
            return self._run[1], self._run[2]
        record = self._record(component)
        if record[0] != formats.RUN:
            return [], component
        data = self._bytes(self._file_of(component), self._payload_of(component), int(record[9]))
        # Only plain immutable types are written in runs: every interpreter can read them.
        try:
            values: list[Any] = failure.plain(data[4 * record[2] :])
            if type(values) is not list or len(values) != record[2]:
                raise ValueError(f"it is no list of {record[2]}")
        except ValueError as error:
            raise self._folder.damaged(
                f"outputs in results/{self._name_of(component)} are not whole: {error}"
            ) from None
        self._run = (where, values, int(record[4]))
        return values, int(record[4])

    @alone
    def outputs_from(self, component: int) -> list[Any]:
        """Outputs of `component` and those after it, as far as they are in the same record; none if it has
        one of its own.

        They are valid until `replaced` changes.
        """
        values, first = self.run_of(component)
        stop = min(first + len(values), self.n)
        if stop <= component:
            return []
        length = stop - component
        state, place = self.state[component], self._place[component]
        if (
            self.state.count(state, component, stop) < length
            or self._place[component:stop] != array("I", [place]) * length
        ):  # some were done again: their records are elsewhere
            where = self._file_of(component), self._header_of(component)
            stop = next(
                (
                    at
                    for at in range(component, stop)
                    if self.state[at] != state or (self._file_of(at), self._header_of(at)) != where
                ),
                stop,
            )
        return values[component - first : stop - first]

    def take_gpu(self, component: int, number: int, told: Any) -> None:
        """What a component has used of its GPUs, in round `number`.

        Raises:
            ValueError: Our workers do not write such a thing.
        """
        if (
            type(told) is not dict
            or type(told.get("use")) is not float
            or type(told.get("memory")) is not int
        ):
            raise ValueError("its description of the GPUs has entries that are not numbers")
        if component < self.n:
            self._gpus[component] = number, told["use"], told["memory"]

    @alone
    def measures(self, component: int) -> Measures:
        """What a finished component took."""
        record = self._record(component)
        started, wall, cpu = record[5], record[6], record[7]
        if record[0] == formats.RUN:
            place = component - record[4]
            walls = array(
                "f", self._bytes(self._file_of(component), self._payload_of(component), 4 * record[2])
            )
            started, wall, cpu = started + sum(walls[:place]), walls[place], walls[place]
        gpu = self._gpus.get(component)
        use, memory = gpu[1:] if gpu is not None and gpu[0] == record[3] else (None, None)
        return Measures(
            started=started,
            wall=wall,
            cpu=cpu,
            peak_memory=record[8] * 1024,
            attempt=record[1] + 1,
            worker=self._name_of(component),
            gpu_use=use,
            gpu_memory=memory,
        )

    @alone
    def printed(self, component: int, kind: int) -> bytes:
        """What a component has printed so far, in its newest round and newest start."""
        pieces = self._printed.get((component, kind), [])
        if not pieces:
            return b""
        newest = max(piece[0] for piece in pieces)
        of_newest = [piece for piece in pieces if piece[0] == newest]
        done = self.state[component] and component not in self.cancelled
        file = self._file_of(component) if done else of_newest[-1][1]
        chosen = [piece for piece in of_newest if piece[1] == file] or of_newest
        return b"".join(self._bytes(piece[1], piece[2], piece[3]) for piece in chosen)

    @alone
    def close(self) -> None:
        """Close the files."""
        _close_all(self._descriptors)


_open_files = OpenFiles(_MOST_OPEN, Records._close_one)


def _close_all(descriptors: dict[int, int]) -> None:
    while descriptors:
        os.close(descriptors.popitem()[1])
