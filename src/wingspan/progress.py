"""How library code tells of long work without printing: it calls a `Progress`; the CLI and notebooks draw
it.
"""

from __future__ import annotations

from typing import Protocol, runtime_checkable

__all__ = ["NO_PROGRESS", "NoProgress", "Progress"]


@runtime_checkable
class Progress(Protocol):
    """Somebody who wants to hear how far long work has come.

    `start` names a piece of work and answers a number for it; `advance` and `finish` take that number.
    """

    def start(self, description: str, total: float | None = None) -> int:
        """Begin a piece of work of `total` units (None: unknown)."""
        ...

    def advance(self, task: int, amount: float = 1) -> None:
        """`amount` more units are done."""
        ...

    def finish(self, task: int) -> None:
        """The piece of work is over."""
        ...


class NoProgress:
    """Nobody listens."""

    def start(self, description: str, total: float | None = None) -> int:
        return 0

    def advance(self, task: int, amount: float = 1) -> None:
        pass

    def finish(self, task: int) -> None:
        pass


NO_PROGRESS = NoProgress()
