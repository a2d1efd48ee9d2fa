"""Files that several processes use at once, and that must be whole whenever one of them dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import time
from pathlib import Path

from wingspan.errors import DiskError
from wingspan.worker import trust

# The same as `typing.TYPE_CHECKING`: who runs local jobs imports this, and starts quickly.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

__all__ = ["JsonLog", "append_line", "disk_error", "lock", "not_written"]

#: What flock(2) answers on file systems that have no locks.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a file that several processes append to.

    A part of a line that a crash has left there is closed off first.

    Raises:
        OSError: It cannot be written. A reader passes over what there is of it.
    """
    descriptor = trust.open_file(str(path), os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        size = os.fstat(descriptor).st_size
        torn = size and os.pread(descriptor, 1, size - 1) != b"\n"
        data = (b"\n" if torn else b"") + line + b"\n"
        written = os.write(descriptor, data)
        if written < len(data):
            os.write(descriptor, data[written:])  # the disk is full: this says so
    finally:
        os.close(descriptor)


class JsonLog:
    """A file of JSON objects, one in each line, which several processes append to and read.

    It is never rewritten.

    Args:
        path: The file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._name = str(path)
        self._seen: tuple[int, int] | None = None
        self._entries: list[dict[str, Any]] = []

    def append(self, entry: Mapping[str, Any]) -> None:
        """Append a whole line, so that another process may append at the same moment.

        Raises:
            OSError: It cannot be written.
        """
        append_line(self.path, json.dumps(entry).encode())

    def entries(self) -> list[dict[str, Any]]:
        """What was appended, oldest first: the same list as last time while the file has not grown.

        A line that is not a whole JSON object is left out: the writer has crashed, or is still writing.

        Raises:
            OSError: The file is there and cannot be read.
        """
        try:
            facts = os.stat(self._name)  # noqa: PTH116 - called several times a second: no Path for it
        except (FileNotFoundError, NotADirectoryError):
            seen = None
        else:
            seen = facts.st_ino, facts.st_size
        if seen != self._seen:
            data = b""
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                data = self.path.read_bytes()
            self._entries, self._seen = list(_json_objects(data)), seen
        return self._entries


def _json_objects(data: bytes) -> Iterator[dict[str, Any]]:
    for line in data.split(b"\n")[:-1]:
        with contextlib.suppress(ValueError, RecursionError):
            entry = json.loads(line)
            if isinstance(entry, dict):
                yield entry


@contextlib.contextmanager
def lock(path: Path, *, shared: bool = False, patience: float = 0.0) -> Iterator[bool]:
    """Hold the lock (flock(2)) on a file, which is made if need be.

    Its value says whether the lock was obtained. The kernel drops it when this process dies.

    Where the folder cannot be written, or its file system has no locks, it counts as held: nobody else can
    have it either.

    Args:
        path: The file.
        shared: Several may hold it at once, but nobody who wants it alone.
        patience: Wait so long (s) for whoever has it.
    """
    try:
        descriptor = trust.open_file(str(path), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT):
            yield True
            return
        raise
    try:
        deadline = time.monotonic() + patience
        while not (held := _take(descriptor, shared)) and time.monotonic() < deadline:
            time.sleep(0.02)
        yield held
    finally:
        os.close(descriptor)


def _take(descriptor: int, shared: bool) -> bool:
    try:
        fcntl.flock(descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
    return True


#: What an error means in words, by its number.
_REASONS = {
    errno.ENOSPC: "the disk is full",
    errno.EDQUOT: "your quota of disk space is used up",
    errno.EROFS: "it can only be read",
    errno.EACCES: "this user may not do that",
    errno.EPERM: "this user may not do that",
    errno.EMFILE: "this process has too many files open (ulimit -n)",
    errno.ENFILE: "this machine has too many files open",
    errno.EIO: "the disk or its server has failed",
    errno.ESTALE: "the file server has lost it",
}


def disk_error(error: OSError, what: str, place: Path, kept: str) -> DiskError:
    """What to raise for an error of the operating system.

    Args:
        error: What it said.
        what: What could not be done, such as ``"the map 'a' cannot be held"``.
        place: The folder that it is about, where the error names no file.
        kept: What is not lost, as a sentence.

    >>> full = OSError(errno.ENOSPC, "No space left on device")
    >>> print(disk_error(full, "it cannot be held", Path("/data/maps/1"), "What is finished is kept"))
    it cannot be held: /data/maps/1: the disk is full
    Hint: free some space and try again. What is finished is kept
    """
    why = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    todo = "see what is wrong there"
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        todo = "free some space"
    elif error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        todo = "make it writable"
    elif error.errno in (errno.EMFILE, errno.ENFILE):
        todo = "close some, or raise the limit"
    named = error.filename if isinstance(error.filename, str) and os.path.isabs(error.filename) else place  # noqa: PTH117
    made = DiskError(f"{what}: {named}: {why}", hint=f"{todo} and try again. {kept}")
    made.errno, made.strerror, made.filename = error.errno, error.strerror, str(named)
    return made


def not_written(error: OSError, what: str, root: Path) -> tuple[str, str]:
    """What is wrong, and what to do, when a new map or run cannot be written below `root`.

    >>> not_written(OSError(errno.ENOSPC, "No space left on device"), "the map", Path("/data/maps"))[0]
    'the map cannot be written to /data/maps: the disk is full'
    """
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    return (
        f"{what} cannot be written to {root}: {'the disk is full' if full else error}",
        "free some space, or set WINGSPAN_DATA_DIR to a folder with more of it; nothing was submitted",
    )
