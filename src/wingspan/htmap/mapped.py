"""Functions that make maps of themselves."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable
from typing import Any

from wingspan.htmap import mapping
from wingspan.htmap.maps import Map
from wingspan.htmap.options import MapOptions
from wingspan.maps._layered import Layered

__all__ = ["MappedFunction", "mapped"]


class MappedFunction(Layered):
    """A function with `map`, `starmap` and `build_map`; calling it calls the function, here.

    Attributes:
        func: The function.
        map_options: Options of all its maps; those of a call count before them.
    """

    def __init__(self, func: Callable[..., Any], map_options: MapOptions | None = None) -> None:
        if not callable(func):
            raise TypeError(f"{func!r} is no function: write @htmap.mapped or @htmap.mapped(map_options=…)")
        self.func = self.function = func
        self.options = self.pool = None
        self.map_options: MapOptions = MapOptions() if map_options is None else map_options
        functools.update_wrapper(self, func)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.func(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers need not have Wingspan. What they get can be called, too.
        return functools.partial, (self.func,)

    def __repr__(self) -> str:
        name = getattr(self.func, "__name__", repr(self.func))
        return f"<MappedFunction(func = {name}, map_options = {self.map_options})>"

    def _options(self, given: MapOptions | None) -> MapOptions:
        return self.map_options if given is None else MapOptions.merge(given, self.map_options)

    def map(self, args: Iterable[Any], map_options: MapOptions | None = None, tag: str | None = None) -> Map:
        """As `htmap.map`, of this function."""
        return mapping.map(self.func, args, self._options(map_options), tag)

    def starmap(
        self,
        args: Iterable[tuple[Any, ...]] | None = None,
        kwargs: Iterable[dict[str, Any]] | None = None,
        map_options: MapOptions | None = None,
        tag: str | None = None,
    ) -> Map:
        """As `htmap.starmap`, of this function."""
        return mapping.starmap(self.func, args, kwargs, self._options(map_options), tag)

    def build_map(self, map_options: MapOptions | None = None, tag: str | None = None) -> mapping.MapBuilder:
        """As `htmap.build_map`, of this function."""
        return mapping.build_map(self.func, self._options(map_options), tag)


def mapped(func: Callable[..., Any] | None = None, *, map_options: MapOptions | None = None) -> Any:
    """Make a function one that makes maps of itself: ``@htmap.mapped``, or with options
    ``@htmap.mapped(map_options=…)``.

    Raises:
        TypeError: It is given something that is no function.
    """
    if func is None:
        return functools.partial(MappedFunction, map_options=map_options)
    return MappedFunction(func, map_options)
