"""The `squashfs` kind: the installed environment as one compressed image that workers mount.

After the image, the file ends with the bundle's manifest as JSON, its length (8 bytes, little endian) and
`MAGIC`, so that no tool is needed to read the manifest. Programs that mount the image ignore what follows it.
"""

from __future__ import annotations

import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from wingspan._cores import usable_cores
from wingspan.environments.bundles.errors import BundleDamaged
from wingspan.environments.bundles.kinds.blobs import blob_key, compress, load_blob, make_blob
from wingspan.environments.bundles.kinds.composition import Composition
from wingspan.environments.bundles.kinds.squashfs_format import Blob, Image, Node, lay_out, read_tree
from wingspan.environments.bundles.manifest import Manifest
from wingspan.environments.bundles.storage import cache_folder, remove_abandoned
from wingspan.progress import NO_PROGRESS, Progress

__all__ = [
    "MAGIC",
    "KeptPart",
    "NotKept",
    "append_manifest",
    "keep_blobs",
    "make_squashfs",
    "read_trailer",
    "trailer",
]

MAGIC = b"WINGSPAN-BUNDLE\n"
_PIECE = 2 << 20


def make_squashfs(
    folder: Path,
    image: Path,
    *,
    origins: Mapping[str, str] | None = None,
    at: str = "",
    also: Composition | None = None,
    end: bytes = b"",
    packed: Callable[[], object] | None = None,
    kept: list[KeptPart] | None = None,
    progress: Progress = NO_PROGRESS,
) -> str:
    """Make an image of `folder`: the same content gives the same bytes.

    Args:
        folder: The folder.
        image: The file, which is replaced. The file system must also have room for the compressed files that
            have no origin.
        origins: Names of files, and what decides their content (see `blob_key`). The files of an origin are
            compressed once and kept, and the next image takes them as they are.
        at: The folder in the tree to which the names of `origins` are relative, with a slash at its end.
        also: Entries of the tree besides those in `folder`.
        end: Bytes that follow the image in the file.
        packed: Called, in a thread, when the files are not needed any more: their content is kept, and only
            the image has to be written.
        kept: Is given the parts of the image that are kept content.
        progress: Told of bytes.

    Returns:
        SHA-256 of the file, hexadecimal.

    Raises:
        BuildFailed: A file changed meanwhile.
        NotKept: Content of `also`, or of files for which `packed` was called, is not there any more.
    """
    root = read_tree(folder)
    origins = dict(origins or {})
    if also is not None:
        root.add({name: (mode, size) for name, (mode, size, _) in also.files.items()}, also.links)
        origins.update((name, origin) for name, (_, _, origin) in also.files.items())
    rest = image.with_name(f"{image.name}.rest")
    rest.unlink(missing_ok=True)
    parts = _parts(root, origins, at, rest)
    cores = usable_cores()
    with ThreadPoolExecutor(max_workers=max(4, cores)) as threads:
        try:
            while True:
                blobs = _blobs(folder, parts, threads, cores, progress, whole=also is None)
                parting = threads.submit(packed) if packed is not None else None
                layout = lay_out(root, blobs, compress)
                try:
                    digest = _put_together(
                        image, layout, [blob for blob, _ in blobs], end, threads=threads, progress=progress
                    )
                    if kept is not None:
                        kept[:] = _places([blob for blob, _ in blobs[:-1]], len(layout.superblock))
                    return digest
                except _Altered as altered:  # it was altered after it was made: make it again
                    altered.path.unlink(missing_ok=True)
                    if parting is not None:
                        parting.result()
                        raise NotKept from None
        except BaseException:
            image.unlink(missing_ok=True)
            threads.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for the rest
            raise


@attrs.frozen
class _Part:
    """Files of one blob: sizes by name below `at`."""

    blob: Path
    at: str
    sizes: dict[str, int]


#: Name of kept content, its place in the file, and its bytes.
KeptPart = tuple[str, int, int]


def _places(blobs: Sequence[Blob], position: int) -> list[KeptPart]:
    """The parts of an image that `blobs` are; the first is at `position`."""
    found = []
    for blob in blobs:
        found.append((blob.path.name, position, blob.size))
        position += blob.size
    return found


def keep_blobs(folder: Path, origins: Mapping[str, str], *, progress: Progress = NO_PROGRESS) -> None:
    """Compress the files of packages in `folder`, and keep that for images to come.

    Args:
        folder: A tree.
        origins: What decides the content of its files, by name; files that have none are left out.
        progress: Told of bytes.

    Raises:
        BuildFailed: A file changed meanwhile.
    """
    *parts, _ = _parts(read_tree(folder), origins, "", folder / ".none")
    cores = usable_cores()
    with ThreadPoolExecutor(max_workers=max(3, cores)) as threads:
        _blobs(folder, parts, threads, cores, progress, whole=True)


