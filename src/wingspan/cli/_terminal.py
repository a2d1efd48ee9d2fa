"""What commands print. Text of jobs, packages and servers cannot control the terminal; our styles can."""

from __future__ import annotations

import json
import secrets
import sys
from typing import Any

import click

from wingspan._shown import escaped, shown

__all__ = ["echo", "echo_json", "echo_raw", "style"]

#: Stands for the escape character of our own styles; nobody else can know it.
_ESCAPE = f"\x1b{secrets.token_hex(16)}"


def style(text: object, **how: Any) -> str:
    """`text` for `echo`, styled as `click.style` does it."""
    return click.style(shown(str(text)), **how).replace("\x1b", _ESCAPE)


def echo(message: object = "", *, nl: bool = True, err: bool = False, color: bool | None = None) -> None:
    """Print `message`. What in it would command a terminal is shown, but for what `style` has made."""
    text = "\x1b".join(shown(part) for part in str(message).split(_ESCAPE))
    click.echo(text, nl=nl, err=err, color=color)


def echo_raw(message: str, *, nl: bool = True, err: bool = False) -> None:
    """Print what a job has printed: as it is for another program or a file, shown for a person."""
    if (sys.stderr if err else sys.stdout).isatty():
        message = shown(message.replace("\r\n", "\n").replace("\r", "\n"))
    click.echo(message, nl=nl, err=err, color=True)


def echo_json(value: object) -> None:
    """Print JSON for programs, as one value; escapes in it are JSON's own."""
    text = json.dumps(value, indent=2, ensure_ascii=False)
    click.echo(escaped(text, lambda character: json.dumps(character)[1:-1]))
