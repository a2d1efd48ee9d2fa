"""Records and frames: how results lie in ``results/<worker>.<start>``.

A *record* is one fact: the output or the error of a component, what it printed, or a sign of life of its worker. A worker
appends records in *frames* of at most about a megabyte. One frame is::

    b"WSF1"  body length (u64)  number of records (u32)  MAC (16 bytes)  body
    body = all record headers (40 bytes each), then all payloads in the same order

The MAC is keyed BLAKE2b (RFC 7693, `hashlib.blake2b`) over the file's name, the frame's offset in it, the two numbers and the body. It finds a
torn tail (the machine died while appending), a flipped bit, a frame moved to another place and a frame written by
somebody who does not have the map's key; readers take frames up to the last whole one.
"""

import hashlib
import struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Iterable, Iterator, Optional, Tuple, Union

FRAME = struct.Struct("<4sQI16s")
FRAME_MAGIC = b"WSF1"
#: kind, attempt, count, round, index, started (Unix time), wall (s), CPU (s), peak memory (KiB), payload length.
#: count is 1, but for a `RUN`.
RECORD = struct.Struct("<BBHIIdffIQ")
OUTPUT = 0
ERROR = 1
STDOUT = 2
STDERR = 3
HELLO = 4
HEARTBEAT = 5
REFUSED = 6
BYE = 8
#: Outputs of `count` components from `index` on that took microseconds each. Wall and CPU time are their sums; the payload is each
#: one's wall time (f32), then a pickle of the list of outputs, all of them of plain immutable types.
RUN = 9
#: Index of a record that is about no component.
NO_COMPONENT = 2**32 - 1
#: Seconds between two signs of life of a worker whose component is long.
HEARTBEAT_SECONDS = 10.0
#: Silence after which another worker may take over what a worker has claimed (the map may say otherwise).
LEASE_SECONDS = 120.0

KEY_BYTES = 32


def mac(
    key: "bytes", name: "str", offset: "int", length: "int", count: "int", body: "Union[bytes, memoryview]"
) -> "bytes":
    """The 16 bytes that prove a frame."""
    code = hashlib.blake2b(key=key, digest_size=16)
    code.update(b"%s\0%d\0%d\0%d\0" % (name.encode(), offset, length, count))
    code.update(body)
    return code.digest()


def sign(key: "bytes", text: "Union[str, bytes]") -> "bytes":
    """Sign a small text file (a claim, a plan): the text, then its MAC in hexadecimal on a line of its own."""
    data = text if isinstance(text, bytes) else text.encode()
    return data + b"\n" + hashlib.blake2b(data, key=key, digest_size=16).hexdigest().encode() + b"\n"


def verify(key: "bytes", data: "bytes") -> "Optional[bytes]":
    """The text that `sign` signed, or None if it is cut, altered or signed with another key."""
    head, _, tail = data.rstrip(b"\n").rpartition(b"\n")
    if hashlib.blake2b(head, key=key, digest_size=16).hexdigest().encode() != tail:
        return None
    return head


def frame(
    key: "bytes", name: "str", offset: "int", headers: "Iterable[bytes]", payloads: "Iterable[bytes]"
) -> "bytes":
    """Pack records into one frame.

    Args:
        key: The map's key.
        name: Name of the results file.
        offset: Where in the file the frame will start, bytes.
        headers: Packed record headers, in pieces.
        payloads: The payloads in the same order, in pieces.
    """
    joined = b"".join(headers)
    body = joined + b"".join(payloads)
    count = len(joined) // RECORD.size
    return FRAME.pack(FRAME_MAGIC, len(body), count, mac(key, name, offset, len(body), count, body)) + body


def whole_frames(
    name: "str", key: "bytes", data: "bytes", offset: "int"
) -> "Iterator[Tuple[int, int, int, int]]":
    """Yield ``(start, count, body_start, next_start)`` for each whole frame in `data`, which lies at `offset` of file `name`.

    Positions are within `data`. Stops before a frame that is not all there yet. Raises ValueError at a frame that is all there and wrong:
    what follows it cannot be trusted.
    """
    position, end, head = 0, len(data), FRAME.size
    view = memoryview(data)
    while end - position >= head:
        magic, length, count, code = FRAME.unpack_from(data, position)
        if magic != FRAME_MAGIC or count * RECORD.size > length:
            raise ValueError("no frame at byte %d of %s" % (offset + position, name))
        body = position + head
        if body + length > end:
            return
        if mac(key, name, offset + position, length, count, view[body : body + length]) != code:
            raise ValueError(
                "the frame at byte %d of %s is not signed with this map's key" % (offset + position, name)
            )
        yield position, count, body, body + length
        position = body + length
