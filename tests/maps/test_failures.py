"""What becomes of a component that fails: the user's own exception comes back, a crash is its error."""

from __future__ import annotations

import asyncio
import ctypes
import glob
import os
import pickle
import signal
import sys
import threading
import time
import weakref

import pytest

import wingspan
from _waiting import PATIENCE


def error_of(function, given=1, **options):
    """The ComponentError of a map of one input."""
    m = wingspan.map(function, [given], pool="local", options=wingspan.Options(workers=1, **options))
    with pytest.raises(wingspan.ComponentError) as caught:
        m[0]
    assert str(m.errors[0]) == str(caught.value)
    return caught.value


def test_the_user_s_exception_comes_back():
    """`except ZeroDivisionError` works; traceback, host, worker, attempt and input are attached."""

    def divide(x):
        return 1 / x

    m = wingspan.map(divide, [1, 0], pool="local")
    with pytest.raises(ZeroDivisionError) as caught:
        m[1]
    error = caught.value.component_error
    assert str(error) == str(m.errors[1])
    assert isinstance(error.exception, ZeroDivisionError)
    assert (error.component, error.type_name, error.given, error.attempt) == (1, "ZeroDivisionError", "0", 1)
    assert error.host
    assert error.worker
    assert "return 1 / x" in error.traceback
    assert "in divide" in error.traceback
    assert error.host in error.report()
    assert isinstance(caught.value.__cause__, wingspan.RemoteTraceback)
    assert "return 1 / x" in str(caught.value.__cause__)
    if sys.version_info >= (3, 11):
        (note,) = caught.value.__notes__
        assert "component 1" in note
        assert "input 0" in note
    assert m[0] == 1


def test_the_remote_traceback_shows_the_chain_and_notes():
    """Cause, context and notes of the remote exception are in its traceback, as Python shows them."""

    def chained(x):
        try:
            {}["key"]
        except KeyError as error:
            after = ValueError("after")
            if hasattr(after, "add_note"):
                after.add_note("noted")
            raise after from error

    m = wingspan.map(chained, [1], pool="local")
    with pytest.raises(ValueError, match="after"):
        m[0]
    text = m.errors[0].traceback
    assert text.index("KeyError") < text.index("direct cause") < text.index("ValueError: after")
    if sys.version_info >= (3, 11):
        assert "noted" in text


def test_source_lines_come_from_the_worker(tmp_path):
    """The remote traceback has the source line even where the file is not on this machine any more."""
    script = tmp_path / "gone.py"
    script.write_text("def vanish(x):\n    raise RuntimeError('from a file that goes')\n")
    namespace = {"__name__": "__main__"}
    exec(compile(script.read_text(), str(script), "exec"), namespace)
    m = wingspan.map(namespace["vanish"], [1], pool="local")
    m.wait(errors_ok=True)
    script.unlink()
    assert "raise RuntimeError('from a file that goes')" in m.errors[0].traceback


HINTS_OF_SIGNALS = {
    "SIGTERM": "request to end",
    "SIGINT": "Ctrl-C",
    "SIGHUP": "terminal",
    "SIGALRM": "timer",
    "SIGVTALRM": "timer",
    "SIGPROF": "timer",
    "SIGPIPE": "nobody reads",
    "SIGXCPU": "processor time",
    "SIGXFSZ": "larger file",
    "SIGUSR1": "SIGUSR1 was sent by the function",
    "SIGKILL": "memory",
    "SIGABRT": "compiled code",
    "SIGSEGV": "compiled code",
}


def test_the_hint_of_a_signal_says_what_likely_sent_it():
    """A component that is ended by a signal names it, and the hint says what sends that one; only faults
    are of compiled code.
    """
    names = list(HINTS_OF_SIGNALS)

    def ends(name):
        number = signal.Signals[name]
        if number is not signal.SIGKILL:
            signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    m = wingspan.map(ends, names, pool="local", options=wingspan.Options(workers=2))
    m.wait(errors_ok=True)
    for component, name in enumerate(names):
        error = m.errors[component]
        assert f"({name})" in error.text
        assert HINTS_OF_SIGNALS[name] in error.hint
        assert ("compiled code" in error.hint) is (name in ("SIGABRT", "SIGSEGV"))


