"""The state of the process that each component finds. Changes by one component are undone for the next.

The state that is restored belongs to the process, and another script would not see a change: standard streams
and their descriptors, the current folder, the umask, signals, timers, and limits that were lowered. So are
entries of `sys.path` that a component took away: the next one would not find its modules. The state of Python
and of libraries stays as the component left it: modules, environment variables, random numbers, warnings,
locale (see ``docs/maps.md``).
"""

import _signal  # type: ignore[import-not-found]  # as it is: the module signal makes an enum of each number, which takes ten times as long
import os
import resource
import signal
import sys

from .printed import Printed, printing_to

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import List, Optional, Tuple

_SIGNALS = [
    getattr(signal, "SIG" + name)
    for name in ("HUP", "INT", "QUIT", "USR1", "USR2", "PIPE", "ALRM", "TERM", "CHLD", "XCPU")
]
_LIMITS = [
    getattr(resource, "RLIMIT_" + name)
    for name in ("AS", "CORE", "CPU", "DATA", "FSIZE", "NOFILE", "NPROC", "STACK")
    if hasattr(resource, "RLIMIT_" + name)
]


class Surroundings(object):
    """Remembers the present state.

    Args:
        null: An open file that standard input reads from.
        out_file, err_file: Files that standard output and standard error go to; neither is empty.
    """

    def __init__(self, null: "int", out_file: "int", err_file: "int") -> "None":
        #: For each standard descriptor: a copy of it, and the identity of its file.
        self._descriptors = [(file, _identity(file)) for file in (null, out_file, err_file)]
        #: Standard output and standard error.
        self.streams: "List[Printed]" = [sys.stdout, sys.stderr]  # type: ignore[list-item]
        self._stdin = sys.stdin
        self._path, self._path_list = list(sys.path), sys.path
        self._folder = _current_folder()
        self._umask = os.umask(0o077)
        os.umask(self._umask)
        self._handlers = {number: _signal.getsignal(number) for number in _SIGNALS}
        self._mask = _signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._limits = {number: resource.getrlimit(number) for number in _LIMITS}

    @property
    def folder(self) -> "str":
        """The folder that components begin in."""
        return self._folder or os.getcwd()

    def restore(self, closely: "bool", ends: "Tuple[int, int]") -> "bool":
        """Restore what has changed; returns whether anything had.

        Args:
            closely: Check everything. Otherwise check only what takes a few microseconds: the folder, the
                umask, Python's streams, and whether standard output and standard error still end where their
                files do.
            ends: The ends of these two files.
        """
        changed = self._restore_descriptors(closely, ends)
        changed = self._restore_streams() or changed
        changed = self._restore_folder() or changed
        changed = self._restore_path() or changed
        if closely:
            changed = self._restore_signals() or changed
            changed = self._restore_limits() or changed
        return changed

    def _restore_descriptors(self, closely: "bool", ends: "Tuple[int, int]") -> "bool":
        changed = False
        for number in range(0 if closely else 1, 3):
            file, identity = self._descriptors[number]
            try:
                same = (
                    _identity(number) == identity
                    if closely
                    else os.lseek(number, 0, os.SEEK_END) == ends[number - 1]
                )
            except OSError:
                same = False
            if not same:
                os.dup2(file, number)
                changed = True
        return changed

    def _restore_streams(self) -> "bool":
        out, err = self.streams
        if (
            sys.stdout is out
            and sys.stderr is err
            and sys.stdin is self._stdin
            and not out.closed
            and not err.closed
            and not self._stdin.closed
        ):
            return False
        self.streams = [
            printing_to(number) if stream.closed else stream for number, stream in enumerate(self.streams, 1)
        ]
        if self._stdin.closed:
            self._stdin = open(0, closefd=False)  # noqa: SIM115 - for good
        sys.stdin = self._stdin
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = self.streams  # type: ignore[misc]
        return True

    def _restore_folder(self) -> "bool":
        changed = os.umask(self._umask) != self._umask
        if _current_folder() != self._folder and self._folder is not None:
            try:
                os.chdir(self._folder)
                changed = True
            except OSError:
                pass  # the component has removed it
        return changed

    def _restore_path(self) -> "bool":
        """Put back what is missing from the path of modules. What was added stays."""
        present = sys.path
        if present is self._path_list and present == self._path:
            return False
        if type(present) is not list:
            present = []
        missing = not set(present).issuperset(self._path)
        if missing:
            self._path += [entry for entry in present if entry not in self._path]
            self._path_list[:] = self._path
        else:
            self._path_list[:] = self._path = list(present)
        sys.path = self._path_list
        return missing

    def _restore_signals(self) -> "bool":
        changed = False
        if signal.getitimer(signal.ITIMER_REAL)[0]:
            signal.setitimer(signal.ITIMER_REAL, 0)
            changed = True
        for number, before in self._handlers.items():
            # None: compiled code set it, and Python cannot set it again.
            if before is not None and _signal.getsignal(number) != before:
                signal.signal(number, before)
                changed = True
        if _signal.pthread_sigmask(signal.SIG_BLOCK, ()) != self._mask:
            signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
            changed = True
        return changed

    def _restore_limits(self) -> "bool":
        changed = False
        for number, before in self._limits.items():
            soft, hard = resource.getrlimit(number)
            # Up to the hard limit, which only root can raise.
            wanted = hard if _is_lower(hard, before[0]) else before[0]
            if _is_lower(soft, wanted):
                resource.setrlimit(number, (wanted, hard))
                changed = True
        return changed


def _identity(descriptor: "int") -> "Tuple[int, int]":
    facts = os.fstat(descriptor)
    return facts.st_dev, facts.st_ino


def _current_folder() -> "Optional[str]":
    try:
        return os.getcwd()
    except OSError:
        return None


def _is_lower(limit: "int", than: "int") -> "bool":
    if than == resource.RLIM_INFINITY:
        return limit != resource.RLIM_INFINITY
    return limit != resource.RLIM_INFINITY and limit < than
