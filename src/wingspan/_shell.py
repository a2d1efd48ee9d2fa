"""Shell that Python writes: this module alone quotes words, and puts values into files of shell.

Text is a plain `str` until it is quoted, and a `Shell` from then on. A function that takes both quotes a
plain text and leaves a `Shell` as it is: nothing is quoted twice, and nothing is forgotten.
"""

from __future__ import annotations

import functools
import os
import re
import shlex
from collections.abc import Iterable, Mapping
from pathlib import Path

from wingspan.errors import SettingsError

__all__ = [
    "Shell",
    "UnfilledPlace",
    "double_quoted",
    "exports",
    "filled",
    "quoted",
    "template",
    "variable",
    "words",
]

_VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLACE = re.compile(r"^[ \t]*@([A-Z][A-Z_]*)@\n|@([A-Z][A-Z_]*)@", re.MULTILINE)


class Shell(str):
    """Text that a shell reads as it stands."""

    __slots__ = ()


class UnfilledPlace(ValueError):
    """A file of shell has a place without a value, or a value has no place: a mistake of Wingspan's."""


def quoted(text: str | int | os.PathLike[str]) -> Shell:
    """`text` as one word of a POSIX shell, whatever is in it; a `Shell` as it is.

    >>> print(quoted("it's"), quoted(Shell('"$HOME"')), quoted(3))
    'it'"'"'s' "$HOME" 3
    """
    return text if isinstance(text, Shell) else Shell(shlex.quote(str(text)))


def words(texts: Iterable[str]) -> Shell:
    """A command, of its words.

    >>> print(words(["cat", "my file", Shell('"$folder"')]))
    cat 'my file' "$folder"
    """
    return Shell(" ".join(map(quoted, texts)))


def double_quoted(text: str) -> Shell:
    r"""`text` in double quotes: the shell puts in what begins with a dollar, and does nothing else with it.

    >>> print(double_quoted('$HOME "of" `me`'))
    "$HOME \"of\" \`me\`"
    """
    return Shell('"' + re.sub(r'([\\"`])', r"\\\1", text) + '"')


def variable(name: str) -> Shell:
    """`name`, if a shell's variable can have it.

    Raises:
        SettingsError: It cannot.
    """
    if not _VARIABLE.fullmatch(name):
        raise SettingsError(
            f"{name!r} cannot be the name of a variable",
            hint="letters, digits and underscores, beginning with a letter or an underscore",
        )
    return Shell(name)


def exports(variables: Mapping[str, str]) -> list[Shell]:
    """A line for each variable.

    Raises:
        SettingsError: One has a name that no variable can have.

    >>> exports({"LR": "0.1 or so"})
    ["export LR='0.1 or so'"]
    """
    return [Shell(f"export {variable(name)}={quoted(value)}") for name, value in variables.items()]


@functools.cache
def template(path: Path) -> str:
    """A file of shell with places, read once."""
    return path.read_text(encoding="utf-8")


def filled(path: Path, /, **places: str | int) -> Shell:
    r"""A file of shell in which each ``@NAME@`` has the value of ``name``: text as one quoted word, `Shell`
    as it is.

    A place must not stand between quotes. A place that has a line to itself is for whole lines: the line goes
    if the value is empty.

    Raises:
        UnfilledPlace: The file has a place without a value, or a value has no place.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "x.sh"
    >>> _ = path.write_text("echo @WHAT@\n@MORE@\n")
    >>> print(filled(path, what="a b", more=Shell("")), end="")
    echo 'a b'
    """
    text = template(path)
    wanted = {(found[1] or found[2]).lower() for found in _PLACE.finditer(text)}
    if wanted != places.keys():
        lacking, left = sorted(wanted - places.keys()), sorted(places.keys() - wanted)
        raise UnfilledPlace(
            f"{path.name}: no value for {lacking}" if lacking else f"{path.name}: no place for {left}"
        )

    def value(found: re.Match[str]) -> str:
        shown = quoted(places[(found[1] or found[2]).lower()])
        if found[1] is None:
            return shown
        return shown if not shown or shown.endswith("\n") else f"{shown}\n"

    # All places at once: what a value has in it is no place.
    return Shell(_PLACE.sub(value, text))
