"""The functions that our pickles call when they are read.

They build classes, functions and exceptions, or find those that the reader has.

The rules stand in ``docs/values.md``. Two of them are implemented here. *The reader's own class wins*: a
session finds it by its name, a worker, where two classes may have one name, by the key that it travels with.
*What is known already is not changed.*

Pickles name this module by `NAME`, under which it is registered, because it is part of `wingspan` in a
session, and part of the archive on a worker. It stays one module although it is long, since every Wingspan
that made a map must be able to read pickles that name it.
"""

import contextlib
import marshal
import os
import pickle
import sys
import threading
import types
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

NAME = "wingspan_rebuild"
#: A marker in every pickle that contains bytecode or a class. Only the Python version that wrote it may read
#: it.
CODE_MARKS = (b"code_by_value", b"class_by_value", b"cloudpickle")

#: Whether this process executes components. It is a list, so that it can be set in the one registered module.
on_worker = [False]
#: Modules that `namespace` made on a worker. Their objects travel by value, though the modules are in
#: ``sys.modules``.
_stand_ins: "Dict[str, types.ModuleType]" = {}
_by_key: "weakref.WeakValueDictionary[str, Any]" = weakref.WeakValueDictionary()
_keys: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()
_context_variables: "Dict[str, Any]" = {}
#: Objects that are being built and wait for their state, by id, with the thread that builds them.
_fresh: "Dict[int, Tuple[Any, int]]" = {}
#: What gets the files of a component, where this process executes components that have some (see `arriving`).
arrivals: "List[Any]" = [None]
#: What fetches values that lie in a store (see `stored`): an executor and a session each put in theirs.
stores: "List[Any]" = [None]
_lock = threading.RLock()
_depth = threading.local()
#: Objects without a state that belong to no module here, by module and name.
_sentinels: "Dict[Tuple[str, str], Any]" = {}


def loads(pickled: "Any") -> "Any":
    """Read a pickle. If it fails, objects that were half built are forgotten."""
    return _read(pickle.loads, pickled)


def load(stream: "Any") -> "Any":
    """The same for a pickle that comes in pieces."""
    return _read(pickle.load, stream)


def _read(read: "Callable[[Any], Any]", source: "Any") -> "Any":
    depth = getattr(_depth, "value", 0)
    _depth.value = depth + 1
    try:
        return read(source)
    finally:
        _depth.value = depth
        if _fresh and not depth:
            _drop_half_built()


def _drop_half_built() -> "None":
    """Forget what an error left, and the copies that pickle makes of objects that refer to themselves."""
    thread = threading.get_ident()
    with _lock:
        for identity, (thing, builder) in list(_fresh.items()):
            if builder == thread:
                del _fresh[identity]
                key = _keys.get(thing) if isinstance(thing, (type, types.FunctionType)) else None
                if key is not None and _by_key.get(key) is thing:
                    del _keys[thing], _by_key[key]


def _begin(thing: "Any", key: "Optional[str]" = None) -> "None":
    with _lock:
        if key is not None:
            _by_key[key] = thing
            _keys[thing] = key
        _fresh[id(thing)] = (thing, threading.get_ident())


def _end(thing: "Any") -> "bool":
    """Whether `thing` gets its state now. It does not if it is the reader's own, or known already."""
    return _fresh.pop(id(thing), None) is not None


def holds_code(pickled: "bytes") -> "bool":
    """Mark that this pickle contains bytecode, or a class by value."""
    return any(mark in pickled for mark in CODE_MARKS)


def key_of(thing: "Any") -> "str":
    """The key by which a class or a function travels."""
    with _lock:
        key = _keys.get(thing)
        if key is None:
            key = _keys[thing] = os.urandom(16).hex()
            _by_key[key] = thing
        return key


def is_stand_in(module: "str") -> "bool":
    """Whether `namespace` made the module, so that others cannot import it."""
    return module in _stand_ins


def stand_ins() -> "List[types.ModuleType]":
    """The modules that `namespace` made."""
    return list(_stand_ins.values())


def lookup(module: "Optional[str]", qualified_name: "str") -> "Any":
    """The object with this name in an imported module, or None."""
    found = sys.modules.get(module or "")
    for part in qualified_name.split("."):
        if found is None:
            return None
        try:
            found = vars(found).get(part)
        except TypeError:
            return None
    return found


