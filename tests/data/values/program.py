"""A user's program: one function for each row of the table in docs/values.md. Prints what became of each, as JSON.

Run as a script, as a module of a package, at a prompt and without a ``__file__``: what holds for a row holds however it is run.
"""

import abc
import collections
import concurrent.futures
import contextlib
import contextvars
import dataclasses
import enum
import functools
import inspect
import io
import json
import logging
import multiprocessing
import os
import pickle
import random
import statistics
import sys
import threading
import traceback
import types
import typing
import weakref
from random import random as draw_one

import ownpkg.config
import ownpkg.lazy
import ownpkg.work
from ownpkg import work

import wingspan

POOL = os.environ["WINGSPAN_TEST_POOL"]
ROWS = {}
METHODS = ("fork", "spawn", "forkserver")


def row(name):
    """The check of a row of the table."""

    def add(check):
        ROWS[name] = check
        return check

    return add


def outputs(function, inputs, workers=1):
    return list(wingspan.map(function, inputs, pool=POOL, options=wingspan.Options(workers=workers)))


def output(function, given=None):
    return outputs(function, [given])[0]


def there_and_back(value):
    """The value, as it comes back from a component that was given it, and as one that the function refers to."""
    given = output(lambda x: x, value)
    referred = output(lambda _: value)
    return given, referred


def raised(function):
    m = wingspan.map(function, [1], pool=POOL)
    m.wait(errors_ok=True)
    try:
        m[0]
    except Exception as error:
        return error
    raise AssertionError("it did not fail")


# -- functions ------------------------------------------------------------------------------------------------------------

SCALE = 10


def scaled(x):
    return SCALE * x


def square(x):
    return x * x


@row("function of the script, lambda, closure")
def functions():
    offset = 3
    assert output(scaled, 2) == 20
    assert output(lambda x: scaled(x) + offset, 2) == 23
    counter = 0

    def up():
        nonlocal counter
        counter += 1

    def value():
        return counter

    def both(_):
        up()
        up()
        return value()

    assert output(both) == 2 and counter == 0

    def body(_):
        class Inner:
            scale = SCALE

        return Inner.scale

    assert output(body) == 10


LOCK = threading.Lock()


def looks_up(x):
    """Names globals in strings. One of them, LOCK, cannot travel, and is not used."""
    return eval("SCALE * x"), globals()["square"](x), "LOCK"


@row("global of the script")
def globals_of_the_script():
    global SCALE
    SCALE = 11
    try:
        assert output(scaled, 1) == 11
        assert output(looks_up, 2) == (22, 4, "LOCK")
    finally:
        SCALE = 10


@functools.lru_cache(maxsize=8, typed=True)
def cached(x):
    return x + 1


@functools.singledispatch
def kind_of(x):
    return "object"


@kind_of.register
def _(x: int):
    return "int"


@kind_of.register
def _(x: list):
    return [kind_of(one) for one in x]


def logged(function):
    @functools.wraps(function)
    def wrapper(*args):
        return function(*args) + 0.5

    return wrapper


@logged
def decorated(x):
    return x


@contextlib.contextmanager
def adding(number):
    yield number


@adding(1)
def managed(x):
    with adding(1) as one:
        return x + one


@functools.total_ordering
class Ordered:
    def __init__(self, x):
        self.x = x

    def __eq__(self, other):
        return self.x == other.x

    def __lt__(self, other):
        return self.x < other.x

    power = functools.partialmethod(lambda self, by: self.x**by, 2)

    @functools.cached_property
    def twice(self):
        return 2 * self.x


