"""Records and frames: the format of results in ``results/<worker>.<start>``.

A *record* is one fact: the output or the error of a component, what it printed, or a sign of life of its
worker. A worker appends records in *frames* of at most about a megabyte, and outputs that are larger than
that in *pieces* before their record. Both begin with::

    magic (4 bytes)  length of the body (u64)  number of records (u32)  MAC (16 bytes)

    b"WSF2"  body = SHA-256 of the payloads (32 bytes), all record headers (40 bytes each), then all payloads
    in the same order b"WSP2"  body = a piece of the pickle of one output
    b"WSF1"  as WSF2, without the SHA-256 and with another MAC: older maps

The MAC is HMAC-SHA-256, cut to 16 bytes, over the magic, the file's name, the frame's offset in it, the two
numbers, and the body: of records without their payloads, for which their SHA-256 stands, so that the headers
can be trusted without reading the payloads. It finds a torn tail (the machine died while appending), a
flipped bit, a frame moved to another place and a frame written by somebody who does not have the map's key;
readers take frames up to the last whole one. (SHA-256 since processors have instructions for it: twice as
quick as BLAKE2b, with which WSF1 is signed.)
"""

import struct

from .digests import blake2b, compare_digest, hmac_sha256, sha256

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, List, Optional, Tuple, Union

    _Bytes = Union[bytes, bytearray, memoryview]

FRAME = struct.Struct("<4sQI16s")
FRAME_MAGIC = b"WSF2"
PIECE_MAGIC = b"WSP2"
OLD_FRAME_MAGIC = b"WSF1"
DIGEST_BYTES = 32
#: kind, attempt, count, round, index, started (Unix time), wall (s), CPU (s), peak memory (KiB), payload
#: length. count is 1, but for a `RUN`.
RECORD = struct.Struct("<BBHIIdffIQ")
#: Later attempts are written as this one.
MAX_ATTEMPT = 255
OUTPUT = 0
ERROR = 1
STDOUT = 2
STDERR = 3
HELLO = 4
HEARTBEAT = 5
REFUSED = 6
BYE = 8
#: Outputs of `count` components from `index` on that took microseconds each. Wall and CPU time are their
#: sums; the payload is each one's wall time (f32), then a pickle of the list of outputs, all of them of plain
#: immutable types.
RUN = 9
#: Names of files (JSON) that components wrote into the job's temporary folder.
LEFT = 11
#: How far a component is (JSON: ``fraction``, ``message``).
PROGRESS = 12
#: How much a component has used its GPUs (JSON: ``use``, ``memory``, ``devices``).
GPU = 13
#: An output whose pickle lies in pieces before this record. The payload is one byte (1 if there is code in
#: it), then where each piece begins (u64) and how long it is (u32).
LARGE = 10
PIECE = struct.Struct("<QI")
#: A piece has so many bytes, but for the last.
PIECE_BYTES = 1 << 20
#: Smaller pickles are the payloads of their records.
LARGE_BYTES = 1 << 18
#: The index of a record that concerns no component.
NO_COMPONENT = 2**32 - 1
#: Seconds between two signs of life of a worker whose component is long.
HEARTBEAT_SECONDS = 10.0
#: Seconds of silence after which another worker may take over a worker's claims (unless the map says
#: otherwise).
LEASE_SECONDS = 120.0
#: Seconds that an executor has to end in order when its work is done; then it is killed (the map may say
#: otherwise).
END_SECONDS = 10.0

KEY_BYTES = 32


def mac(
    key: "bytes", magic: "bytes", name: "str", offset: "int", length: "int", count: "int", signed: "_Bytes"
) -> "bytes":
    """The MAC of a frame (16 bytes); `signed` is the signed part of its body."""
    where = b"%s\0%d\0%d\0%d\0" % (name.encode(), offset, length, count)
    if magic == OLD_FRAME_MAGIC:
        old = blake2b(where, key=key, digest_size=16)
        old.update(signed)
        return old.digest()
    return hmac_sha256(key, magic + where, signed)[:16]


def sign(key: "bytes", text: "Union[str, bytes]") -> "bytes":
    """Sign a small text file (a claim, a plan): the text, then its MAC in hexadecimal on a line of its
    own.
    """
    data = text if isinstance(text, bytes) else text.encode()
    return data + b"\n" + blake2b(data, key=key, digest_size=16).hexdigest().encode() + b"\n"


def verify(key: "bytes", data: "bytes") -> "Optional[bytes]":
    """The text that `sign` signed, or None if it is cut, altered or signed with another key."""
    head, _, tail = data.rstrip(b"\n").rpartition(b"\n")
    if blake2b(head, key=key, digest_size=16).hexdigest().encode() != tail:
        return None
    return head


def frame(
    key: "bytes", name: "str", offset: "int", headers: "Iterable[bytes]", payloads: "Iterable[bytes]"
) -> "bytes":
    """The parts of `frame_parts`, joined."""
    return b"".join(frame_parts(key, name, offset, headers, payloads))


