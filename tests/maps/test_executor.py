"""`wingspan.Executor`: what `concurrent.futures` promises, and what becomes of it when something dies."""

from __future__ import annotations

import concurrent.futures as futures
import gc
import importlib
import operator
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wingspan
from _waiting import PATIENCE, until
from wingspan import Executor, Options


class OwnError(Exception):
    def __init__(self, code: int, *, where: str) -> None:
        super().__init__(code, where)
        self.code, self.where = code, where


def fails(code: int) -> None:
    raise OwnError(code, where="there")


@pytest.fixture
def executor() -> Iterator[Executor]:
    """One worker on this machine."""
    with Executor(1, pool="local") as made:
        yield made


def the_map() -> wingspan.Map:
    """The only map that there is."""
    (tag,) = wingspan.tags()
    return wingspan.load(tag)


def test_calls_on_each_pool(engine: str) -> None:
    """Outcomes, errors and the end are alike on each engine."""
    with Executor(1, pool=engine) as executor:
        first, second = executor.submit(pow, 2, exp=5), executor.submit(fails, 3)
        assert first.result(PATIENCE) == 32
        assert isinstance(second.exception(PATIENCE), OwnError)
        assert list(executor.map(operator.add, [1, 2], [3, 4])) == [4, 6]
    assert wingspan.tags() == ()


def test_an_error_is_the_functions_own(executor: Executor) -> None:
    """Class, arguments and attributes are kept; the remote traceback is the cause."""
    with pytest.raises(OwnError) as raised:
        executor.submit(fails, 7).result(PATIENCE)
    assert (raised.value.args, raised.value.code, raised.value.where) == ((7, "there"), 7, "there")
    assert isinstance(raised.value.__cause__, wingspan.RemoteTraceback)
    assert "in fails" in "".join(traceback.format_exception(raised.value))


def test_a_crash_is_the_error_of_its_call_alone(executor: Executor) -> None:
    """Unlike a process pool of the standard library, the executor goes on."""
    crashed, after = executor.submit(os._exit, 3), executor.submit(abs, -1)
    error = crashed.exception(PATIENCE)
    assert isinstance(error, wingspan.ComponentError)
    assert "exited with code 3" in str(error)
    assert after.result(PATIENCE) == 1


def test_what_cannot_travel_is_the_error_of_its_future(executor: Executor) -> None:
    """It names the culprit; calls before and after it are done."""
    before = executor.submit(abs, -1)
    lock = __import__("threading").Lock()
    refused = executor.submit(abs, [1, lock])
    assert isinstance(refused.exception(0), wingspan.NotPicklable)
    assert "lock" in str(refused.exception())
    assert [before.result(PATIENCE), executor.submit(abs, -2).result(PATIENCE)] == [1, 2]


def test_large_arguments_and_outputs(executor: Executor) -> None:
    """Arguments and outputs of some megabytes arrive whole, between small ones."""
    large = os.urandom(3 << 20)
    calls = [executor.submit(bytes.join, b"", [large, b"x"]), executor.submit(len, large)]
    whole = calls[0].result(PATIENCE) == large + b"x"  # pytest would compare them byte by byte
    assert whole
    assert calls[1].result(PATIENCE) == len(large)


def test_a_thousand_futures_at_once() -> None:
    """They are all done, each once, and `as_completed`, `wait` and callbacks see each of them."""
    seen: list[int] = []
    with Executor(2, pool="local") as executor:
        calls = {executor.submit(operator.neg, number): number for number in range(1000)}
        for call in calls:
            call.add_done_callback(lambda done: seen.append(-done.result()))
        assert {-done.result() for done in futures.as_completed(calls, PATIENCE)} == set(range(1000))
        assert not futures.wait(calls, PATIENCE).not_done
    assert sorted(seen) == list(range(1000))


def test_map_takes_several_iterables_in_chunks(executor: Executor) -> None:
    """The shortest ends it, the order is kept, and a StopIteration in a chunk does not swallow outputs."""
    sums = list(executor.map(operator.add, range(7), range(100, 110), chunksize=3))
    assert sums == [100, 102, 104, 106, 108, 110, 112]
    with pytest.raises(RuntimeError, match="raised StopIteration"):
        list(executor.map(next, [iter([1]), iter([])], chunksize=2))
    with pytest.raises(ValueError, match="chunksize"):
        executor.map(abs, [1], chunksize=0)


def test_timeouts(executor: Executor, gate: SimpleNamespace) -> None:
    """`result` and `map` wait no longer than they are told to, and the call goes on."""
    call = executor.submit(gate.wait)
    with pytest.raises(futures.TimeoutError):
        call.result(0.01)
    with pytest.raises(futures.TimeoutError):
        list(executor.map(abs, [-1], timeout=0.01))
    gate.open()
    assert call.result(PATIENCE) is None


