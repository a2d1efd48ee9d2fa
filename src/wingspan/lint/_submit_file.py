"""A submit description with line numbers: HTCondor's own parser tells values, not where they stand."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

import attrs

from wingspan.lint._macros import Macros
from wingspan.lint._queue import Queue, parse_queue
from wingspan.lint._vocabulary import OTHER_NAMES

__all__ = [
    "LARGEST",
    "Answer",
    "Command",
    "SubmitFile",
    "exists",
    "is_template",
    "parse_submit",
    "split_list",
]

#: Job files are small; what has more bytes is data.
LARGEST = 4 << 20
_NAME = re.compile(r"[+-][^\s=:]+|[\w./]+", re.ASCII)
_STATEMENT = re.compile(
    r"(?P<word>if|elif|else|endif)(?:\s+(?P<rest>.*))?|@?(?P<other>include|use)\b(?!\s*=).*"
    r"|(?:error|warning)\s*:.*",
    re.IGNORECASE | re.DOTALL,
)
_QUEUE = re.compile(r"(?:queue|iter(?:a(?:te?)?)?)(?:\s+(?P<rest>.*))?", re.IGNORECASE | re.DOTALL)
#: A line at which HTCondor's parser reads another file or executes a command (colons may stand before it), or
#: that becomes one when it is joined with the next.
_INCLUDES = re.compile(
    r"^[^a-z#\n]*(?:include|use\b|(?:i(?:n(?:c(?:l(?:ud?)?)?)?)?|us?)[^\S\n]*\\)",
    re.IGNORECASE | re.MULTILINE,
)
#: What is in the brackets of $(…), $$(…), $F(…) and the like.
_MACRO = re.compile(r"\$\$?\w{0,40}\[?\({1,3}([^()$\n]*)")
_WORD = re.compile(r"[\w.+]+")
_DEFINED = re.compile(r"\bdefined[ \t]+([\w.]+)", re.IGNORECASE)
_CONDITION = re.compile(
    r"(?:!\s*)*(?:true|false|yes|no|t|f|y|n|[-+]?\d+(?:\.\d+)?|defined\b.*|version\s+.*)", re.IGNORECASE
)
#: Words in the place of a value that is to come.
_PLACEHOLDER = re.compile(
    r"<[A-Za-z][\w -]*>|(?<![$\w]){[A-Za-z]\w*}"
    r"|(?<![A-Za-z$(])(?:[A-Z]+_)*(?:JOB|WORK|SAMPLE|USER|FILE|INPUT|OUTPUT|DATA|LOG|HOME|SUBMIT|RUN|EXE)?_?"
    r"(?:DIR|DIRECTORY|PATH|NAME|FOLDER)(?![A-Za-z)])"
)
#: How much of a value is looked at where it might be endless.
_LOOKED_AT = 20_000
#: If-blocks within if-blocks: nobody has more, and HTCondor allows fewer.
_DEEPEST = 32


@attrs.frozen(kw_only=True)
class Command:
    """A ``key = value`` line.

    Attributes:
        line: Number of its first line.
        key: As written, without a leading ``+`` or ``MY.``; lower case, since submit commands have no case.
            Of a command that has several names, the one of the manual page.
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


@attrs.frozen
class Answer:
    """What condor_submit said.

    Attributes:
        refused: Whether it refuses the file.
        line: The line that it means. 1 where it tells none.
        why: Its reason, in one line.
    """

    refused: bool
    line: int = 1
    why: str = ""


@attrs.frozen
class Fault:
    """What cannot be read as a line of a submit description."""

    line: int
    what: str