@row("what functools makes")
def what_functools_makes():
    assert outputs(cached, [1, 1, 2]) == [2, 2, 3]
    hits = outputs(lambda x: (cached(x), cached.cache_info().hits)[1], [1, 1])
    assert hits == [0, 1] and output(lambda _: cached.cache_parameters()["typed"]) is True
    assert outputs(kind_of, [1, "a", ["b", 2]]) == ["int", "object", ["object", "int"]]
    assert output(decorated, 1) == 1.5
    for function in (cached, kind_of, decorated):
        assert output(lambda _, known=function: known) is function
    assert output(functools.partial(pow, 2), 5) == 32
    assert output(managed, 1) == 2 and output(lambda x: managed(x), 1) == 2
    one = Ordered(3)
    assert output(lambda other: (one >= other, one.power(), one.twice), Ordered(2)) == (True, 9, 6)


class Callable:
    def __init__(self, by):
        self.by = by

    def __call__(self, x):
        return self.by * x

    def method(self, x):
        return self.by + x

    @classmethod
    def named(cls, x):
        return cls.__name__, x

    @staticmethod
    def plain(x):
        return -x


@row("bound method, class method, static method, callable object")
def methods():
    assert output(Callable(3), 2) == 6
    assert output(Callable(3).method, 2) == 5
    assert output(Callable.named, 1) == ("Callable", 1)
    assert output(Callable.plain, 1) == -1


async def later(x):
    return x + 1


def several(x):
    yield from range(x)


@row("coroutine function, generator function that the function calls")
def coroutine_and_generator():
    import asyncio

    assert output(lambda x: (asyncio.run(later(x)), list(several(x))), 2) == (3, [0, 1])


@row("function that comes back")
def functions_that_come_back():
    assert output(lambda _: square) is square
    made = output(lambda x: lambda y: x + y, 1)
    assert made(2) == 3


# -- classes --------------------------------------------------------------------------------------------------------------


class Plain:
    level = 1

    def __init__(self, x=0):
        self.x = x

    def value(self):
        return SCALE


@row("class of the script")
def own_class_wins():
    m = wingspan.map(lambda one: Plain(one.x + 1), [Plain(1)], pool=POOL, tag=f"own-class-{os.getpid()}")
    m.wait()
    before = Plain.value
    Plain.level = 5
    Plain.value = lambda self: "mended"
    try:
        for read in (
            lambda: m[0],
            lambda: wingspan.load(m.tag)[0],
            lambda: next(iter(m)),
            lambda: m.input(0),
        ):
            found = read()
            assert type(found) is Plain and found.x in (1, 2)
            assert (found.level, found.value(), Plain.level, Plain(1).value()) == (5, "mended", 5, "mended")
    finally:
        Plain.value, Plain.level = before, 1
        wingspan.remove(m.tag, force=True)


def count_up(given):
    Plain.level += 1
    return Plain.level


@row("state of a class on a worker")
def state_of_a_class():
    assert outputs(count_up, [Plain(), Plain(), Plain()]) == [2, 3, 4]
    assert Plain.level == 1


@row("class that no longer fits")
def class_that_no_longer_fits():
    global Shade

    class Shade(enum.Enum):
        LIGHT = 1
        DARK = 2

    Shade.__qualname__ = "Shade"
    m = wingspan.map(lambda x: x, [Shade.DARK], pool=POOL)
    m.wait()

    class Shade(enum.Enum):
        LIGHT = 1

    Shade.__qualname__ = "Shade"
    try:
        m[0]
    except wingspan.MapError as error:
        assert "Shade" in str(error) and "DARK" in str(error) and error.hint
    else:
        raise AssertionError("it fitted")


class Outer:
    class Inner:
        def outer(self):
            return Outer


class First:
    def other(self):
        return Second()


class Second:
    def other(self):
        return First()


@row("nested and local classes, classes that refer to each other")
def nested_classes():
    for found in there_and_back(Outer.Inner()):
        assert type(found) is Outer.Inner and found.outer() is Outer
    assert type(output(lambda x: x.other().other(), First())) is First

    class Local:
        def me(self):
            return __class__

    for found in there_and_back(Local()):
        assert type(found) is Local and found.me() is Local


