"""What makes a map call by call, with Wingspan's words and with HTMap's."""

from __future__ import annotations

from abc import ABC, abstractmethod
from types import TracebackType
from typing import Any, Generic, TypeVar

from wingspan.maps._errors import MapError

__all__ = ["Builder"]

Made = TypeVar("Made")


class Builder(ABC, Generic[Made]):
    """Records calls, and makes a map of them when its ``with`` block ends without an exception."""

    #: What `map` raises before the block has ended.
    _not_yet: type[MapError] = MapError

    def __init__(self) -> None:
        self._calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._map: Made | None = None

    @abstractmethod
    def _made(self) -> Made:
        """Make the map of what has been recorded."""

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Record one component: ``func(*args, **kwargs)``."""
        self._calls.append((args, kwargs))

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def map(self) -> Made:
        """The map, once the block has ended.

        Raises:
            MapError: It has not (`NoMapYet` in `wingspan.htmap`).
        """
        if self._map is None:
            raise self._not_yet("the map is not made yet", hint="it is made when the with block ends")
        return self._map

    def __enter__(self) -> Builder[Made]:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._map = self._made()
