"""A worker in a process that this one has forked: what is patched here holds there, too."""

from __future__ import annotations

import os

from wingspan.worker import entry

__all__ = ["work"]


def work(transport: str, folder: str, worker: int) -> int:
    """Be a worker until nothing is left: its exit code.

    Not in this process: at its end a worker kills everything below it, engines of the session, too.
    """
    pid = os.fork()
    if pid == 0:
        code = 70
        try:
            code = entry.work(transport, folder, worker)
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
