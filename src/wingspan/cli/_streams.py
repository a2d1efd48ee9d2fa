"""What the jobs of a run print, passed on as they print it."""

from __future__ import annotations

import codecs
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan.cli._terminal import echo, echo_raw

if TYPE_CHECKING:
    from wingspan.runs import Run, RunJob

__all__ = ["last_lines", "print_streams", "stream"]

#: Seconds between two looks at files.
_PAUSE = 0.1
#: How much is read at a time when a file is read backwards from its end (bytes).
_BLOCK = 1 << 16


def last_lines(text: str, count: int) -> str:
    """The last lines of a text.

    >>> last_lines("a\\nb\\nc\\n", 2), last_lines("a\\nb", 1), last_lines("a", 0)
    ('b\\nc\\n', 'b', '')
    """
    return "".join(text.splitlines(keepends=True)[-count:]) if count else ""


def _start_of_last_lines(path: Path, count: int) -> int:
    """Where in a file its last lines begin (bytes); its beginning is not read if they are short."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, 2)
            if not count:
                return end
            at, newlines = end, 0
            while at:
                before = max(0, at - _BLOCK)
                file.seek(before)
                data = file.read(at - before)
                if at == end and data.endswith(b"\n"):
                    data = data[:-1]
                place = len(data)
                while (place := data.rfind(b"\n", 0, place)) >= 0:
                    newlines += 1
                    if newlines == count:
                        return before + place + 1
                at = before
    except FileNotFoundError:
        pass
    return 0


class _Stream:
    """One file, read on from where it was left; with a prefix only whole lines of it."""

    def __init__(
        self, one: Run, number: int, which: str, prefix: str, err: bool, tail: int | None = None
    ) -> None:
        self._path, self._prefix, self._err = one.log_path(number, which), prefix, err
        self._position = 0 if tail is None else _start_of_last_lines(self._path, tail)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._rest = ""

    def show(self, last: bool) -> None:
        data = b""
        try:
            with self._path.open("rb") as file:
                if file.seek(0, 2) < self._position:  # the job was begun again, and its file with it
                    self._position, self._rest = 0, ""
                    self._decoder.reset()
                file.seek(self._position)
                data = file.read()
        except FileNotFoundError:
            pass
        self._position += len(data)
        text = self._decoder.decode(data, final=last)
        if self._prefix:
            *lines, self._rest = (self._rest + text).split("\n")
            if last and self._rest:
                lines.append(self._rest)
                self._rest = ""
            text = "".join(f"{self._prefix}{line}\n" for line in lines)
        if text:
            echo_raw(text, nl=False, err=self._err)


def _streams(
    one: Run, numbers: Sequence[int], only_errors: bool, tail: int | None
) -> dict[int, list[_Stream]]:
    which = ("err",) if only_errors else ("out", "err")
    # Of several jobs, the number alone says which one has printed these lines.
    width = len(str(max(numbers)))
    return {
        number: [
            _Stream(
                one,
                number,
                each,
                f"{number:>{width}}: " if len(numbers) > 1 else "",
                each == "err" and not only_errors,
                tail,
            )
            for each in which
        ]
        for number in numbers
    }


def print_streams(
    one: Run, numbers: Sequence[int], only_errors: bool = False, tail: int | None = None
) -> None:
    """Print what jobs have printed so far; of several with their number before each line.

    Args:
        one: The run.
        numbers: Which jobs.
        only_errors: Standard error only.
        tail: Only so many lines at the end of each file.
    """
    for streams in _streams(one, numbers, only_errors, tail).values():
        for each in streams:
            each.show(last=True)


def stream(
    one: Run, numbers: Sequence[int], only_errors: bool = False, tail: int | None = None
) -> list[RunJob]:
    """Print what jobs print until each of them has ended or is held; these jobs, as they are then.

    `tail`: Of what is there already, only so many lines at the end of each file.
    """
    from wingspan.runs._pace import Pace

    left = _streams(one, numbers, only_errors, tail)
    told: set[int] = set()
    pace = Pace()
    while True:
        seen = one.status()
        for number in list(left):
            job = seen.jobs[number]
            if job.state == "idle" and job.reason and number not in told:
                told.add(number)
                echo(f"{one.name}: job {number} waits: {job.reason}", err=True)
            ended = job.is_final or job.state == "held"
            for each in left[number]:
                each.show(last=ended)
            if ended:
                del left[number]
        if not left:
            return [seen.jobs[number] for number in numbers]
        one.attend(seen)
        pace.sleep(seen, longest=_PAUSE)
