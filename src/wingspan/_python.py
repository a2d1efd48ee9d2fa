"""The Python that executes this process, where others are to be started with it."""

from __future__ import annotations

import sys

from wingspan.errors import SettingsError

__all__ = ["this_python"]


def this_python() -> str:
    """Path of this process's Python.

    Raises:
        SettingsError: It is not known, as Python is a part of another program.
    """
    if not sys.executable:
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        raise SettingsError(
            "this Python is a part of another program and does not know its own path (sys.executable is empty), so that no other "
            "process can be started with it",
            hint=f"set it before: import sys; sys.executable = '/path/to/python{version}', with the same packages",
        )
    return sys.executable
