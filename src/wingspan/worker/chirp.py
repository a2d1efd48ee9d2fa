"""The transport to a map's folder by chirp, HTCondor's channel from a job to its access point."""

import copy
import errno
import os
import random
import socket
import struct
import sys
import time

from htchirp import HTChirp

from . import trust
from .transports import Gone, NoLine, write_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterable, List, NoReturn, Optional, Sequence, Tuple, Union

#: Seconds without a byte from the access point before the channel is given up.
PATIENCE = 300
#: Where the channel cannot be reached, it is tried again after these pauses (s). Each is made up to a half
#: longer by chance, as the workers of a map begin together.
TRY_AGAIN = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
#: Bytes that are read at once.
_ONE_READ = 1 << 20
#: Bytes and parts that are written at once. Frames of small records have a part for each record.
_ONE_WRITE = 1 << 21
_MOST_PARTS = 1000


#: Files that are read again and again, and that nobody replaces: they stay open, so that a read is one round
#: trip to the access point instead of three.
_KEPT = frozenset(["inputs.bin", "inputs.idx"])


class _Chirp(HTChirp):  # type: ignore[misc]  # htchirp has no types
    """HTCondor's client with faster reading and writing. The original reads answers byte by byte, and data in
    pieces of 5 KiB.
    """

    def connect(self, auth_method: "Optional[str]" = None) -> "None":
        HTChirp.connect(self, auth_method)
        # A write is two small packets: without this each waits for the other side's delayed acknowledgement,
        # 40 ms.
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # The kernel waits, not Python: with a time limit of its own it would look before each read whether
        # something is there.
        limit = struct.pack("@ll", PATIENCE, 0)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
        self.socket.settimeout(None)

    def _simple_response(self) -> "str":
        # An answer is one line with a number, or two. Data may follow, and is not read here.
        line = b""
        while not line.endswith(b"\n"):
            ahead = self.socket.recv(64, socket.MSG_PEEK)
            if not ahead:  # htchirp waits for ever
                raise ConnectionError("the chirp channel to the access point closed")
            end = ahead.find(b"\n") + 1
            line += self.socket.recv(end or len(ahead))
            if len(line) > self.CHIRP_LINE_MAX:
                raise ConnectionError("the access point's answer by chirp has no end")
        text = line.decode().rstrip()
        try:
            number = int(text)
        except ValueError:
            return text
        if number < 0:
            self._check_response(number)
        return text

    def _get_fixed_data(self, length: "int", output_file: "Any" = None) -> "bytes":
        data: "bytes" = self.socket.recv(length, socket.MSG_WAITALL)
        if len(data) == int(length):
            return data
        parts, got = [data], len(data)
        while got < length:
            if not parts[-1]:
                raise ConnectionError("the chirp channel to the access point closed")
            parts.append(self.socket.recv(length - got, socket.MSG_WAITALL))
            got += len(parts[-1])
        return b"".join(parts)

    def write(self, descriptor: "int", parts: "Sequence[Union[bytes, memoryview]]") -> "int":
        """Write these parts to an open file, one after the other; returns the number of bytes."""
        length = sum(map(len, parts))
        left = [memoryview(part) for part in (b"write %d %d\n" % (descriptor, length), *parts)]
        while left:
            sent = self.socket.sendmsg(left)
            while left and sent >= len(left[0]):
                sent -= len(left.pop(0))
            if left:
                left[0] = left[0][sent:]
        return int(self._simple_response())


def reach(folder: "str") -> "ChirpTransport":
    """The way by chirp to the map in `folder`. A failure that may pass is tried again for half a minute.

    Raises:
        NoLine: This job has no channel, or the channel refuses it: chirp is switched off.
        OSError, RuntimeError, …: The channel is there, and cannot be used now.
    """
    pauses = list(TRY_AGAIN)
    while True:
        if not os.path.isfile(os.environ.get("_CONDOR_CHIRP_CONFIG", ".chirp.config")):
            raise NoLine("HTCondor gives this job no chirp channel")
        try:
            return ChirpTransport(folder)
        except (HTChirp.NotAuthenticated, HTChirp.NotAuthorized) as error:
            raise NoLine("HTCondor refuses this job its chirp channel: %s" % error)
        except (OSError, RuntimeError, ValueError, HTChirp.ChirpError) as error:
            if not pauses:
                raise
            sys.stderr.write("wingspan worker: chirp: %s; trying again\n" % error)
        time.sleep(pauses.pop(0) * (1 + random.random() / 2))  # noqa: S311 - no secret