def _publish(module: "str", qualified_name: "str", thing: "Any") -> "None":
    """On a worker: register an object of a module that is missing, so that `multiprocessing` finds it by its
    name.
    """
    if on_worker[0] and "." not in qualified_name:
        stand_in = _stand_ins.get(module)
        if stand_in is not None:
            vars(stand_in).setdefault(qualified_name, thing)


def _known(key: "Optional[str]", module: "str", qualified_name: "str", kind: "type") -> "Any":
    """The reader's own object, or the one from an earlier pickle; None if there is none."""
    if not on_worker[0] and key is not None:
        own = lookup(module, qualified_name)
        if isinstance(own, kind):
            return own
    return None if key is None else _by_key.get(key)


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
    with _lock:
        made = _stand_ins.get(module)
        if made is None:
            if module != "__main__" and (module in sys.modules or _comes_as_source(module)):
                return None  # there is another module of this name, or one can be imported
            made = _stand_ins[module] = types.ModuleType(module)
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
    _stand_ins["__main__"] = sys.modules["__main__"] = module


def module_by_value(module: "str") -> "types.ModuleType":
    """Make a module that travels by value. Its state follows."""
    if not on_worker[0] and module in sys.modules:
        return sys.modules[module]
    made = (_stand_in(module, {}) if on_worker[0] else None) or types.ModuleType(module)
    _begin(made)
    return made


def set_module(
    module: "types.ModuleType", state: "Tuple[Dict[str, Any], Dict[str, str]]"
) -> "types.ModuleType":
    if not _end(module):
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
        _begin(made)
        _publish(module, name, made)
    return made


def set_kept(made: "Any", state: "Any") -> "Any":
    if _end(made):
        set_attributes(made, state)
    return made


# -- code and functions --------------------------------------------------------------------------------------


def code_by_value(data: "bytes", file: "Optional[str]" = None, text: "str" = "") -> "types.CodeType":
    """Make a code object, and register the text of its file for tracebacks if the file is missing."""
    if file is not None:
        import linecache
        import os

        if file not in linecache.cache and not os.path.exists(file):
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
    known = _known(key, module, qualified_name, types.FunctionType)
    if known is not None:
        return known  # type: ignore[no-any-return]
    values.setdefault("__builtins__", __builtins__)
    made = types.FunctionType(code, values, code.co_name, None, closure)
    _begin(made, key)
    return made


def set_function(made: "types.FunctionType", state: "Tuple[Dict[str, Any], Dict[str, Any], Any]") -> "Any":
    """Give a function its attributes, and add missing globals to its namespace."""
    values, attributes, _ = state
    if not _end(made):
        return made
    own = made.__globals__
    for name, value in values.items():
        own.setdefault(name, value)
    extra = attributes.pop("__dict__", None)
    for name, value in attributes.items():
        setattr(made, name, value)
    if extra:
        made.__dict__.update(extra)
    if made in _keys:
        _publish(made.__module__, made.__qualname__, made)
    return made


def cached_function(
    key: "Optional[str]", wrapped: "Callable[..., Any]", maxsize: "Optional[int]", typed: "bool"
) -> "Any":
    """Make what functools.lru_cache and functools.cache return. Each process has a cache of its own."""
    import functools

    module, name = wrapped.__module__, wrapped.__qualname__
    known = _known(key, module, name, type(functools.lru_cache()(len)))
    if known is not None:
        return known
    made = functools.lru_cache(maxsize, typed)(wrapped)
    if key is not None:
        _remember(key, module, name, made)
    return made


def _remember(key: "str", module: "str", name: "str", made: "Any") -> "None":
    with _lock:
        _by_key[key] = made
        _keys[made] = key
    _publish(module, name, made)


def single_dispatch(
    functions: "List[Tuple[type, Any]]",
    attributes: "Dict[str, Any]",
    key: "Optional[str]" = None,
    module: "str" = "",
    name: "str" = "",
) -> "Any":
    """Make what functools.singledispatch returns, with the registered functions."""
    import functools

    known = _known(key, module, name, types.FunctionType)
    if known is not None:
        return known
    made = functools.singledispatch(functions[0][1])
    for kind, implementation in functions[1:]:
        made.register(kind, implementation)
    made.__dict__.update(attributes)
    if key is not None:
        _remember(key, module, name, made)
    return made


