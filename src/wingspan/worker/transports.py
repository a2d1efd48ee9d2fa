"""The operations of a worker on its map's folder, and the transport by the file system (`local`, Slurm).

The other transport is `chirp`.

Both have the same few methods, with paths relative to the map's folder. `Gone` means that the folder, and so
the map, was removed.
"""

import errno
import os

from .trust import put_whole

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Dict, Iterable, List, Optional, Protocol, Sequence, Set, Union

    class Transport(Protocol):
        """The operations of the supervisor and of both ends of a map on the map's folder."""

        name: str
        flush_seconds: float

        @property
        def can_link(self) -> bool: ...

        def read(self, path: str, length: Optional[int] = None, offset: int = 0) -> bytes: ...
        def size(self, path: str) -> int: ...
        def append(self, path: str, *parts: Union[bytes, memoryview]) -> None: ...
        def create_exclusively(self, path: str, data: bytes) -> bool: ...
        def link(self, path: str, new: str) -> Optional[bool]: ...
        def write_whole(self, path: str, data: bytes) -> None: ...
        def write_pieces(self, path: str, pieces: Iterable[Union[bytes, memoryview]]) -> None: ...
        def remove(self, path: str) -> None: ...
        def names(self, path: str) -> List[str]: ...
        def modified(self, path: str) -> Optional[float]: ...
        def make_folder(self, path: str) -> None: ...
        def rename_folder(self, old: str, new: str) -> bool: ...
        def remove_tree(self, path: str) -> None: ...
        def beside(self, name: str) -> "Transport": ...
        def close(self) -> None: ...


#: The kernel moves at most 2 GiB less a page in one call (read(2), write(2)), and may move less: no call is
#: taken for all of it.
_ONE_CALL = 1 << 28
#: A machine that reaches the map's folder may have put a link or a pipe there: the one is not followed, for
#: the other nobody waits.
_PLAINLY = os.O_NOFOLLOW | os.O_NONBLOCK
#: How many parts writev(2) takes at least (IOV_MAX).
_MOST_PARTS = 1000


class Gone(Exception):
    """The map's folder does not exist any more, because the map was removed."""


class NoLine(Exception):
    """This machine lets no job reach its map's folder."""


def read_at(descriptor: "int", length: "int", offset: "int") -> "bytes":
    """`length` bytes from `offset` of an open file; fewer only where the file ends."""
    if length <= _ONE_CALL:
        data = os.pread(descriptor, length, offset)
        if len(data) == length or not data:
            return data
        parts = [data]
    else:
        parts = []
    got = sum(map(len, parts))
    while got < length:
        part = os.pread(descriptor, min(length - got, _ONE_CALL), offset + got)
        if not part:
            break
        parts.append(part)
        got += len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def read_into(descriptor: "int", target: "memoryview", offset: "int") -> "int":
    """Fill `target` from `offset` of an open file; answers how far, which is less than all of it only where
    the file ends.
    """
    got, length = 0, len(target)
    while got < length:
        some = os.preadv(descriptor, [target[got : got + _ONE_CALL]], offset + got)
        if not some:
            break
        got += some
    return got


def write_all(descriptor: "int", data: "Union[bytes, memoryview]") -> "None":
    """Write `data`, in as many calls as it takes."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view[:_ONE_CALL]) :]


def _write_parts(descriptor: "int", parts: "Sequence[Union[bytes, memoryview]]") -> "None":
    """Write all `parts`, in one call where the kernel takes them."""
    while len(parts) > 1:
        some = parts[:_MOST_PARTS]
        written = os.writev(descriptor, some)
        for part in some:
            if written < len(part):
                write_all(descriptor, memoryview(part)[written:])
            written = max(0, written - len(part))
        parts = parts[_MOST_PARTS:]
    for part in parts:
        write_all(descriptor, part)


def _remove_flat(folder: "str") -> "bool":
    """Remove a folder that holds no others; False if something is left. No link is followed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for name in os.listdir(descriptor):
                os.unlink(name, dir_fd=descriptor)
        finally:
            os.close(descriptor)
        os.rmdir(folder)
    except OSError:
        return False
    return True


