"""The functions that make maps.

Little is imported here. The local pool starts its workers before anything else is done: they import what they
need while this process does the same.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

from wingspan._data_folder import find_named, maps_root, runs_root, tags_root
from wingspan.errors import SettingsError, UnknownOption
from wingspan.maps._builder import Builder
from wingspan.maps._callable import check_callable, check_one_argument
from wingspan.maps._calls import call_of, inputs_of_run, iterable, length_of, together
from wingspan.maps._display import default_progress
from wingspan.maps._errors import InvalidInputs, TagExists, no_inputs
from wingspan.maps._layered import Layered, check_options, plain
from wingspan.maps._options import Options, default_options, option_names
from wingspan.maps._tags import check_tag, read_tag
from wingspan.maps._where import ready_pool, several, warm_up
from wingspan.pools import get_pool
from wingspan.settings import held, load_settings

if TYPE_CHECKING:
    from wingspan.maps._chain import Chain
    from wingspan.maps._map import Map
    from wingspan.maps._where import Where
    from wingspan.pools import Pool
    from wingspan.pools.following import Earlier
    from wingspan.pools.rehearsal import Rehearsal

__all__ = ["MapBuilder", "build_map", "map", "reduce", "starmap"]


@overload
def map(
    func: Callable[..., Any],
    inputs: Iterable[Any],
    *more: Iterable[Any],
    tag: str | None = None,
    pool: Where = None,
    options: Options | None = None,
    exist_ok: bool = False,
    memo: bool | None = None,
    after: object = None,
    rehearse: Literal[False] = False,
) -> Map: ...


@overload
def map(
    func: Callable[..., Any],
    inputs: Iterable[Any],
    *more: Iterable[Any],
    tag: str | None = None,
    pool: Where = None,
    options: Options | None = None,
    exist_ok: bool = False,
    memo: bool | None = None,
    after: object = None,
    rehearse: Literal[True],
) -> Rehearsal: ...


def map(
    func: Callable[..., Any],
    inputs: Iterable[Any],
    *more: Iterable[Any],
    tag: str | None = None,
    pool: Where = None,
    options: Options | None = None,
    exist_ok: bool = False,
    memo: bool | None = None,
    after: object = None,
    rehearse: bool = False,
    **unknown: NoReturn,
) -> Map | Rehearsal:
    """Apply `func` to each of `inputs`, on a pool.

    Returns at once; the outputs come with iterating, indexing or `Map.wait`. The map outlives this session:
    ``wingspan.load(tag)`` finds it again.

    Args:
        func: Takes one input, or one of each iterable. It may be a lambda, a closure, or come from your own
            module.
        inputs: Any iterable, a generator too; read once, streamed to disk. If it is a map, components start
            as its outputs arrive (a chain).
        more: Further iterables, as the builtin ``map`` has them: ``func(x, y)`` for ``zip(inputs, more)``;
            the shortest ends the map. (`starmap` takes tuples of arguments, and fills up the shorter.)
        tag: Name of the map. None: one is made up, and `clean` removes the map.
        pool: ``"personal"``, ``"htcondor"``, ``"slurm"``, ``"local"``, or a `Pool`. None: ``wingspan doctor``
            says which one is chosen, and why. A list of several: workers of all of them do the map together,
            each pool with its own number of workers.
        options: What each worker gets; joined to the default options of the settings (`Options.merged`).
        exist_ok: If there is a map with this tag already, of the same function and inputs, answer that map
            with all its results, so that a script or a cell can be executed again. It keeps the pool and the
            options that it was made with.
        memo: Take outputs of earlier maps that had the same function, input and environment, and compute only
            what is missing (``Options(memo=True)``, `wingspan.memo`). None: as the options say.
        after: Runs and maps, or their names: its workers are submitted when these are done without failures,
            also after this session has ended. If `inputs` is a run, that is one of them, and each component
            is given the outputs of one of its jobs (`Run.outputs`).
        rehearse: Make no map: execute the first component here, as a worker would see it, and answer a
            `wingspan.Rehearsal`, which tells how it fared.

    Raises:
        EmptyMap: `inputs` has none.
        InvalidTag: The tag is no name for a map.
        TagExists: The tag is in use. With `exist_ok`: by a map that differs, and the message says in what.
        InvalidInputs: `inputs` cannot be iterated over, or `func` does not take one argument.
        UnknownOption: There is no argument of that name.
        NotPicklable: The function or an input cannot travel; the message says which part of it. Async
            functions and generator functions never can.
        PoolError: The pool that was named cannot be used.
    """
    _refuse_unknown("map", unknown)
    check_callable(plain(func))
    if rehearse and (chain := _chain_of((inputs, *more))) is not None:
        first = chain.ready()
        given: Iterable[Any] = [first[0]] if len(first) == 1 else [(first, {})]
        return _rehearsed(func, given, "map" if len(first) == 1 else "starmap", pool, options)
    if rehearse and not hasattr(inputs, "expected_outputs"):
        given = together([iterable(one) for one in (inputs, *more)]) if more else iterable(inputs)
        return _rehearsed(func, given, "starmap" if more else "map", pool, options)
    if hasattr(inputs, "expected_outputs"):  # a run
        inputs, waits = inputs_of_run(inputs)
        if rehearse:
            if waits is not None:
                raise InvalidInputs(
                    f"the run {waits.name!r} is not done, and what follows is rehearsed with its outputs",
                    hint="rehearse it when the run is done",
                )
            return _rehearsed(func, inputs, "map", pool, options)
        if waits is not None:
            after = [waits, *(after if isinstance(after, list | tuple) else [after] if after else [])]
    if (chain := _chain_of((inputs, *more))) is not None:
        if len(chain.maps) == 1:
            check_one_argument(plain(func))
        return _make(func, chain.inputs, chain.call, tag, pool, options, exist_ok, memo, chain, after)
    if more:
        calls = together([iterable(one) for one in (inputs, *more)])
        return _make(func, calls, "starmap", tag, pool, options, exist_ok, memo, after=after)
    check_one_argument(plain(func))
    return _make(func, iterable(inputs), "map", tag, pool, options, exist_ok, memo, after=after)


@overload
def starmap(
    func: Callable[..., Any],
    args: Iterable[Iterable[Any]] | None = None,
    kwargs: Iterable[Mapping[str, Any]] | None = None,
    *,
    tag: str | None = None,
    pool: Where = None,
    options: Options | None = None,
    exist_ok: bool = False,
    memo: bool | None = None,
    after: object = None,
    rehearse: Literal[False] = False,
) -> Map: ...


@overload
def starmap(
    func: Callable[..., Any],
    args: Iterable[Iterable[Any]] | None = None,
    kwargs: Iterable[Mapping[str, Any]] | None = None,
    *,
    tag: str | None = None,
    pool: Where = None,
    options: Options | None = None,
    exist_ok: bool = False,
    memo: bool | None = None,
    after: object = None,
    rehearse: Literal[True],
) -> Rehearsal: ...


def starmap(
    func: Callable[..., Any],
    args: Iterable[Iterable[Any]] | None = None,
    kwargs: Iterable[Mapping[str, Any]] | None = None,
    *,
    tag: str | None = None,
    pool: Where = None,
    options: Options | None = None,
    exist_ok: bool = False,
    memo: bool | None = None,
    after: object = None,
    rehearse: bool = False,
    **unknown: NoReturn,
) -> Map | Rehearsal:
    """Apply `func` to pairs of positional arguments (from `args`) and keyword arguments (from `kwargs`), on a
    pool.

    Where one of the two is shorter, the calls after its end get none. Everything else is as for `map`.
    """
    _refuse_unknown("starmap", unknown)
    check_callable(plain(func))
    if args is None and kwargs is None:
        raise SettingsError(
            "a starmap needs args, kwargs or both", hint="wingspan.starmap(f, [(1, 2), (3, 4)])"
        )
    pairs = itertools.zip_longest(
        iterable(() if args is None else args), iterable(() if kwargs is None else kwargs)
    )
    calls = (call_of(number, given, named) for number, (given, named) in enumerate(pairs))
    if rehearse:
        return _rehearsed(func, calls, "starmap", pool, options)
    return _make(func, calls, "starmap", tag, pool, options, exist_ok, memo, after=after)


def _rehearsed(
    func: Callable[..., Any],
    inputs: Iterable[Any],
    call: str,
    pool: Where,
    options: Options | None,
) -> Rehearsal:
    """The first component, executed here; no map is made."""
    from wingspan.maps._rehearse import rehearse

    func, layers, pool = _layers(func, options, pool)
    return rehearse(
        func,
        inputs,
        call=call,
        pool=several(pool)[0],
        options=default_options(load_settings()).merged(*layers),
    )


def _refuse_unknown(name: str, unknown: Mapping[str, Any]) -> None:
    for word in unknown:
        from wingspan._foreign import hint_for_argument

        known = ["tag", "pool", "options", "exist_ok", "memo", "after", "rehearse"]
        options = option_names()
        raise UnknownOption(
            f"{name}() has no argument {word!r}", hint=hint_for_argument(word, known, options)
        )


def _chain_of(several: tuple[Iterable[Any], ...]) -> Chain | None:
    """The chain, if the inputs are earlier maps."""
    if not any(hasattr(one, "iter_as_available") for one in several):
        return None  # the usual case needs no further modules
    from wingspan.maps._chain import chain_of

    return chain_of(several)


def reduce(
    func: Callable[[Any, Any], Any],
    outputs: Map,
    *,
    tag: str | None = None,
    pool: Where = None,
    options: Options | None = None,
    exist_ok: bool = False,
) -> Map:
    """Join the outputs of a map two by two, as `functools.reduce` does, when all are there: a map of one
    component.

    Everything else is as for `map`.

    Raises:
        InvalidInputs: `outputs` is no map.
    """
    import attrs

    chain = _chain_of((outputs,))
    if chain is None:
        raise InvalidInputs(
            f"reduce takes a map, and this is a {type(outputs).__name__}",
            hint="functools.reduce does it here",
        )
    check_callable(plain(func))
    chain = attrs.evolve(chain, whole=True)
    return _make(func, chain.inputs, chain.call, tag, pool, options, exist_ok, None, chain)


class MapBuilder(Builder["Map"]):
    """Records calls, and makes a map of them when its ``with`` block ends without an exception."""

    def __init__(
        self,
        func: Callable[..., Any],
        tag: str | None,
        pool: Where,
        options: Options | None,
        exist_ok: bool = False,
        memo: bool | None = None,
    ) -> None:
        super().__init__()
        self._func, self._tag, self._pool, self._options = func, tag, pool, options
        self._exist_ok, self._memo = exist_ok, memo

    def _made(self) -> Map:
        return _make(
            self._func,
            self._calls,
            "starmap",
            self._tag,
            self._pool,
            self._options,
            self._exist_ok,
            self._memo,
        )


def build_map(
    func: Callable[..., Any],
    *,
    tag: str | None = None,
    pool: Where = None,
    options: Options | None = None,
    exist_ok: bool = False,
    memo: bool | None = None,
    **unknown: NoReturn,
) -> MapBuilder:
    """Make a map call by call.

    ::

        with wingspan.build_map(simulate, tag="grid") as builder:
            for a in range(10):
                builder(a, seed=a + 1)
        m = builder.map
    """
    _refuse_unknown("build_map", unknown)
    check_callable(plain(func))
    return MapBuilder(func, tag, pool, options, exist_ok, memo)


@held()
def _make(
    func: Callable[..., Any],
    inputs: Iterable[Any],
    call: str,
    tag: str | None,
    pool: Where,
    options: Options | None,
    exist_ok: bool,
    memo: bool | None = None,
    chain: Chain | None = None,
    after: object = None,
) -> Map:
    settings = load_settings()
    func, layers, pool = _layers(func, options, pool)
    if chain is not None:
        if memo:
            raise SettingsError(
                "a chain's inputs are not there yet, so no earlier outputs can be found for them",
                hint="leave memo out",
            )
        memo = False
    if memo is not None:
        layers.append(Options(memo=memo))
    options = default_options(settings).merged(*layers)
    where, *further = several(pool)
    if chain is not None:
        where = chain.place(where)
    if further:
        _check_several([where, *further])
    if tag is not None:
        check_tag(tag)
        if _is_used(tag, exist_ok):
            from wingspan.maps._attach import attach

            found = attach(tag, func, inputs, call, options if layers else None)
            if chain is not None:
                chain.check_same(found)
            return found
    elif exist_ok:
        raise SettingsError("exist_ok takes up a map again by its tag, and none is given", hint='tag="sweep"')
    if not length_of(inputs):
        raise no_inputs()  # before a pool is started for nothing
    earlier = _earlier_ones(after)
    warmed = None if earlier else warm_up(where or settings.pool, options, inputs)
    try:
        return _new(func, inputs, call, tag, [where, *further], options, chain, earlier)
    finally:
        if warmed is not None:
            warmed.cool_down()


def _new(
    func: Callable[..., Any],
    inputs: Iterable[Any],
    call: str,
    tag: str | None,
    pools: Sequence[str | Pool | None],
    options: Options,
    chain: Chain | None,
    earlier: tuple[Earlier, ...],
) -> Map:
    """Make the map, which nobody has made before, in these pools; they are made ready here."""
    from wingspan.maps._create import create
    from wingspan.maps._functions import pickle_function

    function = pickle_function(func)  # a function that cannot travel is refused before a pool is started
    where, *further = pools
    with default_progress() as progress:
        # A map whose workers are all external needs no pool.
        external = options.workers == 0 and where is None
        chosen = get_pool("local") if external else ready_pool(where, progress)
        return create(
            func,
            function,
            inputs,
            call=call,
            tag=tag,
            pool=chosen,
            further=[ready_pool(one, progress) for one in further],
            options=options,
            progress=progress,
            chain=chain,
            after=earlier,
        )


def _check_several(pools: Sequence[str | Pool | None]) -> None:
    """See that a map can be in these pools, before one of them is made ready, which may take a minute.

    Raises:
        SettingsError: It cannot.
    """
    from wingspan.maps._several import check_together

    check_together([get_pool(one) if isinstance(one, str) else one for one in pools if one is not None])


def _earlier_ones(after: object) -> tuple[Earlier, ...]:
    """What is to be done before the map begins."""
    if after is None:
        return ()  # the usual case needs no further modules
    from wingspan.pools.following import earlier_ones

    return earlier_ones(after, find_named)


def _layers(
    func: Any, options: Options | None, pool: Where
) -> tuple[Callable[..., Any], list[Options], Where]:
    """The plain function, the options that were given with it and with the call, and the pool.

    Raises:
        SettingsError: `options` are none.
    """
    layers = [check_options(options)] if options is not None else []
    if not isinstance(func, Layered):
        return func, layers, pool
    own = [func.options] if func.options is not None else []
    return func.function, [*own, *layers], func.pool if pool is None else pool


def _is_used(tag: str, exist_ok: bool) -> bool:
    """There is a map with this tag, and it may be taken up again.

    Raises:
        TagExists: There is one, and it may not; or a run has the name.
    """
    if (runs_root() / tag).exists():
        raise TagExists(
            f"there is a run with the name {tag!r} already",
            hint=f"maps and runs share one set of names: choose another, or wingspan rm {tag}",
        )
    path = tags_root() / tag
    try:
        map_id = read_tag(path)
    except FileNotFoundError:
        return False
    if map_id is not None and (maps_root() / map_id).exists():
        if exist_ok:
            return True
        raise TagExists(
            f"there is a map with the tag {tag!r} already",
            hint=f"exist_ok=True takes it up again if function and inputs are the same; wingspan.load({tag!r}) opens it, "
            f"wingspan.remove({tag!r}) removes it and its results; or choose another tag",
        )
    path.unlink(missing_ok=True)  # its map was removed half-way, or the machine died while it was written
    return False
