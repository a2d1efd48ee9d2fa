"""Sweeps: a job for each row, its values where the command names them."""

from __future__ import annotations

from pathlib import Path

import pytest

import wingspan
from wingspan.runs import InvalidRun, InvalidSweep


def test_every_combination_is_a_job(pool: str, done) -> None:
    """Two parameters give their product, in one submission, each job with its own values and outputs."""
    run = done(
        wingspan.run(
            ["sh", "-c", "echo {lr} $0 >o.txt", "size={size}"],
            sweep={"lr": [0.1, 0.01], "size": ["small one", "it's"]},
            outputs=["o.txt"],
            pool=pool,
        )
    )
    texts = [run.outputs(number)["o.txt"].read_text().strip() for number in range(4)]
    assert texts == ["0.1 size=small one", "0.1 size=it's", "0.01 size=small one", "0.01 size=it's"]
    assert len((run.path / "submissions").read_text().splitlines()) == 1
    run.fetch("all")
    assert Path(f"all/{run.name}/3/o.txt").read_text() == "0.01 size=it's\n"


def test_outputs_and_checkpoints_may_be_named_by_a_parameter(pool: str, done) -> None:
    """``{lr}`` in --output and --checkpoint is the job's value, a pattern beside it still matches; what is missing is named with it."""
    command = '[ -e "s-$lr" ] || { echo x >"s-$lr"; exit 85; }; echo {lr} >"$lr-o.txt"; mkdir "$lr"; echo a >"$lr/a.log"'
    run = done(
        wingspan.run(
            ["sh", "-c", command],
            sweep={"lr": ["0.1", "a b"]},
            outputs=["{lr}-o.txt", "{lr}/*.log", "gone-{lr}"],
            checkpoint=["s-{lr}"],
            pool=pool,
        )
    )
    assert set(run.outputs(1)) == {"a b-o.txt", "a b/a.log"}
    assert run.outputs(0)["0.1-o.txt"].read_text() == "0.1\n"
    assert [job.missing for job in run.status().jobs] == [("gone-0.1",), ("gone-a b",)]


def test_a_value_does_not_lead_an_output_out_of_the_folder() -> None:
    """Said before anything is submitted."""
    with pytest.raises(InvalidRun, match=r"'\.\./x\.txt'"):
        wingspan.run(["echo", "{a}"], sweep={"a": ["b", "../x"]}, outputs=["{a}.txt"], pool="local")


def test_rows_of_a_file(folders: Path, done) -> None:
    """A CSV file's first line names the parameters; values with commas in quotes and blank lines are fine."""
    (folders / "p.csv").write_text('a,b\n1,"x, y"\n\n2,z\n')
    run = done(wingspan.run(["echo", "{a}:{b}"], sweep_file="p.csv", pool="local"))
    assert [run.stdout(number) for number in range(2)] == ["1:x, y\n", "2:z\n"]
    assert run.status().jobs[0].parameters == {"a": "1", "b": "x, y"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a,b\n", "no rows"),
        ("a,b\n1\n", "row 2"),
        ("a,a\n1,2\n", "twice"),
        ("1a\n2\n", "cannot be a parameter"),
    ],
)
def test_a_bad_file_is_refused(folders: Path, text: str, words: str) -> None:
    """What is wrong with a sweep file is said before anything is submitted."""
    (folders / "p.csv").write_text(text)
    with pytest.raises(InvalidSweep, match=words):
        wingspan.run(["echo", "{a}{b}"], sweep_file="p.csv", pool="local")


def test_a_parameter_that_nobody_uses_is_refused() -> None:
    """A sweep over a parameter that the command does not name would do the same thing many times."""
    with pytest.raises(InvalidSweep, match="'momentum'"):
        wingspan.run(["echo", "{lr}"], sweep={"lr": [1], "momentum": [2, 3]}, pool="local")
    with pytest.raises(InvalidSweep, match="cannot be read"):
        wingspan.run(["echo", "{lr}"], sweep_file="nowhere.csv", pool="local")


def test_a_parameter_given_twice_is_refused(wingspan_cli) -> None:
    """The second --sweep of a name would silently replace the first: the message has what was probably meant."""
    done = wingspan_cli("run", "--sweep", "a=1", "--sweep", "a=2,3", "--", "echo", "{a}")
    assert done.returncode == 2
    assert "--sweep a=1,2,3" in done.stderr
