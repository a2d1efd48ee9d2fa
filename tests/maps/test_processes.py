"""Components and processes: what they fork off, what they find set, where they are."""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wingspan
from _waiting import PATIENCE
from wingspan.worker.executor import THREAD_LIMITS

ONE = wingspan.Options(workers=1)


def _forks(how):
    """Let a forked child end in the way `how`: what its parent is told of it
    (`os.waitstatus_to_exitcode`).
    """
    pid = os.fork()
    if pid:
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    kind, value = how
    if kind == "exit":
        sys.exit(value)
    if kind == "_exit":
        os._exit(value)
    if kind == "raise":
        raise ValueError(value)
    if kind == "interrupt":
        raise KeyboardInterrupt
    if kind == "atexit":
        import atexit

        atexit.register(os._exit, value)
    return None


@pytest.mark.parametrize("fast", [False, True])
def test_a_forked_child_ends_as_in_a_script(fast):
    """The exit code of a child is what it would be without Wingspan: of sys.exit, of an exception, of a
    return.
    """
    given_codes = {
        ("exit", 4): 4,
        ("exit", None): 0,
        ("exit", 256 + 3): 3,
        ("exit", "words"): 1,
        ("_exit", 9): 9,
        ("raise", 1): 1,
        ("interrupt", 0): -2,
        ("atexit", 7): 7,
        ("return", 0): 0,
    }

    def component(how):
        return _forks(how) if how else 0

    inputs = [None] * (500 if fast else 0) + list(given_codes)
    m = wingspan.map(component, inputs, pool="local", options=ONE)
    m.wait(PATIENCE)
    assert (
        dict(zip(inputs[-len(given_codes) :], m[len(inputs) - len(given_codes) :], strict=True))
        == given_codes
    )
    assert "ValueError: 1" in m.stderr(inputs.index(("raise", 1)))
    assert "words" in m.stderr(inputs.index(("exit", "words")))


@settings(max_examples=int(os.environ.get("WINGSPAN_EXAMPLES", "3")))
@given(st.lists(st.tuples(st.sampled_from(["exit", "_exit"]), st.integers(0, 255)), min_size=1, max_size=20))
def test_every_exit_code_comes_through(ways):
    """Whatever code a child ends with, its parent is told that one."""
    m = wingspan.map(_forks, ways, pool="local", options=ONE)
    assert list(m) == [code for _, code in ways]
    m.remove()


def _limits(_):
    return {name: os.environ.get(name) for name in THREAD_LIMITS}


def test_libraries_start_as_many_threads_as_cores_were_asked_for(monkeypatch):
    """The variables that such libraries read say request_cpus, but for those that the user has set."""
    for name in THREAD_LIMITS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MKL_NUM_THREADS", "7")
    m = wingspan.map(_limits, [0], pool="local", options=wingspan.Options(workers=1, request_cpus=3))
    assert m[0] == {**dict.fromkeys(THREAD_LIMITS, "3"), "MKL_NUM_THREADS": "7"}


def test_a_warm_worker_takes_the_next_maps_number_of_cores(monkeypatch):
    """A worker that stayed from a map that asked for other cores obeys the new one."""
    for name in THREAD_LIMITS:
        monkeypatch.delenv(name, raising=False)
    for cores in (1, 2):
        m = wingspan.map(_limits, [0], pool="local", options=wingspan.Options(workers=1, request_cpus=cores))
        assert set(m[0].values()) == {str(cores)}


def test_a_blas_has_so_many_threads():
    """numpy's own BLAS has one thread in a component of one core."""
    threadpoolctl = pytest.importorskip("threadpoolctl")
    pytest.importorskip("numpy")

    def threads(_):
        import numpy  # noqa: F401

        return [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]

    m = wingspan.map(threads, [0], pool="local", options=ONE)
    assert set(m[0]) == {1}


@pytest.mark.parametrize("odd", [Path("/somewhere"), None, 7, b"/bytes"])
def test_anything_may_be_in_the_path(monkeypatch, odd):
    """What Python takes no notice of in sys.path does not keep a map from being made."""
    monkeypatch.setattr(sys, "path", [*sys.path, odd])
    assert wingspan.map(lambda x: x, [1], pool="local", options=ONE)[0] == 1


@pytest.mark.parametrize("where", ["not-there", "a-file"])
def test_a_tmpdir_that_is_no_folder(monkeypatch, tmp_path, where):
    """A TMPDIR that is not there is passed over, as the module tempfile does."""
    (tmp_path / "a-file").touch()
    monkeypatch.setenv("TMPDIR", str(tmp_path / where))
    m = wingspan.map(lambda x: print("said") or x, [1], pool="local", options=ONE)
    assert m[0] == 1
    assert m.stdout(0) == "said\n"


