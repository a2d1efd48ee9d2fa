"""What one job may ask for: one value for all workers, or one for each component."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Iterable
from typing import Any

from wingspan.errors import SettingsError
from wingspan.jobs import parse_duration, parse_size
from wingspan.maps._entries import entry_of, entry_value

__all__ = ["PER_COMPONENT", "is_for_each", "most_of", "parse_request", "positive", "values_of"]


def positive(what: str, value: Any, least: int = 1) -> int:
    """A whole number that is not less than `least`.

    Raises:
        SettingsError: It is something else.

    >>> positive("retries", "2", 0)
    2
    """
    if isinstance(value, str) and value.strip().isdecimal():
        value = int(value)  # from an environment variable, or a program that has only texts
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise SettingsError(
            f"{what}={value!r} must be a whole number, at least {least}", hint=f"for example {what}={least}"
        )
    return value


def _expression(what: str, requirements: Any) -> str:
    """A ClassAd expression, which HTCondor's bindings have read if they are installed."""
    if isinstance(requirements, str) and requirements.strip() and requirements.isprintable():
        if importlib.util.find_spec("classad2") is None:
            return requirements
        import classad2

        try:
            classad2.ExprTree(requirements)
            return requirements
        except classad2.ClassAdException:
            pass
    raise SettingsError(
        f"{what}={requirements!r} is no ClassAd expression", hint='for example requirements="HasSingularity"'
    )


#: Options that may differ from component to component, and how a value of each is read.
PER_COMPONENT: dict[str, Callable[[str, Any], Any]] = {
    "request_cpus": positive,
    "request_memory": lambda what, value: None if value is None else parse_size(value, what),
    "request_disk": lambda what, value: None if value is None else parse_size(value, what),
    "request_gpus": lambda what, value: positive(what, value, 0),
    "time": lambda what, value: parse_duration(value, what),
    "requirements": lambda what, value: None if value is None else _expression(what, value),
}


def parse_request(name: str, value: Any, what: str | None = None) -> Any:
    """A value of one of `PER_COMPONENT`, or of an entry for one component, checked; sizes in bytes, times in
    seconds.

    Raises:
        SettingsError: It cannot be used.
    """
    if hasattr(value, "item") and not isinstance(value, str | bytes):
        value = value.item()  # NumPy's numbers
    if entry_of(name)[1]:
        return entry_value(name, value, what or name)
    return PER_COMPONENT[name](what or name, value)


def most_of(what: str, most: Any, asked: Any) -> int | None:
    """The most that is asked for on a retry (bytes).

    Args:
        what: ``"memory"`` or ``"disk"``.
        most: As it was given.
        asked: What is asked for at first, as it was given.

    Raises:
        SettingsError: It is no size, or less than what is asked for at first.
    """
    if most is None:
        return None
    size = parse_size(most, f"retry_{what}")
    if asked is not None and size < parse_size(asked, f"request_{what}"):
        raise SettingsError(
            f"retry_{what}={most!r} is less than request_{what}={asked!r}",
            hint=f"retry_{what} is the most that is asked for when request_{what} was not enough",
        )
    return size


def is_for_each(value: Any) -> bool:
    """The value says what each component asks for: a list, or a function of the input.

    >>> is_for_each("2GB"), is_for_each(["1GB", "2GB"]), is_for_each(len), is_for_each(None)
    (False, True, True, False)
    """
    return callable(value) or (
        isinstance(value, Iterable) and not isinstance(value, str | bytes | dict) and not _is_number(value)
    )


def _is_number(value: Any) -> bool:
    return getattr(value, "shape", None) == ()  # NumPy's numbers can be iterated over, or so they say


def values_of(name: str, value: Any) -> tuple[Any, ...] | Callable[..., Any]:
    """What `is_for_each` has found, with a list read and checked.

    Raises:
        SettingsError: A value in the list cannot be used; the message says which.
    """
    if callable(value):
        function: Callable[..., Any] = value
        return function
    return tuple(parse_request(name, one, f"{name}[{number}]") for number, one in enumerate(value))