class Colour(enum.Enum):
    RED = 1
    CRIMSON = 1
    BLUE = 2


class Rights(enum.Flag):
    READ = enum.auto()
    WRITE = enum.auto()
    ALL = READ | WRITE


class Planet(enum.Enum):
    EARTH = (5.9, 6.3)

    def __init__(self, mass, radius):
        self.mass, self.radius = mass, radius

    @property
    def gravity(self):
        return self.mass / self.radius


class Name(str, enum.Enum):
    ONE = "one"


class Number(enum.IntEnum):
    ONE = 1


class Coordinate(bytes, enum.Enum):
    PX = (0, "P.X")

    def __new__(cls, value, label):
        made = bytes.__new__(cls, [value])
        made._value_, made.label = value, label
        return made


Made = enum.Enum("Made", "LEFT RIGHT")


@row("enum, flags")
def enums():
    members = [
        Colour.RED,
        Colour.BLUE,
        Rights.ALL,
        Rights.READ,
        Planet.EARTH,
        Name.ONE,
        Number.ONE,
        Coordinate.PX,
    ]
    members += [Made.LEFT, Rights.READ | Rights.WRITE]
    for found in there_and_back(members):
        assert all(one is known for one, known in zip(found, members))

    def look(colour):
        return (
            colour is Colour.CRIMSON,
            list(Colour),
            Colour["CRIMSON"].name,
            Rights(3) is Rights.ALL,
            Planet.EARTH.gravity > 0.9,
            Coordinate(0).label,
            Number.ONE + 1,
            Made.RIGHT.value,
        )

    assert output(look, Colour.RED) == (True, [Colour.RED, Colour.BLUE], "RED", True, True, "P.X", 2, 2)


class OneSlot:
    __slots__ = "value"


class Mangled:
    __slots__ = ("__value",)

    def __init__(self, value):
        self.__value = value

    def value(self):
        return self.__value


class Documented:
    __slots__ = {"a": "its meaning", "__dict__": "", "__weakref__": ""}


@row("__slots__")
def slots():
    one = OneSlot()
    one.value = 3
    assert [found.value for found in there_and_back(one)] == [3, 3]
    assert [found.value() for found in there_and_back(Mangled(4))] == [4, 4]
    assert output(lambda x: hasattr(x, "__dict__"), one) is False
    free = Documented()
    free.a, free.b = 1, 2
    assert [(found.a, found.b) for found in there_and_back(free)] == [(1, 2), (1, 2)]


@dataclasses.dataclass(slots=True, frozen=True)
class Point:
    x: int
    y: int = 2


@dataclasses.dataclass(kw_only=True)
class Options:
    a: int
    extra: dataclasses.InitVar[int] = 0
    many: list = dataclasses.field(default_factory=list)

    def __post_init__(self, extra):
        self.total = self.a + extra


class Pair(typing.NamedTuple):
    left: int
    right: int = 0


Old = collections.namedtuple("Old", "a b")


class Keys(typing.TypedDict, total=False):
    a: int


@row("dataclass, NamedTuple, TypedDict")
def dataclasses_and_tuples():
    values = [Point(1), Options(a=1, extra=2), Pair(1), Old(1, 2)]
    for found in there_and_back(values):
        assert found == values and [type(one) for one in found] == [type(one) for one in values]
    assert output(lambda x: (Point(x), Options(a=x, extra=1).total, Pair(x), Keys(a=x)), 1) == (
        Point(1),
        2,
        (1, 0),
        {"a": 1},
    )


T = typing.TypeVar("T")
Named_co = typing.TypeVar("Named_co", bound="Plain", covariant=True)
Length = typing.NewType("Length", int)
TYPES = [T, Named_co, typing.TypeVar("Either", int, str), Length]
TYPES += [getattr(typing, kind)("Rest") for kind in ("ParamSpec", "TypeVarTuple") if hasattr(typing, kind)]
Either, Rest = TYPES[2], TYPES[-1]


