"""Which files below a project's folder are its code: those that git does not ignore."""

from __future__ import annotations

import os
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

from wingspan.environments.errors import UnsupportedPackages

__all__ = ["MOST_BYTES", "MOST_FILES", "code_files"]

#: A thin layer has at most so many files, and so many bytes of them.
MOST_FILES, MOST_BYTES = 20_000, 64 << 20
#: What no project means to send, wherever there is no git that would say so.
_MADE = frozenset(
    {"__pycache__", "node_modules", ".git", ".pixi", ".venv", ".mypy_cache", ".ruff_cache", ".pytest_cache"}
)


def code_files(folder: Path, path: str) -> tuple[list[str], list[str]]:
    """The files at or below `path`, sorted, relative to `folder`; and a warning for each that is left out.

    In a git repository these are all files that git knows or does not ignore. A link counts as the file that
    it leads to, if that lies in `folder`; others are left out.

    Raises:
        UnsupportedPackages: git is not there, or refuses to list the files.
    """
    found, told = [], []
    inside = f"{folder.resolve()}/"
    for name in _listed(folder, path):
        if name.endswith((".pyc", ".pyo")) or not _MADE.isdisjoint(name.split("/")):
            continue
        real = folder / name
        try:
            status = real.stat()
        except OSError:
            if not real.is_symlink():
                continue  # git knows it, and it is not there any more
            told.append(f"{real} is a link to nothing, and does not go along")
            continue
        if not f"{real.resolve()}".startswith(inside):
            told.append(f"{real} is a link that leads out of {folder}, and does not go along")
        elif stat.S_ISREG(status.st_mode):
            found.append(name)
        elif real.is_symlink():
            told.append(f"{real} is a link to a folder, and does not go along")
        elif stat.S_ISDIR(status.st_mode):
            told.append(f"{real} is a git repository of its own, and does not go along")
    return sorted(found), told


def _listed(folder: Path, path: str) -> Iterator[str]:
    if not any((above / ".git").exists() for above in (folder, *folder.parents)):
        yield from _walked(folder, path)
        return
    command = [
        "git",
        "-C",
        str(folder),
        "ls-files",
        "-z",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        path,
    ]
    try:
        done = subprocess.run(
            command, capture_output=True, check=False, env={**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
        )
    except OSError as error:
        raise UnsupportedPackages(
            f"{folder} is in a git repository, and git, which knows the files that it ignores, cannot be started: {error}",
            hint="install git",
        ) from None
    if done.returncode:
        said = done.stderr.decode(errors="replace").strip()
        raise UnsupportedPackages(
            f"git does not list the files of {folder}: {said[-500:]}", hint="do what git says"
        )
    yield from (os.fsdecode(name) for name in dict.fromkeys(done.stdout.split(b"\0")) if name)


def _walked(folder: Path, path: str) -> Iterator[str]:
    start = folder / path
    if not start.is_dir():
        yield path
        return
    for root, folders, names in os.walk(start):
        folders[:] = sorted(one for one in folders if one not in _MADE)
        below = os.path.relpath(root, folder)
        yield from (f"{below}/{name}" for name in names)
        yield from (f"{below}/{one}" for one in folders if os.path.islink(f"{root}/{one}"))  # noqa: PTH114
