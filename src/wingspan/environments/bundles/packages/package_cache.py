"""Check packages that py-rattler extracted before, file by file. py-rattler itself does not check its cache.

Most files of an environment are hard links into that cache, so a slip in one environment can alter what
others are made of. A package is extracted anew if one of its files changed since it was extracted (size, time
of change, inode, mode).
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
from collections.abc import Sequence
from pathlib import Path

from wingspan.environments.bundles.packages.fetch import Archive
from wingspan.environments.bundles.storage import interprocess_lock, replacing

__all__ = ["forget_altered", "remember"]

#: The files that py-rattler reads of an extracted package besides those that it installs.
_LISTS = ("info/paths.json", "info/link.json", "info/index.json")


def forget_altered(archives: Sequence[Archive], cache: Path) -> None:
    """Remove extracted packages that changed since `remember` saw them, or that it has not seen. py-rattler
    extracts them anew.

    Args:
        archives: Checked conda packages.
        cache: py-rattler's folder of extracted packages.
    """
    for archive in archives:
        folder = _folder(archive, cache)
        if folder.is_dir():
            state = _state(archive, folder)
            if state is None or state != _noted(folder):
                _remove(folder)


def remember(archives: Sequence[Archive], cache: Path) -> None:
    """Note the state of the files of packages that were just extracted, or found as noted."""
    for archive in archives:
        folder = _folder(archive, cache)
        state = _state(archive, folder)
        if state is not None and state != _noted(folder):
            with replacing(_note(folder), sync=False) as file:
                file.write(state.encode())


def _folder(archive: Archive, cache: Path) -> Path:
    return cache / re.sub(r"\.(conda|tar\.bz2)$", "", archive.package.file_name)


def _note(folder: Path) -> Path:
    return folder.with_name(f"{folder.name}.state")


def _noted(folder: Path) -> str | None:
    try:
        return _note(folder).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def _state(archive: Archive, folder: Path) -> str | None:
    """A text that changes if somebody writes to one of the files, or changes its mode.

    None if a file is missing, or if the package has no list of files (archives from before 2018).
    """
    digest = hashlib.sha256(f"{archive.package.digest}\0".encode())
    try:
        entries = json.loads((folder / "info/paths.json").read_bytes())["paths"]
        names = [entry["_path"] for entry in entries if entry["path_type"] == "hardlink"]
        for name in (*(name for name in _LISTS if (folder / name).exists()), *names):
            status = os.lstat(f"{folder}/{name}")
            told = f"{name}\0{status.st_size} {status.st_mtime_ns} {status.st_ino} {status.st_mode:o}\0"
            digest.update(told.encode(errors="surrogateescape"))
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return digest.hexdigest()


def _remove(folder: Path) -> None:
    """Remove an extracted package and its note, under py-rattler's lock, so that no process links from
    the cache meanwhile.
    """
    with interprocess_lock(folder.with_name(".cache.lock")):
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
        _note(folder).unlink(missing_ok=True)
