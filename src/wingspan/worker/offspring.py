"""End the processes that a component leaves behind, as HTCondor does: also those that have left their session
and parent.

A worker is the *subreaper* of all processes that its executor starts (prctl(2)): a process whose parent ends
becomes the worker's child. So all of them are found below the worker. If the worker is a plain process on
this machine, a *guardian*, which is the worker's parent, ends them in case the worker itself is killed.

Workers of other maps that a component made are left alone, because they outlive the maker of a map.
"""

import os
import signal
import sys
import time

from .scratch import remove_left_behind, scratch_folder

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, List, Sequence

_SET_CHILD_SUBREAPER = 36
#: Seconds to wait for a killed process. One that takes longer waits for the kernel and is given up.
_PATIENCE = 5.0


def adopt() -> "None":
    """Become the parent of all orphans below this process, if the kernel supports that."""
    if not sys.platform.startswith("linux"):
        return
    try:
        import ctypes

        ctypes.CDLL(None).prctl(_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    except Exception:
        return


def reap(but: "Sequence[int]" = ()) -> "List[int]":
    """Collect ended children, up to the first that is one of `but`, for which another caller waits. Returns
    their numbers.
    """
    collected = []
    try:
        while True:
            ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if ended is None or ended.si_pid in but:
                break
            os.waitpid(ended.si_pid, 0)
            collected.append(ended.si_pid)
    except (AttributeError, ChildProcessError):
        pass
    return collected


def end() -> "List[int]":
    """Kill everything below this process. Returns the numbers of its children that have ended."""
    collected: "List[int]" = []
    try:
        os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except (AttributeError, ChildProcessError):
        return collected  # the usual case: there is none
    deadline = time.monotonic() + _PATIENCE
    while True:
        collected += reap()
        found = _below(os.getpid())
        if not found or time.monotonic() > deadline:
            return collected
        for pid in found:
            try:
                os.kill(pid, signal.SIGKILL)
            except OSError:
                pass  # it has ended, or has another parent now
        time.sleep(0.002)


def guard() -> "None":
    """Fork. The child goes on; this process stays to end what the child may leave behind, processes and
    folders, and then ends as the child did.
    """
    if not os.path.isdir("/proc/self"):
        return
    child = os.fork()
    if child == 0:
        return
    try:
        adopt()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        os.closerange(3, os.sysconf("SC_OPEN_MAX"))
        status, ended = 0, []
        while True:
            pid, status = os.waitpid(-1, 0)
            ended.append(pid)
            if pid == child:
                break
        ended += end()
        if os.WIFSIGNALED(status):
            for pid in ended:
                remove_left_behind(scratch_folder(), pid)
        os._exit(os.WEXITSTATUS(status) if os.WIFEXITED(status) else 128 + os.WTERMSIG(status))
    finally:
        os._exit(70)


def _below(root: "int") -> "List[int]":
    """Processes below `root`, except workers of maps and the processes below those."""
    children: "Dict[int, List[int]]" = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            parent = _parent(name)
            if parent:
                children.setdefault(parent, []).append(int(name))
    found: "List[int]" = []
    left = list(children.get(root, []))
    while left:
        pid = left.pop()
        if not _is_worker(pid):
            found.append(pid)
            left += children.get(pid, [])
    return found


def _parent(pid: "str") -> "int":
    """The parent of a living process; 0 for every other one."""
    try:
        with open("/proc/%s/stat" % pid, "rb") as file:
            state, parent = (
                file.read().rpartition(b")")[2].split()[:2]
            )  # the name before it may contain any character
    except (OSError, ValueError):
        return 0
    return 0 if state in (b"Z", b"X") else int(parent)


def _is_worker(pid: "int") -> "bool":
    """Whether it was started as a worker for local maps. A fork of this process or of its executor has the
    same name, but is none.
    """
    words = _words(pid)
    return (
        words != _words(os.getpid())
        and b"idle" in words[1:4]
        and any(word.endswith(b".pyz") for word in words[:3])
    )


def _words(pid: "int") -> "List[bytes]":
    try:
        with open("/proc/%d/cmdline" % pid, "rb") as file:
            return file.read().split(b"\0")
    except OSError:
        return []
