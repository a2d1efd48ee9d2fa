"""Pickles of classes, enums and exceptions that nobody can import, read by a process that does not know
them, and by one that does.
"""

from __future__ import annotations

import builtins
import ctypes
import enum
import io
import os
import pickle
import sys
import threading
import types
import weakref

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.worker import building, rebuild
from wingspan.worker.values import Pickler

MANY = int(os.environ.get("WINGSPAN_TEST_EXAMPLES", "150"))
NAMES = st.sampled_from(["A", "B", "C", "D", "E", "F"])
SLOTS = st.sampled_from(["a", "b", "c", "_d", "__e", "__f"])
PLAIN = st.one_of(
    st.integers(-9, 9), st.text(max_size=3), st.none(), st.tuples(st.integers(0, 3), st.booleans())
)


def dumps(value):
    file = io.BytesIO()
    Pickler(file, 5).dump(value)
    return file.getvalue()


def elsewhere(value):
    """The value as a process reads it that has none of its classes."""
    pickled = dumps(value)
    known = building.by_key, building.keys
    building.by_key, building.keys = weakref.WeakValueDictionary(), weakref.WeakKeyDictionary()
    try:
        return rebuild.loads(pickled)
    finally:
        building.by_key, building.keys = known


def test_this_page_s_reader_is_another_process():
    """`elsewhere` builds a class anew, and a plain read finds the one that is there: the tests below see
    both.
    """

    class Own:
        pass

    assert elsewhere(Own) is not Own
    assert rebuild.loads(dumps(Own)) is Own


@st.composite
def enums(draw):
    """An enum: of one of the kinds, with aliases, combined flags, own attributes."""
    kind = draw(st.sampled_from(["Enum", "IntEnum", "Flag", "IntFlag", "str", "init", "new"]))
    names = draw(st.lists(NAMES, min_size=1, max_size=6, unique=True))
    if kind in ("Flag", "IntFlag"):
        values = draw(st.lists(st.integers(1, 15), min_size=len(names), max_size=len(names)))
        values[0] = 15 if draw(st.booleans()) else values[0]
    elif kind == "IntEnum":
        values = draw(st.lists(st.integers(-2, 3), min_size=len(names), max_size=len(names)))
    elif kind == "str":
        values = draw(st.lists(st.text(max_size=2), min_size=len(names), max_size=len(names)))
    elif kind in ("init", "new"):
        values = draw(
            st.lists(
                st.tuples(st.integers(0, 2), st.text(max_size=1)), min_size=len(names), max_size=len(names)
            )
        )
    else:
        values = draw(st.lists(PLAIN, min_size=len(names), max_size=len(names)))
    bases = {
        "str": (str, enum.Enum),
        "init": (enum.Enum,),
        "new": (int, enum.Enum),
    }.get(kind) or (getattr(enum, kind),)

    def body(space):
        if kind == "init":

            def __init__(self, number, text):
                self.number, self.text = number, text

            space["__init__"] = __init__
        if kind == "new":

            def __new__(cls, number, text):
                made = int.__new__(cls, number)
                made._value_ = (number, text)
                made.text = text
                return made

            space["__new__"] = __new__
        for name, value in zip(names, values):
            space[name] = value

    return types.new_class("Drawn", bases, {}, body)


def looks(kind):
    """All that can be seen of an enum."""
    members = {
        name: (one.name, one.value, getattr(one, "text", None), getattr(one, "number", None))
        for name, one in kind.__members__.items()
    }
    aliases = {
        name: kind[name] is kind.__members__[one.name]
        for name, one in kind.__members__.items()
        if one.name in kind.__members__
    }
    by_value = [kind(one.value) is one for one in kind.__members__.values()]
    extra = [str(kind(0)), kind(15).value] if issubclass(kind, enum.IntFlag) else []
    return members, [one.name for one in kind], aliases, by_value, [str(one) for one in kind], extra


