"""Records on their way to the map's folder: gathered for a moment, appended as one frame."""

import time

from . import formats, rounds

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Optional, Tuple

    from .transports import Transport
    from .work import Block

#: Gather at most this many bytes of payload in one frame.
FRAME_BYTES = 1 << 20


class Outbox(object):
    """Appends records to ``results/<name>`` and finished blocks to ``rounds/<r>/done/<name>``, in this order."""

    def __init__(self, transport: "Transport", key: "bytes", name: "str") -> "None":
        self._transport = transport
        self._key = key
        self.name = name
        self._headers: "List[bytes]" = []
        self._payloads: "List[bytes]" = []
        self._bytes = 0
        self._offset = 0
        self._done: "Dict[int, List[bytes]]" = {}
        self._oldest: "Optional[float]" = None
        self._last = time.monotonic()

    def add(
        self,
        kind: "int",
        payload: "bytes" = b"",
        attempt: "int" = 0,
        number: "int" = 0,
        index: "int" = formats.NO_COMPONENT,
        started: "float" = 0.0,
        wall: "float" = 0.0,
        cpu: "float" = 0.0,
        peak: "int" = 0,
    ) -> "None":
        """Add one record."""
        header = formats.RECORD.pack(
            kind, attempt, 1, number, index, started or time.time(), wall, cpu, peak, len(payload)
        )
        self.add_packed(header, payload)

    def add_packed(self, headers: "bytes", payloads: "bytes") -> "None":
        """Add records: their headers, joined, and their payloads, joined."""
        self._headers.append(headers)
        self._payloads.append(payloads)
        self._bytes += len(headers) + len(payloads)
        if self._oldest is None:
            self._oldest = time.monotonic()
        if self._bytes >= FRAME_BYTES:
            self._append_frame()

    def append_piece(self, data: "memoryview") -> "Tuple[int, int]":
        """Append a piece of a large output now: where it lies, and how long it is. Its record is added when all pieces are there."""
        path, length = "results/" + self.name, len(data)
        head = formats.piece_head(self._key, self.name, self._offset, data)
        begin = self._offset + len(head)
        self._transport.append(path, head, data)
        self._offset = begin + length
        self._last = time.monotonic()
        return begin, length

    def block_done(self, block: "Block") -> "None":
        """All records of `block` are in the outbox: tell the other workers, once they are safe."""
        self._done.setdefault(block.round, []).append(rounds.done_line(block.number, block.failed))

    def due(self, now: "float") -> "float":
        """Seconds until something must be appended."""
        if self._oldest is None:
            return formats.HEARTBEAT_SECONDS if not self._done else 0.0
        return self._oldest + self._transport.flush_seconds - now

    def silent(self, now: "float") -> "float":
        """Seconds since the last append."""
        return now - self._last

    def _append_frame(self) -> "None":
        parts = formats.frame_parts(self._key, self.name, self._offset, self._headers, self._payloads)
        # Should it fail (a full disk) the worker ends: what it then still says must not carry this along, nor call its blocks done.
        self._headers, self._payloads, self._bytes, self._oldest = [], [], 0, None
        done, self._done = self._done, {}
        self._transport.append("results/" + self.name, *parts)
        self._done = done
        self._offset += sum(map(len, parts))
        self._last = time.monotonic()

    def flush(self) -> "None":
        """Append everything now."""
        if self._headers:
            self._append_frame()
        if self._done:
            done, self._done = self._done, {}
            for number, lines in done.items():
                self._transport.append("rounds/%d/done/%s" % (number, self.name), b"".join(lines))
