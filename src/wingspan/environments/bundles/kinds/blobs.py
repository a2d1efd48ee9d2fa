"""A cache of packages' compressed content.

If all packages of an environment were in images before, a new image is copied together from it, and nothing
is compressed again.

A blob holds the files of one package (or those of no package), compressed for squashfs. Its name is derived
from everything that decides its bytes. Whenever a blob goes into an image it is read whole and checked by
CRC-32, which finds damage and takes a tenth of the time of SHA-256. An attacker who can write to this cache
can write to the programs as well.
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import struct
import threading
import zlib
from collections import Counter, deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import IO

from wingspan.environments.bundles.errors import CHANGED, BuildFailed
from wingspan.environments.bundles.kinds.squashfs_format import BLOCK, STORED, Blob, Content
from wingspan.environments.bundles.storage import replacing

__all__ = ["blob_key", "compress", "compression", "load_blob", "make_blob"]

#: zstd level 3: as small as level 15 within 5 %, and made in a tenth of the time.
_LEVEL = 3
#: A number that is raised when the content of files may differ. 1: byte code and unpacked wheels that nobody
#: had checked; 2, 3: byte code that was compiled in another way.
_FORMAT = "4"
_ZEROS = bytes(BLOCK)
_MAGIC = b"WINGSPAN-BLOB 2\n"
#: length of the index, its SHA-256, magic
_TRAILER = struct.Struct("<Q32s16s")


@functools.cache
def compression() -> str:
    """The facts that decide how content is compressed. Machines with equal facts get the same bytes."""
    import zstandard

    return f"{_FORMAT} zstd {'.'.join(map(str, zstandard.ZSTD_VERSION))} -{_LEVEL} {BLOCK}"


_compressors = threading.local()


def compress(content: bytes) -> bytes:
    """One zstd frame; may be called from several threads at once."""
    try:
        compressor = _compressors.zstd
    except AttributeError:
        import zstandard

        compressor = _compressors.zstd = zstandard.ZstdCompressor(level=_LEVEL)
    packed: bytes = compressor.compress(content)
    return packed


def blob_key(origin: str, files: Iterable[tuple[str, int]]) -> str:
    """The name of a blob.

    Args:
        origin: A text that decides the content of each file, given its name: a package, the Python that
            compiled it, the prefix.
        files: (name, size) of all of them.
    """
    digest = hashlib.sha256(f"{compression()}\0{origin}\0".encode())
    for name, size in sorted(files):
        digest.update(f"{name}\0{size}\0".encode(errors="surrogateescape"))
    return digest.hexdigest()


def load_blob(path: Path) -> Blob | None:
    """A blob that was made before, if it exists and its index is whole. Its content is not checked here."""
    try:
        with path.open("rb") as file:
            end = file.seek(-_TRAILER.size, os.SEEK_END)
            length, digest, magic = _TRAILER.unpack(file.read(_TRAILER.size))
            if magic != _MAGIC or length > end:
                return None
            file.seek(end - length)
            index = file.read(length)
        if hashlib.sha256(index).digest() != digest:
            return None
        entry = json.loads(index)
        files = {
            name: Content(size, start, tuple(blocks), fragment, offset)
            for name, (size, start, blocks, fragment, offset) in entry["files"].items()
        }
        fragments = [(start, size) for start, size in entry["fragments"]]
        return Blob(path, end - length, entry["checksum"], files, fragments)
    except (OSError, ValueError, KeyError, TypeError):
        return None


def make_blob(
    folder: Path,
    sizes: Mapping[str, int],
    target: Path,
    *,
    threads: ThreadPoolExecutor,
    at_once: int,
    advance: Callable[[int], object] = lambda count: None,
) -> Blob:
    """Compress files into a blob at `target`, whole or not at all.

    Args:
        folder: Where the files are.
        sizes: Their sizes by name.
        target: The blob.
        threads: Compress in these.
        at_once: How many blocks may wait for a thread.
        advance: Called with bytes compressed.
    """
    with replacing(target, sync=False) as file:  # what a crash leaves behind does not match its digest
        packer = _Packer(folder, sizes, file)
        packer.run(threads, at_once, advance)
        files = {
            name: [content.size, content.start, content.blocks, content.fragment, content.offset]
            for name, content in packer.files.items()
        }
        index = json.dumps(
            {"checksum": packer.checksum, "fragments": packer.fragments, "files": files},
            separators=(",", ":"),
        ).encode()
        file.write(index + _TRAILER.pack(len(index), hashlib.sha256(index).digest(), _MAGIC))
    return Blob(target, packer.position, packer.checksum, packer.files, packer.fragments)


def _stored(raw: bytes, may_be_hole: bool) -> tuple[bytes, int]:
    """A block for the image, and its size in the image's terms."""
    if may_be_hole and raw == (_ZEROS if len(raw) == BLOCK else _ZEROS[: len(raw)]):
        return b"", 0
    packed = compress(raw)
    return (packed, len(packed)) if len(packed) < len(raw) else (raw, len(raw) | STORED)


