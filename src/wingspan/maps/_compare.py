"""Where two values differ."""

from __future__ import annotations

import contextlib
import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

__all__ = ["difference"]

#: Values that are compared as they are.
_PLAIN = (int, float, complex, str, bytes, bool, type(None))


def difference(old: Any, new: Any, name: str = "the output") -> str | None:
    """Where two values differ, and how; None: they are equal.

    A number that is none (NaN) equals itself.

    >>> difference({"loss": [1.0, float("nan")]}, {"loss": [1.0, float("nan")]})
    >>> difference({"loss": [1.0, 2.0]}, {"loss": [1.0, 2.5]})
    "the output['loss'][1]: 2.0 before, 2.5 now"
    >>> difference([1], (1,)), difference({"a": 1}, {"b": 1})
    ('the output: of type list before, tuple now', "the output: keys 'a' before, 'b' now")
    """
    if type(old) is not type(new):
        return f"{name}: of type {type(old).__name__} before, {type(new).__name__} now"
    ways: list[tuple[bool, Callable[[Any, Any, str], str | None]]] = [
        (isinstance(old, _PLAIN), _of_plain_values),
        (isinstance(old, Mapping), _of_mappings),
        (isinstance(old, list | tuple), _of_sequences),
        (hasattr(old, "__array__") and hasattr(old, "dtype") and hasattr(old, "shape"), _of_arrays),
        (callable(getattr(old, "equals", None)), _of_tables),
        (isinstance(getattr(old, "__dict__", None), dict) and not callable(old), _of_objects),
        (True, _of_others),
    ]
    return next(way for suits, way in ways if suits)(old, new, name)


def _of_plain_values(old: Any, new: Any, name: str) -> str | None:
    same = old == new or (old != old and new != new)  # noqa: PLR0124 - NaN
    return None if same else f"{name}: {old!r:.60} before, {new!r:.60} now"


def _of_mappings(old: Mapping[Any, Any], new: Mapping[Any, Any], name: str) -> str | None:
    gone, come = ([key for key in one if key not in other] for one, other in ((old, new), (new, old)))
    if gone or come:
        return f"{name}: keys {_few(gone)} before, {_few(come)} now"
    return _first(difference(old[key], new[key], f"{name}[{key!r:.40}]") for key in old)


def _of_sequences(old: Sequence[Any], new: Sequence[Any], name: str) -> str | None:
    if len(old) != len(new):
        return f"{name}: of length {len(old):,} before, {len(new):,} now"
    pairs = enumerate(zip(old, new, strict=True))
    return _first(difference(one, other, f"{name}[{number}]") for number, (one, other) in pairs)


def _of_tables(old: Any, new: Any, name: str) -> str | None:
    """Of pandas, polars and others."""
    return None if old.equals(new) else f"{name}: another {type(old).__name__}"


def _of_objects(old: Any, new: Any, name: str) -> str | None:
    if not vars(old) and not vars(new):
        return _of_others(old, new, name)
    return _of_mappings(vars(old), vars(new), f"{name}.__dict__")


def _of_others(old: Any, new: Any, name: str) -> str | None:
    with contextlib.suppress(Exception):  # objects of the user's may raise anything
        if bool(old == new):
            return None
    with contextlib.suppress(Exception):
        if pickle.dumps(old) == pickle.dumps(new):
            return None
    return f"{name}: {old!r:.60} before, {new!r:.60} now"


def _first(told: Iterator[str | None]) -> str | None:
    return next(filter(None, told), None)


def _few(keys: list[Any]) -> str:
    return ", ".join(f"{key!r:.40}" for key in keys[:3]) + (", …" if len(keys) > 3 else "") or "none"


def _of_arrays(old: Any, new: Any, name: str) -> str | None:
    import numpy as np

    before, now = np.asarray(old), np.asarray(new)
    if (before.dtype, before.shape) != (now.dtype, now.shape):
        return f"{name}: {before.dtype}{list(before.shape)} before, {now.dtype}{list(now.shape)} now"
    same = before == now
    if before.dtype.kind in "fcmM":
        same = same | ((before != before) & (now != now))  # noqa: PLR0124 - NaN
    if np.all(same):
        return None
    wrong = np.argwhere(~np.atleast_1d(same))
    place = tuple(int(number) for number in wrong[0]) if before.ndim else ()
    told = f"{name}{list(place) if place else ''}: {before[place]!r} before, {now[place]!r} now"
    if before.dtype.kind in "iufc":
        most = np.nanmax(np.abs(before.astype(complex) - now.astype(complex)))
        told += f"; {len(wrong):,} of {before.size:,} elements differ, by {most:.3g} at most"
    return told
