"""Building classes, enums and exceptions that a pickle has by value. Pickles find all this in `rebuild`."""

import contextlib

from .building import begin, built_as, end, find_known, is_half_built, lock, publish

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Optional, Tuple


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
    known = find_known(key if named else None, module, qualified_name, type)
    if known is None:
        known = built_as(key)
    if known is not None:
        return known  # type: ignore[no-any-return]
    if metaclass is None:
        metaclass = type(bases[0])
        for base in bases:
            if issubclass(type(base), metaclass):
                metaclass = type(base)
    made = _new_class(metaclass, qualified_name.rpartition(".")[2], bases, dict(head), quiet)
    begin(made, key)
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
    with lock:
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
    if not end(made):
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
        publish(made.__module__, made.__qualname__, made)
    return made


def enum_member(kind: "Any", name: "Optional[str]", value: "Any") -> "Any":
    """A member of an enum by its name, or a combination of flags by its value."""
    members = kind.__members__
    if name is not None and name in members:
        return members[name]
    if name is not None and "|" not in name and not is_half_built(kind):
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
    if not is_half_built(kind):
        if name is not None and name in kind.__members__:
            return kind.__members__[name]
        if flags is not None:
            with contextlib.suppress(ValueError):
                return kind(flags)
        return _Discarded()
    made = base.__new__(kind, *arguments)
    begin(made)
    return made


class _Discarded(object):
    """Replaces a member that the reader's own enum lacks. It goes into a state that is not used."""


def set_member(made: "Any", state: "Dict[str, Any]") -> "Any":
    if end(made):
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