def test_a_folder_that_is_no_more(monkeypatch, tmp_path):
    """A session whose current folder was removed can make maps."""
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert wingspan.map(lambda x: x, [1], pool="local", options=ONE)[0] == 1


@pytest.mark.parametrize("warm", [True, False])
def test_an_environment_larger_than_a_socket_takes(monkeypatch, warm):
    """A worker hears of all its environment, also when that is larger than what the kernel lets a process
    start with.
    """
    if warm:
        assert wingspan.map(lambda x: x, [1], pool="local", options=ONE)[0] == 1
    else:
        monkeypatch.setenv("WINGSPAN_IDLE_SECONDS", "7")  # a kind of worker that nobody has started yet
    for number in range(100):
        monkeypatch.setenv(f"LARGE_{number}", f"{number}" * 50_000)
    m = wingspan.map(lambda x: os.environ["LARGE_99"], [1], pool="local", options=ONE)
    assert m.get(0, timeout=PATIENCE) == "99" * 50_000


@pytest.mark.slow
def test_more_attempts_than_a_byte_counts():
    """A component may fail some hundred times and come through at last."""

    def component(place):
        with open(place, "a") as file:  # noqa: PTH123
            file.write("x")
        if os.path.getsize(place) < 270:  # noqa: PTH202
            raise ValueError("again")
        return os.path.getsize(place)  # noqa: PTH202

    import tempfile

    with tempfile.NamedTemporaryFile() as file:
        m = wingspan.map(
            component, [file.name], pool="local", options=wingspan.Options(workers=1, retries=300)
        )
        assert m.get(0, timeout=2 * PATIENCE) == 270


def test_a_crash_is_noticed_while_a_child_of_it_lives():
    """A component that dies and leaves a child process behind is that component's error all the same."""

    def leave_child(x):
        if os.fork() == 0:
            time.sleep(600)
            os._exit(0)
        os._exit(5)

    m = wingspan.map(leave_child, [1], pool="local")
    with pytest.raises(wingspan.ComponentError) as caught:
        m.get(0, timeout=PATIENCE)
    assert caught.value.exited_with == 5


def test_a_fork_that_comes_back_from_the_function_is_not_the_executor(tmp_path):
    """A child that the function forks off and lets return takes no inputs, tells no results, calls
    nothing again.
    """

    def forks(x):
        with (tmp_path / "calls").open("a") as file:
            file.write(f"{x}\n")
        if x % 3 == 0:
            os.fork()
        if x % 4 == 0:
            raise ValueError(x)
        return [x]

    m = wingspan.map(forks, range(40), pool="local", options=wingspan.Options(workers=1))
    m.wait(PATIENCE, errors_ok=True)
    got = list(m.iter(return_exceptions=True))
    assert [one for one in got if isinstance(one, list)] == [[x] for x in range(40) if x % 4]
    assert list(m.errors) == list(range(0, 40, 4))
    calls = (tmp_path / "calls").read_text().split()
    assert sorted(map(int, calls)) == list(range(40))


def test_a_fork_of_a_fork_keeps_its_own_files():
    """The numbers of the executor's pipes, closed in a child, are the child's to use: also in what it
    starts in turn.
    """

    def nested(x):
        import multiprocessing
        import os
        import subprocess

        def outer(connection):
            try:
                done = subprocess.run(["cat"], input=b"hello", stdout=subprocess.PIPE, preexec_fn=os.setsid)
                connection.send(done.stdout)
            except BaseException as error:
                connection.send(repr(error))

        context = multiprocessing.get_context("fork")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=outer, args=(there,))
        process.start()
        there.close()
        answer = here.recv()
        process.join()
        return answer

    m = wingspan.map(nested, range(2), pool="local", options=wingspan.Options(workers=1))
    assert list(m) == [b"hello"] * 2


def test_fast_components_may_fork():
    """The same among components that are so fast that their outputs are gathered."""

    def forks(x):
        if x == 700:
            os.fork()
        return x

    m = wingspan.map(forks, range(1000), pool="local", options=wingspan.Options(workers=1))
    m.wait(PATIENCE)
    assert list(m) == list(range(1000))


def test_processes_that_the_function_starts_work():
    """multiprocessing's own children are not touched by that."""

    def squares(n):
        with multiprocessing.get_context("fork").Pool(2) as pool:
            return pool.map(abs, range(-n, 0))

    m = wingspan.map(squares, [3, 2], pool="local")
    m.wait(PATIENCE)
    assert list(m) == [[3, 2, 1], [2, 1]]


def test_a_component_may_make_a_map_itself():
    """A map within a map: what the worker has in its archive is not taken for the user's own modules."""

    def outer(x):
        m = wingspan.map(lambda y: y + x, range(2), pool="local")
        outputs = list(m)
        m.remove()
        return outputs

    m = wingspan.map(outer, [10, 20], pool="local")
    m.wait(PATIENCE)
    assert list(m) == [[10, 11], [20, 21]]