def test_exit_codes_and_signals_of_crashes_are_told():
    """os._exit, SIGKILL and a segmentation fault are that component's error; the others are done."""

    def crash(x):
        print(f"component {x}", flush=True)
        print("last words", file=sys.stderr, flush=True)
        if x == 1:
            os._exit(3)
        if x == 2:
            os.kill(os.getpid(), signal.SIGKILL)
        if x == 3:
            ctypes.string_at(0)
        return x

    m = wingspan.map(crash, range(5), pool="local", options=wingspan.Options(workers=1, block_size=5))
    status = m.wait(errors_ok=True)
    assert status.counts[wingspan.ComponentStatus.ERRORED] == 3
    assert (m[0], m[4]) == (0, 4)
    errors = m.errors
    assert {i: (e.exited_with, e.signal) for i, e in errors.items()} == {
        1: (3, None),
        2: (None, signal.SIGKILL),
        3: (None, signal.SIGSEGV),
    }
    for component, error in errors.items():
        assert error.type_name == "crash"
        assert error.component == component
        assert error.hint
        assert "last words" in error.stderr
        assert "last words" in error.report()
        assert error.peak_memory > 2**20
        assert m.stdout(component) == f"component {component}\n"
        assert "last words" in m.stderr(component)
    assert "request_memory" in errors[2].hint


def test_sys_exit_and_keyboard_interrupt_do_not_end_this_process():
    """SystemExit, KeyboardInterrupt and GeneratorExit of a component are raised as ComponentError."""
    kinds = {"SystemExit": SystemExit, "KeyboardInterrupt": KeyboardInterrupt, "GeneratorExit": GeneratorExit}

    def leave(kind):
        if kind == "sys.exit":
            sys.exit("bye")
        raise kinds[kind]

    m = wingspan.map(leave, ["sys.exit", *kinds], pool="local")
    for i, name in enumerate(["SystemExit", *kinds]):
        with pytest.raises(wingspan.ComponentError, match=name) as caught:
            m[i]
        assert caught.value.type_name == name
    assert "bye" in m.errors[0].text


def test_a_result_that_cannot_be_pickled_names_what_cannot():
    """The error says where in the result the thing is and what it is."""
    error = error_of(lambda x: {"fine": 1, "deep": [0, threading.Lock()]})
    assert "the result['deep'][1]" in error.text
    assert "lock" in error.text
    assert error.hint


def test_an_exception_whose_class_cannot_travel_is_told_as_text():
    """An exception of a class that cannot be pickled is described: type, message and traceback."""

    def fail(x):
        class Locked(Exception):
            lock = threading.Lock()

        raise Locked("why")

    error = error_of(fail)
    assert error.type_name.endswith("Locked")
    assert error.text == "why"
    assert error.exception is None
    assert "could not be sent" in error.message
    assert "raise Locked" in error.traceback


def test_an_input_that_cannot_be_unpickled_is_that_component_s_error():
    """Only that component fails, and the error says that it was the input."""

    class Bad:
        def __reduce__(self):
            return (int, ("not a number",))

    m = wingspan.map(lambda x: x, [1, Bad(), 3], pool="local")
    m.wait(errors_ok=True)
    assert list(m.errors) == [1]
    assert "input" in m.errors[1].hint
    assert (m[0], m[2]) == (1, 3)
    with pytest.raises(ValueError, match="not a number"):
        m[1]


def test_an_input_whose_repr_fails_does_not_hide_the_error():
    """The input's text is best effort: a repr that raises, or is very long, changes nothing else."""

    class Shy:
        def __repr__(self):
            raise RuntimeError("no")

    def fail(x):
        raise ValueError("the real one")

    m = wingspan.map(fail, [Shy(), "x" * 100_000], pool="local")
    m.wait(errors_ok=True)
    for i in range(2):
        with pytest.raises(ValueError, match="the real one"):
            m[i]
    assert "RuntimeError" in m.errors[0].given
    assert len(m.errors[1].given) <= 4000


