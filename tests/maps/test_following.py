"""Runs that follow maps, and maps that follow runs: they begin when these are done, whoever is there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner

import wingspan
from _waiting import PATIENCE, until
from wingspan import Options
from wingspan.cli._main import cli

ONE = Options(workers=1)
#: Makes a map, a run that takes its files, and a map over what that writes; then it ends.
SCRIPT = """
import pathlib, sys, time, wingspan
gate, pool = sys.argv[1:]

def first(x):
    while not pathlib.Path(gate).exists():
        time.sleep(0.01)
    pathlib.Path("part.txt").write_text(f"{x} ")
    wingspan.component().transfer_output_files("part.txt")

def last(files):
    return {name: path.read_text() for name, path in files.items()}

one = wingspan.Options(workers=1)
first = wingspan.map(first, range(2), pool=pool, tag="first", options=one)
command = ["sh", "-c", "cat first/*/part.txt late.txt > all.txt"]
run = wingspan.run(command, inputs_from=first, inputs=["late.txt"], outputs=["all.txt"], pool=pool, name="second")
wingspan.map(last, run, pool=pool, tag="third", options=one)
"""


def test_a_run_follows_a_map_and_a_map_follows_a_run(
    engine: str, other_python: Callable[..., Any], gate: SimpleNamespace, tmp_path: Path
) -> None:
    """The session that made them has ended. Files that earlier ones write, and an input that is made only
    meanwhile, reach the next one."""
    other_python(SCRIPT, tmp_path / "gate", engine)
    second, third = wingspan.load_run("second"), wingspan.load("third")
    status = second.status()
    assert (status.state, status.message) == ("idle", "it begins when the map 'first' is done")
    assert "it begins when the run 'second' is done" in str(third.status())
    (tmp_path / "late.txt").write_text("late")
    gate.open()
    until(lambda: third.is_done, lambda: (second.status(), third.status()))
    assert third[0] == {"all.txt": "0 1 late"}
    assert second.status().state == "completed"


def fails(x: int) -> int:
    raise ValueError("bad luck")


def test_what_it_follows_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever waits is told at once, of a map, of a run, and of what follows these. Once that is mended, the
    run waits once more, and the map begins."""
    monkeypatch.chdir(tmp_path)
    first = wingspan.map(fails, [1], pool="local", tag="first", options=ONE)
    words = ["run", "--after", "first", "--pool", "local", "--name", "second", "-o", "a", "--", "touch", "a"]
    CliRunner().invoke(cli, words, catch_exceptions=False, standalone_mode=False)
    second = wingspan.load_run("second")
    third = wingspan.map(abs, [-1], after=second, pool="local", options=ONE)
    assert second.wait(PATIENCE).state == "removed"
    assert second.status().jobs[0].reason == "1 component of the map 'first' failed"
    with pytest.raises(
        wingspan.ComponentRemoved, match="has not begun: job 0 of the run 'second' was removed"
    ):
        third.wait(timeout=PATIENCE)
    first.rerun(first.errors, function=abs)
    assert second.rerun() == [0]
    assert second.wait(PATIENCE).state == "completed"
    third.rerun()
    assert third.get(0, timeout=PATIENCE) == 1
    fourth = wingspan.map(sorted, second, pool="local", options=ONE)
    assert not (fourth.path / "follow").exists(), "the run is done: nothing has to be waited for"
    assert fourth.get(0, timeout=PATIENCE) == ["a"]


def test_what_it_follows_is_removed_and_what_never_was(
    gate: SimpleNamespace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run whose map is removed will not begin; a name that nobody has is refused; what is cancelled or
    removed while it waits begins no more."""
    monkeypatch.chdir(tmp_path)
    wait = gate.wait
    first = wingspan.map(lambda x: wait(), [0], pool="local", tag="first", options=ONE)
    second, cancelled = (
        wingspan.run(["true"], after=[first], pool="local", name=name) for name in ("second", "cancelled")
    )
    cancelled.cancel()
    assert cancelled.status().jobs[0].reason == "it was cancelled before it began"
    with pytest.raises(wingspan.SettingsError, match="no map and no run 'nobody'"):
        wingspan.run(["true"], after="nobody", pool="local")
    with pytest.raises(wingspan.SettingsError, match="cannot be followed"):
        wingspan.map(abs, [1], after=5, pool="local")
    third = wingspan.map(abs, [1], after=first, pool="local")
    assert wingspan.clean() == ()
    third.cancel()
    with pytest.raises(wingspan.ComponentRemoved, match="it was cancelled before it began"):
        third.wait(timeout=PATIENCE)
    first.remove()
    gate.open()
    assert second.wait(PATIENCE).state == "removed"
    reason = str(
        second.status().jobs[0].reason
    )  # its carrier may have looked while the map was being removed
    assert "map 'first'" in reason
    assert "removed" in reason
    second.remove()
    cancelled.remove()
