"""The two pipes to an ssh that was started, through which messages go. Neither is waited for without end: a
network that is gone gives no sign.
"""

from __future__ import annotations

import contextlib
import os
import select
import time
from typing import IO

from wingspan.pools.ssh_frames import Broken

__all__ = ["SILENCE_SECONDS", "Pipes", "Silent"]

#: The other end says every two seconds that it is at work (`wingspan.serving`). After so many seconds without
#: a sign the network, or the other machine, is taken to be gone. It is silent while HTCondor's bindings wait
#: for a schedd, since they keep Python's lock meanwhile: 20 seconds where it does not answer, more while it
#: is busy with a large submission or searches its history.
SILENCE_SECONDS = 120.0
#: How much is read at once, and gathered before it is written (bytes).
_PIECE = 1 << 16


class Silent(Broken):
    """Nothing came, or nothing was taken, for too long."""


class Pipes:
    """Writes to a process, and reads what it writes.

    Args:
        to: Its standard input.
        out: Its standard output.

    Attributes:
        patience: Seconds without a sign of the other end after which it is given up; None: never.
    """

    def __init__(self, to: IO[bytes], out: IO[bytes]) -> None:
        self._to, self._out = to, out
        self._read, self._unsent = bytearray(), bytearray()
        self.patience: float | None = None
        os.set_blocking(to.fileno(), False)

    # -- reading ---------------------------------------------------------------------------------------------

    def read(self, length: int) -> bytes:
        """Read this many bytes; fewer only where the process has ended.

        Raises:
            Silent: Nothing came for too long.
        """
        if length <= len(self._read):
            return self._take(length)
        parts, left = [self._take(len(self._read))], length
        left -= len(parts[0])
        while left:
            piece = self._more(left)
            if not piece:
                break
            parts.append(piece)
            left -= len(piece)
        return b"".join(parts)

    def readline(self, most: int) -> bytes:
        """A line, or `most` bytes of it; what there is of it where the process has ended.

        Raises:
            Silent: As for `read`.
        """
        while (end := self._read.find(b"\n")) < 0 and len(self._read) < most:
            piece = self._more(_PIECE)
            if not piece:
                break
            self._read += piece
        return self._take(min(most, end + 1 if end >= 0 else len(self._read)))

    def _take(self, length: int) -> bytes:
        taken = bytes(memoryview(self._read)[:length])
        del self._read[:length]
        return taken

    def _more(self, most: int) -> bytes:
        if not self._is_ready(self._out, select.POLLIN):
            raise Silent(f"nothing was heard from it for {self.patience:.0f} seconds")
        return os.read(self._out.fileno(), max(most, 1))

    # -- writing ---------------------------------------------------------------------------------------------

    def write(self, data: bytes | memoryview) -> None:
        """Write it; small pieces are kept until `flush`.

        Raises:
            Silent: The other end took nothing for too long.
            OSError: The process has ended.
        """
        if len(self._unsent) + len(data) <= _PIECE:
            self._unsent += data
            return
        self.flush()
        self._send(memoryview(data))

    def flush(self) -> None:
        """Write what is kept.

        Raises:
            Silent, OSError: As for `write`.
        """
        unsent, self._unsent = self._unsent, bytearray()
        self._send(memoryview(unsent))

    def _send(self, left: memoryview) -> None:
        while left:
            try:
                left = left[os.write(self._to.fileno(), left) :]
            except BlockingIOError:
                began = time.monotonic()
                if not self._is_ready(self._to, select.POLLOUT):
                    waited = time.monotonic() - began
                    raise Silent(f"it took nothing of what was sent for {waited:.0f} seconds") from None

    def _is_ready(self, file: IO[bytes], event: int) -> bool:
        """Wait until something can be read or written, or the other end has gone; False: for too long."""
        waits = select.poll()  # select(2) knows no numbers above 1,023
        waits.register(file, event)
        return bool(waits.poll(None if self.patience is None else 1000 * self.patience))

    def close(self) -> None:
        """End both."""
        for file in (self._to, self._out):
            with contextlib.suppress(OSError):
                file.close()
