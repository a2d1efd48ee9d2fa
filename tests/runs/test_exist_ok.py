"""A script that is executed again takes up the run that it made the first time."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import wingspan
from _command_line import wingspan_here
from wingspan.runs import InvalidRun, RunExists


def train(**other: Any) -> wingspan.Run:
    given: dict[str, Any] = {
        "command": ["sh", "train.txt", "{lr}"],
        "inputs": ["train.txt"],
        "outputs": ["model.pt"],
        "sweep": {"lr": [1, 2]},
        "name": "train",
        "pool": "local",
        "exist_ok": True,
    }
    return wingspan.run(**{**given, **other})


@pytest.fixture(autouse=True)
def script(folders: Path) -> Path:
    (folders / "train.txt").write_text("echo $1 >model.pt\n")
    return folders / "train.txt"


def test_the_same_run_is_taken_up(done) -> None:
    """Made twice it is one run; other resources change nothing."""
    first = done(train())
    again = train(cpus=1, memory="1GB")
    assert again.info["created"] == first.info["created"]
    assert again.status().state == "completed"
    assert again.outputs(1)["model.pt"].read_text() == "2\n"


@pytest.mark.parametrize(
    ("other", "named"),
    [
        ({"command": ["sh", "train.txt", "{lr}", "more"]}, "the command"),
        ({"sweep": {"lr": [1, 3]}}, "the sweep"),
        ({"outputs": []}, "the outputs"),
        ({"variables": {"A": "1"}}, "the variables"),
    ],
)
def test_another_run_is_refused_with_what_differs(done, other: dict[str, Any], named: str) -> None:
    """What makes it another run is named, and the one that is there stays."""
    done(train())
    with pytest.raises(RunExists, match=named):
        train(**other)
    assert len(wingspan.load_run("train")) == 2


def test_a_changed_input_is_another_run_until_it_was_done_again(script: Path, done) -> None:
    """A script that was edited is told with the command that does the run again with it; after that it is
    the same.
    """
    done(train())
    script.write_text("echo new $1 >model.pt\n")
    with pytest.raises(RunExists, match=r"train\.txt has changed since") as caught:
        train()
    assert "--with-current-inputs" in str(caught.value.hint)
    run = wingspan.load_run("train")
    run.rerun([0, 1], with_current_inputs=True)
    done(run)
    assert train().outputs(0)["model.pt"].read_text() == "new 1\n"


def test_it_needs_a_name_and_the_error_without_it_names_it(done) -> None:
    """Without a name there is nothing to find; RunExists says how a run is taken up."""
    with pytest.raises(InvalidRun, match="by its name"):
        train(name=None)
    done(train())
    with pytest.raises(RunExists) as caught:
        train(exist_ok=False)
    assert "exist_ok=True" in str(caught.value.hint)


def test_on_the_command_line() -> None:
    """--exist-ok says that the run is there, and of when."""
    words = ["run", "--exist-ok", "-n", "cli", "-p", "local", "-o", "o", "--follow", "--", "touch", "o"]
    told = [wingspan_here(*words) for _ in range(2)]
    assert [one.returncode for one in told] == [0, 0], told[1].stderr
    assert "cli: it is there already, of " in told[1].stderr