def parameter(
    key: "str", module: "str", kind: "Any", arguments: "List[Any]", options: "Dict[str, Any]"
) -> "Any":
    """Make a type variable or a new type of `typing`."""
    known = _known(key, module, arguments[0], kind)
    if known is not None:
        return known
    made = kind(*arguments, **options)
    made.__module__ = module  # typing takes the module of its caller
    _remember(key, module, arguments[0], made)
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


# -- classes -------------------------------------------------------------------------------------------------


def class_by_value(
    key: "str",
    named: "bool",
    module: "str",
    qualified_name: "str",
    metaclass: "Optional[type]",
    bases: "Tuple[type, ...]",
    head: "Dict[str, Any]",
    quiet: "bool",
) -> "type":
    """Make a class without its content, or return the reader's own.

    Args:
        key: The key by which it travels.
        named: Whether it stands under its name in its module.
        module, qualified_name, metaclass, bases: Those of the class; without a metaclass, that of the bases.
        head: Entries that the class must be created with: ``__slots__``, for instance.
        quiet: Whether a base has a user's ``__init_subclass__``, which was called where the class was
            defined.
    """
    known = _known(key if named else None, module, qualified_name, type)
    if known is None:
        known = _by_key.get(key)
    if known is not None:
        return known  # type: ignore[no-any-return]
    if metaclass is None:
        metaclass = type(bases[0])
        for base in bases:
            if issubclass(type(base), metaclass):
                metaclass = type(base)
    made = _new_class(metaclass, qualified_name.rpartition(".")[2], bases, dict(head), quiet)
    _begin(made, key)
    return made


def _new_class(
    metaclass: "type", name: "str", bases: "Tuple[type, ...]", head: "Dict[str, Any]", quiet: "bool"
) -> "type":
    owner: "Any" = None
    if quiet:
        owner = next(
            (one for base in bases for one in base.__mro__ if "__init_subclass__" in vars(one)), None
        )
    if not isinstance(vars(owner).get("__init_subclass__") if owner else None, classmethod):
        return _create(metaclass, name, bases, head)
    with _lock:
        hook = vars(owner)["__init_subclass__"]
        type.__setattr__(owner, "__init_subclass__", classmethod(_no_init_subclass))  # type: ignore[arg-type]
        try:
            return _create(metaclass, name, bases, head)
        finally:
            type.__setattr__(owner, "__init_subclass__", hook)


def _no_init_subclass(cls: "Any", **arguments: "Any") -> "None":
    """Replaces a base's hook, which was called where the class was defined."""


def _create(metaclass: "type", name: "str", bases: "Tuple[type, ...]", head: "Dict[str, Any]") -> "type":
    # Not metaclass(name, bases, head): the effects of the metaclass are in the state already.
    if any(one.__module__ == "_ctypes" for one in metaclass.__mro__):
        return metaclass(name, bases, dict(head))  # type: ignore[no-any-return]
    try:
        made: "type" = type.__new__(metaclass, name, bases, dict(head))
    except TypeError:
        # A metaclass written in C.
        return metaclass.__new__(metaclass, name, bases, dict(head))
    import abc

    if issubclass(metaclass, abc.ABCMeta):
        abc._abc_init(made)  # type: ignore[attr-defined]
    return made


def _set_on_class(kind: "type", name: "str", value: "Any") -> "None":
    try:
        type.__setattr__(kind, name, value)  # without the metaclass's own __setattr__
    except TypeError:
        setattr(kind, name, value)  # a metaclass written in C must know of it


def set_class(made: "type", state: "Tuple[Dict[str, Any], Tuple[type, ...], bool]") -> "type":
    """Fill a class with its content. The reader's own class is left as it is."""
    if not _end(made):
        return made
    attributes, registered, named = state
    for name, value in attributes.items():
        _set_on_class(made, name, value)
    first_line = attributes.get("__firstlineno__")
    if first_line is not None:  # any other attribute that is set takes it away
        _set_on_class(made, "__firstlineno__", first_line)
    for kind in registered:
        made.register(kind)  # type: ignore[attr-defined]
    if named:
        _publish(made.__module__, made.__qualname__, made)
    return made