class ChirpTransport(object):
    """The map's folder on the access point, reached through this job's shadow."""

    name = "chirp"
    flush_seconds = 0.5

    def __init__(self, folder: "str") -> "None":
        self._error = HTChirp.ChirpError
        self._missing = HTChirp.DoesntExist
        self._exists = HTChirp.AlreadyExists
        self.folder = folder
        self._chirp = _Chirp(timeout=PATIENCE)
        self._chirp.connect()
        self._appending: "Dict[str, int]" = {}
        self.can_link = True
        self._reading: "Dict[str, int]" = {}

    def beside(self, name: "str") -> "ChirpTransport":
        """The way to another map's folder, which lies beside this one: by the same channel."""
        other = copy.copy(self)
        other.folder = self.folder.rpartition("/")[0] + "/" + name
        other._appending, other._reading = {}, {}
        return other

    def _path(self, path: "str") -> "str":
        return self.folder + "/" + path

    def _open(self, path: "str", flags: "str") -> "int":
        try:
            descriptor: "int" = self._chirp._open(self._whole(path), flags, 0o600)
            return descriptor
        except self._missing:
            if path == "map.json":
                raise Gone(self.folder)
            raise FileNotFoundError(errno.ENOENT, "no such file on the access point", self._whole(path))
        except HTChirp.InvalidRequest as error:
            if path == "map.json":
                # The channel is there for other purposes, and opens no files: ENABLE_CHIRP_IO is off.
                raise NoLine("HTCondor opens no files for jobs here (%s)" % type(error).__name__)
            raise

    def _close(self, descriptor: "int") -> "None":
        self._chirp._close(descriptor)
        self._chirp.fds.pop(descriptor, None)

    def read(self, path: "str", length: "Optional[int]" = None, offset: "int" = 0) -> "bytes":
        keep = path in _KEPT
        descriptor = self._reading.get(path) if keep else None
        if descriptor is None:
            descriptor = self._open(path, "r")
        if keep:
            self._reading[path] = descriptor
        try:
            parts: "List[bytes]" = []
            while length is None or length > 0:
                wanted = _ONE_READ if length is None else min(length, _ONE_READ)
                part = self._chirp._read(descriptor, wanted, offset)
                if not part:
                    break
                parts.append(part)
                offset += len(part)
                if length is not None:
                    length -= len(part)
            return b"".join(parts)
        finally:
            if not keep:
                self._close(descriptor)

    def size(self, path: "str") -> "int":
        try:
            return int(self._chirp.stat(self._path(path))["size"])
        except self._missing:
            raise FileNotFoundError(errno.ENOENT, "no such file on the access point", self._path(path))

    def append(self, path: "str", *parts: "Union[bytes, memoryview]") -> "None":
        descriptor = self._appending.get(path)
        if descriptor is None:
            descriptor = self._appending[path] = self._open(path, "cwa")
        self._write(descriptor, *parts)

    def _write(self, descriptor: "int", *parts: "Union[bytes, memoryview]") -> "None":
        # Each write is a round trip to the access point: a piece of a large output, with what precedes it,
        # takes one.
        length = sum(map(len, parts))
        if not length:
            return  # HTCondor's starter ends with its job where nothing is written
        written = 0
        if length <= _ONE_WRITE and len(parts) <= _MOST_PARTS:
            written = self._chirp.write(descriptor, parts)
            if written == length:
                return
        view = memoryview(b"".join(parts))[written:]
        while view:
            view = view[self._chirp.write(descriptor, [view[:_ONE_WRITE]]) :]

    def create_exclusively(self, path: "str", data: "bytes") -> "bool":
        try:
            descriptor = self._open(path, "wcx")
        except self._exists:
            return False
        try:
            self._write(descriptor, data)
        finally:
            self._close(descriptor)
        return True

    def link(self, path: "str", new: "str") -> "Optional[bool]":
        if not self.can_link:
            return None
        try:
            self._chirp.link(self._path(path), self._path(new))
        except self._exists:
            return False
        except self._missing:
            raise FileNotFoundError(errno.ENOENT, "no such file on the access point", self._path(path))
        except self._error:
            self.can_link = False
            return None
        return True

    def write_whole(self, path: "str", data: "bytes") -> "None":
        descriptor = self._open(path, "wct")
        try:
            self._write(descriptor, data)
        finally:
            self._close(descriptor)

    def write_pieces(self, path: "str", pieces: "Iterable[Union[bytes, memoryview]]") -> "None":
        try:
            descriptor = self._open(path, "wct")
            try:
                for piece in pieces:
                    self._write(descriptor, piece)
            finally:
                self._close(descriptor)
        except self._error as error:
            # Such as a full disk there: the caller is told, and the worker goes on.
            raise OSError("%s: %s: %s" % (path, type(error).__name__, error))

    def remove(self, path: "str") -> "None":
        try:
            self._chirp.unlink(self._path(path))
        except self._error:
            pass

    def names(self, path: "str") -> "List[str]":
        try:
            # htchirp makes one empty name of an empty folder.
            return [name for name in self._chirp.getdir(self._path(path)) if name not in ("", ".", "..")]
        except self._missing:
            self.modified("map.json") or self._gone()
            return []

    def _gone(self) -> "NoReturn":
        raise Gone(self.folder)

    def modified(self, path: "str") -> "Optional[float]":
        try:
            return float(self._chirp.stat(self._path(path))["mtime"])
        except self._missing:
            return None

    def make_folder(self, path: "str") -> "None":
        try:
            self._chirp.mkdir(self._whole(path), 0o700)
        except self._exists:
            pass

    def rename_folder(self, old: "str", new: "str") -> "bool":
        try:
            self._chirp.rename(self._path(old), self._path(new))
        except self._missing:
            raise FileNotFoundError(errno.ENOENT, "no such folder on the access point", self._path(old))
        except self._error:
            # rename(2)'s ENOTEMPTY has no chirp code of its own on every version: look instead.
            if self.modified(new + "/plan") is not None:
                return False
            raise
        return True

    def remove_tree(self, path: "str") -> "None":
        try:
            self._chirp.rmall(self._path(path))
        except self._error:
            pass

    def close(self) -> "None":
        self._chirp.disconnect()

    # -- files of components: paths on the access point, whole or relative to the map's folder ---------------

    def _whole(self, path: "str") -> "str":
        if "\n" in path:
            # HTCondor's starter takes the end of a line for the end of the request, and the rest for another.
            raise OSError(
                "%r: a name with an end of a line cannot go through HTCondor's chirp channel" % path
            )
        return path if path.startswith("/") else self._path(path)

    def facts_of(self, path: "str") -> "Optional[Tuple[int, int]]":
        """Bytes of a file, and when it was last written (s); None if it is not there."""
        try:
            facts = self._chirp.stat(self._whole(path))
        except self._missing:
            return None
        except self._error as error:
            raise self._refused(path, error)
        return int(facts["size"]), int(facts["mtime"])

    def _refused(self, path: "str", error: "Exception") -> "OSError":
        told = "%s on the access point: %s" % (self._whole(path), error)
        full = isinstance(error, HTChirp.NoSpace)
        return OSError(errno.ENOSPC, "the disk is full", self._whole(path)) if full else OSError(told)

    def is_program(self, path: "str") -> "bool":
        """Whether a file may be executed."""
        return bool(int(self._chirp.stat(self._whole(path))["mode"]) & 0o111)

    def names_in(self, path: "str") -> "Optional[List[str]]":
        """Names in a folder; None if it is none."""
        try:
            found = self._chirp.getdir(self._whole(path))
        except self._error:
            return None
        return [name for name in found if name not in ("", ".", "..")]

    def receive(self, path: "str", target: "int") -> "int":
        """Write a file of the access point to an open file here, piece by piece: how many bytes."""
        try:
            descriptor, done = self._open(path, "r"), 0
        except self._error as error:
            raise self._refused(path, error)
        try:
            while True:
                part = self._chirp._read(descriptor, _ONE_READ, done)
                if not part:
                    return done
                write_all(target, part)
                done += len(part)
        finally:
            self._close(descriptor)

    def put(self, source: "str", path: "str") -> "None":
        """Copy a file of this machine, piece by piece, to the access point; it has its name there when it is
        whole.
        """
        part = "%s/.%s.part" % (os.path.dirname(path), os.urandom(6).hex())
        read = os.open(source, os.O_RDONLY | os.O_CLOEXEC)
        try:
            mode = trust.copied_mode(os.fstat(read))
            descriptor = self._chirp._open(self._whole(part), "wct", mode)
            try:
                while True:
                    data = os.read(read, _ONE_WRITE)
                    if not data:
                        break
                    self._write(descriptor, data)
            finally:
                self._close(descriptor)
            self._chirp.rename(self._whole(part), self._whole(path))
        except self._error as error:
            self._forget(part)
            raise self._refused(path, error)
        except BaseException:
            self._forget(part)
            raise
        finally:
            os.close(read)

    def _forget(self, path: "str") -> "None":
        try:
            self._chirp.unlink(self._whole(path))
        except (self._error, OSError):
            pass

    def put_in_place(self, folder: "str", name: "str") -> "None":
        """Give a folder its name; one that has it already goes."""
        self.remove_tree(name)
        try:
            self._chirp.rename(self._path(folder), self._path(name))
        except self._error as error:
            raise self._refused(name, error)
