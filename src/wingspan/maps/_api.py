"""The functions that make, find and remove maps."""

from __future__ import annotations

import itertools
import os
import shutil
import time
from collections.abc import Callable, Iterable, Mapping, Sized
from pathlib import Path
from types import TracebackType
from typing import Any

from wingspan.errors import PoolError, SettingsError, WingspanError
from wingspan.maps._delivery import Delivery, check_python, keep, prepare
from wingspan.maps._display import default_progress
from wingspan.maps._errors import InvalidInputs, MapError, NotPicklable, TagDamaged, TagExists, TagNotFound
from wingspan.maps._folder import (
    MapFolder,
    create_map_folder,
    maps_root,
    read_submissions,
    submission_of,
    tags_root,
)
from wingspan.maps._functions import function_name, own_modules_by_value, pickle_function
from wingspan.maps._map import Map
from wingspan.maps._options import Options
from wingspan.maps._tags import check_tag, find_tag, list_tags, new_tag, read_tag, remove_tag, write_tag
from wingspan.pools import Pool, choose_pool, get_pool
from wingspan.progress import Progress
from wingspan.settings import Settings, load_settings
from wingspan.worker import compatibility, formats

__all__ = ["MapBuilder", "build_map", "clean", "load", "load_maps", "map", "remove", "starmap", "tags"]

_told: set[str] = set()
#: A folder that is being made for longer than this was left behind by a crash (s).
_STALE = 24 * 3600.0


def map(
    func: Callable[[Any], Any],
    inputs: Iterable[Any],
    *,
    tag: str | None = None,
    pool: str | Pool | None = None,
    options: Options | None = None,
) -> Map:
    """Apply `func` to each of `inputs`, on a pool.

    Returns at once; the outputs come with iterating, indexing or `Map.wait`. The map outlives this session: ``wingspan.load(tag)``
    finds it again.

    Args:
        func: Takes one input. It may be a lambda, a closure, or come from your own module: it travels by value.
        inputs: Any iterable, a generator too; read once, streamed to disk.
        tag: Name of the map. None: one is made up, and `clean` removes the map.
        pool: ``"personal"``, ``"htcondor"``, ``"local"``, or a `Pool`; None chooses (see ``wingspan doctor``).
        options: What each worker gets.

    Raises:
        EmptyMap: `inputs` has none.
        InvalidTag, TagExists: The tag cannot be had.
        NotPicklable: The function or an input cannot travel; the message says what in it.
        PoolError: The pool that was named cannot be used.
    """
    _check_callable(func)
    return _make(func, _iterable(inputs), "map", tag, pool, options)


def starmap(
    func: Callable[..., Any],
    args: Iterable[Iterable[Any]] | None = None,
    kwargs: Iterable[Mapping[str, Any]] | None = None,
    *,
    tag: str | None = None,
    pool: str | Pool | None = None,
    options: Options | None = None,
) -> Map:
    """Apply `func` to each of `args` (positional arguments) and `kwargs` (keyword arguments) together, on a pool.

    The shorter of the two is filled up with nothing. Everything else is as for `map`.
    """
    _check_callable(func)
    if args is None and kwargs is None:
        raise SettingsError(
            "a starmap needs args, kwargs or both", hint="wingspan.starmap(f, [(1, 2), (3, 4)])"
        )
    pairs = itertools.zip_longest(_iterable(args or ()), _iterable(kwargs or ()))
    calls = (_call(number, given, named) for number, (given, named) in enumerate(pairs))
    return _make(func, calls, "starmap", tag, pool, options)


def _check_callable(func: Any) -> None:
    if not callable(func):
        raise NotPicklable(
            f"the first argument must be a function, not {type(func).__name__}",
            hint="wingspan.map(function, inputs)",
        )


def _iterable(inputs: Iterable[Any]) -> Iterable[Any]:
    try:
        iter(inputs)
    except TypeError:
        raise InvalidInputs(
            f"inputs of type {type(inputs).__name__} cannot be iterated over",
            hint=f"a map of one: [{inputs!r:.40}]",
        ) from None
    return inputs


