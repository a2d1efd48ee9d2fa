"""Parts of an executor and of its supervisor that need neither of them: what is printed and measured, why a
process was killed, new files, and what travels between both.
"""

from __future__ import annotations

import array
import io
import itertools
import os
import pickle
import resource
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from _waiting import PATIENCE
from wingspan.worker import executor, failure, formats, limits, measures, pipes, printed, scratch
from wingspan.worker.blocks import Block
from wingspan.worker.child import Chunk
from wingspan.worker.crashes import Crash, crash_at_the_start, how_it_ended
from wingspan.worker.gpus import GpuMeter, _is_named
from wingspan.worker.memory import MemoryLimit
from wingspan.worker.new_files import MOST_TOLD, NewFiles
from wingspan.worker.slots import SLOTS, Slots
from wingspan.worker.streams import Stream

needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="what proc(5) tells")


# -- what is printed -----------------------------------------------------------------------------------------


@pytest.fixture
def pipe():
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_line_that_is_printed_is_there_at_once(pipe, monkeypatch):
    """Text that is no UTF-8 does not fail the component; what was printed is noted; the descriptor stays."""
    monkeypatch.setattr(printed.Printed, "written", [False])
    stream = printed.printing_to(pipe[1])
    assert not printed.Printed.written[0]
    print("é \udc80", file=stream)
    assert printed.Printed.written[0]
    assert os.read(pipe[0], 99) == "é \\udc80\n".encode()
    stream.write("the rest")
    stream.settle()
    assert os.read(pipe[0], 99) == b"the rest"
    stream.close()
    stream.settle()
    os.fstat(pipe[1])


def test_what_stands_in_the_place_of_a_stream_fails_no_component():
    """Whatever the user has put there is flushed, if it can be."""
    flushed = []
    printed.settle(SimpleNamespace(flush=lambda: flushed.append(1)))
    assert flushed == [1]
    closed = io.StringIO()
    closed.close()
    printed.settle(closed)
    printed.settle(None)


# -- what the function is called with ------------------------------------------------------------------------


def test_each_way_to_call_the_function():
    """An input, arguments with keywords, pickles to be joined, and pickles that are joined two by two."""
    pickles = [pickle.dumps(one) for one in ("a", "b", "c")]

    def join(*parts, end=""):
        return "-".join(parts) + end

    assert executor.CALLS["map"](join)("a") == "a"
    assert executor.CALLS["starmap"](join)((("a", "b"), {"end": "!"})) == "a-b!"
    assert executor.CALLS["joined"](join)(pickles) == "a-b-c"
    assert executor.CALLS["reduce"](lambda one, other: f"({one}{other})")(pickles) == "((ab)c)"


def test_frames_of_the_executor_are_no_news():
    """Tracebacks leave out the worker's own files, and no file of the user's."""
    sources = executor._sources()
    assert {Path(name).name for name in sources} >= {"executor.py", "calling.py", "pickle.py"}
    assert __file__ not in sources


def test_a_map_without_files_needs_nobody_who_gets_them(tmp_path):
    """No folder is made for its components."""
    assert executor._arrivals({"plan": None}, str(tmp_path)) is None
    assert list(tmp_path.iterdir()) == []


# -- what is measured ----------------------------------------------------------------------------------------


def cpu_seconds():
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def test_the_processor_time_of_a_component_is_its_own():
    """It counts from one component to the next: what was used between both, and no more than that."""
    for wall in (0.0, 1.0):
        around = cpu_seconds()
        meter = measures.Measures()
        meter.take(wall)
        inside = cpu_seconds()
        assert sum(number * number for number in range(50_000)) > 0
        used = cpu_seconds() - inside
        cpu, peak = meter.take(wall)
        assert used - 1e-6 <= cpu <= cpu_seconds() - around + 1e-6
        assert peak == meter.peak > 0


