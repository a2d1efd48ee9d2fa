"""A submit description with line numbers: HTCondor's own parser tells values, not where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import attrs

from wingspan.lint._vocabulary import OTHER_NAMES

__all__ = ["LARGEST", "Command", "SubmitFile", "parse_submit", "split_list"]

#: Job files are small; what has more bytes is data.
LARGEST = 4 << 20
_COMMAND = re.compile(r"\s*(?P<key>[+-]?[A-Za-z_][\w.]*)\s*(?P<tag>@?=)(?P<value>.*)", re.DOTALL)
_STATEMENT = re.compile(r"\s*(if|elif|else|endif|include|use|error|warning)\b", re.IGNORECASE)
_QUEUE = re.compile(r"\s*queue\b(?!\s*=)(?P<rest>.*)", re.IGNORECASE | re.DOTALL)
#: A line at which HTCondor's parser reads another file or executes a command (colons may stand before it), or that becomes one
#: when it is joined with the next.
_INCLUDES = re.compile(
    r"^[^a-z#\n]*(?:include|use\b|(?:i(?:n(?:c(?:l(?:ud?)?)?)?)?|us?)\s*\\)", re.IGNORECASE | re.MULTILINE
)
_MACRO = re.compile(r"\$\$?\(?\[?\(([\w.+]+)")


@attrs.frozen(kw_only=True)
class Command:
    """A ``key = value`` line.

    Attributes:
        line: Number of its first line.
        key: As written, without a leading ``+`` or ``MY.``; lower case, since submit commands have no case. Of a command that has
            several names, the one of the manual page.
        written: As written.
        value: The value, continuation lines joined, without surrounding blanks.
        custom: A job attribute (``+Name``, ``MY.Name``), not a submit command.
        segment: How many queue statements stand before it.
        branch: The if-block it is in: lines of different branches exclude each other. Empty: none.
    """

    line: int
    key: str
    written: str
    value: str
    custom: bool
    segment: int
    branch: tuple[int, ...]

    @property
    def has_macros(self) -> bool:
        """Whether the value is known only when the job is submitted or matched."""
        return "$" in self.value


@attrs.define(slots=False)
class SubmitFile:
    """A submit description.

    Attributes:
        path: The file.
        lines: Its lines as they are, without line ends.
        commands: The ``key = value`` lines, in order.
        queues: Line number and text after ``queue`` of each queue statement.
        carriage_returns: Whether lines end as on Windows.
    """

    path: Path
    lines: list[str]
    commands: list[Command]
    queues: list[tuple[int, str]]
    carriage_returns: bool = False

    def of(self, *keys: str) -> list[Command]:
        """The submit commands of these names (lower case), in order."""
        return [each for each in self.commands if each.key in keys and not each.custom]

    def last(self, *keys: str) -> Command | None:
        """The one that counts."""
        found = self.of(*keys)
        return found[-1] if found else None

    def custom(self, key: str) -> list[Command]:
        """The job attributes of this name."""
        return [each for each in self.commands if each.custom and each.key == key.lower()]

    @cached_property
    def includes(self) -> bool:
        """Whether the file takes something from elsewhere: what it lacks may be there, and HTCondor's parser would read or
        execute what is named.
        """
        return _INCLUDES.search("\n".join(self.lines)) is not None

    def expanded(self, value: str) -> str:
        """`value` with the macros that the file sets itself replaced, some levels deep."""
        known = {each.key: each.value for each in self.commands if not each.custom}
        for _ in range(5):
            if len(value) < 10_000:
                value = re.sub(
                    r"\$\((\w+)(?::[^()]*)?\)", lambda match: known.get(match[1].lower(), match[0]), value
                )
        return value

    @cached_property
    def referenced(self) -> frozenset[str]:
        """Names that are used as macros, ``$(name)``."""
        return frozenset(name.lower() for name in _MACRO.findall("\n".join(self.lines)))

    @cached_property
    def script(self) -> Path | None:
        """The script that the job executes, if it is a file that can be found from here."""
        executable = self.last("executable")
        if executable is None or executable.has_macros:
            return None
        name = executable.value.strip('"')
        if Path(name).name in {"bash", "sh", "env"}:
            arguments = self.last("arguments")
            words = arguments.value.strip('"').split() if arguments else []
            name = next((word for word in words if word.endswith(".sh")), "")
        base = self.last("initialdir")
        for folder in (self.path.parent, self.path.parent / base.value if base else self.path.parent):
            if name and _is_text(folder / name):
                return folder / name
        return None


def _is_text(path: Path) -> bool:
    """Whether it is a file that can be a script: readable, small, and no program."""
    try:
        return path.is_file() and path.stat().st_size <= LARGEST and b"\0" not in path.read_bytes()
    except OSError:
        return False


def _logical(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines with their continuations joined, and the number of the first."""
    number = 0
    while number < len(lines):
        first, text = number, lines[number]
        # a comment continues no other line, and comments within a continued one are skipped
        while text.rstrip().endswith("\\") and not text.lstrip().startswith("#") and number + 1 < len(lines):
            number += 1
            following = lines[number]
            text = text.rstrip()[:-1] + (
                " \\" if following.lstrip().startswith("#") else " " + following.strip()
            )
        yield first + 1, text
        number += 1


