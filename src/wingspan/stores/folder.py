"""A folder as a store: a disk of one's own, a shared one, or a site's ``/staging``."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path
from typing import BinaryIO

import attrs

from wingspan.stores.base import Entry, Leftover
from wingspan.stores.errors import NOT_THERE, ObjectNotFound, StoreFull, StoreReadOnly, StoreUnavailable

__all__ = ["FolderBackend"]

_PART = re.compile(r"\.(?P<name>.+)\.[A-Za-z0-9_]{8}\.part")
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_NO_LINKS = frozenset({errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK, errno.EXDEV})


@contextlib.contextmanager
def _translated(folder: Path) -> Iterator[None]:
    try:
        yield
    except StoreUnavailable:
        raise
    except OSError as error:
        if error.errno in _FULL:
            raise StoreFull(
                f"{folder} is full ({os.strerror(error.errno or 0)}); nothing was left there",
                hint=f"make room: wingspan store prune {folder}, or ask for a larger quota",
            ) from error
        if error.errno in {errno.EACCES, errno.EROFS}:
            raise StoreReadOnly(
                f"{folder} cannot be written: {os.strerror(error.errno)}", hint="check its owner and mode"
            ) from error
        raise


def _put_new(path: Path, target: Path) -> None:
    """Give a file the name `target`, which must be free.

    Raises:
        FileExistsError: It is taken.
    """
    try:
        os.link(path, target)  # unlike a rename, refuses to replace what is there
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # A file system without hard links. Between this look and the rename another writer of the same name
        # can only have put the same content there: the name says it.
        if target.exists():
            raise FileExistsError(errno.EEXIST, "exists", target.name) from None
        path.rename(target)


def _sync_folder(folder: Path) -> None:
    """Make a rename in `folder` last over a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError:  # some network file systems cannot, and do not need to
        pass
    finally:
        os.close(descriptor)


@attrs.frozen
class FolderBackend:
    """Files in one folder. Uploads write a hidden ``.part`` file, locked while its writer lives, and link it
    into place.
    """

    folder: Path

    @property
    def url(self) -> str:
        return str(self.folder)

    def _folder(self) -> Path:
        if not self.folder.is_dir():
            raise StoreUnavailable(
                f"{self.folder} is not a folder on this machine",
                hint=f"make it (mkdir -p {self.folder}), or name another store",
            )
        return self.folder

    def check_writable(self) -> None:
        self._folder()

    def size(self, name: str) -> int | None:
        try:
            return (self._folder() / name).stat().st_size
        except FileNotFoundError:
            return None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        try:
            stream = (self._folder() / name).open("rb")
        except FileNotFoundError:
            raise ObjectNotFound(f"no {name} in {self.folder}", hint=NOT_THERE) from None
        with stream:
            yield stream

    def make_folder(self) -> None:
        with _translated(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)

    def put(self, name: str, pieces: Iterator[bytes], size: int, *, replace: bool = False) -> None:
        folder = self._folder()
        free = shutil.disk_usage(folder).free
        if free < size:
            raise StoreFull(
                f"{folder} has {free / 1e6:,.1f} MB free; {name} needs {size / 1e6:,.1f} MB",
                hint=f"make room: wingspan store prune {folder}",
            )
        with _translated(folder):
            part, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder)
            try:
                fcntl.flock(part, fcntl.LOCK_EX)
                for piece in pieces:
                    view = memoryview(piece)
                    while view:
                        view = view[os.write(part, view) :]
                os.fchmod(part, 0o644)  # jobs, caches and colleagues read it; mkstemp says 0600
                os.fsync(part)
                if replace:
                    Path(path).replace(folder / name)
                else:
                    _put_new(Path(path), folder / name)
                _sync_folder(folder)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    Path(path).unlink()
                os.close(part)

    def put_small(self, name: str, content: bytes) -> None:
        folder = self._folder()
        with _translated(folder):
            part, path = tempfile.mkstemp(prefix=f".{name}.", suffix=".part", dir=folder)
            try:
                with os.fdopen(part, "wb") as stream:
                    stream.write(content)
                    os.fchmod(stream.fileno(), 0o644)
                    stream.flush()
                    os.fsync(stream.fileno())
                Path(path).replace(folder / name)
            except BaseException:
                Path(path).unlink(missing_ok=True)
                raise
            _sync_folder(folder)

    def read_small(self, names: list[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            with contextlib.suppress(OSError):
                found[name] = (self._folder() / name).read_bytes()
        return found

    def _scan(self) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(self._folder()) as entries:
            for entry in entries:
                with contextlib.suppress(FileNotFoundError):
                    if entry.is_file(follow_symlinks=False):
                        yield entry.name, entry.stat(follow_symlinks=False)

    def entries(self) -> list[Entry]:
        return [
            Entry(name=name, size=status.st_size, modified=_time(status))
            for name, status in self._scan()
            if not _PART.fullmatch(name)
        ]

    def remove(self, name: str) -> None:
        with _translated(self.folder):
            (self._folder() / name).unlink(missing_ok=True)

    def leftovers(self) -> list[Leftover]:
        found = []
        for name, status in self._scan():
            if _PART.fullmatch(name) and not self._locked(name):
                found.append(Leftover(name=name, size=status.st_size, modified=_time(status), handle=name))
        return found

    def _locked(self, name: str) -> bool:
        """Whether a living upload writes it (on another machine too, where the file system passes locks
        on).
        """
        try:
            descriptor = os.open(self.folder / name, os.O_RDONLY)
        except OSError:
            return True  # gone, or not ours to touch
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return True
        finally:
            os.close(descriptor)
        return False

    def discard(self, leftover: Leftover) -> None:
        self.remove(str(leftover.handle))


def _time(status: os.stat_result) -> datetime:
    return datetime.fromtimestamp(status.st_mtime, tz=timezone.utc)