def frame_parts(
    key: "bytes", name: "str", offset: "int", headers: "Iterable[bytes]", payloads: "Iterable[bytes]"
) -> "List[bytes]":
    """Pack records into one frame, whose bytes are answered in parts.

    Args:
        key: The map's key.
        name: Name of the results file.
        offset: Where in the file the frame will start, bytes.
        headers: Packed record headers, in pieces.
        payloads: The payloads in the same order, in pieces.
    """
    joined = b"".join(headers)
    pieces = [payload for payload in payloads if payload]
    size = sum(map(len, pieces))
    digest, length = sha256(size), DIGEST_BYTES + len(joined) + size
    for payload in pieces:
        digest.update(payload)
    signed = digest.digest() + joined
    count = len(joined) // RECORD.size
    code = mac(key, FRAME_MAGIC, name, offset, length, count, signed)
    return [FRAME.pack(FRAME_MAGIC, length, count, code) + signed] + pieces


def piece_head(key: "bytes", name: "str", offset: "int", data: "_Bytes") -> "bytes":
    """The header of a piece of a large output at `offset`."""
    return FRAME.pack(PIECE_MAGIC, len(data), 0, mac(key, PIECE_MAGIC, name, offset, len(data), 0, data))


def is_piece(key: "bytes", name: "str", offset: "int", head: "_Bytes", data: "_Bytes") -> "bool":
    """A piece of a large output is whole, and where its worker put it."""
    return compare_digest(bytes(head), piece_head(key, name, offset, data))


class Frame(object):
    """A frame of records, as its first bytes describe it.

    Attributes:
        count: How many records.
        headers, payloads, end: Where these begin, and where the frame ends, from its start.
        is_piece: It holds a piece of a large output, and no record.
    """

    __slots__ = ("_code", "_length", "_magic", "count", "end", "headers", "is_piece", "payloads")

    def __init__(self, name: "str", offset: "int", data: "_Bytes", position: "int" = 0) -> "None":
        """Of the frame at `offset` of file `name`, which begins at `position` of `data`; ValueError where
        there is none.
        """
        self._magic, self._length, self.count, self._code = FRAME.unpack_from(data, position)
        self.is_piece = self._magic == PIECE_MAGIC
        self.headers = FRAME.size + (DIGEST_BYTES if self._magic == FRAME_MAGIC else 0)
        self.payloads = self.headers + self.count * RECORD.size
        self.end = FRAME.size + self._length
        known = self._magic in (FRAME_MAGIC, PIECE_MAGIC, OLD_FRAME_MAGIC)
        if not known or self.payloads > self.end:
            raise ValueError("no frame at byte %d of %s" % (offset, name))

    @property
    def signed(self) -> "int":
        """Where what must be read before `check` can tell anything ends."""
        end: "int" = self.end if self._magic == OLD_FRAME_MAGIC else self.payloads
        return end

    def check(self, key: "bytes", name: "str", offset: "int", data: "_Bytes", position: "int" = 0) -> "None":
        """The headers, in `data`, are signed with the map's key; ValueError if not."""
        body = memoryview(data)[position + FRAME.size : position + self.signed]
        if not compare_digest(
            mac(key, self._magic, name, offset, self._length, self.count, body), self._code
        ):
            raise ValueError("the frame at byte %d of %s is not signed with this map's key" % (offset, name))

    def check_payloads(
        self, name: "str", offset: "int", data: "_Bytes", payloads: "Iterable[_Bytes]", position: "int" = 0
    ) -> "None":
        """The payloads, which come in pieces, are those that the headers were signed with; ValueError if
        not.
        """
        if self._magic == OLD_FRAME_MAGIC:
            return  # `check` has checked them
        digest = sha256(self.end - self.payloads)
        for payload in payloads:
            digest.update(payload)
        start = position + FRAME.size
        if digest.digest() != data[start : start + DIGEST_BYTES]:
            raise ValueError("the frame at byte %d of %s is damaged" % (offset, name))


def whole_frames(
    name: "str", key: "bytes", data: "bytes", offset: "int"
) -> "Iterator[Tuple[int, int, int, int]]":
    """Yield ``(start, count, headers, next start)`` for each whole frame of records in `data`, which lies at
    `offset` of file `name`.

    Positions are within `data`. Stops before a frame that is not all there yet. Raises ValueError at a frame
    that is all there and wrong: what follows it cannot be trusted.
    """
    position, end = 0, len(data)
    view = memoryview(data)
    while end - position >= FRAME.size:
        frame = Frame(name, offset + position, data, position)
        after = position + frame.end
        if after > end:
            return
        if not frame.is_piece:
            frame.check(key, name, offset + position, data, position)
            payloads = view[position + frame.payloads : after]
            frame.check_payloads(name, offset + position, data, [payloads], position)
            yield position, frame.count, position + frame.headers, after
        position = after
