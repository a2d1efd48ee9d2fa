"""The supervisor's end of an executor: the process, its pipes and files, and the chunks that it is given."""

import collections
import fcntl
import itertools
import os
import signal

from . import executor, formats, pipes
from .channel import Channel
from .scratch import remove_left_behind, unnamed_file
from .slots import Slots

TYPE_CHECKING = False
if TYPE_CHECKING:
    from array import array
    from resource import struct_rusage
    from typing import Callable, Deque, Iterable, Iterator, List, Optional, Sequence, Tuple, Union

    from .blocks import Block
    from .inputs import Inputs

    _Bytes = Union[bytes, memoryview]

#: Where output begins in the executor's two files. None of them is empty, so that no other file is taken for
#: it that is.
PRINTED_FROM = 1
#: F_SETPIPE_SZ of fcntl(2), which Python 3.9 does not name yet; and what a pipe may hold without being asked
#: (pipe(7)).
_SET_PIPE_SIZE, _PIPE_BYTES = 1031, 1 << 20


class Chunk(object):
    """Some components of one block that the executor is given together.

    Args:
        block: Theirs.
        indices: Their numbers.
        bounds: See `Inputs.bounds`.
        data: Their inputs, joined; or None, where it is one that is too large to be held: it is read while it
            is sent.
        inputs: Where such a one is read.
    """

    __slots__ = ("block", "bounds", "data", "done", "indices", "inputs")

    def __init__(
        self,
        block: "Block",
        indices: "range",
        bounds: "array[int]",
        data: "Optional[_Bytes]",
        inputs: "Inputs",
    ) -> "None":
        self.block = block
        self.indices = indices
        self.bounds = bounds
        self.data = data
        self.inputs = inputs
        self.done = 0

    def encode(self, attempt: "int", may_go_on: "bool" = False) -> "Iterator[_Bytes]":
        """The message for the executor, in parts."""
        bounds = self.bounds.tobytes()
        length = len(bounds) + self.bounds[-1] - self.bounds[0]
        attempt = min(attempt, formats.MAX_ATTEMPT)
        head = pipes.CHUNK.pack(
            length, self.block.round, attempt, may_go_on, len(self.indices), self.indices[0]
        )
        if self.data is not None:
            return iter((head + bounds, self.data))
        return itertools.chain((head + bounds,), self.inputs.pieces(self.indices[0]))

    def parts(self, is_unwanted: "Callable[[int], bool]") -> "List[Chunk]":
        """This chunk, which nobody has begun, without the components that were cancelled."""
        found = []
        begin = 0
        for end in range(len(self.indices) + 1):
            if end < len(self.indices) and not is_unwanted(self.indices[end]):
                continue
            if end > begin:
                data = self.data
                if data is not None:
                    low, high = self.bounds[begin] - self.bounds[0], self.bounds[end] - self.bounds[0]
                    data = memoryview(data)[low:high]
                bounds = self.bounds[begin : end + 1]
                found.append(Chunk(self.block, self.indices[begin:end], bounds, data, self.inputs))
            begin = end + 1
        return found

    def rest(self, skip: "int") -> "Optional[Chunk]":
        """The rest, without the first `skip` unfinished components; None if nothing is left."""
        begin = self.done + skip
        if begin >= len(self.indices):
            return None
        data = self.data
        if data is not None:
            data = memoryview(data)[self.bounds[begin] - self.bounds[0] :]
        return Chunk(self.block, self.indices[begin:], self.bounds[begin:], data, self.inputs)


