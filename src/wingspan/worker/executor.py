"""The process that calls the user's function. Forked from the supervisor; may die at any moment without harm.

It reads chunks of inputs from one pipe and writes one whole record a component to another. A pipe keeps what was written when its
writer is killed, so nothing that was finished is lost. What it is doing right now stands in a small shared memory (`Board`),
which the supervisor reads to attribute a crash, or what is being printed, to a component.
"""

import mmap
import os
import pickle
import struct
import sys

from . import failure, formats
from .pickling import Dumper, culprit

#: length of what follows, round, attempt, number of components
CHUNK = struct.Struct("<QIHI")
#: index, length of the input
ITEM = struct.Struct("<IQ")
_BOARD = struct.Struct("<qqqd")


class Board(object):
    """What the executor is doing: component (-1: none), where its stdout and stderr began, when it started."""

    def __init__(self):
        self._memory = mmap.mmap(-1, 64)
        self.write = self._memory.__setitem__
        self.set(-1, 0, 0, 0.0)

    def set(self, component, out, err, started):
        self._memory[0:32] = _BOARD.pack(component, out, err, started)

    def get(self):
        return _BOARD.unpack(self._memory[0:32])


def die_with_parent(parent):
    """Ask the kernel to kill this process when its parent dies (prctl(2), PR_SET_PDEATHSIG); on other systems the closed pipe ends it."""
    if sys.platform.startswith("linux"):
        try:
            import ctypes

            ctypes.CDLL(None).prctl(1, 9, 0, 0, 0)
        except Exception:
            return
    if os.getppid() != parent:
        os._exit(0)


def _read_exactly(descriptor, length):
    parts = []
    while length:
        part = os.read(descriptor, min(length, 1 << 20))
        if not part:
            os._exit(0)  # the supervisor is gone
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _write_all(descriptor, data):
    written = os.write(descriptor, data)
    if written < len(data):
        view = memoryview(data)[written:]
        while view:
            view = view[os.write(descriptor, view) :]


