"""Other requests of jobs of a run, since a rerun changed them.

It stands in the log of the submissions, beside the jobs that ask for it, and in the note that the scheduler
keeps with them: so it holds from the moment on when the scheduler has the jobs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.runs._errors import InvalidRun
from wingspan.runs._units import parse_duration, parse_size

if TYPE_CHECKING:
    from wingspan.runs._spec import RunSpec

__all__ = ["asked_by", "asks_in", "noted", "read_asks"]

#: What may be said, and the field of `wingspan.jobs.Resources` that it is.
_FIELDS = {"cpus": "cpus", "memory": "memory", "disk": "disk", "gpus": "gpus", "time": "time_limit"}


def read_asks(spec: RunSpec, **given: Any) -> dict[str, int]:
    """What is asked for from now on, as fields of `wingspan.jobs.Resources`.

    Args:
        spec: The run's.
        given: As its user wrote it; None: as before.

    Raises:
        InvalidRun: It is no size, no time, no number; or the run was made for machines without GPUs.
    """
    asks: dict[str, int] = {}
    for name, value in given.items():
        if value is None:
            continue
        read = parse_duration(value) if name == "time" else value
        if name in ("memory", "disk"):
            read = parse_size(value, name)
        least = 0 if name == "gpus" else 1
        if isinstance(read, bool) or not isinstance(read, int) or read < least:
            raise InvalidRun(f"{name} = {value!r} is not possible", hint=f"for example {name}={least}")
        asks[_FIELDS[name]] = int(read)
    if asks.get("gpus") and not spec.resources.gpus and spec.environment is not None:
        raise InvalidRun(
            f"{spec.name} was made for machines without GPUs, and so was its environment",
            hint="make a new run: wingspan run --gpus 1 …",
        )
    return asks


def asked_by(spec: RunSpec, asks: Mapping[str, int] | None) -> RunSpec:
    """The run as it is for jobs that ask for this."""
    changes: dict[str, Any] = dict(asks or {})
    return attrs.evolve(spec, resources=attrs.evolve(spec.resources, **changes)) if changes else spec


def noted(asks: Mapping[str, int] | None) -> str:
    """The end of the note that a scheduler keeps with such jobs.

    >>> noted({"memory": 1024, "cpus": 2}), noted(None)
    (' memory=1024 cpus=2', '')
    """
    return "".join(f" {name}={value}" for name, value in (asks or {}).items())


def asks_in(words: Iterable[str]) -> dict[str, int] | None:
    """What the words of such a note say.

    >>> asks_in(["0", "1", "0", "memory=1024", "what=3"]), asks_in(["0"])
    ({'memory': 1024}, None)
    """
    pairs = [word.partition("=") for word in words]
    found = {name: int(value) for name, _, value in pairs if name in _FIELDS.values() and value.isdecimal()}
    return found or None
