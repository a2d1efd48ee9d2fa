"""Inputs, which are found and kept before anything is submitted, and outputs, which are fetched."""

from __future__ import annotations

import contextlib
import fnmatch
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from wingspan._kept_files import (
    SKIPPED,
    check_url,
    copy_back,
    files_below,
    is_url,
    keep_files,
    raised_as,
)
from wingspan._warn import warn
from wingspan.pools.profiles import large_file
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._errors import (
    InputMissing,
    InputTooLarge,
    InvalidRun,
    RunError,
    RunWarning,
    WouldOverwrite,
)
from wingspan.runs._spec import relative_path
from wingspan.runs._words import pattern_parts

if TYPE_CHECKING:
    from wingspan.pools.profiles import Profile
    from wingspan.runs._spec import RunSpec

__all__ = [
    "SKIPPED",
    "check_input_sizes",
    "collect_inputs",
    "copy_outputs",
    "declared_files",
    "expected_files",
    "is_url",
    "keep_inputs",
    "not_sent",
    "rebased",
    "url_bytes",
]


def collect_inputs(
    given: Iterable[str],
    globs: Iterable[tuple[str, tuple[str, ...]]],
    base: Path,
    *,
    later: bool = False,
) -> tuple[tuple[tuple[Path, str], ...], tuple[str, ...]]:
    """Files and folders with their places in the job's folder, and URLs.

    Args:
        given: Paths or URLs that a person named; relative ones keep their folders, absolute ones outside of
            `base` are put flat into the job's folder.
        globs: Patterns of tasks, relative to `base`, each with those of what other tasks of the job write
            before; what only these match is not there yet, or is made anew, and is not sent. Each must match
            something else then.
        base: What is relative, is relative to this.
        later: Files and folders that a person named need not be there yet.

    Raises:
        InputMissing: There is no such file, or a pattern matches nothing.
        InvalidRun: A relative path leads out of `base`, or two inputs would have one place.
    """
    base = Path(os.path.normpath(base))
    found: dict[str, Path] = {}
    urls: list[str] = []
    for one in given:
        if is_url(one):
            with raised_as(refused=InvalidRun):
                check_url(one)
            urls.append(one)
        else:
            place, here = _named(one, base, later=later)
            _add(found, place, here)
    for pattern, made in globs:
        for match in _matching(pattern, made, base):
            _add(found, match.relative_to(base).as_posix(), match.absolute())
    return tuple((here, place) for place, here in found.items()), tuple(dict.fromkeys(urls))


def _named(one: str, base: Path, *, later: bool) -> tuple[str, Path]:
    """The place of a file or folder in the job's folder, and where it is now.

    Raises:
        InputMissing: It is not there.
        InvalidRun: It leads out of `base`, or it is all of this machine.
    """
    path = Path(os.path.expanduser(one))  # noqa: PTH111 - that of Path raises what nobody expects where there is no such user
    here = Path(os.path.normpath(path)) if path.is_absolute() else base / path
    if not later and not here.exists():
        raise InputMissing(
            f"there is no input {one!r} in {base}", hint="correct the path, or make the file first"
        )
    if not path.is_absolute():
        return _place_of(one, here), here.absolute()
    place = here.relative_to(base).as_posix() if here.is_relative_to(base) else here.name
    if not place:
        raise InvalidRun(f"the input {one!r} is all of this machine", hint="name what the command reads")
    return place, here


def _matching(pattern: str, made: tuple[str, ...], base: Path) -> list[Path]:
    """What a pattern of a task matches in `base`, without what other tasks of the job make.

    Raises:
        InputMissing: Nothing, and no other task makes it.
    """
    relative_path(pattern, "input")
    matches = [
        match
        for match in sorted(base.glob(pattern))
        if not _is_skipped(match.relative_to(base))
        and not any(_covers(one, match.relative_to(base).as_posix()) for one in made)
    ]
    if not matches and not any(_covers(pattern, one) or _covers(one, pattern) for one in made):
        raise InputMissing(
            f"no file in {base} matches the input {pattern!r} of the task",
            hint="correct the task's inputs, or make the file first; if a task that it depends on writes the file, "
            "name it among that task's outputs",
        )
    return matches


def _covers(pattern: str, path: str) -> bool:
    """Whether `path`, which may be a pattern itself, or a folder that contains it, matches `pattern`.

    >>> _covers("made/*.txt", "made/five.txt"), _covers("made", "made/five.txt"), _covers("*.csv", "five.txt")
    (True, True, False)
    """
    parts = path.split("/")
    return any(fnmatch.fnmatchcase("/".join(parts[:end]), pattern) for end in range(1, len(parts) + 1))


def _place_of(given: str, here: Path) -> str:
    try:
        return relative_path(given, "input")
    except InvalidRun as error:
        if ".." in given.split("/"):
            error.hint = f"an absolute path goes into the job's folder itself: --input {here.resolve()}"
        raise


def rebased(given: str, here: Path, base: Path) -> str:
    """An input as somebody in the folder `here` names it, relative to `base`, a folder above.

    What is not in `here` may be meant relative to `base`, as everything in the manifest is.
    """
    if here == base or is_url(given) or given.startswith(("/", "~")):
        return given
    path = os.path.normpath(here / given)
    return path if Path(path).exists() or not (base / given).exists() else given


def _is_skipped(path: Path) -> bool:
    return any(part in SKIPPED for part in path.parts)


def _add(found: dict[str, Path], place: str, here: Path) -> None:
    if place in found and found[place] != here:
        raise InvalidRun(
            f"two inputs would be {place!r} in the job's folder: {found[place]} and {here}",
            hint="rename one of them, or give a relative path, which keeps its folders",
        )
    found[place] = here


