"""A queue statement: how many jobs, from what."""

from __future__ import annotations

import re

import attrs

__all__ = ["Queue", "parse_queue"]

_KEYWORD = re.compile(r"(?:^|(?<=[\s(]))(in|from|matching)(?=[\s(]|$)", re.IGNORECASE)
_QUALIFIER = re.compile(r"(files|dirs|any|table)(?=[\s(]|$)", re.IGNORECASE)
_SLICE = re.compile(r"\[([^\]]*)\]")


@attrs.define(kw_only=True)
class Queue:
    """A queue statement.

    Attributes:
        line: Number of its line.
        rest: What stands behind the word queue.
        count: What stands where the number of jobs should be. Empty: one.
        variables: Names (lower case) that it sets, ``item`` where it names none.
        mode: ``"in"``, ``"from"``, ``"matching"``, or empty.
        file: The file that the values are read from. Empty: none.
        items: The values that stand in the file itself, one a line.
        goes_on: Whether they stand in the lines that follow.
        wrong: What cannot be read, if something cannot.
    """

    line: int
    rest: str
    count: str = ""
    variables: tuple[str, ...] = ()
    mode: str = ""
    file: str = ""
    items: list[str] = attrs.field(factory=list)
    goes_on: bool = False
    wrong: str | None = None

    @property
    def is_one(self) -> bool:
        """Whether it makes one job, or none."""
        return not self.mode and self.count in {"", "0", "1"}

    @property
    def uses_command(self) -> bool:
        """Whether the values are what a command writes, which HTCondor's parser would execute."""
        return self.file.endswith("|")


def parse_queue(line: int, rest: str) -> Queue:
    """Read what stands behind the word queue.

    >>> parse_queue(1, "2 seed, name from seeds.txt").variables
    ('seed', 'name')
    >>> parse_queue(1, "2 seed in (1 2)").count
    '2'
    """
    keyword = _KEYWORD.search(rest)
    # the word must have something behind it
    if keyword is None or not rest[keyword.end() :]:
        return Queue(line=line, rest=rest, count=rest)
    before, behind = rest[: keyword.start()].rstrip(), rest[keyword.end() :].lstrip()
    at = len(before)
    while at and (before[at - 1].isspace() or before[at - 1] in ",_." or before[at - 1].isalnum()):
        at -= 1
    # a number at the beginning is the count; digits within a name are not
    names = before[at:]
    number = re.match(r"[\s,]*\d+(?![\w.])", names)
    if number is not None:
        at += number.end()
    variables = tuple(name.lower() for name in re.split(r"[\s,]+", before[at:]) if name)
    queue = Queue(
        line=line,
        rest=rest,
        count=before[:at].strip(),
        variables=variables or ("item",),
        mode=keyword[1].lower(),
    )
    return _with_items(queue, behind)


def _with_items(queue: Queue, behind: str) -> Queue:
    while not behind.startswith("("):
        if behind.startswith("["):
            part = _SLICE.match(behind)
            if part is None or ("$" not in part[1] and re.search(r"[^\s:\d-]", part[1])):
                queue.wrong = behind.split("]", maxsplit=1)[0]
                return queue
        else:
            part = _QUALIFIER.match(behind)
            if part is None:
                break
            if (part[1].lower() == "table") != (queue.mode == "from") or queue.mode == "in":
                queue.wrong = f"{queue.mode} {part[1]}"
                return queue
        behind = behind[part.end() :].lstrip()
    if behind.startswith("("):
        if behind.endswith(")"):
            queue.items = [behind[1:-1].strip()]
        else:
            queue.goes_on = True
            queue.items = [behind[1:].strip()] if behind[1:].strip() else []
    elif queue.mode == "from":
        queue.file = behind.strip()
    elif behind:
        queue.items = [behind]
    return queue
