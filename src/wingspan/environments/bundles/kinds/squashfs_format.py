"""Squashfs images (format 4.0, docs.kernel.org/filesystems/squashfs.html) put together from files
that are compressed already.

mksquashfs compresses every file of every image anew, which is nearly all of its time. Here a file's blocks
come from a `Blob`, so an image costs what it costs to copy the blobs (see `blobs`) and to write
a megabyte of tables.

Every number is fixed by the tree: owner 0, time 0,
entries by name. The same tree with the same blobs gives the same bytes.
"""

from __future__ import annotations

import os
import stat
import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import attrs

from wingspan.environments.bundles.errors import CHANGED, BuildFailed

__all__ = ["BLOCK", "STORED", "Blob", "Compress", "Content", "Image", "Node", "lay_out", "read_tree"]

#: Bytes of a data block. One access to a page decompresses one block at most.
BLOCK = 131072
#: Added to a block's size if the block is stored uncompressed.
STORED = 1 << 24

Compress = Callable[[bytes], bytes]

_MAGIC = 0x73717368
_ZSTD = 6
#: duplicates are removed (0x40), no extended attributes (0x200); no table for NFS.
_FLAGS = 0x240
_SUPERBLOCK = 96
_NOTHING32, _NOTHING64 = 0xFFFFFFFF, 0xFFFFFFFFFFFFFFFF
_METADATA = 8192
_RUN = 256
_PADDING = 4096
_DIRECTORY, _FILE, _SYMLINK, _BLOCK_DEVICE, _CHARACTER_DEVICE, _FIFO, _SOCKET = range(1, 8)
_LONG = 7  # added to a type: the inode of the wider kind
_KINDS = {
    stat.S_IFDIR: _DIRECTORY,
    stat.S_IFREG: _FILE,
    stat.S_IFLNK: _SYMLINK,
    stat.S_IFBLK: _BLOCK_DEVICE,
    stat.S_IFCHR: _CHARACTER_DEVICE,
    stat.S_IFIFO: _FIFO,
    stat.S_IFSOCK: _SOCKET,
}


@attrs.frozen
class Content:
    """The place of one file's bytes in a blob.

    Attributes:
        size: Of the file.
        start: Of the first of its blocks in the blob.
        blocks: Stored sizes of its blocks; `STORED` is added for uncompressed ones; 0 is a hole.
        fragment: Number of the fragment that holds the whole (small) file, else None.
        offset: In that fragment, decompressed.
    """

    size: int
    start: int
    blocks: tuple[int, ...]
    fragment: int | None
    offset: int


@attrs.frozen
class Blob:
    """Compressed blocks of some files, one after another.

    Attributes:
        path: The file that holds them, from its beginning.
        size: Bytes of them.
        checksum: CRC-32 of them.
        files: Content by name.
        fragments: (start, stored size) of each.
    """

    path: Path
    size: int
    checksum: int
    files: Mapping[str, Content]
    fragments: Sequence[tuple[int, int]]


@attrs.define(eq=False)
class Node:
    """One entry of a tree."""

    name: bytes
    path: str
    mode: int
    size: int
    device: int = 0
    target: str = ""
    children: list[Node] = attrs.field(factory=list)
    number: int = 0
    kind: int = 0
    block: int = 0
    offset: int = 0

    def below(self) -> Iterator[Node]:
        """Everything below."""
        stack = [self]
        while stack:
            for node in stack.pop().children:
                yield node
                if node.kind == _DIRECTORY:
                    stack.append(node)

    def files(self) -> Iterator[Node]:
        """Every regular file below."""
        return (node for node in self.below() if node.kind == _FILE)

    def add(self, files: Mapping[str, tuple[int, int]], links: Mapping[str, str]) -> None:
        """Add files that are on no disk ((mode, size) by name), links (targets by name), and the folders
        that they need.
        """
        places = {node.path: node for node in self.below() if node.kind == _DIRECTORY}
        places[""] = self
        for name, (mode, size) in files.items():
            _parent(name, places).append(
                Node(os.fsencode(name.rpartition("/")[2]), name, stat.S_IFREG | mode, size, kind=_FILE)
            )
        for name, target in links.items():
            node = Node(os.fsencode(name.rpartition("/")[2]), name, stat.S_IFLNK | 0o777, 0, kind=_SYMLINK)
            node.target = target
            _parent(name, places).append(node)
        for folder in places.values():
            folder.children.sort(key=_by_name)