@needs_proc
def test_the_memory_of_a_process_is_told():
    """Its peak is at least what it has now; one that does not exist has none."""
    here, nobody = os.getpid(), 2**22 + 1
    now = measures.resident_kib([here], shared=True)
    assert measures.peak_kib(here) >= 0.9 * now > 0  # the kernel counts roughly
    assert measures.peak_kib(nobody) == 0
    assert measures.resident_kib([nobody], shared=True) == measures.resident_kib([nobody], shared=False) == 0
    assert measures.family(nobody) == [nobody]


def test_the_disk_that_a_folder_takes(tmp_path):
    """All files below it count, as the file system tells; a folder that is not there takes nothing."""
    (tmp_path / "deep").mkdir()
    files = [tmp_path / "a", tmp_path / "deep" / "b"]
    for file in files:
        with file.open("wb") as open_file:
            open_file.write(b"x" * 10_000)
            os.fsync(open_file.fileno())
    assert measures.disk_usage(str(tmp_path)) == 512 * sum(file.stat().st_blocks for file in files) > 0
    assert measures.disk_usage(str(tmp_path / "missing")) == 0


@pytest.fixture
def process():
    """A process that waits until it is killed."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as started:
        yield SimpleNamespace(pid=started.pid, board=pipes.Board(), wait=started.wait)
        started.kill()


def test_a_component_that_takes_too_long_is_killed(process):
    """Only while it is at a component, and once; then it is told what for, and which."""
    limit = limits.TimeLimit(90.0)
    limit.enforce(process)
    assert limit.killed() is None
    process.board.set(5, 0, 0, 1.0)  # it began in 1970
    limits.TimeLimit(None).enforce(process)
    limit.enforce(process)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    limit.enforce(process)
    assert limit.killed() == 5
    assert limit.killed() is None
    assert limit.failure()["message"] == "it took longer than 90 s"


@needs_proc
def test_a_component_that_takes_too_much_memory_is_killed(process):
    """One that takes less is left alone. The reason names what the job asked for, and is told once."""
    if not measures.resident_kib([process.pid], shared=False):
        pytest.skip("this kernel does not tell what a process shares with others")
    enough, little = MemoryLimit(1 << 50, always=True), MemoryLimit(1024, always=True)
    enough.enforce(process.pid, 10.0)
    assert not enough.was_exceeded(0, 0)
    assert enough.why_killed() == ""
    little.enforce(process.pid, 10.0)
    assert process.wait(PATIENCE) == -signal.SIGKILL
    assert little.was_exceeded(signal.SIGKILL, 0)
    assert "MiB of memory and its job asked for 0 MiB" in little.why_killed()
    assert little.why_killed() == ""


def test_a_kill_near_the_limit_is_one_for_memory():
    """The system kills without a word: then the peak decides; another end never is one."""
    limit = MemoryLimit(100 * 1024)
    assert limit.was_exceeded(signal.SIGKILL, 95)
    assert not limit.was_exceeded(signal.SIGSEGV, 95)
    assert not limit.was_exceeded(3 << 8, 95)


# -- how a process ended -------------------------------------------------------------------------------------


class Records:
    """Keeps what an `Outbox` is given."""

    def __init__(self):
        self.kept = []

    def add(self, kind, payload=b"", **more):
        self.kept.append((kind, payload, more))


@pytest.mark.parametrize(
    ("status", "words"),
    [
        (3 << 8, "exited with code 3"),
        (0, "exited with code 0"),
        (int(signal.SIGSEGV), f"killed by signal {int(signal.SIGSEGV)} (SIGSEGV)"),
        (126, "killed by signal 126 (unknown)"),
    ],
)
def test_how_a_process_ended_is_said_in_words(status, words):
    """By which signal, with its name if it has one, or with which code."""
    assert how_it_ended(status) == words


@pytest.fixture
def printed_so_far(tmp_path):
    """Standard error of an executor: some of an earlier component, then 5000 bytes."""
    path = tmp_path / "err"
    path.write_bytes(b"earlier\n" + b"x" * 4990 + b"the end\xff\n")
    descriptor = os.open(path, os.O_RDONLY)
    yield descriptor
    os.close(descriptor)


@pytest.mark.parametrize(
    ("status", "told", "words", "number", "code"),
    [
        (int(signal.SIGSEGV), None, "SIGSEGV", int(signal.SIGSEGV), None),
        (7 << 8, None, "exited with code 7", None, 7),
        (int(signal.SIGKILL), limits.TimeLimit(60.0).failure(), "it took longer than 60 s", None, None),
    ],
)
def test_a_crash_is_an_error_of_the_component(printed_so_far, status, told, words, number, code):
    """It says how the process ended, or what is known better, and the last of what it printed itself."""
    usage, outbox = resource.getrusage(resource.RUSAGE_SELF), Records()
    block = Block(2, 0, 1, [(5, 8)], alone=False, single=False)
    crash = Crash(status, usage, printed_so_far, MemoryLimit(None), told and dict(told))
    crash.record(outbox, block, (6, 0, 8, 1000.0))
    ((kind, payload, more),) = outbox.kept
    fields = failure.loads(payload)
    assert kind == formats.ERROR
    assert (more["number"], more["attempt"], more["index"], more["started"]) == (2, 1, 6, 1000.0)
    assert words in fields["message"]
    assert (fields.get("signal"), fields.get("exit_code")) == (number, code)
    assert fields["stderr"] == "x" * (4000 - 9) + "the end\ufffd\n"
    assert fields["peak_kib"] == more["peak"] > 0
    assert not crash.exceeded


def test_a_crash_at_the_start_has_no_component(printed_so_far):
    """It is an error of the function, with what was printed from there on."""
    fields = crash_at_the_start(1 << 8, printed_so_far, 4998)
    assert (fields["stage"], fields["message"]) == ("function", "exited with code 1")
    assert fields["stderr"] == "the end\ufffd\n"


# -- new files -----------------------------------------------------------------------------------------------


def test_new_files_are_told_once(tmp_path):
    """Those that go with the job; not what was there before, what is hidden, and what nobody misses."""
    (tmp_path / "before").write_text("")
    look = NewFiles({"environ": {"_CONDOR_SCRATCH_DIR": str(tmp_path)}, "folder": str(tmp_path)})
    for moment, names in enumerate([["b", "a", ".hidden", "_condor_stdout", "core"], ["c"]], 1):
        for name in names:
            (tmp_path / name).write_text("")
        os.utime(tmp_path, (moment, moment))
        assert look.look() == (["a", "b"] if moment == 1 else ["c"])
        assert look.look() == []
    for number in range(MOST_TOLD):
        (tmp_path / f"many-{number:03}").write_text("")
    os.utime(tmp_path, (9, 9))
    assert len(look.look()) == MOST_TOLD - 3
    os.utime(tmp_path, (10, 10))
    assert look.look() == []


def test_files_in_other_folders_are_not_told(tmp_path):
    """They do not go with the job; a folder that was removed has none."""
    (tmp_path / "job").mkdir()
    (tmp_path / "home").mkdir()
    for environ, folder in (
        ({"_CONDOR_SCRATCH_DIR": str(tmp_path / "job")}, tmp_path / "home"),
        ({"HOME": str(tmp_path)}, tmp_path / "job"),
    ):
        look = NewFiles({"environ": environ, "folder": str(folder)})
        (folder / "new").write_text("")
        os.utime(folder, (1, 1))
        assert look.look() == []
    gone = tmp_path / "gone"
    gone.mkdir()
    look = NewFiles({"environ": {"_CONDOR_SCRATCH_DIR": str(gone)}, "folder": str(gone)})
    gone.rmdir()
    assert look.look() == []


def test_the_scratch_folder_is_the_first_that_can_be_used(tmp_path, monkeypatch):
    """The job's own, else that of the user, else one of the system; a folder that is missing is none."""
    job, own = tmp_path / "job", tmp_path / "own"
    own.mkdir()
    monkeypatch.setenv("_CONDOR_SCRATCH_DIR", str(job))
    monkeypatch.setenv("TMPDIR", str(own))
    assert scratch.scratch_folder() == str(own)
    job.mkdir()
    assert scratch.scratch_folder() == str(job)
    own.rmdir()
    job.rmdir()
    assert os.access(scratch.scratch_folder(), os.W_OK)


