"""Files and folders that a user names: looked at and copied as they are now, and copied back to the user.

Maps and runs raise errors of their own kind: see `raised_as`.
"""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from wingspan._urls import secrets_of, without_secrets
from wingspan.errors import WingspanError
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.worker import trust

__all__ = [
    "SKIPPED",
    "FileInTheWay",
    "FileMissing",
    "FileRefused",
    "changed_files",
    "check_url",
    "copy_back",
    "files_below",
    "is_url",
    "keep_files",
    "raised_as",
]

#: Never part of a folder that is named: what version control and tools keep for themselves.
SKIPPED = frozenset({".git", ".pixi", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
#: Copying more than this (bytes) is worth a progress bar.
_LARGE = 64 << 20
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


class FileMissing(WingspanError):
    """A file that was named is not there."""


class FileRefused(WingspanError):
    """What was named cannot travel."""


class FileInTheWay(WingspanError, FileExistsError):
    """A file that would be replaced has another content."""


@contextlib.contextmanager
def raised_as(
    *,
    missing: type[WingspanError] = FileMissing,
    refused: type[WingspanError] = FileRefused,
    in_the_way: type[WingspanError] = FileInTheWay,
) -> Iterator[None]:
    """Raise what these functions raise as errors of these classes."""
    kinds = {FileMissing: missing, FileRefused: refused, FileInTheWay: in_the_way}
    try:
        yield
    except (FileMissing, FileRefused, FileInTheWay) as error:
        raise kinds[type(error)](error.message, hint=error.hint) from None


def is_url(text: str) -> bool:
    """It begins with a scheme, as ``osdf:///…`` does.

    >>> is_url("osdf:///ospool/x.tar"), is_url("data/x.tar")
    (True, False)
    """
    return _URL.match(text) is not None


def check_url(one: str, what: str = "input") -> None:
    """See that an address may stand in a submit file; `what` it is, for the message.

    Raises:
        FileRefused: It may not.
    """
    if secrets_of(one) != (None, None):
        raise FileRefused(
            f"the {what} {without_secrets(one)!r} has a user or a password in it, which everybody who may look at the queue would read",
            hint="use an address that needs none, or one that HTCondor gets a token for (osdf://, or use_oauth_services in a profile)",
        )
    if re.search(r"[,\s]", one):
        raise FileRefused(
            f"the {what} {one!r} has a comma or a blank, at which submit files part two names",
            hint="in a URL %2C is a comma and %20 a blank",
        )


def keep_files(
    inputs: Iterable[tuple[Path, str]],
    folder: Path,
    progress: Progress = NO_PROGRESS,
    look: Callable[[int, int], None] | None = None,
) -> int:
    """Copy the inputs into `folder`: the jobs read them as they are now, whatever is edited later.

    Files are copied and not linked: a file that is rewritten in place would change with its link. Copies
    share their blocks where the file system can do that. Answers how many bytes there are.

    Args:
        inputs: What is copied, with its places in `folder`.
        folder: Where to.
        progress: Hears how far it is.
        look: Is called before anything is copied, with the number of bytes and of files. An error of it ends
            the work.

    Raises:
        FileMissing: One vanished meanwhile, or is a link to nothing.
        FileRefused: A link in a folder leads to a folder that contains it.
    """
    trust.make_folder(str(folder))
    found: list[tuple[Path, Path, int]] = []
    try:
        for here, place in inputs:
            found += [(source, target, _size(source)) for source, target in files_below(here, folder / place)]
        total = sum(size for _, _, size in found)
        if look is not None:
            look(total, len(found))
        task = progress.start("copying inputs", total) if total > _LARGE else None
        for source, target, size in found:
            trust.make_folder(str(target.parent))
            _copy(source, target)
            if task is not None:
                progress.advance(task, size)
        if task is not None:
            progress.finish(task)
    except FileMissing:
        raise
    except FileNotFoundError as error:
        raise FileMissing(
            f"the input {error.filename} vanished", hint="make it again; nothing was submitted"
        ) from None
    return total


def files_below(
    here: Path, target: Path, around: tuple[str, ...] = (), *, make: bool = True
) -> Iterable[tuple[Path, Path]]:
    """Files of an input and where they go; `around` are the folders in which `here` is, by their real paths.

    With `make` the folders are made where they go.
    """
    if not here.is_dir():
        yield here, target
        return
    real = os.path.realpath(here)
    if real in around:
        raise FileRefused(
            f"the input {here} is a link to {real}, a folder that contains it: there would be no end to copying",
            hint="remove the link, or name what is needed of the folder",
        )
    if make:
        trust.make_folder(str(target))
    for name in sorted(os.listdir(here)):
        if name not in SKIPPED or not (here / name).is_dir():
            yield from files_below(here / name, target / name, (*around, real), make=make)


def _size(source: Path) -> int:
    try:
        return source.stat().st_size
    except OSError:
        if not source.is_symlink():
            raise
        raise FileMissing(
            f"the input {source} is a link to {source.readlink()}, which is not there",
            hint="remove the link, or mend it; nothing was submitted",
        ) from None


def _copy(source: Path, target: Path) -> None:
    if target.exists():
        return  # a folder and a file in it were both named
    trust.copy_file(str(source), str(target))


def changed_files(inputs: Iterable[tuple[Path, str]], folder: Path) -> list[str]:
    """Places of the inputs that have changed since they were copied to `folder`; of a folder, each file.

    An input that is gone counts as unchanged. A file with the time and size of its copy is not read.
    """
    changed: list[str] = []
    for here, place in inputs:
        try:
            pairs = list(files_below(here, folder / place)) if here.exists() else []
            for source, kept in pairs:
                if not _same(source, kept):
                    changed.append(kept.relative_to(folder).as_posix())
        except (OSError, FileRefused):
            continue
    return changed


def _same(source: Path, kept: Path) -> bool:
    import filecmp

    try:
        now, then = source.stat(), kept.stat()
    except FileNotFoundError:
        return not source.exists()
    if now.st_size != then.st_size:
        return False
    return now.st_mtime_ns == then.st_mtime_ns or filecmp.cmp(source, kept, shallow=False)


def copy_back(files: Mapping[str, Path], target: Path, overwrite: bool, again: str) -> tuple[Path, ...]:
    """Copy files (relative path -> where it lies) below `target`, each whole or not at all.

    Args:
        files: What to copy.
        target: Where to.
        overwrite: Replace files with another content.
        again: The command that would replace them, for the hint.

    Returns:
        Where the copies are.

    Raises:
        FileInTheWay: A file with another content is in the way; nothing was copied.
    """
    import filecmp

    wanted = {source: target / name for name, source in files.items()}
    for source, place in wanted.items():
        if (
            not overwrite
            and place.exists()
            and not (place.is_file() and filecmp.cmp(source, place, shallow=False))
        ):
            raise FileInTheWay(
                f"{place} is there, with another content",
                hint=f"{again} --overwrite replaces it; --to fetches elsewhere",
            )
    for source, place in wanted.items():
        place.parent.mkdir(parents=True, exist_ok=True)
        # A name that nobody can guess, and no link followed: the folder may be one that others write to.
        part = place.with_name(f".{place.name[:200]}.{os.urandom(6).hex()}.part")
        try:
            trust.copy_file(str(source), str(part))
            part.replace(place)
        finally:
            part.unlink(missing_ok=True)
    return tuple(wanted.values())
