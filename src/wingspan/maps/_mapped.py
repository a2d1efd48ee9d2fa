"""`mapped`: a function that knows how its maps are to be made."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Literal, ParamSpec, TypeVar, cast, overload

from wingspan.maps._api import build_map, map, starmap
from wingspan.maps._callable import check_callable
from wingspan.maps._layered import Layered, check_options, plain
from wingspan.maps._options import Options

if TYPE_CHECKING:
    from wingspan.maps._api import MapBuilder
    from wingspan.maps._map import Map
    from wingspan.maps._where import Where
    from wingspan.pools.rehearsal import Rehearsal

__all__ = ["Mapped", "mapped", "memo"]

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


class Mapped(Layered, Generic[_Given, _Answer]):
    """A function with the options and the pool of its maps; `mapped` makes it.

    Called, it calls the function here. Sent to a worker, it is the plain function.

    Attributes:
        function: The plain function.
        options: What is joined to the options of each map; those of the call win.
        pool: Where its maps run, unless the call names a pool.
    """

    function: Callable[_Given, _Answer]

    def __init__(self, function: Callable[_Given, _Answer], options: Options | None, pool: Where) -> None:
        self.function = function
        self.options: Options | None = options
        self.pool: Where = pool
        functools.update_wrapper(cast("Callable[..., Any]", self), function)

    def __call__(self, *args: _Given.args, **kwargs: _Given.kwargs) -> _Answer:
        """Call the function here."""
        return self.function(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        # Workers need not have Wingspan. What they get can be called, too.
        return functools.partial, (self.function,)

    def __repr__(self) -> str:
        return f"<wingspan.mapped {self.function!r}>"

    @overload
    def map(self, inputs: Iterable[Any], *more: Any, rehearse: Literal[True], **arguments: Any) -> Rehearsal:
        pass

    @overload
    def map(self, inputs: Iterable[Any], *more: Any, **arguments: Any) -> Map:
        pass

    def map(self, inputs: Iterable[Any], *more: Any, **arguments: Any) -> Map | Rehearsal:
        """`wingspan.map` of this function; it takes the same arguments."""
        made: Map | Rehearsal = map(self, inputs, *more, **arguments)
        return made

    def starmap(
        self,
        args: Iterable[Iterable[Any]] | None = None,
        kwargs: Iterable[Mapping[str, Any]] | None = None,
        **arguments: Any,
    ) -> Map:
        """`wingspan.starmap` of this function; it takes the same arguments."""
        made: Map = starmap(self, args, kwargs, **arguments)
        return made

    def build_map(self, **arguments: Any) -> MapBuilder:
        """`wingspan.build_map` of this function; it takes the same arguments."""
        return build_map(self, **arguments)


@overload
def mapped(function: Callable[_Given, _Answer], /) -> Mapped[_Given, _Answer]: ...


@overload
def mapped(
    *, options: Options | None = None, pool: Where = None
) -> Callable[[Callable[_Given, _Answer]], Mapped[_Given, _Answer]]: ...


def mapped(
    function: Callable[..., Any] | None = None,
    /,
    *,
    options: Options | None = None,
    pool: Where = None,
) -> Any:
    """Decorate a function so that it makes maps of itself: ``f.map(xs)``, ``f.starmap``, ``f.build_map``.

    ``f(x)`` calls it here, as before.

    Args:
        function: Where it is used without arguments, ``@wingspan.mapped``.
        options: Joined to the options of each of its maps: those of the settings come before them, those of
            the call after them, and later ones win (`Options.merged`).
        pool: Where its maps run, unless the call names a pool.

    Raises:
        SettingsError: `options` are no `Options`.
        NotPicklable: It is no function, or one that cannot travel.

    >>> @mapped(options=Options(request_memory="1GB"), pool="local")
    ... def double(x):
    ...     return 2 * x
    >>> double(4), list(double.map([1, 2]))
    (8, [2, 4])
    """
    if options is not None:
        check_options(options)

    def decorate(function: Callable[..., Any]) -> Mapped[..., Any]:
        check_callable(plain(function))
        return Mapped(plain(function), options, pool)

    return decorate if function is None else decorate(function)


def memo(function: Callable[_Given, _Answer], /) -> Mapped[_Given, _Answer]:
    """Decorate a function so that its maps take outputs that are there already: ``Options(memo=True)``.

    ``f(x)`` computes here, as before.

    Args:
        function: A function, or what `mapped` has made of one.

    Raises:
        NotPicklable: It is no function, or one that cannot travel.

    >>> @memo
    ... def slow_square(x):
    ...     return x * x
    >>> slow_square(3), list(slow_square.map([3, 4], pool="local"))
    (9, [9, 16])
    """
    check_callable(plain(function))
    own, pool = (function.options, function.pool) if isinstance(function, Layered) else (None, None)
    wanted = Options(memo=True)
    return Mapped(plain(function), own.merged(wanted) if own is not None else wanted, pool)