def check_input_sizes(spec: RunSpec, site: Profile) -> None:
    """See that no file that HTCondor sends to each job is larger than the site allows.

    Raises:
        InputTooLarge: The profile of a site says that they are.

    Warns:
        RunWarning: Nobody says what the site wants, and there is a file above the general limit.
    """
    with raised_as(refused=InvalidRun):
        sizes = _input_sizes(spec.inputs)
    if not sizes:
        return
    largest = max(sizes, key=lambda path: sizes[path])
    found = large_file(site, largest, sizes[largest], "--input osdf:///… or file:///…")
    if found is None:
        return
    if found.is_refused:
        raise InputTooLarge(found.said, hint=found.hint)
    warn(f"{found.said}; {found.hint}", RunWarning)


def url_bytes(urls: Iterable[str]) -> int:
    """Bytes of those `urls` that name files of this machine (``file://``); the others' are not known."""
    total = 0
    for url in urls:
        if url.startswith("file://"):
            with contextlib.suppress(OSError):
                total += Path(unquote(urlsplit(url).path)).stat().st_size
    return total


def _input_sizes(inputs: Iterable[tuple[Path, str]]) -> dict[Path, int]:
    """Bytes of each file among the inputs, of those in folders too. What vanishes meanwhile is left out."""
    sizes: dict[Path, int] = {}
    for here, place in inputs:
        for source, _ in files_below(here, Path(place), make=False):
            with contextlib.suppress(OSError):
                sizes[source] = source.stat().st_size
    return sizes


def keep_inputs(
    inputs: Iterable[tuple[Path, str]],
    folder: Path,
    progress: Progress = NO_PROGRESS,
    profile: str | None = None,
) -> int:
    """Copy the inputs into `folder`: the jobs read them as they are now, whatever is edited later.

    Answers how many bytes there are.

    Raises:
        QuotaExceeded: There is no room for the copies.
        InputMissing: One vanished meanwhile, or is a link to nothing.
        InvalidRun: A link in a folder leads to a folder that contains it.
    """
    from wingspan.pools.profiles import look_for_room

    with raised_as(missing=InputMissing, refused=InvalidRun):
        return keep_files(inputs, folder, progress, look_for_room(folder, profile, "the inputs of the run"))


def not_sent(words: Iterable[str], base: Path, places: Iterable[str], made: Iterable[str]) -> list[str]:
    """Words of a command that are files here and do not go along: most likely forgotten.

    Args:
        words: Of the commands of a run.
        base: Where it is started from.
        places: Of the files that go along.
        made: Paths and patterns of what the job writes itself; what is here of it is of another time.
    """
    sent = {*places, *made}
    forgotten = []
    for word in words:
        if word.startswith(("/", "-")) or not word or is_url(word):
            continue
        plain = word.removeprefix("./").rstrip("/")
        try:
            here = plain not in ("", ".") and (base / plain).exists()
        except (OSError, ValueError):
            continue
        # Of a folder some part may be sent, or be made by the job itself.
        if here and not any(_covers(one, plain) or one.startswith(f"{plain}/") for one in sent):
            forgotten.append(plain)
    return list(dict.fromkeys(forgotten))


def declared_files(folder: Path, spec: RunSpec, number: int) -> dict[str, Path]:
    """Plain files below `folder` that the outputs of job `number` name: relative path -> where it lies."""
    patterns = [
        pattern_parts(path, spec.parameters, spec.rows[number] if spec.parameters else ())
        for path in spec.outputs
    ]
    found: dict[str, Path] = {}
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in sorted(files):
            path = Path(place, name)
            parts = path.relative_to(folder).parts
            if any(_names(pattern, parts) for pattern in patterns):
                with contextlib.suppress(FileNotFoundError):  # a command that runs has given it another name
                    if stat.S_ISREG(path.lstat().st_mode):
                        found["/".join(parts)] = path
    return dict(sorted(found.items()))


def expected_files(folder: Path, spec: RunSpec, number: int) -> dict[str, Path]:
    """Where below `folder` the outputs of job `number` will lie, by their paths.

    Raises:
        RunError: One is a pattern, or goes elsewhere.
    """
    found = {}
    for path in spec.outputs:
        parts = pattern_parts(path, spec.parameters, spec.rows[number] if spec.parameters else ())
        name = "/".join(parts)
        if path in spec.destinations or any(character in name for character in "*?["):
            raise RunError(
                f"where the output {path!r} of {spec.name} will lie is not known before the run is done",
                hint="wait for it first, or have the command write a file or folder of a name that is known",
            )
        found[name] = folder / name
    return found


def _names(pattern: Sequence[str], parts: Sequence[str]) -> bool:
    """Whether a shell would match `pattern` with a path, or with a folder that contains it.

    A name that begins with a dot matches only a pattern that begins with one.

    >>> _names(["out", "*"], ["out", "a", ".b"]), _names(["*"], [".envrc"]), _names([".*"], [".envrc"])
    (True, False, True)
    """
    return len(parts) >= len(pattern) and all(
        fnmatch.fnmatchcase(part, one) and (part[0] != "." or one[0] == ".")
        for one, part in zip(pattern, parts, strict=False)
    )


def copy_outputs(name: str, files: dict[str, Path], target: Path, overwrite: bool) -> tuple[Path, ...]:
    """Copy files of the run `name` (relative path -> where it lies) below `target`, each whole or not at all.

    Returns:
        Where the copies are.

    Raises:
        WouldOverwrite: A file with another content is in the way; nothing was copied.
    """
    with raised_as(in_the_way=WouldOverwrite):
        return copy_back(files, target, overwrite, f"wingspan fetch {name}")