@attrs.define
class _Branches:
    """Which branches of if-blocks a line is in; each branch has a number of its own."""

    open: list[int] = attrs.field(factory=list)
    count: int = 0

    def statement(self, word: str) -> None:
        self.count += 1
        if word == "if":
            self.open.append(self.count)
        elif word in {"elif", "else"} and self.open:
            self.open[-1] = self.count
        elif word == "endif" and self.open:
            self.open.pop()


def parse_submit(path: Path, text: str) -> SubmitFile:
    """Read a submit description. It is never refused: what is no command is passed over.

    >>> parsed = parse_submit(Path("x.sub"), "Executable = a.sh\\n+WantGPULab = true\\nqueue 3\\n")
    >>> [(each.line, each.key, each.value, each.custom) for each in parsed.commands]
    [(1, 'executable', 'a.sh', False), (2, 'wantgpulab', 'true', True)]
    >>> parsed.queues
    [(3, '3')]
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    commands: list[Command] = []
    queues: list[tuple[int, str]] = []
    branches = _Branches()
    until: str | None = None
    for number, logical in _logical(lines):
        stripped = logical.strip()
        if until is not None:
            if stripped == until or (until == ")" and stripped.endswith(")")):
                until = None
            continue
        if not stripped or stripped.startswith("#"):
            continue
        if statement := _STATEMENT.match(logical):
            branches.statement(statement[1].lower())
            if not re.match(r"\s*\w+\s*=", logical):
                continue
        if queue := _QUEUE.fullmatch(logical):
            rest = queue["rest"].strip()
            queues.append((number, rest))
            if rest.count("(") > rest.count(")"):
                until = ")"
            continue
        if command := _COMMAND.fullmatch(logical):
            written = command["key"]
            custom = written[0] in "+-" or written.lower().startswith("my.")
            key = written.lstrip("+-").lower()
            commands.append(
                Command(
                    line=number,
                    key=key.removeprefix("my.") if custom else key,
                    written=written,
                    value=command["value"].strip(),
                    custom=custom,
                    segment=len(queues),
                    branch=tuple(branches.open),
                )
            )
            if command["tag"] == "@=":
                until = "@" + command["value"].strip()
    submit = SubmitFile(
        path=path, lines=lines, commands=commands, queues=queues, carriage_returns="\r\n" in text
    )
    keys = {each.key for each in commands}
    submit.commands = [
        # condor_submit looks for the other name where the first is not there; one that is used as a macro is a variable
        attrs.evolve(each, key=OTHER_NAMES[each.key])
        if not each.custom
        and each.key in OTHER_NAMES
        and OTHER_NAMES[each.key] not in keys
        and each.key not in submit.referenced
        else each
        for each in commands
    ]
    return submit


def split_list(value: str) -> list[str]:
    """The entries of a comma-separated value such as that of transfer_input_files.

    >>> split_list("a.py, src/ ,osdf:///x/y.tar")
    ['a.py', 'src/', 'osdf:///x/y.tar']
    """
    return [
        entry.strip().strip('"') for entry in value.strip().strip('"').split(",") if entry.strip().strip('"')
    ]
