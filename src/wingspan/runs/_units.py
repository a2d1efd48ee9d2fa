"""Sizes and times as people write them."""

from __future__ import annotations

import re

from wingspan.runs._errors import InvalidRun

__all__ = ["parse_duration", "parse_size"]

#: HTCondor's units are binary: its manual, condor_submit, request_memory ("K or KB … 1024").
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}


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
    """Seconds of a time such as ``"12h"``, ``"1d 6h"``, ``"01:30:00"`` or ``"1-06:00"`` (as Slurm has them), or of a number of seconds.

    Raises:
        InvalidRun: It is no time, or a text without a unit: to Slurm plain numbers are minutes, and so is the first of two
            (sbatch's manual, ``--time``), which others take for hours.

    >>> parse_duration("90 min"), parse_duration("1d 6h"), parse_duration("01:30:00"), parse_duration(60)
    (5400, 108000, 5400, 60)
    """
    if value is None:
        return None
    text = str(value).strip().lower()
    seconds = 0
    if re.fullmatch(r"\d+:\d\d", text):
        raise InvalidRun(
            f"{what} = {value!r}: are these minutes or hours?", hint=f'write "0:{text}" or "{text}:00"'
        )
    clock = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d\d))?(?::(\d\d))?", text)
    if clock and not text.isdigit():
        days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
        seconds = days * 86400 + hours * 3600 + minutes * 60 + rest
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    elif text.isdigit():
        raise InvalidRun(f"{what} = {value!r} has no unit", hint=f'write "{text}min", "{text}s" or "12h"')
    elif re.fullmatch(r"(\d+(?:\.\d+)?\s*(?:s|min|m|h|d)\s*)+", text):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*(min|[smhd])", text)
        seconds = int(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    if seconds <= 0:
        raise InvalidRun(f"{what} = {value!r} is no time", hint='write "90 min", "12h" or "1d 6h"')
    return seconds