def _call(number: int, given: Any, named: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """The arguments of one component of a starmap."""
    try:
        args = tuple(given or ())
    except TypeError:
        raise InvalidInputs(
            f"args {number} is {given!r:.60}, not a tuple of arguments",
            hint="wingspan.starmap(f, [(1,), (2,)])",
        ) from None
    try:
        kwargs = dict(named or {})
    except (TypeError, ValueError):
        raise InvalidInputs(
            f"kwargs {number} is {named!r:.60}, not a dict of arguments",
            hint='wingspan.starmap(f, kwargs=[{"x": 1}])',
        ) from None
    return args, kwargs


class MapBuilder:
    """Records calls, and makes a map of them when its ``with`` block ends without an exception."""

    def __init__(
        self, func: Callable[..., Any], tag: str | None, pool: str | Pool | None, options: Options | None
    ) -> None:
        self._func, self._tag, self._pool, self._options = func, tag, pool, options
        self._calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
        self._map: Map | None = None

    def __call__(self, *args: Any, **kwargs: Any) -> None:
        """Record one component: ``func(*args, **kwargs)``."""
        self._calls.append((args, kwargs))

    def __len__(self) -> int:
        return len(self._calls)

    @property
    def map(self) -> Map:
        """The map, once the block has ended.

        Raises:
            MapError: It has not.
        """
        if self._map is None:
            raise MapError("the map is not made yet", hint="it is made when the with block ends")
        return self._map

    def __enter__(self) -> MapBuilder:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            self._map = _make(self._func, self._calls, "starmap", self._tag, self._pool, self._options)


def build_map(
    func: Callable[..., Any],
    *,
    tag: str | None = None,
    pool: str | Pool | None = None,
    options: Options | None = None,
) -> MapBuilder:
    """Make a map call by call::

    with wingspan.build_map(simulate, tag="grid") as builder:
        for a in range(10):
            builder(a, seed=a + 1)
    m = builder.map
    """
    return MapBuilder(func, tag, pool, options)


def _make(
    func: Callable[..., Any],
    inputs: Iterable[Any],
    call: str,
    tag: str | None,
    pool: str | Pool | None,
    options: Options | None,
) -> Map:
    from wingspan.pools.zipapp import worker_zipapp

    settings = load_settings()
    if options is None:
        options = _default_options(settings)
    elif not isinstance(options, Options):
        raise SettingsError(
            f"options is a {type(options).__name__}", hint="write options=wingspan.Options(request_cpus=2)"
        )
    tags_folder = tags_root()
    if tag is not None:
        check_tag(tag)
        _refuse_used(tags_folder, tag)
    with own_modules_by_value():
        function = pickle_function(func)
    progress = default_progress()
    chosen = _resolve(pool, progress)
    archive = worker_zipapp()
    try:
        if options.environment is None:
            chosen.warm_up(archive, options.workers or _length(inputs))
        return _create(func, function, inputs, call, tag, chosen, options, archive, progress)
    finally:
        chosen.cool_down()


def _default_options(settings: Settings) -> Options:
    """The options of the configuration file; what is wrong in them is wrong there."""
    try:
        return Options(**settings.options)
    except SettingsError as error:
        raise type(error)(f"{settings.config_file}, [options]: {error.message}", hint=error.hint) from None


def _length(inputs: Iterable[Any]) -> int:
    return len(inputs) if isinstance(inputs, Sized) else 1_000_000


def _create(
    func: Callable[..., Any],
    function: bytes,
    inputs: Iterable[Any],
    call: str,
    tag: str | None,
    chosen: Pool,
    options: Options,
    archive: Path,
    progress: Progress,
) -> Map:
    from wingspan._version import __version__

    tags_folder, transient = tags_root(), tag is None
    delivery = prepare(options, chosen, progress)
    map_id = f"{time.strftime('%Y%m%d-%H%M%S')}-{os.urandom(4).hex()}"
    tag = tag or new_tag(tags_folder)
    folder = create_map_folder(
        map_id=map_id,
        function=function,
        inputs=inputs,
        info={
            "tag": tag,
            "transient": transient,
            "function": function_name(func),
            "call": call,
            "pool": chosen.kind,
            "options": options.as_dict(),
            "retries": options.retries,
            "interpreter": compatibility.this_interpreter(),
            "lease_seconds": float(os.environ.get("WINGSPAN_LEASE_SECONDS", formats.LEASE_SECONDS)),
            "wingspan": __version__,
            "environment": delivery.facts if delivery else None,
        },
        archive=archive,
        workers=lambda count: min(count, options.workers or chosen.default_workers(count)),
        block_size=options.block_size,
        progress=progress,
        before_it_is_in_place=(lambda path, holds_code: _deliver(delivery, path, holds_code))
        if delivery
        else None,
    )
    try:
        write_tag(tags_folder, tag, map_id)
        made = Map(folder)
        made._keeper.add_workers(int(folder.info["workers"]), chosen)
    except BaseException:
        remove_tag(tags_folder, tag, map_id)
        shutil.rmtree(folder.path, ignore_errors=True)
        raise
    return made


def _deliver(delivery: Delivery, folder: Path, holds_code: bool) -> None:
    check_python(delivery, holds_code)
    keep(delivery, folder)


def _refuse_used(tags_folder: Path, tag: str) -> None:
    if (load_settings().data_dir / "runs" / tag).exists():
        raise TagExists(
            f"there is a run with the name {tag!r} already",
            hint=f"maps and runs share one set of names: choose another, or wingspan rm {tag}",
        )
    path = tags_folder / tag
    try:
        map_id = read_tag(path)
    except FileNotFoundError:
        return
    if map_id is not None and (maps_root() / map_id).exists():
        raise TagExists(
            f"there is a map with the tag {tag!r} already",
            hint=f"wingspan.load({tag!r}) opens it, wingspan.remove({tag!r}) removes it; or choose another tag",
        )
    path.unlink(missing_ok=True)  # its map was removed half-way, or the machine died while it was written


def _resolve(pool: str | Pool | None, progress: Any) -> Pool:
    if pool is not None and not isinstance(pool, str):
        pool.make_ready(progress)
        return pool
    choice = choose_pool(pool, progress)
    if choice.is_fallback and choice.reason not in _told:
        _told.add(choice.reason)
        import logging

        logging.getLogger("wingspan").warning(choice.reason)
    return choice.pool


def load(tag: str) -> Map:
    """The map with this tag, made in whichever session.

    Raises:
        TagNotFound: There is none.
        MapDamaged: Its folder lacks something.
    """
    map_id = find_tag(tags_root(), tag)
    path = maps_root() / map_id
    if not path.is_dir():
        remove_tag(tags_root(), tag, map_id)
        raise TagNotFound(
            f"the map with the tag {tag!r} was removed", hint="wingspan maps lists those there are"
        )
    return Map(MapFolder(path))


def tags(pattern: str | None = None) -> tuple[str, ...]:
    """Tags of all maps, sorted; with a shell `pattern` (``*``, ``?``, ``[…]``) those that match."""
    return list_tags(tags_root(), pattern)


def load_maps(pattern: str | None = None) -> tuple[Map, ...]:
    """All maps whose tag matches, by tag."""
    return tuple(load(tag) for tag in tags(pattern))


def load_folder(path: str) -> Map:
    """The map in this folder: what a pickled `Map` becomes."""
    return Map(MapFolder(Path(path)))


def remove(tag: str, *, missing_ok: bool = False, force: bool = False) -> None:
    """Remove a map: its jobs, its results and its tag. A damaged map can be removed too.

    Args:
        tag: Its tag.
        missing_ok: Do nothing if there is none.
        force: Remove the data even where the scheduler does not answer.

    Raises:
        TagNotFound: There is none, and `missing_ok` is false.
    """
    try:
        found = load(tag)
    except TagNotFound:
        if not missing_ok:
            raise
        return
    except TagDamaged:
        (tags_root() / tag).unlink(missing_ok=True)
        return
    except MapError:
        _remove_damaged(tag, force)
        return
    found.remove(force=force)


def _remove_damaged(tag: str, force: bool) -> None:
    """Remove a map of which map.json or key cannot be read; its jobs are known from a file of their own."""
    map_id = find_tag(tags_root(), tag)
    path = maps_root() / map_id
    for entry in read_submissions(path):
        try:
            submission = submission_of(entry)
            get_pool(submission.pool, entry.get("place")).act(
                "remove", [submission], path, "its map was removed"
            )
        except PoolError:
            if not force:
                raise
    remove_tag(tags_root(), tag, map_id)
    shutil.rmtree(path, ignore_errors=True)


def _is_at_rest(found: Map) -> bool:
    """Nobody named it, and no job works on it."""
    if not found.is_transient:
        return False
    found._keeper.refresh()
    return found._keeper.finished or not found._keeper.jobs.live()


def clean(*, all: bool = False) -> tuple[str, ...]:
    """Remove the maps that nobody named and that are at rest (with `all`, every map), and what crashes left behind.

    Returns:
        The tags of the removed maps.
    """
    removed = []
    for tag in tags():
        try:
            doomed = all or _is_at_rest(load(tag))
        except TagNotFound:
            continue
        except WingspanError:
            doomed = all
        if doomed:
            remove(tag, missing_ok=True)
            removed.append(tag)
    root = maps_root()
    named = {read_tag(tags_root() / tag) for tag in tags()}
    for path in root.iterdir() if root.exists() else ():
        left_behind = path.name.startswith((".new-", ".removed-")) or path.name not in named
        if left_behind and time.time() - path.stat().st_mtime > _STALE:
            shutil.rmtree(path, ignore_errors=True)
    return tuple(removed)
