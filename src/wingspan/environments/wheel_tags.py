"""Which wheels CPython on Linux takes: their tags (PEP 425, PEP 600), and values of markers (PEP 508)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from packaging.markers import Environment
    from packaging.tags import Tag

__all__ = ["machine_of", "markers", "wheel_tags"]


def machine_of(subdir: str) -> str:
    """The name that wheels have for the machines of a conda platform.

    >>> machine_of("linux-64"), machine_of("linux-aarch64")
    ('x86_64', 'aarch64')
    """
    machine = subdir.partition("-")[2]
    return {"64": "x86_64", "32": "i686"}.get(machine, machine)


def markers(python: str, machine: str) -> Environment:
    """What environment markers are compared with.

    Args:
        python: The whole version, such as ``"3.12.4"``.
        machine: ``x86_64``, ``aarch64``, …
    """
    return {
        "implementation_name": "cpython",
        "implementation_version": python,
        "os_name": "posix",
        "platform_machine": machine,
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": python,
        "python_version": ".".join(python.split(".")[:2]),
        "sys_platform": "linux",
    }


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