@attrs.define(slots=False)
class SubmitFile:
    """A submit description.

    Attributes:
        path: The file.
        lines: Its lines as they are, without line ends.
        commands: The ``key = value`` lines, in order.
        queues: The queue statements.
        behind: Number of the first line behind the first queue statement that is neither empty nor a comment;
            0: there is none.
        faults: Lines that HTCondor's parser cannot read.
        carriage_returns: Whether lines end as on Windows.
        answer: What condor_submit said, if it was asked.
    """

    path: Path
    lines: list[str]
    commands: list[Command]
    queues: list[Queue]
    behind: int = 0
    faults: list[Fault] = attrs.field(factory=list)
    carriage_returns: bool = False
    answer: Answer | None = None

    @cached_property
    def _by_key(self) -> dict[tuple[str, bool], list[Command]]:
        found: dict[tuple[str, bool], list[Command]] = {}
        for each in self.commands:
            found.setdefault((each.key, each.custom), []).append(each)
        return found

    def of(self, *keys: str) -> list[Command]:
        """The submit commands of these names (lower case), in order."""
        found = [each for key in keys for each in self._by_key.get((key, False), ())]
        return sorted(found, key=lambda each: each.line) if len(keys) > 1 else found

    def last(self, *keys: str) -> Command | None:
        """The one that counts."""
        found = self.of(*keys)
        return found[-1] if found else None

    def found(self, pattern: re.Pattern[str], *keys: str) -> Iterator[tuple[Command, re.Match[str]]]:
        """The first place in each submit command of these names that matches; of long values the rest is
        not looked at.
        """
        for command in self.of(*keys):
            match = pattern.search(command.value[:_LOOKED_AT])
            if match is not None:
                yield command, match

    def custom(self, key: str) -> list[Command]:
        """The job attributes of this name."""
        return self._by_key.get((key.lower(), True), [])

    def attribute(self, name: str) -> Command | None:
        """What sets an attribute of the job directly, if something does."""
        found = self.custom(name)
        return found[-1] if found else None

    @property
    def universe(self) -> str:
        """The universe in small letters; where none is named, what an image says, else vanilla."""
        said = self.last("universe")
        if said is not None and said.value:
            return self.expanded(said.value).lower()
        return "container" if self.of("container_image", "docker_image") else "vanilla"

    @cached_property
    def text(self) -> str:
        """The whole file, with line ends as on Unix."""
        return "\n".join(self.lines)

    @cached_property
    def includes(self) -> bool:
        """Whether the file takes something from elsewhere: what it lacks may be there, and HTCondor's parser
        would read or
        execute what is named.
        """
        return _INCLUDES.search(self.text) is not None

    @cached_property
    def is_template(self) -> bool:
        """Whether something else makes a submit description of it first. What a program is given may look so,
        too: in comments, arguments and variables only brackets count.
        """
        return has_brackets(self.text) or any(
            _PLACES.search(line) for line in self.text.splitlines() if not _NOT_FOR_US.match(line)
        )

    @cached_property
    def has_placeholders(self) -> bool:
        """Whether some value has a word that is to be replaced before the file is submitted, such as
        <name>, {name} or WORKDIR.
        """
        return any(_PLACEHOLDER.search(each.value[:_LOOKED_AT]) for each in self.commands)

    @cached_property
    def is_build_job(self) -> bool:
        """Whether it is for ``condor_submit -interactive``, which starts a shell and no executable."""
        return any(each.value.lower() == "true" for each in self.custom("IsBuildJob"))

    @cached_property
    def macros(self) -> Macros:
        """What the file's variables stand for."""
        return Macros(
            ((each.key, each.value, bool(each.branch)) for each in self.commands if not each.custom),
            {name for queue in self.queues for name in queue.variables},
        )

    def expanded(self, value: str) -> str:
        """`value` with the macros that the file sets itself replaced; what is not known here stays as it
        is written.
        """
        return self.macros.expanded(value)

    @cached_property
    def referenced(self) -> frozenset[str]:
        """Names (lower case) that are used as macros, ``$(name)``, by functions, or in conditions."""
        used = {word.lower() for inside in _MACRO.findall(self.text) for word in _WORD.findall(inside)}
        # if defined name
        return frozenset(used | {word.lower() for word in _DEFINED.findall(self.text)})

    @cached_property
    def base(self) -> Path:
        """The folder from which the file is submitted, as far as can be told: where its executable or
        list is.
        """
        named = [each.value.strip('"') for each in self.of("executable", "initialdir") if not each.has_macros]
        named += [queue.file for queue in self.queues if queue.file]
        here = self.path.parent
        candidates = [here, *list(here.absolute().parents)[:2]]
        names = [name for name in named if name and len(name) < 4096 and not name.startswith(("/", "$"))]

        def there(folder: Path) -> int:
            return sum(exists(folder / name) for name in names[:8])

        return max(candidates, key=there)  # of equals the first

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
        for folder in (self.base, self.base / base.value if base else self.base):
            if name and _is_text(folder / name):
                return folder / name
        return None