def _parent(name: str, places: dict[str, Node]) -> list[Node]:
    """The list of children for the entry `name`. Missing folders are added."""
    path, _, _ = name.rpartition("/")
    folder = places.get(path)
    if folder is None:
        made = Node(os.fsencode(path.rpartition("/")[2]), path, stat.S_IFDIR | 0o755, 0, kind=_DIRECTORY)
        _parent(path, places).append(made)
        folder = places[path] = made
    return folder.children


@attrs.frozen
class Image:
    """An image without its data.

    Its file is: superblock, the blobs one after another, the tables, padded to 4 kB.
    """

    superblock: bytes
    tables: bytes


def read_tree(folder: Path) -> Node:
    """The tree of `folder`; children by name, as bytes."""
    root = Node(b"", "", os.lstat(folder).st_mode, 0, kind=_DIRECTORY)
    stack = [(root, os.fspath(folder))]
    while stack:
        parent, place = stack.pop()
        with os.scandir(place) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                path = f"{parent.path}/{entry.name}" if parent.path else entry.name
                node = Node(os.fsencode(entry.name), path, status.st_mode, status.st_size, status.st_rdev)
                node.kind = _KINDS[stat.S_IFMT(status.st_mode)]
                parent.children.append(node)
                if node.kind == _DIRECTORY:
                    stack.append((node, entry.path))
                elif node.kind == _SYMLINK:
                    node.target = os.readlink(entry.path)  # noqa: PTH115 - a text, as it is
        parent.children.sort(key=_by_name)
    return root


def _by_name(node: Node) -> bytes:
    return node.name


def lay_out(root: Node, blobs: Sequence[tuple[Blob, str]], compress: Compress) -> Image:
    """The superblock and tables of the image of `root`, whose files' content is in `blobs`.

    Args:
        root: The tree, from `read_tree`.
        blobs: In the order in which they follow the superblock, each with what comes before its names in the
            tree (``""`` or ``"opt/here/"``). Every file of the tree is in one.
        compress: Makes a zstd frame of at most 8 kB.
    """
    places: dict[str, tuple[Content, int, int]] = {}
    fragments = bytearray()
    count, position = 0, _SUPERBLOCK
    for blob, at in blobs:
        for name, content in blob.files.items():
            places[at + name] = content, position, count
        for start, size in blob.fragments:
            fragments += struct.pack("<QII", position + start, size, 0)
        count += len(blob.fragments)
        position += blob.size
    writer = _Tables(places, compress)
    nodes = writer.write(root)
    inodes, directories = writer.inodes.finish(), writer.directories.finish()
    tables = bytearray()
    inode_table = position
    tables += inodes
    directory_table = position + len(tables)
    tables += directories
    fragment_table = _NOTHING64
    if count:
        fragment_table = _append_table(tables, position, bytes(fragments), compress)
    id_table = _append_table(tables, position, struct.pack("<I", 0), compress)
    end = position + len(tables)
    tables += bytes(-end % _PADDING)
    superblock = struct.pack(
        "<IIIIIHHHHHHQQQQQQQQ",
        _MAGIC,
        nodes,
        0,
        BLOCK,
        count,
        _ZSTD,
        BLOCK.bit_length() - 1,
        _FLAGS,
        1,
        4,
        0,
        root.block << 16 | root.offset,
        end,
        id_table,
        _NOTHING64,
        inode_table,
        directory_table,
        fragment_table,
        _NOTHING64,
    )
    return Image(superblock, bytes(tables))


def _append_table(tables: bytearray, position: int, content: bytes, compress: Compress) -> int:
    """Append a table and the list of its blocks; returns the list's place in the image."""
    starts = []
    for start in range(0, len(content), _METADATA):
        starts.append(position + len(tables))
        tables += _metadata_block(content[start : start + _METADATA], compress)
    place = position + len(tables)
    tables += struct.pack(f"<{len(starts)}Q", *starts)
    return place


def _metadata_block(content: bytes, compress: Compress) -> bytes:
    packed = compress(content)
    if len(packed) < len(content):
        return struct.pack("<H", len(packed)) + packed
    return struct.pack("<H", len(content) | 0x8000) + content


class _Metadata:
    """A stream that is compressed in pieces of 8 kB."""

    def __init__(self, compress: Compress) -> None:
        self.compress = compress
        self.out = bytearray()
        self.rest = bytearray()

    def add(self, content: bytes) -> None:
        self.rest += content
        while len(self.rest) >= _METADATA:
            self.out += _metadata_block(bytes(self.rest[:_METADATA]), self.compress)
            del self.rest[:_METADATA]

    def finish(self) -> bytes:
        if self.rest:
            self.out += _metadata_block(bytes(self.rest), self.compress)
            self.rest.clear()
        return bytes(self.out)


