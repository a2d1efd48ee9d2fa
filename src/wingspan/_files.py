"""Files that several processes use at once, and that must be whole whenever one of them dies."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from wingspan.worker import trust

__all__ = ["append_line", "lock", "reason"]

#: What flock(2) answers on file systems that have no locks.
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


def append_line(path: Path, line: bytes) -> None:
    """Append a line to a file that several processes append to. A part of a line that a crash has left there is closed off first.

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


@contextlib.contextmanager
def lock(path: Path, *, shared: bool = False, wait: bool = True) -> Iterator[bool]:
    """Hold the lock (flock(2)) on a file, which is made if need be: whether it was to be had; the kernel drops it when this process dies.

    Where the folder cannot be written, or its file system has no locks, it counts as held: nobody else can have it either.

    Args:
        path: The file.
        shared: Several may hold it at once, but nobody who wants it alone.
        wait: Until whoever has it lets go.
    """
    try:
        descriptor = trust.open_file(str(path), os.O_RDWR | os.O_CREAT)
    except OSError as error:
        if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOSPC, errno.EDQUOT):
            yield True
            return
        raise
    try:
        try:
            fcntl.flock(
                descriptor, (fcntl.LOCK_SH if shared else fcntl.LOCK_EX) | (0 if wait else fcntl.LOCK_NB)
            )
            held = True
        except BlockingIOError:
            held = False
        except OSError as error:
            if error.errno not in _NO_LOCKS:
                raise
            held = True
        yield held
    finally:
        os.close(descriptor)


#: In words, by number of the error.
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


def reason(error: OSError) -> tuple[str, str]:
    """Why the operating system refused something, and what to do about it.

    >>> reason(OSError(errno.ENOSPC, "No space left on device"))
    ('the disk is full', 'free some space')
    """
    why = _REASONS.get(error.errno or 0) or error.strerror or str(error)
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return why, "free some space"
    if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
        return why, "make it writable"
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return why, "close some, or raise the limit"
    return why, "mend that"
