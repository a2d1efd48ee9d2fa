"""Lists and tables: what took how long and how much, as text, JSON and CSV; and watching them."""

from __future__ import annotations

import csv
import io
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import wingspan
from _terminal import Terminal
from _waiting import PATIENCE, until

from .conftest import Run


def double(number: int) -> int:
    return 2 * number


def table(text: str) -> list[dict[str, str]]:
    """The rows of a CSV file."""
    return list(csv.DictReader(io.StringIO(text)))


def test_lists_say_how_long_maps_took_and_how_much_memory(run: Run, failing: wingspan.Map) -> None:
    """`maps` has both as text, JSON and CSV, and `status` too."""
    record = json.loads(run("maps", "--json").out)[0]
    assert 0 < record["cpu"]
    assert 0 < record["wall"]
    assert 0 < record["elapsed"] < PATIENCE
    assert record["peak_memory"] > 1_000_000
    (row,) = table(run("maps", "--csv").out)
    assert (row["tag"], row["state"], row["completed"], row["errored"]) == ("sums", "failed", "7", "3")
    assert float(row["elapsed"]) == record["elapsed"]
    assert {"TOOK", "MEMORY"} < set(run("maps").out.splitlines()[0].split())
    assert "took " in run("status", "sums").out
    assert run("maps", "--csv", "--json").code == 2


def test_what_a_worker_writes_is_no_formula(run: Run) -> None:
    """The name of an exception may be anything: in CSV it stands behind an apostrophe, elsewhere as it is."""

    def odd(x: int) -> int:
        raise type('=HYPERLINK("https://h", "x")', (Exception,), {})("y")

    wingspan.map(odd, [1], tag="odd", pool="local").wait(PATIENCE, errors_ok=True)
    (row,) = table(run("components", "odd", "--csv").out)
    assert row["error"].startswith("'=HYPERLINK(")
    assert json.loads(run("components", "odd", "--json").out)[0]["error"].startswith("=HYPERLINK(")


def test_components_are_listed_with_what_they_took(run: Run, failing: wingspan.Map) -> None:
    """A line a component: status, times, memory, host, attempts, error; sorted, chosen, cut as wanted."""
    rows = table(run("components", "sums", "--csv").out)
    assert [row["component"] for row in rows] == [str(number) for number in range(10)]
    assert [row["status"] for row in rows].count("errored") == 3
    assert all(float(row["wall"]) >= 0 and int(row["memory"]) > 1_000_000 for row in rows)
    assert {(row["host"], row["attempts"]) for row in rows} == {(os.uname().nodename, "1")}
    assert rows[5]["error"] == "ZeroDivisionError: division by zero"
    assert table(run("status", "sums", "--csv").out) == rows
    code, out, err = run(
        "components", "sums", "--status", "errored", "--sort", "wall", "--limit", "2", "--json"
    )
    chosen = json.loads(out)
    assert code == 0
    assert [one["status"] for one in chosen] == ["errored", "errored"]
    assert chosen[0]["wall"] >= chosen[1]["wall"]
    assert "1 component more" in err
    assert run("components", "sums").out.splitlines()[6].split()[:2] == ["5", "errored"]


def test_the_end_of_what_a_component_printed(run: Run) -> None:
    """--tail shows so many lines at the end."""
    wingspan.map(lambda x: print("one\ntwo\nthree"), [0], tag="loud", pool="local").wait(PATIENCE)
    assert run("stdout", "loud", "0", "--tail", "2").out == "two\nthree\n"
    assert run("stdout", "loud", "0", "--tail", "0").out == ""


def test_the_end_of_what_a_run_printed(run: Run) -> None:
    """logs --tail shows so many lines at the end of each job, also of a long file without a last newline."""
    script = 'i=0; while [ $i -lt 30000 ]; do i=$((i+1)); echo "line $i"; done; printf end'
    wingspan.run(["sh", "-c", script], name="loud", pool="local").wait(PATIENCE)
    assert run("logs", "loud", "--tail", "2").out == "line 30000\nend"
    assert run("logs", "loud", "--tail", "40000").out.startswith("line 1\n")
    assert run("logs", "loud", "--tail", "0").out == ""
    wingspan.load_run("loud").remove()