@given(enums())
@settings(max_examples=MANY)
def test_enums_are_the_same_elsewhere(kind):
    """Names, values, order, aliases, attributes and combined flags of any enum are those that it had;
    where it is known, members are its own.
    """
    found, members = elsewhere((kind, list(kind.__members__.values())))
    assert found is not kind
    assert looks(found) == looks(kind)
    assert all(one is found[name] for name, one in zip(kind.__members__, members))
    again = rebuild.loads(dumps(list(kind.__members__.values())))
    assert all(one is known for one, known in zip(again, kind.__members__.values()))


@st.composite
def slotted(draw):
    """An object of a class with slots in any form, derived from others with slots or without."""
    values = {}
    base: type = object
    has_dict = False
    for level in range(draw(st.integers(1, 3))):
        names = draw(st.lists(SLOTS, max_size=3, unique=True))
        form = draw(st.sampled_from(["tuple", "list", "dict", "string", "none"]))
        special = [] if has_dict or form == "string" else draw(st.sampled_from([[], ["__dict__"]]))
        name = f"Level{level}"
        if form == "none":
            space, has_dict = {}, True
        else:
            if form == "string":
                names = names[:1] or ["a"]
            declared = names + special
            space = {
                "__slots__": {
                    "tuple": tuple(declared),
                    "list": declared,
                    "dict": dict.fromkeys(declared, "what it is"),
                    "string": "".join(names[:1]),
                }[form]
            }
            has_dict = has_dict or bool(special)
            for slot in names:
                mangled = f"_{name}{slot}" if slot.startswith("__") else slot
                values[mangled] = draw(PLAIN)
        base = type(name, (base,), space)
    made = base()
    if has_dict:
        values["free"] = draw(PLAIN)
    for name, value in values.items():
        setattr(made, name, value)
    return made, values, has_dict


@given(slotted())
@settings(max_examples=MANY)
def test_slots_are_the_same_elsewhere(drawn):
    """Each slot has its value, and there is a ``__dict__`` exactly where there was one."""
    made, values, has_dict = drawn
    found = elsewhere(made)
    assert type(found) is not type(made)
    assert {name: getattr(found, name) for name in values} == values
    assert hasattr(found, "__dict__") == has_dict
    assert [one.__name__ for one in type(found).__mro__] == [one.__name__ for one in type(made).__mro__]
    assert type(rebuild.loads(dumps(made))) is type(made)


BUILT_IN = sorted(
    name
    for name, one in vars(builtins).items()
    if isinstance(one, type)
    and issubclass(one, Exception)
    and not issubclass(one, (UnicodeError, BaseException if name.endswith("Group") else ()))
)


@st.composite
def exceptions(draw, depth=2):
    """An exception of the user's: any base, any constructor, with attributes, slots, notes and a cause."""
    base = getattr(builtins, draw(st.sampled_from(BUILT_IN)))
    how = draw(st.sampled_from(["nothing", "two", "keyword", "no super", "new", "slots"]))
    first, second = draw(PLAIN), draw(PLAIN)
    space: dict[str, object] = {}
    if how == "two":

        def __init__(self, one, two):
            base.__init__(self, f"{one} {two}")
            self.one, self.two = one, two

        space["__init__"] = __init__
    elif how == "keyword":

        def __init__(self, *, one, two):
            self.one, self.two = one, two

        space["__init__"] = __init__
    elif how == "no super":

        def __init__(self, one, two):
            self.one, self.two = one, two

        space["__init__"] = __init__
    elif how == "new":

        def __new__(cls, one, two):
            made = base.__new__(cls)
            made.one, made.two = one, two
            return made

        def __init__(self, *given):
            pass

        space.update(__new__=__new__, __init__=__init__)
    elif how == "slots":

        def __init__(self, one, two):
            self.one, self.two = one, two

        space.update(__init__=__init__, __slots__=("one", "two"))
    kind = type("Drawn", (base,), space)
    made = (
        kind(one=first, two=second)
        if how == "keyword"
        else kind("told")
        if how == "nothing"
        else kind(first, second)
    )
    if hasattr(made, "add_note") and draw(st.booleans()):
        made.add_note("a note")
    if depth and draw(st.booleans()):
        made.__cause__ = draw(exceptions(depth=depth - 1))
    return made