def test_a_file_without_a_name_leaves_nothing(tmp_path):
    """It can be written to and read, and no name of it is in the folder."""
    descriptor = scratch.unnamed_file(str(tmp_path), "out")
    try:
        os.write(descriptor, b"text")
        assert os.pread(descriptor, 9, 0) == b"text"
        assert list(tmp_path.iterdir()) == []
    finally:
        os.close(descriptor)


# -- what travels between both -------------------------------------------------------------------------------


def test_the_board_says_what_was_noted_last():
    """Nothing, before the first component."""
    board = pipes.Board()
    assert board.get() == (-1, 0, 0, 0.0)
    board.set(2**40, 7, 8, 1.5)
    assert board.get() == (2**40, 7, 8, 1.5)


def test_slots_are_taken_and_given_back():
    """Each is free once; what is written into it can be read; one that is given back is taken next."""
    slots = Slots()
    taken = [slots.take() for _ in range(SLOTS)]
    assert sorted(taken) == list(range(SLOTS))
    slots.view(taken[1], 3)[:] = b"abc"
    slots.view(taken[0], 3)[:] = b"xyz"
    assert bytes(slots.view(taken[1], 2)) == b"ab"
    slots.give_back(taken[2])
    assert slots.take() == taken[2]
    slots.in_supervisor()
    slots.give_back(taken[2])  # nobody takes it any more: no error
    slots.close()