def exists(path: Path) -> bool:
    """Whether there is such a file; a value of a job file may be no name for one at all."""
    try:
        path.stat()
    except (OSError, ValueError):
        return False
    return True


_PLACES = re.compile(
    r"%\(\w{1,40}\)[0-9.]{0,4}[sdfgi]|(?<![\w?])\?\w{1,40}\?(?![\w?])|(?<![\w.@-])@\w{1,40}@(?![\w@])"
)


#: Lines of a submit description whose words are for somebody else.
_NOT_FOR_US = re.compile(r"\s*(#|(arguments|args|environment|env)\s*=)", re.IGNORECASE)


def is_template(text: str) -> bool:
    """Whether it has ``{{ … }}``, ``{% … %}`` or ``<% … %>``, as Jinja, ERB and their kin do; or
    ``%(name)s``, ``?name?`` or ``@name@``, as programs in Python and autoconf do.

    >>> is_template("queue {{ n }}"), is_template("awk '{{print $1}}'"), is_template("queue 3")
    (True, True, False)
    >>> is_template("queue %(jobs)d"), is_template("request_cpus = ?cores?"), is_template("a =?= b")
    (True, True, False)
    """
    return _PLACES.search(text) is not None or has_brackets(text)


def has_brackets(text: str) -> bool:
    """Whether it has brackets as Jinja, ERB and their kin do."""
    for opens, closes in (("{{", "}}"), ("{%", "%}"), ("<%", "%>")):
        at = text.find(opens)
        if at >= 0 and text.find(closes, at) >= 0:
            return True
    return False


def _is_text(path: Path) -> bool:
    """Whether it is a file that can be a script: readable, small, and no program."""
    try:
        return path.is_file() and path.stat().st_size <= LARGEST and b"\0" not in path.read_bytes()
    except (OSError, ValueError):
        return False


def _logical(lines: list[str]) -> Iterator[tuple[int, str]]:
    """Lines with their continuations joined, without surrounding blanks, and the number of the first.

    A comment does not go on in the next line; within a continued line it is passed over, and ends it unless a
    backslash stands at its own end.
    """
    number = 0
    while number < len(lines):
        first, text = number, lines[number].strip()
        number += 1
        if text.startswith("#") or not text.endswith("\\"):
            yield first + 1, text
            continue
        parts = [text[:-1]]
        while number < len(lines):
            following = lines[number].strip()
            number += 1
            more = following.endswith("\\")
            if not following.startswith("#"):
                parts.append(following[:-1] if more else following)
            if not more:
                break
        yield first + 1, "".join(parts).strip()


class _Branches:
    """Which branches of if-blocks a line is in; each branch has a number of its own."""

    def __init__(self) -> None:
        self.open: list[int] = []
        self._else: list[bool] = []
        self._count = 0

    def statement(self, word: str, rest: str) -> str | None:
        """What is wrong with it, if something is."""
        self._count += 1
        if word == "if":
            self.open.append(self._count)
            self._else.append(False)
            return None if "$" in rest or _CONDITION.fullmatch(rest.strip()) else f"if {rest}".strip()
        if not self.open:
            return f"{word} without if"
        if word == "endif":
            self.open.pop()
            self._else.pop()
            return None
        self.open[-1] = self._count
        if self._else[-1]:
            return f"{word} after else"
        self._else[-1] = word == "else" and not rest.lower().startswith("if ")
        return None


