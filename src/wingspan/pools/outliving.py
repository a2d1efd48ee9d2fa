"""Processes that this one starts and that outlive it: nobody waits for their end, and none stays as a zombie.

The kernel keeps a zombie until its parent asks for it. Meanwhile it takes a process id, and whatever looks
through ``/proc``, as HTCondor does for each job, takes longer.
"""

from __future__ import annotations

import os
import subprocess

__all__ = ["collect_ended", "let_go"]

_children: set[int] = set()


def let_go(process: subprocess.Popen[bytes]) -> None:
    """Do not wait for a process that was just started. It is collected some time after it has ended."""
    process.returncode = 0  # without it, Popen would warn that nobody has waited
    collect_ended()
    _children.add(process.pid)


def collect_ended() -> None:
    """Collect the processes of `let_go` that have ended."""
    for pid in tuple(_children):
        if _has_ended(pid):
            _children.discard(pid)


def _has_ended(pid: int) -> bool:
    try:
        return os.waitpid(pid, os.WNOHANG)[0] != 0
    except ChildProcessError:  # it is another's child: this process was forked, or somebody else has waited
        return True
