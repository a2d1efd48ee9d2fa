"""Byte code of Python's own library, for tests that build environments and do not ask how it is compiled."""

from __future__ import annotations

import shutil
from pathlib import Path

__all__ = ["lend_byte_code"]


def lend_byte_code(cache: Path, lender: Path) -> None:
    """Put the byte code of Python's own library into a cache, from another one, if that has it.

    To compile it takes two seconds, and is not what is tested here.
    """
    folder = cache / "environments/bytecode"
    for library in (lender / "environments/bytecode").glob("*/lib/python3.11/__pycache__/os.*.pyc"):
        kept = library.parents[3]
        if not (folder / kept.name).exists():
            folder.mkdir(parents=True, exist_ok=True)
            shutil.copytree(kept, folder / kept.name)
