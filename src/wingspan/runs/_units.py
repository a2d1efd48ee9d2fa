"""Sizes and times as people write them."""

from __future__ import annotations

from wingspan import jobs
from wingspan.errors import SettingsError
from wingspan.runs._errors import InvalidRun

__all__ = ["parse_duration", "parse_size"]


def parse_size(value: int | float | str | None, what: str) -> int | None:
    """As `wingspan.jobs.parse_size`; None is None.

    Raises:
        InvalidRun: It is no size.
    """
    if value is None:
        return None
    try:
        return jobs.parse_size(value, what)
    except SettingsError as error:
        raise InvalidRun(error.message, hint=error.hint) from None


def parse_duration(value: int | str | None, what: str = "time") -> int | None:
    """As `wingspan.jobs.parse_duration`.

    Raises:
        InvalidRun: It is no time.
    """
    try:
        return jobs.parse_duration(value, what)
    except SettingsError as error:
        raise InvalidRun(error.message, hint=error.hint) from None
