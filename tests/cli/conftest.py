"""What tests of commands share: running them, and maps that wait at a gate."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan.cli import main


class Result(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Run = Callable[..., Result]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Runs a command line in this process."""

    def call(*argv: str) -> Result:
        with pytest.raises(SystemExit) as ended:
            main(list(argv))
        out, err = capsys.readouterr()
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, out, err)

    return call


@pytest.fixture
def start() -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts a command line as a process of its own, to be interrupted or read while it runs."""
    processes: list[subprocess.Popen[str]] = []

    def call(*argv: str) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "wingspan", *argv],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        processes.append(process)
        return process

    yield call
    for process in processes:
        process.kill()
        process.communicate()


@pytest.fixture(autouse=True)
def _no_map_left(own_folders: None) -> Iterator[None]:
    """Removes the maps of a test, their workers included, before its folders go."""
    yield
    wingspan.clean(all=True)


@pytest.fixture
def gate(tmp_path: Path) -> Callable[[], None]:
    """Opens the gate at which the components of `waiting` wait."""
    return (tmp_path / "gate").touch


@pytest.fixture
def waiting(tmp_path: Path) -> Callable[[str], wingspan.Map]:
    """Makes a map of two components that say so and wait at the gate."""
    path = str(tmp_path / "gate")

    def wait(number: int) -> int:
        print(f"component {number} waits", flush=True)
        deadline = time.monotonic() + PATIENCE
        while not Path(path).exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the gate was never opened")
            time.sleep(0.02)
        print(f"component {number} goes on", flush=True)
        return number

    def make(tag: str) -> wingspan.Map:
        return wingspan.map(wait, range(2), tag=tag, pool="local", options=wingspan.Options(workers=2))

    return make


@pytest.fixture
def failing() -> wingspan.Map:
    """A finished map, ``sums``: of its ten components 3 and 7 failed with a ValueError, 5 with a
    ZeroDivisionError.
    """

    def divide(number: int) -> float:
        if number in (3, 7):
            raise ValueError(f"{number} is not wanted")
        print(f"dividing by {number - 5}")
        return 1 / (number - 5)

    m = wingspan.map(divide, range(10), tag="sums", pool="local")
    m.wait(PATIENCE, errors_ok=True)
    return m
