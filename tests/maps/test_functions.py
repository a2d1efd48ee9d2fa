"""Functions and data that the worker cannot import travel by value."""

from __future__ import annotations

import functools
import json
import subprocess
import sys

import pytest

import wingspan
from _on_disk import submissions
from _waiting import PATIENCE, until

SCRIPT = """
import sys
sys.path.insert(0, sys.argv[1])
import wingspan
import beside
from package import inner

class Main:
    def __init__(self, x):
        self.x = x

def local(x):
    return beside.double(x) + inner.one()

if __name__ == "__main__":
    print(list(wingspan.map(local, [1, 2], pool="local")))
    print(list(wingspan.map(beside.Scale(3), [1, 2], pool="local")))
    outputs = list(wingspan.map(beside.make, [4], pool="local"))
    print(outputs[0].value, isinstance(outputs[0], beside.Box))
    print([m.x for m in wingspan.map(lambda m: Main(m.x + 1), [Main(1)], pool="local")])
    print(wingspan.map(beside.where, [1], pool="local")[0])
    try:
        wingspan.map(beside.fail, [1], pool="local")[0]
    except beside.Trouble as error:
        print("Trouble", error)
"""

BESIDE = """
import sys
FACTOR = 2

class Trouble(Exception):
    pass

class Box:
    def __init__(self, value):
        self.value = value

class Scale:
    def __init__(self, factor):
        self.factor = factor
    def __call__(self, x):
        return self.factor * x

def double(x):
    return FACTOR * x

def make(x):
    return Box(x)

def fail(x):
    raise Trouble(x)

def where(x):
    return "beside" in sys.modules
"""


