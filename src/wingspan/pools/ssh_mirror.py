"""The copy on this machine of a map or run that an access point has.

A look brings what is new over there. Of files that only grow, what follows the end of the copy is brought;
others are brought whole, and put in place by one rename. So any number of processes may look at the same
time, and what a process that dies leaves is completed by the next look.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, TypeVar

import attrs

from wingspan._files import JsonLog, append_line
from wingspan._words import notice
from wingspan.errors import PoolError, PoolUnavailable
from wingspan.pools._base import JobEvent, JobState
from wingspan.pools.ssh_connection import Address, Connection, Unreached, connection_to, making_sense
from wingspan.pools.ssh_frames import PIECE, TAIL, checksum_of
from wingspan.pools.submission_log import LOCK, LoggedSubmission, SubmissionLog
from wingspan.worker import trust
from wingspan.worker.transports import write_all

_Told = TypeVar("_Told")

__all__ = ["PATIENCE", "Mirror", "event_of", "event_to_json"]

#: Files below these folders grow.
_GROWING = ("results", "workers", "logs")
#: What a look brings: nothing else of the copy is ever replaced by what the access point says.
_BROUGHT = frozenset({*_GROWING, "actions", "functions", "notes", "rounds"})
#: Files that are for this machine alone; the other one has a worker of its own.
_OWN = frozenset({LOCK, "lock", "read", "worker.pyz"})
#: What is known of jobs over there, in the copy.
_JOBS = "jobs_there"
#: Seconds after which a process that only looks asks a machine again that did not answer.
_AGAIN_SECONDS = 5.0
#: How long a process that waits accepts that the access point does not answer (s).
PATIENCE = 300.0
#: How often a map or run is sent, if the connection breaks before it is begun.
_MOST_SENT = 5


def event_to_json(event: JobEvent) -> dict[str, Any]:
    """A job's event as a message has it."""
    told = attrs.asdict(event, filter=lambda field, value: value != field.default)
    return {**told, "state": event.state.value}


def event_of(plain: Mapping[str, Any]) -> JobEvent:
    """The event that a message tells of."""
    return JobEvent(**{**plain, "state": JobState(plain["state"])})


#: Access points that did not answer: when a process that only looks may ask them again, and what was wrong.
_silences: dict[Address, tuple[float, PoolUnavailable]] = {}


