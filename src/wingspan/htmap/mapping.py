"""Making maps."""

from __future__ import annotations

import itertools
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import wingspan
from wingspan._words import counted
from wingspan.htmap.delivery import delivered
from wingspan.htmap.exceptions import EmptyMap, NoMapYet, translated
from wingspan.htmap.maps import Map, map_of
from wingspan.htmap.options import MapOptions
from wingspan.htmap.settings import changed_map_options, follow_htmap_dir, settings
from wingspan.htmap.submission import wingspan_options
from wingspan.htmap.transfer import transform_args_and_kwargs, transform_input_path, transform_input_paths
from wingspan.maps._builder import Builder

__all__ = [
    "MapBuilder",
    "build_map",
    "create_map",
    "map",
    "starmap",
    "transform_args_and_kwargs",
    "transform_input_path",
    "transform_input_paths",
    "zip_args_and_kwargs",
]

_logger = logging.getLogger("htmap")
Call = tuple[tuple[Any, ...], dict[str, Any]]


def map(
    func: Callable[[Any], Any],
    args: Iterable[Any],
    map_options: MapOptions | None = None,
    tag: str | None = None,
    quiet: bool = False,
) -> Map:
    """Call `func` with each of `args`: one component for each.

    Args:
        func: Takes one argument.
        args: What it is called with.
        map_options: Options; those of the settings count where it has none.
        tag: Name of the map; None: one is made up, and `clean` removes the map.
        quiet: The logger ``htmap`` does not say that the map was made. Nothing is printed in any case.

    Raises:
        EmptyMap: `args` has none.
        TagAlreadyExists, InvalidTag: The tag cannot be used.
        MisalignedInputData: An option has not as many values as there are components.
        ReservedOptionKeyword: An option is one that Wingspan sets itself.
        UnknownPythonDeliveryMethod: The setting ``DELIVERY_METHOD`` names none.
    """
    return _made(func, args, "map", map_options, tag, quiet)


def starmap(
    func: Callable[..., Any],
    args: Iterable[tuple[Any, ...]] | None = None,
    kwargs: Iterable[dict[str, Any]] | None = None,
    map_options: MapOptions | None = None,
    tag: str | None = None,
    quiet: bool = False,
) -> Map:
    """Call `func` with each tuple of `args` and each dict of `kwargs`, side by side.

    Where one of the two is shorter, calls after its end get ``()`` or ``{}``. The rest is as for `map`.
    """
    return _made(func, zip_args_and_kwargs(args, kwargs), "starmap", map_options, tag, quiet)


def zip_args_and_kwargs(
    args: Iterable[tuple[Any, ...]] | None, kwargs: Iterable[dict[str, Any]] | None
) -> Iterator[tuple[tuple[Any, ...], dict[str, Any]]]:
    """Positional and keyword arguments side by side.

    >>> list(zip_args_and_kwargs([(1,), (2,)], [{"a": 3}]))
    [((1,), {'a': 3}), ((2,), {})]
    """
    pairs = itertools.zip_longest(() if args is None else args, () if kwargs is None else kwargs)
    for given, named in pairs:
        yield (() if given is None else given), ({} if named is None else named)


def create_map(
    tag: str | None,
    func: Callable[..., Any],
    args_and_kwargs: Iterable[tuple[tuple[Any, ...], dict[str, Any]]],
    map_options: MapOptions | None = None,
    quiet: bool = False,
) -> Map:
    """The map of these calls: what `starmap` does."""
    return _made(func, args_and_kwargs, "starmap", map_options, tag, quiet)


def _made(
    func: Callable[..., Any],
    calls: Iterable[Any],
    kind: str,
    map_options: MapOptions | None,
    tag: str | None,
    quiet: bool,
) -> Map:
    follow_htmap_dir()
    with translated(tag or ""):
        descriptors, environment = delivered(tag)
        given = MapOptions() if map_options is None else map_options
        merged = MapOptions.merge(given, MapOptions(**descriptors), _of_settings())
        if merged.has_values_of_components:
            calls = list(calls)
            if not calls:
                raise EmptyMap("there are no inputs", hint="give at least one")
            merged.check_count(len(calls))
        options = wingspan_options(merged, environment)
        pool = settings.get("WINGSPAN.POOL")
        if kind == "map":
            made = wingspan.map(func, calls, tag=tag, pool=pool, options=options)
        else:
            pairs = _Pairs(calls)
            made = wingspan.starmap(func, pairs.args(), pairs.kwargs(), tag=tag, pool=pool, options=options)
    if not quiet:
        _logger.info("created map %s with %s", made.tag, counted(len(made), "component"))
    return map_of(made)


def _of_settings() -> MapOptions:
    """The options of the settings; the same ones are refused there as in a program."""
    return MapOptions(**changed_map_options())


class _Pairs:
    """Pairs as two iterables, which are read side by side; each pair is read once."""

    def __init__(self, pairs: Iterable[Call]) -> None:
        self._pairs = iter(pairs)
        self._kwargs: list[dict[str, Any]] = []

    def args(self) -> Iterator[tuple[Any, ...]]:
        for args, kwargs in self._pairs:
            self._kwargs.append(kwargs)
            yield args

    def kwargs(self) -> Iterator[Mapping[str, Any]]:
        while self._kwargs:
            yield self._kwargs.pop()


class MapBuilder(Builder[Map]):
    """Records calls, and makes a map of them when its ``with`` block ends without an exception."""

    _not_yet = NoMapYet

    def __init__(
        self, func: Callable[..., Any], map_options: MapOptions | None = None, tag: str | None = None
    ) -> None:
        super().__init__()
        self._func, self._map_options, self._tag = func, map_options, tag

    def _made(self) -> Map:
        return create_map(self._tag, self._func, self._calls, self._map_options)

    def __repr__(self) -> str:
        name = getattr(self._func, "__name__", repr(self._func))
        return f"<MapBuilder(func = {name}, calls = {len(self)})>"


def build_map(
    func: Callable[..., Any], map_options: MapOptions | None = None, tag: str | None = None
) -> MapBuilder:
    """Make a map call by call, inside of a ``with`` block; the arguments are those of `map`."""
    return MapBuilder(func, map_options, tag)
