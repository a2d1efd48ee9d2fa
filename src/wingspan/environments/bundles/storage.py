"""The folders for bundles, packages and helpers. Files get there whole or not at all.

They lie below the user's cache folder. All of them can be removed, and are made again when needed::

    environments/archives/<digest>/<file>    packages and wheels, checked against a lock when they came in
    environments/packages/                   py-rattler's extracted packages; <package>.state: how they were
    environments/bytecode/<key>/             .pyc files by package, and their digests
    environments/blobs/<key>                 the content of packages, compressed for images
    environments/shares/<key>                what else an installed package consists of
    environments/bundles/                    bundles, and <key>.json to find one by what it was built from
    environments/code/                       thin layers with the workspace's own code
    environments/deltas/                     what a bundle has that a published one has not
    environments/programs/                   unsquashfs and others, if the machine has none
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

from wingspan.environments.bundles.errors import DiskFull
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import load_settings, private_folder
from wingspan.worker import trust

__all__ = [
    "CHUNK",
    "cache_folder",
    "hash_file",
    "interprocess_lock",
    "no_room",
    "remove_abandoned",
    "replacing",
    "temporary_folder",
]

CHUNK = 1 << 20
#: No living process pauses for so long while it writes a file (s).
_ABANDONED = 3600


def cache_folder(*parts: str) -> Path:
    """A folder below ``environments/`` in the user's cache. It is made if it does not exist."""
    return private_folder(load_settings().cache_dir, "environments", *parts)


@contextlib.contextmanager
def no_room(where: Path) -> Iterator[None]:
    """Turn "no space left" into `DiskFull`, which says where, and how much is free."""
    try:
        yield
    except OSError as error:
        if isinstance(error, DiskFull) or error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise disk_full(where) from None


def disk_full(where: Path) -> DiskFull:
    """The error for a file system that is full; `where` may not exist yet."""
    folder = next((p for p in (where, *where.parents) if p.exists()), Path("/"))
    free = shutil.disk_usage(folder).free
    return DiskFull(
        f"no space left while writing {where} ({free / 1e6:.0f} MB free there)",
        hint="make room, or choose another place: WINGSPAN_CACHE_DIR for the cache, --output for the bundle",
    )


def hash_file(
    path: Path | str, algorithm: str = "sha256", *, progress: Callable[[int], object] | None = None
) -> str:
    """Hex digest of a file, read in pieces.

    Args:
        path: The file.
        algorithm: A name that `hashlib.new` knows.
        progress: Called with the number of bytes of each piece.
    """
    digest = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - thousands of files of an environment
        buffer = bytearray(min(CHUNK, os.fstat(file.fileno()).st_size) or CHUNK)
        view = memoryview(buffer)
        while count := file.readinto(buffer):
            digest.update(view[:count])
            if progress is not None:
                progress(count)
    return digest.hexdigest()


@contextlib.contextmanager
def replacing(path: Path, *, mode: int = trust.FILE, sync: bool = True) -> Iterator[IO[bytes]]:
    """Write a file beside `path` and rename it to `path` if all went well. Otherwise leave nothing behind.

    Args:
        path: The file.
        mode: Its mode.
        sync: Whether to wait for the disk. If not, a crash of the machine may leave half of the file, and
            readers must notice that.
    """
    if not path.parent.is_dir():
        trust.make_folder(str(path.parent))
    with no_room(path), trust.replacing(str(path), mode=mode, sync=sync) as file:
        yield file


def remove_abandoned(folder: Path, name: str = "*") -> None:
    """Remove files that killed processes left half written: ``.NAME.part``, or ``.NAME.<something>.part``."""
    for path in {*folder.glob(f".{name}.part"), *folder.glob(f".{name}.*.part")}:
        with contextlib.suppress(OSError):
            if time.time() - path.lstat().st_mtime > _ABANDONED:
                path.unlink()


@contextlib.contextmanager
def temporary_folder(parent: Path, prefix: str = ".build-") -> Iterator[Path]:
    """A new folder in `parent`, which is removed at the end. Leftovers of dead processes are removed too."""
    if not parent.is_dir():
        trust.make_folder(str(parent))
    for leftover in parent.glob(f"{prefix}*"):
        with contextlib.suppress(OSError), (leftover / "in-use").open("rb") as held, _flock(held, wait=False):
            shutil.rmtree(leftover, ignore_errors=True)
    new = Path(tempfile.mkdtemp(prefix=".new-", dir=parent))
    folder = parent / f"{prefix}{new.name.removeprefix('.new-')}"
    try:
        with (new / "in-use").open("wb") as file, _flock(file, wait=False):
            # only now, with the lock held: otherwise another process would remove it as a leftover
            new.rename(folder)
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(new, ignore_errors=True)


@contextlib.contextmanager
def interprocess_lock(
    path: Path, *, waiting: str = "Waiting", progress: Progress = NO_PROGRESS
) -> Iterator[None]:
    """Lock `path` against other processes.

    The system releases the lock when this process ends, however it ends.

    Args:
        path: Any file; made if it is not there.
        waiting: The text for `progress` if another process holds the lock.
        progress: Told if there is something to wait for.
    """
    if not path.parent.is_dir():
        trust.make_folder(str(path.parent))
    with open(path, "ab", opener=trust.opener) as file, contextlib.ExitStack() as held:
        try:
            held.enter_context(_flock(file, wait=False))
        except BlockingIOError:
            task = progress.start(waiting)
            try:
                held.enter_context(_flock(file, wait=True))
            finally:
                progress.finish(task)
        yield


@contextlib.contextmanager
def _flock(file: IO[Any], *, wait: bool) -> Iterator[None]:
    import fcntl

    fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    try:
        yield
    finally:
        fcntl.flock(file, fcntl.LOCK_UN)
