"""What pickles of ours call when they are read: it builds classes, functions and exceptions, or finds those
that the reader has.

The rules stand in ``docs/values.md``. Two are kept here: *the reader's own class wins* (in a session by its
name, on a worker, where two classes may have one name, by the key that it travels with), and *what is known
already is not changed*.

Pickles name this module by `NAME`, under which it is registered: in a session it is part of `wingspan`, on a
worker of the archive. It is one module, however long, as a pickle that names it must be readable by whatever
Wingspan made the map.
"""

import contextlib
import marshal
import pickle
import sys
import threading
import types
import uuid
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterable, List, Optional, Tuple

NAME = "wingspan_rebuild"
#: Is in every pickle that holds bytecode, or a class: only the Python version that wrote it may read it.
CODE_MARKS = (b"code_by_value", b"class_by_value", b"cloudpickle")

#: Whether this process executes components. In a list, so that it can be set in the one module that is
#: registered.
on_worker = [False]
#: Modules whose things travel by value here, though they are in ``sys.modules``: made by `namespace` on a
#: worker.
_stand_ins: "Dict[str, types.ModuleType]" = {}
_by_key: "weakref.WeakValueDictionary[str, Any]" = weakref.WeakValueDictionary()
_keys: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()
_context_variables: "Dict[str, Any]" = {}
#: What is being built at this moment and waits for its state, by its id; and by which thread.
_fresh: "Dict[int, Tuple[Any, int]]" = {}
_lock = threading.RLock()
_depth = threading.local()
#: Objects without a state that no module here keeps, by module and name.
_sentinels: "Dict[Tuple[str, str], Any]" = {}


def loads(pickled: "Any") -> "Any":
    """Read a pickle; of what was half built when an error came nothing is kept."""
    return _read(pickle.loads, pickled)


def load(stream: "Any") -> "Any":
    """The same, of a pickle that comes in pieces."""
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
    """What an error left, and the doubles that pickle makes of what refers to itself."""
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
    """`thing` gets its state now; False where it is the reader's own, or known already."""
    return _fresh.pop(id(thing), None) is not None


def holds_code(pickled: "bytes") -> "bool":
    """There is bytecode, or a class by value, in this pickle."""
    return any(mark in pickled for mark in CODE_MARKS)


def key_of(thing: "Any") -> "str":
    """The key by which a class or a function travels."""
    with _lock:
        key = _keys.get(thing)
        if key is None:
            key = _keys[thing] = uuid.uuid4().hex
            _by_key[key] = thing
        return key


def is_stand_in(module: "str") -> "bool":
    """The module is one that `namespace` made: nobody else can import it."""
    return module in _stand_ins


def stand_ins() -> "List[types.ModuleType]":
    """The modules that `namespace` made."""
    return list(_stand_ins.values())


def lookup(module: "Optional[str]", qualified_name: "str") -> "Any":
    """What stands under this name in a module that is imported; None if nothing does."""
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
    """On a worker: let what comes from a module that is not there be found under its name, as
    `multiprocessing` looks for it.
    """
    if on_worker[0] and "." not in qualified_name:
        stand_in = _stand_ins.get(module)
        if stand_in is not None:
            vars(stand_in).setdefault(qualified_name, thing)


def _known(key: "Optional[str]", module: "str", qualified_name: "str", kind: "type") -> "Any":
    """The reader's own thing, or the one that an earlier pickle brought; None if there is none."""
    if not on_worker[0] and key is not None:
        own = lookup(module, qualified_name)
        if isinstance(own, kind):
            return own
    return None if key is None else _by_key.get(key)


# -- modules and namespaces ----------------------------------------------------------------------------------


def namespace(module: "str", facts: "Dict[str, Any]", importable: "bool") -> "Dict[str, Any]":
    """The globals of functions that travel by value.

    In a session a dict of their own: what a component did to its globals stays there. On a worker that of the
    module, which is made if nobody can import it.

    Args:
        module: Its name.
        facts: ``__name__``, ``__file__`` and the like.
        importable: The module itself travels as source, or is installed; only this function of it does not.
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
                return None  # another module of this name is there, or can be imported
            made = _stand_ins[module] = types.ModuleType(module)
            if module == "__main__":
                made.__dict__["__spec__"] = None
            sys.modules[module] = made
        for name, value in facts.items():
            if vars(made).get(name) is None:
                vars(made)[name] = value
        return made


def _comes_as_source(module: "str") -> "bool":
    """The map has an own module of this name, which is not the one that a function by value is of: there
    are two.
    """
    return any(
        module in getattr(finder, "modules", ())
        for finder in sys.meta_path
        if type(finder).__module__.endswith("worker.own")
    )


def stand_in_for_main(module: "types.ModuleType") -> "None":
    """Let `module` be the one that the user's ``__main__`` is built in."""
    _stand_ins["__main__"] = sys.modules["__main__"] = module


def module_by_value(module: "str") -> "types.ModuleType":
    """A module that travels by value: its state follows."""
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
    """Says why something of a module that travelled by value is not there."""

    def __init__(self, module: "str", reasons: "Dict[str, str]") -> "None":
        self._module, self._reasons = module, reasons

    def __call__(self, name: "str") -> "Any":
        reason = self._reasons.get(name)
        told = ": it could not travel (%s)" % reason if reason else ""
        raise AttributeError("module %r has no attribute %r%s" % (self._module, name, told))


