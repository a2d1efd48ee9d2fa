"""Pickling the function: what the worker cannot import travels by value."""

from __future__ import annotations

import contextlib
import sys
import sysconfig
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from wingspan.maps._errors import NotPicklable
from wingspan.worker import compatibility
from wingspan.worker.pickling import PROTOCOL, culprit

__all__ = ["function_name", "own_modules_by_value", "pickle_function"]


def _installed_folders() -> tuple[str, ...]:
    paths = {*sysconfig.get_paths().values(), sys.base_prefix + "/lib", sys.prefix + "/lib"}
    try:
        import site

        paths.update(site.getsitepackages())
        paths.add(site.getusersitepackages())
    except (ImportError, AttributeError):
        pass
    return tuple(f"{Path(path).resolve()}/" for path in paths if path)


def _own_modules() -> list[Any]:
    """Modules of the user: imported from files that no package manager put there."""
    folders = _installed_folders()
    ours = str(Path(__file__).resolve().parents[1])
    own = []
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if not file or name == "__main__" or getattr(module, "__name__", None) != name:
            continue
        path = str(Path(file).resolve())
        if (
            not path.startswith((*folders, ours))
            and "/site-packages/" not in path
            and "/dist-packages/" not in path
        ):
            own.append(module)
    return own


@contextlib.contextmanager
def own_modules_by_value() -> Iterator[None]:
    """Within, cloudpickle pickles by value what comes from the user's own modules: the worker does not have them."""
    import cloudpickle

    registered = []
    known = cloudpickle.list_registry_pickle_by_value()
    for module in _own_modules():
        if module.__name__ not in known:
            cloudpickle.register_pickle_by_value(module)
            registered.append(module)
    try:
        yield
    finally:
        for module in registered:
            cloudpickle.unregister_pickle_by_value(module)


def function_name(function: Callable[..., Any]) -> str:
    """How to call the function in messages."""
    return getattr(function, "__qualname__", None) or getattr(type(function), "__qualname__", repr(function))


def pickle_function(function: Callable[..., Any]) -> bytes:
    """The contents of ``function.pkl``: who wrote it, then the pickle.

    Raises:
        NotPicklable: It holds something that cannot be pickled; the message names it.
    """
    import cloudpickle

    if not callable(function):
        raise NotPicklable(
            f"the first argument must be a function, not {type(function).__name__}",
            hint="wingspan.map(function, inputs)",
        )
    try:
        pickled = cloudpickle.dumps(function, protocol=PROTOCOL)
    except Exception as error:
        where, kind = culprit(function, f"function {function_name(function)!r}", cloudpickle.dumps)
        raise NotPicklable(
            f"{where} of type {kind} cannot be pickled: {error}",
            hint="make it inside the function, so that each worker makes its own",
        ) from error
    return compatibility.header(compatibility.this_interpreter()) + bytes(pickled)
