"""Inputs: what goes along, found before anything is submitted, and kept with the run. And outputs, fetched."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable
from pathlib import Path

from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._errors import InputMissing, InvalidRun, WouldOverwrite
from wingspan.runs._spec import relative_path

__all__ = ["collect_inputs", "copy_outputs", "keep_inputs", "not_sent"]

#: Never part of a folder that is named: what version control and tools keep for themselves.
_SKIPPED = frozenset({".git", ".pixi", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
#: Larger files are linked rather than copied where that is possible: they are data, and seldom edited in place.
_LINK_BYTES = 64 << 20
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def collect_inputs(
    given: Iterable[str], globs: Iterable[str], base: Path
) -> tuple[tuple[tuple[Path, str], ...], tuple[str, ...]]:
    """Files and folders with their places in the job's folder, and URLs.

    Args:
        given: Paths or URLs that a person named; relative ones keep their folders, absolute ones outside of
            `base` are put flat into the job's folder.
        globs: Patterns of tasks, relative to `base`; each must match something.
        base: What is relative, is relative to this.

    Raises:
        InputMissing: There is no such file, or a pattern matches nothing.
        InvalidRun: A relative path leads out of `base`, or two inputs would have one place.
    """
    found: dict[str, Path] = {}
    urls: list[str] = []
    for one in given:
        if _URL.match(one):
            urls.append(one)
            continue
        path = Path(one).expanduser()
        here = path if path.is_absolute() else base / path
        if not here.exists():
            raise InputMissing(
                f"there is no input {one!r} in {base}", hint="correct the path, or make the file first"
            )
        if path.is_absolute():
            inside = here.is_relative_to(base)
            place = here.relative_to(base).as_posix() if inside else here.name
        else:
            place = relative_path(one, "input")
        _add(found, place, here.absolute())
    for pattern in globs:
        relative_path(pattern, "input")
        matches = [match for match in sorted(base.glob(pattern)) if not _is_skipped(match.relative_to(base))]
        if not matches:
            raise InputMissing(
                f"no file in {base} matches the input {pattern!r} of the task",
                hint="correct the task's inputs, or make the file first",
            )
        for match in matches:
            _add(found, match.relative_to(base).as_posix(), match.absolute())
    return tuple((here, place) for place, here in found.items()), tuple(dict.fromkeys(urls))


def _is_skipped(path: Path) -> bool:
    return any(part in _SKIPPED for part in path.parts)


def _add(found: dict[str, Path], place: str, here: Path) -> None:
    if place in found and found[place] != here:
        raise InvalidRun(
            f"two inputs would be {place!r} in the job's folder: {found[place]} and {here}",
            hint="rename one of them, or give a relative path, which keeps its folders",
        )
    found[place] = here


def keep_inputs(inputs: Iterable[tuple[Path, str]], folder: Path, progress: Progress = NO_PROGRESS) -> int:
    """Put the inputs into `folder` under their places: what is submitted now is what runs, whatever is edited meanwhile.

    Files of more than 64 MiB are hard-linked where that is possible. Answers how many bytes there are.

    Raises:
        InputMissing: One vanished meanwhile.
    """
    folder.mkdir(parents=True, exist_ok=True)
    found: list[tuple[Path, Path, int]] = []
    try:
        for here, place in inputs:
            found += [
                (source, target, source.stat().st_size) for source, target in _files(here, folder / place)
            ]
        total = sum(size for _, _, size in found)
        task = progress.start("copying inputs", total) if total > _LINK_BYTES else None
        for source, target, size in found:
            target.parent.mkdir(parents=True, exist_ok=True)
            _copy(source, target, size)
            if task is not None:
                progress.advance(task, size)
        if task is not None:
            progress.finish(task)
    except FileNotFoundError as error:
        raise InputMissing(
            f"the input {error.filename} vanished", hint="make it again; nothing was submitted"
        ) from None
    return total


def _files(here: Path, target: Path) -> Iterable[tuple[Path, Path]]:
    if not here.is_dir():
        yield here, target
        return
    target.mkdir(parents=True, exist_ok=True)
    for root, folders, names in os.walk(here, followlinks=True):
        folders[:] = sorted(name for name in folders if name not in _SKIPPED)
        below = target / Path(root).relative_to(here)
        below.mkdir(parents=True, exist_ok=True)
        for name in sorted(names):
            yield Path(root, name), below / name


def _copy(source: Path, target: Path, size: int) -> None:
    if target.exists():
        return  # a folder and a file in it were both named
    if size > _LINK_BYTES:
        try:
            os.link(source.resolve(), target)
        except OSError:
            pass
        else:
            return
    shutil.copy2(source, target)


def not_sent(words: Iterable[str], base: Path, places: Iterable[str], outputs: Iterable[str]) -> list[str]:
    """Words of a command that are files here and do not go along: most likely forgotten."""
    sent = {*places, *outputs}
    forgotten = []
    for word in words:
        if word.startswith(("/", "-")) or not word or _URL.match(word):
            continue
        plain = word.removeprefix("./").rstrip("/")
        try:
            here = plain not in ("", ".") and (base / plain).exists()
        except (OSError, ValueError):
            continue
        if here and not any(plain == one or plain.startswith(f"{one}/") for one in sent):
            forgotten.append(plain)
    return list(dict.fromkeys(forgotten))


def copy_outputs(files: dict[str, Path], target: Path, overwrite: bool) -> tuple[Path, ...]:
    """Copy files (relative path -> where it lies) below `target`, each whole or not at all; where they are now.

    Raises:
        WouldOverwrite: A file with another content is in the way; nothing was copied.
    """
    import filecmp

    wanted = {source: target / name for name, source in files.items()}
    for source, place in wanted.items():
        if (
            not overwrite
            and place.exists()
            and not (place.is_file() and filecmp.cmp(source, place, shallow=False))
        ):
            raise WouldOverwrite(
                f"{place} is there, with another content",
                hint="--overwrite replaces it; --to fetches elsewhere",
            )
    for source, place in wanted.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        part = place.with_name(f".{place.name}.part")
        try:
            shutil.copy2(source, part, follow_symlinks=False)
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    return tuple(wanted.values())
