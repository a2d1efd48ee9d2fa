"""How the user's own modules travel to workers: as source, and with the globals that the source would not
make.

A function of an own module travels by name, together with the source of the module. So do packages, with all
their files, and modules that are imported inside of functions. The worker's side is `wingspan.worker.own`;
the rules stand in ``docs/values.md``.
"""

from __future__ import annotations

import dis
import functools
import importlib.machinery
import importlib.util
import io
import os
import re
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

from wingspan.maps._own_files import OF_WORKERS, Unit, is_own_file, locate, read_unit
from wingspan.worker.pickling import SIMPLE

__all__ = ["OwnCode", "named_in", "travels_by_value"]

_SOURCE_LOADERS = (importlib.machinery.SourceFileLoader, importlib.machinery.ExtensionFileLoader)
_DOTTED = re.compile(r"[^\W\d]\w*(?:\.[^\W\d]\w*)*")


# -- which modules -------------------------------------------------------------------------------------------


def _is_own(module: Any) -> bool:
    if not isinstance(module, ModuleType):
        return False
    file = getattr(module, "__file__", None)
    if isinstance(file, str):
        return is_own_file(file)
    paths = list(getattr(module, "__path__", ()) or ())
    return bool(paths) and all(isinstance(path, str) and is_own_file(f"{path}/x") for path in paths)


#: By name of a module: the module that was looked at, and whether it is the user's own.
_looked_at: dict[str, tuple[Any, bool]] = {}


def _facts(name: str) -> tuple[bool, bool]:
    """``(the module is the user's own, its source can travel)``."""
    module = sys.modules.get(name)
    known = _looked_at.get(name)
    if known is None or known[0] is not module:
        own = name.partition(".")[0] not in OF_WORKERS and _is_own(module)
        known = _looked_at[name] = (module, own)
    return known[1], known[1] and _has_source(module)


def _has_source(module: Any) -> bool:
    spec = getattr(module, "__spec__", None)
    if spec is None or spec.name != module.__name__:
        return False
    if "." in spec.name and spec.name.rpartition(".")[0] not in sys.modules:
        return False  # made from a file under a name that no import finds: its packages are not there
    if spec.origin is None or not spec.has_location:
        return spec.submodule_search_locations is not None  # a namespace package
    if type(spec.loader) not in _SOURCE_LOADERS or not Path(spec.origin).is_file():
        return False
    return not isinstance(spec.loader, importlib.machinery.SourceFileLoader) or _code(module) is not None


def travels_by_value(module: str) -> bool:
    """What this module defines travels by value: workers cannot import it, and its source does not say what
    is in it."""
    from wingspan.worker.values import stays_by_value

    if stays_by_value(module):
        return True
    own, has_source = _facts(module)
    if own:
        return not has_source
    if _is_made_by_hand(module):
        return True
    import cloudpickle

    registered = cloudpickle.list_registry_pickle_by_value()
    return bool(registered) and any(module == name or module.startswith(f"{name}.") for name in registered)


def _is_made_by_hand(name: str) -> bool:
    """The module was not imported but made with types.ModuleType: it has no file, and belongs to no
    package."""
    module = sys.modules.get(name)
    return (
        type(module) is ModuleType
        and module.__spec__ is None
        and module.__loader__ is None
        and not hasattr(module, "__file__")
        and getattr(sys.modules.get(name.partition(".")[0]), "__spec__", None) is None
    )


class _ExactLoader(importlib.machinery.SourceFileLoader):
    """Compiles a source file, or takes the byte code that is there already.

    Python takes byte code that was compiled from an older file of the same second; this loader does not.
    """

    def __init__(self, name: str, path: str, mtime_ns: int) -> None:
        super().__init__(name, path)
        self._mtime_ns = mtime_ns

    def get_data(self, path: Any) -> bytes:
        if path != self.path and os.stat(path).st_mtime_ns < self._mtime_ns:  # noqa: PTH116 - for every own module
            raise OSError("compiled before the source was written")
        return super().get_data(path)


@functools.lru_cache(maxsize=5_000)
def _code_of_file(loader_name: str, path: str, mtime_ns: int, size: int) -> CodeType | None:
    try:
        return _ExactLoader(loader_name, path, mtime_ns).get_code(loader_name)
    except (SyntaxError, ImportError, OSError, ValueError):
        return None


def _code(module: Any) -> CodeType | None:
    """The code in the module's source as it is now."""
    path = module.__spec__.origin
    try:
        facts = os.stat(path)  # noqa: PTH116 - for every own module of every map
    except OSError:
        return None
    return _code_of_file(module.__name__, path, facts.st_mtime_ns, facts.st_size)


