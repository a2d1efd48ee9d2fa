"""Notebooks as what is run: real papermill, real kernels."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import wingspan
from wingspan.runs import InputMissing, InvalidRun, Run


def write_notebook(path: Path, *cells: str | tuple[str, str]) -> None:
    """A notebook of code cells; a pair is a tag and a cell."""
    made = []
    for number, cell in enumerate(cells):
        tag, source = cell if isinstance(cell, tuple) else ("", cell)
        made.append(
            {
                "id": f"cell-{number}",
                "cell_type": "code",
                "source": source,
                "metadata": {"tags": [tag]} if tag else {},
                "outputs": [],
                "execution_count": None,
            }
        )
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": made}))


def printed(path: Path) -> str:
    """What the cells of an executed notebook have printed and raised."""
    notebook: dict[str, Any] = json.loads(path.read_text())
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return "".join("".join(output.get("text", "")) + output.get("ename", "") for output in outputs)


def test_notebook_with_a_sweep_comes_back_executed(
    pool: str, folders: Path, done: Callable[[Run], Run]
) -> None:
    """Each job's notebook has the parameter's value, as a number, in place of the default, and what its
    cells printed.
    """
    write_notebook(folders / "study.ipynb", ("parameters", "alpha = 7"), "print('twice:', 2 * alpha)")
    run = done(wingspan.run("study.ipynb", sweep={"alpha": [0.5, 3]}, pool=pool))
    assert run.name.startswith("study-")
    assert [job.state for job in run.status().jobs] == ["completed", "completed"]
    found = [printed(run.outputs(number)["study.executed.ipynb"]) for number in range(2)]
    assert found == ["twice: 1.0\n", "twice: 6\n"]
    run.fetch("all")
    assert Path(f"all/{run.name}/1/study.executed.ipynb").is_file()


def test_notebook_on_the_command_line(
    folders: Path, wingspan_cli: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    """In a folder of its own, with a file beside it and an argument for papermill; what its cells print
    is in the log.
    """
    write_notebook(
        folders / "nb/study.ipynb", ("parameters", "word = 'no'"), "print(word, open('data.txt').read())"
    )
    (folders / "nb/data.txt").write_text("data")
    words = [
        "run",
        "nb/study.ipynb",
        "-p",
        "local",
        "-i",
        "nb/data.txt",
        "--fetch",
        "--",
        "--parameters",
        "word",
        "yes",
    ]
    done = wingspan_cli(*words)
    assert done.returncode == 0, done.stderr
    assert printed(folders / "nb/study.executed.ipynb") == "yes data\n"
    assert "yes data" in wingspan_cli("logs", "study-1", "--stderr").stdout


def test_notebook_that_fails_comes_back_with_its_error(folders: Path, done: Callable[[Run], Run]) -> None:
    """The job fails, and the notebook that comes back has the outputs so far, and the error."""
    write_notebook(folders / "bad.ipynb", "print('before')", "1 / 0", "print('after')")
    run = done(wingspan.run(str(folders / "bad.ipynb"), pool="local"))
    assert run.status().jobs[0].state == "failed"
    assert "beforeZeroDivisionError" in printed(run.outputs()["bad.executed.ipynb"]).replace("\n", "")


@pytest.mark.parametrize(
    ("cells", "said"),
    [
        (["alpha = 1", "print(alpha)"], "sets alpha itself and has no cell with the tag 'parameters'"),
        (
            [("parameters", "beta = 1"), "alpha = 2"],
            "sets alpha itself below its cell with the tag 'parameters'",
        ),
    ],
)
def test_notebook_that_would_overwrite_a_parameter_is_refused(
    folders: Path, cells: list[Any], said: str
) -> None:
    """Else all jobs of the sweep would compute the same."""
    write_notebook(folders / "study.ipynb", *cells)
    with pytest.raises(InvalidRun, match=said):
        wingspan.run("study.ipynb", sweep={"alpha": [1, 2]}, pool="local")


def test_what_is_no_notebook_is_refused(folders: Path) -> None:
    """A file that is not there, and one that is something else, are named."""
    with pytest.raises(InputMissing, match=r"no notebook 'gone\.ipynb'"):
        wingspan.run("gone.ipynb", pool="local")
    for text in ("", "[]", "{}", '{"cells": 1}', '{"worksheets": []}'):
        (folders / "other.ipynb").write_text(text)
        with pytest.raises(InvalidRun, match=r"other\.ipynb is no notebook"):
            wingspan.run("other.ipynb", pool="local")
