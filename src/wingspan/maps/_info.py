"""What ``map.json`` says."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.worker import formats

if TYPE_CHECKING:
    from wingspan.delivery.record import DeliveryFacts
    from wingspan.maps._facts import (
        ChainFacts,
        CodeFacts,
        FileFacts,
        InterpreterFacts,
        OpenFacts,
        OptionsFacts,
        StoreFacts,
    )

__all__ = ["FORMAT", "FORMATS", "FORMAT_WITH_FALLS", "FORMAT_WITH_PARTS", "MOVED", "MapInfo"]

#: The format that is written, and those that can be read. In format 1 frames are of an older kind, and
#: nothing is in pieces. In format 3 there are rounds with several parts (`wingspan.worker.parts`), and in
#: format 4 rounds whose blocks fall (`wingspan.worker.parts.Part.falls`).
FORMAT, FORMATS = 2, frozenset({1, 2, 3, 4})
FORMAT_WITH_PARTS = 3
FORMAT_WITH_FALLS = 4
#: Folder of a map with the files that were sent with it from another machine.
MOVED = "files_sent_here"


def _names(given: Iterable[str]) -> tuple[str, ...]:
    return tuple(given)


@attrs.frozen(kw_only=True, eq=False)
class MapInfo:
    """A map, and how it was made. Older files lack the fields that have a default here.

    Attributes:
        format: Of the map's folder.
        id: Name of the folder.
        tag: Name of the map.
        also: A second tag that it has while it is retagged.
        transient: Nobody chose the tag.
        n: How many components.
        function: What the function is called.
        call: ``"map"`` or ``"starmap"``; of a chain also ``"joined"`` or ``"reduce"``.
        pool: Kind of the pool that it was made for.
        pools: Kinds of further pools whose workers do it as well.
        options: See `Options.from_dict`.
        retries: How often a component that failed is tried again.
        interpreter: The Python of the session that made it; see `wingspan.worker.compatibility`.
        lease_seconds: How long a worker may be silent.
        end_seconds: How long a worker's threads and exit functions may take when the work is done.
        wingspan: Version that made it.
        environment: Its locked environment, or None.
        functions: 2: its workers understand rounds that name another function.
        needs: 1: its workers understand rounds of several parts.
        operations: How many operations a second its workers, all together, may ask of the access point.
        shares: Its workers can be given what they are to do beforehand (`wingspan.worker.shares`).
        edited: What jobs are to ask for since `Map.set_memory` or `set_disk`, whatever rounds say that are
            not newer: by option, the value and the newest round then.
        code: Where its function comes from; see `FunctionVersion.read`.
        made_in: Folder that it was made in.
        workers: How many were planned.
        cancels: Its workers understand rounds that cancel components.
        seed: What the seeds of its components follow from.
        holds_code: Code travels by value.
        function_bytes: Size of ``function.pkl``.
        archive_bytes: Size of ``worker.pyz``.
        files: What its workers are told of files: of those that all components get the name, and the URL if
            there is one (``fixed``), the paths that workers without a shared disk read (``reach``), and which
            of the paths that the owner wrote lead there over links (``aliases``), and where those lie that
            another machine has sent (``moved``: path there, path here). None: each component runs where its
            worker does, and gets no files.
        store: Where values that are large lie; see `wingspan.worker.stored.Values`. None: all are in the
            folder.
        own_modules: Names of the top modules of the user's own that travel with it.
        created: When it was made, Unix time.
        chain: Its inputs are outputs of earlier maps; see `wingspan.worker.upstream`.
        open: Its inputs come while it is at work; see `wingspan.worker.coming`.
        unknown: Keys of the file that this Wingspan does not know.
    """

    format: int = FORMAT
    id: str
    tag: str
    also: tuple[str, ...] = attrs.field(default=(), converter=_names)
    transient: bool = False
    function: str
    call: str
    pool: str
    pools: tuple[str, ...] = attrs.field(default=(), converter=_names)
    options: OptionsFacts
    retries: int = 0
    interpreter: InterpreterFacts
    lease_seconds: float = formats.LEASE_SECONDS
    end_seconds: float = formats.END_SECONDS
    wingspan: str | None = None
    environment: DeliveryFacts | None = None
    functions: int | None = None
    needs: int | None = None
    operations: float | None = None
    shares: bool = False
    edited: Mapping[str, tuple[int, int]] = attrs.field(factory=dict)
    code: CodeFacts | None = None
    made_in: str | None = None
    n: int
    workers: int
    cancels: bool = False
    seed: int | None = None
    holds_code: bool = True
    function_bytes: int | None = None
    archive_bytes: int | None = None
    files: FileFacts | None = None
    store: StoreFacts | None = None
    own_modules: tuple[str, ...] = attrs.field(default=(), converter=_names)
    created: float = 0.0
    chain: ChainFacts | None = None
    open: OpenFacts | None = None
    unknown: Mapping[str, Any] = attrs.field(factory=dict)

    def to_json(self) -> dict[str, Any]:
        """For ``map.json``: without fields that were not in the file."""
        known = {
            field.name: getattr(self, field.name)
            for field in attrs.fields(MapInfo)
            if field.name != "unknown"
        }
        return {**{name: value for name, value in known.items() if value is not None}, **self.unknown}

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> MapInfo:
        """The inverse of `to_json`; see `missing` first."""
        names = {field.name for field in attrs.fields(cls)} - {"unknown"}
        known = {name: plain[name] for name in names & set(plain)}
        return cls(**known, unknown={key: plain[key] for key in plain if key not in names})

    @classmethod
    def missing(cls, plain: object) -> frozenset[str]:
        """Fields that every map.json must have and that this one lacks."""
        fields = {field.name for field in attrs.fields(cls) if field.default is attrs.NOTHING} | {"format"}
        return frozenset(fields - set(plain) if isinstance(plain, dict) else fields)
