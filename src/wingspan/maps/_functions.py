"""Pickling the function: what the worker cannot import travels by value."""

from __future__ import annotations

import contextlib
import functools
import os
import sys
import sysconfig
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from wingspan.maps._errors import MapError, NotPicklable
from wingspan.maps._pickled import PickledFunction
from wingspan.worker.pickling import Dumper, culprit

__all__ = ["adopt_classes", "function_name", "own_modules_by_value", "pickle_function", "travelled_classes"]


@functools.cache
def _installed_folders() -> tuple[str, ...]:
    """Folders whose modules a package manager put there, and our own."""
    paths = {*sysconfig.get_paths().values(), sys.base_prefix + "/lib", sys.prefix + "/lib"}
    try:
        import site

        paths.update(site.getsitepackages())
        paths.add(site.getusersitepackages())
    except (ImportError, AttributeError):
        pass
    paths.add(str(Path(__file__).parents[1]))
    folders = {f"{path}/" for path in paths if path} | {f"{Path(path).resolve()}/" for path in paths if path}
    return tuple(sorted(folders))


@functools.lru_cache(maxsize=10_000)
def is_own_file(file: str) -> bool:
    """The user's own: from a file that no package manager put there."""
    return not (file.startswith("<") or _is_installed(file) or _is_installed(os.path.realpath(file)))


def _is_installed(path: str) -> bool:
    return path.startswith(_installed_folders()) or "/site-packages/" in path or "/dist-packages/" in path


#: What a component that makes a map itself finds imported from its worker's archive (see `wingspan.pools.zipapp`): every worker has it.
_OF_WORKERS = frozenset({"cloudpickle", "htchirp", "wingspan_worker"})
#: Modules imported when `_own_modules` looked last, and what it found.
_seen: tuple[int, str, list[Any]] = (0, "", [])


def _own_modules() -> list[Any]:
    """Modules of the user."""
    global _seen  # noqa: PLW0603 - a cache of one
    newest = list(sys.modules)[-1]  # in one step, whatever other threads import
    if _seen[:2] != (len(sys.modules), newest):
        _seen = (len(sys.modules), newest, _look_for_own_modules())
    return _seen[2]


def _look_for_own_modules() -> list[Any]:
    return [
        module
        for name, module in list(sys.modules.items())
        if isinstance(module, ModuleType)
        and name != "__main__"
        and name.partition(".")[0] not in _OF_WORKERS
        and isinstance(file := getattr(module, "__file__", None), str)
        and getattr(module, "__name__", None) == name
        and is_own_file(file)
    ]


#: How many `own_modules_by_value` there are at this moment for each module that is registered, by its name: one a thread that makes a map.
_users: Counter[str] = Counter()
_registry_lock = threading.Lock()


@contextlib.contextmanager
def own_modules_by_value() -> Iterator[None]:
    """Within, cloudpickle pickles by value what comes from the user's own modules: the worker does not have them."""
    import cloudpickle

    own = _own_modules()
    with _registry_lock:
        known = cloudpickle.list_registry_pickle_by_value() if own else ()
        registered = [module for module in own if module.__name__ in _users or module.__name__ not in known]
        for module in registered:
            if not _users[module.__name__]:
                cloudpickle.register_pickle_by_value(module)
            _users[module.__name__] += 1
    try:
        yield
    finally:
        with _registry_lock:
            for module in registered:
                _users[module.__name__] -= 1
                if not _users[module.__name__]:
                    del _users[module.__name__]
                    cloudpickle.unregister_pickle_by_value(module)


def _trackers() -> tuple[Any, Any] | None:
    """cloudpickle's two tables of classes that travelled by value; None if this version has none."""
    from cloudpickle import cloudpickle

    by_id = getattr(cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_ID", None)
    by_class = getattr(cloudpickle, "_DYNAMIC_CLASS_TRACKER_BY_CLASS", None)
    return None if by_id is None or by_class is None else (by_id, by_class)


def travelled_classes() -> dict[str, tuple[str, str]]:
    """Classes that were pickled by value here: cloudpickle's name for each -> module and qualified name."""
    trackers = _trackers()
    if trackers is None:
        return {}
    return {
        name: (kind.__module__, kind.__qualname__)
        for kind, name in list(trackers[1].items())
        if isinstance(kind, type) and "<locals>" not in kind.__qualname__
    }


def adopt_classes(classes: Mapping[str, Sequence[str]]) -> None:
    """Let objects that come back be of this session's classes, where their module is imported.

    Within the session that made the map cloudpickle sees to that; in another one ``except mymodule.MyError`` would meet a second class of the
    same name.
    """
    trackers = _trackers() if classes else None
    if trackers is None:
        return
    for name, (module, qualified_name) in classes.items():
        found: Any = sys.modules.get(module)
        for part in qualified_name.split("."):
            found = getattr(found, part, None)
        if isinstance(found, type) and trackers[0].get(name) is not found:
            trackers[0][name] = found
            trackers[1][found] = name


def function_name(function: Callable[..., Any]) -> str:
    """How to call the function in messages."""
    return str(getattr(function, "__qualname__", None) or type(function).__qualname__)


def pickle_function(function: Callable[..., Any], pickled: PickledFunction) -> None:
    """Pickle the function.

    Raises:
        NotPicklable: It holds something that cannot be pickled; the message names it.
    """
    dumper = Dumper()
    try:
        dumper.dump(function, pickled.write)
    except MapError:
        raise
    except Exception as error:
        where, kind = culprit(function, f"function {function_name(function)}", dumper.try_out)
        raise NotPicklable(
            f"{where} of type {kind} cannot be pickled: {error}",
            hint="make it inside the function, so that each worker makes its own",
        ) from error
