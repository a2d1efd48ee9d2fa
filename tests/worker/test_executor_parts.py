"""Parts of an executor that need none: its streams, the ways to call the function, and what is measured."""

from __future__ import annotations

import io
import os
import pickle
import resource
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

from wingspan.worker import executor, measures, printed
from wingspan.worker.crashes import how_it_ended

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


# -- how a process ended -------------------------------------------------------------------------------------


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
