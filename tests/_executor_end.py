"""The supervisor's end of an executor, with real pipes and files. Its process is another small program."""

from __future__ import annotations

import collections
import os

from wingspan.worker import child, pipes, scratch
from wingspan.worker.channel import Channel
from wingspan.worker.slots import Slots


def started(*command: str, out: int | None = None) -> int:
    """Number of a process that runs a program, with its standard output where `out` says."""
    actions = [] if out is None else [(os.POSIX_SPAWN_DUP2, out, 1)]
    return os.posix_spawnp(command[0], command, os.environ, file_actions=actions)


class ExecutorEnd(child.Executor):
    """As the supervisor has it; `reading` is where what it sends arrives.

    Args:
        folder: A folder for temporary files.
        command: The program, by default one that waits to be killed.
    """

    def __init__(self, folder: str, *command: str) -> None:
        self._scratch = folder
        self.board = pipes.Board()
        self.slots, self.channel = Slots(), Channel()
        self.slots.in_supervisor()
        self.channel.in_supervisor()
        self.reading, self.commands = os.pipe()
        self.results, results_write = os.pipe()
        os.close(results_write)
        os.set_blocking(self.commands, False)
        self.out, self.err = (scratch.unnamed_file(folder, what) for what in ("out", "err"))
        for descriptor in (self.out, self.err):
            os.write(descriptor, b"\n" * child.PRINTED_FROM)
        self.out_sent = self.err_sent = child.PRINTED_FROM
        self.pending = collections.deque()
        self._part = memoryview(b"")
        self.buffer = bytearray()
        self.ended = None
        self._open = ["process", "files", "reading"]
        self.pid = started(*(command or ("sleep", "600")))

    def wait(self) -> int:
        """Wait for the process to end: its wait status."""
        if self.ended is None:
            _, status, usage = os.wait4(self.pid, 0)
            self.ended = status, usage
        return self.ended[0]

    def close(self, kill=False):
        self._open.remove("process")
        return super().close(kill)

    def close_files(self):
        self._open.remove("files")
        super().close_files()

    def stop_reading(self) -> None:
        """As when the executor dies."""
        self._open.remove("reading")
        os.close(self.reading)

    def clean(self) -> None:
        """Close what is still open, and end the process."""
        if "process" in self._open:
            self.close(kill=True)
        if "files" in self._open:
            self.close_files()
        if "reading" in self._open:
            self.stop_reading()
