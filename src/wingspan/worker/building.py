"""What pickles have built in this process, and what is half built: the memory of `rebuild`.

It also reads them (`loads`, `load`), because an error in the middle leaves half-built objects behind.
"""

import os
import pickle
import sys
import threading
import types
import weakref

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Tuple

#: A marker in every pickle that contains bytecode or a class. Only the Python version that wrote it may read
#: it.
CODE_MARKS = (b"code_by_value", b"class_by_value", b"cloudpickle")

#: Whether this process executes components. It is a list, so that it can be set in the one registered module.
on_worker = [False]
#: Modules that `namespace` made on a worker. Their objects travel by value, though the modules are in
#: ``sys.modules``.
made_modules: "Dict[str, types.ModuleType]" = {}
by_key: "weakref.WeakValueDictionary[str, Any]" = weakref.WeakValueDictionary()
keys: "weakref.WeakKeyDictionary[Any, str]" = weakref.WeakKeyDictionary()
#: Objects that are being built and wait for their state, by id, with the thread that builds them.
fresh: "Dict[int, Tuple[Any, int]]" = {}
lock = threading.RLock()
_depth = threading.local()


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
        if fresh and not depth:
            _drop_half_built()


def _drop_half_built() -> "None":
    """Forget what an error left, and the copies that pickle makes of objects that refer to themselves."""
    thread = threading.get_ident()
    with lock:
        for identity, (thing, builder) in list(fresh.items()):
            if builder == thread:
                del fresh[identity]
                key = keys.get(thing) if isinstance(thing, (type, types.FunctionType)) else None
                if key is not None and by_key.get(key) is thing:
                    del keys[thing], by_key[key]


def begin(thing: "Any", key: "Optional[str]" = None) -> "None":
    with lock:
        if key is not None:
            by_key[key] = thing
            keys[thing] = key
        fresh[id(thing)] = (thing, threading.get_ident())


def end(thing: "Any") -> "bool":
    """Whether `thing` gets its state now. It does not if it is the reader's own, or known already."""
    return fresh.pop(id(thing), None) is not None


def is_half_built(thing: "Any") -> "bool":
    """Whether `thing` waits for its state."""
    return id(thing) in fresh


def built_as(key: "str") -> "Any":
    """What travels by this key, as an earlier pickle built it, or None."""
    return by_key.get(key)


def has_key(thing: "Any") -> "bool":
    """Whether `thing` travels by a key."""
    return thing in keys


def holds_code(pickled: "bytes") -> "bool":
    """Mark that this pickle contains bytecode, or a class by value."""
    return any(mark in pickled for mark in CODE_MARKS)


def key_of(thing: "Any") -> "str":
    """The key by which a class or a function travels."""
    with lock:
        key = keys.get(thing)
        if key is None:
            key = keys[thing] = os.urandom(16).hex()
            by_key[key] = thing
        return key


def is_stand_in(module: "str") -> "bool":
    """Whether `namespace` made the module, so that others cannot import it."""
    return module in made_modules


def stand_ins() -> "List[types.ModuleType]":
    """The modules that `namespace` made."""
    return list(made_modules.values())


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


def publish(module: "str", qualified_name: "str", thing: "Any") -> "None":
    """On a worker: register an object of a module that is missing, so that `multiprocessing` finds it by its
    name.
    """
    if on_worker[0] and "." not in qualified_name:
        stand_in = made_modules.get(module)
        if stand_in is not None:
            vars(stand_in).setdefault(qualified_name, thing)


def find_known(key: "Optional[str]", module: "str", qualified_name: "str", kind: "type") -> "Any":
    """The reader's own object, or the one from an earlier pickle; None if there is none."""
    if not on_worker[0] and key is not None:
        own = lookup(module, qualified_name)
        if isinstance(own, kind):
            return own
    return None if key is None else by_key.get(key)


def remember(key: "str", module: "str", name: "str", made: "Any") -> "None":
    with lock:
        by_key[key] = made
        keys[made] = key
    publish(module, name, made)
