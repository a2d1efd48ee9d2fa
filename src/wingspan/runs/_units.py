"""Sizes and times as people write them."""

from __future__ import annotations

import re

from wingspan import jobs
from wingspan.errors import SettingsError
from wingspan.runs._errors import InvalidRun

__all__ = ["parse_duration", "parse_size"]

#: HTCondor's units are binary: its manual, condor_submit, request_memory ("K or KB … 1024").
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}


def parse_size(value: int | str | None, what: str) -> int | None:
    """Bytes of a size such as ``"2GB"`` (binary units, as HTCondor has them), or of a number of bytes.

    Raises:
        InvalidRun: It is no size, or a text without a unit: to HTCondor and Slurm plain numbers are megabytes.

    >>> parse_size("2GB", "memory"), parse_size("512 MiB", "disk"), parse_size(None, "disk")
    (2147483648, 536870912, None)
    """
    if value is None:
        return None
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([KMGT]?)(?:i?B)?\s*", str(value), re.IGNORECASE)
    size = int(float(match[1]) * _UNITS[match[2].upper()]) if match else 0
    if size <= 0:
        raise InvalidRun(f"{what} = {value!r} is no size", hint='write "2GB" or "512MB"')
    if isinstance(value, str) and value.strip().isdigit():
        raise InvalidRun(f"{what} = {value!r} has no unit", hint=f'write "{value.strip()}MB" or "2GB"')
    if size < _UNITS["M"]:
        raise InvalidRun(
            f"{what} = {value!r} is less than 1 MB", hint='write "2GB" or "512MB"; a plain number is bytes'
        )
    return size


def parse_duration(value: int | str | None, what: str = "time") -> int | None:
    """As `wingspan.jobs.parse_duration`.

    Raises:
        InvalidRun: It is no time.
    """
    try:
        return jobs.parse_duration(value, what)
    except SettingsError as error:
        raise InvalidRun(error.message, hint=error.hint) from None
