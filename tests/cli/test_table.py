"""Tables on a terminal: what must be copied stays in one piece."""

from __future__ import annotations

import fcntl
import os
import pty
import struct
import subprocess
import sys
import termios

import click

_PROGRAM = """
from wingspan.cli._table import print_table
print_table(["TAG", "FUNCTION"], [["a-rather-long-tag-of-a-sweep-2026-11-20", "q" * 60]], whole=["TAG"])
"""
_CUT = _PROGRAM.replace('whole=["TAG"]', 'whole=["TAG"], cut=["FUNCTION"]')


def _shown(program: str) -> str:
    """What a terminal of 60 columns shows."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 60, 0, 0))
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": "1"}
    environment.pop("COLUMNS", None)
    subprocess.run([sys.executable, "-c", program], stdout=theirs, env=environment, check=True)
    shown = click.unstyle(os.read(ours, 1 << 16).decode())
    os.close(ours)
    os.close(theirs)
    return shown


def test_a_whole_column_is_never_folded() -> None:
    """On 60 columns the other column gives way."""
    shown = _shown(_PROGRAM)
    assert "a-rather-long-tag-of-a-sweep-2026-11-20" in shown
    assert max(map(len, shown.splitlines())) <= 60
    assert shown.count("q") == 60


def test_columns_that_do_not_fit_are_dropped() -> None:
    """The first that is named goes first, and no more than have to: what is left is in one line each."""
    program = (
        "from wingspan.cli._table import print_table\n"
        "print_table(['NAME', 'AGE', 'WHAT', 'WHERE'], [['n' * 20, 'a' * 20, 'w' * 12, 'x' * 15]], drop=['AGE', 'WHAT'])"
    )
    lines = _shown(program).split("\n")
    assert [line.split() for line in lines if "N" in line or "n" in line] == [
        ["NAME", "WHAT", "WHERE"],
        ["n" * 20, "w" * 12, "x" * 15],
    ]


def test_a_cut_column_gives_way_in_one_line() -> None:
    """What nobody copies is cut off, and the row stays one line."""
    shown = _shown(_CUT)
    assert "a-rather-long-tag-of-a-sweep-2026-11-20" in shown
    assert max(map(len, shown.splitlines())) <= 60
    assert "qqq…" in shown
    assert sum("q" in line for line in shown.splitlines()) == 1