def by_path(module: "str", path: "str") -> "Any":
    """What stands under a name in a module, which is imported."""
    __import__(module)
    found = sys.modules[module]
    for part in path.split("."):
        found = getattr(found, part)
    return found


def sentinel(module: "str", name: "str", kind: "type") -> "Any":
    """The object without a state that a module keeps under a name, to be compared by ``is``."""
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
    """An object that its class pickles by the name under which a module keeps it; where nobody has it,
    one without its state.
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
    """Code; and the text of its file, for tracebacks where that file is not there."""
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
    """A function without its state; with a `key` it is one that stands under its name in its module."""
    known = _known(key, module, qualified_name, types.FunctionType)
    if known is not None:
        return known  # type: ignore[no-any-return]
    values.setdefault("__builtins__", __builtins__)
    made = types.FunctionType(code, values, code.co_name, None, closure)
    _begin(made, key)
    return made


def set_function(made: "types.FunctionType", state: "Tuple[Dict[str, Any], Dict[str, Any], Any]") -> "Any":
    """Give a function its attributes, and its namespace what that lacks."""
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
    """What functools.lru_cache and functools.cache make; each process has a cache of its own."""
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
    """What functools.singledispatch makes, and what was registered with it."""
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
    """A type variable or a new type of typing's."""
    known = _known(key, module, arguments[0], kind)
    if known is not None:
        return known
    made = kind(*arguments, **options)
    made.__module__ = module  # typing takes that of its caller
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
    """A contextvars.ContextVar, with the value that it had for whoever wrote it."""
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
    """A generator of random numbers of the standard library that no other process has."""
    return kind()


def seed_anew(made: "Any", state: "Any") -> "Any":
    """Such a generator of a class of the user's."""
    made.setstate(state)
    made.seed()
    return made


def fresh_generator(kind: "type", source: "Optional[type]") -> "Any":
    """A generator of NumPy's that no other process has."""
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
    """A class without what is in it, or the reader's own.

    Args:
        key: What it travels by.
        named: It stands under its name in its module.
        module, qualified_name, metaclass, bases: As the class has them; no metaclass: that of its bases.
        head: What must be there when the class is created: ``__slots__``, for instance.
        quiet: A base has an ``__init_subclass__`` of the user's, which has been called where the class was
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
    """In place of a base's hook, which was called where the class was defined."""


def _create(metaclass: "type", name: "str", bases: "Tuple[type, ...]", head: "Dict[str, Any]") -> "type":
    # Not metaclass(name, bases, head): what the metaclass does has been done, and is in the state.
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
        type.__setattr__(kind, name, value)  # past what a metaclass does when its classes are changed
    except TypeError:
        setattr(kind, name, value)  # one written in C must know


def set_class(made: "type", state: "Tuple[Dict[str, Any], Tuple[type, ...], bool]") -> "type":
    """Put in a class what belongs there; the reader's own class is left as it is."""
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
    """A member for an enum that is being built; of one that is known, its own.

    Args:
        kind: The enum.
        base: The built-in class that its members are of, and `arguments` what one is made with.
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
    """In place of a member that the reader's own enum does not have: it goes into a state that is not
    used.
    """


def set_member(made: "Any", state: "Dict[str, Any]") -> "Any":
    if _end(made):
        vars(made).update(state)
    return made


# -- exceptions and others -----------------------------------------------------------------------------------


def exception(kind: "type", base: "Any", arguments: "Tuple[Any, ...]") -> "BaseException":
    """An exception without its constructor being called, which may want other arguments than those it
    keeps.
    """
    try:
        made = base.__new__(kind, *arguments)
    except TypeError:
        made = base.__new__(kind)  # the state says it all
    if issubclass(base, UnicodeError):  # it has nothing but what its constructor takes
        with contextlib.suppress(Exception):
            base.__init__(made, *arguments)
    return made  # type: ignore[no-any-return]


def set_exception(made: "BaseException", state: "Tuple[Dict[str, Any], Any, Dict[str, Any]]") -> "Any":
    """Give an exception its attributes.

    Args:
        made: The exception.
        state: What the built-in class keeps, what the object keeps (or what its own ``__getstate__`` gave),
            the exceptions it is chained to.
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
    """Set what the built-in class keeps, whatever the user's class makes of that name, and where it lets
    nothing be set.
    """
    for ancestor in type(made).__mro__:
        if name in vars(ancestor) and not ancestor.__flags__ & (1 << 9):
            vars(ancestor)[name].__set__(made, value)
            return


class _State(object):
    """What an object's own ``__getstate__`` gave."""

    def __init__(self, value: "Any") -> "None":
        self.value = value

    def __reduce__(self) -> "Any":
        return _State, (self.value,)


def set_attributes(made: "Any", state: "Any") -> "None":
    """As pickle does it: ``state`` is a dict, or a dict and one for slots."""
    slots: "Any" = None
    if isinstance(state, tuple) and len(state) == 2:
        state, slots = state
    if state:
        vars(made).update(state)
    for name, value in (slots or {}).items():
        setattr(made, name, value)


_ours = sys.modules.setdefault(NAME, sys.modules[__name__])
if _ours is sys.modules[__name__]:
    for _thing in list(globals().values()):
        if getattr(_thing, "__module__", None) == __name__:
            _thing.__module__ = NAME