def enum_member(kind: "Any", name: "Optional[str]", value: "Any") -> "Any":
    """A member of an enum by its name, or a combination of flags by its value."""
    members = kind.__members__
    if name is not None and name in members:
        return members[name]
    if name is not None and "|" not in name and id(kind) not in _fresh:
        try:
            return kind(value)
        except ValueError:
            raise AttributeError(
                "the enum %s.%s has no member %s = %r" % (kind.__module__, kind.__qualname__, name, value)
            )
    return kind(value)


def new_member(
    kind: "Any",
    base: "type",
    name: "Optional[str]",
    arguments: "Tuple[Any, ...]",
    flags: "Optional[int]" = None,
) -> "Any":
    """Make a member for an enum that is being built. A known enum's own member is returned.

    Args:
        kind: The enum.
        base: The built-in class of its members, and `arguments` the arguments for one.
        name: Its name.
        arguments: See `base`.
        flags: The value, if it is a combination of flags.
    """
    if id(kind) not in _fresh:
        if name is not None and name in kind.__members__:
            return kind.__members__[name]
        if flags is not None:
            with contextlib.suppress(ValueError):
                return kind(flags)
        return _Discarded()
    made = base.__new__(kind, *arguments)
    _begin(made)
    return made


class _Discarded(object):
    """Replaces a member that the reader's own enum lacks. It goes into a state that is not used."""


def set_member(made: "Any", state: "Dict[str, Any]") -> "Any":
    if _end(made):
        vars(made).update(state)
    return made


# -- exceptions and others -----------------------------------------------------------------------------------


def exception(kind: "type", base: "Any", arguments: "Tuple[Any, ...]") -> "BaseException":
    """Make an exception without calling its constructor, which may need other arguments than those that the
    exception keeps.
    """
    try:
        made = base.__new__(kind, *arguments)
    except TypeError:
        made = base.__new__(kind)  # the state contains everything
    if issubclass(base, UnicodeError):  # it has no state besides the constructor's arguments
        with contextlib.suppress(Exception):
            base.__init__(made, *arguments)
    return made  # type: ignore[no-any-return]


def set_exception(made: "BaseException", state: "Tuple[Dict[str, Any], Any, Dict[str, Any]]") -> "Any":
    """Give an exception its attributes.

    Args:
        made: The exception.
        state: The state of the built-in class, that of the object (or the result of its own
            ``__getstate__``), and the exceptions that it is chained to.
    """
    built_in, own, chain = state
    for name, value in built_in.items():
        with contextlib.suppress(AttributeError, TypeError):  # cannot be changed: the arguments have set it
            _set_built_in(made, name, value)
    for name, value in chain.items():
        _set_built_in(made, name, value)
    if isinstance(own, _State):
        if hasattr(type(made), "__setstate__") and type(made).__setstate__ is not BaseException.__setstate__:
            made.__setstate__(own.value)
        else:
            set_attributes(made, own.value)
    return made


def _set_built_in(made: "BaseException", name: "str", value: "Any") -> "None":
    """Set the attributes of the built-in class, even if the user's class uses their names or allows no
    assignment.
    """
    for ancestor in type(made).__mro__:
        if name in vars(ancestor) and not ancestor.__flags__ & (1 << 9):
            vars(ancestor)[name].__set__(made, value)
            return


class _State(object):
    """Apply what an object's own ``__getstate__`` returned."""

    def __init__(self, value: "Any") -> "None":
        self.value = value

    def __reduce__(self) -> "Any":
        return _State, (self.value,)


def set_attributes(made: "Any", state: "Any") -> "None":
    """Apply a state as pickle does: ``state`` is a dict, or a dict and one for slots."""
    slots: "Any" = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        vars(made).update(state)
    for name, value in (slots or {}).items():
        setattr(made, name, value)


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


_ours = sys.modules.setdefault(NAME, sys.modules[__name__])
if _ours is sys.modules[__name__]:
    for _thing in list(globals().values()):
        if getattr(_thing, "__module__", None) == __name__:
            _thing.__module__ = NAME
