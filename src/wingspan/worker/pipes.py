"""The messages between a supervisor and its executor: chunks of inputs one way, groups of records the other,
and the board between them.

A pipe keeps its content when its writer is killed, so no finished output is lost. The executor notes what it
is doing in a small shared memory (`Board`). The supervisor reads it to attribute a crash, or output, to a
component.
"""

import collections
import mmap
import os
import pickle
import struct

from . import formats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, Iterator, Optional, Sequence, Tuple

#: length of what follows, round, attempt, whether there may be checkpoints, number of components, the first
#: of them. Then follow the bounds of their inputs (u64 each, one more than there are components, in this
#: machine's byte order) and the inputs.
CHUNK = struct.Struct("<QIH?II")
#: An empty chunk: there will be no more, and the executor ends in order.
END = CHUNK.pack(0, 0, 0, False, 0, 0)
#: What precedes records on the pipe: components finished, headers, failures, bytes of payload, seconds of
#: wall time, and where in the executor's two files the last component's output lies. Then follow the failed
#: components (u32 each), all headers, all payloads. A group that finishes no component says why the executor
#: refuses. One that finishes `PIECE` says that a piece of the output that comes next, `length` bytes, lies in
#: the slot whose number stands for the failures.
GROUP = struct.Struct("<IIIQdQQQQ")
FAILED = struct.Struct("<I")
PIECE = 2**32 - 1
#: An input that is larger than this (bytes) is a chunk of its own, and is unpickled piece by piece.
LARGE_INPUT = 1 << 22
#: What precedes the setup: its length, and that of the pickle of the function, which follows it.
SETUP = struct.Struct("<QQ")

_BOARD = struct.Struct("<qQQd")
#: Stands for one component of a run of fast ones.
SOME = -2


class Board(object):
    """Shared memory in which the executor notes what it is doing, for the case that it dies or takes long."""

    def __init__(self) -> "None":
        self._memory = mmap.mmap(-1, 64)
        self.set(-1, 0, 0, 0.0)

    def set(self, component: "int", out: "int", err: "int", started: "float") -> "None":
        """Executor: at `component` (-1: none) since `started`; its output begins at `out` and `err`."""
        self._memory[0 : _BOARD.size] = _BOARD.pack(component, out, err, started)

    def get(self) -> "Tuple[int, int, int, float]":
        """Supervisor: the arguments of the last `set`."""
        return _BOARD.unpack(self._memory[0 : _BOARD.size])


def read_exactly(descriptor: "int", length: "int") -> "bytearray":
    data = bytearray(length)
    view = memoryview(data)
    while view:
        got = os.readv(descriptor, [view])
        if not got:
            os._exit(0)  # the supervisor is gone
        view = view[got:]
    return data


def coming(descriptor: "int", length: "int") -> "Iterator[bytearray]":
    """The next bytes of a pipe, in pieces."""
    while length:
        piece = read_exactly(descriptor, min(length, formats.PIECE_BYTES))
        length -= len(piece)
        yield piece


def write_all(descriptor: "int", data: "bytes") -> "None":
    written = os.write(descriptor, data)
    if written < len(data):
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(descriptor, view) :]


def setup_message(
    function: "int",
    facts: "Dict[str, Any]",
    call: "str",
    careful: "bool" = False,
    folder: "Optional[str]" = None,
    environ: "Optional[Dict[str, str]]" = None,
    path: "Sequence[str]" = (),
    cores: "Optional[int]" = None,
    files: "Optional[Dict[str, Any]]" = None,
    known: "Optional[Dict[str, Any]]" = None,
) -> "bytes":
    """The first message to an executor.

    Args:
        function: Length of the pickle of the function, which is to follow.
        facts: The facts of its writer (see `compatibility`).
        call: What the function is called with: see `executor.CALLS`.
        careful: Whether to gather nothing, because an earlier executor died among fast components.
        folder: Working folder, or None to stay.
        environ: Environment variables to take over, or None.
        path: Further entries for ``sys.path``.
        cores: How many cores the map's owner has asked for: so many threads do libraries start that have
            pools of them. None: as many as they like.
        files: See `arriving.setting_of`.
        known: What components may know of their map: see `inside.Work`.
    """
    fields = pickle.dumps((facts, call, careful, folder, environ, list(path), cores, files, known or {}), 4)
    return SETUP.pack(len(fields), function) + fields


#: A group that has arrived: `failed` are its failed components, `ranges` where output begins and ends, first
#: of standard output, then of standard error. Of one that brings a piece of a large output only `slot` and
#: `length` count, and `count` is `PIECE`.
Group = collections.namedtuple("Group", "count failed wall ranges headers payload slot length")


def groups(buffer: "bytearray") -> "Iterator[Group]":
    """The whole groups that have arrived. They are taken out of the buffer when all of them have been looked
    at.
    """
    position, end, size = 0, len(buffer), GROUP.size
    while end - position >= size:
        count, records, failures, length, wall, *ranges = GROUP.unpack_from(buffer, position)
        if count == PIECE:
            yield Group(count, (), wall, ranges, b"", b"", failures, length)
            position += size
            continue
        headers = position + size + FAILED.size * failures
        payloads = headers + formats.RECORD.size * records
        after = payloads + length
        if after > end:
            break
        arrived = memoryview(buffer)
        header, payload = bytes(arrived[headers:payloads]), bytes(arrived[payloads:after])
        arrived.release()
        failed = (
            [item[0] for item in FAILED.iter_unpack(buffer[position + size : headers])] if failures else ()
        )
        yield Group(count, failed, wall, ranges, header, payload, 0, 0)
        position = after
    del buffer[:position]
