"""The programs that run on workers: shell scripts, and Python for old versions too.

We read them as text, and send them. Only `activation` is imported here as well.
"""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["remote_file", "remote_program"]

_FOLDER = Path(__file__).parent
#: The line that names a part. In Python it is an import, on one line or several: linters know the names so.
_INCLUDE = re.compile(
    rb"^(?:from \w+ import (?P<open>\()?[\w, ]*  )?# @include (?P<name>\S+)\n(?(open)(?:    \w+,\n)+\)\n)",
    re.MULTILINE,
)
#: Lines of comment in a part of a shell script, but for headings and what tells ShellCheck something.
_COMMENTS = re.compile(rb"^[ \t]*# (?!----|shellcheck ).*\n", re.MULTILINE)


def remote_file(name: str) -> Path:
    """The file, as it lies here."""
    return _FOLDER / name


def remote_program(name: str, *, comments: bool = False) -> bytes:
    """The program in one file.

    Each part is in it once, and a part that another includes stands before that one.

    Args:
        name: The file.
        comments: Keep the comments of included parts of shell. Each job is sent the program, and its shell
            reads it: they are left out otherwise.

    >>> remote_program("relocate.py").count(b"def replace_in_binary")
    1
    >>> remote_program("unpacker.py").count(b"def check_path")  # three of its parts use it
    1
    """
    included: set[Path] = set()

    def part(found: re.Match[bytes]) -> bytes:
        path = _FOLDER / found["name"].decode()
        if path in included:
            return b""
        included.add(path)
        content = path.read_bytes()
        if path.suffix == ".sh":
            return content if comments else _COMMENTS.sub(b"", content)
        return _INCLUDE.sub(part, content)

    return _INCLUDE.sub(part, (_FOLDER / name).read_bytes())
