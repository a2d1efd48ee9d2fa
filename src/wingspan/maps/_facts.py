"""The tables in ``map.json``, in ``memo.json`` and in workers' records, for type checkers: a file of another
version may lack keys, or have more.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from wingspan.jobs import ClassAdValue

__all__ = [
    "ChainFacts",
    "CodeFacts",
    "FileFacts",
    "InterpreterFacts",
    "MemoFacts",
    "OpenFacts",
    "OptionsFacts",
    "OriginFacts",
    "Patience",
    "StoreFacts",
    "WorkerFacts",
]


class OptionsFacts(TypedDict, total=False):
    """What each worker gets, and how the map is done: what `wingspan.Options.as_dict` returns. Sizes are
    bytes, times are seconds.
    """

    request_cpus: int
    request_memory: int | None
    request_disk: int | None
    request_gpus: int
    time: int | None
    workers: int | None
    block_size: int | None
    retries: int
    retry_memory: int | None
    retry_disk: int | None
    pilot: int | None
    max_idle: int | None
    requirements: str | None
    environment: None
    profile: str | None
    chirp: bool | None
    switches: Sequence[str]
    custom: Mapping[str, ClassAdValue]
    submit: Mapping[str, str]
    sbatch: Mapping[str, str | bool]
    on_done: str | None
    memo: bool
    notification: str
    notify_user: str | None
    input_files: Sequence[str]
    component_input_files: None
    output_remaps: Mapping[str, str] | Sequence[Mapping[str, str]]
    store: str | None
    store_above: int
    own_folder: bool
    seed: int | None
    component_timeout: float | None


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


class WorkerFacts(TypedDict, total=False):
    """What a start of a worker says of itself first: see `wingspan.worker.one_map`."""

    host: str
    pid: int
    python: str
    executable: str
    slot: str | None
    gpus: str | None
    gpu: str | None
    scratch: str


class OriginFacts(TypedDict, total=False):
    """A start of a worker of an earlier map, whose outputs a memo has kept; ``made`` is a Unix time."""

    map: str
    tag: str
    made: float
    facts: WorkerFacts
    wingspan: str | None
    git: Mapping[str, Any] | None
    component: int


class MemoFacts(TypedDict):
    """``memo.json``: what a memo looked for, and what it found.

    ``facts`` are what the digest is made of, for people. Each hit is the first component of a range, how many
    these are, the number of their origin, and the first one's number there.
    """

    digest: str
    facts: Mapping[str, Any]
    origins: Mapping[str, OriginFacts]
    hits: Sequence[tuple[int, int, int, int]]
