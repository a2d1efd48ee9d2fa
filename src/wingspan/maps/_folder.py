"""A map on disk: made whole or not at all, read back with every file checked.

What lies in it is described in ``docs/how-it-works.md``. Among it are ``key``, which signs records,
``worker.pyz``, the worker that the map was made with, so that it can be done again next year, and
``submissions``, which lists the jobs that work on it.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar
from urllib.parse import quote, unquote

import attrs

from wingspan._data_folder import maps_root, tags_root
from wingspan._files import JsonLog, disk_error
from wingspan.errors import PoolError, WingspanError
from wingspan.maps._commands import forget_command
from wingspan.maps._errors import MapDamaged, MapError, MapRemoved, TagExists
from wingspan.maps._info import FORMATS, MapInfo
from wingspan.maps._pickled import Pickled
from wingspan.maps._tags import new_tag, remove_tag, write_tag
from wingspan.pools.submissions import SubmissionLog
from wingspan.worker import coming, formats, rebuild, rounds, trust
from wingspan.worker.arriving import FIXED
from wingspan.worker.pipes import LARGE_INPUT
from wingspan.worker.streams import has_mark
from wingspan.worker.transports import FileTransport, Gone

if TYPE_CHECKING:
    from wingspan.delivery.record import Delivery

__all__ = ["MapFolder", "maps_root", "remove_map_folder", "tags_root", "told"]

#: A disk with less room than this (bytes) is full.
_SMALL_FILE = 1 << 16


_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


class _OfMap(Protocol):
    """An object that belongs to one map."""

    @property
    def _folder(self) -> MapFolder: ...


_One = TypeVar("_One", bound=_OfMap)


def told(
    what: str,
) -> Callable[[Callable[Concatenate[_One, _Given], _Answer]], Callable[Concatenate[_One, _Given], _Answer]]:
    """For methods that do `what` to a map (a participle, such as ``"held"``): OSErrors become
    WingspanErrors."""

    def decorate(
        method: Callable[Concatenate[_One, _Given], _Answer],
    ) -> Callable[Concatenate[_One, _Given], _Answer]:
        @functools.wraps(method)
        def words(self: _One, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Answer:
            try:
                return method(self, *args, **kwargs)
            except Gone:
                raise self._folder.removed() from None
            except PoolError as error:
                if self._folder.is_gone:  # a scheduler was asked to take jobs of a folder that is no more
                    raise self._folder.removed() from error
                raise
            except OSError as error:
                if isinstance(error, WingspanError):
                    raise
                raise self._folder.trouble(error, what) from error

        return words

    return decorate


@attrs.define(eq=False)
class MapFolder:
    """The folder of one map.

    Attributes:
        path: The folder.
        info: What ``map.json`` says.
        key: What records are signed with.
        submissions: Which jobs work on it.
        is_owned: It is open, and this process appends its inputs.
    """

    path: Path
    is_owned: bool = attrs.field(default=False, repr=False)
    _counted: int = attrs.field(init=False, default=0, repr=False)
    info: MapInfo = attrs.field(init=False)
    key: bytes = attrs.field(init=False, repr=False)
    transport: FileTransport = attrs.field(init=False, repr=False)
    submissions: SubmissionLog = attrs.field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.submissions = SubmissionLog(self.path)
        self.transport = FileTransport(str(self.path))
        try:
            plain = json.loads(self._read("map.json"))
        except ValueError as error:
            raise self.damaged(f"map.json is not whole: {error}") from error
        missing = MapInfo.missing(plain)
        if missing:
            raise self.damaged(f"map.json does not say {', '.join(sorted(missing))}")
        if plain["format"] not in FORMATS:
            raise MapError(
                f"the map in {self.path} has format {plain['format']}, this Wingspan reads up to {max(FORMATS)}",
                hint="use the Wingspan that made it, or a newer one",
            )
        try:
            self.info = MapInfo.from_json(plain)
        except TypeError as error:
            raise self.damaged(f"map.json cannot be read: {error}") from error
        if self.info.open:
            self.count()
        self.key = self._read("key")
        if len(self.key) != formats.KEY_BYTES:
            raise self.damaged("the file key is cut")

    @property
    def n(self) -> int:
        """How many components; of an open map, when they were counted last."""
        return self._counted or self.info.n

    def count(self) -> bool:
        """Of an open map: count its inputs. Whether more may come."""
        try:
            size = self.transport.size("inputs.idx")
            end = self.transport.read("inputs.idx", 8, max(0, size - size % 8 - 8))
            seen = self.transport.modified(coming.OWNER)
        except FileNotFoundError:
            return False  # it was removed, or is damaged: reading it tells
        closed = end == coming.CLOSED.to_bytes(8, "little")
        self._counted = min(coming.MOST, size // 8 - 1 - closed)
        if closed:
            return False
        return self.is_owned or (seen is not None and self.was_written_lately(seen))

    def was_written_lately(self, written: float) -> bool:
        """Whether a file whose time is `written` was written within the lease.

        The machine that keeps the files has a clock of its own, which may differ from the one here: where the
        two do not tell the same, that clock is asked, by writing a file.
        """
        lease = self.info.lease_seconds
        if abs(time.time() - written) < lease:
            return True
        clock = self.path / "workers" / ".clock"
        try:
            clock.touch(mode=trust.FILE)
            return clock.stat().st_mtime - written < lease
        except OSError:
            return time.time() - written < lease

    @property
    def delivery(self) -> Delivery | None:
        """Its locked environment; None: its workers have the Python that made it."""
        known = self.info.environment
        if not known:
            return None
        from wingspan.delivery.record import Delivery

        return Delivery.from_json(known)

    @property
    def is_old(self) -> bool:
        """Its workers write as those of format 1 did."""
        return self.info.format == 1

    @property
    def is_gone(self) -> bool:
        """Somebody has removed the map.

        HTCondor may have made its folder again to write into it how a job ended.
        """
        try:
            return set(os.listdir(self.path)) <= {"events.log", "workers"}
        except OSError as error:
            return isinstance(error, (FileNotFoundError, NotADirectoryError))

    @property
    def disk_is_full(self) -> bool:
        """There is no room for as much as a small file."""
        try:
            facts = os.statvfs(self.path)
        except OSError:
            return False
        return facts.f_bavail * facts.f_frsize < _SMALL_FILE

    def damaged(self, what: str) -> MapError:
        """An error that says what is wrong with this map: a part of it is missing, or all of it."""
        if self.is_gone:
            return self.removed()
        return MapDamaged(
            f"the map {self.info.tag if hasattr(self, 'info') else ''!s} in {self.path} is damaged: {what}".replace(
                "  ", " "
            ),
            hint="its whole results can still be read where map.json and key are; bring the file back from a backup, or make the map again",
        )

    @property
    def exists(self) -> bool:
        """The map has not been removed."""
        return (self.path / "map.json").exists()

    def removed(self) -> MapRemoved:
        """An error that says that the map is gone."""
        tag = self.info.tag if hasattr(self, "info") else None
        named = f"the map {tag!r}" if tag else f"the map in {self.path}"
        return MapRemoved(f"{named} was removed", hint="make it again")

    def trouble(self, error: OSError, what: str) -> WingspanError:
        """The error to raise for an OSError that came while `what` was done to the map (a participle, such as
        ``"held"``)."""
        if self.is_gone:
            return self.removed()
        tag = self.info.tag if hasattr(self, "info") else self.path.name
        return disk_error(error, f"the map {tag!r} cannot be {what}", self.path, "What is finished is kept")

    def _read(self, name: str) -> bytes:
        try:
            return (self.path / name).read_bytes()
        except FileNotFoundError:
            raise self.damaged(f"the file {name} is missing") from None
        except IsADirectoryError:
            raise self.damaged(f"{name} is a folder, no file") from None

    def check_inputs(self) -> None:
        """See that function and inputs are all there, before they are needed.

        Raises:
            MapDamaged: A file is missing or cut.
        """
        if not self.path.is_dir():
            raise self.removed()
        sizes = {}
        for name in ("function.pkl", "inputs.bin", "inputs.idx", "worker.pyz"):
            try:
                sizes[name] = (self.path / name).stat().st_size
            except FileNotFoundError:
                raise self.damaged(f"the file {name} is missing") from None
        for name, field in (("function.pkl", "function_bytes"), ("worker.pyz", "archive_bytes")):
            known = getattr(self.info, field)
            if known not in (None, sizes[name]):
                raise self.damaged(f"{name} has {sizes[name]} bytes instead of {known}")
        for name, url in (self.info.files or {}).get("fixed", ()):
            if not url and not (self.path / FIXED / name).exists():
                raise self.damaged(f"the input file {name} is missing")
        if self.info.open:
            return  # it may grow while we look
        if sizes["inputs.idx"] != 8 * (self.n + 1):
            raise self.damaged(f"inputs.idx has {sizes['inputs.idx']} bytes instead of {8 * (self.n + 1)}")
        with (self.path / "inputs.idx").open("rb") as file:
            file.seek(-8, os.SEEK_END)
            end = int.from_bytes(file.read(8), "little")
        if sizes["inputs.bin"] != end:
            raise self.damaged(f"inputs.bin has {sizes['inputs.bin']} bytes instead of {end}")

    def read_info(self) -> None:
        """Take in what another process has changed in ``map.json``, a new tag for instance."""
        with contextlib.suppress(ValueError, TypeError, OSError):
            plain = json.loads((self.path / "map.json").read_bytes())
            if not MapInfo.missing(plain):
                self.info = MapInfo.from_json(plain)

    def take_tag(self) -> None:
        """Take the tag that ``map.json`` names. Where another map has it, a made-up one is made up anew.

        Raises:
            TagExists: Another map has it, and somebody chose it.
        """
        while True:
            try:
                write_tag(tags_root(), self.info.tag, self.info.id)
                return
            except TagExists:
                if not self.info.transient:
                    raise
                self.update_info(tag=new_tag(tags_root()))

    def settle_tags(self) -> None:
        """Remove a second tag that an interrupted retag has left. The caller holds the map's lock."""
        self.read_info()
        if self.info.also:
            for tag in self.info.also:
                if tag != self.info.tag:
                    remove_tag(tags_root(), tag, self.info.id)
            self.update_info(also=())

    def update_info(self, **changes: Any) -> None:
        """Rewrite ``map.json`` with `changes`."""
        self.info = attrs.evolve(self.info, **changes)
        trust.write_whole(str(self.path / "map.json"), json.dumps(self.info.to_json()).encode())

    def input_pickles(self, first: int, stop: int) -> Iterator[Pickled]:
        """The pickles of inputs ``first … stop - 1``."""
        from wingspan.worker.inputs import Inputs

        reader = Inputs(self.transport, self.n)
        try:
            for component in range(first, stop):
                begin, end = reader.bounds(component, component + 1)
                if end - begin > LARGE_INPUT:
                    holds_code = has_mark(reader.pieces(component))
                    yield Pickled(holds_code, reader.pieces(component))
                else:
                    data = bytes(reader.read(component, component + 1))
                    yield Pickled(rebuild.holds_code(data), [data])
        except FileNotFoundError as error:
            if not self.path.is_dir():
                raise self.removed() from None
            raise self.damaged(f"the file {Path(str(error.filename)).name} is missing") from None
        except EOFError as error:
            raise self.damaged(str(error)) from None

    def is_folded(self, number: int) -> bool:
        """Everything of the round was finished once, and its claims were removed."""
        return not self.is_old and not (self.path / f"rounds/{number}/claims").is_dir()

    def fold(self, numbers: Iterable[int]) -> None:
        """The map is complete: remove the claims of these rounds, and what is left of a folding that was
        interrupted.

        Maps of format 1 are left as they are: their workers do not understand it.
        """
        if self.is_old:
            return
        nonce = f"c{os.getpid()}"
        for number in numbers:
            with contextlib.suppress(OSError):
                rounds.fold(self.transport, number, nonce)
                for left in (self.path / f"rounds/{number}").glob(".*"):
                    shutil.rmtree(left, ignore_errors=True)
        for path in (self.path / "workers").glob("*.[oe][ur][tr]"):
            with contextlib.suppress(OSError):
                if not path.stat().st_size:
                    path.unlink()

    def note(self, text: str) -> None:
        """Write down what was decided about the map's requests, for people."""
        JsonLog(self.path / "notes").append({"time": time.time(), "text": text})

    def notes(self) -> list[str]:
        """What was written down so, oldest first."""
        return [str(entry.get("text")) for entry in JsonLog(self.path / "notes").entries()]

    # -- jobs ------------------------------------------------------------------------------------------------

    def rounds_written(self) -> int:
        """When a round was published last (ns, coarse); 0 when the folder is not there."""
        try:
            return os.stat(f"{self.transport.folder}/rounds").st_mtime_ns  # noqa: PTH116 - polled: no Path for it
        except FileNotFoundError:
            return 0

    def reserve_workers(self, count: int, kind: str = "", place: str | None = None) -> int:
        """Reserve numbers for `count` new workers. Returns the first; no two callers get the same.

        The file ``workers/first-<number>`` holds the count, and the pool that the workers are about to be
        submitted to. If their submitter dies before it has written down the submission, `open_reservations`
        says where to look for them.
        """
        first = 0
        for submission in self.submissions.entries():
            if not submission.external:
                first = max(first, submission.numbers.stop)
        while True:
            names = self.transport.names("workers")
            if not names:
                self.transport.make_folder("workers")  # it was removed when it was empty
            for name in names:
                if name.startswith("first-"):
                    # maps of early versions have the count in the name: first-<number>-<count>
                    number, _, held = name[6:].partition("-")
                    # Another process may cancel its reservation since it was listed.
                    with contextlib.suppress(FileNotFoundError):
                        held = held or self.transport.read(f"workers/{name}").split(b" ")[0].decode()
                        first = max(first, int(number) + max(1, int(held)))
            data = f"{count} {kind} {quote(place or '')}".encode()
            if self.transport.create_whole(f"workers/first-{first}", data):
                return first

    def open_reservations(self) -> dict[int, tuple[str, str | None]]:
        """Workers that were reserved, and that are in no known submission: kind and place of the pool, by
        number of the first."""
        told = {submission.first for submission in self.submissions.entries()}
        found: dict[int, tuple[str, str | None]] = {}
        for name in self.transport.names("workers"):
            number = name[6:]
            if name.startswith("first-") and number.isdigit() and int(number) not in told:
                with contextlib.suppress(FileNotFoundError):
                    words = self.transport.read(f"workers/{name}").decode().split(" ")
                    if len(words) == 3 and words[1]:
                        found[int(number)] = words[1], unquote(words[2]) or None
        return found

    def cancel_reservation(self, first: int) -> None:
        """The scheduler has refused these workers."""
        (self.path / "workers" / f"first-{first}").unlink(missing_ok=True)


def remove_map_folder(
    path: Path, *tags: str, before_files: Callable[[Path], None] = lambda path: None
) -> None:
    """Remove a map: first its folder is renamed, so that the map is there whole or not at all, then its tag,
    then the files.

    A process that dies in between leaves a tag without a map, which `load` removes, or a folder, which
    `clean` removes.

    Args:
        path: The folder.
        tags: Its tags.
        before_files: Called with the renamed folder, before its files are removed.

    Raises:
        OSError: The folder cannot be renamed; nothing has happened then.
    """
    doomed = path.with_name(f".removed-{path.name}-{time.time_ns()}")
    with contextlib.suppress(FileNotFoundError):
        path.rename(doomed)
        before_files(doomed)
    forget_command(path)
    for tag in tags:
        remove_tag(tags_root(), tag, path.name)
    shutil.rmtree(doomed, ignore_errors=True)
    if is_aftermath(path):
        shutil.rmtree(path, ignore_errors=True)


def is_aftermath(path: Path) -> bool:
    """The folder is no map: HTCondor has made it again to write how a job of a removed map ended."""
    try:
        return set(os.listdir(path)) <= {"events.log", "workers"}
    except OSError:
        return False