def features(error):
    """All that can be seen of an exception."""
    if error is None:
        return None
    names = ("one", "two", "__notes__", "errno", "strerror", "filename", "name", "msg", "value", "lineno")
    own = {name: getattr(error, name, None) for name in names}
    return (
        type(error).__name__,
        type(error).__bases__[0],
        str(error),
        error.args,
        own,
        features(error.__cause__),
        error.__suppress_context__,
    )


@given(exceptions())
@settings(max_examples=MANY)
def test_exceptions_are_the_same_elsewhere(error):
    """Class, arguments, text, attributes, notes and causes of any exception are those that it had."""
    found = elsewhere(error)
    assert type(found) is not type(error)
    assert features(found) == features(error)
    assert type(rebuild.loads(dumps(error))) is type(error)


def test_a_pickle_that_cannot_be_read_leaves_no_half_class():
    """A class in a pickle that breaks off half-way is built anew, and whole, by the next one."""

    class Fragile:
        def __reduce__(self):
            return int, ("not a number",)

    class Own:
        broken = Fragile()

        def value(self):
            return 5

    pickled = dumps(Own)
    del Own.broken
    whole = dumps(Own)
    building.by_key.pop(rebuild.key_of(Own))
    with pytest.raises(ValueError, match="not a number"):
        rebuild.loads(pickled)
    assert rebuild.loads(whole)().value() == 5
    assert not building.fresh


#: What pickles name, of maps that were made long ago too.
NAMED = """InputFailed _Discarded _State by_path cached_function cached_property class_by_value code_by_value
component_files context_variable dead_reference empty_cell enum_member exception fresh_generator fresh_random
function input_failed kept module_by_value new_member parameter property_like seed_anew sentinel set_cell set_class
set_exception set_function set_kept set_member set_module single_dispatch stored_value transfer_path weak_mapping
with_files namespace""".split()


def test_what_pickles_name_stays_where_it_is():
    """Pickles name one registered module, whichever file has the function: a name that goes makes old maps
    unreadable.
    """
    for name in NAMED:
        thing = getattr(rebuild, name)
        pickled = pickle.dumps(thing, 2)
        assert b"wingspan_rebuild\n" + name.encode() in pickled
        assert pickle.loads(pickled) is thing


@pytest.mark.parametrize("value", [type({}.keys()), sys.version_info], ids=str)
def test_a_class_of_python_that_has_no_name_is_refused(value):
    """A class written in C that stands under its name in no module cannot travel, nor can its objects."""
    with pytest.raises(pickle.PicklingError, match="under its name"):
        dumps(value)


def test_modules_by_value_that_refer_to_each_other_are_tried_once(monkeypatch):
    """Whether a part can be pickled is found out once for each part, however many ways lead to it."""
    modules = [types.ModuleType(f"wingspan_made_by_hand_{number}") for number in range(4)]
    for module in modules:
        monkeypatch.setitem(sys.modules, module.__name__, module)
        vars(module).update({other.__name__: other for other in modules}, lock=threading.Lock())
    pickled = []
    dump = Pickler.dump
    monkeypatch.setattr(Pickler, "dump", lambda pickler, value: (pickled.append(value), dump(pickler, value)))
    Pickler(io.BytesIO(), 5, by_value=lambda name: name.startswith("wingspan_made_by_hand")).dump(modules[0])
    assert len(pickled) <= 1 + sum(len(vars(module)) for module in modules)


def test_types_that_ctypes_makes_are_the_reader_s_own():
    """Arrays and pointers, also of a structure of the script, and classes that are derived from them."""

    class Point(ctypes.Structure):
        _fields_ = (("x", ctypes.c_int),)

    class Named(ctypes.c_int * 2):
        pass

    for kind in (
        ctypes.c_int * 3,
        ctypes.c_int * 2 * 3,
        ctypes.POINTER(ctypes.c_double),
        Point * 2,
        ctypes.POINTER(Point),
    ):
        assert pickle.loads(dumps(kind)) is kind
    made = elsewhere(
        lambda: [list((ctypes.c_int * 3)(1, 2, 3)), list(Named(4, 5)), (Point * 2)(Point(6))[0].x]
    )
    assert made() == [[1, 2, 3], [4, 5], 6]