def test_a_sweep_shows_its_parameters(run: Run, tmp_path: Path) -> None:
    """status has a line for each job with its parameters, CSV too; beside what is fetched lies a table."""
    swept = wingspan.run(
        ["sh", "-c", 'echo "$1" >out; [ "$1" != 3 ]', "sh", "{lr}"],
        sweep={"lr": ["1", "3"]},
        outputs=["out"],
        name="lrs",
        pool="local",
    )
    swept.wait(PATIENCE)
    rows = table(run("status", "lrs", "--csv").out)
    assert [(row["job"], row["lr"], row["state"], row["code"]) for row in rows] == [
        ("0", "1", "completed", "0"),
        ("1", "3", "failed", "1"),
    ]
    assert float(rows[0]["wall"]) >= 0
    lines = [line.split() for line in run("status", "lrs").out.splitlines()]
    assert ["job", "lr", "state", "wall", "host"] in lines
    assert ["1", "3", "failed"] in [line[:3] for line in lines]
    assert run("fetch", "lrs", "--to", str(tmp_path)).code == 1
    assert (tmp_path / "lrs" / "parameters.csv").read_text() == (
        "job,lr,state,code\n0,1,completed,0\n1,3,failed,1\n"
    )
    swept.remove()


def test_status_is_watched_until_the_end(
    waiting: Callable[[str], wingspan.Map], gate: Callable[[], None], tmp_path: Path
) -> None:
    """--watch shows on a terminal what changes, and ends with the map."""
    m = waiting("slow")
    command = [sys.executable, "-m", "wingspan", "status", "slow", "--watch"]
    with Terminal(
        command, cwd=tmp_path, environment={**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    ) as seen:
        seen.expect("Ctrl-C ends this view")
        gate()
        seen.expect(r"completed +2\b")
        assert seen.end() == 0
    assert list(m) == [0, 1]


_WAITS = """
import sys, time, pathlib, wingspan
gate = pathlib.Path(sys.argv[1])
def late(x):
    while not gate.exists():
        time.sleep(0.01)
    return x
for out in wingspan.map(late, [10, 11], tag="bars", pool="local"):
    print("got", out)
"""


@pytest.mark.parametrize("where", ["terminal", "pipe"])
def test_a_person_who_waits_for_outputs_sees_a_bar(
    where: str, tmp_path: Path, start: Callable[..., object], gate: Callable[[], None]
) -> None:
    """Iterating draws a bar on a terminal while it waits, without colours where NO_COLOR says so; in a pipe
    nothing but outputs is printed.
    """
    command = [sys.executable, "-c", _WAITS, str(tmp_path / "gate")]
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    if where == "terminal":
        with Terminal(command, cwd=tmp_path, environment=environment) as seen:
            seen.expect(r"bars.* 0/2 ")
            gate()
            seen.expect("got 10[^$]*got 11")
            assert seen.end() == 0
            assert "\x1b[3" not in seen.text
        return
    import subprocess

    process = subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    until(lambda: "bars" in wingspan.tags(), "the map is made")
    gate()
    assert process.communicate(timeout=PATIENCE) == ("got 10\ngot 11\n", "")


def test_what_was_read_can_be_cleaned(run: Run) -> None:
    """clean --consumed takes maps whose outputs were all read, but for one that is done again."""
    maps = {
        tag: wingspan.map(double, [1, 2], tag=tag, pool="local")
        for tag in ("read", "waited", "half", "again")
    }
    for m in maps.values():
        m.wait(PATIENCE)
    assert list(maps["read"]) == [2, 4]
    assert sorted(maps["again"].iter_as_available()) == [2, 4]
    next(iter(maps["half"]))
    maps["again"].rerun([0])
    maps["again"].wait(PATIENCE)
    assert run("clean").out == ""
    assert run("clean", "--consumed").out == "read: removed\n"
    assert set(wingspan.tags()) == {"waited", "half", "again"}


def test_a_sweep_without_output_files_can_be_fetched(tmp_path: Path) -> None:
    """There is nothing to copy, and no table of what was not copied."""
    r = wingspan.run(["sh", "-c", "echo {x}"], sweep={"x": [1, 2]}, pool="local", name="talks")
    r.wait(timeout=PATIENCE)
    assert not any(r.fetch(tmp_path / "fetched").values())
    assert not (tmp_path / "fetched").exists()
    r.remove()
