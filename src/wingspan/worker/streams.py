"""Pickle and unpickle values that are too large to be in memory twice, piece by piece.

A pickle of protocol 5 contains large bytes and arrays unchanged. The pickler passes them to `write` without a
copy, and the unpickler reads them to their final place. No more than a piece lies between.
"""

from . import formats, rebuild
from .compatibility import split
from .rounds import function_name
from .transports import read_into

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

    from .transports import Transport

    Piece = Union[bytes, bytearray, memoryview]

#: Larger writes of a pickler are the content of one bytes object, string or array, and contain no name of a
#: module.
_PLAIN_WRITE = 1 << 17


class Stream(object):
    """A file for the unpickler that consists of consecutive pieces."""

    def __init__(self, pieces: "Iterable[Piece]") -> "None":
        self._pieces = iter(pieces)
        self._piece = memoryview(b"")

    def _next(self) -> "bool":
        while not self._piece:
            piece = next(self._pieces, None)
            if piece is None:
                return False
            self._piece = memoryview(piece)
        return True

    def readinto(self, target: "memoryview") -> "int":
        """Fill `target`; returns the number of bytes, which is smaller than its length only at the end."""
        view = memoryview(target)
        got, length = 0, len(view)
        while got < length and self._next():
            some = self._piece[: length - got]
            view[got : got + len(some)] = some
            self._piece = self._piece[len(some) :]
            got += len(some)
        return got

    def read(self, length: "int") -> "bytes":
        """`length` bytes; fewer at the end."""
        if self._next() and length <= len(self._piece):
            data, self._piece = bytes(self._piece[:length]), self._piece[length:]
            return data
        # A damaged pickle may name any length: allocate only what has arrived.
        parts = []
        while length > 0 and self._next():
            some = bytes(self._piece[:length])
            self._piece = self._piece[len(some) :]
            parts.append(some)
            length -= len(some)
        return b"".join(parts)

    def readline(self) -> "bytes":
        """A line, for names in pickles of old protocols."""
        parts = []
        while True:
            byte = self.read(1)
            parts.append(byte)
            if byte in (b"\n", b""):
                return b"".join(parts)

    def drain(self) -> "None":
        """Skip the rest."""
        self._piece = memoryview(b"")
        while self._next():
            self._piece = memoryview(b"")


def pickle_bytes(data: "Piece") -> "memoryview":
    """The argument of a pickler's `write` as plain bytes. It may be an array's buffer of any shape."""
    raw = getattr(data, "raw", None)  # pickle.PickleBuffer
    return raw() if raw is not None else memoryview(data)


class Gathering(object):
    """A target for the pickler. It keeps small writes in `parts`, and passes large ones on to `send` at once.

    Attributes:
        length: Bytes so far.
        holds_code: Whether code travels by value in it.
    """

    def __init__(self, send: "Callable[[memoryview], None]", keep: "int" = formats.LARGE_BYTES) -> "None":
        self._send = send
        self._keep = keep
        self.begin()

    def begin(self) -> "None":
        """Begin another pickle."""
        self._parts: "List[bytes]" = []
        self.length = 0
        self.is_large = False
        self.holds_code = False

    def write(self, data: "Piece") -> "None":
        view = pickle_bytes(data)
        length = len(view)
        self.length += length
        if length <= _PLAIN_WRITE:
            plain = bytes(view)
            if not self.holds_code and rebuild.holds_code(plain):
                self.holds_code = True
        if not self.is_large:
            if self.length <= self._keep:
                self._parts.append(bytes(view))
                return
            self.is_large = True
            self.flush()
        self._send(view)

    def flush(self) -> "None":
        """Send the kept parts."""
        parts, self._parts = self._parts, []
        for part in parts:
            self._send(memoryview(part))

    def kept(self) -> "bytes":
        """The whole pickle, if it is not large."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


def signed_pieces(
    descriptor: "int", key: "bytes", name: "str", pieces: "Sequence[Tuple[int, int]]"
) -> "Iterator[memoryview]":
    """Yield the pieces of a large output. Each is checked first.

    Args:
        descriptor: An open descriptor of the results file called `name`.
        key: The map's key.
        pieces: Beginning and length of each.

    Raises:
        ValueError: A piece is cut or damaged.
    """
    head = formats.FRAME.size
    # One buffer for all pieces: allocating and clearing one for each would take time.
    buffer = memoryview(bytearray(head + max([length for _, length in pieces] or [0])))
    for begin, length in pieces:
        data = buffer[: head + length]
        if read_into(descriptor, data, begin - head) < len(data) or not formats.is_piece(
            key, name, begin - head, data[:head], data[head:]
        ):
            raise ValueError("the piece at byte %d of %s is damaged" % (begin, name))
        yield data[head:]


def has_mark(pieces: "Iterable[Piece]") -> "bool":
    """Whether a mark of code is in these pieces, also across several of them."""
    end = b""
    longest = max(map(len, rebuild.CODE_MARKS))
    for piece in pieces:
        data = bytes(piece)
        if rebuild.holds_code(data) or rebuild.holds_code(end + data[:longest]):
            return True
        end = (end + data[-longest:])[-longest:]  # pieces may be shorter than a mark
    return False


class Function(object):
    """The pickle of a map's function, after the first line of its file.

    It is read for each executor, and kept if it is small.

    Args:
        transport: The way to the map's folder.
        name: Its file.
        length: Of the file, if it is known.
    """

    def __init__(self, transport: "Transport", name: "str", length: "Optional[int]") -> "None":
        self._transport = transport
        self._name = name
        known = length if length is not None else formats.PIECE_BYTES + 1
        data = transport.read(name, min(known, formats.PIECE_BYTES + 1))
        self.facts, rest = split(data)
        self._begin = len(data) - len(rest)
        self._kept = rest if len(data) <= formats.PIECE_BYTES else None
        if self._kept is not None:
            length = len(data)
        elif length is None:
            length = transport.size(name)
        #: Bytes of the pickle.
        self.length = length - self._begin

    def pieces(self) -> "Iterator[bytes]":
        if self._kept is not None:
            return iter((self._kept,))
        return stored_pieces(self._transport, self._name, self._begin, self.length)

    def check(self) -> "None":
        """Check that the file's content matches its name. Raises ValueError if not."""
        if (
            function_name(stored_pieces(self._transport, self._name, 0, self._begin + self.length))
            != self._name
        ):
            raise ValueError("the function in %s of the map is cut or altered" % self._name)


def stored_pieces(transport: "Transport", path: "str", offset: "int", length: "int") -> "Iterator[bytes]":
    """Part of a file of the map, in pieces."""
    while length > 0:
        data = transport.read(path, min(length, formats.PIECE_BYTES), offset)
        if not data:
            raise EOFError("%s of the map is cut" % path)
        yield data
        offset += len(data)
        length -= len(data)