def test_cancel_takes_back_what_no_worker_has_begun(
    executor: Executor, gate: SimpleNamespace, tmp_path: Path
) -> None:
    """A call behind another one is never done once it was cancelled; one that runs cannot be cancelled."""
    running = executor.submit(gate.wait)
    until(running.running, "a call that runs")
    waiting = executor.submit((tmp_path / "done").touch)
    after = executor.submit(abs, -1)
    assert not waiting.running()
    assert waiting.cancel()
    assert waiting.cancel()
    assert not running.cancel()
    assert futures.wait([waiting]).done == {waiting}
    gate.open()
    assert after.result(PATIENCE) == 1
    assert running.result(PATIENCE) is None
    assert not (tmp_path / "done").exists()
    with pytest.raises(futures.CancelledError):
        waiting.result()


def test_shutdown_can_cancel_what_waits(gate: SimpleNamespace) -> None:
    """`cancel_futures` leaves what runs to its end, and cancels the rest; nothing is left on disk."""
    executor = Executor(1, pool="local")
    running = executor.submit(gate.wait)
    until(running.running, "a call that runs")
    waiting = [executor.submit(abs, -1) for _ in range(20)]
    executor.shutdown(wait=False, cancel_futures=True)
    assert all(call.cancelled() for call in waiting)
    gate.open()
    executor.shutdown()
    assert running.result(0) is None
    assert wingspan.tags() == ()
    with pytest.raises(RuntimeError, match="cannot schedule new futures after shutdown"):
        executor.submit(abs, -1)


def test_an_executor_that_nobody_has_ends(gate: SimpleNamespace) -> None:
    """Without `shutdown`, its calls are done all the same, and its map goes."""
    executor = Executor(1, pool="local")
    call = executor.submit(abs, -1)
    del executor
    gc.collect()
    assert call.result(PATIENCE) == 1
    until(lambda: wingspan.tags() == (), "its map is removed")


def test_the_end_of_the_interpreter_waits_for_calls(other_python: Callable[..., Any], tmp_path: Path) -> None:
    """A script that ends with calls in flight gets them done, callbacks too; then none can be submitted."""
    done = other_python(
        """
import atexit, time, wingspan
executor = wingspan.Executor(1, pool="local")
def too_late():
    try:
        executor.submit(abs, 1)
    except RuntimeError as error:
        print(error)
atexit.register(too_late)
executor.submit(lambda: time.sleep(0.2) or 5).add_done_callback(lambda call: print(call.result()))
"""
    )
    assert done.stdout.split("\n")[:2] == ["5", "cannot schedule new futures after interpreter shutdown"]
    assert done.stderr == ""
    assert wingspan.tags() == ()


def test_ctrl_c_leaves_the_executor_whole(other_python: Callable[..., Any]) -> None:
    """An interrupt ends the waiting and nothing else: the same call is done, and others after it."""
    done = other_python(
        """
import os, signal, threading, time, wingspan
with wingspan.Executor(1, pool="local") as executor:
    call = executor.submit(lambda: time.sleep(0.5) or 1)
    threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
    try:
        while True:
            call.result()
            time.sleep(0.01)
    except KeyboardInterrupt:
        print("interrupted")
    print(call.result(), executor.submit(abs, -2).result())
"""
    )
    assert done.stdout == "interrupted\n1 2\n"
    assert wingspan.tags() == ()


def test_interrupts_at_any_moment_lose_no_call(other_python: Callable[..., Any]) -> None:
    """While calls are submitted, exceptions come at random moments: each future that was answered is done."""
    done = other_python(
        """
import operator, signal, wingspan
class Now(BaseException):
    pass
def interrupt(number, frame):
    raise Now
signal.signal(signal.SIGALRM, interrupt)
with wingspan.Executor(2, pool="local") as executor:
    executor.submit(abs, 0).result()
    calls = {}
    number = 0
    while number < 300:
        number += 1
        try:
            signal.setitimer(signal.ITIMER_REAL, 0.00002 * (number % 40 + 1))
            call = executor.submit(operator.neg, number)
            signal.setitimer(signal.ITIMER_REAL, 0)
            calls[number] = call
        except Now:
            continue
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
    print(all(call.result() == -number for number, call in calls.items()), len(calls) < 300)
"""
    )
    assert done.stdout == "True True\n"


