"""Locks between processes that cannot go stale: the kernel drops them with the process that holds them."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from wingspan.worker import trust

__all__ = ["exclusive"]


@contextmanager
def exclusive(path: Path) -> Iterator[None]:
    """Hold the lock file at `path`; waits for as long as another process holds it.

    The file itself stays: removing it would let two processes lock two different files of one name.
    Python opens files close-on-exec, so no daemon that is started under the lock inherits it.
    """
    if not path.parent.is_dir():
        trust.make_folder(str(path.parent))
    descriptor = trust.open_file(str(path), os.O_RDWR | os.O_CREAT)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)
