"""Read the pickles of inputs. ``inputs.bin`` holds them one after the other; ``inputs.idx`` holds the
beginning of each and the end of the last (u64).
"""

from array import array

from .streams import stored_pieces

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterator, Optional, Union

    from .coming import Coming
    from .transports import Transport

#: Read this far ahead: the next blocks are usually the next to be claimed.
AHEAD_COMPONENTS = 4096
AHEAD_BYTES = 1 << 19


class Inputs(object):
    """A window on the inputs that moves forward.

    Args:
        transport: The way to the map's folder.
        count: How many inputs there are.
        coming: Of an open map: knows how many there are by now.
    """

    def __init__(self, transport: "Transport", count: "int", coming: "Optional[Coming]" = None) -> "None":
        self._transport = transport
        self._count = count
        self._coming = coming
        self._first = self._stop = 0
        self._offsets = array("Q")
        self._data_first = self._data_stop = 0
        self._data = b""

    def _offset(self, component: "int") -> "int":
        return self._offsets[component - self._first]

    def _load_offsets(self, first: "int", stop: "int") -> "None":
        if first >= self._first and stop < self._stop:
            return
        if self._coming is not None:
            if stop > self._coming.count:
                self._coming.look()
            if stop > self._coming.count:
                raise EOFError("inputs.idx of the map is cut")
            self._first, self._stop, self._offsets = 0, self._coming.count + 1, self._coming.offsets
            return
        end = min(self._count, max(stop, first + AHEAD_COMPONENTS)) + 1
        data = self._transport.read("inputs.idx", 8 * (end - first), 8 * first)
        if len(data) != 8 * (end - first):
            raise EOFError("inputs.idx of the map is cut")
        self._offsets = array("Q")
        self._offsets.frombytes(data)
        self._first, self._stop = first, end

    def bounds(self, first: "int", stop: "int") -> "array[int]":
        """The beginnings of the inputs ``first … stop - 1``, and the end of the last: one number more than
        there are inputs.
        """
        self._load_offsets(first, stop)
        return self._offsets[first - self._first : stop - self._first + 1]

    def pieces(self, component: "int") -> "Iterator[bytes]":
        """The pickle of one input, read piece by piece."""
        self._load_offsets(component, component + 1)
        begin, end = self._offset(component), self._offset(component + 1)
        return stored_pieces(self._transport, "inputs.bin", begin, end - begin)

    def read(self, first: "int", stop: "int") -> "Union[bytes, memoryview]":
        """The pickles of ``first … stop - 1``, joined."""
        self._load_offsets(first, stop)
        begin, end = self._offset(first), self._offset(stop)
        if not (self._data_first <= begin and end <= self._data_stop):
            known = self._offsets[-1]
            length = max(end, min(known, begin + AHEAD_BYTES)) - begin
            data = self._transport.read("inputs.bin", length, begin)
            if len(data) != length:
                raise EOFError("inputs.bin of the map is cut")
            self._data, self._data_first, self._data_stop = data, begin, begin + length
        if (begin, end) == (self._data_first, self._data_stop):
            return self._data
        return memoryview(self._data)[begin - self._data_first : end - self._data_first]
