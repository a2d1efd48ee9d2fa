"""What reaches a terminal: text of jobs, packages and servers is shown, and commands nothing."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
import threading
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wingspan
from _waiting import PATIENCE
from wingspan._shown import shown
from wingspan.cli._terminal import echo, echo_json, style

EVIL = "\x1b]0;title\x07\x1b]52;c;ZXZpbA==\x07\x1b[2J\x9b31m\u202e[red]x[/red]\x1b]8;;http://evil\x1b\\"


def on_terminal(*words: str, data: os.PathLike[str] | str) -> bytes:
    """What a command writes to a terminal, all of it."""
    ours, theirs = pty.openpty()
    environment = {**os.environ, "WINGSPAN_DATA_DIR": str(data), "TERM": "xterm", "COLUMNS": "200"}
    process = subprocess.Popen(
        [sys.executable, "-m", "wingspan", *words],
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env=environment,
    )
    os.close(theirs)
    said = b""
    killer = threading.Timer(PATIENCE, process.kill)
    killer.start()
    try:
        while piece := os.read(ours, 65536):
            said += piece
    except OSError:  # its other end is closed
        pass
    killer.cancel()
    process.wait()
    os.close(ours)
    return said


@pytest.fixture
def evil(tmp_path, monkeypatch):
    """A map whose component prints escapes and fails with them."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))

    def fail(text):
        print(text)
        raise ValueError(text)

    m = wingspan.map(fail, [EVIL], tag="evil", pool="local")
    m.wait(errors_ok=True)
    yield tmp_path / "data"
    m.remove(force=True)


def test_what_a_component_says_commands_no_terminal(evil):
    """Title, clipboard, colours, direction and links of a component's text are shown by every command, as
    text.
    """
    for words in (
        ["status", "evil"],
        ["errors", "evil"],
        ["stdout", "evil", "0"],
        ["maps"],
        ["rerun", "no\x1b]0;x\x07"],
    ):
        said = on_terminal(*words, data=evil)
        for command in (b"\x1b]", b"\x1b[2J", b"\x07", "\x9b".encode(), "\u202e".encode()):
            assert command not in said, words
    said = on_terminal("stdout", "evil", "0", data=evil).decode()
    assert "\\x1b]0;title\\x07" in said
    assert "[red]x[/red]" in said


def test_another_program_gets_what_was_printed(evil):
    """Where standard output is no terminal, it is what the component has printed, byte for byte."""
    done = subprocess.run(
        [sys.executable, "-m", "wingspan", "stdout", "evil", "0"],
        env={**os.environ, "WINGSPAN_DATA_DIR": str(evil)},
        capture_output=True,
        check=True,
    )
    assert done.stdout.decode() == EVIL + "\n"


def test_the_text_of_an_error_is_printed_as_python_would(evil, monkeypatch):
    """An error of ours that nobody catches is printed by Python: there is nothing in its text that
    commands.
    """
    error = wingspan.load("evil").errors[0]
    assert "\x1b" not in str(error)
    assert error.text == EVIL


@given(st.text())
def test_styles_of_ours_alone_are_sent(text):
    """Whatever text is printed, the only escapes that are sent are those of our own styles."""
    out = io.StringIO()
    stdout, sys.stdout = sys.stdout, out
    try:
        echo(style("x" + text, fg="red") + text, color=True)
    finally:
        sys.stdout = stdout
    said = out.getvalue()
    assert said == f"\x1b[31mx{shown(text)}\x1b[0m{shown(text)}\n"
    assert all(unicodedata.category(one) not in ("Cc", "Cs") or one in "\n\t" for one in shown(text))


@given(st.text())
def test_json_stays_json(text):
    """Programs read the same text, whatever is in it, and no terminal is commanded by it."""
    out = io.StringIO()
    stdout, sys.stdout = sys.stdout, out
    try:
        echo_json({"a": text})
    finally:
        sys.stdout = stdout
    assert json.loads(out.getvalue()) == {"a": text}
    assert shown(out.getvalue()) == out.getvalue()
