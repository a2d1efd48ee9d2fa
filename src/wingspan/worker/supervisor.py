"""The supervisor process of a worker: it claims blocks, feeds the executor and appends the results.

It never imports user code. So a crash, an out-of-memory kill or ``os._exit`` in user code does not end the
worker: it becomes one component's error record, and a new executor goes on with the next.
"""

import bisect
import collections
import gc
import itertools
import json
import os
import select
import signal
import time

from . import failure, formats, offspring, pipes, rounds
from .arriving import setting_of
from .child import PRINTED_FROM, Chunk, Executor
from .crashes import Crash, crash_at_the_start
from .gpus import GpuMeter
from .hearing import Hearing
from .limits import TimeLimit
from .memory import MemoryLimit
from .new_files import NewFiles
from .outbox import Outbox, first_free_name, with_pieces
from .pace import Pace
from .retired import RetiredExecutors
from .scratch import scratch_folder
from .signs import ANNOUNCE_SECONDS, SignsOfLife
from .streams import Function
from .upstream import inputs_of
from .work import WorkSource

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Deque, Dict, List, Optional, Sequence, Tuple

    from .blocks import Block
    from .transports import Transport

#: Bytes of inputs that the executor gets at once, unless one input alone is larger.
CHUNK_BYTES = pipes.LARGE_INPUT
#: A second chunk is sent ahead when the executor will need it within this time (s).
AHEAD_SECONDS = 0.2
#: An executor's output stays on the scratch disk as long as the executor lives. After this many bytes a new
#: executor replaces it.
PRINTED_BYTES = 1 << 28
#: If SIGTERM has ended the executor, wait this long for the same signal to this process (s).
TOLD_SECONDS = 1.0
#: Deaths of the executor before it reached a component, after which the worker gives up.
MAX_START_CRASHES = 3


class Stopped(Exception):
    """Raised when SIGTERM asks this worker to end."""


