"""The end of a worker: its executor ends as a script does, with its threads, exit functions and open
files.
"""

from __future__ import annotations

import atexit
import gzip
import os
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wingspan
from _waiting import PATIENCE, until
from _worker import work
from wingspan.maps import ComponentStatus

ONE = wingspan.Options(workers=1)
pools = pytest.mark.parametrize("pool", ["local", pytest.param("personal", marks=pytest.mark.htcondor)])


@pytest.fixture(autouse=True)
def a_pool(request: pytest.FixtureRequest, data_dir: Path) -> None:
    """The session's personal pool, for the tests that use it."""
    if (
        getattr(request.node, "callspec", None) is not None
        and "personal" in request.node.callspec.params.values()
    ):
        personal = request.getfixturevalue("personal_pool")
        data_dir.mkdir(parents=True, exist_ok=True)
        (data_dir / "personal-pool").symlink_to(personal.directory)


def ended(m: wingspan.Map[Any]) -> bool:
    """No worker is at work."""
    return m.status().workers.keys() <= {"completed", "removed"}


@pools
def test_open_files_are_written_to_their_end(pool: str, tmp_path: Path) -> None:
    """What a component leaves open in a global is closed when the worker is done: a text file, and a
    compressed one with its last bytes.
    """
    plain, packed = tmp_path / "plain", tmp_path / "packed.gz"

    def leaves_open(number: int) -> int:
        global _kept
        if number == 0:
            _kept = plain.open("w"), gzip.open(packed, "wb")
        _kept[0].write(f"line {number}\n")
        _kept[1].write(b"%d\n" % number)
        return number

    m = wingspan.map(leaves_open, range(3), pool=pool, options=ONE)
    assert list(m) == [0, 1, 2]
    # On the personal pool the worker waits for other maps, and its job may end before its old executor.
    until(lambda: plain.read_text() == "line 0\nline 1\nline 2\n", plain.read_text)

    def unpacked() -> bytes:
        try:
            return gzip.decompress(packed.read_bytes())
        except EOFError:
            return b""  # its end is not there yet

    until(lambda: unpacked() == b"0\n1\n2\n", packed.read_bytes)


@pools
def test_exit_functions_are_called_and_threads_end(pool: str, tmp_path: Path) -> None:
    """Threads come to their end, then functions of atexit are called; what they print belongs to the last
    component.
    """

    def last_words() -> None:
        time.sleep(0.3)
        print("thread")

    def registers(number: int) -> int:
        if number == 1:
            atexit.register(print, "exit function")
            atexit.register((tmp_path / "told").touch)
            threading.Thread(target=last_words).start()
        return number

    m = wingspan.map(registers, range(3), pool=pool, options=ONE)
    assert list(m) == [0, 1, 2]
    # On the personal pool the worker waits for other maps, and its job may end before its old executor.
    until((tmp_path / "told").exists, lambda: m.status())
    until(lambda: m.stdout(2) == "thread\nexit function\n", lambda: m.stdout(2))


@pools
def test_no_result_waits_for_it(
    pool: str, gate: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All outputs are there, and the map is done, while an exit function is still at it."""
    monkeypatch.setenv("WINGSPAN_END_SECONDS", str(PATIENCE))

    def registers(number: int) -> int:
        def slow() -> None:
            (tmp_path / "begun").touch()
            gate.wait()
            (tmp_path / "over").touch()

        atexit.register(slow)
        return number

    m = wingspan.map(registers, [7], pool=pool, options=ONE)
    assert list(m) == [7]
    until(lambda: (tmp_path / "begun").exists(), "the exit function")
    assert m.is_done
    assert not (tmp_path / "over").exists()
    gate.open()
    until((tmp_path / "over").exists, "the end of the exit function")


def test_what_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A thread that never ends is killed with its process after the limit, and the last component's
    standard error says so.
    """
    monkeypatch.setenv("WINGSPAN_END_SECONDS", "0.5")

    def starts(number: int) -> int:
        threading.Thread(target=time.sleep, args=(100_000,)).start()
        return os.getpid()

    m = wingspan.map(starts, range(2), pool="local", options=wingspan.Options(workers=0))
    assert work("file", str(m.path), 0) == 0
    assert not Path(f"/proc/{m[0]}").exists()
    assert m.stderr(0) == ""
    assert "the process was killed, as it had not ended" in m.stderr(1)


def test_who_removes_the_map_does_not_wait_long(tmp_path: Path) -> None:
    """A map whose worker is busy with its end can be removed, and the process is gone."""

    def starts(number: int) -> int:
        atexit.register((tmp_path / "begun").touch)
        threading.Thread(target=time.sleep, args=(100_000,)).start()
        atexit.register(time.sleep, 100_000)
        return os.getpid()

    m = wingspan.map(starts, [0], pool="local", options=ONE)
    pid = m[0]
    m.remove()
    assert not Path(f"/proc/{pid}").exists()
    assert not m.path.exists()


def test_the_next_function_does_not_wait_for_the_last_one(
    gate: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """While exit functions of one function are at it, the worker calls the next function of the map."""
    monkeypatch.setenv("WINGSPAN_END_SECONDS", str(PATIENCE))

    def first(number: int) -> str:
        if number == 1:
            (tmp_path / "second component").touch()
            gate.wait()
        atexit.register(until, (tmp_path / "second function").exists, "a component of the second function")
        return "first"

    def second(number: int) -> str:
        (tmp_path / "second function").touch()
        return "second"

    m = wingspan.map(first, range(2), pool="local", options=wingspan.Options(workers=1, block_size=1))
    until(lambda: m.statuses[0] is ComponentStatus.COMPLETED, "the first output")
    until((tmp_path / "second component").exists, "the second component")
    m.rerun([0], function=second)
    gate.open()
    assert list(m) == ["second", "first"]


def test_a_crash_at_the_end_is_no_error(tmp_path: Path) -> None:
    """A process that dies while it ends has done its components: outputs stay, the worker goes on to its
    own end.
    """

    def registers(number: int) -> int:
        atexit.register(os.kill, os.getpid(), 11)
        return number

    m = wingspan.map(registers, range(3), pool="local", options=ONE)
    assert list(m) == [0, 1, 2]
    until(lambda: ended(m), "the worker's end")
    assert not m.errors