class Box(typing.Generic[T]):
    def __init__(self, content: "T") -> None:
        self.content = content

    def get(self) -> "T":
        return self.content


class Speaks(typing.Protocol):
    def speak(self) -> "str": ...


class Shape(abc.ABC):
    @abc.abstractmethod
    def area(self): ...


class Circle(Shape):
    def area(self):
        return 3


Shape.register(int)


@row("generic, protocol and abstract classes, type hints")
def typing_classes():
    def look(x):
        try:
            Shape()
        except TypeError:
            abstract = True
        return (
            isinstance(1, Shape),
            isinstance(Circle(), Shape),
            abstract,
            typing.get_type_hints(Box.get)["return"].__name__,
        )

    assert output(look) == (True, True, True, "T")
    for found in there_and_back([T, Named_co, Length, Rest, Either]):
        assert found == [T, Named_co, Length, Rest, Either]
    assert output(
        lambda _: (Named_co.__bound__, Named_co.__covariant__, Either.__constraints__, T.__module__)
    ) == (
        Named_co.__bound__,
        True,
        (int, str),
        __name__,
    )
    assert output(lambda x: (Box[int](x).get(), typing.get_type_hints(Speaks.speak)["return"]), 4) == (4, str)
    hinting = lambda _: [typing.get_type_hints(kind)["other"] for kind in (Hinting, HintingToo)]  # noqa: E731
    assert output(hinting) == [OnlyHinted, typing.ClassVar[AlsoOnlyHinted]]


class OnlyHinted:
    pass


class AlsoOnlyHinted:
    pass


class Hinting(typing.NamedTuple):
    other: "OnlyHinted"


@dataclasses.dataclass
class HintingToo:
    other: "typing.ClassVar[AlsoOnlyHinted]" = None


class Registering(type):
    made = []

    def __new__(mcs, name, bases, body, **how):
        made = super().__new__(mcs, name, bases, body)
        mcs.made.append(name)
        return made


class Registered(metaclass=Registering):
    pass


class Base:
    followers = []

    def __init_subclass__(cls, *, flag, **rest):
        super().__init_subclass__(**rest)
        cls.flag = flag
        Base.followers.append(cls.__name__)


class Follower(Base, flag=3):
    pass


class Positive:
    def __set_name__(self, owner, name):
        self.name = "_" + name

    def __get__(self, one, owner):
        return self if one is None else getattr(one, self.name)

    def __set__(self, one, value):
        if value < 0:
            raise ValueError(value)
        setattr(one, self.name, value)


class Checked:
    size = Positive()

    def __init__(self, size):
        self.size = size

    @property
    def double(self):
        return 2 * self.size

    @functools.cached_property
    def triple(self):
        return 3 * self.size


class Proxy:
    """Stands for something else, as proxies do."""

    def __init__(self, of):
        self.of = of

    @property
    def __class__(self):
        return type(self.of)

    @property
    def __name__(self):
        return f"of {self.of}"

    @property
    def __dict__(self):
        return {}


@row("metaclass, __init_subclass__, descriptor, property")
def metaclasses():
    def look(_):
        checked = Checked(2)
        return (
            Registering.made,
            Registered.__name__,
            Follower.flag,
            Base.followers,
            checked.double,
            checked.triple,
        )

    assert output(look) == (["Registered"], "Registered", 3, ["Follower"], 4, 6)
    assert [found.triple for found in there_and_back(Checked(1))] == [3, 3]
    assert Base.followers == ["Follower"] and Registering.made == ["Registered"]
    stands_for = output(lambda x: (isinstance(Proxy(x), int), Proxy(x).__name__, Proxy(x).__dict__), 3)
    assert stands_for == (True, "of 3", {})


# -- exceptions -----------------------------------------------------------------------------------------------------------