class Mirror:
    """The copy that lies in a folder.

    Args:
        folder: That of the map or run here; the access point has one of the same name.
        kind: Name of the pool, which names the access point.

    Attributes:
        told: What the last look told.
    """

    def __init__(self, folder: Path, kind: str) -> None:
        self._folder, self._kind = folder, kind
        self._address = Address.parse(kind)
        self._connection: Connection | None = None
        self._events: list[JobEvent] = []
        self._epoch = 0
        self._kept = JsonLog(folder / _JOBS)
        self.told: dict[str, Any] = {}
        self._silent_since: float | None = None

    @property
    def what(self) -> dict[str, str]:
        """How requests name the map or run."""
        return {"kind": self._folder.parent.name, "id": self._folder.name}

    def ask(self, do: str, /, **more: Any) -> dict[str, Any]:
        """Ask the access point something about the map or run.

        Raises:
            WingspanError: What was raised there.
            PoolUnavailable: It does not answer.
        """
        return self._again(lambda: self._request(do, **more))

    def change(
        self, do: str, data: bytes | memoryview = b"", /, *, files: Sequence[str] = (), **more: Any
    ) -> dict[str, Any]:
        """Have the access point do something to the map or run, once.

        Where the connection breaks, another one is made, and the access point is asked what became of it.
        Only what it did not do, and will not do any more, is asked for again.

        Args:
            do: What is to be done.
            data: Bytes that go along.
            files: Files of the folder that are sent before.
            more: What else the request says.

        Raises:
            WingspanError: What was raised there.
            PoolUnavailable: The access point does not answer.
        """
        connection_to(self._address)  # where it is not reached to begin with, it is not tried again
        request = secrets.token_hex(8)
        for attempt in range(_MOST_SENT):
            key = f"{request}-{attempt}"
            try:
                for name in files:
                    self.put(name)
                return self._request(do, data, idempotency_key=key, **more)
            except Unreached as error:
                if attempt + 1 == _MOST_SENT:
                    raise
                notice(f"{error.message}; connecting anew")
                told = self._outcome(
                    error,
                    f"has done what was asked ({do})",
                    "look at the map or run",
                    "request_outcome",
                    idempotency_key=key,
                )
            with self.making_sense():
                if "answer" in told:
                    return dict(told["answer"])
            if not told.get("given_up"):
                raise PoolError(
                    f"{self._address.name} was interrupted while it did what was asked ({do})",
                    hint="look at the map or run, and ask again if need be",
                )
        raise AssertionError("the last attempt returns or raises")

    def _again(self, question: Callable[[], _Told]) -> _Told:
        """Ask what changes nothing over there; once more through another connection, if the first breaks."""
        connection_to(self._address)
        try:
            return question()
        except Unreached as error:
            notice(f"{error.message}; connecting anew")
            return question()

    def _request(self, do: str, data: bytes | memoryview = b"", /, **more: Any) -> dict[str, Any]:
        answer = connection_to(self._address).ask(do, data, **self.what, **more)[0]
        _silences.pop(self._address, None)
        return answer

    def _outcome(
        self, broke: Unreached, done: str, advice: str, question: str, /, **more: Any
    ) -> dict[str, Any]:
        """What has become of a request whose connection broke: asked until the access point is reached.

        Args:
            broke: How the connection broke.
            done: What is not known if it is not reached for minutes: whether it "has …".
            advice: What its user does then.
            question: The request that asks for the outcome.
            more: What else it says.

        Raises:
            WingspanError: What was raised there.
            Unreached: The access point is not reached for minutes.
        """
        deadline, pause = time.monotonic() + PATIENCE, 0.1
        while True:
            try:
                return self._request(question, **more)
            except Unreached as error:
                if time.monotonic() > deadline:
                    raise Unreached(
                        f"{broke.message}; it is not known whether the access point {done}", hint=advice
                    ) from error
            time.sleep(pause)
            pause = min(10.0, 2 * pause)

    def making_sense(self) -> AbstractContextManager[None]:
        """Within the block, an answer is read: one of another form becomes an error (see `making_sense`)."""
        return making_sense(self._address)

    def look(self, *, reconcile: bool = False) -> None:
        """Bring what is new.

        Args:
            reconcile: Have the access point also do what is due, as somebody waits for the map or run.

        Raises:
            PoolUnavailable: The access point does not answer. For some seconds it is not asked again.
        """
        silence = _silences.get(self._address)
        if silence is not None and time.monotonic() < silence[0]:
            self._remember()
            raise silence[1]
        try:
            while True:
                try:
                    self.told = self._look_once(reconcile=reconcile)
                except PoolUnavailable as error:
                    if self._connection is None or self._silent_since is not None:
                        raise
                    if isinstance(error, Unreached):
                        notice(f"{error.message}; connecting anew")
                    self._connection = None  # the network was away for a moment, or the laptop slept
                    self.told = self._look_once(reconcile=reconcile)
                if not self.told.get("more"):
                    break
        except PoolUnavailable as error:
            _silences[self._address] = time.monotonic() + _AGAIN_SECONDS, error
            self._silent_since = self._silent_since or time.monotonic()
            self._remember()
            raise
        _silences.pop(self._address, None)
        self._silent_since = None

    def events_since(self, seen: tuple[int, int]) -> tuple[list[JobEvent], tuple[int, int]]:
        """What has become of jobs, oldest first, and what to give the next time.

        Args:
            seen: What was answered the last time; (0, 0) at first.
        """
        begin = seen[1] if seen[0] == self._epoch else 0  # else all was told anew
        return self._events[begin:], (self._epoch, len(self._events))

    def _remember(self) -> None:
        """The access point does not answer: what it told of jobs the last time still holds."""
        if not self._events:
            last = {(plain.get("cluster"), plain.get("proc")): plain for plain in self._kept.entries()}
            with contextlib.suppress(KeyError, TypeError, ValueError):
                self._events = [event_of(plain) for plain in last.values()]

    def _keep(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Write down what was told of jobs, for when the access point does not answer."""
        if not events:
            return
        last = {(plain.get("cluster"), plain.get("proc")): plain for plain in self._kept.entries()}
        lines = [
            json.dumps(plain).encode()
            for plain in events
            if last.get((plain.get("cluster"), plain.get("proc"))) != plain
        ]
        if lines:
            with contextlib.suppress(OSError):
                append_line(self._kept.path, b"\n".join(lines))

    @property
    def silent_seconds(self) -> float:
        """For how long the access point has not answered."""
        return 0.0 if self._silent_since is None else time.monotonic() - self._silent_since

    def _look_once(self, *, reconcile: bool) -> dict[str, Any]:
        connection = connection_to(self._address)
        here = None
        if connection is not self._connection:  # the other end knows nothing of this copy yet
            here = self._sizes()
            self._events = []
            self._epoch += 1
        log = SubmissionLog(self._folder)
        known = log.entries()
        told, data = connection.ask(
            "look",
            **self.what,
            here=here,
            entries=len(known),
            events=len(self._events),
            reconcile=reconcile,
        )
        try:
            with making_sense(self._address):
                self._take_files(told, data)
                for listed in told["large"]:
                    self._fetch(connection, *listed)
                self._add_entries(log, len(known), told["entries"])
                self._events += map(event_of, told["events"])
                self._keep(told["events"])
        except BaseException:
            connection.close()  # what was not written would not be told again
            raise
        self._connection = connection
        return told

    def _sizes(self) -> dict[str, tuple[int, int]]:
        """Bytes of those files of the copy that grow, and the checksum of their ends: a file may have been
        begun anew over there, or be damaged here.
        """
        found = {}
        for folder in _GROWING:
            with contextlib.suppress(FileNotFoundError), os.scandir(self._folder / folder) as entries:
                for entry in entries:
                    if entry.is_file(follow_symlinks=False):
                        with open(entry.path, "rb") as file:  # noqa: PTH123 - one of many
                            size = file.seek(0, os.SEEK_END)
                            file.seek(max(0, size - TAIL))
                            found[f"{folder}/{entry.name}"] = size, checksum_of(file.read(TAIL))
        return found

    def bring(self, name: str) -> None:
        """Bring a file, or all files below a folder, that `look` leaves out: outputs, for instance.

        Files that are here, and as they are there, are not brought again; those that are not there any more
        are removed here.

        Raises:
            PoolUnavailable: The access point does not answer.
        """
        self._again(lambda: self._bring(name))

    def _bring(self, name: str) -> None:
        connection = connection_to(self._address)
        with making_sense(self._address):
            listed = [
                (trust.check_path(path), int(size), int(written), int(mode))
                for path, size, written, mode in connection.ask("list", **self.what, name=name)[0]["files"]
            ]
            for path, *facts in listed:
                self._bring_one(connection, name, path, *facts)
        kept = {path for path, *_ in listed}
        for old in (self._folder / name).rglob("*"):
            if old.relative_to(self._folder).as_posix() not in kept and not old.is_dir():
                old.unlink(missing_ok=True)

    def _bring_one(
        self, connection: Connection, name: str, path: str, size: int, written: int, mode: int
    ) -> None:
        """Bring a file that `name` is, or that is below it, unless it is here."""
        if path != name and not path.startswith(f"{name}/"):
            raise PoolError(
                f"{self._address.name} lists {path!r}, which is not in {name}",
                hint="do not trust that machine: ask who keeps it",
            )
        try:
            known = (self._folder / path).lstat()
            if (known.st_size, known.st_mtime_ns) == (size, written):
                return
        except FileNotFoundError:
            self._make_folders(path)
        self._fetch(connection, path, size, written, mode)

    def _fetch(self, connection: Connection, name: str, size: int, written: int, mode: int) -> None:
        """Bring one file, piece by piece, and put it in place when it is whole."""
        program = trust.PROGRAM if mode & 0o100 else trust.FILE
        with trust.replacing(str(self._folder / trust.check_path(name)), program, sync=False) as file:
            for piece in _pieces(connection, self.what, name, size):
                file.write(piece)
            file.flush()
            os.utime(file.fileno(), ns=(written, written))

    def send(self, more: Mapping[str, Path] | None = None) -> None:
        """Send what was just made here, with everything in its folder, and have it begun.

        Where the connection breaks, another one is made. It is asked whether the map or run was begun. Only
        what was not, and what the access point will not begin any more, is sent again.

        Args:
            more: Other files that go along, by their names in the folder over there.

        Raises:
            WingspanError: The access point does not take it: nothing is left there.
            Unreached: The connection broke, and no other one can be made.
        """
        connection_to(self._address)  # where it is not reached to begin with, it is not tried again
        for attempt in range(_MOST_SENT):
            try:
                self._send_once(attempt, more or {})
                return
            except Unreached as error:
                if attempt + 1 == _MOST_SENT:
                    raise
                notice(f"{error.message}; connecting anew")
                done = f"has begun {self._folder.name}"
                advice = f"`ssh {self._address.host} wingspan maps` (or runs) shows it; if it is there, remove it there"
                told = self._outcome(error, done, advice, "outcome", attempt=attempt)
            with self.making_sense():
                if told["begun"]:
                    return

    def _send_once(self, attempt: int, more: Mapping[str, Path]) -> None:
        connection_to(self._address).tell("new", **self.what, attempt=attempt)
        for around, folders, names in os.walk(self._folder):
            folders.sort()
            for name in sorted(names):
                path = Path(around, name)
                place = path.relative_to(self._folder).as_posix()
                if place not in _OWN and path.is_file():
                    self.put(place)
        for name, path in more.items():
            self.put(name, path)
        self._request("begin", pool=self._address.pool, attempt=attempt)

    def put(self, name: str, path: Path | None = None) -> None:
        """Send a file of the folder, or the one at `path`, which gets this name over there."""
        connection, at = connection_to(self._address), 0
        with (path or self._folder / name).open("rb") as file:
            facts = os.fstat(file.fileno())
            how = {"name": name, "program": bool(facts.st_mode & 0o100), "written": facts.st_mtime_ns}
            while (piece := file.read(PIECE)) or not at:
                connection.tell("put", piece, **self.what, **how, at=at)
                at += len(piece)
                if not piece:
                    return

    def _take_files(self, told: Mapping[str, Any], data: bytes) -> None:
        position = 0
        for name, at, length, is_whole in told["files"]:
            piece = memoryview(data)[position : position + length]
            position += length
            if trust.check_path(name).split("/")[0] not in _BROUGHT:
                raise ValueError(f"{name} is not a file that a copy has")
            self._make_folders(name)
            if not isinstance(at, int) or at < 0 or len(piece) != length:
                raise ValueError(f"{name} has no {length} bytes at {at}")
            if is_whole:
                trust.write_whole(str(self._folder / name), bytes(piece))
            else:
                _write_at(str(self._folder / name), piece, at)

    def _add_entries(self, log: SubmissionLog, asked: int, told: Sequence[Mapping[str, Any]]) -> None:
        """Write down the submissions of the access point, in its order: here they are some of this pool.

        Args:
            log: Those that are known.
            asked: How many were known when it was asked.
            told: Those that follow. Another process may have written them down meanwhile.
        """
        if not told:
            return
        with log.alone() as held:
            if not held:
                return  # the next look writes them down
            for plain in told[len(log.entries()) - asked :]:
                entry = LoggedSubmission.from_json(dict(plain))
                log.append(attrs.evolve(entry, pool=self._kind, place=None))

    def _make_folders(self, name: str) -> None:
        folder = self._folder
        for part in name.split("/")[:-1]:
            folder /= part
            if not folder.is_dir():
                trust.make_folder(str(folder))


def _pieces(connection: Connection, what: Mapping[str, str], name: str, size: int) -> Iterator[bytes]:
    """A file of the access point, piece by piece."""
    done = 0
    while done < size:
        piece = connection.ask("read", **what, name=name, at=done)[1]
        if not piece:
            raise PoolError(f"{name} was cut while it was brought here", hint="try again")
        done += len(piece)
        yield piece


def _write_at(path: str, data: memoryview, at: int) -> None:
    """Write `data` where the copy ends, or where another process has written the same."""
    descriptor = trust.open_file(path, os.O_WRONLY | os.O_CREAT)
    try:
        if os.fstat(descriptor).st_size < at:
            raise ValueError(f"{path} ends before byte {at:,}")
        os.lseek(descriptor, at, os.SEEK_SET)
        write_all(descriptor, data)
    finally:
        os.close(descriptor)
