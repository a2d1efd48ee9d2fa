"""The longest time that a component may take: its executor is ended when that is over."""

import os
import signal
import time

from . import failure
from .measures import family

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Mapping, Optional, Tuple

    from .child import Executor


class TimeLimit(object):
    """The limit that the map's owner has set (``Options(component_timeout=…)``).

    Args:
        seconds: So long a component may take that has no limit of its own; None: as long as it likes.
    """

    def __init__(self, seconds: "Optional[float]") -> "None":
        self._usual = self._seconds = seconds
        self._killed: "Optional[int]" = None
        #: Which execution was seen last, and when it was seen first: the machine's clock may be set
        #: meanwhile.
        self._seen: "Tuple[Any, ...]" = ()
        self._since = 0.0

    def enforce(self, process: "Executor", needs: "Mapping[str, Any]") -> "None":
        """Kill the executor, with what it has started, if its component, which needs this, takes longer."""
        if self._killed is not None:
            return
        self._seconds = needs.get("component_timeout", self._usual)
        if self._seconds is None:
            return
        component, _, _, started = process.board.get()[:4]
        if (component, started) != self._seen:
            ago = max(0.0, min(1.0, time.time() - started))  # it is looked at several times a second
            self._seen, self._since = (component, started), time.monotonic() - ago
        if component == -1 or time.monotonic() - self._since <= self._seconds:
            return
        self._killed = component
        kill_family(process.pid)

    def killed(self) -> "Optional[int]":
        """The component that the executor was killed for, if it was; asked once when it has died."""
        killed, self._killed = self._killed, None
        return killed

    def failure(self) -> "Dict[str, Any]":
        """The error of such a component."""
        seconds = self._seconds or 0.0
        return failure.crash("timeout", "it took longer than %s" % spoken(seconds))


def kill_family(pid: "int") -> "None":
    """Kill a process and what it has started."""
    for one in family(pid):
        try:
            os.kill(one, signal.SIGKILL)
        except OSError:
            pass


def spoken(seconds: "float") -> "str":
    """A time for people.

    >>> spoken(0.5), spoken(90), spoken(5400), spoken(7200)
    ('0.5 s', '90 s', '90 min', '2 h')
    """
    if seconds >= 7200 and seconds % 3600 == 0:
        return "%d h" % (seconds // 3600)
    if seconds >= 120 and seconds % 60 == 0:
        return "%d min" % (seconds // 60)
    return "%g s" % seconds