class _Reader:
    """Goes over the lines of a file."""

    def __init__(self, lines: list[str]) -> None:
        self.commands: list[Command] = []
        self.queues: list[Queue] = []
        self.faults: list[Fault] = []
        self.behind = 0
        self._lines = lines
        self._branches = _Branches()
        self._until: str | None = None
        self._block: list[str] = []

    def read(self) -> None:
        number = 0
        for number, logical in _logical(self._lines):
            if self._until is not None:
                self._within(logical)
            elif logical and not logical.startswith("#"):
                self._line(number, logical)
        if self._until is not None:
            what = "the list of the queue statement" if self._until == ")" else "the text that begins with @="
            self.faults.append(Fault(number, f"{what} has no end: {self._until}"))
        elif self._branches.open:
            self.faults.append(Fault(max(number, 1), "if without endif"))

    def _within(self, logical: str) -> None:
        """A line of a list of a queue statement, or of a text between @=tag and @tag."""
        if self._until == ")":
            if logical.startswith(")"):
                self._until = None
            elif logical and not logical.startswith("#"):
                self.queues[-1].items.append(logical)
        elif logical == self._until:
            self.commands[-1] = attrs.evolve(self.commands[-1], value="\n".join(self._block))
            self._until = None
        else:
            self._block.append(logical)

    def _line(self, number: int, logical: str) -> None:
        if self.queues and not self.behind:
            self.behind = number
        if (statement := _STATEMENT.fullmatch(logical)) is not None:
            if statement["word"]:
                wrong = self._branches.statement(statement["word"].lower(), statement["rest"] or "")
                if wrong is not None and not self.queues:
                    self.faults.append(Fault(number, wrong))
        elif (queue := _QUEUE.fullmatch(logical)) is not None:
            self.queues.append(parse_queue(number, (queue["rest"] or "").strip()))
            if self.queues[-1].goes_on:
                self._until = ")"
        else:
            self._command(number, logical)

    def _command(self, number: int, logical: str) -> None:
        left, equals, value = logical.partition("=")
        written = left.rstrip()
        tagged = written.endswith("@")
        written = written[:-1].rstrip() if tagged or re.search(r"\s\+$", left) else written
        if not equals or not _NAME.fullmatch(written) or written.lower() == "queue":
            # a name may be made of variables
            if not self.queues and not self._branches.open and not (equals and "$(" in written):
                self.faults.append(Fault(number, logical))
            return
        custom = written[0] in "+-" or written.lower().startswith("my.")
        key = written.lstrip("+-").lower()
        self.commands.append(
            Command(
                line=number,
                key=key.removeprefix("my.") if custom else key,
                written=written,
                value=value.strip(),
                custom=custom,
                segment=len(self.queues),
                branch=tuple(self._branches.open[:_DEEPEST]),
            )
        )
        if tagged:
            self._until, self._block = "@" + value.strip(), []


def parse_submit(path: Path, text: str) -> SubmitFile:
    """Read a submit description. It is never refused: what cannot be read is in `SubmitFile.faults`.

    >>> parsed = parse_submit(Path("x.sub"), "Executable = a.sh\\n+WantGPULab = true\\nwhat\\nqueue 3\\n")
    >>> [(each.line, each.key, each.value, each.custom) for each in parsed.commands]
    [(1, 'executable', 'a.sh', False), (2, 'wantgpulab', 'true', True)]
    >>> [(queue.line, queue.rest) for queue in parsed.queues], parsed.faults
    ([(4, '3')], [Fault(line=3, what='what')])
    """
    lines = [line.removesuffix("\r") for line in text.split("\n")]
    reader = _Reader(lines)
    reader.read()
    submit = SubmitFile(
        path=path,
        lines=lines,
        commands=reader.commands,
        queues=reader.queues,
        behind=reader.behind,
        faults=reader.faults,
        carriage_returns="\r\n" in text,
    )
    keys = {each.key for each in reader.commands}
    submit.commands = [
        # condor_submit looks for the other name where the first is not there; one that is used as a macro is
        # a variable
        attrs.evolve(each, key=OTHER_NAMES[each.key])
        if not each.custom
        and each.key in OTHER_NAMES
        and OTHER_NAMES[each.key] not in keys
        and each.key not in submit.referenced
        else each
        for each in submit.commands
    ]
    return submit


def split_list(value: str) -> list[str]:
    """The entries of a comma-separated value such as that of transfer_input_files.

    >>> split_list("a.py, src/ ,osdf:///x/y.tar")
    ['a.py', 'src/', 'osdf:///x/y.tar']
    """
    entries = (entry.strip().strip('"') for entry in value.strip().strip('"').split(","))
    return [entry for entry in entries if entry]
