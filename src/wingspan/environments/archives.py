"""Facts from inside package archives that are on this machine already. Nothing is downloaded.

An archive (or an extracted package) is looked for where a ``file://`` channel or a wheel's path says, then in
the package caches of Wingspan, Pixi and rattler. Archives found this way serve to derive *needs* only.
Bundles verify every archive that they use.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import json
import lzma
import os
import re
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any
from urllib.parse import unquote, urlsplit

import attrs

from wingspan.environments.lock import LockedPackage

__all__ = [
    "ZIP_FAULTS",
    "LocalPackage",
    "console_scripts",
    "find_local",
    "installed_size",
    "package_caches",
    "read_member",
    "search_member",
    "wheel_programs",
]

#: What reading a damaged zip raises (Python's zipfile, zlib and lzma), beside OSError.
ZIP_FAULTS = (
    zipfile.BadZipFile,
    zlib.error,
    lzma.LZMAError,
    EOFError,
    IndexError,
    KeyError,
    NotImplementedError,
    OverflowError,
    RuntimeError,
    ValueError,
    struct.error,
)
_ENTRY_POINTS = re.compile(r"[^/]+\.dist-info/entry_points\.txt")


@attrs.frozen
class LocalPackage:
    """Where a package lies on this machine: an archive, or the folder it was extracted to."""

    path: Path

    @property
    def extracted(self) -> bool:
        return self.path.is_dir()


def package_caches() -> tuple[Path, ...]:
    """The folders that exist and may hold package archives or extracted packages.

    Wingspan's own, then those of rattler and Pixi (``RATTLER_CACHE_DIR``, ``PIXI_CACHE_DIR``, the default).
    """
    import platformdirs

    from wingspan.settings import load_settings

    own = load_settings().cache_dir / "environments"
    folders = [own / "archives", own / "packages"]
    named = [os.environ.get("RATTLER_CACHE_DIR"), os.environ.get("PIXI_CACHE_DIR")]
    roots = [Path(name) for name in named if name] or [Path(platformdirs.user_cache_dir("rattler")) / "cache"]
    folders += [root / "pkgs" for root in roots]
    return tuple(folder for folder in folders if folder.is_dir())


def find_local(package: LockedPackage, lock_folder: Path, caches: Iterable[Path]) -> LocalPackage | None:
    """The package on this machine, or None. An archive whose size differs from the lock's is ignored."""
    for path in _places(package, lock_folder, caches):
        if path.is_dir():
            if (path / "info" / "paths.json").is_file():
                return LocalPackage(path)
        elif path.is_file() and package.size in {None, path.stat().st_size}:
            return LocalPackage(path)
    return None


def _places(package: LockedPackage, lock_folder: Path, caches: Iterable[Path]) -> Iterator[Path]:
    if not package.file_name:
        return
    location = package.resolve(lock_folder)
    if location.startswith("file://"):
        yield Path(unquote(urlsplit(location).path))
    elif "://" not in location:
        yield Path(location)
    digest = package.sha256 or (f"md5-{package.md5}" if package.md5 else None)
    stem = re.sub(r"\.(conda|tar\.bz2)$", "", package.file_name)
    for cache in caches:
        if digest is not None:
            yield cache / digest / package.file_name  # how bundles keep what they have verified
        if package.kind == "conda":
            yield cache / stem
            yield cache / package.file_name
            yield cache / package.subdir / package.file_name


def installed_size(package: LocalPackage) -> int | None:
    """Bytes of the files that the package installs, from its own list; None if there is none, or damage."""
    with contextlib.suppress(Exception):  # zip, tar, bz2, zstd, JSON: each has errors of its own
        if package.path.suffix == ".whl":
            with zipfile.ZipFile(package.path) as wheel:
                return sum(member.file_size for member in wheel.infolist())
        text = read_member(package, "info/paths.json")
        paths: list[dict[str, Any]] = json.loads(text or "{}").get("paths", [])
        if text is not None:
            return sum(
                int(entry.get("size_in_bytes") or 0)
                for entry in paths
                if entry.get("path_type") != "softlink"
            )
    return None


