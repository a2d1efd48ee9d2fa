"""The messages between the two ends of an SSH connection: JSON with bytes behind it, each with its length.

A message is the length of its JSON, the length of its bytes (both 4 bytes, big-endian), the JSON, the bytes.
One end is `wingspan.pools.ssh_connection`, the other `wingspan.serving`.
"""

from __future__ import annotations

import json
import struct
import zlib
from collections.abc import Mapping
from typing import Any, Protocol

__all__ = [
    "FIRST_LINE",
    "PIECE",
    "PROTOCOL",
    "TAIL",
    "Broken",
    "Readable",
    "Writable",
    "checksum_of",
    "read_message",
    "write_message",
]

#: Both ends have to speak the same.
PROTOCOL = 3
#: The first line from the access point that is ours: what its shell prints before is passed over.
FIRST_LINE = b"wingspan-serve\n"
#: Files are sent in pieces of so many bytes.
PIECE = 1 << 20
#: Two files that grow are the same as far as the shorter one goes if so many bytes at its end are the same.
TAIL = 4096
#: No message is longer than this (bytes): its end would not be waited for.
_MOST = 1 << 28
_LENGTHS = struct.Struct(">II")


class Readable(Protocol):
    """What messages are read from."""

    def read(self, length: int, /) -> bytes:
        """So many bytes; fewer only at the end."""
        ...


class Writable(Protocol):
    """What messages are written to."""

    def write(self, data: bytes | memoryview, /) -> object:
        """Write all of it, now or with what follows."""
        ...


class Broken(Exception):
    """The other end has gone, or what it says is no message."""


def checksum_of(data: bytes) -> int:
    """What both ends compare."""
    return zlib.crc32(data)


def write_message(file: Writable, plain: Mapping[str, Any], data: bytes | memoryview = b"") -> None:
    """Write a message; the caller flushes.

    Raises:
        OSError: The other end has gone.
    """
    head = json.dumps(plain).encode()
    file.write(_LENGTHS.pack(len(head), len(data)) + head)
    if data:
        file.write(data)


def read_message(file: Readable) -> tuple[dict[str, Any], bytes]:
    """The next message.

    Raises:
        Broken: There is none any more.
    """
    head, length = _LENGTHS.unpack(_read(file, _LENGTHS.size))
    if max(head, length) > _MOST:
        raise Broken(f"a message of {max(head, length):,} bytes was announced")
    try:
        plain = json.loads(_read(file, head))
    except (ValueError, RecursionError) as error:
        raise Broken(f"a message cannot be read: {error}") from None
    if not isinstance(plain, dict):
        raise Broken("a message is no JSON object")
    return plain, _read(file, length)


def _read(file: Readable, length: int) -> bytes:
    data = file.read(length)
    if len(data) < length:
        raise Broken("the connection was closed")
    return data