class TwoArguments(Exception):
    def __init__(self, name, code):
        super().__init__(f"{name} {code}")
        self.name, self.code = name, code


class KeywordOnly(Exception):
    def __init__(self, *, code):
        self.code = code


class OfFile(OSError):
    def __init__(self, path):
        super().__init__(2, "not there", path)
        self.extra = path


class Slotted(Exception):
    __slots__ = ("code",)

    def __init__(self, code, more):
        self.code = code


@dataclasses.dataclass(frozen=True)
class Frozen(Exception):
    code: int


class Recursive(Exception):
    """Whatever it is asked for that it has not is asked of what it has not."""

    def __getattr__(self, name):
        return getattr(self.inner, name)


class Locked(Exception):
    """Has what cannot be pickled."""

    def __init__(self, text):
        super().__init__(text, threading.Lock())
        self.lock, self.code = threading.Lock(), 7


class Unreadable(Exception):
    """Its own way of being rebuilt fails."""

    def __reduce__(self):
        return int, ("not a number",)


class Text(str):
    pass


class OddText(ImportError):
    __notes__ = "neither a list"
    name = property(lambda self: 1 / 0)

    def __str__(self):
        return Text("odd")


@row("exception of the user's")
def exceptions():
    def fail(x):
        try:
            raise ValueError("inner")
        except ValueError as error:
            outer = TwoArguments("a", 2)
            if hasattr(outer, "add_note"):
                outer.add_note("a note")
            raise outer from error

    error = raised(fail)
    assert type(error) is TwoArguments and (error.name, error.code, str(error)) == ("a", 2, "a 2")
    assert isinstance(error.__context__, ValueError) and "inner" in str(error.__cause__)
    assert not hasattr(error, "add_note") or "a note" in error.__notes__

    def by_keyword(x):
        raise KeywordOnly(code=3)

    def of_file(x):
        raise OfFile("/nowhere")

    def slotted(x):
        raise Slotted(4, 5)

    assert raised(by_keyword).code == 3
    error = raised(of_file)
    assert (error.errno, error.filename, error.extra) == (2, "/nowhere", "/nowhere")
    assert raised(slotted).code == 4

    def unusual(kind):
        def fails(x):
            try:
                raise ValueError("inner")
            except ValueError as error:
                raise kind(5) from error

        return fails

    for kind in (Frozen, Recursive, OddText):
        error = raised(unusual(kind))
        assert (
            type(error) is kind
            and isinstance(error.__context__, ValueError)
            and "inner" in str(error.__cause__)
        )
    assert raised(unusual(Frozen)).code == 5

    def in_part(kind):
        def fails(x):
            if kind is AttributeError:
                return threading.Lock().nothing
            raise kind("why")

        return fails

    for kind in (Locked, Unreadable, AttributeError):
        error = raised(in_part(kind))
        assert type(error) is kind and not hasattr(error, "lock"), error
    error = raised(in_part(Locked))
    assert (error.args, error.code) == (("why", "<lock>"), 7) and "lock (TypeError" in str(error.__notes__)
    if sys.version_info >= (3, 11):

        def grouped(x):
            raise ExceptionGroup("several", [TwoArguments("b", 1), KeywordOnly(code=2)])

        error = raised(grouped)
        assert [type(one) for one in error.exceptions] == [TwoArguments, KeywordOnly] and error.exceptions[
            1
        ].code == 2


@row("StopIteration")
def stop_iteration():
    def stops(x):
        raise StopIteration(5)

    m = wingspan.map(stops, [1], pool=POOL)
    m.wait(errors_ok=True)
    for read in (lambda: m[0], lambda: list(m), lambda: m.get(0)):
        try:
            read()
        except wingspan.ComponentError as error:
            assert isinstance(error.exception, StopIteration) and error.exception.value == 5
        else:
            raise AssertionError("nothing was raised")


def divides(x):
    return x / 0  # this line