def read_member(package: LocalPackage, name: str) -> str | None:
    """The text of one file of a conda package, or None if the package has no such file.

    The package's list of files is looked at first, so that a large archive is decompressed only if the file
    is in it.
    """
    if package.extracted:
        path = package.path / name
        return path.read_text(encoding="utf-8", errors="replace") if path.is_file() else None
    if not name.startswith("info/"):
        listing = read_member(package, "info/paths.json")
        if listing is not None and f'"{name}"' not in listing:
            return None
    part = "info" if name.startswith("info/") else "pkg"
    with _open_part(package.path, part) as stream, tarfile.open(fileobj=stream, mode="r|") as tar:
        for member in tar:
            if member.name == name and (file := tar.extractfile(member)) is not None:
                if member.size > 1 << 28:  # a limit, since a gigabyte of zeros compresses to a kilobyte
                    raise ValueError(f"its {name} has {member.size:,} bytes")
                return file.read().decode("utf-8", errors="replace")
    return None


def console_scripts(wheel: zipfile.ZipFile) -> set[str]:
    """Names of the programs that an installer writes for a wheel (specification of entry points).

    Raises:
        ValueError: Its list of them is damaged.
    """
    return set(wheel_programs(wheel))


def wheel_programs(wheel: zipfile.ZipFile) -> dict[str, str]:
    """The programs that an installer writes for a wheel: name and what it calls, ``module:object``.

    Raises:
        ValueError: Its list of them is damaged.
    """
    lists = {name for name in wheel.namelist() if _ENTRY_POINTS.fullmatch(name)}
    try:
        return {
            point.name: point.value
            for name in lists
            for point in _EntryPoints(wheel.read(name).decode()).entry_points
            if point.group in ("console_scripts", "gui_scripts")
        }
    except TypeError:  # a line that is no pair
        raise ValueError(f"entry_points.txt of {wheel.filename} is damaged") from None


class _EntryPoints(importlib.metadata.Distribution):
    """A distribution of which only ``entry_points.txt`` is known."""

    def __init__(self, text: str) -> None:
        self._text = text

    def read_text(self, filename: str) -> str | None:
        return self._text if filename == "entry_points.txt" else None

    def locate_file(self, path: str | os.PathLike[str]) -> Any:
        raise FileNotFoundError(path)


def search_member(package: LocalPackage, ending: str, pattern: re.Pattern[bytes]) -> str | None:
    """The first match of `pattern` in the file of a wheel or an extracted package whose name ends so.

    A packed conda archive is not searched, because all of it would have to be decompressed. The match must be
    shorter than 4 kB. In a damaged wheel there is none.
    """
    with contextlib.suppress(*ZIP_FAULTS, OSError, TypeError, AttributeError):
        return _first_match(package, ending, pattern)
    return None


def _first_match(package: LocalPackage, ending: str, pattern: re.Pattern[bytes]) -> str | None:
    if package.extracted:
        listing: list[dict[str, Any]] = json.loads(read_member(package, "info/paths.json") or "{}").get(
            "paths", []
        )
        names = [str(entry["_path"]) for entry in listing if str(entry["_path"]).endswith(ending)]
        for path in (package.path / name for name in names):
            if path.is_file():
                with path.open("rb") as file:
                    return _search(file, pattern)
    elif package.path.suffix == ".whl":
        with zipfile.ZipFile(package.path) as wheel:
            for name in wheel.namelist():
                if name.endswith(ending):
                    with wheel.open(name) as member:
                        return _search(member, pattern)
    return None


def _search(stream: IO[bytes], pattern: re.Pattern[bytes]) -> str | None:
    tail = b""
    while True:
        piece = stream.read(1 << 22)
        window = tail + piece
        found = pattern.search(window)
        # A match that touches the end may go on in the next piece.
        if found and (found.end() < len(window) or not piece):
            return found.group().decode("ascii", errors="replace")
        if not piece:
            return None
        tail = window[-4096:]


@contextmanager
def _open_part(path: Path, part: str) -> Iterator[IO[bytes]]:
    """The tar stream of ``info`` or ``pkg`` of a ``.conda``; all of a ``.tar.bz2``."""
    if path.name.endswith(".tar.bz2"):
        import bz2

        with bz2.open(path) as plain:
            yield plain
        return
    import zstandard

    with zipfile.ZipFile(path) as archive:
        inner = next(n for n in archive.namelist() if n.startswith(f"{part}-") and n.endswith(".tar.zst"))
        with archive.open(inner) as packed, zstandard.ZstdDecompressor().stream_reader(packed) as stream:
            yield stream