class FileTransport(object):
    """The map's folder on a file system that this machine sees."""

    name = "file"
    #: Seconds for which results are gathered before they are appended.
    flush_seconds: "float" = 0.02

    def __init__(self, folder: "str") -> "None":
        self.folder = folder
        self._appending: "Dict[str, int]" = {}
        self._linked: "Set[str]" = set()
        self.can_link = True

    def beside(self, name: "str") -> "FileTransport":
        """The way to another map's folder, which lies beside this one."""
        return FileTransport(os.path.join(os.path.dirname(self.folder), name))

    def _path(self, path: "str") -> "str":
        return self.folder + "/" + path

    def read(self, path: "str", length: "Optional[int]" = None, offset: "int" = 0) -> "bytes":
        """`length` bytes from `offset` (all, if None; fewer, if the file ends); FileNotFoundError if there is
        no such file.
        """
        descriptor = os.open(self._path(path), os.O_RDONLY | _PLAINLY)
        try:
            if length is None:
                length = max(0, os.fstat(descriptor).st_size - offset)
            return read_at(descriptor, length, offset)
        finally:
            os.close(descriptor)

    def size(self, path: "str") -> "int":
        """Bytes of a file."""
        return os.stat(self._path(path)).st_size

    def append(self, path: "str", *parts: "Union[bytes, memoryview]") -> "None":
        """Append to a file to which only this worker writes."""
        descriptor = self._appending.get(path)
        if descriptor is None:
            descriptor = os.open(self._path(path), os.O_WRONLY | os.O_CREAT | os.O_APPEND | _PLAINLY, 0o600)
            self._appending[path] = descriptor
        if not os.path.exists(self._path(path)):
            raise Gone(self.folder)
        begin = os.fstat(descriptor).st_size
        try:
            _write_parts(descriptor, parts)
        except OSError:
            # The disk is full: behind a part of it nothing could be read, not even that this worker says so.
            os.ftruncate(descriptor, begin)
            raise

    def create_exclusively(self, path: "str", data: "bytes") -> "bool":
        """Create the file and write `data`; False if it is there already."""
        try:
            descriptor = os.open(self._path(path), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        except FileExistsError:
            return False
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        return True

    def link(self, path: "str", new: "str") -> "Optional[bool]":
        """Give a file a second name, `new`; False if there is such a file already, None if the file system
        knows no second names.
        """
        if not self.can_link:
            return None
        try:
            os.link(self._path(path), self._path(new))
        except FileNotFoundError:
            raise
        except OSError as error:
            # It may have been made, and the answer was lost: NFS asked twice, or gave up (a soft mount).
            if new in self._linked or not self._are_one(path, new):
                if isinstance(error, FileExistsError):
                    return False
                self.can_link = False
                return None
        self._linked.add(new)
        return True

    def _are_one(self, path: "str", new: "str") -> "bool":
        try:
            return os.path.samefile(self._path(path), self._path(new))
        except OSError:
            return False

    def create_whole(self, path: "str", data: "bytes") -> "bool":
        """As `create_exclusively`, but the file is never seen without its `data`, whenever this process may
        die.
        """
        folder, name = os.path.split(path)
        temporary = os.path.join(folder, ".%s.%s" % (name, os.urandom(4).hex()))
        try:
            self.create_exclusively(temporary, data)
            try:
                os.link(self._path(temporary), self._path(path))
            except FileExistsError:
                # Or NFS asked twice, since the first answer was lost: then it is ours after all.
                return os.stat(self._path(temporary)).st_nlink > 1
        finally:
            try:
                os.unlink(self._path(temporary))
            except FileNotFoundError:
                pass
        return True

    def write_whole(self, path: "str", data: "bytes") -> "None":
        """Write a file to which no other process writes."""
        descriptor = os.open(self._path(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _PLAINLY, 0o600)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)

    def write_pieces(self, path: "str", pieces: "Iterable[Union[bytes, memoryview]]") -> "None":
        """Write a file that nobody else writes, piece by piece."""
        descriptor = os.open(self._path(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _PLAINLY, 0o600)
        try:
            for piece in pieces:
                write_all(descriptor, piece)
        finally:
            os.close(descriptor)

    def remove(self, path: "str") -> "None":
        """Remove a file, if it is there."""
        try:
            os.unlink(self._path(path))
        except OSError:
            pass

    def names(self, path: "str") -> "List[str]":
        """Names in a folder; none if it is not there."""
        try:
            return os.listdir(self._path(path))
        except FileNotFoundError:
            if not os.path.isdir(self.folder):
                raise Gone(self.folder)
            return []

    def modified(self, path: "str") -> "Optional[float]":
        """When the file last changed, by the clock of the machine that keeps it; None if it is not there."""
        try:
            return os.stat(self._path(path)).st_mtime
        except FileNotFoundError:
            return None

    def make_folder(self, path: "str") -> "None":
        try:
            os.mkdir(self._whole(path), 0o700)
        except FileExistsError:
            pass

    def rename_folder(self, old: "str", new: "str") -> "bool":
        """Rename a folder; False if `new` is there already."""
        try:
            os.rename(self._path(old), self._path(new))
        except OSError as error:
            if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                return False
            raise
        return True

    def remove_tree(self, path: "str") -> "None":
        if not _remove_flat(self._path(path)):
            import shutil  # here, as it takes long to import, and most of these folders hold only files

            shutil.rmtree(self._path(path), ignore_errors=True)

    def _whole(self, path: "str") -> "str":
        return path if path.startswith("/") else self._path(path)

    def put(self, source: "str", path: "str") -> "None":
        """Copy a file into the map's folder, or to a whole path; it has its name there when it is whole."""
        put_whole(source, self._whole(path))

    def put_in_place(self, folder: "str", name: "str") -> "None":
        """Give a folder its name; one that has it already goes."""
        self.remove_tree(name)
        os.rename(self._path(folder), self._path(name))

    def close(self) -> "None":
        for descriptor in self._appending.values():
            os.close(descriptor)
        self._appending.clear()
