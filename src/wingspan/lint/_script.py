"""A shell script with line numbers: logical lines, without comments and here-documents; and its sbatch
options.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import attrs

from wingspan.lint._sbatch_options import Sbatch, parse_options

__all__ = ["Script", "ScriptLine", "parse_script"]

#: What opens or closes something in a shell's line, or begins a comment.
_MARK = re.compile(
    r"""\\.|(?P<word>\$'(?:[^'\\]|\\.)*'|'|<<<|<<|#)|(?P<bracket>"|\$?\(\(|\$[({]|[(}]|\)\)?)"""
)
_CLOSES = {'"': '"', "((": "))", "(": ")", "=(": ")", "${": "}", '${"': "}"}
_HEREDOC = re.compile(
    r"<<(?P<dash>-?)[ \t]*(?:(?P<quote>['\"])(?P<quoted>.+?)(?P=quote)|\\?(?P<word>[\w.+-]+))"
)
#: What is printed for people, and not executed: up to what is executed, redirected, or the end
#: of the command.
_SAID = re.compile(r"(?:^|(?<=[\s;&|({]))(?:echo|printf)\s")
_TOLD = re.compile(r"""[^"'`;&|<>()$\\]+|\\.|\$(?!\()|"(?:[^"\\`$]|\\.|\$(?!\())*"|'[^']*'""", re.DOTALL)
_SBATCH = re.compile(r"#SBATCH(?P<rest>.*)")


@attrs.frozen(kw_only=True)
class ScriptLine:
    """A logical line: its number, and its text without comment; continuations, and quotes and arrays over
    several lines, joined.
    """

    line: int
    text: str


@attrs.frozen(kw_only=True, slots=False)
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

    @cached_property
    def header(self) -> str:
        """The lines above the first command; of a template with ``<% … %>`` all, as commands in it need
        not be the shell's.
        """
        if any(line.lstrip().startswith("<%") for line in self.lines):
            return "\n".join(self.lines)
        return "\n".join(self.lines[: self.code[0].line - 1] if self.code else self.lines)

    def found(self, pattern: re.Pattern[str]) -> Iterator[tuple[ScriptLine, re.Match[str]]]:
        """The lines of code that match somewhere, with the first place."""
        for each in self.code:
            match = pattern.search(each.text)
            if match is not None:
                yield each, match

    @cached_property
    def text(self) -> str:
        """All that is executed."""
        return "\n".join(each.text for each in self.code)


#: What is longer is data, not a command; rules look at its beginning.
_LONGEST = 2000


def _scan(line: str, inside: list[str], documents: list[tuple[bool, str]]) -> str:
    """The line without its comment.

    Args:
        line: A line of the file.
        inside: What is open where it begins, outermost first, and after the call where it ends: ``'``, ``"``,
            ``(``, ``((``, ``${``, and ``=(`` for an array.
        documents: Here-documents that begin in the line are added: whether tabs may stand before the end
            line, and that line.
    """
    at = 0
    while match := _MARK.search(line, at):
        mark, start, at = match[0], match.start(), match.end()
        top = inside[-1] if inside else ""
        quoted = bool(inside) and inside[-1].endswith('"')
        if top == "'":
            end = line.find("'", start)
            if end < 0:
                break
            inside.pop()
            at = end + 1
        elif quoted and mark == match["word"]:
            at = start + 1  # of these marks, nothing means anything in double quotes
        elif mark == "'":
            inside.append(mark)
        elif mark == "<<" and top not in {"((", "${", '${"'} and (document := _HEREDOC.match(line, start)):
            documents.append((bool(document["dash"]), document["quoted"] or document["word"]))
            at = document.end()
        elif mark == "#" and top not in {"((", "${", '${"'} and line[start - 1 : start] in " \t;&|()":
            return line[:start]
        elif match["bracket"]:
            at = start + _nest(mark, inside, array=line[start - 1 : start] == "=")
    return line


