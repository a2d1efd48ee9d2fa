"""``wingspan help``: pages of the documentation, and the help of commands."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from wingspan.cli.help import page_paths

from .conftest import Run


def test_a_page_is_printed_as_it_is(run: Run) -> None:
    """For a program or a file: the Markdown, every character."""
    code, out, _ = run("help", "values")
    assert code == 0
    assert out == page_paths()["values"].read_text(encoding="utf-8")


def test_a_page_is_set_for_a_terminal(run: Run) -> None:
    """For a person: headings and tables are set, in the pager that PAGER names."""
    command = [sys.executable, "-m", "wingspan", "help", "values"]
    environment = {**os.environ, "PAGER": "cat", "TERM": "xterm", "COLUMNS": "100"}
    script = ["script", "-qec", " ".join(command), os.devnull]
    done = subprocess.run(
        script, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True
    )
    title = page_paths()["values"].read_text(encoding="utf-8").partition("\n")[0]
    assert title not in done.stdout
    assert title.lstrip("# ") in done.stdout


@pytest.mark.parametrize("words", [("status",), ("pool", "start"), ("env", "bundle")])
def test_the_help_of_a_command_is_shown(run: Run, words: tuple[str, ...]) -> None:
    """Where no page has the name, `help` is the command's own --help."""
    code, out, _ = run("help", *words)
    assert code == 0
    assert out == run(*words, "--help").out


def test_without_a_word_commands_and_pages_are_listed(run: Run) -> None:
    """Both can be asked for then."""
    code, out, _ = run("help")
    assert code == 0
    assert "doctor" in out
    assert "first-map" in out


def test_an_unknown_word_is_told(run: Run) -> None:
    """With the nearest page or command."""
    code, _, err = run("help", "vlaues")
    assert code == 2
    assert "'values'" in err