def test_the_variables_of_the_innermost_frames_are_told():
    """Each as a short text, however large or odd it is; modules, functions and classes are left out."""

    class Odd:
        def __repr__(self):
            raise KeyError("no repr")

    def inner(given, many):
        odd, data, text = Odd(), bytes(1_000_000), "y" * 1_000_000
        raise ValueError(type(odd).__name__, len(data) + len(text))

    def outer(x):
        import os as module

        return inner(x, [module.getpid] * 1_000_000)

    m = wingspan.map(outer, [7], pool="local")
    m.wait(timeout=PATIENCE, errors_ok=True)
    (first, of_outer), (second, of_inner) = m.errors[0].variables
    assert (first, of_outer) == ("outer", {"x": "7"})
    assert (second, list(of_inner)) == ("inner", ["given", "many", "odd", "data", "text"])
    assert of_inner["data"] == "<bytes of length 1000000>"
    assert all(len(text) <= 60 for text in of_inner.values())
    assert "variables of inner: given = 7, many = " in m.errors[0].report()
    assert pickle.loads(pickle.dumps(m.errors[0])).variables == m.errors[0].variables


def test_component_errors_travel_and_can_be_pickled():
    """A ComponentError is the same after pickling: a map's error can be sent to another process."""
    error = error_of(lambda x: os._exit(9), given="the input")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is wingspan.ComponentError
    assert str(again) == str(error)
    assert vars(again) == vars(error)


def test_measures_tell_of_time_and_memory():
    """Wall and CPU seconds and peak memory belong to the component that used them, children included."""

    def work(x):
        import subprocess
        import time

        if x == "sleep":
            time.sleep(0.3)
        if x == "spin":
            end = time.process_time() + 0.3
            while time.process_time() < end:
                pass
        if x == "child":
            subprocess.run(
                [sys.executable, "-c", "import time\nwhile time.process_time() < 0.4: pass"], check=True
            )
        if x == "memory":
            return len(bytearray(300_000_000))
        return None

    inputs = ["sleep", "spin", "child", "memory", "nothing"]
    m = wingspan.map(work, inputs, pool="local", options=wingspan.Options(workers=1))
    m.wait()
    took = dict(zip(inputs, (m.runtimes[i] for i in range(5)), strict=True))
    assert took["sleep"].wall >= 0.3
    assert took["sleep"].cpu < took["sleep"].wall
    assert took["spin"].cpu >= 0.29
    assert took["child"].cpu >= 0.35
    assert took["memory"].peak_memory > 290_000_000
    assert took["nothing"].peak_memory < 200_000_000
    assert m.memory[3] == took["memory"].peak_memory


def test_many_failures_come_as_one_group():
    """`wait` raises one ExceptionGroup of all failures, grouped by kind, with except* for each kind."""

    def fail(x):
        if x % 5 == 0:
            raise ValueError("five divides it")
        if x == 7:
            raise KeyError(x)
        return x

    m = wingspan.map(fail, range(20), tag="many", pool="local")
    with pytest.raises(wingspan.ComponentErrors) as caught:
        m.wait()
    group = caught.value
    assert "5 of 20 components of map 'many' failed" in str(group)
    assert "4 × ValueError: five divides it; first in component 0" in str(group)
    assert "1 × KeyError" in str(group)
    assert "wingspan errors many" in group.hint
    assert sorted(group.errors) == [0, 5, 7, 10, 15]
    assert [type(one) for one in group.exceptions] == [
        ValueError,
        ValueError,
        KeyError,
        ValueError,
        ValueError,
    ]
    values, rest = group.split(ValueError)
    assert len(values.exceptions) == 4
    assert isinstance(values, wingspan.ComponentErrors)
    assert [type(one) for one in rest.exceptions] == [KeyError]
    again = pickle.loads(pickle.dumps(group))
    assert str(again) == str(group)
    assert len(again.exceptions) == 5
    assert m.wait(errors_ok=True).counts[wingspan.ComponentStatus.ERRORED] == 5


@pytest.mark.skipif(sys.version_info < (3, 11), reason="except* is syntax of Python 3.11")
def test_except_star_catches_by_kind():
    """`except* ValueError` around `wait` takes the ValueErrors and leaves the rest."""
    source = """
def run(m):
    caught = []
    try:
        try:
            m.wait()
        except* ValueError as group:
            caught += [str(one) for one in group.exceptions]
    except* ZeroDivisionError as group:
        caught += [type(one).__name__ for one in group.exceptions]
    return caught
"""
    namespace = {}
    exec(source, namespace)
    m = wingspan.map(lambda x: int(x) and 1 / (int(x) - 1), ["a", "0", "1"], pool="local")
    first, second = namespace["run"](m)
    assert "invalid literal" in first
    assert second == "ZeroDivisionError"