# -- their globals -------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=5_000)
def _constants(code: CodeType) -> dict[str, Any]:
    """Names that a module or a class assigns exactly once, to a constant or an empty list or dict."""
    found: dict[str, Any] = {}
    stored: set[str] = set()
    before: Any = None
    for step in dis.get_instructions(code):
        if step.opname == "STORE_NAME":
            if step.argval in stored or before is None:
                found.pop(step.argval, None)
            elif before.opname in ("LOAD_CONST", "LOAD_SMALL_INT"):
                found[step.argval] = before.argval
            elif before.opname in ("BUILD_LIST", "BUILD_MAP") and before.arg == 0:
                found[step.argval] = [] if before.opname == "BUILD_LIST" else {}
            stored.add(step.argval)
        before = step
    return found


@functools.lru_cache(maxsize=5_000)
def _inner(code: CodeType) -> tuple[frozenset[CodeType], frozenset[str], dict[str, CodeType]]:
    """What is in a module: all its code, the names that its functions use, and its top functions and
    classes."""
    from wingspan.worker.anatomy import codes_of

    every = frozenset(one for one in codes_of(code) if one is not code)
    names = frozenset(name for one in every for name in one.co_names)
    top = {one.co_name: one for one in code.co_consts if isinstance(one, CodeType)}
    return every, names, top


_CONTAINERS = (dict, list, set, frozenset, tuple, bytearray)


def _is_data(value: Any) -> bool:
    """The value may have changed since its module was imported."""
    kind = type(value)
    if kind in SIMPLE or isinstance(value, _CONTAINERS):
        return True
    if isinstance(value, type | ModuleType | FunctionType | BuiltinFunctionType | io.IOBase):
        return False
    # Not imported for this, as that takes a while: where it is not, there is no logger.
    logging = sys.modules.get("logging")
    if logging is not None and isinstance(value, logging.Logger):
        return False
    # Generators of random numbers are made anew, with all that is typing's.
    return kind.__module__ not in (
        "typing",
        "random",
        "functools",
        "contextvars",
    ) and not kind.__module__.startswith(("numpy.random", "weakref"))


def _is_below(value: Any, roots: Iterable[str]) -> bool:
    """The value is a path that tells where the module lies: on the worker it will be another."""
    text = os.fspath(value) if isinstance(value, str | os.PathLike) else None
    return isinstance(text, str) and any(text == root or text.startswith(f"{root}/") for root in roots)