class Measures(object):
    """CPU seconds and peak memory of this process since the last component."""

    def __init__(self):
        import resource

        self._resource = resource
        self._cpu = 0.0
        self._children_cpu = 0.0
        self._peak = 0
        self._scale = 1024 if sys.platform == "darwin" else 1
        self.take(1.0)

    def take(self, wall):
        """``(CPU s, peak KiB)``; children count when `wall` leaves room for any."""
        usage = self._resource.getrusage(self._resource.RUSAGE_SELF)
        total = usage.ru_utime + usage.ru_stime
        cpu, self._cpu = total - self._cpu, total
        peak = usage.ru_maxrss // self._scale
        if wall > 0.002:
            children = self._resource.getrusage(self._resource.RUSAGE_CHILDREN)
            total = children.ru_utime + children.ru_stime
            cpu += total - self._children_cpu
            self._children_cpu = total
            peak = max(peak, children.ru_maxrss // self._scale)
        if usage.ru_maxrss > self._peak:
            # proc(5): writing 5 resets the peak, so that the next component's is its own.
            self._peak = usage.ru_maxrss
            try:
                with open("/proc/self/clear_refs", "w") as file:
                    file.write("5")
                self._peak = self._resource.getrusage(self._resource.RUSAGE_SELF).ru_maxrss
            except OSError:
                pass
        return cpu, peak


def _sources():
    """File names of our own code, whose frames are no news to the user."""
    import pickle as pickle_module

    return frozenset(
        [_sources.__code__.co_filename, Dumper.dumps.__code__.co_filename, pickle_module.__file__]
    )


#: What precedes the setup: its length.
SETUP = struct.Struct("<Q")


def setup_message(function, facts, starred, folder=None, environ=None, path=()):
    """The first thing an executor is told.

    Args:
        function: The pickle of the function.
        facts: What wrote it (see `compatibility`).
        starred: Inputs are ``(args, kwargs)``.
        folder: Working folder, or None to stay.
        environ: Environment variables to take over, or None.
        path: Further entries for ``sys.path``.
    """
    fields = pickle.dumps((function, facts, starred, folder, environ, list(path)), 4)
    return SETUP.pack(len(fields)) + fields


def run(commands, results, board, out, err):
    """Call the function on what comes; never returns.

    Args:
        commands, results: Pipe ends.
        board: The shared `Board`.
        out, err: Files that stdout and stderr go to.
    """
    from time import perf_counter, time

    from . import compatibility

    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, 0)
    os.dup2(out, 1)
    os.dup2(err, 2)
    sys.stdin = open(0, closefd=False)
    sys.stdout = open(1, "w", encoding="utf-8", errors="backslashreplace", closefd=False)
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", buffering=1, closefd=False)
    pack = formats.RECORD.pack
    loads, lseek, current = pickle.loads, os.lseek, os.SEEK_CUR
    skip = _sources()
    dumper = Dumper()

    def refuse(fields):
        payload = failure.dumps(fields)
        header = pack(formats.REFUSED, 0, 0, 0, formats.NO_COMPONENT, time(), 0.0, 0.0, 0, len(payload))
        _write_all(results, header + payload)
        os._exit(0)

    (length,) = SETUP.unpack(_read_exactly(commands, SETUP.size))
    function, facts, starred, folder, environ, path = loads(_read_exactly(commands, length))
    if environ is not None:
        os.environ.clear()
        os.environ.update(environ)
    if folder is not None and os.path.isdir(folder):
        os.chdir(folder)
    sys.path.extend(entry for entry in path if entry not in sys.path)
    obstacle = compatibility.obstacle(facts, compatibility.this_interpreter())
    if obstacle is not None:
        refuse(failure.crash("interpreter", obstacle, executable=sys.executable))
    try:
        call = loads(function)
    except BaseException as error:
        refuse(failure.describe(error, "function", dumper.dumps, skip))
    measures = Measures()
    flush_out, flush_err = sys.stdout.flush, sys.stderr.flush
    while True:
        length, number, attempt, count = CHUNK.unpack(_read_exactly(commands, CHUNK.size))
        data = _read_exactly(commands, length)
        view = memoryview(data)
        position = ITEM.size * count
        for index, size in ITEM.iter_unpack(view[:position]):
            out_start, err_start = lseek(1, 0, current), lseek(2, 0, current)
            started = time()
            board.set(index, out_start, err_start, started)
            begin = perf_counter()
            given, has_input, stage = None, False, "input"
            try:
                given = loads(view[position : position + size])
                has_input, stage = True, "call"
                value = call(*given[0], **given[1]) if starred else call(given)
                wall = perf_counter() - begin
                stage = "output"
                payload = dumper.dumps(value)
                kind = formats.OUTPUT
            except BaseException as error:
                if stage != "output":
                    wall = perf_counter() - begin
                payload = _failure(error, stage, dumper, skip, given, has_input, locals().get("value"))
                kind = formats.ERROR
            value = error = None
            position += size
            cpu, peak = measures.take(wall)
            try:
                flush_out()
                flush_err()
            except (OSError, ValueError):
                pass
            out_end, err_end = lseek(1, 0, current), lseek(2, 0, current)
            if out_end != out_start or err_end != err_start:
                ranges = formats.PRINTED_RANGES.pack(out_start, out_end, err_start, err_end)
                _write_all(
                    results,
                    pack(formats.PRINTED, 0, attempt, number, index, started, 0.0, 0.0, 0, len(ranges))
                    + ranges,
                )
            header = pack(kind, 0, attempt, number, index, started, wall, cpu, peak, len(payload))
            if len(payload) < 65536:
                _write_all(results, header + payload)
            else:
                _write_all(results, header)
                _write_all(results, payload)
        board.set(-1, 0, 0, 0.0)


def _failure(error, stage, dumper, skip, given, has_input, value):
    fields = failure.describe(error, stage, dumper.dumps, skip, given, has_input)
    if stage == "output":
        where, kind = culprit(value, "the result", dumper.dumps)
        fields["message"] = "the result cannot be pickled: %s is of type %s" % (where, kind)
    return failure.dumps(fields)
