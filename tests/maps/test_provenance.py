"""Every output knows where it comes from, and can be computed again."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cloudpickle
import pytest

import wingspan
from _on_disk import map_json
from _waiting import PATIENCE, until


def _double(x: int) -> int:
    return 2 * x


def test_every_output_knows_where_it_comes_from_and_comes_out_again(engine: str) -> None:
    """Function, versions, host, worker, times on each engine; and the same comes out a second time."""
    begun = time.time()
    m = wingspan.map(_double, [3, 4], pool=engine)
    assert list(m) == [6, 8]
    known = m.provenance(1)
    assert (known.tag, known.component, known.state) == (m.tag, 1, "completed")
    assert known.function.startswith("_double (")
    assert (known.python, known.wingspan) == (platform.python_version(), wingspan.__version__)
    assert known.cloudpickle == cloudpickle.__version__
    assert known.host
    assert known.worker is not None
    assert known.attempt == 1
    assert known.started is not None
    assert known.ended is not None
    assert begun - 1 < known.started <= known.ended < time.time() + 1
    assert (known.folder, known.seed) == (str(Path.cwd()), m.seed)
    assert known.taken_from is None
    told = m.reproduce(1, timeout=PATIENCE)
    assert told.equal
    assert told.difference is None
    assert told.now.function_digest == known.function_digest
    assert str(told).startswith(f"{m.tag}, component 1: the same comes out")
    assert wingspan.tags() == (m.tag,)
    m.remove()


def test_the_function_digest_is_of_the_code() -> None:
    """The same code has the same digest, wherever it stands; other code another."""

    def first(x: int) -> int:
        return x + 1

    def second(x: int) -> int:
        return x + 2

    again = first
    maps = [wingspan.map(f, [1], pool="local") for f in (first, again, second)]
    digests = [m.provenance(0).function_digest for m in maps]
    assert digests[0] == digests[1] != digests[2]
    assert maps[0].rerun([0], function=second)
    maps[0].wait(PATIENCE)
    assert maps[0].provenance(0).function_digest == digests[2]
    assert (
        maps[0].provenance(0).function.startswith("test_the_function_digest_is_of_the_code.<locals>.second")
    )


def test_the_commit_of_the_callers_folder_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its commit, and whether tracked files have changed; a folder without a repository has none."""
    monkeypatch.chdir(tmp_path)
    m = wingspan.map(_double, [1], pool="local")
    assert (m.provenance(0).commit, m.provenance(0).dirty) == (None, None)
    for name in ("clean", "dirty"):
        folder = tmp_path / name / "below"
        folder.mkdir(parents=True)
        monkeypatch.chdir(folder)
        Path("code.py").write_text("1")
        for words in (
            "init -q ..",
            "add code.py",
            "-c user.name=n -c user.email=e@x -c commit.gpgsign=false commit -qm one",
        ):
            subprocess.run(["git", *words.split()], check=True)
        if name == "dirty":
            Path("code.py").write_text("2")
        m = wingspan.map(_double, [1], pool="local")
        until(lambda m=m: m.provenance(0).commit, "git answers")
        head = subprocess.run(["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        assert m.provenance(0).commit == head.stdout.strip()
        assert m.provenance(0).dirty == (name == "dirty")


def test_a_script_that_ends_at_once_leaves_its_commit(
    tmp_path: Path, other_python: Callable[..., Any]
) -> None:
    """The map of a program that does not wait for it has the commit, too."""
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    other_python("import wingspan; wingspan.map(abs, [-1], tag='short', pool='local')")
    answer = wingspan.load("short").path / "commit"
    until(lambda: "# wingspan.whole" in answer.read_text(), "git answers")
    assert "# branch.oid (initial)" in answer.read_text()


def test_a_program_does_not_wait_for_git_at_its_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, other_python: Callable[..., Any]
) -> None:
    """A program ends while git still looks, and git is no child of it; its maps have the answer once that is
    whole.
    """
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    slow, gate = tmp_path / "slow", tmp_path / "gate"
    slow.mkdir()
    (slow / "git").write_text(
        f'#!/bin/sh\nuntil [ -e {gate} ]; do sleep 0.05; done; exec {shutil.which("git")} "$@"\n'
    )
    (slow / "git").chmod(0o755)
    monkeypatch.setenv("PATH", f"{slow}:{os.environ['PATH']}")
    try:
        other_python(
            """
import os, wingspan
maps = [wingspan.map(abs, [-1], tag=tag, pool="local", options=wingspan.Options(workers=0)) for tag in "ab"]
try:
    print("waits for", os.waitpid(-1, os.WNOHANG))
except ChildProcessError:
    pass
else:
    raise SystemExit("git is a child of the program")
"""
        )
        maps = [wingspan.load(tag) for tag in "ab"]
        assert [m.provenance(0).dirty for m in maps] == [None, None]
    finally:
        gate.touch()
    for m in maps:
        until(lambda m=m: m.provenance(0).dirty is False, "git answers")


def test_what_was_taken_from_another_map_says_so() -> None:
    """An output of a memo has the host and times of whoever computed it, and names that map."""
    first = wingspan.map(_double, [1, 2], tag="first", pool="local", memo=True)
    first.wait(PATIENCE)
    before = first.provenance(1)
    second = wingspan.map(_double, [2], tag="second", pool="local", memo=True)
    now = second.provenance(0)
    assert (now.host, now.python, now.started) == (before.host, before.python, before.started)
    assert now.taken_from is not None
    assert (now.taken_from["tag"], now.taken_from["component"]) == ("first", 1)
    assert "taken from  component 1 of the map 'first'" in str(now)
    assert second.reproduce(0, PATIENCE).equal


def test_what_is_not_done_has_no_machine(gate: SimpleNamespace) -> None:
    """Nothing waits: what is not known yet is None, and cannot be reproduced."""
    wait = gate.wait
    m = wingspan.map(lambda x: wait() or x, [1], pool="local")
    known = m.provenance(0)
    assert (known.state, known.host, known.started) == ("not done", None, None)
    with pytest.raises(wingspan.MapError, match="is not done"):
        m.reproduce(0)
    gate.open()
    assert m.wait(PATIENCE).is_done


def test_another_output_is_told_with_its_place(tmp_path: Path) -> None:
    """What differs, and where in it; an error in the place of an output, and another error."""
    counter = str(tmp_path / "counter")

    def moody(x: int) -> Any:
        with open(counter, "a") as file:  # noqa: PTH123
            file.write("x")
            turn = file.tell()
        if x == 2 or (x == 1 and turn > 3):
            raise ValueError(f"turn {turn if x == 1 else 0}")
        return {"loss": [1.0, float("nan"), 1.0 if turn <= 3 else 2.5]}

    m = wingspan.map(moody, [0, 1, 2], pool="local", options=wingspan.Options(workers=1))
    m.wait(PATIENCE, errors_ok=True)
    other = m.reproduce(0, PATIENCE)
    assert (other.equal, other.difference) == (False, "the output['loss'][2]: 1.0 before, 2.5 now")
    assert "something else comes out" in str(other)
    assert m.reproduce(1, PATIENCE).difference == "now it failed: ValueError: turn 5"
    assert m.reproduce(2, PATIENCE).equal
    assert m.status().counts[wingspan.ComponentStatus.COMPLETED] == 2


def test_number_seed_files_and_later_functions_are_the_same_again(tmp_path: Path) -> None:
    """What a component asks for beside its input is as it was."""
    (tmp_path / "data.txt").write_text("kept")

    def told(x: int) -> Any:
        one = wingspan.component()
        return one.number, one.seed, Path("data.txt").read_text()

    def later(x: int) -> Any:
        return "later", wingspan.component().number

    options = wingspan.Options(input_files=[tmp_path / "data.txt"])
    m = wingspan.map(told, range(5), pool="local", options=options)
    m.wait(PATIENCE)
    m.rerun([2], function=later)
    m.wait(PATIENCE)
    (tmp_path / "data.txt").write_text("changed")
    assert m[3][0] == 3
    assert m.reproduce(3, PATIENCE).equal
    assert m[2] == ("later", 2)
    assert m.reproduce(2, PATIENCE).equal


def test_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    """show and reproduce on the command line; the exit code says whether the same came out."""
    from wingspan.cli import main

    def run(*words: str) -> tuple[int, str]:
        with pytest.raises(SystemExit) as ended:
            main(list(words))
        return int(str(ended.value.code)), capsys.readouterr().out

    m = wingspan.map(_double, [21], tag="shown", pool="local")
    m.wait(PATIENCE)
    code, out = run("show", "shown", "0")
    assert code == 0
    assert "function    _double (" in out
    assert "input       21\n" in out
    assert "output      42\n" in out
    code, out = run("show", "shown", "0", "--json")
    assert f'"python": "{platform.python_version()}"' in out
    assert run("reproduce", "shown", "0") == (0, "shown, component 0: the same comes out\n")
    assert run("show", "shown", "1")[0] == 2
    assert map_json(m)["tag"] == "shown"