@pytest.mark.skipif(sys.version_info < (3, 11), reason="exceptions have notes since Python 3.11")
def test_the_note_of_an_exception_is_there_once():
    """Looking at a failed component many times adds nothing to its exception."""
    m = wingspan.map(lambda x: 1 / x, [0], pool="local")
    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as caught:
            m[0]
        assert len(caught.value.__notes__) == 1


def test_a_cancelled_component_does_not_cancel_its_reader():
    """asyncio.CancelledError of a component is raised as ComponentError: it is not this task that was
    cancelled.
    """

    def cancelled(x):
        raise asyncio.CancelledError

    m = wingspan.map(cancelled, [1], pool="local")
    with pytest.raises(wingspan.ComponentError, match="CancelledError"):
        m[0]


def test_only_what_kills_its_worker_is_given_up(data_dir):
    """A component that takes its supervisor down every time does not take its neighbours with it."""

    files = str(data_dir / "maps/*/results/*")

    def kill_supervisor(x):
        if x == 1:
            while not all(os.path.getsize(path) for path in glob.glob(files)):  # noqa: PTH202, PTH207
                time.sleep(0.01)
            os.kill(os.getppid(), signal.SIGKILL)
            time.sleep(600)
        return x

    m = wingspan.map(
        kill_supervisor, range(5), pool="local", options=wingspan.Options(workers=1, block_size=5)
    )
    m.wait(timeout=PATIENCE, errors_ok=True)
    assert list(m.errors) == [1]
    assert [m[0], *m[2:]] == [0, 2, 3, 4]


@pytest.mark.parametrize("workers", [1, 2])
def test_crashes_among_fast_components_are_attributed_exactly(workers):
    """Of 2,000 fast components exactly those that crash fail, the first and the last among them."""
    bad = {0, 3, 500, 501, 1999}

    def crash(x):
        if x in bad:
            os._exit(1)
        return x

    m = wingspan.map(crash, range(2000), pool="local", options=wingspan.Options(workers=workers))
    m.wait(timeout=PATIENCE, errors_ok=True)
    assert set(m.errors) == bad
    assert all(m[x] == x for x in range(2000) if x not in bad)


def test_many_failures_with_retries_are_not_quadratic():
    """Every other of 20,000 components fails twice: still a matter of a second or two, not of minutes."""

    def odd(x):
        if x % 2:
            raise ValueError(x)
        return x

    m = wingspan.map(odd, range(20_000), tag="half", pool="local", options=wingspan.Options(retries=1))
    status = m.wait(timeout=PATIENCE, errors_ok=True)
    assert status.counts[wingspan.ComponentStatus.ERRORED] == 10_000
    assert m.runtimes[1].attempt == 2
    m.rerun(range(0, 20_000, 2))
    assert m.wait(timeout=PATIENCE, errors_ok=True).is_done


def test_variables_that_raise_when_they_are_asked_for_their_class():
    """The variables told with an error may be dead weak references, or objects that say they are others."""

    class Odd:
        @property
        def __class__(self):
            raise RuntimeError("no class")

    def fail(x):
        odd, gone = Odd(), weakref.proxy(Odd())
        raise ValueError(x, id(odd), type(gone))

    m = wingspan.map(fail, [1], pool="local")
    m.wait(PATIENCE, errors_ok=True)
    assert m.errors[0].type_name == "ValueError"


def test_what_ends_python_when_it_is_read_is_an_error():
    """An output that calls sys.exit when it is unpickled does not end the session that reads it."""

    class Ends:
        def __reduce__(self):
            return sys.exit, (3,)

    m = wingspan.map(lambda x: Ends(), [1], pool="local")
    with pytest.raises(wingspan.MapError, match="SystemExit") as caught:
        m[0]
    assert caught.value.hint


def nested(depth):
    """A list in a list in a list…"""
    made = []
    for _ in range(depth):
        made = [made]
    return made


def test_what_is_nested_too_deeply_is_told_so():
    """An input and a result that are nested too deeply to be pickled: the error says that, and what limits
    it.
    """
    with pytest.raises(wingspan.NotPicklable, match=r"nested too deeply.*setrecursionlimit"):
        wingspan.map(len, [nested(100_000)], pool="local")
    error = error_of(nested, 100_000)
    assert "nested too deeply" in error.text
