"""The parts of classes, functions and exceptions that a pickle must contain."""

import copyreg
import dis
import re
import sys
import types
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, List, Optional, Set, Tuple

_HEAP_TYPE = 1 << 9  # Py_TPFLAGS_HEAPTYPE
#: Operations whose name may be that of a global. The body of a class in a function uses LOAD_NAME.
_GLOBAL_OPERATIONS = frozenset(
    ["LOAD_GLOBAL", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS"]
)
#: Entries of a class that Python makes itself.
_MADE_BY_PYTHON = frozenset(
    [
        "__dict__",
        "__weakref__",
        "__module__",
        "__qualname__",
        "__annotate__",
        "__annotate_func__",
        "__annotations_cache__",
        "_abc_impl",
        "_abc_registry",
        "_abc_cache",
        "_abc_negative_cache",
        "_abc_negative_cache_version",
    ]
)
#: Entries that a class must be created with, because its objects may have their own (as proxies do).
_OF_EVERY_CLASS = frozenset(["__dict__", "__class__", "__name__", "__bases__", "__mro__"])
#: Functions and methods that are given names, or expressions, as strings (those of pandas and numexpr too).
_LOOKING_UP = frozenset(["eval", "exec", "globals", "vars", "evaluate", "query"])
_NAME = re.compile(r"(?<![\w.])[^\W\d]\w*")
_globals_of_code: "weakref.WeakKeyDictionary[types.CodeType, List[str]]" = weakref.WeakKeyDictionary()

_texts_of_code: "weakref.WeakKeyDictionary[types.CodeType, Set[str]]" = weakref.WeakKeyDictionary()


def codes_of(code: "types.CodeType") -> "Iterator[types.CodeType]":
    """A code object and all code objects in it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            for inner in codes_of(constant):
                yield inner


def global_names(code: "types.CodeType") -> "List[str]":
    """Names of globals that a code object, or one in it, may use, in the order of their use."""
    names = _globals_of_code.get(code)
    if names is None:
        found: "Dict[str, None]" = {}
        for one in codes_of(code):
            for step in dis.get_instructions(one):
                if step.opname in _GLOBAL_OPERATIONS:
                    found[step.argval] = None
        names = _globals_of_code[code] = list(found)
    return names


def names_in_texts(code: "types.CodeType") -> "Set[str]":
    """Names in the strings of code that looks names up by strings: by eval, by globals(), in a query of a
    table.
    """
    found = _texts_of_code.get(code)
    if found is None:
        found = set()
        for one in codes_of(code):
            if not _LOOKING_UP.isdisjoint(one.co_names):
                for constant in one.co_consts:
                    if isinstance(constant, str):
                        found.update(_NAME.findall(constant))
        _texts_of_code[code] = found
    return found


def imports_relatively(code: "types.CodeType") -> "bool":
    """Whether it has an import such as ``from .config import X``."""
    for one in codes_of(code):
        steps = list(dis.get_instructions(one))
        for place, step in enumerate(steps):
            # The level and the names are on the stack before it.
            if step.opname == "IMPORT_NAME" and place > 1 and steps[place - 2].argval not in (0, None):
                return True
    return False


def is_heap_type(kind: "type") -> "bool":
    return bool(kind.__flags__ & _HEAP_TYPE)


def first_built_in(kind: "type") -> "type":
    """The first class written in C among those that `kind` is derived from."""
    return next(base for base in kind.__mro__ if not is_heap_type(base))


def own_state(obj: "Any") -> "Any":
    """The state of an object, without that of its built-in class. If it has a ``__getstate__`` of its own,
    that decides.
    """
    if isinstance(getattr(type(obj), "__getstate__", None), types.FunctionType):
        return obj.__getstate__()
    slots = {}
    for name in copyreg._slotnames(type(obj)) or ():  # type: ignore[attr-defined]
        try:
            slots[name] = getattr(obj, name)
        except AttributeError:
            continue
    values = dict(getattr(obj, "__dict__", None) or {})
    return (values, slots) if slots else values or None


def source(file: "str") -> "Optional[str]":
    """The source of a script, or of input at a prompt, for tracebacks on machines that lack it."""
    import linecache

    text = "".join(linecache.getlines(file))
    return text if 0 < len(text) < _MOST_SOURCE else None


#: Longer source (characters) does not go along.
_MOST_SOURCE = 1 << 18


def annotations(function: "types.FunctionType") -> "Dict[str, Any]":
    try:
        return dict(function.__annotations__)
    except Exception:
        return {}  # since Python 3.14 they are computed on demand


def submodules(code: "types.CodeType", values: "Dict[str, Any]", closure: "Any") -> "List[types.ModuleType]":
    """Modules that the code reaches as attributes of a package. They must be imported, too."""
    # By their types: an object may say that it is of any class, and a dead weak reference raises then.
    packages = [value for value in values.values() if issubclass(type(value), types.ModuleType)]
    for cell in closure or ():
        try:
            if issubclass(type(cell.cell_contents), types.ModuleType):
                packages.append(cell.cell_contents)
        except ValueError:
            continue
    found = []
    names: "Optional[Set[str]]" = None
    for package in packages:
        if not hasattr(package, "__path__"):
            continue
        prefix = package.__name__ + "."
        if names is None:
            names = {name for one in codes_of(code) for name in one.co_names}
        for name, module in list(sys.modules.items()):
            if (
                name.startswith(prefix)
                and isinstance(module, types.ModuleType)
                and names.issuperset(name[len(prefix) :].split("."))
            ):
                found.append(module)
    return found


def hints_of(kind: "type", attributes: "Dict[str, Any]") -> "Optional[types.FunctionType]":
    """A function that brings what the class's type hints name in their texts, as its own hints would do; None
    if they name nothing. It travels where a class says that it has a name, which it says by any true value.
    """
    module = sys.modules.get(kind.__module__)
    hints = attributes.get("__annotations__")
    if module is None or not isinstance(hints, dict):
        return None
    texts = {}
    for name, hint in hints.items():
        text = hint if isinstance(hint, str) else getattr(hint, "__forward_arg__", None)
        if isinstance(text, str) and not vars(module).keys().isdisjoint(re.findall(r"[^\W\d]\w*", text)):
            texts[name] = text
    if not texts:
        return None
    made = types.FunctionType(_brings_hints.__code__, vars(module))
    made.__module__, made.__qualname__, made.__annotations__ = kind.__module__, "<hints>", texts
    return made


def _brings_hints() -> "None":
    """See `hints_of`."""


def contents(kind: "Any") -> "Tuple[Dict[str, Any], Dict[str, Any], Tuple[type, ...]]":
    """``(what a class must be created with, what is set afterwards, classes registered with it)``."""
    entries = dict(vars(kind))
    head: "Dict[str, Any]" = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    slots = [
        name
        for name, value in entries.items()
        if isinstance(value, types.MemberDescriptorType)
        and value.__objclass__ is kind
        and name == value.__name__
    ]
    if "__slots__" in entries:
        # Their names as they are in the class: those with two underscores are mangled already.
        head["__slots__"] = tuple(slots + [name for name in ("__dict__", "__weakref__") if name in entries])
        declared = entries["__slots__"]
        if not isinstance(declared, (str, tuple, list, dict)):
            entries["__slots__"] = tuple(slots)
    if "__orig_bases__" in entries:
        head["__orig_bases__"] = entries["__orig_bases__"]
    if "_fields_" in entries and type(kind).__module__ == "_ctypes":
        head["_fields_"] = entries["_fields_"]
        slots += [name for name, value in entries.items() if type(value).__module__ == "_ctypes"] + [
            "_fields_"
        ]
    registered: "Tuple[type, ...]" = ()
    if "_abc_impl" in entries:
        import abc

        references = abc._get_dump(kind)[0]  # type: ignore[attr-defined]
        registered = tuple(found for found in (reference() for reference in references) if found is not None)
    attributes = {}
    for name, value in entries.items():
        if name in _OF_EVERY_CLASS and (name != "__dict__" or isinstance(value, property)):
            head[name] = value
        elif name not in _MADE_BY_PYTHON and name not in slots:
            attributes[name] = value
    if "__annotate_func__" in entries or "__annotate__" in entries:
        try:
            attributes["__annotations__"] = dict(kind.__annotations__)
        except Exception:
            attributes.pop("__annotations__", None)
    return head, attributes, registered


def is_random(kind: "type") -> "bool":
    """Whether it is a random.Random or derived from one."""
    module = sys.modules.get("random")
    return module is not None and issubclass(kind, module.Random)


def members(obj: "Any", base: "type") -> "Dict[str, Any]":
    """The state that a built-in class keeps for an object of a derived class, without values that are
    None.
    """
    found = {}
    for ancestor in base.__mro__:
        for name, descriptor in vars(ancestor).items():
            if isinstance(descriptor, types.MemberDescriptorType) and not name.startswith("__"):
                try:
                    value = descriptor.__get__(obj, type(obj))
                except AttributeError:
                    continue
                if value is not None:
                    found[name] = value
    return found
