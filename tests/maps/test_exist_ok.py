"""A script or a cell that is executed again takes up the map that it made the first time."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan import TagExists

SCRIPT = """
import wingspan

SHIFT = 1
NAMES = {"alpha", "beta", "gamma"}

class Case:
    def __init__(self, x): self.x = x

def f(case):
    print("computed")
    return case.x + SHIFT + len(NAMES)

m = wingspan.map(f, [Case(x) for x in range(3)], tag="again", pool="local", exist_ok=True)
print(list(m), m.created.timestamp())
"""


def execute(path: Path, seed: str = "0") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(path)],
        cwd=path.parent,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        env={**os.environ, "PYTHONHASHSEED": seed},
    )


@pytest.fixture
def script(tmp_path: Path) -> Path:
    path = tmp_path / "script.py"
    path.write_text(SCRIPT)
    return path


def double(x: int) -> int:
    return 2 * x


def power(x: int, y: int) -> int:
    return int(x**y)


def triple(x: int) -> int:
    return 3 * x


def test_the_same_script_finds_its_map(script: Path) -> None:
    """Executed twice, in sessions that order sets otherwise, it is one map with one set of results; lines
    that move change nothing.
    """
    first = execute(script, "1")
    script.write_text("# a comment\n\n" + script.read_text())
    second = execute(script, "2")
    assert first.returncode == 0, first.stderr
    assert first.stdout.startswith("[4, 5, 6]")
    assert (second.stdout, second.stderr) == (first.stdout, "")
    assert len(wingspan.tags()) == 1


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ("case.x + SHIFT", "case.x - SHIFT", "what differs is f"),
        ("SHIFT = 1", "SHIFT = 2", "the value of SHIFT"),
        ("range(3)", "range(4)", "has 3 components, and there are more inputs"),
        ("range(3)", "range(2)", "only 2 inputs"),
        ("Case(x) for", "Case(x * x + 1) for", "another input in component 0"),
    ],
)
def test_another_map_is_refused_with_what_differs(script: Path, old: str, new: str, named: str) -> None:
    """Code, a value, the number of inputs or one of them: the error says which, nothing is done to the
    map.
    """
    execute(script)
    before = wingspan.load("again").created
    script.write_text(script.read_text().replace(old, new))
    done = execute(script)
    assert "TagExists" in done.stderr
    assert named in done.stderr
    assert "Hint: " in done.stderr
    assert wingspan.load("again").created == before


def test_without_exist_ok_the_error_names_it() -> None:
    """The hint of TagExists says how the map is taken up again."""
    wingspan.map(double, [1], tag="taken", pool="local").wait()
    with pytest.raises(TagExists) as caught:
        wingspan.map(double, [1], tag="taken", pool="local")
    assert "exist_ok=True" in str(caught.value.hint)


def test_all_ways_to_make_a_map_take_it_up() -> None:
    """map, starmap and build_map; a map of the one is no map of the other."""
    first = wingspan.starmap(power, [(2, 3)], tag="powers", pool="local", exist_ok=True)
    assert wingspan.starmap(power, [(2, 3)], tag="powers", exist_ok=True) == first
    with wingspan.build_map(power, tag="powers", exist_ok=True) as builder:
        builder(2, 3)
    assert builder.map == first
    made = wingspan.starmap(double, [(2,)], tag="doubles", pool="local")
    with pytest.raises(TagExists, match=r"was made by wingspan\.starmap"):
        wingspan.map(double, [2], tag=made.tag, exist_ok=True)


def test_what_was_given_to_rerun_is_the_function() -> None:
    """After failures were done with another function, that one takes the map up."""

    def bad(x: int) -> int:
        raise ValueError(x)

    m = wingspan.map(bad, [1, 2], tag="mended", pool="local")
    m.wait(errors_ok=True)
    m.rerun(function=triple)
    m.wait()
    assert list(wingspan.map(triple, [1, 2], tag="mended", exist_ok=True)) == [3, 6]
    with pytest.raises(TagExists, match="another function"):
        wingspan.map(double, [1, 2], tag="mended", exist_ok=True)


def test_other_options_are_told(caplog: pytest.LogCaptureFixture) -> None:
    """The map keeps its options: a notice says so where others are given."""
    wingspan.map(double, [1], tag="kept", pool="local").wait()
    wingspan.map(double, [1], tag="kept", exist_ok=True)
    assert caplog.messages == []
    wingspan.map(double, [1], tag="kept", exist_ok=True, options=wingspan.Options(retries=3))
    assert "keeps the options" in caplog.messages[0]


def test_exist_ok_makes_what_is_not_there_and_needs_a_tag() -> None:
    """A first call makes the map; without a tag there is nothing to find."""
    assert list(wingspan.map(double, iter([1, 2]), tag="new", pool="local", exist_ok=True)) == [2, 4]
    assert list(wingspan.map(double, iter([1, 2]), tag="new", pool="local", exist_ok=True)) == [2, 4]
    with pytest.raises(ValueError, match="by its tag"):
        wingspan.map(double, [1], exist_ok=True)


def test_arrays_are_compared_by_value() -> None:
    """Arrays as inputs and as globals: the same numbers are the same map."""
    numpy = pytest.importorskip("numpy")
    table = numpy.arange(5.0)

    def total(x):
        return float((x * table).sum())

    made = wingspan.map(total, [numpy.ones(5)], tag="arrays", pool="local")
    table = numpy.arange(5.0)
    assert wingspan.map(total, [numpy.ones(5)], tag="arrays", exist_ok=True) == made
    table = numpy.arange(5.0) + 1
    with pytest.raises(TagExists, match="the value of table"):
        wingspan.map(total, [numpy.ones(5)], tag="arrays", exist_ok=True)
