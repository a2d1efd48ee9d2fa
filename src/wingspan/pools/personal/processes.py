"""Processes of a pool: which live, which are zombies, and how to end them all.

A pid alone proves nothing: it may be a zombie's, or belong to somebody else by now. A process is known by
its pid, its start time (field 22 of ``/proc/<pid>/stat``, clock ticks since boot, see proc(5)) and the boot.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path

import attrs

__all__ = ["MARKER", "ProcessIdentity", "boot_id", "hollow_slots", "kill_all", "marked"]

#: Environment variable, set to the pool's folder, that every process of a pool carries, the jobs' included.
MARKER = "_WINGSPAN_PERSONAL_POOL"

_PROC = Path("/proc")


def boot_id() -> str:
    """The kernel's name for this boot of the machine; empty where there is none."""
    try:
        return (_PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def _stat(pid: int) -> tuple[str, int] | None:
    """State letter and start time of a process, or None if there is no such process."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(errors="replace")
    except OSError:
        return None
    # The second field is the program's name in parentheses and may hold anything, parentheses too.
    fields = text.rpartition(")")[2].split()
    return fields[0], int(fields[19])


@attrs.frozen
class ProcessIdentity:
    """One process, of one boot.

    Attributes:
        pid: Its number, as this process sees it.
        started: Clock ticks since boot.
        boot: `boot_id` when it was seen.
    """

    pid: int
    started: int
    boot: str

    @classmethod
    def of(cls, pid: int) -> ProcessIdentity | None:
        """The identity of the process that has `pid` now; None if there is none, or only its zombie."""
        seen = _stat(pid)
        if seen is None or seen[0] in "ZX":
            return None
        return cls(pid, seen[1], boot_id())

    def alive(self) -> bool:
        """Whether this very process runs (a zombie does not)."""
        return ProcessIdentity.of(self.pid) == self

    def kill(self, number: int) -> None:
        """Send a signal, unless the process is gone."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def _ancestors() -> set[int]:
    pids, pid = set(), os.getpid()
    while pid > 1 and pid not in pids:
        pids.add(pid)
        try:
            text = (_PROC / str(pid) / "stat").read_text(errors="replace")
        except OSError:
            break
        pid = int(text.rpartition(")")[2].split()[1])
    return pids


def marked(directory: Path) -> list[ProcessIdentity]:
    """Every living process of the pool in `directory`, except this one and those it descends from."""
    wanted = f"{MARKER}={directory}".encode()
    spared = _ancestors()
    found = []
    for entry in os.scandir(_PROC):
        if not entry.name.isdigit() or int(entry.name) in spared:
            continue
        try:
            environment = Path(entry.path, "environ").read_bytes()
        except OSError:  # gone, or another user's
            continue
        if wanted in environment.split(b"\0"):
            identity = ProcessIdentity.of(int(entry.name))
            if identity is not None:
                found.append(identity)
    return found


def kill_all(directory: Path, *, timeout: float = 10.0) -> list[ProcessIdentity]:
    """SIGKILL every process of the pool in `directory`, those they start meanwhile included.

    Args:
        directory: The pool's folder.
        timeout: Seconds after which to give up (a process in uninterruptible sleep cannot be killed).

    Returns:
        The processes that are left: none, as a rule.
    """
    deadline = time.monotonic() + timeout
    while left := marked(directory):
        for process in left:
            with contextlib.suppress(PermissionError):
                process.kill(signal.SIGKILL)
        if time.monotonic() > deadline:
            break
        time.sleep(0.01)
    return left


def hollow_slots(directory: Path) -> frozenset[str]:
    """Slots of the pool in `directory`, ``"slot1_1@localhost"``, whose starter has no process left."""
    parents, starters = set(), {}
    for process in marked(directory):
        try:
            words = (_PROC / str(process.pid) / "cmdline").read_bytes().decode(errors="replace").split("\0")
            text = (_PROC / str(process.pid) / "stat").read_text(errors="replace")
        except OSError:
            continue
        parents.add(int(text.rpartition(")")[2].split()[1]))
        if words[0].endswith("condor_starter") and "-a" in words:
            starters[process.pid] = f"{words[words.index('-a') + 1]}@localhost"
    return frozenset(slot for pid, slot in starters.items() if pid not in parents)
