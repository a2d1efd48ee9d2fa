"""The process that calls the user's function. Forked from the supervisor; may die at any moment without harm.

It reads chunks of inputs from one pipe and writes one whole record a component to another. A pipe keeps what was written when its
writer is killed, so nothing that was finished is lost. What it is doing right now stands in a small shared memory (`Board`),
which the supervisor reads to attribute a crash, or what is being printed, to a component.
"""

import io
import mmap
import os
import pickle
import struct
import sys
from array import array
from itertools import islice

from . import failure, formats, rebuild
from .measures import Measures
from .pickling import PROTOCOL, SIMPLE, Dumper, culprit
from .streams import Gathering, Stream

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Container, Dict, Iterator, List, NoReturn, Optional, Sequence, Tuple

    from .slots import Slots

#: length of what follows, round, attempt, number of components, the first of them. Then follow the bounds of their inputs (u64 each, one
#: more than there are components, in this machine's byte order) and the inputs.
CHUNK = struct.Struct("<QIHII")
#: What precedes records on the pipe: components finished, headers, failures, bytes of payload, seconds of wall time, and where in the
#: executor's two files the last component's output lies. Then follow the failed components (u32 each), all headers, all payloads.
#: A group that finishes no component says why the executor refuses. One that finishes `PIECE` says that a piece of the output that
#: comes next, `length` bytes, lies in the slot whose number stands for the failures.
GROUP = struct.Struct("<IIIQdQQQQ")
FAILED = struct.Struct("<I")
PIECE = 2**32 - 1
#: A chunk of one input that is larger than so many bytes is unpickled as it comes.
LARGE_INPUT = 1 << 22
#: Components faster than this on average (s) are not worth a system call each: their outputs are gathered.
FAST_SECONDS = 50e-6
#: How many to look at before saying so.
FAST_SAMPLE = 64
#: Gather outputs for so long (s).
RUN_SECONDS = 0.001
#: Whether the user's code has forked this process off: it must not speak for the executor. In a list, as it is looked at after each component.
_forked_off = [False]

#: How the libraries that threadpoolctl knows are told, before they are imported, how many threads to start.
THREAD_LIMITS = (
    "OMP_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "MKL_NUM_THREADS",
    "BLIS_NUM_THREADS",
    "FLEXIBLAS_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
    "NUMEXPR_NUM_THREADS",
)

_BOARD = struct.Struct("<qQQd")
#: In place of a component: one of a run of fast ones.
SOME = -2


class Board(object):
    """Shared memory in which the executor leaves what it is doing, so that the supervisor knows when it dies or is long at it."""

    def __init__(self) -> "None":
        self._memory = mmap.mmap(-1, 64)
        self.set(-1, 0, 0, 0.0)

    def set(self, component: "int", out: "int", err: "int", started: "float") -> "None":
        """Executor: at `component` (-1: none) since `started`; its output begins at `out` and `err`."""
        self._memory[0 : _BOARD.size] = _BOARD.pack(component, out, err, started)

    def get(self) -> "Tuple[int, int, int, float]":
        """Supervisor: what `set` said last."""
        return _BOARD.unpack(self._memory[0 : _BOARD.size])


def die_with_parent(parent: "int") -> "None":
    """Ask the kernel to kill this process when its parent dies (prctl(2), PR_SET_PDEATHSIG); on other systems the closed pipe ends it."""
    if sys.platform.startswith("linux"):
        try:
            import ctypes

            ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
        except Exception:
            return
    if os.getppid() != parent:
        os._exit(0)


def _read_exactly(descriptor: "int", length: "int") -> "bytearray":
    data = bytearray(length)
    view = memoryview(data)
    while view:
        got = os.readv(descriptor, [view])
        if not got:
            os._exit(0)  # the supervisor is gone
        view = view[got:]
    return data


def _coming(descriptor: "int", length: "int") -> "Iterator[bytearray]":
    """What comes next on a pipe, in pieces."""
    while length:
        piece = _read_exactly(descriptor, min(length, formats.PIECE_BYTES))
        length -= len(piece)
        yield piece


def _write_all(descriptor: "int", data: "bytes") -> "None":
    written = os.write(descriptor, data)
    if written < len(data):
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(descriptor, view) :]


def _sources() -> "Container[str]":
    """File names of our own code, whose frames are no news to the user."""
    import pickle as pickle_module

    ours = (_sources, Dumper.dumps, rebuild.loads, Stream.read)
    return frozenset([one.__code__.co_filename for one in ours] + [pickle_module.__file__])


#: What precedes the setup: its length, and that of the pickle of the function, which follows it.
SETUP = struct.Struct("<QQ")


