"""Digests by which a memo knows functions and inputs again: equal digests mean that the same travels.

What is fed to the digest is what `wingspan.worker.values` would write for a worker, so everything that a
worker would get counts: code, defaults, closures, the globals that code names, classes, their methods. Left
out is what differs between two sessions and changes nothing: the order in which a set is walked, where in a
file code stands, random keys by which classes are told apart, whether two equal texts are one object.

Two different things never have one digest, but for a collision of BLAKE2b. One thing may have two: that is a
miss, and does no harm. An object of which nothing is known (it cannot be pickled) has none.
"""

from __future__ import annotations

import hashlib
import io
import pickle
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any

from wingspan.maps._code import code_digest
from wingspan.worker import values
from wingspan.worker.pickling import PROTOCOL
from wingspan.worker.streams import pickle_bytes

if TYPE_CHECKING:
    from collections.abc import Callable

    from wingspan.worker import rebuild

__all__ = ["DIGEST_BYTES", "Digests", "canonical"]

DIGEST_BYTES = 16
#: What is pickled as it is, without asking for a reducer.
_AS_IT_IS = frozenset({int, float, str, bytes, bool, type(None), complex, list, tuple, dict, bytearray})
#: In pickles of protocol 4 and later the first of these opcodes begins a set, and the second ends a
#: frozenset; each with the opcode that memoizes it (pickletools).
_SETS = (b"\x8f\x94", b"\x91\x94")
#: Entries of a class that say where it stands in its file, or that come in any order (Python 3.13).
_OF_NO_ACCOUNT = frozenset({"__firstlineno__", "__static_attributes__"})


def canonical(value: Any, *, by_value: Callable[[str], bool], spread: bool = False) -> bytes | None:
    """Digest of `value`, as it would travel; None if that cannot be told.

    Args:
        value: A function, an input.
        by_value: Name of a module -> whether its things travel by value.
        spread: As for `values.Pickler`: true for functions.
    """
    sink = _Sink()
    try:
        _Canonical(sink, by_value, spread).dump(value)
    except Exception:  # noqa: BLE001 - objects of the user's may raise anything; what is too deep, RecursionError
        return None
    return sink.hash.digest()


class _Sink:
    """A file whose content is not kept, only its digest."""

    def __init__(self) -> None:
        self.hash = hashlib.blake2b(digest_size=DIGEST_BYTES)

    def write(self, data: Any) -> int:
        view = pickle_bytes(data)
        self.hash.update(view)
        return len(view)


class _Set:
    """Stands for a set, whose elements are told by their digests in order."""


class _Code:
    """Stands for code, which is told by its digest."""


# Python's own pickler, not the one in C: that asks nobody about sets, and remembers texts by their identity.
class _Canonical(pickle._Pickler):
    """Pickles such that equal things give equal bytes."""

    def __init__(self, sink: _Sink, by_value: Callable[[str], bool], spread: bool) -> None:
        super().__init__(sink, PROTOCOL)
        self._how = by_value, spread
        #: Says how things travel; nothing is written by it.
        self._inner = values.Pickler(io.BytesIO(), PROTOCOL, by_value, spread)
        self.dispatch_table = self._inner.dispatch_table

    def memoize(self, obj: Any) -> None:
        if type(obj) not in (str, bytes):
            super().memoize(obj)  # type: ignore[misc]

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind in _AS_IT_IS:
            return NotImplemented
        if kind is set or kind is frozenset:
            parts = [canonical(one, by_value=self._how[0], spread=self._how[1]) for one in obj]
            if None in parts:
                raise pickle.PicklingError("an element of a set has no digest")
            return _Set, (kind.__name__, sorted(part for part in parts if part is not None))
        if kind is CodeType:
            return _Code, (code_digest(obj),)
        made = self._inner.reducer_override(obj)
        return made if made is NotImplemented or isinstance(made, str) else _without_keys(made)


if not TYPE_CHECKING:
    rebuild = values.rebuild  # the module that pickles name: this process may have two copies of it
#: The position, in the arguments of these reducers, of the key by which a session tells things apart.
_KEY_AT: dict[Any, int] = {
    rebuild.function: 0,
    rebuild.class_by_value: 0,
    rebuild.cached_function: 0,
    rebuild.parameter: 0,
    rebuild.context_variable: 0,
    rebuild.single_dispatch: 2,
}


def _without_keys(made: Any) -> Any:
    """What a reducer answers, without the parts that differ from session to session."""
    maker, arguments, *rest = made
    place = _KEY_AT.get(maker) if isinstance(maker, FunctionType) else None
    if place is not None and len(arguments) > place:
        known = arguments[place] is not None
        arguments = (*arguments[:place], known, *arguments[place + 1 :])
    if maker is rebuild.class_by_value and rest:
        attributes, *more = rest[0]
        kept = {name: value for name, value in attributes.items() if name not in _OF_NO_ACCOUNT}
        rest[0] = (kept, *more)
    return (maker, arguments, *rest)


class Digests:
    """Digests of inputs, gathered while they are pickled.

    Args:
        by_value: Name of a module -> whether its things travel by value.

    Attributes:
        joined: The digests so far, one after the other.
    """

    def __init__(self, by_value: Callable[[str], bool]) -> None:
        self._by_value = by_value
        self.joined = bytearray()
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._end = b""
        self._has_sets = False

    def add_all(self, pickles: list[bytes]) -> None:
        """Inputs of plain types: equal ones have equal pickles."""
        new = hashlib.blake2b
        self.joined += b"".join([new(one, digest_size=DIGEST_BYTES).digest() for one in pickles])

    def begin(self) -> None:
        """Another input is about to be pickled."""
        self._hash = hashlib.blake2b(digest_size=DIGEST_BYTES)
        self._end, self._has_sets = b"", False

    def write(self, data: Any) -> None:
        """A part of its pickle."""
        view = pickle_bytes(data)
        self._hash.update(view)
        if len(view) <= 1 << 17:  # a larger part is one text, array or bytes: there is no set in it
            plain = self._end + bytes(view)
            self._has_sets = self._has_sets or any(mark in plain for mark in _SETS)
            self._end = plain[-1:]

    def end(self, given: Any, holds_code: bool) -> None:
        """It is pickled.

        Args:
            given: The input.
            holds_code: Code travels by value in it.
        """
        if not holds_code and not self._has_sets:
            self.joined += self._hash.digest()
            return
        known = canonical(given, by_value=self._by_value)
        # An input without a digest equals no other one: it is computed.
        self.joined += known if known is not None else _unlike_all()


def _unlike_all() -> bytes:
    import os

    return os.urandom(DIGEST_BYTES)