class _Packer:
    """Cuts files into blocks and fragments, and writes them compressed in the same order."""

    def __init__(self, folder: Path, sizes: Mapping[str, int], file: IO[bytes]) -> None:
        self.folder = folder
        self.sizes = sizes
        self.file = file
        self.files: dict[str, Content] = {}
        self.fragments: list[tuple[int, int]] = []
        self.checksum = 0
        self.position = 0
        self.known: dict[bytes, str] = {}
        self.same: dict[str, str] = {}
        self.full_fragments = 0

    def run(self, threads: ThreadPoolExecutor, at_once: int, advance: Callable[[int], object]) -> None:
        waiting: deque[tuple[str | None, int, Future[tuple[bytes, int]]]] = deque()
        blocks: dict[str, list[int]] = {}
        starts: dict[str, int] = {}

        def write() -> None:
            name, length, future = waiting.popleft()
            content, size = future.result()
            if name is None:
                self.fragments.append((self.position, size))
            else:
                starts.setdefault(name, self.position)
                blocks.setdefault(name, []).append(size)
            self.file.write(content)
            self.checksum = zlib.crc32(content, self.checksum)
            self.position += len(content)
            advance(length)

        try:
            for name, raw in self._cut():
                waiting.append((name, len(raw), threads.submit(_stored, raw, name is not None)))
                if len(waiting) > at_once:
                    write()
            while waiting:
                write()
        finally:
            for _, _, future in waiting:
                future.cancel()
        for name, sizes in blocks.items():
            self.files[name] = Content(self.sizes[name], starts[name], tuple(sizes), None, 0)
        for name, first in self.same.items():
            self.files[name] = self.files[first]

    def _cut(self) -> Iterator[tuple[str | None, bytes]]:
        """(name, block) of large files, (None, fragment) of the small ones, which share it.

        Byte code comes first and by itself, so that files that an import reads lie together.
        """
        fragment = bytearray()
        often = Counter(self.sizes.values())
        for name in sorted(self.sizes, key=lambda n: (not n.endswith(".pyc"), n)):
            size = self.sizes[name]
            if not size:
                self.files[name] = Content(0, 0, (), None, 0)
                continue
            path = f"{self.folder}/{name}"
            if size >= BLOCK:
                with open(path, "rb", buffering=0) as file:  # noqa: PTH123 - as below
                    if often[size] > 1 and self._seen(name, _digest(file)):
                        continue
                    left = size
                    while left:
                        raw = _read(file, min(BLOCK, left))
                        left -= len(raw)
                        yield name, raw
                continue
            raw = _read_small(path, size)
            if often[size] > 1 and self._seen(name, hashlib.sha256(raw).digest()):
                continue
            if len(fragment) + size > BLOCK:
                yield None, bytes(fragment)
                self.full_fragments += 1
                fragment.clear()
            self.files[name] = Content(size, 0, (), self.full_fragments, len(fragment))
            fragment += raw
        if fragment:
            yield None, bytes(fragment)

    def _seen(self, name: str, digest: bytes) -> bool:
        """The earlier file with this digest, if there was one."""
        first = self.known.setdefault(digest, name)
        if first == name:
            return False
        self.same[name] = first
        return True


def _digest(file: IO[bytes]) -> bytes:
    """SHA-256 of the rest of the file. Afterwards the file is at its beginning again."""
    digest = hashlib.sha256()
    while piece := file.read(1 << 20):
        digest.update(piece)
    file.seek(0)
    return digest.digest()


def _read_small(path: str, size: int) -> bytes:
    """The content of a file that is smaller than a block. There are tens of thousands of them, and `open`
    takes three times as long.
    """
    descriptor = os.open(path, os.O_RDONLY)
    try:
        raw = os.read(descriptor, size)
    finally:
        os.close(descriptor)
    if len(raw) != size:
        raise BuildFailed(f"{path} changed while it was compressed", hint=CHANGED)
    return raw


def _read(file: IO[bytes], size: int) -> bytes:
    raw = file.read(size)
    if len(raw) != size:
        raise BuildFailed(f"{file.name} changed while it was compressed", hint=CHANGED)
    return raw
