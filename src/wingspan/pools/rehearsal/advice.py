"""What a job missed, from what it has printed: files and modules that are here and do not go along."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import attrs

__all__ = ["Here", "missed"]

#: What programs say of a file that they do not find.
_NOT_FOUND = re.compile(
    r"no such file|not found|cannot (?:open|find|access|stat|read)|can ?not open|can't (?:open|find|read)|could not (?:open|find|read)|"
    r"couldn't (?:open|find)|does not exist|doesn't exist|unable to open|failed to open|FileNotFound|permission denied",
    re.IGNORECASE,
)
_MODULE = re.compile(r"No module named '?([\w.]+)")
_COMMAND = re.compile(
    r"(?:^|[\s:])([\w.+/-]+): (?:command )?not found$|: ([\w.+-]+): (?:command )?not found$"
)
_WORD = re.compile(r"""'([^'\n]+)'|"([^"\n]+)"|`([^`\n]+)[`']|([^\s'"`;,()<>\[\]]+)""")
#: How much of the end of what was printed is looked at, and how much is told (characters).
_LAST, _MOST = 200_000, 10


@attrs.frozen(kw_only=True)
class Here:
    """This machine, against which the words of a job are held.

    Attributes:
        base: Folder that the job's relative paths are relative to here.
        home: The user's.
        folder: The job's working folder, as the job names it.
        shows: Whether the job sees what lies at this path here.
        sent: Places in the job's folder of what goes along.
        how: How a file is sent, of its path: ``"--input data.csv"``.
        by_name: What is sent lies in the job's folder by its name alone; else what is below `base` keeps its
            relative path.
    """

    base: Path
    home: Path
    folder: str
    shows: Callable[[str], bool]
    sent: frozenset[str]
    how: Callable[[str], str]
    by_name: bool = False

    def arrival(self, path: str) -> str:
        """Where a job finds a file that is sent, of its path relative to `base`."""
        return Path(path).name if self.by_name else path


def missed(printed: str, here: Here) -> tuple[str, ...]:
    """One sentence for each thing that a job did not find and that is here.

    >>> here = Here(base=Path("/none"), home=Path("/none"), folder="/scratch", shows=lambda path: False,
    ...             sent=frozenset(), how="--input {}".format)
    >>> print(*missed("cat: /usr/bin/env: No such file or directory", here))
    /usr/bin/env is here and not on the worker: --input /usr/bin/env sends it, and the job finds it as env
    """
    told = []
    for line in printed[-_LAST:].splitlines():
        told += list(_of_line(line, here))
    return tuple(dict.fromkeys(told))[:_MOST]


def _of_line(line: str, here: Here) -> Iterator[str]:
    if (module := _MODULE.search(line)) is not None:
        yield from _module(module[1].split(".")[0], here)
        return
    if not _NOT_FOUND.search(line):
        return
    if (command := _COMMAND.search(line.strip())) is not None:
        yield from _program(command[1] or command[2], here)
    for groups in _WORD.findall(line):
        for word in _candidates(next(filter(None, groups))):
            if (told := _file(word, here)) is not None:
                yield told
                break


def _candidates(word: str) -> Iterable[str]:
    """A word of a message may have a colon after it, or before."""
    bare = word.strip(":.,;!")
    return dict.fromkeys([word, bare, *bare.split(":"), *bare.split("=")])


def _module(name: str, here: Here) -> Iterator[str]:
    for place in (f"{name}.py", name):
        if (here.base / place).exists() and place not in here.sent:
            yield f"the module {place} is here and does not go along: {here.how(place)} sends it"
            return


def _program(name: str, here: Here) -> Iterator[str]:
    found = shutil.which(name)
    if found is not None and not here.shows(found):
        yield (
            f"the program {name} is {found} here, and the worker has it only if its own system does: "
            "name an environment that has it, or send it"
        )


def _file(word: str, here: Here) -> str | None:
    """The sentence about a path that the job did not find."""
    try:
        if word.startswith(f"{here.folder}/"):  # the job has put its folder before a path
            return _relative(word[len(here.folder) + 1 :], here)
        if word.startswith("/"):
            return _absolute(word, here)
        return _relative(word.removeprefix("./"), here)
    except (OSError, ValueError):  # no path
        return None


def _absolute(word: str, here: Here) -> str | None:
    path = Path(word)
    if path == Path("/") or here.shows(word) or not path.exists():
        return None
    if path.is_relative_to(here.base) and path != here.base:
        given = path.relative_to(here.base).as_posix()
        place = here.arrival(given)
        if place in here.sent:
            return f"{word} is not on the worker: it goes along, and the job finds it as {place}"
        return f"{word} is here and not on the worker: {here.how(given)} sends it, and the job finds it as {place}"
    return f"{word} is here and not on the worker: {here.how(word)} sends it, and the job finds it as {path.name}"


def _relative(word: str, here: Here) -> str | None:
    if len(word) < 2 or word.startswith(("-", "..")) or word in here.sent:
        return None
    if any(word.startswith(f"{place}/") for place in here.sent):
        return None
    if (here.base / word).exists():
        place = here.arrival(word)
        found = "" if place == word else f", and the job finds it as {place}"
        if place in here.sent:
            return f"{word} is not on the worker: it goes along{found}"
        return f"{word} is here and does not go along: {here.how(word)} sends it{found}"
    if word.startswith(".") and (here.home / word).exists():
        return f"~/{word} is in your home, which the worker does not have: {here.how(str(here.home / word))} sends it"
    return None
