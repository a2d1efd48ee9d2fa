"""Pickle what the reader cannot import: own classes, functions, enums, exceptions, and what functools makes.

This is cloudpickle's pickler with our own reducers for objects that it pickles incompletely, or that it would
change although the reader knows them. The rules stand in ``docs/values.md``. The functions that the pickles
call when they are read are in `rebuild`.
"""

import builtins
import copyreg
import enum
import functools
import io
import marshal
import pickle
import re
import sys
import types

import cloudpickle

from . import rebuild as _rebuild_here
from . import reducers
from .anatomy import (
    annotations,
    contents,
    first_built_in,
    global_names,
    hints_of,
    imports_relatively,
    is_heap_type,
    is_random,
    members,
    names_in_texts,
    own_state,
    source,
    submodules,
)

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, List, Optional, Set, Tuple

    from . import rebuild
else:
    rebuild = sys.modules[_rebuild_here.NAME]  # pickles name the registered module, if this process has two

_NAMESPACE_FACTS = ("__name__", "__package__", "__path__", "__file__")
_GROUP: "Any" = getattr(builtins, "BaseExceptionGroup", None)  # Python 3.11
#: Stands among `Pickler._testing` while it is seen whether what a string names can be pickled.
_IN_TEXTS = "a name in a string"
_IDENTIFIER = re.compile(r"[^\W\d]\w*")
_LRU = type(functools.lru_cache()(len))
_dispatching: "Any" = functools.singledispatch(len)
_SINGLE_DISPATCH = _dispatching.__code__
_ARGUMENTS: "Any" = vars(BaseException)["args"]


def stays_by_value(module: "str") -> "bool":
    """Let objects of this module travel by value, because it cannot be imported elsewhere."""
    return module in ("__main__", "__mp_main__") or module not in sys.modules or rebuild.is_stand_in(module)


class _Globals(object):
    """Stands for the globals of some functions: each pickle makes them once."""

    def __init__(self, module: "str", facts: "Dict[str, Any]", importable: "bool") -> "None":
        self.arguments = module, facts, importable

    def __reduce__(self) -> "Any":
        return rebuild.namespace, self.arguments