def test_a_script_and_modules_beside_it_travel(tmp_path):
    """Functions, classes and exceptions of a script, a module and a package beside it work; the modules
    are imported there.
    """
    source = tmp_path / "source"
    (source / "package").mkdir(parents=True)
    (source / "beside.py").write_text(BESIDE)
    (source / "package/__init__.py").write_text("")
    (source / "package/inner.py").write_text("def one():\n    return 1\n")
    (tmp_path / "script.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, tmp_path / "script.py", source],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["[3, 5]", "[3, 6]", "4 True", "[2]", "True", "Trouble 1"]


def test_installed_packages_travel_by_name():
    """A function of an installed package is pickled by reference: its code is not in function.pkl."""
    m = wingspan.map(functools.partial(json.dumps, indent=None), [{"a": 1}], pool="local")
    assert m[0] == '{"a": 1}'
    assert b"co_code" not in (m.path / "function.pkl").read_bytes()
    assert len((m.path / "function.pkl").read_bytes()) < 600


@pytest.mark.parametrize(
    ("function", "given", "expected"),
    [
        (abs, -1, 1),
        (str.upper, "a", "A"),
        ("x".join, ["a", "b"], "axb"),
        (functools.partial(pow, 2), 5, 32),
        (lambda x, scale=3: scale * x, 2, 6),
        (dict, [("a", 1)], {"a": 1}),
    ],
    ids=["builtin", "method", "bound method", "partial", "lambda", "class"],
)
def test_every_kind_of_callable_can_be_mapped(function, given, expected):
    """Whatever can be called with one argument can be mapped."""
    assert wingspan.map(function, [given], pool="local")[0] == expected


def test_closures_and_recursion_travel():
    """A closure keeps what it closed over when the map was made; a recursive local function finds itself."""
    scale = 10

    def factorial(n):
        return 1 if n < 2 else n * factorial(n - 1)

    m = wingspan.map(lambda n: scale * factorial(n), [5], pool="local")
    scale = 0
    assert m[0] == 1200


def test_work_in_the_function_may_use_processes_and_threads():
    """Components may start threads, subprocesses and pools of processes."""

    def busy(x):
        import concurrent.futures
        import multiprocessing

        with concurrent.futures.ThreadPoolExecutor(2) as threads:
            squares = list(threads.map(lambda y: y * y, range(x)))
        with multiprocessing.get_context("fork").Pool(2) as processes:
            return squares, processes.map(abs, [-1, -2])

    assert wingspan.map(busy, [3], pool="local")[0] == ([0, 1, 4], [1, 2])


def test_the_caller_s_folder_and_environment_are_the_component_s(tmp_path, monkeypatch):
    """On the local pool a component runs in the caller's folder with the caller's environment variables."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data.txt").write_text("here")

    def look(name):
        import os
        from pathlib import Path

        return Path(name).read_text(), os.environ.get("MY_SETTING")

    for value in ("one", "two"):
        monkeypatch.setenv("MY_SETTING", value)
        assert wingspan.map(look, ["data.txt"], pool="local")[0] == ("here", value)


def test_one_component_s_module_changes_stay_in_its_worker():
    """A worker imports once: modules that a component imports are there for the next, globals keep their
    state.
    """

    def count(x):
        import builtins

        builtins._count = getattr(builtins, "_count", 0) + 1
        return builtins._count

    m = wingspan.map(count, range(3), pool="local", options=wingspan.Options(workers=1))
    outputs = list(m)
    assert outputs == [1, 2, 3]
    import builtins

    assert not hasattr(builtins, "_count")


def test_a_module_that_the_worker_lacks_is_told(tmp_path, monkeypatch):
    """A function that needs a module which is not there: an error with the module's name and what to do."""

    def needs(x):
        import no_such_module_anywhere

        return no_such_module_anywhere

    m = wingspan.map(needs, [1], pool="local")
    with pytest.raises(ModuleNotFoundError, match="no_such_module_anywhere"):
        m[0]
    assert "not installed on the worker" in m.errors[0].hint


def test_a_function_that_cannot_be_loaded_is_one_error_of_the_map():
    """A function whose module the workers lack is reported once, in the map's words, not by each
    component or by silence.
    """

    class Unloadable:
        def __call__(self, x):
            return x

        def __reduce__(self):
            return (__import__, ("no_such_module_anywhere",))

    m = wingspan.map(Unloadable(), range(100), tag="unloadable", pool="local")
    with pytest.raises(wingspan.WorkersCannotStart, match="no_such_module_anywhere") as caught:
        m.wait(timeout=PATIENCE)
    assert "install it" in caught.value.hint


def test_workers_that_refuse_late_are_told():
    """Workers that refuse, in a map that has outputs already, end in an error and not in ever new workers."""
    m = wingspan.map(lambda x: x, range(4), tag="late", pool="local")
    m.wait()
    until(
        lambda: set(m.status().workers) == {"completed"}, "the end of the workers that have read the function"
    )
    path = m.path / "function.pkl"
    # Of the same length: a function.pkl that is cut is another fault.
    path.write_bytes(path.read_bytes().replace(b'"python": "3.', b'"python": "2.', 1))
    m.rerun([0])
    with pytest.raises(wingspan.WorkersCannotStart, match=r"2\.1"):
        m.get(0, timeout=PATIENCE)
    assert len(submissions(m)) < 5


def header_of_another(m, **facts):
    """Rewrite the header of function.pkl: as if another Python had made the map."""
    path = m.path / "function.pkl"
    header, _, rest = path.read_bytes().partition(b"\n")
    path.write_bytes(json.dumps({**json.loads(header), **facts}).encode() + b"\n" + rest)


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"python": "3.4"}, "CPython 3.4"),
        ({"implementation": "PyPy"}, "PyPy"),
        ({"cloudpickle": "1.0.0"}, "cloudpickle 1.0.0"),
    ],
)
def test_a_function_of_another_interpreter_is_refused_by_rewritten_header(facts, message, gate):
    """A worker whose Python, implementation or cloudpickle cannot read the function refuses: one clear
    error.
    """
    wait = gate.wait

    def waiting(x):
        wait()
        return x

    m = wingspan.map(waiting, [1], tag="foreign", pool="local", options=wingspan.Options(workers=1))
    until(lambda: m.statuses == [wingspan.ComponentStatus.RUNNING])
    m.hold()
    header_of_another(m, **facts)
    gate.open()
    m.release()
    with pytest.raises(wingspan.WorkersCannotStart, match=message) as caught:
        m.wait(timeout=PATIENCE)
    assert isinstance(caught.value, wingspan.PoolError)
    assert "Python" in caught.value.hint
    assert not m.is_done