class Supervisor(SignsOfLife):
    """One worker of one map.

    Args:
        transport: The way to the map's folder.
        worker: Number of the worker.
        info: The contents of ``map.json``.
        key: The map's key.
        setting: What the executor takes over: ``folder``, ``environ``, ``path`` of `pipes.setup_message`.
        ready: An executor that waits for its setup, if there is one.
        not_for_executor: See `Executor`.
        retires: Seconds after which it takes no more work: somebody else waits to go on.
        must_leave: Asked often: true when this worker may not go on.
        at_its_end: Called when it has nothing left to do, and its results are safe.
    """

    def __init__(
        self,
        transport: "Transport",
        worker: "int",
        info: "Dict[str, Any]",
        key: "bytes",
        setting: "Optional[Dict[str, Any]]" = None,
        ready: "Optional[Executor]" = None,
        not_for_executor: "Sequence[int]" = (),
        retires: "Optional[float]" = None,
        must_leave: "Optional[Callable[[], bool]]" = None,
        at_its_end: "Callable[[], None]" = lambda: None,
    ) -> "None":
        self.transport = transport
        self.must_leave = must_leave
        self.at_its_end = at_its_end
        self.time_limit = TimeLimit(info.get("options", {}).get("component_timeout"))
        self.retires_at = float("inf") if retires is None else time.monotonic() + retires
        self.info = info
        self.setup: "Tuple[Any, ...]" = ()
        self.new_files: "Optional[NewFiles]" = None
        #: File of the function that the executor has.
        self.loaded = rounds.FUNCTION
        self.not_for_executor = not_for_executor
        self.name = first_free_name(transport, worker, info.get("first_start", 0))
        self.setting = dict(setting or {}, files=setting_of(transport, info, self.name))
        lease = info.get("lease_seconds", formats.LEASE_SECONDS)
        self.outbox = Outbox(transport, key, self.name, Pace.of_map(info, lease))
        self.source = WorkSource.of_map(info, transport, key, worker, self.name)
        self.gpus = GpuMeter(self.source.request("request_gpus"), self.setting.get("environ") or os.environ)
        self.memory = MemoryLimit(
            self.source.request("request_memory"), bool(self.source.usual.get("retry_memory"))
        )
        self.inputs = inputs_of(transport, info["n"], self.source.coming)
        self.hearing = Hearing(transport, key, self.name, self.outbox)
        self.executor = ready
        self.retired = RetiredExecutors(self.outbox, info.get("end_seconds", formats.END_SECONDS))
        #: Header of the record that the executor has told last.
        self.last_header = b""
        self.chunks: "Deque[Chunk]" = collections.deque()
        self.pieces: "List[Tuple[int, int]]" = []
        self.block: "Optional[Block]" = None
        self.start_crashes = self.components = 0
        self.refused = self.stop = self.flush_now = False
        #: It has left before all inputs were there.
        self.came_early = False
        #: It took no more work because its time was over.
        self.retired_early = False
        self.seconds = 0.0
        self.announced = self.given_up = -1
        self.next_look = time.monotonic() + self._look_seconds()

    def refuse(self, fields: "Dict[str, Any]") -> "None":
        """Report that this worker cannot do anything for this map, and why."""
        self.outbox.add(formats.REFUSED, payload=failure.dumps(fields))
        self._flush()
        self.refused = True

    def run(self, facts: "Dict[str, Any]", function: "Function") -> "bool":
        """Work until nothing is left; True unless the worker had to refuse.

        Args:
            facts: What wrote the pickle; the caller has found it readable by this interpreter.
            function: The pickle of the function that the map was made with.
        """
        self.setup = (function, facts, self.info["call"])
        # The one that the next blocks call, most likely: it may be given because the first cannot even be
        # loaded.
        self._load_function(self.source.newest_function)
        self.new_files = NewFiles(self.setting)
        gc.enable()  # see `__main__`
        offspring.adopt()
        try:
            self._start_executor()
            while not self.refused:
                if self.stop:
                    raise Stopped()
                self._fill()
                if not self.chunks:
                    self._flush()
                    if self.block is not None:
                        continue
                    if self._retires():
                        self.retired_early = True
                        break
                    if self.source.waits():
                        if not self._is_told_to_end():
                            self._wait_for_inputs()
                    elif not self.source.another_round():
                        self.came_early = self.source.comes_back
                        break
                    continue
                self._pump()
            if not self.refused:
                # All results are safe, so the rest may take time.
                self.at_its_end()
                self._retire_executor()
                self.retired.wait(self._is_told_to_end)
                counting: "Any" = self.transport
                counts = json.dumps(counting.counts()).encode() if self.info.get("counts") else b""
                self.outbox.add(formats.BYE, payload=counts)
        except Stopped:
            pass
        finally:
            self._stop_executor()
            self.retired.kill()
            offspring.end()
        self._flush()
        return not self.refused

    def _load_function(self, name: "str") -> "None":
        """Have executors that are started from now on call the function of this file."""
        if name == self.loaded:
            return
        function = Function(self.transport, name, None)
        if name != rounds.FUNCTION:
            function.check()
        self.loaded, self.setup = name, (function, function.facts, self.setup[2])
        self.hearing.function = name

    def _start_executor(self, careful: "bool" = False) -> "None":
        if self.executor is None:
            self.executor = Executor(scratch_folder(), self.not_for_executor)
        function, facts, call = self.setup
        cores = self.source.request("request_cpus")
        known = {"tag": self.info.get("tag"), "seed": self.info.get("seed"), "way": self.transport.name}
        message = pipes.setup_message(
            function.length, facts, call, careful, cores=cores, known=known, **self.setting
        )
        self.executor.send(itertools.chain((message,), function.pieces()))
        self.announced = -1

    @property
    def _running(self) -> "Executor":
        """The executor, if there is one: from `_start_executor` to its end."""
        assert self.executor is not None
        return self.executor

    def _stop_executor(self) -> "None":
        if self.executor is not None:
            self.executor.close(kill=True)
            self.executor.close_files()
            self.executor = None

    def _retire_executor(self) -> "None":
        """Let the executor, which has no component, end in order."""
        process, self.executor = self._running, None
        last: "Optional[Tuple[int, int]]" = None
        if self.last_header:
            record = formats.RECORD.unpack(self.last_header[-formats.RECORD.size :])
            last = record[3], record[4] + record[2] - 1
        self.last_header = b""
        self.retired.add(process, last)

    def _is_told_to_end(self) -> "bool":
        if self.must_leave is not None and self.must_leave():
            self.stop = True
        return self.stop

    @property
    def at_work(self) -> "bool":
        """Whether some claimed component is not done."""
        return bool(self.chunks) or self.block is not None

    def _retires(self) -> "bool":
        # One with a share is started again: each start does something.
        return time.monotonic() > self.retires_at and (self.components > 0 or "share" not in self.info)

    # -- feeding ---------------------------------------------------------------------------------------------

    def _fill(self) -> "None":
        if self._running.out_sent + self._running.err_sent > PRINTED_BYTES:
            if self.chunks:
                return
            self._retire_executor()
            self._start_executor()
        if time.monotonic() > self.next_look:
            self.next_look = time.monotonic() + self._look_seconds()
            if self.source.look() and self.block is not None:
                self._drop_cancelled(self.block)
        while len(self.chunks) < 2:
            if self.chunks and (self.chunks[0].block.alone or self._seconds_left() > AHEAD_SECONDS):
                return
            if self.block is None:
                # What is claimed waits behind what runs, which may take long after all, and nobody else can
                # do it.
                if self.chunks and self.chunks[-1].block.single:
                    return
                pace = self.outbox.pace
                if self._retires() or not pace.may_claim(bool(self.chunks), self._flush, lambda: self.stop):
                    return
                block = self.source.next_block()
                if block is None:
                    return
                if not block.remaining:
                    self.outbox.block_done(block)
                    continue
                self.block = block
            if self.block.function != self.loaded:
                if self.chunks:
                    return  # the executor does the chunks that it has with its present function
                self._retire_executor()
                self._load_function(self.block.function)
                self._start_executor()
            chunk = self._next_chunk(self.block)
            if self.block.exhausted:
                self.block = None
            self._send(chunk)

    def _drop_cancelled(self, block: "Block") -> "None":
        block.drop(lambda component: self.source.is_superseded(component, block.round))
        if block.exhausted:
            self.block = None
            if not block.remaining:
                self.outbox.block_done(block)

    def _seconds_left(self) -> "float":
        if not self.components:
            return float("inf")
        waiting = sum(len(chunk.indices) - chunk.done for chunk in self.chunks)
        return waiting * self.seconds / self.components

    def _next_chunk(self, block: "Block") -> "Chunk":
        first, stop = block.next_run()
        bounds = self.inputs.bounds(first, stop)
        count = max(1, bisect.bisect_right(bounds, bounds[0] + CHUNK_BYTES) - 1)
        stop = min(stop, first + count)
        block.take(first, stop)
        bounds = bounds[: stop - first + 1]
        large = stop - first == 1 and bounds[1] - bounds[0] > CHUNK_BYTES
        data = None if large else self.inputs.read(first, stop)
        return Chunk(block, range(first, stop), bounds, data, self.inputs)

    def _send(self, chunk: "Chunk") -> "None":
        self.chunks.append(chunk)
        may_go_on = self.hearing.may_go_on(chunk.indices, chunk.block.round)
        self._running.send(chunk.encode(chunk.block.attempt, may_go_on))

    # -- what comes back -------------------------------------------------------------------------------------

    def _pump(self) -> "None":
        process = self._running
        if self._is_told_to_end():
            raise Stopped()
        now = time.monotonic()
        self.memory.enforce(process.pid, now)
        self.time_limit.enforce(process, self.chunks[0].block.needs)
        self.gpus.look(process.board, now)
        wait = min(self.outbox.due(now), ANNOUNCE_SECONDS)
        writers = [process.commands] if process.pending else []
        try:
            readers = [process.results, process.channel.said]
            readable, writable, _ = select.select(readers, writers, [], max(0.0, wait))
        except InterruptedError:
            readable, writable = [], []
        if writable:
            process.write()
        if process.channel.said in readable:
            self.hearing.take(process.channel)
        self.hearing.progress.tell(now)
        if process.results in readable:
            data = os.read(process.results, 1 << 20)
            if not data:
                self._executor_died()
                return
            process.buffer += data
            finished = self._take_groups()
            if finished:
                self._tell_of_files()
                self._end_cancelled()
            if finished > 20:
                # Fast components: let some more gather instead of waking for each group.
                time.sleep(0.002)
        elif process.has_ended():
            # A child of it may hold the pipe open: what it wrote is there, and no end of file will come.
            self._drain()
            self._executor_died()
            return
        else:
            self._announce()
        if self.flush_now or self.outbox.due(time.monotonic()) <= 0:
            self.flush_now = False
            self._print_live()
            self._flush()

    def _flush(self) -> "None":
        self.outbox.flush()
        self.hearing.checkpoints.records_are_safe()

    def _tell_of_files(self) -> "None":
        new = self.new_files.look(self.hearing.kept) if self.new_files is not None else []
        if new:
            self.outbox.add(formats.LEFT, payload=json.dumps(new).encode())

    def _take_groups(self) -> "int":
        """Take in the whole groups that have arrived: how many components they finish."""
        process, total = self._running, 0
        for group in pipes.groups(process.buffer):
            if group.count == pipes.PIECE:
                self._take_piece(process, group.slot, group.length)
                continue
            if not group.count:
                self.refuse(failure.loads(group.payload))
                return total
            header, payload, ranges = group.headers, group.payload, group.ranges
            if ranges[1] > ranges[0] or ranges[3] > ranges[2]:
                record = formats.RECORD.unpack(header[-formats.RECORD.size :])
                self._print(record[3], record[4], *ranges)
            if self.pieces:
                pieces, self.pieces = self.pieces, []
                header, payload = with_pieces(header, payload, pieces)
            self.outbox.add_packed(header, payload)
            self.last_header = header
            self._count(group.count, group.failed)
            self.seconds += group.wall
            total += group.count
        self.components += total
        if total:
            self.start_crashes = 0
        return total

    def _take_piece(self, process: "Executor", slot: "int", length: "int") -> "None":
        """A piece of a large output lies in a slot: into the results with it."""
        self.pieces.append(self.outbox.append_piece(process.slots.view(slot, length)))
        process.slots.give_back(slot)

    def _count(self, count: "int", failed: "List[int]") -> "None":
        """Note that `count` more components are done, beginning with the oldest chunk."""
        while count:
            chunk = self.chunks[0]
            step = min(count, len(chunk.indices) - chunk.done)
            if failed:
                done = chunk.indices[chunk.done : chunk.done + step]
                chunk.block.failed += [component for component in failed if component in done]
            self.gpus.tell(self.outbox, chunk.indices[chunk.done], chunk.block.round)
            self.hearing.done(chunk.indices[chunk.done : chunk.done + step], failed)
            chunk.done += step
            count -= step
            if chunk.done == len(chunk.indices):
                self._chunk_done(self.chunks.popleft())

    def _chunk_done(self, chunk: "Chunk") -> "None":
        self._look_at_disk()
        chunk.block.remaining -= len(chunk.indices)
        if not chunk.block.remaining:
            self.outbox.block_done(chunk.block)
        if chunk.block.alone:
            self.flush_now = True

    def _executor_died(self) -> "None":
        process = self._running
        board = process.board.get()
        self.executor, self.last_header = None, b""
        self.hearing.progress.forget()
        status, usage = process.close()
        if os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGTERM and self._told_to_stop():
            process.close_files()
            raise Stopped()
        chunk = self.chunks[0] if self.chunks else None
        component, careful = board[0], False
        over_time = self.time_limit.killed()
        ended_for = self.given_up if over_time is None and self.given_up >= 0 else over_time
        if ended_for not in (None, component):
            skip = 0  # that one was done in time after all, and this one has only begun: it is done anew
        elif chunk is not None and component == chunk.indices[chunk.done]:
            if component != self.given_up:
                self._print(chunk.block.round, component, board[1], None, board[2], None, process)
                told = None if over_time is None else self.time_limit.failure()
                crash = Crash(status, usage, process.err, self.memory, told)
                if not (crash.exceeded and self.source.usual.get("retry_memory")):
                    chunk.block.failed.append(component)  # else it is done again by a worker that has more
                crash.record(self.outbox, chunk.block, board)
                self.gpus.tell(self.outbox, component, chunk.block.round)
            skip = 1
        elif chunk is not None and component == pipes.SOME:
            skip = 0
            careful = True
        else:
            skip = 0
            self.start_crashes += 1
            if self.start_crashes >= MAX_START_CRASHES:
                self.refuse(crash_at_the_start(status, process.err, PRINTED_FROM))
                process.close_files()
                return
        self.given_up = -1
        process.close_files()
        self.pieces = []
        self._start_executor(careful)
        chunks, self.chunks = self.chunks, collections.deque()
        for old in chunks:
            rest = old.rest(skip if old is chunk else 0)
            old.block.remaining -= old.done + (skip if old is chunk else 0)
            self._send_wanted(old.block, rest)

    def _send_wanted(self, block: "Block", rest: "Optional[Chunk]") -> "None":
        """Send what is left of a chunk, but for what was cancelled."""
        if rest is not None and self.source.cancels:
            parts = rest.parts(lambda component: self.source.is_superseded(component, block.round))
            block.remaining -= len(rest.indices) - sum(len(part.indices) for part in parts)
        else:
            parts = [] if rest is None else [rest]
        for part in parts:
            self._send(part)
        if not parts and not block.remaining:
            self.outbox.block_done(block)

    def _told_to_stop(self) -> "bool":
        """Slurm signals all processes of a job: the signal to this one may still be on its way."""
        deadline = time.monotonic() + TOLD_SECONDS
        while not self.stop and time.monotonic() < deadline:
            time.sleep(0.01)
        return self.stop

    def _drain(self) -> "None":
        process = self._running
        os.set_blocking(process.results, False)
        while True:
            try:
                data = os.read(process.results, 1 << 20)
            except BlockingIOError:
                break
            if not data:
                break
            process.buffer += data
        self._take_groups()