class Pickler(cloudpickle.Pickler):  # type: ignore[misc]
    """Pickles any value so that a worker, or a session that lacks its classes, can read it.

    Args:
        file: The target.
        protocol: The protocol of pickle.
        by_value: Name of a module -> whether its things travel by value.
        spread: Whether a random generator arrives as another one on each worker (if a function has it).
        on_own: Called with the module of each function and class that travels by name.
        forced: An object that travels by value, though others can import it by its name.
        on_file: Called with each file that travels with the value; answers what its pickle says.
    """

    def __init__(
        self,
        file: "Any",
        protocol: "int",
        by_value: "Callable[[str], bool]" = stays_by_value,
        spread: "bool" = False,
        on_own: "Optional[Callable[[str], None]]" = None,
        forced: "Any" = None,
        on_file: "Optional[Callable[[Any], Tuple[Any, ...]]]" = None,
    ) -> "None":
        super().__init__(file, protocol=protocol)
        self._forced = forced
        self.by_value = by_value
        self.spread = spread
        self.on_own = on_own
        self._on_file = on_file
        self._globals: "Dict[int, Tuple[Dict[str, Any], _Globals]]" = {}
        self._begun: "Set[type]" = set()
        #: Whether the exceptions that led to an exception go with it, and all its attributes. Else those that
        #: cannot be pickled are left out.
        self.with_chain = self.whole = True
        #: Files whose source the pickle has.
        self._told: "Set[str]" = set()
        #: Modules by value that are being pickled.
        self._testing: "Set[str]" = set()
        #: Objects that were tried by themselves, by their identity, and why each cannot be pickled. Whether
        #: it can does not depend on what it stands in, so each is tried once.
        self._tried: "Dict[int, Tuple[Any, Optional[str]]]" = {}
        #: Code that travels by value. The modules that it imports may have to come along.
        self.codes: "List[types.CodeType]" = []

    def start_anew(self) -> "None":
        """Forget the parts of the last object."""
        self.clear_memo()
        self._begun.clear()
        self._told.clear()
        self._globals.clear()
        self._tried.clear()

    def reducer_override(self, obj: "Any") -> "Any":
        kind = type(obj)
        reducer = _REDUCERS.get(kind)
        if reducer is not None:
            return reducer(self, obj)
        if issubclass(kind, type):
            return self._class(obj)
        if issubclass(kind, BaseException):
            return self._exception(obj)
        if issubclass(kind, types.ModuleType):
            return reducers.module_of_own_kind(self, obj)
        if issubclass(kind, enum.Enum):
            return self._enum_member(obj)
        if issubclass(kind, functools.cached_property):
            attributes = {name: value for name, value in vars(obj).items() if name not in ("func", "lock")}
            return rebuild.cached_property, (kind, obj.func, attributes)
        if issubclass(kind, property) and kind is not property:
            return (
                rebuild.property_like,
                (kind, (obj.fget, obj.fset, obj.fdel, obj.__doc__), dict(getattr(obj, "__dict__", {}))),
            )
        if is_random(kind):
            return reducers.random_generator(self, obj)
        if kind.__module__.startswith("numpy.random"):
            return reducers.numpy_generator(self, obj)
        if (
            isinstance(kind.__reduce__, types.FunctionType)
            or isinstance(kind.__reduce_ex__, types.FunctionType)
        ) and kind not in copyreg.dispatch_table:
            return self._reduced(obj)
        if kind.__basicsize__ <= _STATELESS and not getattr(obj, "__dict__", None):
            return self._without_state(obj)
        return NotImplemented

    # -- by name or by value ---------------------------------------------------------------------------------

    def _is_named(self, module: "Optional[str]", obj: "Any") -> "bool":
        """Whether `obj` stands under its own name in its module."""
        name = getattr(obj, "__qualname__", None)
        return isinstance(name, str) and rebuild.lookup(module, name) is obj

    def _travels_by_name(self, obj: "Any") -> "bool":
        module = getattr(obj, "__module__", None)
        if (
            obj is self._forced
            or not isinstance(module, str)
            or self.by_value(module)
            or not self._is_named(module, obj)
        ):
            return False
        if self.on_own is not None:
            self.on_own(module)
        return True

    def _class(self, obj: "Any") -> "Any":
        if self._travels_by_name(obj):
            return NotImplemented
        if not is_heap_type(obj) or obj.__module__ == "builtins":
            made = super().reducer_override(obj)
            if not is_heap_type(obj) and made is not NotImplemented and len(made) > 2:
                # cloudpickle would build a class that looks like it and can do nothing
                raise pickle.PicklingError("no module has the class %s under its name" % obj.__qualname__)
            return made
        if "ctypes" in sys.modules and reducers.is_ctypes_own(obj):
            return reducers.ctypes_type(obj)
        self._begun.add(obj)
        named = self._is_named(obj.__module__, obj)
        base = super(obj, obj).__init_subclass__
        hook = getattr(base, "__func__", None)
        quiet = isinstance(hook, types.FunctionType) and hook.__module__ not in ("typing", "enum", "abc")
        head, attributes, registered = contents(obj)
        arguments = (
            rebuild.key_of(obj),
            named,
            obj.__module__,
            obj.__qualname__,
            None if type(obj) in map(type, obj.__bases__) else type(obj),
            obj.__bases__,
            head,
            quiet,
        )
        return (
            rebuild.class_by_value,
            arguments,
            (attributes, registered, named and (hints_of(obj, attributes) or True)),
            None,
            None,
            rebuild.set_class,
        )

    def _function(self, obj: "types.FunctionType") -> "Any":
        if self._travels_by_name(obj):
            return NotImplemented
        if obj.__code__ is _SINGLE_DISPATCH:
            registry = list(obj.registry.items())  # type: ignore[attr-defined]
            made = functools.singledispatch(len).__dict__
            extra = {
                name: value
                for name, value in obj.__dict__.items()
                if name not in made or name == "__wrapped__"
            }
            named = self._is_named(obj.__module__, obj)
            known_by = rebuild.key_of(obj) if named else None
            return rebuild.single_dispatch, (registry, extra, known_by, obj.__module__, obj.__qualname__)
        code = obj.__code__
        self.codes.append(code)
        module = obj.__module__ if isinstance(obj.__module__, str) else obj.__globals__.get("__name__", "")
        key = rebuild.key_of(obj) if self._is_named(module, obj) else None
        arguments = (key, module, obj.__qualname__, code, self._globals_of(obj, module), obj.__closure__)
        package = obj.__globals__.get("__package__")
        if self.on_own is not None and package in sys.modules and imports_relatively(code):
            self.on_own(package)
        hints = annotations(obj)
        values: "Dict[str, Any]" = {}
        names = global_names(code)
        for text in hints.values():
            if isinstance(text, str):
                names = names + _IDENTIFIER.findall(text)
        for name in names:
            if name in obj.__globals__ and name not in values:
                values[name] = obj.__globals__[name]
        texts = names_in_texts(code)
        if texts:
            values.update(self._named_in_texts(obj, sorted(texts.difference(values))))
        attributes = {
            "__name__": obj.__name__,
            "__qualname__": obj.__qualname__,
            "__module__": obj.__module__,
            "__doc__": obj.__doc__,
            "__defaults__": obj.__defaults__,
            "__kwdefaults__": obj.__kwdefaults__,
            "__annotations__": hints,
            "__dict__": dict(obj.__dict__),
        }
        type_params = getattr(obj, "__type_params__", None)
        if type_params:
            attributes["__type_params__"] = type_params
        state = (values, attributes, submodules(code, values, obj.__closure__))
        return rebuild.function, arguments, state, None, None, rebuild.set_function

    def _named_in_texts(self, function: "Any", names: "List[str]") -> "Dict[str, Any]":
        """Globals that the function may look up by these names in its strings, if they can be pickled."""
        found: "Dict[str, Any]" = {}
        if _IN_TEXTS not in self._testing:
            self._testing.add(_IN_TEXTS)
            try:
                for name in names:
                    if name in function.__globals__ and not name.startswith("__"):
                        value = function.__globals__[name]
                        if self._reason_against_it(value) is None:
                            found[name] = value
            finally:
                self._testing.discard(_IN_TEXTS)
        return found

    def _globals_of(self, function: "types.FunctionType", module: "str") -> "_Globals":
        known = self._globals.get(id(function.__globals__))
        if known is None:
            own = function.__globals__
            facts = {name: own[name] for name in _NAMESPACE_FACTS if name in own}
            home = own.get("__name__")
            home = home if isinstance(home, str) else module
            # A function of a module that travels by name may differ from the module's source.
            importable = not self.by_value(home) and vars(sys.modules[home]) is own
            if self.on_own is not None and importable:
                self.on_own(home)
            known = self._globals[id(own)] = own, _Globals(home, facts, importable)
        return known[1]

    def _code(self, obj: "types.CodeType") -> "Any":
        try:
            data = marshal.dumps(
                obj, 2
            )  # later versions look at reference counts: the same code would not give the same bytes
        except ValueError:
            data = marshal.dumps(obj)
        file = obj.co_filename
        if not self.spread or file in self._told:
            return rebuild.code_by_value, (data,)
        self._told.add(file)
        text = source(file)
        return rebuild.code_by_value, (data,) if text is None else (data, file, text)

    def _cell(self, obj: "types.CellType") -> "Any":
        try:
            content = obj.cell_contents
        except ValueError:
            return rebuild.empty_cell, ()
        return rebuild.empty_cell, (), (content,), None, None, rebuild.set_cell

    def _module(self, obj: "types.ModuleType") -> "Any":
        name = obj.__name__
        if sys.modules.get(name) is obj and not self.by_value(name):
            if self.on_own is not None:
                self.on_own(name)
            return NotImplemented
        values: "Dict[str, Any]" = {}
        reasons: "Dict[str, str]" = {}
        if name not in self._testing:
            self._testing.add(name)
            try:
                for attribute, value in list(vars(obj).items()):
                    if attribute in ("__builtins__", "__loader__", "__spec__", "__cached__"):
                        continue
                    reason = self._reason_against_it(value)
                    if reason is None:
                        values[attribute] = value
                    else:
                        reasons[attribute] = reason
            finally:
                self._testing.discard(name)
        return rebuild.module_by_value, (name,), (values, reasons), None, None, rebuild.set_module

    def _reason_against_it(self, value: "Any") -> "Optional[str]":
        """Why something cannot be pickled; None if it can."""
        known = self._tried.get(id(value))
        if known is not None:
            return known[1]
        reason = None
        trial = Pickler(io.BytesIO(), self.proto, self.by_value, self.spread)
        trial._testing, trial.whole, trial._tried = self._testing, self.whole, self._tried
        try:
            trial.dump(value)
        except Exception as error:
            reason = "%s: %.200s" % (type(error).__name__, error)
        self._tried[id(value)] = value, reason
        return reason

    # -- things of functools and others ----------------------------------------------------------------------

    def _lru(self, obj: "Any") -> "Any":
        if self._travels_by_name(obj):
            return NotImplemented
        wrapped = obj.__wrapped__
        parameters = obj.cache_parameters()
        key = rebuild.key_of(obj) if self._is_named(wrapped.__module__, obj) else None
        return rebuild.cached_function, (key, wrapped, parameters["maxsize"], parameters["typed"])

    def _method(self, obj: "types.MethodType") -> "Any":
        return types.MethodType, (obj.__func__, obj.__self__)

    def _reduced(self, obj: "Any") -> "Any":
        """The result of the object's own ``__reduce_ex__``; a text is a name in its module."""
        kind: "Any" = type(obj)
        if self._on_file is not None and hasattr(kind, "reduce_with_files"):
            return obj.reduce_with_files(self._on_file)
        made = obj.__reduce_ex__(self.proto)
        module = kind.__module__
        if not isinstance(made, str) or not self.by_value(module) or rebuild.lookup(module, made) is not obj:
            return made
        state = own_state(obj)
        return rebuild.kept, (module, made, kind, first_built_in(kind)), state, None, None, rebuild.set_kept

    def _without_state(self, obj: "Any") -> "Any":
        """An object that a module keeps to be compared by ``is``."""
        kind: "Any" = type(obj)
        if kind.__reduce_ex__ is not object.__reduce_ex__ or kind.__reduce__ is not object.__reduce__:
            return NotImplemented
        modules = (
            list(sys.modules.items())
            if kind is object
            else [(kind.__module__, sys.modules.get(kind.__module__))]
        )
        for name, module in modules:
            if isinstance(module, types.ModuleType):
                for variable, value in list(vars(module).items()):
                    if value is obj:
                        if self.on_own is not None and not self.by_value(name):
                            self.on_own(name)
                        return rebuild.sentinel, (name, variable, kind)
        return NotImplemented

    # -- enums and exceptions --------------------------------------------------------------------------------

    def _enum_member(self, obj: "Any") -> "Any":
        kind = type(obj)
        if self._travels_by_name(kind):
            return NotImplemented
        if kind not in self._begun:
            return rebuild.enum_member, (kind, obj._name_, obj._value_)
        base = first_built_in(kind)
        reduce: "Any" = base.__reduce__
        if base is object:
            arguments: "Tuple[Any, ...]" = ()
        elif hasattr(base, "__getnewargs__"):
            arguments = base.__getnewargs__(obj)
        else:
            arguments = reduce(obj)[1]
        if obj._name_ not in kind.__members__ and not any(
            obj is known for known in kind._value2member_map_.values()
        ):
            return rebuild.enum_member, (kind, obj._name_, obj._value_)
        return (
            rebuild.new_member,
            (kind, base, obj._name_, arguments, obj._value_ if isinstance(obj, enum.Flag) else None),
            dict(vars(obj)),
            None,
            None,
            rebuild.set_member,
        )

    def _exception(self, obj: "BaseException") -> "Any":
        kind: "Any" = type(obj)
        base = first_built_in(kind)
        own_way = kind.__reduce__ is not base.__reduce__ or kind.__reduce_ex__ is not object.__reduce_ex__
        if own_way and self.whole:
            return NotImplemented  # its class knows better
        built_in = members(obj, base)
        arguments = built_in["args"] = _ARGUMENTS.__get__(obj, kind)
        if self.whole:
            own = own_state(obj)
        else:
            own = self._what_travels(obj, built_in)
            arguments = built_in["args"]
        if _GROUP is not None and isinstance(obj, _GROUP):
            arguments = (obj.message, list(obj.exceptions))
        chain: "Dict[str, Any]" = {}
        if self.with_chain:
            for name in ("__cause__", "__context__", "__suppress_context__"):
                value = vars(BaseException)[name].__get__(obj, kind)
                if value:
                    chain[name] = value
        state = (built_in, None if own is None else rebuild._State(own), chain)
        return rebuild.exception, (kind, base, arguments), state, None, None, rebuild.set_exception

    def _what_travels(self, obj: "BaseException", built_in: "Dict[str, Any]") -> "Any":
        """The state of an exception, and its `built_in` members, without what cannot be pickled. A note of
        the exception says what is left out.
        """
        left: "List[str]" = []

        def kept(values: "Dict[str, Any]") -> "Dict[str, Any]":
            reasons = {name: self._reason_against_it(value) for name, value in values.items()}
            left.extend("%s (%s)" % pair for pair in reasons.items() if pair[1] is not None)
            return {name: value for name, value in values.items() if reasons[name] is None}

        numbered = {"args[%d]" % at: value for at, value in enumerate(built_in.pop("args"))}
        sent = kept(numbered)
        members = kept(built_in)
        built_in.clear()
        built_in.update(members)
        built_in["args"] = tuple(
            sent[name] if name in sent else "<%s>" % type(value).__qualname__
            for name, value in numbered.items()
        )
        try:
            own = own_state(obj)
        except Exception:
            own = dict(getattr(obj, "__dict__", {}))
        values, slots = own if isinstance(own, tuple) and len(own) == 2 else (own, None)
        values = kept(values) if isinstance(values, dict) else {}
        slots = kept(slots) if isinstance(slots, dict) else None
        if left:
            notes = values.get("__notes__", [])
            values["__notes__"] = (notes if isinstance(notes, list) else []) + [
                "Not sent along: " + ", ".join(left)
            ]
        return (values, slots) if slots else values


#: The size (bytes) of an object that has a ``__dict__`` and a list of weak references, but no state.
_STATELESS = object.__basicsize__ + 2 * tuple.__itemsize__

_REDUCERS: "Dict[type, Any]" = {
    types.FunctionType: Pickler._function,
    types.CodeType: Pickler._code,
    types.CellType: Pickler._cell,
    types.ModuleType: Pickler._module,
    types.MethodType: Pickler._method,
    _LRU: Pickler._lru,
}


_REDUCERS.update(reducers.found())