def test_the_setup_arrives_as_it_was_sent(pipe):
    """Its head says how long it and the function are."""
    os.write(pipe[1], pipes.setup_message(77, {"python": "3.9"}, "map", cores=2, known={"tag": "a"}))
    length, function = pipes.SETUP.unpack(pipes.read_exactly(pipe[0], pipes.SETUP.size))
    facts, call, careful, folder, environ, path, cores, files, known = pickle.loads(
        pipes.read_exactly(pipe[0], length)
    )
    assert (function, facts, call, careful) == (77, {"python": "3.9"}, "map", False)
    assert (folder, environ, path, cores, files, known) == (None, None, [], 2, None, {"tag": "a"})


def test_bytes_come_in_pieces(pipe, monkeypatch):
    """As many as were announced, none of them larger than a piece; what follows stays in the pipe."""
    monkeypatch.setattr(formats, "PIECE_BYTES", 4)
    pipes.write_all(pipe[1], b"0123456789")
    assert [bytes(piece) for piece in pipes.coming(pipe[0], 9)] == [b"0123", b"4567", b"8"]
    assert os.read(pipe[0], 9) == b"9"


def packed(failed, payloads):
    headers = b"".join(
        formats.RECORD.pack(formats.OUTPUT, 0, 1, 0, index, 0.0, 0.0, 0.0, 0, len(payload))
        for index, payload in enumerate(payloads)
    )
    joined = b"".join(payloads)
    head = pipes.GROUP.pack(len(payloads), len(payloads), len(failed), len(joined), 0.5, 1, 2, 3, 4)
    return head + b"".join(map(pipes.FAILED.pack, failed)) + headers + joined


@given(
    st.lists(st.tuples(st.lists(st.integers(0, 2**32 - 1)), st.lists(st.binary(), max_size=4)), max_size=4),
    st.integers(1, 200),
)
@settings(max_examples=40)
def test_groups_come_out_whatever_arrives_at_once(sent, some):
    """All that were sent, each once it is whole, in their order; nothing is left."""
    data = b"".join(packed(*one) for one in sent)
    buffer, got = bytearray(), []
    for begin in range(0, len(data), some):
        buffer += data[begin : begin + some]
        got += list(pipes.groups(buffer))
    assert [(list(one.failed), one.payload) for one in got] == [
        (failed, b"".join(payloads)) for failed, payloads in sent
    ]
    assert all((one.wall, one.ranges) == (0.5, [1, 2, 3, 4]) for one in got)
    assert [len(one.headers) for one in got] == [formats.RECORD.size * len(one[1]) for one in sent]
    assert not buffer


