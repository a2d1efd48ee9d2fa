# mypy: ignore-errors
# Archives of strangers are unpacked by the worker's unpacker: nothing is written outside of the folder
# (Python 3.6 and later).

import ctypes
import ctypes.util
import hashlib
import io
import os
import shutil
import stat
import subprocess
import tarfile
import tempfile
import zipfile

from trust import BadName, check_path  # @include ../../../worker/trust.py

EXIT_DAMAGED = 121
EXIT_NO_WAY = 122
EXIT_NO_ROOM = 123


class Refused(Exception):
    def __init__(self, code, text):
        Exception.__init__(self, text)
        self.code = code


# ---- zstd


class _Buffer(ctypes.Structure):
    _fields_ = [("data", ctypes.c_void_p), ("size", ctypes.c_size_t), ("position", ctypes.c_size_t)]


class _Libzstd(io.RawIOBase):
    """Reads through libzstd (ZSTD_decompressStream)."""

    library = None

    def __init__(self, source):
        super().__init__()
        self.source = source
        self.stream = self.library.ZSTD_createDStream()
        self.input = ctypes.create_string_buffer(1 << 17)
        self.given = _Buffer(ctypes.addressof(self.input), 0, 0)

    def readable(self):
        return True

    def readinto(self, target):
        room = (ctypes.c_char * len(target)).from_buffer(target)
        out = _Buffer(ctypes.addressof(room), len(target), 0)
        while out.position == 0:
            if self.given.position == self.given.size:
                piece = self.source.read(1 << 17)
                if not piece:
                    break
                ctypes.memmove(self.input, piece, len(piece))
                self.given.size, self.given.position = len(piece), 0
            code = self.library.ZSTD_decompressStream(
                self.stream, ctypes.byref(out), ctypes.byref(self.given)
            )
            if self.library.ZSTD_isError(code):
                raise Refused(EXIT_DAMAGED, "compressed data is damaged")
        return out.position

    def close(self):
        if self.stream:
            self.library.ZSTD_freeDStream(self.stream)
            self.stream = None
        super().close()


def zstd_reader(source):
    """A file object with the decompressed content of `source`."""
    try:
        from compression import zstd  # Python 3.14

        return zstd.ZstdFile(source)
    except ImportError:
        pass
    if _Libzstd.library is None:
        for name in ("libzstd.so.1", ctypes.util.find_library("zstd")):
            try:
                library = ctypes.CDLL(name) if name else None
            except OSError:
                library = None
            if library is not None:
                library.ZSTD_createDStream.restype = ctypes.c_void_p
                library.ZSTD_freeDStream.argtypes = [ctypes.c_void_p]
                library.ZSTD_decompressStream.restype = ctypes.c_size_t
                library.ZSTD_decompressStream.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p]
                library.ZSTD_isError.argtypes = [ctypes.c_size_t]
                _Libzstd.library = library
                break
    if _Libzstd.library is not None:
        return io.BufferedReader(_Libzstd(source), 1 << 17)
    program = shutil.which("zstd")
    if program is None:
        raise Refused(
            EXIT_NO_WAY,
            "nothing here reads zstd: neither Python 3.14, nor libzstd.so.1, nor the program zstd",
        )
    with tempfile.TemporaryFile() as packed:
        shutil.copyfileobj(source, packed)
        packed.seek(0)
        unpacked = tempfile.TemporaryFile()
        subprocess.check_call([program, "-dc"], stdin=packed, stdout=unpacked)
        unpacked.seek(0)
        return unpacked


# ---- archives


def file_name_of(text):
    """`text` as the name of a file: UTF-8, in every locale (Python 3.6 has ASCII where the locale is C)."""
    return os.fsdecode(text.encode("utf-8", "surrogateescape"))


def safe_path(folder, name, what):
    """Where the foreign `name` lies below `folder`, on a way without links."""
    try:
        check_path(name)
    except BadName as error:
        raise outside(what, name, error)
    path = os.path.join(folder, file_name_of(name))
    above = os.path.dirname(path)
    while len(above) > len(folder):
        if above in _no_links:
            break
        if os.path.islink(above):
            raise outside(what, name, "it lies below a symbolic link")
        if os.path.isdir(above):
            _no_links.add(above)
        above = os.path.dirname(above)
    return path


#: Folders that were looked at. A folder does not become a link: nothing here removes one.
_no_links = set()


def outside(what, name, why):
    text = "%s has a member %r, which would be written outside its folder: %s" % (what, name, why)
    return Refused(EXIT_DAMAGED, text)


def stays_inside(folder, path, link):
    """Whether the link at `path` leads to a place below `folder`, whatever other links are on the way."""
    return (os.path.realpath(os.path.join(os.path.dirname(path), link)) + os.sep).startswith(
        os.path.realpath(folder) + os.sep
    )


def make_way(path):
    """Remove the file or link at `path`, so that nothing is written through a link, whoever put it there."""
    if os.path.isdir(path) and not os.path.islink(path):
        raise Refused(EXIT_DAMAGED, "%s is a folder of one package and a file of another" % path)
    if os.path.lexists(path):
        os.unlink(path)


def new_file(path, *mode, **more):
    """Open a new file in the place of what is there."""
    make_way(path)
    return open(path, *mode, **more)


def extract_tar(tar, folder, what):
    """Extract; refuse what would land outside, or a link that points out of `folder`."""
    for member in tar:
        name = member.name[2:] if member.name.startswith("./") else member.name
        if member.isdir() and name in ("", "."):
            continue
        path = safe_path(folder, name.rstrip("/"), what)
        if os.path.islink(path):
            os.unlink(path)  # nothing is written through it
        if member.isdir():
            os.makedirs(path, exist_ok=True)
        elif member.issym():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            link = file_name_of(member.linkname)
            if not stays_inside(folder, path, link):
                raise outside(what, name, "it is a link to %r" % link)
            os.symlink(link, path)
        elif member.islnk():
            os.link(safe_path(folder, member.linkname, what), path, follow_symlinks=False)
        elif member.isfile():
            os.makedirs(os.path.dirname(path), exist_ok=True)
            with open(path, "wb") as file:
                shutil.copyfileobj(tar.extractfile(member), file, 1 << 20)
            os.chmod(path, 0o755 if member.mode & stat.S_IXUSR else 0o644)
        else:
            raise Refused(EXIT_DAMAGED, "%s has a member %r that is a device" % (what, member.name))


def extract_conda(path, folder):
    name = os.path.basename(path)
    if name.endswith(".tar.bz2"):
        with tarfile.open(path, "r:bz2", encoding="utf-8") as tar:
            extract_tar(tar, folder, name)
        return
    with zipfile.ZipFile(path) as archive:
        for member in archive.namelist():
            if member.endswith(".tar.zst"):
                with archive.open(member) as source:
                    with tarfile.open(fileobj=zstd_reader(source), mode="r|", encoding="utf-8") as tar:
                        extract_tar(tar, folder, name)


def digest(path, algorithm):
    result = hashlib.new(algorithm)
    with open(path, "rb") as file:
        for piece in iter(lambda: file.read(1 << 20), b""):
            result.update(piece)
    return result.hexdigest()
