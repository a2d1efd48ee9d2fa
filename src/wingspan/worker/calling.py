"""Call the user's function, component by component, and report the results to the supervisor."""

import os
import pickle
import struct
import sys
from array import array
from itertools import islice

from . import failure, formats, rebuild
from .ending import end_as_python_ends, forked_off
from .measures import Measures
from .pickling import PROTOCOL, SIMPLE, culprit, reason
from .pipes import FAILED, GROUP, PIECE, SOME, write_all
from .printed import Printed, settle
from .streams import Gathering

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Container, List, Optional, Sequence, Tuple

    from .arriving import Arrivals
    from .inside import Work
    from .pickling import Dumper
    from .pipes import Board
    from .slots import Slots
    from .stored import Values
    from .streams import Stream
    from .surroundings import Surroundings

#: Components that take less than this on average (s) are not worth a system call each. Their outputs are
#: gathered.
FAST_SECONDS = 50e-6
#: How many to look at before saying so.
FAST_SAMPLE = 64
#: Gather outputs for so long (s).
RUN_SECONDS = 0.001
#: What the first components leave is looked at closely, later so often at most (s); of a function that has
#: left something, always.
CLOSE_LOOKS = 8
CLOSE_LOOK_SECONDS = 0.005


class Caller(object):
    """Calls the function, and reports the results to the supervisor."""

    def __init__(
        self,
        call: "Callable[[Any], Any]",
        results: "int",
        board: "Board",
        slots: "Slots",
        surroundings: "Surroundings",
        files: "Tuple[int, int]",
        dumper: "Dumper",
        skip: "Container[str]",
        may_gather: "bool",
        arrivals: "Optional[Arrivals]",
        values: "Optional[Values]" = None,
    ) -> "None":
        from time import perf_counter, time

        self._call = call
        self._results = results
        self._board = board
        self._surroundings = surroundings
        self._out_file, self._err_file = files
        self._slots = slots
        self._slot: "Optional[int]" = None
        self._filled = 0
        self._dumper = dumper
        self._outgoing = Gathering(self._send_large)
        self._large: "Optional[Stream]" = None
        self._skip = skip
        self._measures = Measures()
        self._clock = perf_counter
        self._offset = time() - perf_counter()
        self._printed = self._positions()
        self._recent, self._sample = 0.0, 0
        self._may_gather = may_gather and arrivals is None
        self._arrivals = arrivals
        self._values = values
        #: Headers and payloads of records that go before that of the component.
        self._before = (b"", b"")
        #: How many more components are looked after closely, and from when on one is again.
        self._watched = CLOSE_LOOKS
        self._next_close_look = 0.0
        #: The component: ``(number of the first that are gathered, outputs of theirs)``.
        self._at: "Optional[Tuple[int, Sequence[Any]]]" = None
        self.work: "Optional[Work]" = None
        #: Components of the chunk may have checkpoints.
        self.may_go_on = False
        #: Whether components were so fast lately that their outputs are gathered.
        self.fast = False

    def position(self) -> "Optional[Tuple[int, int, int]]":
        """The component that is being done: ``(round, attempts before, number)``; None between two chunks."""
        at = self._at
        return None if at is None else (self._round, self._attempt, at[0] + len(at[1]))

    def rest(self) -> "None":
        """All of the chunk is done."""
        self._at = None
        self._board.set(-1, 0, 0, 0.0)

    def _positions(self) -> "Tuple[int, int]":
        # Not of descriptors 1 and 2: the component may have closed or redirected them.
        # To the end: a process may have opened them anew by /dev/stdout.
        return os.lseek(self._out_file, 0, os.SEEK_END), os.lseek(self._err_file, 0, os.SEEK_END)

    def begin_chunk(
        self, number: "int", attempt: "int", first: "int", count: "int", data: "memoryview"
    ) -> "None":
        self._round, self._attempt, self._first = number, attempt, first
        bounds = array("Q")
        bounds.frombytes(data[: bounds.itemsize * (count + 1)])
        base = bounds[0]
        #: The beginning of each input in `_inputs`, and the end of the last.
        self._bounds = [bound - base for bound in bounds]
        self._inputs = data[bounds.itemsize * (count + 1) :]

    def begin_large(self, number: "int", attempt: "int", first: "int", stream: "Stream") -> "None":
        """A chunk of one component, whose input is too large to be held beside its pickle."""
        self._round, self._attempt, self._first = number, attempt, first
        self._large = stream

    def _given(self, place: "int") -> "Any":
        stream, self._large = self._large, None
        if stream is None:
            return rebuild.loads(self._inputs[self._bounds[place] : self._bounds[place + 1]])
        try:
            return rebuild.load(stream)
        finally:
            stream.drain()

    def _send_large(self, data: "memoryview") -> "None":
        """Put a part of an output's pickle into slots; those that are full are the supervisor's."""
        while data:
            if self._slot is None:
                self._slot, self._filled = self._slots.take(), 0
            some = data[: formats.PIECE_BYTES - self._filled]
            self._slots.view(self._slot, formats.PIECE_BYTES)[self._filled : self._filled + len(some)] = some
            self._filled += len(some)
            data = data[len(some) :]
            if self._filled == formats.PIECE_BYTES:
                self._send_slot()

    def _send_slot(self) -> "None":
        if self._slot is not None and self._filled:
            write_all(self._results, GROUP.pack(PIECE, 0, self._slot, self._filled, 0.0, 0, 0, 0, 0))
            self._slot = None

    def _pickled(self, value: "Any") -> "Tuple[int, bytes]":
        """``(kind, payload)`` of the record of this output; what is large has gone out before."""
        if type(value) in SIMPLE and (type(value) not in (bytes, str) or len(value) < formats.LARGE_BYTES):
            return formats.OUTPUT, pickle.dumps(value, PROTOCOL)
        outgoing = self._outgoing
        outgoing.begin()
        self._filled = 0  # of an output that could not be pickled after all
        if self._values is None:
            self._dumper.dump(value, outgoing.write)
        else:
            spool = self._values.spool
            spool.begin()
            self._dumper.dump(value, spool.write)
            reference = self._values.keep() if spool.is_large else None
            if reference is not None:
                spool.begin()
                return formats.OUTPUT, reference
            for piece in spool.pieces():
                outgoing.write(piece)
            outgoing.holds_code = outgoing.holds_code or spool.holds_code
            spool.begin()
        if not outgoing.is_large:
            return formats.OUTPUT, outgoing.kept()
        self._send_slot()
        return formats.LARGE, b"\1" if outgoing.holds_code else b"\0"

    def call_one(self, place: "int") -> "None":
        """Component number `place` of the chunk, told at once."""
        index = self._first + place
        clock = self._clock
        begin = clock()
        self._at = index, ()
        self._board.set(index, self._printed[0], self._printed[1], self._offset + begin)
        given: "Any" = None
        value: "Any" = None
        has_input, stage = False, "input"
        arrivals = self._arrivals
        try:
            if arrivals is not None:
                arrivals.begin(str(index))
            given = self._given(place)
            if arrivals is not None:
                arrivals.enter()
            has_input, stage = True, "call"
            if self.may_go_on and self.work is not None:
                self.work.restore()
            value = self._call(given)
            wall = clock() - begin
            if forked_off[0]:
                end_as_python_ends(None)
            stage = "output"
            if self.work is not None and self.work.open:
                self.work.finish()
            kind, payload = self._pickled(value)
        except BaseException as error:
            if forked_off[0]:
                end_as_python_ends(error)
            if stage != "output":
                wall = clock() - begin
            if self.work is not None and self.work.open:
                self.work.finish(failed=True)
            payload = self._failure(error, stage, given, has_input, value)
            kind = formats.ERROR
        if arrivals is not None:
            self._before = arrivals.leave(
                self.work.departures.take_sent() if self.work is not None else set()
            )
        self._tell(kind, index, 1, begin, wall, payload)
        if arrivals is not None:
            arrivals.clear()
        self._recent += wall
        self._sample += 1
        if self._sample == FAST_SAMPLE:
            self.fast = self._may_gather and self._recent < FAST_SAMPLE * FAST_SECONDS
            self._recent, self._sample = 0.0, 0

    def call_fast(self, place: "int") -> "int":
        """Components from `place` on, outputs gathered, until one is slow, prints, fails, or returns
        something that is not plain.

        Their outputs are told in one record, and before anything that could take long. Returns the place
        after the last that was done. Should the process die here, the supervisor does not know at which
        component: it has them all done again by an executor that does not gather.
        """
        clock, call, loads, simple = self._clock, self._call, rebuild.loads, SIMPLE
        inputs, written = self._inputs, Printed.written
        seek = os.lseek
        system, (out, err) = sys, self._surroundings.streams
        out_at, err_at = self._printed
        sized = (bytes, str)  # a run of large ones would be as large as all of them
        values: "List[Any]" = []
        walls: "List[float]" = []
        begun = place
        slow = 0
        value: "Any"
        given: "Any" = None
        failed: "Optional[bytes]" = None
        run = place
        self._at = self._first + run, values
        at = self._bounds[place]
        begin = clock()
        run_began, run_ends = begin, begin + RUN_SECONDS
        self._board.set(SOME, self._printed[0], self._printed[1], self._offset + begin)
        for stop in islice(self._bounds, place + 1, None):
            stage = "input"
            try:
                given = loads(inputs[at:stop])
                stage = "call"
                value = call(given)
            except BaseException as error:
                if forked_off[0]:
                    end_as_python_ends(error)
                called = stage == "call"
                failed = self._failure(error, stage, given if called else None, called, None)
                value = self  # as good as anything that is not plain
            end = clock()
            at = stop
            try:
                # A component that prints past Python's streams, or redirects descriptors, is told by itself.
                silent = seek(1, 0, 2) == out_at and seek(2, 0, 2) == err_at
            except OSError:
                silent = False
            if (
                type(value) in simple
                and not written[0]
                and silent
                and system.stdout is out
                and system.stderr is err
                and (type(value) not in sized or len(value) < 65536)
            ):
                values.append(value)
                walls.append(end - begin)
                if end < run_ends:
                    begin = end
                    continue
                # Long enough. A component that was long by itself may only have been interrupted: more than a
                # few end the gathering.
                slow += end - begin > RUN_SECONDS
                place = run + len(values)
                self._tell_run(self._first + run, run_began, values, walls)
                values, walls, run = [], [], place
                self._at = self._first + run, values
                if not self.fast or slow * FAST_SAMPLE > place - begun + FAST_SAMPLE:
                    self.fast = False
                    break
                begin = run_began = clock()
                run_ends = begin + RUN_SECONDS
                continue
            # Not the plain case: what was gathered goes first, then this one by itself.
            wall = end - begin
            place = run + len(values)
            self._tell_run(self._first + run, run_began, values, walls, printed=False)
            self._tell_outcome(self._first + place, begin, wall, value, failed)
            values, run = [], place + 1
            self.fast = False
            break
        self._tell_run(self._first + run, run_began, values, walls)
        self._recent, self._sample = 0.0, 0
        return run + len(values)

    def _tell_outcome(
        self, index: "int", begin: "float", wall: "float", value: "Any", failed: "Optional[bytes]"
    ) -> "None":
        kind, payload = formats.ERROR, failed
        if self.work is not None and self.work.open and payload is not None:
            self.work.finish(failed=True)
        if payload is None:
            try:
                if self.work is not None and self.work.open:
                    self.work.finish()
                kind, payload = self._pickled(value)
            except BaseException as error:
                payload = self._failure(error, "output", None, False, value)
        self._tell(kind, index, 1, begin, wall, payload)

    def _tell(
        self, kind: "int", index: "int", count: "int", begin: "float", wall: "float", payload: "bytes"
    ) -> "None":
        cpu, peak = self._measures.take(wall)
        if self.work is not None and self.work.open:
            self.work.clear()
        ranges = self._output()
        Printed.written[0] = forked_off[0]
        self._write(kind, index, count, begin, wall, cpu, peak, payload, ranges)
        self._restore()

    def _restore(self) -> "None":
        """Restore the state that this component found, for the next one; see `Surroundings`."""
        now = self._clock()
        closely = self._watched > 0 or now >= self._next_close_look
        if closely:
            self._watched -= 1
            self._next_close_look = now + CLOSE_LOOK_SECONDS
        if self._surroundings.restore(closely, self._printed):
            # A function that changed the state once does so again: check closely after each of its
            # components.
            self._may_gather = self.fast = False
            self._watched = 1 << 62

    def _output(self) -> "Tuple[int, int, int, int]":
        """The stretches of the two files that were printed since the last call."""
        for stream, ours in zip((sys.stdout, sys.stderr), self._surroundings.streams):
            ours.settle()
            if stream is not ours:
                settle(stream)  # the user's own, which may end at the same descriptor
        before, self._printed = self._printed, self._positions()
        return before[0], self._printed[0], before[1], self._printed[1]

    def _tell_run(
        self,
        first: "int",
        began: "float",
        values: "List[Any]",
        walls: "List[float]",
        printed: "bool" = True,
    ) -> "None":
        """Tell the outputs of a run; and what was `printed`, unless the component after it has done that."""
        if not values:
            return
        ranges = (0, 0, 0, 0)
        if printed:
            ranges = self._output()
            if ranges[0] != ranges[1] or ranges[2] != ranges[3]:
                # By a thread or a child process, between two components. The next are told one by one.
                self._may_gather = self.fast = False
        wall = sum(walls)
        payload = struct.pack("<%df" % len(walls), *walls) + pickle.dumps(values, PROTOCOL)
        # A system call for each would cost more than they do: their CPU time is their wall time.
        self._write(formats.RUN, first, len(values), began, wall, wall, self._measures.peak, payload, ranges)
        if printed:
            self._restore()

    def _write(
        self,
        kind: "int",
        index: "int",
        count: "int",
        begin: "float",
        wall: "float",
        cpu: "float",
        peak: "int",
        payload: "bytes",
        ranges: "Tuple[int, int, int, int]",
    ) -> "None":
        if forked_off[0]:
            end_as_python_ends(None)
        failed = FAILED.pack(index) if kind == formats.ERROR else b""
        (headers, payloads), self._before = self._before, (b"", b"")
        before, records = len(payloads), 1 + len(headers) // formats.RECORD.size
        head = GROUP.pack(count, records, len(failed) // FAILED.size, before + len(payload), wall, *ranges)
        header = headers + formats.RECORD.pack(
            kind,
            self._attempt,
            count,
            self._round,
            index,
            self._offset + begin,
            wall,
            cpu,
            peak,
            len(payload),
        )
        if len(payload) < 65536:
            write_all(self._results, head + failed + header + payloads + payload)
        else:
            write_all(self._results, head + failed + header + payloads)
            write_all(self._results, payload)

    def _failure(
        self, error: "BaseException", stage: "str", given: "Any", has_input: "bool", value: "Any"
    ) -> "bytes":
        fields = failure.describe(error, stage, self._dumper.exception, self._skip, given, has_input)
        if stage == "output":
            where, kind = culprit(value, "the result", self._dumper.dumps)
            why = reason(error)
            fields["message"] = "the result cannot be pickled: %s is of type %s" % (where, kind)
            if "nested" in why:
                fields["message"] += ": " + why
        return failure.dumps(fields)
