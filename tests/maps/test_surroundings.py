"""What a component does to its process is put back before the next one: each finds what the first has
found.
"""

from __future__ import annotations

import builtins
import contextlib
import io
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wingspan

ONE = wingspan.Options(workers=1)


def led_elsewhere(number: int) -> None:
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, number)
    os.close(null)


def lowered(limit: int, value: int) -> None:
    resource.setrlimit(limit, (value, resource.getrlimit(limit)[1]))


def away() -> None:
    os.mkdir("away")  # noqa: PTH102
    os.chdir("away")


DISTURBANCES: dict[str, Callable[[], Any]] = {
    "standard input closed": lambda: os.close(0),
    "standard output closed": lambda: os.close(1),
    "standard error closed": lambda: os.close(2),
    "all three closed": lambda: os.closerange(0, 3),
    "standard output led elsewhere": lambda: led_elsewhere(1),
    "standard error led elsewhere": lambda: led_elsewhere(2),
    "sys.stdout replaced": lambda: setattr(sys, "stdout", io.StringIO()),
    "sys.stdout closed": lambda: sys.stdout.close(),
    "sys.stderr closed": lambda: sys.stderr.close(),
    "sys.stdin closed": lambda: sys.stdin.close(),
    "sys.stdout gone": lambda: setattr(sys, "stdout", None),
    "another folder": away,
    "another umask": lambda: os.umask(0o777),
    "children ignored": lambda: signal.signal(signal.SIGCHLD, signal.SIG_IGN),
    "broken pipes kill": lambda: signal.signal(signal.SIGPIPE, signal.SIG_DFL),
    "a handler left": lambda: signal.signal(signal.SIGTERM, print),
    "signals blocked": lambda: signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 30)),
    "an alarm left": lambda: signal.setitimer(signal.ITIMER_REAL, 0.2),
    "few open files": lambda: lowered(resource.RLIMIT_NOFILE, 20),
    "small files": lambda: lowered(resource.RLIMIT_FSIZE, 4096),
    "little processor time": lambda: lowered(resource.RLIMIT_CPU, 1000),
    "no path of modules": lambda: sys.path.clear(),
    "another path of modules": lambda: setattr(sys, "path", ()),
}


def found() -> dict[str, object]:
    """What a component can see of its surroundings."""
    signals = [signal.SIGCHLD, signal.SIGPIPE, signal.SIGTERM, signal.SIGALRM]
    umask = os.umask(0)
    os.umask(umask)
    return {
        "standard input": os.read(0, 1),
        "descriptors": [os.fstat(number).st_ino for number in range(3)],
        "folder": os.getcwd(),  # noqa: PTH109
        "umask": umask,
        "handlers": [signal.getsignal(number) for number in signals],
        "mask": signal.pthread_sigmask(signal.SIG_BLOCK, ()),
        "timer": signal.getitimer(signal.ITIMER_REAL),
        "limits": [resource.getrlimit(one) for one in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE)],
        "stdin": sys.stdin.read(),
        "path": list(sys.path),
        "child": subprocess.run(["sh", "-c", "exit 3"], check=False).returncode,
    }


