"""What runs on workers: shell scripts, and Python for whatever version is there. Read as text; of
these only `activation` is imported by us as well."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["remote_file", "remote_program"]

_FOLDER = Path(__file__).parent
#: In Python an import: linters see whole programs.
_INCLUDE = re.compile(rb"^(?:from \w+ import [\w, ]+  )?# @include (\S+)\n", re.MULTILINE)
#: Lines of comment in a part of a shell script, but for headings and what tells ShellCheck something.
_COMMENTS = re.compile(rb"^[ \t]*# (?!----|shellcheck ).*\n", re.MULTILINE)


def remote_file(name: str) -> Path:
    """The file, as it lies here."""
    return _FOLDER / name


def remote_program(name: str, *, comments: bool = False) -> bytes:
    """The program in one file: what it includes is in it.

    Args:
        name: The file.
        comments: Keep the comments of included parts of shell. Each job is sent the program, and its shell
            reads it: they are left out otherwise.

    >>> remote_program("relocate.py").count(b"def replace_in_binary")
    1
    """

    def part(found: re.Match[bytes]) -> bytes:
        path = _FOLDER / found[1].decode()
        content = path.read_bytes()
        return content if comments or path.suffix != ".sh" else _COMMENTS.sub(b"", content)

    return _INCLUDE.sub(part, (_FOLDER / name).read_bytes())
