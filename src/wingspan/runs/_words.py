"""Words of a command or a path for the shell, in which a sweep's parameters stand."""

from __future__ import annotations

import glob
import re
from collections.abc import Sequence

from wingspan._shell import Shell, double_quoted, quoted

__all__ = [
    "filled",
    "inside_quotes",
    "path_word",
    "pattern",
    "pattern_parts",
    "split",
    "uses_parameter",
    "word",
]


def uses_parameter(text: str, name: str) -> bool:
    """Whether a command uses a sweep's parameter: as ``{name}``, ``$name`` or ``${name}``.

    >>> uses_parameter("train.py --lr {lr}", "lr"), uses_parameter("echo $lrs", "lr")
    (True, False)
    """
    return re.search(rf"\{{{name}\}}|\${name}\b|\$\{{{name}\}}", text) is not None


def word(word: str, parameters: Sequence[str]) -> Shell:
    """A word for the shell in which ``{name}`` of a parameter is the value of its variable.

    ``${name}`` stays as it is: a shell that the command starts reads it.

    >>> print(word("--lr={lr} or so", ("lr",)), word("echo ${lr}", ("lr",)))
    --lr="${lr}"' or so' 'echo ${lr}'
    """
    if not parameters:
        return quoted(word)
    pieces = re.split(r"((?<!\$)\{(?:" + "|".join(parameters) + r")\})", word)
    shown = [f'"${piece}"' if number % 2 else quoted(piece) for number, piece in enumerate(pieces) if piece]
    return Shell("".join(shown) or "''")


def pattern(path: str, parameters: Sequence[str] = ()) -> Shell:
    """A path for the shell in which ``*``, ``?`` and ``[`` match, and ``{name}`` of a parameter is its value.

    >>> print(pattern("results/*.csv"), pattern("my file"), pattern("{lr}/*.csv", ["lr"]))
    results/*.csv 'my file' "${lr}"/*.csv
    """
    if not any(character in path for character in "*?["):
        return path_word(path, parameters)
    pieces = split(path, parameters)
    return Shell(
        "".join(
            f'"${piece}"' if number % 2 else re.sub(r"([^A-Za-z0-9_./=:@%+*?\[\]-])", r"\\\1", piece)
            for number, piece in enumerate(pieces)
        )
    )


def path_word(path: str, parameters: Sequence[str]) -> Shell:
    """A path as a word for the shell; ``${name}`` is the parameter's value, too."""
    return word("".join(split(path, parameters)), parameters)


def split(path: str, parameters: Sequence[str]) -> list[str]:
    """The pieces of a text: plain text and names of parameters (``{name}``), alternately."""
    return re.split(r"\$?(\{(?:" + "|".join(parameters) + r")\})", path) if parameters else [path]


def filled(text: str, parameters: Sequence[str], row: Sequence[str]) -> str:
    """`text` with the values of one row of the sweep, as the job's script fills them in.

    >>> filled("model-{lr}-${seed}.pt", ["lr", "seed"], ["0.1", "7"])
    'model-0.1-7.pt'
    """
    values = {f"{{{name}}}": value for name, value in zip(parameters, row, strict=True)}
    return "".join(values.get(piece, piece) for piece in split(text, parameters))


def pattern_parts(path: str, parameters: Sequence[str], row: Sequence[str]) -> list[str]:
    """The parts of an output's path as patterns of `fnmatch`, with the values of one row of the sweep.

    Values stand for themselves: a star in one is a star.

    >>> pattern_parts("{lr}/*.csv", ["lr"], ["[1]"]), pattern_parts("a//b", [], [])
    (['[[]1]', '*.csv'], ['a', 'b'])
    """
    values = {f"{{{name}}}": glob.escape(value) for name, value in zip(parameters, row, strict=True)}
    text = "".join(values.get(piece, piece) for piece in split(path, parameters))
    return [part for part in text.split("/") if part not in ("", ".")]


def inside_quotes(value: str, parameters: Sequence[str]) -> Shell:
    """A value in double quotes: the shell fills in parameters and variables."""
    pieces = enumerate(split(value, parameters))
    return double_quoted("".join(f"${piece}" if number % 2 else piece for number, piece in pieces))