def setup_message(
    function: "int",
    facts: "Dict[str, Any]",
    starred: "bool",
    careful: "bool" = False,
    folder: "Optional[str]" = None,
    environ: "Optional[Dict[str, str]]" = None,
    path: "Sequence[str]" = (),
    cores: "Optional[int]" = None,
) -> "bytes":
    """The first thing an executor is told.

    Args:
        function: Length of the pickle of the function, which is to follow.
        facts: What wrote it (see `compatibility`).
        starred: Inputs are ``(args, kwargs)``.
        careful: Gather nothing: an executor before this one died among fast components.
        folder: Working folder, or None to stay.
        environ: Environment variables to take over, or None.
        path: Further entries for ``sys.path``.
        cores: How many cores the map's owner has asked for: so many threads do libraries start that have pools of them. None: as many as
            they like.
    """
    fields = pickle.dumps((facts, starred, careful, folder, environ, list(path), cores), 4)
    return SETUP.pack(len(fields), function) + fields


class _Stream(io.TextIOWrapper):
    """Standard output of the executor: notes in `written` when Python code has written to it."""

    #: One flag for both streams, in a list: the one thing that is looked at after each component.
    written = [False]

    def write(self, text: "str") -> "int":
        self.written[0] = True
        return io.TextIOWrapper.write(self, text)

    def settle(self) -> "None":
        try:
            self.flush()
        except (OSError, ValueError):
            pass


def _settle(stream: "Any") -> "None":
    """Flush what the user has put in place of a stream, whatever it is."""
    try:
        stream.flush()
    except Exception:
        return


def run(
    commands: "int", results: "int", board: "Board", slots: "Slots", out_file: "int", err_file: "int"
) -> "NoReturn":
    """Call the function on what comes; never returns.

    Args:
        commands, results: Pipe ends.
        board: The shared `Board`.
        slots: The shared `Slots`.
        out_file, err_file: Files that stdout and stderr go to.
    """
    from . import compatibility

    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out_file, 1)
    os.dup2(err_file, 2)
    sys.stdin = open(0, closefd=False)  # noqa: SIM115 - for good
    out, err = (
        _Stream(
            open(number, "wb", closefd=False),  # noqa: SIM115 - for good
            encoding="utf-8",
            errors="backslashreplace",
            line_buffering=True,
        )
        for number in (1, 2)
    )
    sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__ = out, err  # type: ignore[misc]  # for good
    _unbuffer_c()
    skip = _sources()
    _silence_forks(commands, results, slots.free)
    try:
        # Before the setup is read: an executor is often started before anybody knows what for.
        here = compatibility.this_interpreter()
        dumper = Dumper()
    except BaseException as error:
        _refuse(results, failure.describe(error, "function", pickle.dumps, skip))
    length, function_length = SETUP.unpack(_read_exactly(commands, SETUP.size))
    facts, starred, careful, folder, environ, path, cores = pickle.loads(_read_exactly(commands, length))
    if environ is not None and environ != dict(os.environ):
        os.environ.clear()
        os.environ.update(environ)
    if folder is not None and os.path.isdir(folder):
        os.chdir(folder)
    for name in THREAD_LIMITS:
        if cores:
            os.environ.setdefault(name, str(cores))
    sys.path.extend(entry for entry in path if entry not in sys.path)
    incompatibility = compatibility.incompatibility(facts, here)
    if incompatibility is not None:
        _refuse(results, failure.crash("interpreter", incompatibility, executable=sys.executable))
    try:
        call = _load_function(Stream(_coming(commands, function_length)))
    except BaseException as error:
        _refuse(results, failure.describe(error, "function", dumper.exception, skip))
    if starred:
        call = _starred(call)
    caller = _Caller(call, results, board, slots, (out, err), (out_file, err_file), dumper, skip, not careful)
    while True:
        length, number, attempt, count, first = CHUNK.unpack(_read_exactly(commands, CHUNK.size))
        if count == 1 and length > LARGE_INPUT:
            bounds = 2 * array("Q").itemsize
            _read_exactly(commands, bounds)
            stream = Stream(_coming(commands, length - bounds))
            caller.begin_large(number, attempt, first, stream)
            caller.call_one(0)
            board.set(-1, 0, 0, 0.0)
            continue
        caller.begin_chunk(number, attempt, first, count, memoryview(_read_exactly(commands, length)))
        done = 0
        while done < count:
            if caller.fast:
                done = caller.call_fast(done)
            if done < count:
                caller.call_one(done)
                done += 1
        board.set(-1, 0, 0, 0.0)


