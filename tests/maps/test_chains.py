"""Chains: maps whose inputs are the outputs of earlier maps, done as these arrive."""

from __future__ import annotations

import operator
import os
import signal
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wingspan
from _waiting import PATIENCE, until
from wingspan import Options

ONE = Options(workers=1)


def fails_at_one(x: int) -> int:
    if x == 1:
        raise ValueError("no ones")
    return x


def ten(x: int) -> int:
    return 10 * x


def test_chains_on_each_engine(engine: str) -> None:
    """A map of a map, a map of two maps, and what joins all outputs."""
    first = wingspan.map(abs, [-1, -2, -3], pool=engine, options=ONE)
    second = first.map(ten, pool=engine, options=ONE)
    third = wingspan.map(operator.add, first, second, pool=engine, options=ONE)
    total = third.reduce(operator.add, pool=engine, options=ONE)
    assert total.get(0, timeout=PATIENCE) == 66
    assert (list(second), list(third)) == ([10, 20, 30], [11, 22, 33])


def test_components_start_as_their_inputs_arrive(gate: SimpleNamespace) -> None:
    """What hangs on a finished component is done while another of the first map is at work."""
    wait = gate.wait

    def first(x: int) -> int:
        if x == 1:
            wait()
        return x

    one = wingspan.map(first, [0, 1, 2], pool="local", options=Options(workers=2))
    two = one.map(ten, pool="local", options=ONE)
    assert (two.get(0, timeout=PATIENCE), two.get(2, timeout=PATIENCE)) == (0, 20)
    with pytest.raises(wingspan.OutputNotReady):
        two.get(1, timeout=0)
    gate.open()
    assert two.get(1, timeout=PATIENCE) == 10


def test_nobody_needs_to_look(other_python: Callable[..., Any], tmp_path: Path) -> None:
    """The session that made a chain ends at once; the second map is done all the same."""
    other_python(
        f"""
import pathlib, time, wingspan
def first(x):
    time.sleep(0.3)
    return x
first = wingspan.map(first, range(3), pool="local", tag="first")
second = first.map(lambda x: pathlib.Path({str(tmp_path)!r}, f"done-{{x}}").touch(), pool="local", tag="second")
"""
    )
    until(lambda: len(list(tmp_path.glob("done-*"))) == 3, "three components that nobody waits for")


def test_a_failed_input_is_an_error_that_names_it() -> None:
    """It names the earlier map, its component and the error; done again there, it can be done again here."""
    first = wingspan.map(fails_at_one, [0, 1, 2], pool="local", tag="first")
    second = first.map(ten, pool="local", tag="second")
    third = wingspan.map(operator.add, first, second, pool="local")
    second.wait(errors_ok=True, timeout=PATIENCE)
    third.wait(errors_ok=True, timeout=PATIENCE)
    for later in (second, third):
        assert list(later.errors) == [1]
        assert "component 1 of map 'first', which failed: ValueError: no ones" in later.errors[1].text
        assert "rerun" in str(later.errors[1].hint)
    first.rerun(first.errors, function=abs)
    second.rerun(second.errors)
    assert second.get(1, timeout=PATIENCE) == 10
    assert list(second) == [0, 10, 20]


def test_retries_of_the_first_map_come_before_the_second(tmp_path: Path) -> None:
    """An error that will be tried again is no input."""

    def once_bad(x: int) -> int:
        if not (tmp_path / str(x)).exists():
            (tmp_path / str(x)).touch()
            raise ValueError(x)
        return x

    first = wingspan.map(once_bad, range(3), pool="local", options=Options(retries=1))
    second = first.map(ten, pool="local")
    second.wait(timeout=PATIENCE)
    assert list(second) == [0, 10, 20]


def test_a_removed_first_map(gate: SimpleNamespace) -> None:
    """What had no input yet is an error that says so; what was done is kept. A chain of a map that is gone
    is refused."""
    wait = gate.wait
    first = wingspan.map(lambda x: x if x == 0 else wait(), [0, 1], pool="local", tag="first", options=ONE)
    second = first.map(ten, pool="local")
    assert second.get(0, timeout=PATIENCE) == 0
    pytest.importorskip("pandas")
    assert second.to_pandas()["input"].tolist()[0] == 0
    first.remove()
    second.wait(errors_ok=True, timeout=PATIENCE)
    assert list(second.errors) == [1]
    assert second.to_pandas()["input"].tolist() == [None, None]
    assert "component 1 of map 'first', which was removed" in second.errors[1].text
    assert "make that map anew" in second.errors[1].hint
    with pytest.raises(wingspan.MapRemoved):
        first.map(ten, pool="local")