def test_a_piece_of_an_output_says_where_it_lies():
    """Its slot and its length stand in a group of its own; what follows is found."""
    buffer = bytearray(pipes.GROUP.pack(pipes.PIECE, 0, 3, 1000, 0.0, 0, 0, 0, 0) + packed([], [b"x"]))
    piece, after = list(pipes.groups(buffer))
    assert (piece.count, piece.slot, piece.length) == (pipes.PIECE, 3, 1000)
    assert (after.count, after.payload) == (1, b"x")


def test_a_chunk_is_done_in_parts():
    """Without those that nobody wants, and from where it was left: numbers, bounds and inputs agree."""
    inputs = [b"a", b"", b"ccc", b"dd", b"e"]
    bounds = array.array("Q", [100 + sum(map(len, inputs[:end])) for end in range(6)])
    chunk = Chunk(Block(2, 0, 1, [(10, 15)], False, False), range(10, 15), bounds, b"".join(inputs), None)

    def contents(one):
        pairs = itertools.pairwise(one.bounds)
        begins = [(low - one.bounds[0], high - one.bounds[0]) for low, high in pairs]
        return dict(zip(one.indices, [bytes(one.data[low:high]) for low, high in begins], strict=True))

    assert [contents(part) for part in chunk.parts({12}.__contains__)] == [
        {10: b"a", 11: b""},
        {13: b"dd", 14: b"e"},
    ]
    chunk.done = 1
    assert contents(chunk.rest(1)) == {12: b"ccc", 13: b"dd", 14: b"e"}
    assert chunk.rest(4) is None
    head, data = chunk.rest(2).encode(attempt=1, may_go_on=True)
    fields = pipes.CHUNK.unpack(head[: pipes.CHUNK.size])
    assert fields == (3 * 8 + 3, 2, 1, True, 2, 13)
    assert bytes(data) == b"dde"


@given(st.lists(st.binary(max_size=9), max_size=9), st.lists(st.integers(0, 12), max_size=9))
def test_pieces_are_read_as_one_file(pieces, lengths):
    """Whatever lengths are asked for: the bytes in their order, fewer at the end, and then none."""
    whole, stream, position = b"".join(pieces), Stream(pieces), 0
    for turn, length in enumerate(lengths):
        if turn % 2:
            target = bytearray(length)
            got = bytes(target[: stream.readinto(memoryview(target))])
        else:
            got = stream.read(length)
        assert got == whole[position : position + length]
        position += len(got)
    line = stream.readline()
    assert line == io.BytesIO(whole[position:]).readline()
    stream.drain()
    assert stream.read(1) == b""


# -- GPUs ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("number", "names", "expected"),
    [
        (0, [], True),
        (1, ["1"], True),
        (0, ["1"], False),
        (0, ["GPU-12ab"], True),
        (0, ["GPU-99"], False),
        (1, ["GPU-99", "1"], True),
    ],
)
def test_the_gpus_of_a_job_are_recognised(number, names, expected):
    """By their numbers, by the beginning of their UUIDs, and all of them where none is named."""
    assert _is_named(number, "GPU-12ab34cd", names) is expected


@pytest.mark.parametrize("visible", ["", "-1", "void, none", "NoDevFiles"])
def test_a_job_without_gpus_tells_nothing_of_them(visible):
    """Where none is visible, there is nothing to sample, also if some were asked for."""
    meter, outbox, board = GpuMeter(1, {"CUDA_VISIBLE_DEVICES": visible}), Records(), pipes.Board()
    board.set(0, 0, 0, 1.0)
    meter.look(board, 10.0)
    meter.tell(outbox, 0, 0)
    assert outbox.kept == []