class Executor(object):
    """The parent's end of one executor process.

    Args:
        scratch: A folder for the executor's output files.
        not_for_executor: Open files that must not stay open when the supervisor ends, such as the lock that
            shows that it is alive.
    """

    def __init__(self, scratch: "str", not_for_executor: "Sequence[int]" = ()) -> "None":
        self._scratch = scratch
        self.board = board = pipes.Board()
        self.slots = Slots()
        command_read, self.commands = os.pipe()
        _widen(self.commands)
        self.results, results_write = os.pipe()
        self.channel = Channel()
        self.out = unnamed_file(scratch, "out")
        self.err = unnamed_file(scratch, "err")
        for descriptor in (self.out, self.err):
            os.write(descriptor, b"\n" * PRINTED_FROM)
        #: How far each output file was read. The first byte does not count.
        self.out_sent = self.err_sent = PRINTED_FROM
        parent = os.getpid()
        self.pid = os.fork()
        if self.pid == 0:
            try:
                for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
                    signal.signal(number, signal.SIG_DFL)
                executor.die_with_parent(parent)
                os.close(self.commands)
                os.close(self.results)
                self.slots.in_executor()
                for descriptor in not_for_executor:
                    os.close(descriptor)
                speaker = self.channel.in_executor()
                executor.run(command_read, results_write, board, self.slots, self.out, self.err, speaker)
            except BaseException:
                # ours, not the user's: it is told with the last lines of standard error
                import traceback

                traceback.print_exc()
            finally:
                os._exit(70)
        os.close(command_read)
        os.close(results_write)
        self.slots.in_supervisor()
        self.channel.in_supervisor()
        os.set_blocking(self.commands, False)
        self.pending: "Deque[Iterator[_Bytes]]" = collections.deque()
        self._part = memoryview(b"")
        self.buffer = bytearray()
        self.ended: "Optional[Tuple[int, struct_rusage]]" = None

    def send(self, parts: "Iterable[_Bytes]") -> "None":
        """Queue these for it. They are sent one after the other as it takes them."""
        self.pending.append(iter(parts))
        self.write()

    def write(self) -> "None":
        """Write as much as the pipe takes at once."""
        while self.pending:
            while not self._part:
                part = next(self.pending[0], None)
                if part is None:
                    self.pending.popleft()
                    break
                self._part = memoryview(part)
            else:
                try:
                    self._part = self._part[os.write(self.commands, self._part) :]
                except BlockingIOError:
                    return
                except BrokenPipeError:
                    self.pending.clear()
                    self._part = memoryview(b"")

    def printed(
        self, starts: "Tuple[int, int]", ends: "Tuple[Optional[int], Optional[int]]"
    ) -> "Iterator[Tuple[int, bytes]]":
        """``(kind of record, bytes)``: what was written to standard output and error and has not been asked
        for yet.

        Args:
            starts: Where to begin in each of the two, if that is not behind us.
            ends: Where to stop; None: what is there now.
        """
        for number, kind in enumerate((formats.STDOUT, formats.STDERR)):
            descriptor = (self.out, self.err)[number]
            position = max(starts[number], self.out_sent if number == 0 else self.err_sent)
            end = ends[number]
            end = os.fstat(descriptor).st_size if end is None else end
            while position < end:
                data = os.pread(descriptor, min(end - position, 1 << 20), position)
                if not data:
                    break
                position += len(data)
                yield kind, data
            if number == 0:
                self.out_sent = max(self.out_sent, position)
            else:
                self.err_sent = max(self.err_sent, position)

    def has_unsent(self) -> "bool":
        """Whether there is output that was not read yet."""
        return os.fstat(self.out).st_size > self.out_sent or os.fstat(self.err).st_size > self.err_sent

    def has_ended(self) -> "bool":
        """Whether the process is dead. Its pipe may still be open."""
        if self.ended is None:
            pid, status, usage = os.wait4(self.pid, os.WNOHANG)
            if pid:
                self.ended = status, usage
        return self.ended is not None

    def close(self, kill: "bool" = False) -> "Tuple[int, struct_rusage]":
        """End the process and wait for it; returns its wait status and resource usage."""
        if kill and self.ended is None:
            try:
                os.kill(self.pid, signal.SIGKILL)
            except OSError:
                pass
        os.close(self.commands)
        os.close(self.results)
        self.slots.close()
        self.channel.close()
        if self.ended is None:
            _, status, usage = os.wait4(self.pid, 0)
            self.ended = status, usage
        remove_left_behind(self._scratch, self.pid)
        return self.ended

    def close_files(self) -> "None":
        os.close(self.out)
        os.close(self.err)


def _widen(pipe: "int") -> "None":
    """Enlarge the pipe for large inputs, if the kernel allows it."""
    try:
        fcntl.fcntl(pipe, _SET_PIPE_SIZE, _PIPE_BYTES)
    except OSError:
        pass
