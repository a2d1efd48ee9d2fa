"""The tags of wheels that a Python takes (PEP 425, PEP 600)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.tags import Tag

__all__ = ["wheel_tags"]


def wheel_tags(python: str, machine: str, glibc: str) -> list[Tag]:
    """The tags that CPython takes on Linux, the best first.

    Args:
        python: Its minor version, such as ``"3.12"``.
        machine: ``x86_64``, ``aarch64``, …
        glibc: The version of the C library, such as ``"2.28"``.
    """
    from packaging import tags

    major, minor = (int(part) for part in python.split("."))
    newest = int(glibc.split(".")[1]) if glibc.startswith("2.") else 99
    platforms = []
    older = {17: "2014", 12: "2010", 5: "1"}
    for number in range(newest, 4, -1):
        platforms.append(f"manylinux_2_{number}_{machine}")
        if number in older:
            platforms.append(f"manylinux{older[number]}_{machine}")
    platforms.append(f"linux_{machine}")
    interpreter = f"cp{major}{minor}"
    return [
        *tags.cpython_tags((major, minor), platforms=platforms),
        *tags.compatible_tags((major, minor), interpreter, platforms),
    ]