@row("traceback")
def tracebacks():
    m = wingspan.map(divides, [1], pool=POOL)
    m.wait(errors_ok=True)
    text = m.errors[0].traceback
    assert "in divides" in text and "<dynamic-code>" not in text, text
    if divides.__code__.co_filename != "<stdin>":
        assert divides.__code__.co_filename in text and "return x / 0  # this line" in text, text
    m = wingspan.map(work.fail, [1], pool=POOL)
    m.wait(errors_ok=True)
    assert work.__file__ in m.errors[0].traceback and "raise Trouble(x, code=x + 1)" in m.errors[0].traceback


# -- own modules ----------------------------------------------------------------------------------------------------------


@row("own module or package beside the script")
def own_modules():
    assert output(lambda x: work.locked(x), 1) == 2
    assert output(work.cached, 1) == 2
    for found in there_and_back([work.Colour.CRIMSON, work.Model()]):
        assert found[0] is work.Colour.RED and type(found[1]) is work.Model
    assert output(lambda x: x.label, work.Model()) == "model 1"
    error = raised(work.fail)
    assert type(error) is work.Trouble and (error.what, error.code) == (1, 2)


@row("own code imported inside the function")
def imported_inside():
    # A module of this folder has the name of one of the standard library.
    assert output(statistics.mean, [1]) == "own mean of [1]"

    def of_its_name(x):
        import statistics

        return statistics.mean(x)

    assert output(of_its_name, [1]) == "own mean of [1]"
    expected = (6, 42, 42, ["one", "two", "three"], ["one", "two", "three"], 6)
    assert output(work.imports_inside, 2) == expected

    def inside(x):
        import mathsbeside
        from ownpkg.lazily import ANSWER

        return mathsbeside.triple(x) + ANSWER

    assert output(inside, 1) == 45


@row("state of an own module")
def state_of_own_modules():
    ownpkg.config.DEPTH, ownpkg.config.TABLE["a"], work.Model.limit = 7, 1, 9
    before = work.helper
    work.helper = lambda x: ("another", x)
    try:
        assert output(lambda _: ownpkg.config.depth()) == (7, {"a": 1})
        assert output(lambda _: work.Model().judge()) == (9, work.Colour.RED)
        assert output(work.calls_helper, 1) == ("another", 1)
    finally:
        ownpkg.config.DEPTH, work.Model.limit, work.helper = None, 1, before
        ownpkg.config.TABLE.clear()


@row("module without a file")
def module_without_file():
    made = types.ModuleType("made_here")
    exec("def twice(x):\n    return FACTOR * x\nFACTOR = 2", vars(made))
    made.lock = threading.Lock()
    sys.modules["made_here"] = made
    assert output(lambda x: made.twice(x), 4) == 8
    assert output(made.twice, 3) == 6


@row("source of own code on the worker")
def source_on_the_worker():
    def look(_):
        return inspect.getsource(work.square), typing.get_type_hints(work.square)["return"].__name__

    assert output(look) == ('def square(x: "int") -> "Colour":\n    return x * x\n', "Colour")


class Carried:
    def __init__(self, x):
        self.x = x


def carry(x):
    return Carried(x.x + 1)


@row("multiprocessing and ProcessPoolExecutor")
def processes():
    def work_in_processes(x):
        found = []
        for method in METHODS:
            context = multiprocessing.get_context(method)
            with context.Pool(2) as pool:
                found.append(pool.map(square, [1, 2]) + pool.map(work.square, [3]))
                found.append([one.x for one in pool.map(carry, [Carried(1)])])
            with concurrent.futures.ProcessPoolExecutor(1, mp_context=context) as pool:
                found.append(list(pool.map(cached, [4])))
        found.append(type(pickle.loads(pickle.dumps(Carried(1)))) is Carried)
        return found

    assert output(work_in_processes) == [[1, 4, 9], [2], [5]] * 3 + [True]


