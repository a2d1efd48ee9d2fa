"""Something happens at a certain moment of what this process does: just before it opens, lists, renames or
removes a file.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Iterator

__all__ = ["Moment", "meanwhile"]

#: What Python announces before it does it (see the table of audit events in its documentation).
_EVENTS = frozenset(
    {"open", "os.listdir", "os.scandir", "os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link"}
)
_watching: list[Moment] = []


class Moment:
    """When it happens: at the so-many-th event on a file whose path `concerns` says yes to."""

    def __init__(self, concerns: Callable[[str], bool], number: int, action: Callable[[], object]) -> None:
        self._concerns, self._left, self._action = concerns, number, action
        #: Whether it has come.
        self.came = False

    def see(self, path: str) -> None:
        """An event on this file is about to happen."""
        if not self.came and self._concerns(path):
            self._left -= 1
            if not self._left:
                self.came = True
                self._action()


def _hook(event: str, words: tuple[object, ...]) -> None:
    if _watching and event in _EVENTS and words and isinstance(words[0], (str, bytes, os.PathLike)):
        path = os.fsdecode(words[0])
        for moment in list(_watching):
            moment.see(path)


@contextlib.contextmanager
def meanwhile(concerns: Callable[[str], bool], number: int, action: Callable[[], object]) -> Iterator[Moment]:
    """Do `action` just before the event `number` (from 1) on a file that `concerns` says yes to."""
    if not hasattr(sys, "_wingspan_meanwhile"):
        sys._wingspan_meanwhile = True  # type: ignore[attr-defined]  # a hook stays for good
        sys.addaudithook(_hook)
    moment = Moment(concerns, number, action)
    _watching.append(moment)
    try:
        yield moment
    finally:
        _watching.remove(moment)