def _load_function(data: "Stream") -> "Callable[..., Any]":
    """The user's function, in a ``__main__`` of its own, with the own modules that came before it."""
    from . import own
    from .scratch import scratch_folder

    scratch = scratch_folder()
    own.become_main(scratch)
    modules = pickle.load(data)
    if modules is not None:
        own.install(modules, scratch)
    call: "Callable[..., Any]" = rebuild.load(data)
    data.drain()
    return call


def _unbuffer_c() -> "None":
    """Let what C code prints go out as it comes: nobody would flush it, and it would come after what Python prints later (setvbuf(3))."""
    try:
        import ctypes

        library = ctypes.CDLL(None)
        for name in ("stdout", "stderr") if sys.platform != "darwin" else ("__stdoutp", "__stderrp"):
            library.setvbuf(ctypes.c_void_p.in_dll(library, name), None, _UNBUFFERED, ctypes.c_size_t(0))
    except Exception:
        return


#: _IONBF of the C libraries of Linux; of macOS, too.
_UNBUFFERED = 2


def _silence_forks(*pipes: "int") -> "None":
    """Let no process that the user's code forks off take inputs or tell results, should it come back from the function."""

    def after_in_child() -> "None":
        if _forked_off[0]:  # a fork of a fork: those numbers are its own files now
            return
        _forked_off[0] = _Stream.written[0] = True  # the second ends a run of fast components here and now
        for pipe in pipes:
            os.close(pipe)

    if hasattr(os, "register_at_fork"):  # Python 3.7
        os.register_at_fork(after_in_child=after_in_child)


def _end_as_python_ends(error: "Optional[BaseException]") -> "NoReturn":
    """A process that the user's code forked off came back from the function, or `error` did: it ends as a script would at its end."""
    code = 0
    try:
        if isinstance(error, SystemExit):
            if isinstance(error.code, int):
                code = error.code
            elif error.code is not None:
                sys.stderr.write("%s\n" % (error.code,))
                code = 1
        elif error is not None:
            code = 1
            sys.excepthook(type(error), error, error.__traceback__)
    except BaseException:
        code = 1
    try:
        import threading

        for thread in threading.enumerate():
            if thread is not threading.current_thread() and not thread.daemon:
                thread.join()
        import atexit

        atexit._run_exitfuncs()
    except BaseException:
        sys.excepthook(*sys.exc_info())
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except Exception:
            code = code or 120  # as Python says it
    if isinstance(error, KeyboardInterrupt):
        import signal

        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    os._exit(code & 0xFF)


def _starred(function: "Callable[..., Any]") -> "Callable[[Any], Any]":
    def call(pair: "Any") -> "Any":
        return function(*pair[0], **pair[1])

    return call


def _refuse(results: "int", fields: "Dict[str, Any]") -> "NoReturn":
    payload = failure.dumps(fields)
    _write_all(results, GROUP.pack(0, 0, 0, len(payload), 0.0, 0, 0, 0, 0) + payload)
    os._exit(0)


