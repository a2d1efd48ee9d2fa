"""The tables in ``map.json``, for type checkers: a file of another version may lack keys, or have more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

__all__ = ["ChainFacts", "CodeFacts", "FileFacts", "InterpreterFacts", "OpenFacts", "Patience", "StoreFacts"]


class InterpreterFacts(TypedDict, total=False):
    """The Python of a session: see `wingspan.worker.compatibility`."""

    python: str
    implementation: str
    cloudpickle: str
    options: Sequence[str]
    warnings: Sequence[str]


class CodeFacts(TypedDict, total=False):
    """Where a function comes from: what `wingspan.maps._code.describe` writes."""

    name: str
    module: str | None
    file: str | None
    line: int | None
    time: float
    python: str
    parts: Mapping[str, Mapping[str, Any]]


class FileFacts(TypedDict, total=False):
    """Files that travel: see `MapInfo.files`."""

    fixed: Sequence[tuple[str, str]]
    reach: Sequence[str]
    aliases: Mapping[str, str]
    moved: Mapping[str, str]
    remaps: Mapping[str, str] | Sequence[Mapping[str, str]]


class StoreFacts(TypedDict, total=False):
    """Where large values lie: see `wingspan.worker.stored.Values`."""

    label: str
    url: str
    map: str
    above: int
    auth: Mapping[str, str]


class Patience(TypedDict, total=False):
    """How often workers look for inputs, and how long they stay without any (s)."""

    look_seconds: float
    stay_seconds: float | None


class ChainFacts(Patience, total=False):
    """The earlier maps of a chain: see `wingspan.worker.upstream.Chained`."""

    maps: Sequence[str]
    tags: Sequence[str]
    whole: bool
    idle_seconds: float
    by_way: Mapping[str, Patience]


class OpenFacts(TypedDict, total=False):
    """How an open map is done: see `wingspan.worker.coming.Coming`."""

    workers: int
    look_seconds: float
    idle_seconds: float | None