def test_calls_of_a_killed_process_are_kept(
    other_python: Callable[..., Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """After a kill -9 the calls that were submitted are done, a later session reads them, and the workers
    leave."""
    monkeypatch.setenv("WINGSPAN_LEASE_SECONDS", "2")
    other_python(
        """
import os, sys, time, wingspan
executor = wingspan.Executor(1, pool="local")
for number in range(3):
    executor.submit(lambda number=number: time.sleep(0.1) or number)
os.kill(os.getpid(), 9)
""",
        check=False,
    )
    m = the_map()
    m.wait(timeout=PATIENCE)
    assert list(m) == [0, 1, 2]
    until(lambda: m.status().workers.keys() <= {"completed"}, "the workers leave")


def test_others_may_look_at_an_open_map(executor: Executor) -> None:
    """Another process sees its calls as components; it is never taken for complete while calls may come."""
    assert executor.submit(abs, -1).result(PATIENCE) == 1
    m = the_map()
    assert (len(m), m[0], m.function_name) == (1, 1, "Executor")
    assert wingspan.clean() == ()
    with pytest.raises(wingspan.MapTimeout):
        m.wait(timeout=0.01)
    assert executor.submit(abs, -2).result(PATIENCE) == 2
    m.status()
    assert list(m) == [1, 2]


def test_own_modules_that_later_calls_need_travel(
    executor: Executor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A function of an own module that the first calls knew nothing of is called like any other."""
    monkeypatch.syspath_prepend(str(tmp_path))
    assert executor.submit(abs, -1).result(PATIENCE) == 1
    (tmp_path / "mine_of_later.py").write_text("def twice(x):\n    return 2 * x\n")
    importlib.invalidate_caches()
    twice = importlib.import_module("mine_of_later").twice
    assert [executor.submit(twice, number).result(PATIENCE) for number in range(3)] == [0, 2, 4]
    assert len(wingspan.tags()) <= 2


def test_a_call_whose_worker_is_killed_is_done_again(executor: Executor, tmp_path: Path) -> None:
    """kill -9 of the worker costs time, and no call."""

    def call() -> int:
        with (tmp_path / "begun").open("a") as file:
            file.write(f"{os.getppid()}\n")
        while len((tmp_path / "begun").read_text().splitlines()) < 2:
            time.sleep(0.01)
        return 1

    future = executor.submit(call)
    worker = int(until(lambda: (tmp_path / "begun").exists() and (tmp_path / "begun").read_text(), "a start"))
    os.kill(worker, signal.SIGKILL)
    assert future.result(PATIENCE) == 1


def test_retries(tmp_path: Path) -> None:
    """`Options(retries=…)` holds for calls."""

    def once_bad() -> int:
        if not (tmp_path / "tried").exists():
            (tmp_path / "tried").touch()
            raise OwnError(1, where="here")
        return 2

    with Executor(1, pool="local", options=Options(retries=1)) as executor:
        assert executor.submit(once_bad).result(PATIENCE) == 2


def test_a_map_that_somebody_removes(executor: Executor, gate: SimpleNamespace) -> None:
    """Its calls fail with `MapRemoved`; calls after that are done."""
    call = executor.submit(gate.wait)
    until(call.running, "a call that runs")
    the_map().remove()
    assert isinstance(call.exception(PATIENCE), wingspan.MapRemoved)
    assert executor.submit(abs, -1).result(PATIENCE) == 1


@pytest.mark.parametrize(
    "engine", ["local", pytest.param("personal", marks=pytest.mark.htcondor)], indirect=True
)
def test_workers_that_somebody_takes_away(engine: str, gate: SimpleNamespace) -> None:
    """The futures say so, and so does the executor when it is given calls."""
    with Executor(1, pool=engine) as executor:
        call = executor.submit(gate.wait)
        until(call.running, "a call that runs")
        the_map().cancel()
        assert isinstance(call.exception(PATIENCE), wingspan.ComponentRemoved)
        with pytest.raises(wingspan.ExecutorBroken) as raised:
            executor.submit(abs, -1)
        assert isinstance(raised.value, futures.BrokenExecutor)


@pytest.mark.parametrize("most", [1, 4], ids=["each call", "a few calls"])
def test_a_full_map_gives_way_to_another(monkeypatch: pytest.MonkeyPatch, most: int) -> None:
    """An executor may live for more calls than one map takes; maps whose calls are done go."""
    monkeypatch.setattr("wingspan.worker.coming.MOST", most)
    with Executor(1, pool="local") as executor:
        outputs = [executor.submit(operator.neg, number).result(PATIENCE) for number in range(5)]
        assert outputs == [0, -1, -2, -3, -4]
        until(lambda: len(wingspan.tags()) == 1, "only the newest map is left")


def test_bad_arguments() -> None:
    """What cannot be meant is refused at once."""
    with pytest.raises(ValueError, match="max_workers must be greater than 0"):
        Executor(0, pool="local")
    with pytest.raises(wingspan.SettingsError, match="options is a dict"):
        Executor(pool="local", options={})  # type: ignore[arg-type]
    with pytest.raises(wingspan.SettingsError, match="workers=0"):
        Executor(pool="local", options=Options(workers=0))
    with pytest.raises(wingspan.SettingsError, match="cannot go by them"):
        Executor(pool="local", options=Options(request_memory=["1GB"]))
    with pytest.raises(wingspan.WingspanError):
        Executor(pool="nowhere")
    with pytest.raises(TypeError):
        Executor(1, pool="local").submit()  # type: ignore[call-arg]


def test_nothing_is_started_for_an_executor_without_calls() -> None:
    """It is made and ended without a worker and without a map."""
    with Executor(pool="local"):
        assert wingspan.tags() == ()
    assert "wingspan.Executor" not in [thread.name for thread in sys.modules["threading"].enumerate()]