class _Caller(object):
    """Calls the function, and tells the supervisor what came of it."""

    def __init__(
        self,
        call: "Callable[[Any], Any]",
        results: "int",
        board: "Board",
        slots: "Slots",
        streams: "Tuple[_Stream, _Stream]",
        files: "Tuple[int, int]",
        dumper: "Dumper",
        skip: "Container[str]",
        may_gather: "bool",
    ) -> "None":
        from time import perf_counter, time

        self._call = call
        self._results = results
        self._board = board
        self._out, self._err = streams
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
        self._may_gather = may_gather
        #: Components have been so fast lately that their outputs are gathered.
        self.fast = False

    def _positions(self) -> "Tuple[int, int]":
        # Not of descriptors 1 and 2: the user's code may have closed or redirected them.
        # To the end: a process may have opened them anew by /dev/stdout.
        return os.lseek(self._out_file, 0, os.SEEK_END), os.lseek(self._err_file, 0, os.SEEK_END)

    def begin_chunk(
        self, number: "int", attempt: "int", first: "int", count: "int", data: "memoryview"
    ) -> "None":
        self._round, self._attempt, self._first = number, attempt, first
        bounds = array("Q")
        bounds.frombytes(data[: bounds.itemsize * (count + 1)])
        base = bounds[0]
        #: Where each input begins in `_inputs`, and where the last ends.
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
            _write_all(self._results, GROUP.pack(PIECE, 0, self._slot, self._filled, 0.0, 0, 0, 0, 0))
            self._slot = None

    def _pickled(self, value: "Any") -> "Tuple[int, bytes]":
        """``(kind, payload)`` of the record of this output; what is large has gone out before."""
        if type(value) in SIMPLE and (type(value) not in (bytes, str) or len(value) < formats.LARGE_BYTES):
            return formats.OUTPUT, pickle.dumps(value, PROTOCOL)
        outgoing = self._outgoing
        outgoing.begin()
        self._filled = 0  # of an output that could not be pickled after all
        self._dumper.dump(value, outgoing.write)
        if not outgoing.is_large:
            return formats.OUTPUT, outgoing.kept()
        self._send_slot()
        return formats.LARGE, b"\1" if outgoing.holds_code else b"\0"

    def call_one(self, place: "int") -> "None":
        """Component number `place` of the chunk, told at once."""
        index = self._first + place
        clock = self._clock
        begin = clock()
        self._board.set(index, self._printed[0], self._printed[1], self._offset + begin)
        given: "Any" = None
        value: "Any" = None
        has_input, stage = False, "input"
        try:
            given = self._given(place)
            has_input, stage = True, "call"
            value = self._call(given)
            wall = clock() - begin
            if _forked_off[0]:
                _end_as_python_ends(None)
            stage = "output"
            kind, payload = self._pickled(value)
        except BaseException as error:
            if _forked_off[0]:
                _end_as_python_ends(error)
            if stage != "output":
                wall = clock() - begin
            payload = self._failure(error, stage, given, has_input, value)
            kind = formats.ERROR
        self._tell(kind, index, 1, begin, wall, payload)
        self._recent += wall
        self._sample += 1
        if self._sample == FAST_SAMPLE:
            self.fast = self._may_gather and self._recent < FAST_SAMPLE * FAST_SECONDS
            self._recent, self._sample = 0.0, 0

    def call_fast(self, place: "int") -> "int":
        """Components from `place` on, outputs gathered, until one is slow, prints, fails, or returns something that is not plain.

        Their outputs are told in one record, and before anything that could take long. Returns the place after the last that was done.
        Should the process die here, the supervisor does not know at which component: it has them all done
        again by an executor that does not gather.
        """
        clock, call, loads, simple = self._clock, self._call, rebuild.loads, SIMPLE
        inputs, written = self._inputs, _Stream.written
        seek, out_file, err_file = os.lseek, self._out_file, self._err_file
        system, out, err = sys, self._out, self._err
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
                if _forked_off[0]:
                    _end_as_python_ends(error)
                called = stage == "call"
                failed = self._failure(error, stage, given if called else None, called, None)
                value = self  # as good as anything that is not plain
            end = clock()
            at = stop
            if (
                type(value) in simple
                and not written[0]
                # Whoever prints past Python's streams, or by others, is told by itself.
                and seek(out_file, 0, 2) == out_at
                and seek(err_file, 0, 2) == err_at
                and system.stdout is out
                and system.stderr is err
                and (type(value) not in sized or len(value) < 65536)
            ):
                values.append(value)
                walls.append(end - begin)
                if end < run_ends:
                    begin = end
                    continue
                # Long enough. A component that was long by itself may only have been interrupted: more than a few end the gathering.
                slow += end - begin > RUN_SECONDS
                place = run + len(values)
                self._tell_run(self._first + run, run_began, values, walls)
                values, walls, run = [], [], place
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
        if payload is None:
            try:
                kind, payload = self._pickled(value)
            except BaseException as error:
                payload = self._failure(error, "output", None, False, value)
        self._tell(kind, index, 1, begin, wall, payload)

    def _tell(
        self, kind: "int", index: "int", count: "int", begin: "float", wall: "float", payload: "bytes"
    ) -> "None":
        cpu, peak = self._measures.take(wall)
        ranges = self._output()
        _Stream.written[0] = _forked_off[0]
        self._write(kind, index, count, begin, wall, cpu, peak, payload, ranges)

    def _output(self) -> "Tuple[int, int, int, int]":
        """Where in the two files lies what was printed since the last call."""
        self._out.settle()
        self._err.settle()
        for stream, ours in ((sys.stdout, self._out), (sys.stderr, self._err)):
            if stream is not ours:
                _settle(stream)  # the user's own, which may end at the same descriptor
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
        if _forked_off[0]:
            _end_as_python_ends(None)
        failed = FAILED.pack(index) if kind == formats.ERROR else b""
        head = GROUP.pack(count, 1, len(failed) // FAILED.size, len(payload), wall, *ranges)
        header = formats.RECORD.pack(
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
            _write_all(self._results, head + failed + header + payload)
        else:
            _write_all(self._results, head + failed + header)
            _write_all(self._results, payload)

    def _failure(
        self, error: "BaseException", stage: "str", given: "Any", has_input: "bool", value: "Any"
    ) -> "bytes":
        fields = failure.describe(error, stage, self._dumper.exception, self._skip, given, has_input)
        if stage == "output":
            where, kind = culprit(value, "the result", self._dumper.dumps)
            fields["message"] = "the result cannot be pickled: %s is of type %s" % (where, kind)
        return failure.dumps(fields)
