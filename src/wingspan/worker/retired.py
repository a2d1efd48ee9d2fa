"""Executors that have done their work. They end in order, as a script does, while the worker goes on or
before it ends.
"""

import select
import time

from . import formats, pipes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Callable, List, Optional, Tuple

    from .child import Executor
    from .outbox import Outbox

#: Seconds that an executor gets for its end when the worker itself is told to end.
TOLD_SECONDS = 2.0
_OVERDUE = (
    "wingspan: the process was killed, as it had not ended %.0f s after its last component: "
    "it waited for threads or for functions that were registered with atexit\n"
)


class _Retired(object):
    def __init__(self, process: "Executor", last: "Optional[Tuple[int, int]]", deadline: "float") -> "None":
        self.process = process
        self.last = last
        self.deadline = deadline


class RetiredExecutors(object):
    """What an executor prints at its end is reported as output of the last component that it did.

    Args:
        outbox: The worker's outbox.
        seconds: How long each of them may take to end; then it is killed.
    """

    def __init__(self, outbox: "Outbox", seconds: "float") -> "None":
        self._outbox = outbox
        self._seconds = seconds
        self._ending: "List[_Retired]" = []

    def add(self, process: "Executor", last: "Optional[Tuple[int, int]]") -> "None":
        """Let an executor end that has no component.

        `last` is the round and number of the last one that it did.
        """
        process.send((pipes.END,))
        self._ending.append(_Retired(process, last, time.monotonic() + self._seconds))

    @property
    def pids(self) -> "List[int]":
        """Their processes."""
        return [one.process.pid for one in self._ending]

    def look(self) -> "None":
        """Collect those that have ended, and kill those that are overdue."""
        for one in list(self._ending):
            overdue = time.monotonic() > one.deadline
            if overdue or one.process.has_ended():
                self._ending.remove(one)
                self._collect(one, overdue)

    def wait(self, is_told: "Callable[[], bool]") -> "None":
        """Wait until the last one has ended or was killed. `is_told` says whether the worker itself has been
        told to end.
        """
        told = False
        pause = 0.0005
        while True:
            self.look()
            if not self._ending:
                return
            if not told and is_told():
                told = True
                for one in self._ending:
                    one.deadline = min(one.deadline, time.monotonic() + TOLD_SECONDS)
            # The pipe closes when the process ends, or earlier, if the user's code closes it.
            readable, _, _ = select.select([one.process.results for one in self._ending], [], [], 0.05)
            if readable:
                time.sleep(pause)
                pause = min(2 * pause, 0.05)

    def kill(self) -> "None":
        """End them here and now."""
        while self._ending:
            process = self._ending.pop().process
            process.close(kill=True)
            process.close_files()

    def _collect(self, one: "_Retired", overdue: "bool") -> "None":
        process = one.process
        process.close(kill=True)
        if one.last is not None:
            number, index = one.last
            for kind, data in process.printed((0, 0), (None, None)):
                self._outbox.add(kind, payload=data, number=number, index=index)
            if overdue:
                text = _OVERDUE % self._seconds
                self._outbox.add(formats.STDERR, payload=text.encode(), number=number, index=index)
        process.close_files()
