"""What components print: kept, and seen while they run."""

from __future__ import annotations

import os
import sys

import wingspan
from _waiting import PATIENCE, until
from _worker import work


def test_print_is_seen_while_it_runs(gate):
    """A line that a component prints is seen at once, without flush=True."""
    wait = gate.wait

    def printing(x):
        print("a line")
        wait()

    m = wingspan.map(printing, [1], pool="local")
    until(lambda: m.stdout(0) == "a line\n", "the line")
    gate.open()
    m.wait()


def test_print_before_a_crash_is_kept():
    """What a component printed before it died is not lost."""

    def crash(x):
        print("last words")
        os._exit(1)

    m = wingspan.map(crash, [1], pool="local")
    m.wait(errors_ok=True)
    assert m.stdout(0) == "last words\n"


def test_what_is_printed_past_python_is_kept():
    """C code and child processes print to descriptor 1 itself: nothing of it is lost, however fast the
    components are.
    """

    def prints(x):
        os.write(1, b"line %d\n" % x)
        return x

    m = wingspan.map(prints, range(500), pool="local", options=wingspan.Options(workers=1))
    m.wait(PATIENCE)
    lines = "".join(m.stdout(component) for component in m.components).splitlines()
    assert lines == [f"line {x}" for x in range(500)]
    assert m.stdout(499) == "line 499\n"  # once that is noticed, each has its own
    assert m.stdout(3) == "line 3\n"


def test_a_function_may_close_standard_output():
    """That is its own business: its result counts."""

    def closes(x):
        os.close(1)
        return x

    m = wingspan.map(closes, [5], pool="local")
    m.wait(PATIENCE)
    assert m[0] == 5


def test_what_was_printed_does_not_fill_the_scratch_disk(monkeypatch):
    """An executor that has printed much makes way for another; what it printed, and the state of things,
    is whole.
    """
    from wingspan.worker import supervisor

    monkeypatch.setattr(supervisor, "PRINTED_BYTES", 10_000)

    def prints(x):
        print(f"{x:04d}" * 1000)
        return os.getpid()

    m = wingspan.map(prints, range(12), pool="local", options=wingspan.Options(workers=0, block_size=1))
    assert work("file", str(m.path), 0) == 0
    pids = list(m)
    assert len(set(pids)) in (3, 4)  # each is sent ahead one or two components more than it would need
    assert [m.stdout(x) for x in range(12)] == [f"{x:04d}" * 1000 + "\n" for x in range(12)]


def test_what_is_printed_belongs_to_its_component():
    """stdout and stderr are kept a component, from Python, C and child processes alike."""

    def printing(x):
        print("out", x)
        print("err", x, file=sys.stderr)
        os.write(1, b"raw\n")
        os.system(f"echo child {x}")
        return x

    m = wingspan.map(printing, range(4), pool="local")
    m.wait()
    for x in range(4):
        assert sorted(m.stdout(x).splitlines()) == sorted([f"out {x}", "raw", f"child {x}"])
        assert m.stderr[x] == f"err {x}\n"
    assert m.stdout[-1] == m.stdout(3)
    assert len(m.stdout) == 4
    assert m.stderr[1:3] == ["err 1\n", "err 2\n"]


def test_what_is_printed_can_be_read_while_it_runs(gate):
    """What a running component has flushed is seen before it ends."""
    wait = gate.wait

    def printing(x):
        print("started ünïcode", flush=True)
        wait()
        print("ended")

    m = wingspan.map(printing, [1], pool="local")
    until(lambda: m.stdout(0) == "started ünïcode\n", "the first line")
    assert not m.is_done
    gate.open()
    m.wait()
    assert m.stdout(0) == "started ünïcode\nended\n"


def test_bytes_that_are_no_text_do_not_fail_stdout():
    """Output that is no UTF-8 is shown with replacement characters."""
    m = wingspan.map(lambda x: os.write(1, b"\xff\xfe ok"), [1], pool="local")
    m.wait()
    assert m.stdout(0).endswith(" ok")
