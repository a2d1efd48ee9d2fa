"""What is told of an executor that died."""

import os
import signal

from . import failure
from .measures import MAXRSS_PER_KIB
from .transports import read_at

TYPE_CHECKING = False
if TYPE_CHECKING:
    from resource import struct_rusage
    from typing import Any, Dict

#: Bytes of standard error that are told at most.
_TAIL_BYTES = 4000


def crash_of_component(
    status: "int", usage: "struct_rusage", err: "int", printed_from: "int", why_killed: "str"
) -> "Dict[str, Any]":
    """The error of the component that the executor was at.

    Args:
        status, usage: How the executor ended (wait4(2)).
        err: What it has written to standard error, and `printed_from` where that of the component begins.
        why_killed: Why this worker killed it; empty if it did not.
    """
    return failure.crash(
        "crash",
        how_it_ended(status) + (": " + why_killed if why_killed else ""),
        signal=os.WTERMSIG(status) if os.WIFSIGNALED(status) else None,
        exit_code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
        peak_kib=peak_kib_of(usage),
        stderr=_tail(err, printed_from),
    )


def crash_at_the_start(status: "int", err: "int", printed_from: "int") -> "Dict[str, Any]":
    """The error of an executor that dies before it reaches a component; see `crash_of_component`."""
    return failure.crash("function", how_it_ended(status), stderr=_tail(err, printed_from))


def peak_kib_of(usage: "struct_rusage") -> "int":
    """The most memory that it took (KiB)."""
    return usage.ru_maxrss // MAXRSS_PER_KIB


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
    return read_at(descriptor, end - begin, begin).decode("utf-8", "replace")
