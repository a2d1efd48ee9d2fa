"""Processes that components leave behind, and what is printed past Python."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

import wingspan
from _waiting import PATIENCE, until

ONE = wingspan.Options(workers=1)


def is_there(pid):
    """It runs: it is neither gone nor only waiting to be collected."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/stat", "rb") as file:  # noqa: PTH123
        return file.read().rpartition(b")")[2].split()[0] not in (b"Z", b"X")
    return False


def _starts(how):
    """Leave a process behind: its number."""
    if how == "child":
        return subprocess.Popen(["sleep", "600"]).pid
    if how == "own session":
        return subprocess.Popen(["sleep", "600"], start_new_session=True).pid
    if how == "shell":
        done = subprocess.run(
            ["sh", "-c", "sleep 600 >/dev/null 2>&1 & echo $!"], stdout=subprocess.PIPE, check=True
        )
        return int(done.stdout)
    if how == "pool":
        import concurrent.futures

        global _kept
        _kept = concurrent.futures.ProcessPoolExecutor(1)
        return _kept.submit(os.getpid).result()
    read, write = os.pipe()  # a daemon, by the book
    if os.fork() == 0:
        os.setsid()
        if os.fork() == 0:
            for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
                signal.signal(number, signal.SIG_IGN)
            os.write(write, b"%d" % os.getpid())
            os.closerange(0, 100)
            time.sleep(600)
        os._exit(0)
    os.wait()
    return int(os.read(read, 20))


WAYS = ["child", "own session", "shell", "pool", "daemon"]


@pytest.mark.parametrize("how", WAYS)
def test_what_a_component_leaves_behind_is_gone_with_its_map(how):
    """A process that outlives its component ends with the map's work, as with a job of HTCondor; until
    then it runs.
    """
    m = wingspan.map(_starts, [how], pool="local", options=ONE)
    pid = m.get(0, timeout=PATIENCE)
    until(lambda: not is_there(pid), f"the end of {how}")


def test_it_runs_as_long_as_the_work(gate):
    """What one component starts is there for the next ones."""

    def component(x):
        if x == 0:
            return _starts("daemon")
        gate.wait()
        return None

    m = wingspan.map(component, range(2), pool="local", options=ONE)
    pid = m.get(0, timeout=PATIENCE)
    assert is_there(pid)
    gate.open()
    m.wait(PATIENCE)
    until(lambda: not is_there(pid), "its end")


@pytest.mark.parametrize("how", ["held", "removed", "killed"])
def test_it_is_gone_however_the_worker_ends(how, gate, tmp_path):
    """A worker that is held, removed, or killed by an operator takes with it what its components left
    behind: processes, and the folders that it made for them.
    """

    def component(x):
        if x == 0:
            return [os.getppid(), *map(_starts, ("own session", "daemon"))]
        (tmp_path / "told").symlink_to(wingspan.component().scratch)
        gate.wait()
        return None

    m = wingspan.map(component, range(2), pool="local", options=ONE)
    supervisor, *left = m.get(0, timeout=PATIENCE)
    until((tmp_path / "told").is_symlink, "its folder")
    folder = (tmp_path / "told").readlink()
    assert all(map(is_there, left))
    if how == "held":
        m.hold()
    elif how == "removed":
        m.remove()
    else:
        os.kill(supervisor, signal.SIGKILL)
    until(lambda: not any(map(is_there, left)), "their end")
    until(lambda: not folder.exists(), "its folder to be removed")
    gate.open()


def test_a_map_made_by_a_component_goes_on(gate, tmp_path):
    """Workers of a map that a component makes are not taken for processes that it left behind."""

    def outer(_):
        wingspan.map(inner, range(2), pool="local", options=wingspan.Options(workers=1), tag="inner")

    def inner(x):
        gate.wait()
        return x

    wingspan.map(outer, [0], pool="local", options=ONE).wait(PATIENCE)
    m = wingspan.load("inner")
    gate.open()
    assert [m.get(x, timeout=PATIENCE) for x in range(2)] == [0, 1]
    assert {measures.worker for measures in m.runtimes.values()} == {"0.0"}


def _libc():
    return ctypes.CDLL(None)


def _prints(x):
    """By every way there is, in order."""
    print("print", x)
    _libc().printf(b"printf %d\n", x)
    print("original", x, file=sys.__stdout__)
    os.write(1, b"write %d\n" % x)
    before, sys.stdout = sys.stdout, sys.__stdout__
    print("instead", x)
    sys.stdout = before
    subprocess.run(["echo", "command", str(x)], check=True)
    thread = threading.Thread(target=print, args=("thread", x))
    thread.start()
    thread.join()
    subprocess.run(f"echo device {x} >>/dev/stdout", shell=True, check=True)
    handler = logging.StreamHandler(sys.stdout)
    handler.emit(logging.makeLogRecord({"msg": f"logged {x}"}))
    print("partial", end=" ")
    print("line", x, end="")
    return x


def test_everything_printed_is_there_in_order():
    """What C code, the original stream, descriptors, commands, threads and handlers print is the
    component's, in order.
    """
    m = wingspan.map(_prints, range(3), pool="local", options=ONE)
    m.wait(PATIENCE)
    words = ["print", "printf", "original", "write", "instead", "command", "thread", "device", "logged"]
    for x in range(3):
        assert m.stdout(x) == "".join(f"{word} {x}\n" for word in words) + f"partial line {x}"


def test_the_original_stream_stays():
    """After sys.stdout = sys.__stdout__ the output of later components is there, too."""

    def component(x):
        sys.stdout, sys.stderr = sys.__stdout__, sys.__stderr__
        print("out", x)
        print("err", x, file=sys.stderr)

    m = wingspan.map(component, range(3), pool="local", options=ONE)
    m.wait(PATIENCE)
    assert [m.stdout(x) for x in range(3)] == [f"out {x}\n" for x in range(3)]
    assert [m.stderr(x) for x in range(3)] == [f"err {x}\n" for x in range(3)]


def test_a_stream_of_the_users_own_is_flushed():
    """What is printed to a buffered stream that stands in for sys.stdout is its component's."""

    def component(x):
        if x == 0:
            sys.stdout = os.fdopen(1, "w", closefd=False)
        print("own", x)

    m = wingspan.map(component, range(3), pool="local", options=ONE)
    m.wait(PATIENCE)
    assert [m.stdout(x) for x in range(3)] == [f"own {x}\n" for x in range(3)]


@pytest.mark.parametrize("way", ["printf", "write", "original", "err"])
def test_of_many_fast_components_the_right_one_has_printed(way):
    """Among thousands of components that take no time, what one prints past Python is found with it."""

    def component(x):
        if x % 777 == 5:
            if way == "printf":
                _libc().printf(b"%d", x)
            elif way == "write":
                os.write(1, b"%d" % x)
            elif way == "err":
                os.write(2, b"%d" % x)
            else:
                print(x, end="", file=sys.__stdout__)
        return x

    m = wingspan.map(
        component, range(5000), pool="local", options=wingspan.Options(workers=1, block_size=5000)
    )
    assert list(m) == list(range(5000))
    printed = m.stderr if way == "err" else m.stdout
    assert {x: printed(x) for x in range(5000) if printed(x)} == {x: str(x) for x in range(5, 5000, 777)}
