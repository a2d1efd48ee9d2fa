"""A shell script with line numbers: logical lines, without comments and here-documents; and its sbatch
options.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import attrs

__all__ = ["Sbatch", "Script", "ScriptLine", "parse_script"]

_HEREDOC = re.compile(r"<<(?P<dash>-?)\s*(?P<quote>['\"]?)(?P<word>\w+)(?P=quote)")
#: A # that begins a comment: at the start of a word, and not in quotes as far as one line can tell.
_COMMENT = re.compile(r"""((?:[^'"\\#]|\\.|'[^']*'|"(?:[^"\\]|\\.)*"|(?<=[^\s;&|(])#)*)(?:#.*)?""", re.DOTALL)
_SBATCH = re.compile(r"#SBATCH\s+(?P<rest>.*)")
#: sbatch's one-letter options, by their long names (sbatch manual page).
_LONG = {
    "a": "array",
    "A": "account",
    "c": "cpus-per-task",
    "C": "constraint",
    "d": "dependency",
    "D": "chdir",
    "e": "error",
    "G": "gpus",
    "J": "job-name",
    "n": "ntasks",
    "N": "nodes",
    "o": "output",
    "p": "partition",
    "q": "qos",
    "t": "time",
    "w": "nodelist",
    "x": "exclude",
}


@attrs.frozen(kw_only=True)
class ScriptLine:
    """A logical line: its number, and its text without comment, continuations joined."""

    line: int
    text: str


@attrs.frozen(kw_only=True)
class Sbatch:
    """An option in a ``#SBATCH`` line; `effective` is false where sbatch has stopped reading."""

    line: int
    name: str
    value: str
    effective: bool


@attrs.frozen(kw_only=True)
class Script:
    """A shell script.

    Attributes:
        path: The file.
        lines: Its lines as they are, without line ends.
        code: Logical lines that are executed.
        sbatch: Options of sbatch.
        carriage_returns: Whether lines end as on Windows.
    """

    path: Path
    lines: list[str]
    code: list[ScriptLine]
    sbatch: list[Sbatch]
    carriage_returns: bool = False

    @property
    def text(self) -> str:
        """All that is executed."""
        return "\n".join(each.text for each in self.code)


#: What is longer is data, not a command; rules look at its beginning.
_LONGEST = 2000


def _without_comment(line: str) -> str:
    line = line[:_LONGEST]
    match = _COMMENT.match(line)
    # an open quote reaches over the end of the line: leave it as it is
    return match[1] if match and match.end() == len(line) else line


def _options(rest: str) -> Iterator[tuple[str, str]]:
    """What a ``#SBATCH`` line says; a word after an option that takes one is its value."""
    words = re.findall(r"""(?:[^\s'"]|'[^']*'|"[^"]*")+""", _without_comment(rest))
    while words:
        word = words.pop(0)
        if word.startswith("--"):
            name, equals, value = word[2:].partition("=")
            if not equals and words and not words[0].startswith("-"):
                value = words.pop(0)
            yield name, value.strip("'\"")
        elif re.match(r"-[A-Za-z]", word):
            value = word[2:]
            if not value and words and not words[0].startswith("-"):
                value = words.pop(0)
            yield _LONG.get(word[1], word[1]), value.strip("'\"")


def parse_script(path: Path, text: str) -> Script:
    """Read a shell script as far as rules about it need.

    >>> script = parse_script(Path("x.sh"), "#!/bin/bash\\n#SBATCH -t 10\\nrun \\\\\\n  --fast # now\\n")
    >>> script.code
    [ScriptLine(line=3, text='run    --fast ')]
    >>> script.sbatch
    [Sbatch(line=2, name='time', value='10', effective=True)]
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    code: list[ScriptLine] = []
    sbatch: list[Sbatch] = []
    number = 0
    while number < len(lines):
        first, line = number, lines[number]
        number += 1
        if option := _SBATCH.match(line):
            for name, value in _options(option["rest"]):
                sbatch.append(Sbatch(line=first + 1, name=name, value=value, effective=not code))
            continue
        if line.lstrip().startswith("#") or not line.strip():
            continue
        joined = line
        while joined.endswith("\\") and number < len(lines):
            joined = joined[:-1] + " " + lines[number]
            number += 1
        joined = _without_comment(joined)
        code.append(ScriptLine(line=first + 1, text=joined))
        for heredoc in _HEREDOC.finditer(joined):
            while number < len(lines) and lines[number].strip() != heredoc["word"]:
                number += 1
            number += 1
    return Script(path=path, lines=lines, code=code, sbatch=sbatch, carriage_returns="\r\n" in text)