@pytest.mark.parametrize("how", DISTURBANCES)
def test_the_next_component_finds_what_the_first_found(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a component that leaves its process in disorder the next one reads, writes and runs as ever,
    and what it prints is its own.
    """
    disturb = DISTURBANCES[how]
    monkeypatch.chdir(tmp_path)

    def component(number: int) -> dict[str, object]:
        seen = found()
        print(f"out {number}", flush=True)
        print(f"err {number}", file=sys.stderr, flush=True)
        os.write(1, b"raw\n")
        if number == 1:
            disturb()
        if how == "an alarm left" and number == 2:
            time.sleep(0.4)  # it would ring now
        return seen

    m = wingspan.map(component, range(4), pool="local", options=ONE)
    outputs = list(m)
    assert [output == outputs[0] for output in outputs] == [True] * 4, outputs
    assert [m.stdout(number) for number in range(4)] == [f"out {number}\nraw\n" for number in range(4)]
    assert [m.stderr(number) for number in range(4)] == [f"err {number}\n" for number in range(4)]


def test_also_among_quick_components() -> None:
    """Components that are too quick to be looked at one by one do not lose what is printed after one of
    them.
    """

    def component(number: int) -> int:
        if number == 500:
            os.close(1)
            sys.stderr.close()
        if number > 5000:
            print(number)
            print(number, file=sys.stderr)
        return number

    m = wingspan.map(component, range(5010), pool="local", options=ONE)
    assert list(m) == list(range(5010))
    assert [m.stdout(number) for number in range(5001, 5010)] == [
        f"{number}\n" for number in range(5001, 5010)
    ]
    assert [m.stderr(number) for number in range(5001, 5010)] == [
        f"{number}\n" for number in range(5001, 5010)
    ]


def test_a_failure_leaves_no_disorder_either() -> None:
    """It is the same for a component that raises."""

    def component(number: int) -> int:
        print(number)
        if number == 0:
            sys.stdout = io.StringIO()
            os.close(1)
            raise ValueError("left in disorder")
        return number

    m = wingspan.map(component, range(3), pool="local", options=ONE)
    m.wait(errors_ok=True)
    assert list(m.errors) == [0]
    assert [m.stdout(number) for number in range(3)] == ["0\n", "1\n", "2\n"]


def test_built_in_functions_that_a_component_replaces_are_its_own_only() -> None:
    """The worker goes on with the real ones: it tells outputs, failures and what is printed."""

    def component(number: int) -> int:
        if number == 1:
            for name in ("len", "isinstance", "getattr", "__import__"):
                setattr(builtins, name, None)
        if number == 2:
            sys.stdout.write("printed\n")
            raise ValueError("two")
        return number

    m = wingspan.map(component, range(4), pool="local", options=ONE)
    m.wait(errors_ok=True)
    assert {number: error.type_name for number, error in m.errors.items()} == {2: "ValueError"}
    assert (m[0], m[1], m[3], m.stdout(2)) == (0, 1, 3, "printed\n")


def test_entries_that_a_component_adds_to_the_path_of_modules_stay() -> None:
    """A module that a component imported may have added them, once for all that follow."""

    def component(number: int) -> list[str]:
        if number == 0:
            sys.path = [f"/added/{number}", *sys.path]
        if number == 1:
            sys.path.clear()
        return [entry for entry in sys.path if entry.startswith("/added")]

    m = wingspan.map(component, range(3), pool="local", options=ONE)
    assert list(m) == [["/added/0"], [], ["/added/0"]]


def test_what_belongs_to_python_stays() -> None:
    """Modules, their globals and environment variables are those of the process: what a component sets
    there, later ones see.
    """

    def component(number: int) -> tuple[str | None, list[int]]:
        seen = os.environ.get("WINGSPAN_TEST_SEEN")
        os.environ["WINGSPAN_TEST_SEEN"] = str(number)
        with contextlib.suppress(NameError):
            _kept.append(number)  # noqa: F821
            return seen, _kept  # noqa: F821
        globals()["_kept"] = [number]
        return seen, [number]

    m = wingspan.map(component, range(3), pool="local", options=ONE)
    assert list(m) == [(None, [0]), ("0", [0, 1]), ("1", [0, 1, 2])]


def test_closing_all_descriptors_is_the_error_of_the_component() -> None:
    """A component that closes what its process and its worker talk by fails; the others are done."""

    def component(number: int) -> int:
        if number == 1:
            os.closerange(3, 1000)
        return number

    m = wingspan.map(component, range(4), pool="local", options=ONE)
    m.wait(errors_ok=True)
    assert list(m.errors) == [1]
    assert m.errors[1].type_name == "crash"
    assert [m[number] for number in (0, 2, 3)] == [0, 2, 3]


def test_workers_are_started_as_this_python_was(engine: str) -> None:
    """`-O`, `-X` and `-W` hold for components, too, and for the processes that they start; warnings that are
    errors do no harm to the worker itself.
    """
    program = """
import multiprocessing, sys, warnings, wingspan

def component(number):
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        child = pool.apply(eval, ["__import__('sys').warnoptions"])
    assert not number, "is compiled away"
    try:
        warnings.warn("old", DeprecationWarning)
    except DeprecationWarning:
        return sys.flags.optimize, sys.flags.utf8_mode, child

m = wingspan.map(component, [1], pool=sys.argv[1])
print(m[0])
"""
    options = ["-O", "-X", "utf8", "-W", "error::DeprecationWarning"]
    done = subprocess.run(
        [sys.executable, *options, "-c", program, engine], capture_output=True, text=True, check=True
    )
    assert done.stdout == "(1, 1, ['error::DeprecationWarning'])\n"
