"""What is loaded once in a process, for all components that it does: see `once`."""

import _thread
import os
import pickle
import types
import weakref

from . import absent

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Hashable, List, Tuple, TypeVar

    Loaded = TypeVar("Loaded")

#: What was loaded, and the function with its arguments: they live as long as their key, which may name them.
_loaded: "Dict[Hashable, Tuple[Any, Any]]" = {}
#: What a function closes over may change: its key is made when it is seen first.
_keys: "weakref.WeakKeyDictionary[types.FunctionType, Hashable]" = weakref.WeakKeyDictionary()
#: Functions that functions close over are looked into so deep.
MOST_NESTED = 4
#: How objects are hashed that are equal only to themselves.
_BY_IDENTITY: "Any" = object.__hash__
#: Who is loading: the thread, and the lock that others wait for.
_lock: "List[Any]" = [_thread.RLock()]


def _after_fork() -> "None":
    _lock[0] = _thread.RLock()  # another thread may have held it, and is not here


if hasattr(os, "register_at_fork"):  # Python 3.7
    os.register_at_fork(after_in_child=_after_fork)


def once(function: "Callable[..., Loaded]", *args: "Any", **kwargs: "Any") -> "Loaded":
    """What `function` returns for these arguments: it is called once in a process, and what it returned is
    kept for all components that the process does.

    For what takes long to load and is only read afterwards: a model, a table, a connection. A worker has one
    process that calls the map's function, and starts another only when that one dies. A call that raises is
    not kept.

    Args:
        function: Told from others by its code, and what it closes over.
        args: Told from others by their values: what can be hashed by hash and equality, everything else by
            its pickle.
        kwargs: As `args`.

    Raises:
        TypeError: An argument can neither be hashed nor pickled.

    >>> once(sum, [1, 2, 3]), once(sum, [1, 2, 3])
    (6, 6)
    """
    key = (_key_of_function(function), tuple(map(_key, args)), _key_of_names(kwargs))
    known = _loaded.get(key)
    if known is None:
        with _lock[0]:
            known = _loaded.get(key)
            if known is None:
                value = function(*args, **kwargs)
                known = _loaded[key] = value, (function, args, kwargs)
    value = known[0]
    return value


def _key_of_names(named: "Dict[str, Any]") -> "Hashable":
    return tuple((name, _key(named[name])) for name in sorted(named))


def _key_of_function(function: "Any", depth: "int" = 0) -> "Hashable":
    """A function that is defined anew for each component, or in each run of a notebook's cell, is the same
    as long as its code is, and what it closes over.
    """
    if type(function) is not types.FunctionType:
        return _key(function)
    known = _keys.get(function)
    if known is None:
        known = _keys[function] = _new_key_of_function(function, depth)
    return known


def _new_key_of_function(function: "types.FunctionType", depth: "int") -> "Hashable":
    if depth > MOST_NESTED:  # it may close over itself
        return function.__code__
    cells = []
    for cell in function.__closure__ or ():
        try:
            cells.append(_key(cell.cell_contents, depth + 1))
        except ValueError:
            cells.append(None)  # it is empty
    defaults = tuple(map(_key, function.__defaults__ or ()))
    named = _key_of_names(function.__kwdefaults__ or {})
    return function.__module__, function.__qualname__, function.__code__, tuple(cells), defaults, named


def _key(value: "Any", depth: "int" = 0) -> "Hashable":
    kind = type(value)
    if kind is types.FunctionType:
        return _key_of_function(value, depth)
    by_value = True
    try:
        hash(value)
        # Objects that are equal only to themselves come anew with each input.
        by_value = getattr(kind, "__hash__", None) is not _BY_IDENTITY
        if by_value:
            return kind, value  # with the class, as 1, 1.0 and True are equal
    except TypeError:
        pass
    try:
        return kind, pickle.dumps(value, 4)
    except Exception as error:
        if not by_value:
            return kind, value
        raise TypeError(
            "once cannot tell this %s from others: it can neither be hashed nor pickled (%s); "
            "give a path or a name instead" % (kind.__name__, error)
        )


absent.HERE["once"] = once
