"""Answers to requests about one map or run: JSON, and parts of files."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Protocol

import attrs

from wingspan.pools import JobEvent
from wingspan.pools.ssh_frames import TAIL, checksum_of
from wingspan.pools.submissions import LoggedSubmission

__all__ = ["Answer", "Files", "One"]

#: About how many bytes of files one answer has; the other end then asks for more.
_MOST = 1 << 23


@attrs.frozen
class Answer:
    """The answer to a request.

    Attributes:
        plain: The JSON.
        data: The bytes behind it.
    """

    plain: Mapping[str, Any]
    data: bytes = b""


class One(Protocol):
    """One map or run that is here."""

    files: Files

    def look(self, *, reconcile: bool) -> Mapping[str, Any]:
        """Take in what is new, and tell `files` of it."""
        ...

    def entries(self) -> tuple[LoggedSubmission, ...]:
        """Its submissions."""
        ...

    def jobs(self) -> Iterable[JobEvent]:
        """Its jobs, each as it is now."""
        ...

    def do(self, what: Mapping[str, Any], data: bytes) -> Answer:
        """Do what a request asks for."""
        ...


class Files:
    """Which parts of the files of one map or run the other end has."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._has: dict[str, tuple[int, int]] = {}
        self._here: Mapping[str, Any] = {}
        self.begin({})

    def begin(self, here: Mapping[str, Any]) -> None:
        """The other end has told what it has."""
        self._here, self._has = here, {}
        self._told: list[tuple[str, int, int, bool]] = []
        self._large: list[tuple[str, int, int, int]] = []
        self._pieces: list[bytes] = []
        self._size = 0

    def answer(self) -> tuple[list[tuple[str, int, int, bool]], bytes]:
        """What has been told since the last answer: of each piece the name, where it begins, its length, and
        whether it is the whole file; and the pieces."""
        told, data = self._told, b"".join(self._pieces)
        self._told, self._pieces, self._size = [], [], 0
        return told, data

    def large(self) -> list[tuple[str, int, int, int]]:
        """Files that were told since the last answer and that the other end is to read piece by piece: name,
        bytes, when written (ns), mode."""
        told, self._large = self._large, []
        return told

    @property
    def is_full(self) -> bool:
        """The rest is for the next answer."""
        return self._size >= _MOST

    def grown(self, name: str, size: int, inode: int = 0) -> None:
        """A file has so many bytes now. Where it is not the one that the other end has (`inode`), or the end
        of the other one is not here, all of it is told.
        """
        known = self._has.get(name)
        if known is None and name in self._here:
            length, checksum = map(int, self._here[name])
            if (
                length <= size
                and checksum_of(self._read(name, max(0, length - TAIL), min(TAIL, length))) == checksum
            ):
                known = length, inode
        begins = known is None or known[1] != inode or known[0] > size
        at = 0 if known is None or begins else known[0]
        if self.is_full or (size <= at and not (begins and name in self._here)):
            if known is not None:
                self._has[name] = known
            return
        data = self._read(name, at, min(size - at, _MOST))
        self._tell(name, at, data, is_whole=begins)
        self._has[name] = at + len(data), inode

    def whole(self, name: str) -> None:
        """A file that is written whole may be new, or another one."""
        try:
            status = (self.folder / name).stat()
        except FileNotFoundError:
            return
        now = status.st_mtime_ns, status.st_ino
        if self._has.get(name) == now:
            return
        self._has[name] = now
        if status.st_size > _MOST:
            self._large.append((name, status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode)))
        else:
            self._tell(name, 0, self._read(name, 0, status.st_size), is_whole=True)

    def _tell(self, name: str, at: int, data: bytes, *, is_whole: bool) -> None:
        self._told.append((name, at, len(data), is_whole))
        self._pieces.append(data)
        self._size += len(data)

    def _read(self, name: str, at: int, length: int) -> bytes:
        descriptor = os.open(self.folder / name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            return os.pread(descriptor, length, at)
        finally:
            os.close(descriptor)
