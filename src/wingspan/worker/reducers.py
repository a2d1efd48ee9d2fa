"""Reducers for objects of the standard library of which pickle alone would lose a part.

Each function here takes the pickler and the object, and returns what ``reducer_override`` may return (see
`values`).
"""

import contextlib
import importlib
import sys
import weakref

from . import rebuild as _rebuild_here

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Tuple

    from . import rebuild
else:
    rebuild = sys.modules[_rebuild_here.NAME]  # pickles name the registered module, if this process has two

_context_keys: "Dict[Any, str]" = {}


def is_ctypes_own(obj: "type") -> "bool":
    """Whether ctypes makes this type itself, and keeps it: ``c_int * 3``, ``POINTER(c_int)``."""
    import ctypes

    if obj.__bases__ == (ctypes.Array,):
        return obj._type_ * obj._length_ is obj  # type: ignore[attr-defined]
    pointer: "Any" = ctypes.POINTER
    return obj.__bases__ == (ctypes._Pointer,) and pointer(getattr(obj, "_type_", None)) is obj


def ctypes_type(obj: "Any") -> "Any":
    """Have the reader's ctypes make it: made anew by its attributes it would be another type, or none."""
    import ctypes
    import operator

    if issubclass(obj, ctypes.Array):
        return operator.mul, (obj._type_, obj._length_)
    return ctypes.POINTER, (obj._type_,)


def _weak_mapping(pickler: "Any", obj: "Any") -> "Any":
    return rebuild.weak_mapping, (type(obj), list(obj.items()))


def _weak_reference(pickler: "Any", obj: "Any") -> "Any":
    referred = obj()
    return (rebuild.dead_reference, ()) if referred is None else (weakref.ref, (referred,))


def _weak_method(pickler: "Any", obj: "Any") -> "Any":
    method = obj()
    return (rebuild.dead_reference, ()) if method is None else (weakref.WeakMethod, (method,))


def _weak_proxy(pickler: "Any", obj: "Any") -> "Any":
    try:
        return weakref.proxy, (obj.__reduce_ex__.__self__,)
    except ReferenceError:
        return rebuild.dead_proxy, ()


def _context_manager(pickler: "Any", obj: "Any") -> "Any":
    """What a function under ``contextlib.contextmanager`` returns, and what decorates a function then.

    It is made anew by the same call, unless its body has begun: then it has a generator, which cannot travel.
    """
    call = vars(obj)
    if not all(name in call for name in ("func", "args", "kwds")):
        return NotImplemented
    return rebuild.context_manager, (type(obj), call["func"], call["args"], call["kwds"])


def module_of_own_kind(pickler: "Any", obj: "Any") -> "Any":
    """A module whose class is derived from ModuleType: one that imports its parts later, say."""
    name = obj.__name__
    if sys.modules.get(name) is not obj or pickler.by_value(name):
        return NotImplemented
    if pickler.on_own is not None:
        pickler.on_own(name)
    return importlib.import_module, (name,)


def _context_variable(pickler: "Any", obj: "Any") -> "Any":
    import contextvars

    key = _context_keys.get(obj)
    if key is None:
        key = next((known for known, it in rebuild._context_variables.items() if it is obj), None)
        key = _context_keys[obj] = key or "%x-%s" % (id(obj), rebuild.key_of(type(pickler)))
    try:
        default: "Tuple[Any, ...]" = (contextvars.Context().run(obj.get),)
    except LookupError:
        default = ()
    try:
        value: "Tuple[Any, ...]" = (obj.get(),)
    except LookupError:
        value = ()
    rebuild._context_variables.setdefault(key, obj)
    return rebuild.context_variable, (key, obj.name, default, value)


def random_generator(pickler: "Any", obj: "Any") -> "Any":
    """A random.Random, or an object of a class derived from it."""
    if obj is sys.modules["random"]._inst:
        return rebuild.by_path, ("random", "_inst")
    if type(obj).__name__ == "SystemRandom":
        return rebuild.fresh_random, (type(obj),)  # it has no state
    if not pickler.spread:
        return NotImplemented
    return type(obj), (), obj.getstate(), None, None, rebuild.seed_anew


def numpy_generator(pickler: "Any", obj: "Any") -> "Any":
    """A generator of NumPy, or what is another object of its module."""
    numpy_random: "Any" = sys.modules["numpy.random"]
    if obj is getattr(numpy_random.mtrand, "_rand", None):
        return rebuild.by_path, ("numpy.random.mtrand", "_rand")
    if pickler.spread:
        if type(obj) is numpy_random.Generator:
            return rebuild.fresh_generator, (type(obj), type(obj.bit_generator))
        if type(obj) is numpy_random.RandomState or isinstance(obj, numpy_random.BitGenerator):
            return rebuild.fresh_generator, (type(obj), None)
    return NotImplemented


def _parameter(pickler: "Any", obj: "Any") -> "Any":
    """Type variables, which typing pickles by name.

    The name is missing where ``__main__`` is another module.
    """
    if not pickler.by_value(obj.__module__):
        if pickler.on_own is not None:
            pickler.on_own(obj.__module__)
        return NotImplemented
    arguments = [obj.__name__, *getattr(obj, "__constraints__", ())]
    if hasattr(obj, "__supertype__"):
        arguments.append(obj.__supertype__)
    options = {}
    for name in ("bound", "covariant", "contravariant", "infer_variance"):
        value = getattr(obj, "__%s__" % name, None)
        if value:
            options[name] = value
    if hasattr(obj, "has_default") and obj.has_default():  # Python 3.13
        options["default"] = obj.__default__
    return rebuild.parameter, (rebuild.key_of(obj), obj.__module__, type(obj), arguments, options)


def found() -> "Dict[type, Callable[[Any, Any], Any]]":
    """The functions of this module, by the class of the objects that they are for."""
    import contextvars
    import typing

    reducers: "Dict[Any, Callable[[Any, Any], Any]]" = {
        weakref.ReferenceType: _weak_reference,
        weakref.WeakKeyDictionary: _weak_mapping,
        weakref.WeakValueDictionary: _weak_mapping,
        weakref.WeakMethod: _weak_method,
        weakref.ProxyType: _weak_proxy,
        weakref.CallableProxyType: _weak_proxy,
        contextvars.ContextVar: _context_variable,
    }
    for name in ("_GeneratorContextManager", "_AsyncGeneratorContextManager"):
        if hasattr(contextlib, name):
            reducers[getattr(contextlib, name)] = _context_manager
    for name in ("TypeVar", "ParamSpec", "TypeVarTuple", "NewType"):
        kind = getattr(typing, name, None)
        if isinstance(kind, type):
            reducers[kind] = _parameter
    return reducers
