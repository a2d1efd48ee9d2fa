"""Packages that py-rattler extracted before, checked file by file: it takes what lies in its cache as it is.

Most files of an environment are hard links into that cache, so a slip in one environment can alter what others are made of. A package's
files are looked at (size, time of change, inode) as they were when it was extracted; where that differs, their digests decide.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import shutil
import stat
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from wingspan._cores import usable_cores
from wingspan.environments.archives import LocalPackage, read_member
from wingspan.environments.bundles.fetch import Archive
from wingspan.environments.bundles.storage import CHUNK, cache_folder, interprocess_lock, replacing
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["forget_altered", "remember"]

#: What py-rattler reads of an extracted package beside the files themselves.
_LISTS = ("info/paths.json", "info/link.json", "info/index.json")


def forget_altered(archives: Sequence[Archive], cache: Path, *, progress: Progress = NO_PROGRESS) -> None:
    """Remove extracted packages that are not what their archives have; py-rattler extracts them anew.

    Args:
        archives: Checked conda packages.
        cache: py-rattler's folder of extracted packages.
        progress: Told of packages whose digests are computed.
    """
    doubtful = [
        archive
        for archive in archives
        if (cache / _stem(archive)).is_dir() and _noted(archive) != _state(cache / _stem(archive))
    ]
    task = progress.start("Checking extracted packages", len(doubtful))

    def check(archive: Archive) -> None:
        if not _is_whole(archive, cache / _stem(archive)):
            _remove(cache / _stem(archive))
        progress.advance(task)

    with ThreadPoolExecutor(max_workers=usable_cores()) as threads:
        for _ in threads.map(check, doubtful):
            pass
    progress.finish(task)


def remember(archives: Sequence[Archive], cache: Path) -> None:
    """Note how the files of packages are, which were checked or have just been extracted."""
    for archive in archives:
        state = _state(cache / _stem(archive))
        if state is not None and state != _noted(archive):
            with replacing(_note(archive), sync=False) as file:
                file.write(state.encode())


def _stem(archive: Archive) -> str:
    return re.sub(r"\.(conda|tar\.bz2)$", "", archive.package.file_name)


def _note(archive: Archive) -> Path:
    name = hashlib.sha256(f"{archive.package.file_name} {archive.package.digest}".encode()).hexdigest()
    return cache_folder("extracted") / name


def _noted(archive: Archive) -> str | None:
    try:
        return _note(archive).read_text(encoding="ascii")
    except (OSError, ValueError):
        return None


def _entries(text: str | None) -> Iterator[dict[str, Any]]:
    for entry in json.loads(text or "{}").get("paths", []):
        if entry.get("path_type") == "hardlink":
            yield entry


def _state(folder: Path) -> str | None:
    """What changes when somebody writes into one of the files; None if one is missing."""
    digest = hashlib.sha256()
    try:
        text = (folder / "info/paths.json").read_text(encoding="utf-8")
        names = [entry["_path"] for entry in _entries(text)]
        for name in (*(name for name in _LISTS if (folder / name).exists()), *names):
            status = os.lstat(f"{folder}/{name}")
            digest.update(f"{name}\0{status.st_size} {status.st_mtime_ns} {status.st_ino}\0".encode())
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None
    return digest.hexdigest()


def _is_whole(archive: Archive, folder: Path) -> bool:
    packed = LocalPackage(archive.path)
    for name in _LISTS:
        text = read_member(packed, name)
        if text is not None and text != read_member(LocalPackage(folder), name):
            return False
    entries = _entries(read_member(packed, "info/paths.json"))
    return all(_is_file(f"{folder}/{entry['_path']}", entry) for entry in entries)


def _is_file(path: str, entry: dict[str, Any]) -> bool:
    """Whether the file is the one of the package's list; links to others are seen to where those are."""
    try:
        status = os.lstat(path)
        if not stat.S_ISREG(status.st_mode) or entry.get("size_in_bytes", status.st_size) != status.st_size:
            return False
        digest = hashlib.sha256()
        with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - tens of thousands of files
            while piece := file.read(CHUNK):
                digest.update(piece)
        return entry.get("sha256") in (None, digest.hexdigest())
    except OSError:
        return False


def _remove(folder: Path) -> None:
    """Remove an extracted package while no process links from the cache (py-rattler's lock of it), and what is noted of it."""
    with interprocess_lock(folder.with_name(".cache.lock")):
        shutil.rmtree(folder, ignore_errors=True)
        folder.with_name(f"{folder.name}.lock").unlink(missing_ok=True)
