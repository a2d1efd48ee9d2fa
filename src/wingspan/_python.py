"""The Python that executes this process, where others are to be started with it."""

from __future__ import annotations

import sys

from wingspan.errors import SettingsError

__all__ = ["options_of_this_python", "this_python"]

#: Options ``-X`` that change what code does, not only what is told or how fast Python starts.
_CARRIED = (
    "dev",
    "faulthandler",
    "gil",
    "int_max_str_digits",
    "tracemalloc",
    "utf8",
    "warn_default_encoding",
)


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


def options_of_this_python() -> dict[str, list[str]]:
    """How this Python was started, as far as code that is executed elsewhere depends on it.

    Returns:
        ``options``: words for a command, such as ``["-O", "-X", "dev"]``; ``warnings``: what ``-W`` and
        PYTHONWARNINGS said. Each is missing where there is nothing to say.
    """
    words = ["-" + "O" * sys.flags.optimize] if sys.flags.optimize else []
    for name, value in sys._xoptions.items():
        if name in _CARRIED:
            words += ["-X", name if value is True else f"{name}={value}"]
    said = {"options": words, "warnings": list(sys.warnoptions)}
    return {what: given for what, given in said.items() if given}
