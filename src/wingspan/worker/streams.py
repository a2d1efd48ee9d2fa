"""Values too large to be held in memory twice: unpickled from pieces as they come, pickled to where they go.

A pickle of protocol 5 has the contents of large bytes and arrays in it as they are: the pickler hands them to
`write` uncopied, the unpickler has them read to where they stay. What lies between is never more than a
piece.
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

#: Larger writes of a pickler are the contents of one bytes object, string or array: there is no name of a
#: module in them.
_PLAIN_WRITE = 1 << 17


class Stream(object):
    """A file to unpickle from that consists of pieces, one after the other."""

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
        """Fill `target`; answers how far, which is less than all of it only at the end."""
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
        # A length that a damaged pickle tells must not be believed before it is there.
        parts = []
        while length > 0 and self._next():
            some = bytes(self._piece[:length])
            self._piece = self._piece[len(some) :]
            parts.append(some)
            length -= len(some)
        return b"".join(parts)

    def readline(self) -> "bytes":
        """Up to the next newline: names in pickles of old protocols."""
        parts = []
        while True:
            byte = self.read(1)
            parts.append(byte)
            if byte in (b"\n", b""):
                return b"".join(parts)

    def drain(self) -> "None":
        """Pass over what is left."""
        self._piece = memoryview(b"")
        while self._next():
            self._piece = memoryview(b"")


def pickle_bytes(data: "Piece") -> "memoryview":
    """What a pickler hands to `write`, as plain bytes: it may be an array's buffer of any shape."""
    raw = getattr(data, "raw", None)  # pickle.PickleBuffer
    return raw() if raw is not None else memoryview(data)


class Gathering(object):
    """Somewhere to pickle to: what is small is kept in `parts`, what is large goes out by `send` as it comes.

    Attributes:
        length: Bytes so far.
        holds_code: Code travels by value in it.
    """

    def __init__(self, send: "Callable[[memoryview], None]", keep: "int" = formats.LARGE_BYTES) -> "None":
        self._send = send
        self._keep = keep
        self.begin()

    def begin(self) -> "None":
        """Another pickle."""
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
        """Send what is kept."""
        parts, self._parts = self._parts, []
        for part in parts:
            self._send(memoryview(part))

    def kept(self) -> "bytes":
        """All of it, where it is not large."""
        return self._parts[0] if len(self._parts) == 1 else b"".join(self._parts)


def signed_pieces(
    descriptor: "int", key: "bytes", name: "str", pieces: "Sequence[Tuple[int, int]]"
) -> "Iterator[memoryview]":
    """The pieces of a large output, each checked before it is let out.

    Args:
        descriptor: Of the results file called `name`.
        key: The map's key.
        pieces: Where each begins, and how long it is.

    Raises:
        ValueError: One is cut or damaged.
    """
    head = formats.FRAME.size
    # One buffer for all: the memory of a new one for each would have to be found and cleared each time.
    buffer = memoryview(bytearray(head + max([length for _, length in pieces] or [0])))
    for begin, length in pieces:
        data = buffer[: head + length]
        if read_into(descriptor, data, begin - head) < len(data) or not formats.is_piece(
            key, name, begin - head, data[:head], data[head:]
        ):
            raise ValueError("the piece at byte %d of %s is damaged" % (begin, name))
        yield data[head:]


def has_mark(pieces: "Iterable[Piece]") -> "bool":
    """There is a sign of code somewhere in these pieces, or across two of them."""
    end = b""
    longest = max(map(len, rebuild.CODE_MARKS))
    for piece in pieces:
        data = bytes(piece)
        if rebuild.holds_code(data) or rebuild.holds_code(end + data[:longest]):
            return True
        end = data[-longest:]
    return False


class Function(object):
    """The pickle of a function of a map, after the first line of its file. It is read for each executor, and
    kept where it is small.

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
        """The file is what its name says; ValueError if not."""
        if (
            function_name(stored_pieces(self._transport, self._name, 0, self._begin + self.length))
            != self._name
        ):
            raise ValueError("the function in %s of the map is cut or altered" % self._name)


def stored_pieces(transport: "Transport", path: "str", offset: "int", length: "int") -> "Iterator[bytes]":
    """A stretch of a file of the map, in pieces."""
    while length > 0:
        data = transport.read(path, min(length, formats.PIECE_BYTES), offset)
        if not data:
            raise EOFError("%s of the map is cut" % path)
        yield data
        offset += len(data)
        length -= len(data)
