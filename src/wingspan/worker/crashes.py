"""The error record of a component whose executor died."""

import os
import signal
import time

from . import failure, formats
from .measures import MAXRSS_PER_KIB
from .transports import read_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from resource import struct_rusage
    from typing import Any, Dict, Optional, Tuple

    from .blocks import Block
    from .memory import MemoryLimit
    from .outbox import Outbox

#: How many bytes of standard error are reported at most.
_TAIL_BYTES = 4000


class Crash(object):
    """The death of an executor while it executed a component.

    Args:
        status, usage: How the executor ended (wait4(2)).
        err: What it had written to standard error.
        memory: Knows whether it was killed for its memory.
        told: What is told of it instead, if that is known.

    Attributes:
        exceeded: It was killed because it took more memory than it had asked for.
    """

    def __init__(
        self,
        status: "int",
        usage: "struct_rusage",
        err: "int",
        memory: "MemoryLimit",
        told: "Optional[Dict[str, Any]]" = None,
    ) -> "None":
        self._status, self._usage, self._err = status, usage, err
        self.exceeded = told is None and memory.was_exceeded(status, usage.ru_maxrss // MAXRSS_PER_KIB)
        self._why_killed = memory.why_killed()
        self._told = told

    def record(self, outbox: "Outbox", block: "Block", board: "Tuple[int, int, int, float]") -> "None":
        """Report it as the error of the component of `block` that the board names."""
        component, _, printed_from, started = board
        status, usage = self._status, self._usage
        peak = usage.ru_maxrss // MAXRSS_PER_KIB
        fields = self._told or failure.crash(
            "crash",
            how_it_ended(status) + (": " + self._why_killed if self._why_killed else ""),
            signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
            exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            peak_kib=peak,
            stderr=_tail(self._err, printed_from),
            exceeded="memory" if self.exceeded else None,
        )
        if self._told is not None:
            fields.update(peak_kib=peak, stderr=_tail(self._err, printed_from))
        outbox.add(
            formats.ERROR,
            payload=failure.dumps(fields),
            attempt=block.attempt,
            number=block.round,
            index=component,
            started=started,
            wall=time.time() - started,
            cpu=usage.ru_utime + usage.ru_stime,
            peak=peak,
        )


def crash_at_the_start(status: "int", err: "int", printed_from: "int") -> "Dict[str, Any]":
    """The error of an executor that died before its first component. Its output begins at `printed_from`."""
    return failure.crash("function", how_it_ended(status), stderr=_tail(err, printed_from))


def how_it_ended(status: "int") -> "str":
    """For people: by which signal, or with which exit code."""
    if os.WIFSIGNALED(status):
        number = os.WTERMSIG(status)
        names = {value.value: value.name for value in signal.Signals}
        return "killed by signal %d (%s)" % (number, names.get(number, "unknown"))
    return "exited with code %d" % os.WEXITSTATUS(status)


def _tail(descriptor: "int", start: "int") -> "str":
    end = os.fstat(descriptor).st_size
    begin = max(start, end - _TAIL_BYTES)
    if begin >= end:
        return ""  # nothing was written, or the component has cut the file
    return read_at(descriptor, end - begin, begin).decode("utf-8", "replace")
