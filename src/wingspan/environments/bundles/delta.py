"""Deltas: what a bundle has that another one, which is published, has not.

An image consists of the compressed content of its packages, one after the other, and of tables. An image of
packages most of which are in another image has most of its bytes from there. A delta has the rest, and says
which bytes of the other one, the *base*, go where. The worker puts both together, and has the very bundle,
with its digest: whatever mounts or unpacks a bundle knows nothing of deltas.

The file begins with lines of text, filled up with spaces to `_HEAD` bytes or a multiple of it::

    wingspan-delta 1 HEAD LINES       bytes of the head, lines that follow the next one
    BASE RESULT SIZE                  SHA-256 of the base and of the bundle, bytes of the bundle
    b PLACE BYTES                     so many bytes of the base, from that place on
    d PLACE BYTES                     so many bytes of what follows the head, from that place on
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import attrs

from wingspan.environments.bundles.errors import BundleDamaged
from wingspan.environments.bundles.manifest import Bundle, Delta
from wingspan.environments.bundles.storage import CHUNK, cache_folder, hash_file, no_room, replacing
from wingspan.stores.names import ContentName, sidecar

__all__ = ["Base", "apply_delta", "bases_of", "make_delta"]

_HEAD = 4096
_MAGIC = "wingspan-delta 1"
#: A bundle that shares less than this with another one is no base.
LEAST = 0.5


@attrs.frozen(kw_only=True)
class Base:
    """A bundle of this cache that shares content with another one.

    Attributes:
        path: The file.
        sha256: Its digest.
        size: Bytes.
        shared: Bytes that both have.
        parts: Place and bytes of its parts by name.
    """

    path: Path
    sha256: str
    size: int
    shared: int
    parts: dict[str, tuple[int, int]] = attrs.field(repr=False)


def bases_of(bundle: Bundle) -> list[Base]:
    """Bundles in this cache that share at least half of their content with `bundle`, the best first."""
    own = _entry_of(bundle)
    if own is None:
        return []
    wanted = {name: size for name, _, size in own["parts"]}
    found = []
    for entry in _entries():
        if entry["sha256"] == bundle.sha256:
            continue
        parts = {name: (place, size) for name, place, size in entry["parts"]}
        shared = sum(size for name, size in wanted.items() if parts.get(name, (0, -1))[1] == size)
        if shared >= LEAST * bundle.size:
            path = cache_folder("bundles") / entry["file"]
            found.append(
                Base(path=path, sha256=entry["sha256"], size=entry["stat"][0], shared=shared, parts=parts)
            )
    return sorted(found, key=lambda one: (-one.shared, one.size, one.path.name))


def make_delta(bundle: Bundle, base: Base) -> Delta:
    """Write the delta of `bundle` to `base` into the cache: the same two give the same bytes.

    Raises:
        ValueError: Nothing is known of the parts of `bundle`.
        DiskFull: No room for it.
    """
    own = _entry_of(bundle)
    if own is None:
        raise ValueError(f"{bundle.path} was not built here")
    ranges = _ranges(own["parts"], base, bundle.size)
    folder = cache_folder("deltas")
    part = folder / f".{bundle.sha256[:16]}.{os.getpid()}.part"
    try:
        with no_room(part):
            _write(part, bundle, base, ranges)
        digest = hash_file(part)
        named = ContentName.of(bundle.name, digest, "delta")
        path = folder / str(named)
        with replacing(path.with_name(named.sidecar)) as file:
            file.write(sidecar(named, digest))
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return Delta(path=path, sha256=digest, size=path.stat().st_size, base=base.path.name, base_size=base.size)


def apply_delta(delta: Path, base: Path, target: Path) -> None:
    """Put a bundle together, as workers do.

    Args:
        delta: The delta.
        base: The bundle that it is a delta to.
        target: The file to write; the caller checks it against its digest.

    Raises:
        BundleDamaged: The delta is none, or the base is too short.
    """
    with delta.open("rb") as new, base.open("rb") as old, replacing(target) as out:
        first = new.readline(200).decode("ascii", "replace").rsplit(" ", 2)
        if len(first) != 3 or first[0] != _MAGIC:
            raise BundleDamaged(f"{delta} is no delta", hint="make it again")
        head, lines = int(first[1]), int(first[2])
        new.readline(200)
        ranges = [new.readline(200).split() for _ in range(lines)]
        for what, place, count in ranges:
            source = old if what == b"b" else new
            source.seek(int(place) + (0 if what == b"b" else head))
            _copy(source.read, out.write, int(count), delta)


def _copy(read: Callable[[int], bytes], write: Callable[[bytes], object], left: int, where: Path) -> None:
    while left:
        piece = read(min(CHUNK, left))
        if not piece:
            raise BundleDamaged(f"{where} is cut, or its base is another one", hint="make it again")
        write(piece)
        left -= len(piece)


def _ranges(parts: Sequence[tuple[str, int, int]], base: Base, size: int) -> list[tuple[str, int, int]]:
    """What the bundle consists of, in order: (``"b"`` for the base or ``"d"`` for itself, place, bytes)."""
    found: list[tuple[str, int, int]] = []
    position = 0

    def add(what: str, place: int, count: int) -> None:
        if not count:
            return
        if found and found[-1][0] == what and found[-1][1] + found[-1][2] == place:
            place, count = found[-1][1], found.pop()[2] + count
        found.append((what, place, count))

    for name, place, count in parts:
        there = base.parts.get(name)
        if there is None or there[1] != count:
            continue
        add("d", position, place - position)
        add("b", there[0], count)
        position = place + count
    add("d", position, size - position)
    return found


def _write(target: Path, bundle: Bundle, base: Base, ranges: Sequence[tuple[str, int, int]]) -> None:
    lines, at = [], 0
    for what, place, count in ranges:
        lines.append(f"{what} {place if what == 'b' else at} {count}\n")
        at += count if what == "d" else 0
    text = f"{base.sha256} {bundle.sha256} {bundle.size}\n{''.join(lines)}"
    head = -(-(len(text) + 100) // _HEAD) * _HEAD
    begin = f"{_MAGIC} {head} {len(lines)}\n{text}".encode()
    with bundle.path.open("rb") as source, target.open("wb") as file:
        file.write(begin.ljust(head))
        for what, place, count in ranges:
            if what == "d":
                source.seek(place)
                _copy(source.read, file.write, count, bundle.path)
        file.flush()
        os.fsync(file.fileno())


def _entries() -> Iterator[dict[str, Any]]:
    """The notes about bundles in this cache that are unchanged since they were built."""
    folder = cache_folder("bundles")
    for path in sorted(folder.glob("*.json")):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError, IndexError):
            entry = json.loads(path.read_bytes())
            status = (folder / entry["file"]).stat()
            if entry.get("parts") and [status.st_size, status.st_mtime_ns] == entry["stat"]:
                yield entry


def _entry_of(bundle: Bundle) -> dict[str, Any] | None:
    return next((entry for entry in _entries() if entry["sha256"] == bundle.sha256), None)