class _Tables:
    """Writes the inodes and directories of a tree."""

    def __init__(self, places: Mapping[str, tuple[Content, int, int]], compress: Compress) -> None:
        self.places = places
        self.inodes = _Metadata(compress)
        self.directories = _Metadata(compress)

    def write(self, root: Node) -> int:
        """Write everything; returns the number of inodes."""
        order = [root]
        root.number = last = 1
        parents = {1: 0}
        for folder in order:  # grows; the numbers of one folder's entries follow each other
            for child in folder.children:
                last += 1
                child.number = last
                if child.kind == _DIRECTORY:
                    parents[last] = folder.number
                    order.append(child)
        parents[1] = last + 1  # as mksquashfs does: the root has no parent
        for folder in reversed(order):  # a folder's children are written before it
            for child in folder.children:
                if child.kind != _DIRECTORY:
                    self._write_plain(child)
            self._write_directory(folder, parents[folder.number])
        return last

    def _place(self, node: Node, content: bytes) -> None:
        node.block, node.offset = len(self.inodes.out), len(self.inodes.rest)
        self.inodes.add(content)

    def _write_plain(self, node: Node) -> None:
        head = _head(node)
        if node.kind == _FILE:
            content, base, first = self.places[node.path]
            if content.size != node.size:
                raise BuildFailed(f"{node.path} changed while the image was made", hint=CHANGED)
            start = base + content.start if content.blocks else 0
            fragment = _NOTHING32 if content.fragment is None else first + content.fragment
            if start < 1 << 32 and content.size < 1 << 32:
                body = struct.pack("<IIII", start, fragment, content.offset, content.size)
            else:
                head = _head(node, long=True)
                body = struct.pack(
                    "<QQQIIII", start, content.size, 0, 1, fragment, content.offset, _NOTHING32
                )
            body += struct.pack(f"<{len(content.blocks)}I", *content.blocks)
        elif node.kind == _SYMLINK:
            target = os.fsencode(node.target)
            body = struct.pack("<II", 1, len(target)) + target
        elif node.kind in (_BLOCK_DEVICE, _CHARACTER_DEVICE):
            major, minor = os.major(node.device), os.minor(node.device)
            # as the kernel packs them: minor 7-0, major 11-0, minor 19-8
            body = struct.pack("<II", 1, minor & 0xFF | major << 8 | (minor & ~0xFF) << 12)
        else:
            body = struct.pack("<I", 1)
        self._place(node, head + body)

    def _write_directory(self, node: Node, parent: int) -> None:
        block, offset = len(self.directories.out), len(self.directories.rest)
        size, index = self._write_entries(node)
        links = 2 + sum(child.kind == _DIRECTORY for child in node.children)
        if index or size > 0xFFFF:
            body = struct.pack("<IIIIHHI", links, size, block, parent, len(index), offset, _NOTHING32)
            self._place(node, _head(node, long=True) + body + b"".join(index))
        else:
            body = struct.pack("<IIHHI", block, links, size, offset, parent)
            self._place(node, _head(node) + body)

    def _write_entries(self, node: Node) -> tuple[int, list[bytes]]:
        """Write a folder's entries; returns their size for the inode, and the index of a long folder."""
        length, indexed, index = 0, 0, []
        children = node.children
        start = 0
        while start < len(children):
            first = children[start]
            if length - indexed > _METADATA - _RUN * 2:
                # readers find a name by this index without reading all entries before it
                indexed = length
                index.append(
                    struct.pack("<III", length, len(self.directories.out), len(first.name) - 1) + first.name
                )
            run = bytearray()
            stop = start
            while stop < len(children) and stop - start < _RUN:
                child = children[stop]
                if child.block != first.block or not -32768 <= child.number - first.number <= 32767:
                    break
                if stop > start and length + len(run) - indexed > _METADATA - _RUN * 2:
                    break
                run += struct.pack(
                    "<HhHH", child.offset, child.number - first.number, child.kind, len(child.name) - 1
                )
                run += child.name
                stop += 1
            header = struct.pack("<III", stop - start - 1, first.block, first.number)
            self.directories.add(header + run)
            length += len(header) + len(run)
            start = stop
        return length + 3, index


def _head(node: Node, *, long: bool = False) -> bytes:
    return struct.pack(
        "<HHHHII", node.kind + (_LONG if long else 0), stat.S_IMODE(node.mode), 0, 0, 0, node.number
    )
