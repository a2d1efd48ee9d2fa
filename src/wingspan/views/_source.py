"""What views ask a map or a run."""

from __future__ import annotations

from typing import Protocol

from wingspan.views._model import Cells, Detail, Report, View

__all__ = ["Source"]


class Source(Protocol):
    """One map or run, as its faces ask for it.

    Only one thread at a time calls it (see `wingspan.views.Live`).
    """

    @property
    def key(self) -> str:
        """Names it on this machine: sources with equal keys show the same thing."""
        ...

    @property
    def created(self) -> float:
        """When it was made, Unix time."""
        ...

    def exists(self) -> bool:
        """It has not been removed."""
        ...

    def view(self) -> View:
        """How it fares now. Cheap: it is called several times a second."""
        ...

    def cells(self, first: int, stop: int, layer: str, most: int) -> Cells:
        """The grid of components `first` to `stop`, in at most `most` cells."""
        ...

    def detail(self, number: int) -> Detail:
        """What is known of one component.

        Raises:
            IndexError: There is none of that number.
        """
        ...

    def act(self, action: str) -> str:
        """Do one of `View.actions`: what was done, in a sentence."""
        ...

    def report(self) -> Report:
        """Everything, for a report."""
        ...
