"""The outbox gathers records for a moment and appends them to the map's folder as one frame."""

import time

from . import formats, rounds
from .pace import Pace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Sequence, Tuple

    from .blocks import Block
    from .transports import Transport

#: Gather at most this many bytes of payload in one frame.
FRAME_BYTES = 1 << 20


class Outbox(object):
    """Appends records to ``results/<name>``; then tells the other workers what has failed and may be tried
    again.
    """

    def __init__(
        self, transport: "Transport", key: "bytes", name: "str", pace: "Optional[Pace]" = None
    ) -> "None":
        self._transport = transport
        self.pace = pace or Pace(None, formats.LEASE_SECONDS)
        self._key = key
        self.name = name
        self._headers: "List[bytes]" = []
        self._payloads: "List[bytes]" = []
        self._bytes = 0
        self._offset = 0
        self._failed: "List[Tuple[int, List[int]]]" = []
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
            kind,
            min(attempt, formats.MAX_ATTEMPT),
            1,
            number,
            index,
            started or time.time(),
            wall,
            cpu,
            peak,
            len(payload),
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
        """Append a piece of a large output now: where it lies, and how long it is. Its record is added when
        all pieces are there.
        """
        path, length = "results/" + self.name, len(data)
        head = formats.piece_head(self._key, self.name, self._offset, data)
        begin = self._offset + len(head)
        self._transport.append(path, head, data)
        self._offset = begin + length
        self._last = time.monotonic()
        return begin, length

    def block_done(self, block: "Block") -> "None":
        """All records of `block` are in the outbox: tell the other workers what failed, once they are
        safe.
        """
        if block.failed and block.may_retry:
            self._failed.append((block.round, block.failed))

    def due(self, now: "float") -> "float":
        """Seconds until the gathered records must be appended."""
        if self._oldest is None:
            return self.heartbeat_seconds if not self._failed else 0.0
        return self._oldest + max(self._transport.flush_seconds, self.pace.between) - now

    @property
    def heartbeat_seconds(self) -> "float":
        """Seconds between two signs of life of a worker whose component is long."""
        return max(formats.HEARTBEAT_SECONDS, self.pace.heartbeat)

    def silent(self, now: "float") -> "float":
        """Seconds since the last append."""
        return now - self._last

    def _append_frame(self) -> "None":
        parts = formats.frame_parts(self._key, self.name, self._offset, self._headers, self._payloads)
        # If this fails (a full disk), the worker ends. What it writes after that must neither repeat these
        # records nor report their blocks.
        self._headers, self._payloads, self._bytes, self._oldest = [], [], 0, None
        failed, self._failed = self._failed, []
        begin = time.monotonic()
        self._transport.append("results/" + self.name, *parts)
        self._failed = failed
        self._offset += sum(map(len, parts))
        self._last = time.monotonic()
        self.pace.take()
        if self._transport.name == "chirp":
            self.pace.took(self._last - begin)

    def flush(self) -> "None":
        """Append all gathered records now."""
        if self._headers:
            self._append_frame()
        failed, self._failed = self._failed, []
        for number, components in failed:
            for name in rounds.failed_names(self._key, number, components):
                try:
                    self._transport.create_exclusively("rounds/%d/takes/%s" % (number, name), b"")
                except FileNotFoundError:
                    pass  # the round is folded: everything of it was finished, by somebody


def first_free_name(transport: "Transport", worker: "int", start: "int" = 0) -> "str":
    """The name of this start of a worker, the first that is free from number `start` on: its results file is
    made, and nobody else has it.
    """
    while True:
        name = "%d.%d" % (worker, start)
        if transport.create_exclusively("results/" + name, b""):
            return name
        start += 1


def with_pieces(
    header: "bytes", payload: "bytes", pieces: "Sequence[Tuple[int, int]]"
) -> "Tuple[bytes, bytes]":
    """The record of a large output, with where its pieces lie; one that is an error has none, whatever was
    written before it.
    """
    before = len(header) - formats.RECORD.size  # other records may precede it
    fields = list(formats.RECORD.unpack(header[before:]))
    if fields[0] != formats.LARGE:
        return header, payload
    places = b"".join(formats.PIECE.pack(*piece) for piece in pieces)
    fields[-1] += len(places)
    return header[:before] + formats.RECORD.pack(*fields), payload + places
