"""Where outputs are kept for a memo: one SQLite file, and a file for each large output.

SQLite (sqlite3 of the standard library) does what is hard here: many processes at once, transactions that a
crash leaves whole or not at all, an index over millions of entries. diskcache, which is made for this, keeps
one file or row an entry too, but has had no release since 2023, and unpickles what it reads; here bytes are
kept, each with a check sum.

The store is a cache: whatever is wrong with it is a `Trouble`, and means that outputs are computed. Its
journal is SQLite's ordinary one: the newer kind (WAL) needs memory that processes share, which home folders
on NFS do not give.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import struct
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.worker import formats, trust

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Entry", "Store", "Stored", "Trouble"]

#: Seconds to wait for another process that writes.
_PATIENCE = 10.0
#: An entry that was used within so many seconds is not marked as used again.
_COARSE = 3600.0
#: What an entry takes beside its value, about (bytes).
_OVERHEAD = 160
#: started (Unix time), wall (s), CPU (s), peak memory (KiB), kind of the record.
MEASURES = struct.Struct("<dffIB")
_CHECK_BYTES = 16
#: How many rows are written, or looked for, in one transaction.
_AT_ONCE = 20_000

#: Of the format: ``PRAGMA user_version`` below.
_VERSION = 2
_SCHEMA = """
CREATE TABLE functions (id INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, name TEXT, facts TEXT NOT NULL);
CREATE TABLE origins (id INTEGER PRIMARY KEY, facts TEXT NOT NULL UNIQUE);
CREATE TABLE entries (
    id INTEGER PRIMARY KEY, function INTEGER NOT NULL, input BLOB NOT NULL, origin INTEGER NOT NULL,
    component INTEGER NOT NULL, measures BLOB NOT NULL, checked BLOB NOT NULL, size INTEGER NOT NULL,
    used REAL NOT NULL, value BLOB);