# -- others ---------------------------------------------------------------------------------------------------------------

MISSING = object()


class Nothing:
    pass


NOTHING = Nothing()


class Unset(str):
    """Pickles by the name under which there is one."""

    def __init__(self, text):
        self.text = text

    def __reduce__(self):
        return "UNSET"


UNSET = Unset("unset")


class Field:
    default = UNSET


@row("object that is compared by `is`")
def compared_by_identity():
    assert outputs(lambda x: x is MISSING, [MISSING, 1]) == [True, False]
    assert output(lambda _: MISSING) is MISSING
    assert output(lambda x: x is NOTHING, NOTHING) is True and output(lambda _: NOTHING) is NOTHING
    assert output(lambda x: (x is UNSET, Field.default is UNSET, UNSET.text), UNSET) == (True, True, "unset")
    assert output(lambda _: [UNSET])[0] is UNSET
    assert output(work.is_missing, work.MISSING) is True
    assert output(lambda x: x is dataclasses.MISSING, dataclasses.MISSING) is True


generator = random.Random(5)


@row("generator of random numbers")
def random_numbers():
    drawing = [lambda _: draw_one(), lambda _: random.random(), lambda _: generator.random(), work.draw]
    with contextlib.suppress(ImportError):
        import numpy
        from numpy.random import normal

        numbers = numpy.random.default_rng(4)
        old = numpy.random.RandomState(4)
        drawing += [
            lambda _: normal(),
            lambda _: float(numbers.normal()),
            lambda _: old.normal(),
            lambda _: numpy.random.rand(),
        ]
    for draw in drawing:
        found = outputs(lambda x: (draw(x), os.getpid()), range(20), workers=2)
        assert len({value for value, _ in found}) == 20
        for column in zip(*(value if isinstance(value, tuple) else (value,) for value, _ in found)):
            assert len(set(column)) == 20
    given = random.Random(6)
    expected = random.Random(6).random()
    assert outputs(lambda r: r.random(), [given, given]) == [expected, expected]


variable = contextvars.ContextVar("variable", default=1)


@row("context variable, logger, weak reference")
def context_and_loggers():
    token = variable.set(2)
    try:
        assert output(lambda _: variable.get()) == 2
    finally:
        variable.reset(token)
    logger = logging.getLogger("own.logger")
    assert output(lambda _: logger.name) == "own.logger"
    kept = Plain(3)
    reference = weakref.ref(kept)
    assert output(lambda _: (reference() is kept, kept.x)) == (True, 3)
    method, proxy, gone = weakref.WeakMethod(kept.value), weakref.proxy(kept), weakref.proxy(Plain())
    assert output(lambda _: (method() == kept.value, proxy.x, proxy.value())) == (True, 3, SCALE)
    assert type(raised(lambda _: gone.x)) is ReferenceError
    table = weakref.WeakKeyDictionary({kept: 4})
    assert output(lambda _: table[kept]) == 4


@row("module as a global")
def modules_as_globals():
    import xml.dom.minidom

    assert output(lambda x: xml.dom.minidom.parseString(x).documentElement.tagName, "<a/>") == "a"
    assert output(lambda x: json.dumps(x), [1]) == "[1]"
    assert output(lambda x: ownpkg.lazy.part + x, 1) == 43


@row("lock, open file, connection")
def what_cannot_travel():
    lock = threading.Lock()
    try:
        output(lambda _: lock)
    except wingspan.NotPicklable as error:
        assert "lock" in str(error) and error.hint
    else:
        raise AssertionError("it travelled")


def main():
    told = {}
    chosen = sys.argv[1:] or ROWS
    for name in chosen:
        try:
            ROWS[name]()
            told[name] = "ok"
        except BaseException:
            text = io.StringIO()
            traceback.print_exc(file=text)
            told[name] = text.getvalue()
    print(json.dumps(told))


if __name__ == "__main__":
    main()
