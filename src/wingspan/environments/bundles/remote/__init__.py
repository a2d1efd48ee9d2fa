"""What runs on workers: shell scripts, and Python for whatever version is there. Read as text; of
these only `activation` is imported by us as well."""

from __future__ import annotations

import re
from pathlib import Path

__all__ = ["remote_file", "remote_program"]

_FOLDER = Path(__file__).parent
#: In Python an import: linters see whole programs.
_INCLUDE = re.compile(rb"^(?:from \w+ import [\w, ]+  )?# @include (\S+)\n", re.MULTILINE)


def remote_file(name: str) -> Path:
    """The file, as it lies here."""
    return _FOLDER / name


def remote_program(name: str) -> bytes:
    """The program in one file: what it includes is in it.

    >>> remote_program("relocate.py").count(b"def replace_in_binary")
    1
    """
    return _INCLUDE.sub(
        lambda found: (_FOLDER / found[1].decode()).read_bytes(), (_FOLDER / name).read_bytes()
    )
