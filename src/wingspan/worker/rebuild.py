"""The functions that our pickles call when they are read.

They build classes, functions and exceptions, or find those that the reader has.

The rules stand in ``docs/values.md``. Two of them are implemented here. *The reader's own class wins*: a
session finds it by its name, a worker, where two classes may have one name, by the key that it travels with.
*What is known already is not changed.*

Pickles name this module by `NAME`, under which it is registered, because it is part of `wingspan` in a
session, and part of the archive on a worker. Any Wingspan must be able to read the pickles of another one: no
name may go from here, though `building` and `rebuild_classes` hold what stands behind some.
"""

import builtins
import marshal
import os
import sys
import types
import weakref

from .building import (
    CODE_MARKS,
    begin,
    end,
    find_known,
    has_key,
    holds_code,
    is_stand_in,
    key_of,
    load,
    loads,
    lock,
    lookup,
    made_modules,
    on_worker,
    publish,
    remember,
    stand_ins,
)
from .rebuild_classes import (
    _Discarded,
    _State,
    class_by_value,
    enum_member,
    exception,
    new_member,
    set_attributes,
    set_class,
    set_exception,
    set_member,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

#: What stands in the other two modules, and is found here: by pickles, and by those who ask.
__all__ = [
    "CODE_MARKS",
    "_Discarded",
    "_State",
    "class_by_value",
    "enum_member",
    "exception",
    "holds_code",
    "is_stand_in",
    "key_of",
    "load",
    "loads",
    "lookup",
    "new_member",
    "on_worker",
    "set_attributes",
    "set_class",
    "set_exception",
    "set_member",
    "stand_ins",
]

NAME = "wingspan_rebuild"
_context_variables: "Dict[str, Any]" = {}
#: What gets the files of a component, where this process executes components that have some (see `arriving`).
arrivals: "List[Any]" = [None]
#: What fetches values that lie in a store (see `stored`): an executor and a session each put in theirs.
stores: "List[Any]" = [None]
#: Objects without a state that belong to no module here, by module and name.
_sentinels: "Dict[Tuple[str, str], Any]" = {}

# -- modules and namespaces ----------------------------------------------------------------------------------


def namespace(module: "str", facts: "Dict[str, Any]", importable: "bool") -> "Dict[str, Any]":
    """The globals of functions that travel by value.

    In a session they are a separate dict, so that a component's changes to its globals stay there. On a
    worker they are those of the module, which is made if it cannot be imported.

    Args:
        module: Its name.
        facts: ``__name__``, ``__file__`` and the like.
        importable: Whether the module itself travels as source or is installed, and only this function does
            not.
    """
    if not on_worker[0]:
        return dict(facts)
    if importable:
        try:
            __import__(module)
            return vars(sys.modules[module])
        except ImportError:
            return dict(facts)
    made = _stand_in(module, facts)
    return dict(facts) if made is None else vars(made)


def _stand_in(module: "str", facts: "Dict[str, Any]") -> "Optional[types.ModuleType]":
    with lock:
        made = made_modules.get(module)
        if made is None:
            if module != "__main__" and (module in sys.modules or _comes_as_source(module)):
                return None  # there is another module of this name, or one can be imported
            made = made_modules[module] = types.ModuleType(module)
            if module == "__main__":
                made.__dict__["__spec__"] = None
            sys.modules[module] = made
        for name, value in facts.items():
            if vars(made).get(name) is None:
                vars(made)[name] = value
        return made


def _comes_as_source(module: "str") -> "bool":
    """Whether the map has an own module of this name, besides that of a function that travels by value."""
    return any(
        module in getattr(finder, "modules", ())
        for finder in sys.meta_path
        if type(finder).__module__.endswith("worker.own")
    )


def stand_in_for_main(module: "types.ModuleType") -> "None":
    """Use `module` to build the user's ``__main__`` in."""
    made_modules["__main__"] = sys.modules["__main__"] = module


def module_by_value(module: "str") -> "types.ModuleType":
    """Make a module that travels by value. Its state follows."""
    if not on_worker[0] and module in sys.modules:
        return sys.modules[module]
    made = (_stand_in(module, {}) if on_worker[0] else None) or types.ModuleType(module)
    begin(made)
    return made


def set_module(
    module: "types.ModuleType", state: "Tuple[Dict[str, Any], Dict[str, str]]"
) -> "types.ModuleType":
    if not end(module):
        return module
    values, missing = state
    for name, value in values.items():
        vars(module).setdefault(name, value)
    if missing:
        vars(module).setdefault("__getattr__", _Missing(module.__name__, missing))
    return module


class _Missing(object):
    """Explains why a name of a module that travelled by value is missing."""

    def __init__(self, module: "str", reasons: "Dict[str, str]") -> "None":
        self._module, self._reasons = module, reasons

    def __call__(self, name: "str") -> "Any":
        reason = self._reasons.get(name)
        told = ": it could not travel (%s)" % reason if reason else ""
        raise AttributeError("module %r has no attribute %r%s" % (self._module, name, told))


def by_path(module: "str", path: "str") -> "Any":
    """Import a module and return the object with this name."""
    __import__(module)
    found = sys.modules[module]
    for part in path.split("."):
        found = getattr(found, part)
    return found


def sentinel(module: "str", name: "str", kind: "type") -> "Any":
    """An object without a state that a module keeps under a name, to be compared by ``is``."""
    if module != "__main__" and not on_worker[0] and module not in sys.modules:
        try:
            __import__(module)
        except ImportError:
            return object.__new__(kind)
    values = namespace(module, {}, False) if on_worker[0] and module not in sys.modules else None
    if values is None:
        values = vars(sys.modules.get(module) or types.ModuleType(module))
    found = values.get(name)
    if type(found) is kind:
        return found
    made = _sentinels.get((module, name))
    if type(made) is not kind:
        made = _sentinels[module, name] = object.__new__(kind)
    if on_worker[0]:
        values.setdefault(name, made)
    return made


def kept(module: "str", name: "str", kind: "type", base: "Any") -> "Any":
    """An object that its class pickles by its name in a module. If no module has it, an object without its
    state is made.
    """
    found = lookup(module, name)
    if type(found) is kind:
        return found
    made = _sentinels.get((module, name))
    if type(made) is not kind:
        made = _sentinels[module, name] = base.__new__(kind)
        begin(made)
        publish(module, name, made)
    return made


def set_kept(made: "Any", state: "Any") -> "Any":
    if end(made):
        set_attributes(made, state)
    return made


# -- code and functions --------------------------------------------------------------------------------------


def code_by_value(data: "bytes", file: "Optional[str]" = None, text: "str" = "") -> "types.CodeType":
    """Make a code object, and register the text of its file for tracebacks if the file is missing."""
    if file is not None and not os.path.exists(file):
        import linecache  # here, as it takes long to import, and most files exist

        if file not in linecache.cache:
            linecache.cache[file] = (len(text), None, text.splitlines(True), file)
    return marshal.loads(data)  # type: ignore[no-any-return]  # noqa: S302 - as trusted as the pickle it is in


def empty_cell() -> "types.CellType":
    return types.CellType()


def set_cell(cell: "types.CellType", content: "Tuple[Any]") -> "types.CellType":
    cell.cell_contents = content[0]
    return cell


def function(
    key: "Optional[str]",
    module: "str",
    qualified_name: "str",
    code: "types.CodeType",
    values: "Dict[str, Any]",
    closure: "Optional[Tuple[types.CellType, ...]]",
) -> "types.FunctionType":
    """Make a function without its state. If it has a `key`, it stands under its name in its module."""
    known = find_known(key, module, qualified_name, types.FunctionType)
    if known is not None:
        return known  # type: ignore[no-any-return]
    values.setdefault("__builtins__", vars(builtins))  # not this module's, see `together`
    made = types.FunctionType(code, values, code.co_name, None, closure)
    begin(made, key)
    return made


def set_function(made: "types.FunctionType", state: "Tuple[Dict[str, Any], Dict[str, Any], Any]") -> "Any":
    """Give a function its attributes, and add missing globals to its namespace."""
    values, attributes, _ = state
    if not end(made):
        return made
    own = made.__globals__
    for name, value in values.items():
        own.setdefault(name, value)
    extra = attributes.pop("__dict__", None)
    for name, value in attributes.items():
        setattr(made, name, value)
    if extra:
        made.__dict__.update(extra)
    if has_key(made):
        publish(made.__module__, made.__qualname__, made)
    return made


def cached_function(
    key: "Optional[str]", wrapped: "Callable[..., Any]", maxsize: "Optional[int]", typed: "bool"
) -> "Any":
    """Make what functools.lru_cache and functools.cache return. Each process has a cache of its own."""
    import functools

    module, name = wrapped.__module__, wrapped.__qualname__
    known = find_known(key, module, name, type(functools.lru_cache()(len)))
    if known is not None:
        return known
    made = functools.lru_cache(maxsize, typed)(wrapped)
    if key is not None:
        remember(key, module, name, made)
    return made


def single_dispatch(
    functions: "List[Tuple[type, Any]]",
    attributes: "Dict[str, Any]",
    key: "Optional[str]" = None,
    module: "str" = "",
    name: "str" = "",
) -> "Any":
    """Make what functools.singledispatch returns, with the registered functions."""
    import functools

    known = find_known(key, module, name, types.FunctionType)
    if known is not None:
        return known
    made = functools.singledispatch(functions[0][1])
    for kind, implementation in functions[1:]:
        made.register(kind, implementation)
    made.__dict__.update(attributes)
    if key is not None:
        remember(key, module, name, made)
    return made


def parameter(
    key: "str", module: "str", kind: "Any", arguments: "List[Any]", options: "Dict[str, Any]"
) -> "Any":
    """Make a type variable or a new type of `typing`."""
    known = find_known(key, module, arguments[0], kind)
    if known is not None:
        return known
    made = kind(*arguments, **options)
    made.__module__ = module  # typing takes the module of its caller
    remember(key, module, arguments[0], made)
    return made


def cached_property(kind: "type", getter: "Any", attributes: "Dict[str, Any]") -> "Any":
    """A functools.cached_property, which has a lock in it before Python 3.12."""
    made = kind(getter)
    made.__dict__.update(attributes)
    return made


def property_like(kind: "type", parts: "Tuple[Any, ...]", attributes: "Dict[str, Any]") -> "Any":
    made = kind(*parts)
    if attributes:
        made.__dict__.update(attributes)
    return made


def context_variable(key: "str", name: "str", default: "Tuple[Any, ...]", value: "Tuple[Any, ...]") -> "Any":
    """A contextvars.ContextVar with the value that it had for the writer."""
    import contextvars

    made = _context_variables.get(key)
    if made is None:
        made = contextvars.ContextVar(name, default=default[0]) if default else contextvars.ContextVar(name)
        _context_variables[key] = made
        if value:
            made.set(value[0])
    return made


def weak_mapping(kind: "type", items: "Iterable[Tuple[Any, Any]]") -> "Any":
    return kind(list(items))


class _Gone(object):
    pass


def dead_reference() -> "Any":
    return weakref.ref(_Gone())


def dead_proxy() -> "Any":
    return weakref.proxy(_Gone())


def context_manager(kind: "Any", function: "Any", args: "Tuple[Any, ...]", kwargs: "Dict[str, Any]") -> "Any":
    """What a function under contextlib.contextmanager returns, before it is entered."""
    return kind(function, args, kwargs)


def fresh_random(kind: "type") -> "Any":
    """Make a random generator of the standard library with a state that no other process has."""
    return kind()


def seed_anew(made: "Any", state: "Any") -> "Any":
    """Make such a generator of a user's class."""
    made.setstate(state)
    made.seed()
    return made


def fresh_generator(kind: "type", source: "Optional[type]") -> "Any":
    """Make a generator of NumPy with a state that no other process has."""
    return kind() if source is None else kind(source())


# -- files and values that lie elsewhere -------------------------------------------------------------------


def transfer_path(
    path: "str", protocol: "Optional[str]", location: "Optional[str]", source: "str", state: "Any"
) -> "Any":
    """A file or folder that travels with what it stands in: on a worker the `pathlib.Path` of a copy, in a
    session the `TransferPath` that it was.
    """
    if arrivals[0] is not None:
        return arrivals[0].path((path, protocol, location, source, state))
    from .transfer_path import TransferPath

    return TransferPath(path, protocol, location)


def component_files(*specs: "Any") -> "None":
    """Files that belong to one component; they stand before its input, and so arrive first."""
    if arrivals[0] is not None:
        arrivals[0].put_all(specs)


def stored_value(label: "str", url: "str", digest: "str", length: "int", mark: "str") -> "Any":
    """A value that lies in a store: it is fetched and checked, and then read. Its `mark` says, to whoever
    looks at the pickle, that there is code in it.
    """
    with stores[0](label, url, digest, length) as file:
        return load(file)


class InputFailed(Exception):
    """A component of a chain has no input: the earlier map's component failed, or that map is gone."""


def input_failed(text: "str") -> "None":
    """Raise what `text` says."""
    raise InputFailed(text)


def with_files(files: "None", given: "Any") -> "Any":
    """The input of a component that has files of its own."""
    return given


_parts = (__name__, loads.__module__, set_class.__module__)
_ours = sys.modules.setdefault(NAME, sys.modules[__name__])
if _ours is sys.modules[__name__]:
    for _thing in list(globals().values()):
        if getattr(_thing, "__module__", None) in _parts:
            _thing.__module__ = NAME