def test_a_worker_that_is_killed(tmp_path: Path, gate: SimpleNamespace) -> None:
    """After a kill -9 of a worker of the second map, its component is done by another."""
    wait, begun = gate.wait, tmp_path / "begun"

    def second(x: int) -> int:
        with begun.open("a") as file:
            file.write(f"{os.getppid()}\n")
        wait()
        return x

    m = wingspan.map(abs, [-1], pool="local").map(second, pool="local", options=ONE)
    worker = int(until(lambda: begun.exists() and begun.read_text(), "a component that runs"))
    os.kill(worker, signal.SIGKILL)
    gate.open()
    assert m.get(0, timeout=PATIENCE) == 1


def test_whoever_waits_is_told_of_an_earlier_map_that_cannot_go_on(
    gate: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first map's workers were removed: so the second map would wait for ever."""
    monkeypatch.setattr("wingspan.maps._outputs.LOOK_BEFORE_SECONDS", 0.0)
    wait = gate.wait
    first = wingspan.map(lambda x: wait(), [0], pool="local", tag="first", options=ONE)
    second = first.map(ten, pool="local", options=ONE)
    first.cancel()
    with pytest.raises(wingspan.ComponentRemoved, match="the workers of map 'first' were removed"):
        second.wait(timeout=PATIENCE)


def test_many_and_large() -> None:
    """Fast components, whose outputs share records, and outputs that lie in pieces, arrive as they are."""
    many = wingspan.map(operator.neg, range(20_000), pool="local")
    assert list(many.map(operator.neg, pool="local")) == list(range(20_000))
    large = wingspan.map(lambda x: bytes([x]) * (1 << 21), range(3), pool="local")
    assert list(large.map(lambda data: (len(data), data[-1]), pool="local")) == [
        (1 << 21, x) for x in range(3)
    ]
    assert list(wingspan.map(operator.eq, large, large, pool="local")) == [True] * 3


def test_inputs_again_and_bad_input() -> None:
    """`input` answers what the component was given; a chain is taken up again; what cannot be is refused."""
    first = wingspan.map(abs, [-1, -2], pool="local", tag="first")
    short = wingspan.map(abs, [-5], pool="local", tag="short")
    second = wingspan.map(operator.add, first, short, pool="local", tag="second")
    assert (len(second), second[0], second.input(0)) == (1, 6, (1, 5))
    assert wingspan.map(operator.add, first, short, tag="second", exist_ok=True) == second
    with pytest.raises(wingspan.TagExists, match="takes its inputs from elsewhere"):
        wingspan.map(operator.add, short, first, tag="second", exist_ok=True)
    with pytest.raises(wingspan.InvalidInputs, match="some of the inputs are maps"):
        wingspan.map(operator.add, first, [1, 2], pool="local")
    with pytest.raises(wingspan.InvalidInputs, match="reduce takes a map"):
        wingspan.reduce(operator.add, [1, 2])  # type: ignore[arg-type]
    with pytest.raises(wingspan.SettingsError, match="leave memo out"):
        first.map(ten, memo=True)
    with pytest.raises(wingspan.SettingsError, match="goes by the inputs"):
        first.map(ten, pool="local", options=Options(request_memory=lambda x: "1GB"))
    with wingspan.Executor(1, pool="local") as executor:
        executor.submit(abs, -1).result(PATIENCE)
        (tag,) = set(wingspan.tags()) - {"first", "short", "second"}
        with pytest.raises(wingspan.InvalidInputs, match="executor"):
            wingspan.load(tag).map(ten)


def test_clean_keeps_what_a_chain_needs(gate: SimpleNamespace) -> None:
    """A map without a name stays as long as a later one has outputs of it to take, and goes after that."""
    wait = gate.wait
    first = wingspan.map(abs, [-1, -2], pool="local", options=ONE)
    second = first.map(lambda x: wait() or x, pool="local", tag="second")
    first.wait(timeout=PATIENCE)
    assert wingspan.clean() == ()
    gate.open()
    second.wait(timeout=PATIENCE)
    assert list(second) == [1, 2]
    assert wingspan.clean() == (first.tag,)