CREATE UNIQUE INDEX by_input ON entries (input, function);
CREATE INDEX by_use ON entries (used, size);
CREATE TABLE maps (map TEXT PRIMARY KEY, function BLOB NOT NULL, keys BLOB NOT NULL, kept INTEGER NOT NULL);
PRAGMA user_version = 2;
"""


class Trouble(Exception):
    """The store cannot be used: what is wrong, in a sentence."""


@attrs.frozen
class Entry:
    """An output to be kept.

    Attributes:
        input: Digest of its input.
        component: Its number in its map.
        measures: Packed by `MEASURES`.
        value: Its pickle, or, of a large one, the pieces of it.
        length: Bytes of the pickle.
    """

    input: bytes
    component: int
    measures: bytes
    value: bytes | Iterable[bytes | memoryview]
    length: int


@attrs.frozen
class Stored:
    """An output that was kept.

    Attributes:
        place: Which of the inputs that were asked for.
        row: Number of its entry.
        measures: Packed by `MEASURES`.
        value: Its pickle; None: it is large, and lies in `file`.
        file: See `value`.
        origin: Number of the map that it is from.
        component: Its number there.
    """

    place: int
    row: int
    measures: bytes
    value: bytes | None
    file: Path | None
    origin: int
    component: int


class Store:
    """The store in a folder.

    Args:
        folder: Need not be there.
        most: Bytes that it may take; what was used longest ago goes first.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self._most = folder, most
        self._file = folder / "index.sqlite3"
        self._values = folder / "values"

    @contextlib.contextmanager
    def _open(self, *, write: bool = False) -> Iterator[sqlite3.Connection]:
        """A connection, in one transaction.

        Raises:
            Trouble: Whatever goes wrong. A file that is damaged is put aside.
        """
        try:
            import sqlite3
        except ImportError as error:
            raise Trouble(f"this Python has no sqlite3: {error}") from error
        connection: sqlite3.Connection | None = None
        try:
            trust.make_folder(str(self.folder))
            os.close(os.open(self._file, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, trust.FILE))
            connection = sqlite3.connect(self._file, timeout=_PATIENCE, isolation_level=None)
            self._begin(connection, write)
            yield connection
            connection.execute("COMMIT")
        except sqlite3.OperationalError as error:  # locked for long, full, cannot be written
            if "malformed" in str(error):
                self._put_aside()
            raise Trouble(f"{self._file}: {error}") from error
        except sqlite3.Error as error:
            self._put_aside()
            raise Trouble(f"{self._file} is damaged and was put aside: {error}") from error
        except (OSError, ValueError, TypeError, struct.error) as error:
            raise Trouble(f"{self.folder}: {error}") from error
        finally:
            if connection is not None:
                with contextlib.suppress(sqlite3.Error):
                    connection.close()  # which rolls back what was not committed

    def _begin(self, connection: sqlite3.Connection, write: bool) -> None:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version == 0:
            connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
            connection.execute("BEGIN IMMEDIATE")
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version == 0:
                for statement in _SCHEMA.split(";")[:-1]:
                    connection.execute(statement)
            connection.execute("COMMIT")
        elif version < _VERSION:
            self._put_aside()
            raise ValueError(f"it was of an earlier format ({version}), and was put aside")
        elif version > _VERSION:
            raise ValueError(f"a later Wingspan has written it (format {version})")
        connection.execute("BEGIN IMMEDIATE" if write else "BEGIN")

    def _put_aside(self) -> None:
        """A damaged file does not block anybody: the next process begins a new one."""
        with contextlib.suppress(OSError):
            self._file.rename(self._file.with_name("index.damaged"))
        for left in ("index.sqlite3-journal",):
            with contextlib.suppress(OSError):
                (self.folder / left).unlink()

    # -- keeping ---------------------------------------------------------------------------------------------

    def note_map(self, folder: Path, digest: bytes, name: str, facts: dict[str, Any], keys: bytes) -> None:
        """A map of this function is about to be done: its outputs will be wanted.

        What is said of it here counts, not what its folder says later: workers can write there.

        Args:
            folder: The map's.
            digest: Of the function.
            name: Of the function.
            facts: What it is made of, for people.
            keys: Digests of its inputs.
        """
        with self._open(write=True) as db:
            row = (digest, name, json.dumps(facts))
            db.execute("INSERT OR IGNORE INTO functions (digest, name, facts) VALUES (?, ?, ?)", row)
            db.execute("INSERT OR REPLACE INTO maps VALUES (?, ?, ?, 0)", (str(folder), digest, _seal(keys)))

    def is_of(self, folder: Path, digest: bytes, keys: bytes) -> bool:
        """The map in this folder was noted with this function and these inputs."""
        with self._open() as db:
            row = db.execute("SELECT function, keys FROM maps WHERE map = ?", (str(folder),)).fetchone()
        return row is not None and row == (digest, _seal(keys))

    def pending(self, digest: bytes) -> list[Path]:
        """Folders of maps of this function whose outputs are not all kept yet."""
        with self._open() as db:
            found = db.execute("SELECT map FROM maps WHERE function = ? AND NOT kept", (digest,)).fetchall()
        return [Path(path) for (path,) in found]

    def pending_of(self, name: str) -> list[Path]:
        """The same, of all functions that are called so."""
        ask = "SELECT map FROM maps JOIN functions ON digest = function WHERE name = ? AND NOT kept"
        with self._open() as db:
            return [Path(path) for (path,) in db.execute(ask, (name,))]

    def settle(self, folder: Path) -> None:
        """All outputs of this map are kept, or it is gone."""
        done = (
            "UPDATE maps SET kept = 1 WHERE map = ?" if folder.exists() else "DELETE FROM maps WHERE map = ?"
        )
        with self._open(write=True) as db:
            db.execute(done, (str(folder),))

    def known(self, digest: bytes, inputs: Iterable[bytes]) -> set[bytes]:
        """Those of `inputs` that have an output of this function here."""
        with self._open() as db:
            function = self._function(db, digest)
            if function is None:
                return set()
            ask = "SELECT 1 FROM entries WHERE input = ? AND function = ?"
            return {one for one in inputs if db.execute(ask, (one, function)).fetchone()}

    def keep(self, digest: bytes, origin: dict[str, Any], entries: Iterable[Entry]) -> None:
        """Keep outputs of a function; where one is kept already, the new one takes its place.

        Args:
            digest: Of the function; `note_map` has told it.
            origin: The map that they are from.
            entries: Read once.
        """
        remaining = iter(entries)
        told = json.dumps(origin, sort_keys=True)
        while True:
            rows = [row for entry in _some(remaining) if (row := self._row(digest, entry)) is not None]
            if not rows:
                return
            with self._open(write=True) as db:
                function = self._function(db, digest)
                db.execute("INSERT OR IGNORE INTO origins (facts) VALUES (?)", (told,))
                (number,) = db.execute("SELECT id FROM origins WHERE facts = ?", (told,)).fetchone()
                now = time.time()
                db.executemany(
                    "INSERT OR REPLACE INTO entries (function, input, origin, component, measures, checked, size, used, value)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
                    [(function, row[0], number, *row[1:5], now, row[5]) for row in rows],
                )
            self._make_room()

    def _row(self, digest: bytes, entry: Entry) -> tuple[Any, ...] | None:
        """Input, component, measures, check sum, size and value of an entry; its file is written.

        None: it is too large to be kept.
        """
        if entry.length > self._most // 4:
            return None
        check = _Check(digest, entry.input, entry.measures)
        if isinstance(entry.value, bytes):
            check.update(entry.value)
            size = entry.length + _OVERHEAD
            return entry.input, entry.component, entry.measures, check.digest(), size, entry.value
        file = self._value_file(digest, entry.input)
        temporary = file.with_name(f".{file.name}.{os.getpid()}.{time.time_ns()}")
        try:
            trust.make_folder(str(self.folder))
            trust.make_folder(str(self._values))
            with open(temporary, "wb", opener=trust.opener) as written:
                for piece in entry.value:
                    check.update(piece)
                    written.write(piece)
            temporary.replace(file)
        except OSError as error:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise Trouble(f"{self.folder}: {error}") from error
        size = entry.length + _OVERHEAD
        return entry.input, entry.component, entry.measures, check.digest(), size, None

    def _value_file(self, digest: bytes, given: bytes) -> Path:
        return self._values / hashlib.blake2b(digest + given, digest_size=16).hexdigest()

    def _make_room(self) -> None:
        """Let go of what was used longest ago, until there is some room."""
        with self._open(write=True) as db:
            (total,) = db.execute("SELECT coalesce(sum(size), 0) FROM entries").fetchone()
            if total <= self._most:
                return
            doomed: list[tuple[int]] = []
            files: list[Path] = []
            ask = (
                "SELECT entries.id, size, value IS NULL, functions.digest, input FROM entries JOIN functions"
                " ON functions.id = function ORDER BY used, entries.id"
            )
            for row, size, is_file, digest, given in db.execute(ask):
                if total <= 0.9 * self._most:
                    break
                total -= size
                doomed.append((row,))
                if is_file:
                    files.append(self._value_file(digest, given))
            db.executemany("DELETE FROM entries WHERE id = ?", doomed)
        for file in files:
            with contextlib.suppress(OSError):
                file.unlink()
        with self._open() as db:
            db.execute("COMMIT")
            db.execute("PRAGMA incremental_vacuum").fetchall()
            db.execute("BEGIN")

    # -- finding ---------------------------------------------------------------------------------------------

    @staticmethod
    def _function(db: sqlite3.Connection, digest: bytes) -> int | None:
        found = db.execute("SELECT id FROM functions WHERE digest = ?", (digest,)).fetchone()
        return None if found is None else int(found[0])

    def find(self, digest: bytes, inputs: list[bytes]) -> Iterator[Stored]:
        """Outputs of this function for those of `inputs` that have one, in their order.

        One that is damaged is removed, and not among them.

        Raises:
            Trouble: At any time; what came before is good.
        """
        damaged: list[tuple[int]] = []
        with self._open() as db:
            function = self._function(db, digest)
            ask = (
                "SELECT id, measures, checked, value, origin, component FROM entries"
                " WHERE input = ? AND function = ?"
            )
            for place, given in enumerate(inputs if function is not None else ()):
                row = db.execute(ask, (given, function)).fetchone()
                if row is None:
                    continue
                number, measures, checked, value, origin, component = row
                file = self._value_file(digest, given) if value is None else None
                check = _Check(digest, given, measures)
                for piece in _pieces(file) if file is not None else [value]:
                    check.update(piece)
                if check.digest() != checked:
                    damaged.append((number,))
                    continue
                yield Stored(place, number, measures, value, file, origin, component)
        if damaged:
            with self._open(write=True) as db:
                db.executemany("DELETE FROM entries WHERE id = ?", damaged)
            raise Trouble(f"{self.folder}: {len(damaged):,} damaged outputs were removed")

    def mark_used(self, rows: Iterable[int]) -> None:
        """These were used now."""
        now = time.time()
        with self._open(write=True) as db:
            db.executemany(
                "UPDATE entries SET used = ? WHERE id = ? AND used < ?",
                [(now, row, now - _COARSE) for row in rows],
            )

    def origins(self, numbers: Iterable[int]) -> dict[int, dict[str, Any]]:
        """What is known of maps that outputs are from."""
        with self._open() as db:
            ask = "SELECT facts FROM origins WHERE id = ?"
            found = {number: db.execute(ask, (number,)).fetchone() for number in set(numbers)}
        return {number: json.loads(row[0]) if row else {} for number, row in found.items()}

    def forget(self, folder: Path, digest: bytes, inputs: Iterable[bytes]) -> None:
        """Outputs of these inputs are wanted anew, and this map will have them."""
        with self._open(write=True) as db:
            db.execute("UPDATE maps SET kept = 0 WHERE map = ?", (str(folder),))
            function = self._function(db, digest)
            ask = "DELETE FROM entries WHERE input = ? AND function = ?"
            db.executemany(ask, [(one, function) for one in inputs])

    # -- for people ------------------------------------------------------------------------------------------

    def others(self, given: bytes, name: str, but: str) -> list[dict[str, Any]]:
        """Functions that have an output of this input here, or that have this name: their facts.

        ``same_input`` says which, ``digest`` tells them apart, ``count`` is how many outputs they have.
        Outputs of the map whose folder is called `but` do not count.
        """
        with self._open() as db:
            rows = db.execute(
                "WITH own AS (SELECT id FROM origins WHERE instr(facts, ?)),"
                " known AS (SELECT function, input FROM entries WHERE origin NOT IN (SELECT id FROM own))"
                " SELECT digest, facts,"
                " EXISTS (SELECT 1 FROM known WHERE function = functions.id AND input = ?),"
                " (SELECT count(*) FROM known WHERE function = functions.id)"
                " FROM functions WHERE name = ? OR id IN (SELECT function FROM known WHERE input = ?)"
                " ORDER BY id DESC LIMIT 200",
                (json.dumps(but), given, name, given),
            ).fetchall()
        return [
            {**json.loads(facts), "digest": digest, "same_input": bool(same), "count": count}
            for digest, facts, same, count in rows
        ]

    def size(self) -> tuple[int, int]:
        """How many outputs there are, and how many bytes they take."""
        with self._open() as db:
            count, total = db.execute("SELECT count(*), coalesce(sum(size), 0) FROM entries").fetchone()
        return int(count), int(total)

    def clear(self) -> None:
        """Remove everything.

        Raises:
            Trouble: Something cannot be removed.
        """
        import shutil

        try:
            doomed = self.folder.with_name(f".{self.folder.name}-{time.time_ns()}")
            with contextlib.suppress(FileNotFoundError):  # there is none, or another process removes it
                self.folder.rename(doomed)
                shutil.rmtree(doomed)
        except OSError as error:
            raise Trouble(f"{self.folder}: {error}") from error


class _Check:
    """The check sum of an entry: of what it belongs to, and of what it is."""

    def __init__(self, digest: bytes, given: bytes, measures: bytes) -> None:
        self._hash = hashlib.blake2b(digest + given + measures, digest_size=_CHECK_BYTES)
        self.update, self.digest = self._hash.update, self._hash.digest


def _seal(keys: bytes) -> bytes:
    return hashlib.blake2b(keys, digest_size=_CHECK_BYTES).digest()


def _some(entries: Iterator[Entry]) -> Iterator[Entry]:
    """As many of them as one transaction takes."""
    size = 0
    for count, entry in enumerate(entries, 1):
        yield entry
        size += entry.length
        if count == _AT_ONCE or size > 1 << 26:
            return


def _pieces(file: Path) -> Iterator[bytes]:
    """The content of a file, in pieces; nothing, if it is not there."""
    try:
        with file.open("rb") as content:
            while piece := content.read(formats.PIECE_BYTES):
                yield piece
    except FileNotFoundError:
        return