def _nest(mark: str, inside: list[str], *, array: bool) -> int:
    """Open or close what `mark` does; how many characters of it that took.

    A ``${`` within double quotes is kept as ``${"``.
    """
    top = inside[-1] if inside else ""
    quoted = top.endswith('"')
    if mark == '"' and top != '"':
        inside.append(mark)
    elif mark == "${":
        inside.append('${"' if quoted else mark)
    elif mark in {"$((", "$("}:
        inside.append(mark.replace("$(", "("))
    elif mark in {"((", "("} and not quoted and top != "${":
        inside.append("=(" if array and mark == "(" else mark)
    elif mark == _CLOSES.get(top):
        inside.pop()
    elif mark in {"))", ")"} and top in {"((", "(", "=("}:
        inside[-1:] = ["("] if top == "((" else []  # a subshell in another one, and no arithmetic
        return 1
    else:
        return 1
    return len(mark)


class _Lines:
    """The lines of a file, and where each text is the next time."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self._places: dict[bool, dict[str, list[int]]] = {}

    def next(self, text: str, start: int, *, tabs: bool) -> int | None:
        """The first line from `start` on that is `text`, with `tabs` but for those at its beginning."""
        if tabs not in self._places:
            places: dict[str, list[int]] = {}
            for number, line in enumerate(self.lines):
                places.setdefault(line.lstrip("\t") if tabs else line, []).append(number)
            self._places[tabs] = places
        found = self._places[tabs].get(text, [])
        at = bisect_left(found, start)
        return found[at] if at < len(found) else None


def _after(lines: _Lines, number: int, documents: list[tuple[bool, str]]) -> int:
    """The number of the line after here-documents that begin with line `number`; what has no end line is
    none.
    """
    for tabs, word in documents:
        end = lines.next(word, number, tabs=tabs)
        if end is not None:
            number = end + 1
    return number


def _goes_on(line: str) -> bool:
    """Whether a backslash at its end continues a line: an odd number of them."""
    return (len(line) - len(line.rstrip("\\"))) % 2 == 1


def _logical(lines: _Lines, number: int, *, over_lines: bool) -> tuple[str, int, bool]:
    """The line `number` without comment, joined with those that it is continued by; the number of the line
    after; and
    whether all is closed there. Only with `over_lines` do quotes and arrays go on in the next line.
    """
    inside: list[str] = []
    documents: list[tuple[bool, str]] = []
    parts: list[str] = []
    while number < len(lines.lines):
        line = _scan(lines.lines[number], inside, documents)
        number += 1
        if _goes_on(line):
            parts.append(line[:-1] + " ")
            continue
        parts.append(line)
        number, documents = _after(lines, number, documents), []
        if not over_lines or not any(each in _OVER_LINES for each in inside):
            return "".join(parts), number, True
        parts.append("\n")
    return "".join(parts), number, not any(each in _OVER_LINES for each in inside)


#: What goes on in the next line.
_OVER_LINES = frozenset(["'", '"', "=("])


def _without_said(text: str) -> str:
    """The line without the words of echo and printf."""
    parts: list[str] = []
    at = 0
    while said := _SAID.search(text, at):
        parts.append(text[at : said.end()])
        at = said.end()
        while told := _TOLD.match(text, at):
            at = told.end()
    parts.append(text[at:])
    return "".join(parts)


def parse_script(path: Path, text: str) -> Script:
    """Read a shell script as far as rules about it need.

    >>> script = parse_script(Path("x.sh"), "#!/bin/bash\\n#SBATCH -t 10\\nrun \\\\\\n  --fast # now\\n")
    >>> script.code
    [ScriptLine(line=3, text='run    --fast ')]
    >>> [(option.line, option.name, option.value) for option in script.sbatch]
    [(2, 'time', '10')]
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    code: list[ScriptLine] = []
    sbatch: list[Sbatch] = []
    number = 0
    over_lines = True
    all_lines = _Lines(lines)
    while number < len(lines):
        first, line = number, lines[number]
        number += 1
        if option := _SBATCH.match(line):
            sbatch += parse_options(first + 1, option["rest"], effective=not code)
            continue
        if (
            line.lstrip().startswith(("#", "{%", "{{")) or not line.strip()
        ):  # of a template the latter will be something else
            continue
        joined, number, closed = _logical(all_lines, first, over_lines=over_lines)
        if not closed:  # a quote that is none, as far as can be told: from here on a line is a line
            over_lines = False
            joined, number, _ = _logical(all_lines, first, over_lines=False)
        code.append(ScriptLine(line=first + 1, text=_without_said(joined[:_LONGEST])))
    return Script(path=path, lines=lines, code=code, sbatch=sbatch, carriage_returns="\r\n" in text)