class NotKept(Exception):
    """Kept content is missing or altered. The environment must be installed."""


class _Altered(Exception):
    def __init__(self, path: Path) -> None:
        self.path = path


def _parts(root: Node, origins: Mapping[str, str], at: str, rest: Path) -> list[_Part]:
    """The files of the tree by blob. Those without an origin come last, in the blob `rest`."""
    by_origin: dict[str, dict[str, int]] = {}
    others: dict[str, int] = {}
    for node in root.files():
        name = node.path[len(at) :] if node.path.startswith(at) else ""
        origin = origins.get(name)
        if origin is None:
            others[node.path] = node.size
        else:
            by_origin.setdefault(origin, {})[name] = node.size
    kept = cache_folder("blobs")
    remove_abandoned(kept)
    parts = [
        _Part(kept / blob_key(origin, sizes.items()), at, sizes)
        for origin, sizes in sorted(by_origin.items())
    ]
    return [*parts, _Part(rest, "", others)]


def _blobs(
    folder: Path,
    parts: Sequence[_Part],
    threads: ThreadPoolExecutor,
    cores: int,
    progress: Progress,
    *,
    whole: bool,
) -> list[tuple[Blob, str]]:
    """The blob of every part.

    Missing ones are made; but if the tree is not `whole`, only the last one can be.
    """
    found = [load_blob(part.blob) for part in parts]
    missing = [part for part, blob in zip(parts, found, strict=True) if blob is None]
    if not whole and missing != parts[-1:]:
        raise NotKept
    task = progress.start("Compressing files", sum(sum(part.sizes.values()) for part in missing))
    blobs = []
    for part, blob in zip(parts, found, strict=True):
        made = blob or make_blob(
            folder / part.at,
            part.sizes,
            part.blob,
            threads=threads,
            at_once=4 * cores,
            advance=lambda count: progress.advance(task, count),
        )
        blobs.append((made, part.at))
    progress.finish(task)
    return blobs


def _put_together(
    image: Path,
    layout: Image,
    blobs: Sequence[Blob],
    end: bytes,
    *,
    threads: ThreadPoolExecutor,
    progress: Progress,
) -> str:
    """Write the file; each blob is checked as it passes."""
    task = progress.start("Writing the squashfs image", sum(blob.size for blob in blobs))
    digest = hashlib.sha256(layout.superblock)
    with image.open("wb") as file:
        file.write(layout.superblock)
        on_disk = threads.submit(os.fdatasync, file.fileno())
        for blob in blobs:
            if on_disk.done():  # the disk writes while we read, so that little is left to wait for at the end
                on_disk = threads.submit(os.fdatasync, file.fileno())
            found = _copy(blob, (digest.update, file.write), threads, lambda n: progress.advance(task, n))
            if found != blob.checksum:
                raise _Altered(blob.path)
        for content in (layout.tables, end):
            digest.update(content)
            file.write(content)
        on_disk.result()
    progress.finish(task)
    return digest.hexdigest()


def _copy(
    blob: Blob,
    takers: Sequence[Callable[[bytes], object]],
    threads: ThreadPoolExecutor,
    advance: Callable[[int], object],
) -> int:
    """Give a blob's content to each of `takers`, in parallel; returns its checksum.

    Raises:
        _Altered: It is not there any more.
    """
    checksum = 0
    left = blob.size
    try:
        source = blob.path.open("rb", buffering=0)
    except FileNotFoundError:  # another build found it altered, or somebody cleared the cache
        raise _Altered(blob.path) from None
    with source:
        while left:
            piece = source.read(min(_PIECE, left))
            if not piece:
                break
            left -= len(piece)
            others = [threads.submit(take, piece) for take in takers]
            checksum = zlib.crc32(piece, checksum)
            for other in others:
                other.result()
            advance(len(piece))
    return checksum


def trailer(manifest: Manifest) -> bytes:
    """The bytes that follow an image."""
    text = manifest.to_json().encode()
    return text + struct.pack("<Q", len(text)) + MAGIC


def append_manifest(image: Path, manifest: Manifest) -> None:
    """Append the manifest to an image."""
    with image.open("ab") as file:
        file.write(trailer(manifest))


def read_trailer(path: Path) -> bytes | None:
    """The manifest that follows an image, or None if there is none.

    Raises:
        BundleDamaged: There is a trailer, and it is cut.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        if size < 24:
            return None
        file.seek(-24, os.SEEK_END)
        tail = file.read(24)
        if tail[8:] != MAGIC:
            return None
        (length,) = struct.unpack("<Q", tail[:8])
        if length > min(size - 24, 16 << 20):
            raise BundleDamaged(f"{path} is damaged at its end", hint="fetch or build it again")
        file.seek(-24 - length, os.SEEK_END)
        return file.read(length)