class OwnCode:
    """Collects what the pickles of one map need of the user's own modules.

    Attributes:
        names: Modules that pickles name.
        codes: Code that travels by value.
    """

    def __init__(self, tops: Iterable[str] = ()) -> None:
        self.names: set[str] = set()
        self.codes: list[CodeType] = []
        #: Names of the top modules that `pack` has packed.
        self.packed: frozenset[str] = frozenset()
        self._by_value: dict[str, bool] = {}
        self._tops = set(tops)

    def by_value(self, module: str) -> bool:
        """`travels_by_value`, asked once for all pickles of a map."""
        known = self._by_value.get(module)
        if known is None:
            known = self._by_value[module] = travels_by_value(module)
        return known

    def saw(self, module: str) -> None:
        """A pickle names something of `module`."""
        if module not in self.names and _facts(module)[0]:
            self.names.add(module)

    def tops(self) -> set[str]:
        """Names of the top modules that pickles, and code that travels by value, refer to."""
        found = self._tops | {name.partition(".")[0] for name in self.names}
        for code in self.codes:
            found |= named_in(code)
        return found

    def uses(self, name: str) -> bool:
        """Whether code that travels, by value or in own modules that are imported here, uses this name."""
        from wingspan.worker.anatomy import codes_of

        if any(name in one.co_names for code in self.codes for one in codes_of(code)):
            return True
        tops = set(self.packed)
        return bool(tops) and any(name in _inner(code)[1] for _, code in self._loaded(tops))

    def _loaded(self, tops: set[str]) -> Iterator[tuple[Any, CodeType]]:
        """Own modules of these top ones that are imported here, and the code in their sources."""
        for module_name, module in list(sys.modules.items()):
            if module_name.partition(".")[0] in tops and _facts(module_name)[1]:
                code = _code(module) if getattr(module, "__file__", None) else None
                if code is not None:
                    yield module, code

    def pack(self) -> dict[str, Any] | None:
        """What a worker is told (see `wingspan.worker.own`), as plain values.

        None if no own module is needed.
        """
        units: dict[str, list[Unit]] = {}
        wanted = self.tops()
        seen: set[str] = set()
        while wanted - seen:
            top = (wanted - seen).pop()
            seen.add(top)
            file, folders = locate(top)
            if file is None and not folders:
                continue
            units[top] = [read_unit(top, file, folder) for folder in folders or [None]]  # type: ignore[list-item]
            for unit in units[top]:
                wanted |= unit.imports
        self.packed = frozenset(units)
        if not units:
            return None
        roots: list[str] = sorted({unit.root for those in units.values() for unit in those})
        modules: dict[str, tuple[int, str, str]] = {}
        files: dict[tuple[int, str], tuple[int, bytes]] = {}
        for those in units.values():
            for unit in those:
                number = roots.index(unit.root)
                for name, (relative, kind) in unit.modules.items():
                    modules.setdefault(name, (number, relative, kind))
                for relative, content in unit.files.items():
                    files[number, relative] = content
        return {
            "roots": roots,
            "modules": modules,
            "files": files,
            "state": self._state(set(units), roots),
            "wingspan": "wingspan" in wanted,
        }

    # -- what is another than the source says ----------------------------------------------------------------

    def _state(self, tops: set[str], roots: list[str]) -> dict[str, list[tuple[str, bytes]]]:
        loaded = list(self._loaded(tops))
        codes = {module.__name__: code for module, code in loaded}
        used: set[str] = {name for code in self.codes for name in code.co_names}
        for code in codes.values():
            used |= _inner(code)[1]
        state = {}
        for module, code in loaded:
            changes = list(self._changes(module, code, used, roots))
            if changes:
                state[module.__name__] = changes
        return state

    def _changes(
        self, module: ModuleType, code: CodeType, used: set[str], roots: list[str]
    ) -> Iterator[tuple[str, bytes]]:
        constants = _constants(code)
        every, _, top = _inner(code)
        for name, value in list(vars(module).items()):
            if name.startswith("__"):
                continue
            if isinstance(value, type):
                if value.__module__ == module.__name__ and value.__qualname__ == name:
                    for attribute, pickled in self._class_changes(module, value, top.get(name), every, used):
                        yield f"{name}.{attribute}", pickled
                elif self.by_value(value.__module__):
                    yield from self._pickled(name, value)
            elif isinstance(value, FunctionType):
                if self._is_replaced(module, name, value, every, top):
                    yield from self._pickled(name, value)
            elif (
                name in used
                and _is_data(value)
                and not _is_below(value, roots)
                and not (name in constants and _same(constants[name], value))
            ):
                yield from self._pickled(name, value)

    def _class_changes(
        self,
        module: ModuleType,
        kind: type,
        body: CodeType | None,
        every: frozenset[CodeType],
        used: set[str],
    ) -> Iterator[tuple[str, bytes]]:
        import enum

        if issubclass(kind, enum.Enum):
            return
        constants = _constants(body) if body is not None else {}
        slots = getattr(kind, "__slots__", ())
        for name, value in list(vars(kind).items()):
            if isinstance(value, FunctionType):
                if self._is_replaced(module, name, value, every, {}):
                    yield from self._pickled(name, value)
            elif (
                name in used
                and not name.startswith(("__", "_abc_"))
                and name not in slots
                and (type(value) in SIMPLE or isinstance(value, _CONTAINERS))
                and not (name in constants and _same(constants[name], value))
            ):
                yield from self._pickled(name, value)

    def _is_replaced(
        self,
        module: ModuleType,
        name: str,
        function: FunctionType,
        every: frozenset[CodeType],
        top: dict[str, CodeType],
    ) -> bool:
        """The function is not what the source makes: somebody has replaced it, or its file has changed on
        disk."""
        if function.__code__ in every:
            return False
        if function.__globals__ is vars(module):
            return function.__code__.co_filename == module.__file__
        if self.by_value(str(function.__globals__.get("__name__"))):
            return True
        wrapped: Any = function
        while wrapped is not None:
            if getattr(wrapped, "__code__", None) in every:
                return False
            wrapped = getattr(wrapped, "__wrapped__", None)
        return name in top

    def _pickled(self, name: str, value: Any) -> Iterator[tuple[str, bytes]]:
        from wingspan.worker.pickling import Dumper

        try:
            dumper = Dumper(by_value=self.by_value, spread=True, on_own=self.saw, forced=value)
            yield name, dumper.dumps(value)
        except Exception:  # noqa: BLE001 - a lock, a connection: what the worker makes when it imports the module has to do
            return


def _same(constant: Any, value: Any) -> bool:
    try:
        return type(constant) is type(value) and bool(constant == value)
    except Exception:  # noqa: BLE001 - objects of the user's may raise anything
        return False


@functools.lru_cache(maxsize=5_000)
def named_in(code: CodeType) -> frozenset[str]:
    """Names of the top modules that the code imports, or that it names in a string for importlib."""
    from wingspan.worker.anatomy import codes_of

    found = set()
    for one in codes_of(code):
        for step in dis.get_instructions(one):
            if step.opname == "IMPORT_NAME" and step.argval:
                found.add(step.argval.partition(".")[0])
        for constant in one.co_consts:
            if isinstance(constant, str) and len(constant) < 200 and _DOTTED.fullmatch(constant):
                found.add(constant.partition(".")[0])
    return frozenset(found)
