"""What components print, as ``m.stdout(3)`` and as ``m.stdout[3]``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, overload

__all__ = ["Streams"]


class Streams(Sequence[str]):
    """Standard output, or standard error, of each component; what there is so far, while one runs."""

    def __init__(self, count: int, printed: Callable[[int], str]) -> None:
        self._count = count
        self._printed = printed

    def __call__(self, component: int) -> str:
        """What `component` has printed so far."""
        return self._printed(component)

    @overload
    def __getitem__(self, index: int) -> str: ...
    @overload
    def __getitem__(self, index: slice) -> list[str]: ...
    def __getitem__(self, index: int | slice) -> Any:
        if isinstance(index, slice):
            return [self(component) for component in range(*index.indices(len(self)))]
        return self(index)

    def __len__(self) -> int:
        return self._count
