"""Pickle inputs and outputs.

Code that the other side cannot import goes by value; simple values are pickled quickly.
"""

import io
import pickle
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Iterator, List, Optional, Tuple

    from .values import Pickler

#: Immutable types that plain pickle writes in a fraction of a microsecond and that any Python reads back.
SIMPLE = frozenset([int, float, str, bytes, bool, type(None), complex])

PROTOCOL = 5 if pickle.HIGHEST_PROTOCOL >= 5 else pickle.HIGHEST_PROTOCOL


#: A value of so many parts, none of them longer than so many characters or bytes, is looked at by `is_plain`.
_FEW, _SHORT = 200, 4096


def is_plain(value: "Any") -> "bool":
    """A small value that consists of `SIMPLE` ones in built-in containers: plain pickle writes it, too."""
    parts = [value]
    for part in parts:  # those of a container are appended
        kind = type(part)
        if kind in (str, bytes):
            if len(part) > _SHORT:
                return False
        elif kind not in SIMPLE:
            if kind not in (list, tuple, dict, set, frozenset) or len(parts) + len(part) > _FEW:
                return False
            parts += part
            if kind is dict:
                parts += part.values()
    return True


class Dumper(object):
    """Pickles many objects with one pickler (making one costs more than most objects do).

    Args:
        how: Arguments of `values.Pickler`.
    """

    def __init__(self, **how: "Any") -> "None":
        self._how = how
        self._buffer = io.BytesIO()
        self._write: "Callable[[Any], Any]" = self._buffer.write
        self._made: "Optional[Pickler]" = None

    def _start(self) -> "Pickler":
        from .values import Pickler  # here, as cloudpickle takes longer to import than a short component

        self._buffer = io.BytesIO()
        self._write = self._buffer.write
        self._made = Pickler(self, PROTOCOL, **self._how)
        return self._made

    @property
    def _pickler(self) -> "Pickler":
        return self._start() if self._made is None else self._made

    def _needs_no_pickler(self, value: "Any") -> "bool":
        return self._made is None and not self._how and is_plain(value)

    @property
    def codes(self) -> "List[Any]":
        """The code that was pickled by value, since the start or since an object could not be pickled."""
        return self._pickler.codes

    def write(self, data: "Any") -> "None":
        """The pickler writes to this object, which passes the data on to the present target."""
        self._write(data)

    def dump(self, value: "Any", write: "Callable[[Any], Any]") -> "None":
        """Pickle `value` to `write` piece by piece. Large bytes and arrays are passed on without a copy."""
        if self._needs_no_pickler(value):
            write(pickle.dumps(value, PROTOCOL))
            return
        pickler = self._pickler
        self._write = write
        try:
            pickler.dump(value)
        except BaseException:
            self._start()  # it may be in the middle of an object
            raise
        finally:
            self._pickler.start_anew()
            self._write = self._buffer.write

    def try_out(self, value: "Any") -> "None":
        """Raise the error that keeps `value` from being pickled."""
        self.dump(value, id)

    def exception(self, error: "BaseException") -> "bytes":
        """A pickle of an exception that can be read: with the exceptions that led to it if these can be
        pickled, and without those of its attributes that cannot. Raises the error that keeps it from being
        pickled.
        """
        from . import rebuild

        first: "Any" = None
        for with_chain, whole in ((True, True), (False, True), (False, False)):
            pickler = self._pickler
            pickler.with_chain, pickler.whole = with_chain, whole
            try:
                pickled = self.dumps(error)
                rebuild.loads(pickled)
                return pickled
            except BaseException as failure:
                first = first or failure
            finally:
                pickler.with_chain = pickler.whole = True
        raise first

    def dumps(self, value: "Any") -> "bytes":
        """The pickle of `value`. Raises the error that keeps it from being pickled."""
        if type(value) in SIMPLE or self._needs_no_pickler(value):
            return pickle.dumps(value, PROTOCOL)
        pickler = self._pickler
        buffer = self._buffer
        try:
            pickler.dump(value)
            return buffer.getvalue()
        except BaseException:
            # The pickler may be in the middle of an object: make a new one.
            self._start()
            raise
        finally:
            pickler.start_anew()
            buffer.seek(0)
            buffer.truncate()


def reason(error: "BaseException") -> "str":
    """Why something cannot be pickled, in words."""
    try:
        text = str(error)
    except Exception as another:
        return "%s, whose text cannot be had: %s" % (type(error).__name__, type(another).__name__)
    if isinstance(error, RecursionError) or "deep recursion" in text:  # the words of cloudpickle
        return "it is nested too deeply for the recursion limit of Python, %d (sys.setrecursionlimit)" % (
            sys.getrecursionlimit()
        )
    return text


def culprit(value: "Any", name: "str", dumps: "Callable[[Any], Any]", depth: "int" = 6) -> "Tuple[str, str]":
    """Find the part of `value` that cannot be pickled.

    Args:
        value: A value that `dumps` refuses.
        name: Its name for messages, such as ``"the result"``.
        dumps: The function that pickles.
        depth: How many levels to search.

    Returns:
        ``("the result['lock']", "_thread.lock")``: a path to the smallest part that is refused, and its
        type's name.
    """
    kind = type(value)
    type_name = (
        kind.__qualname__ if kind.__module__ == "builtins" else kind.__module__ + "." + kind.__qualname__
    )
    if depth:
        parts = _parts(value, name)
        while True:
            try:
                part_name, part = next(parts)
            except (
                BaseException
            ):  # the end, or an object that cannot be inspected, such as a proxy whose object is gone
                break
            try:
                dumps(part)
            except BaseException:
                return culprit(part, part_name, dumps, depth - 1)
    return name, type_name


def _parts(value: "Any", name: "str") -> "Iterator[Tuple[str, Any]]":
    if isinstance(value, dict):
        for key, part in list(value.items())[:1000]:
            yield "%s[%.40r]" % (name, key), part
    elif isinstance(value, (list, tuple, set, frozenset)):
        for number, part in enumerate(list(value)[:1000]):
            yield "%s[%d]" % (name, number), part
    elif callable(value) and getattr(value, "__closure__", None):
        for variable, cell in zip(value.__code__.co_freevars, value.__closure__):
            try:
                yield "the variable %r of %s" % (variable, name), cell.cell_contents
            except ValueError:
                pass
        for part in _globals_of(value, name):
            yield part
    elif callable(value) and hasattr(value, "__code__"):
        for part in _globals_of(value, name):
            yield part
    elif isinstance(getattr(value, "__dict__", None), dict) and not isinstance(value, type):
        for attribute, part in list(vars(value).items())[:1000]:
            yield "%s.%s" % (name, attribute), part


def _globals_of(function: "Any", name: "str") -> "Iterator[Tuple[str, Any]]":
    for variable in function.__code__.co_names:
        if variable in function.__globals__:
            yield "the global %r of %s" % (variable, name), function.__globals__[variable]
