"""Checkpoints: files of a component that another execution of it goes on from.

They lie in ``checkpoints/<component>/`` of the map's folder, each in one file, which is named after the start
of the worker that wrote it and a number. Such a file is a row of signed pieces (`formats.piece_head`): first
what is in it (JSON), then the files, then an empty piece as its end. So one that was cut, wherever its writer
died, is known for what it is, and the one before it is taken: the newest two are kept.

A checkpoint goes when its component has an output, and is not taken by another function than the one that it
was written with.
"""

import json
import os
import time

from . import formats

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Callable, Dict, Iterator, List, Optional, Sequence, Set, Tuple, Union

    from .transports import Transport

    _Bytes = Union[bytes, memoryview]

FOLDER = "checkpoints"
#: How a file of a checkpoint is described: the folder that it belongs to (`SCRATCH` or `WORK`), its path
#: there, its size and its mode.
SCRATCH, WORK = "scratch", "work"
#: The newest so many are kept.
KEPT = 2


_NOBODY: "Set[int]" = set()


class Torn(Exception):
    """The checkpoint is cut, or not signed by a worker of this map."""


class Checkpoints(object):
    """The checkpoints that one start of a worker writes and reads.

    Args:
        transport, key: The way to the map's folder, and its key.
        name: Name of this start of the worker.
        alive: Called while a large one is written, so that nobody takes this worker for lost.
    """

    def __init__(
        self, transport: "Transport", key: "bytes", name: "str", alive: "Callable[[], None]"
    ) -> "None":
        self._transport, self._key, self._name, self._alive = transport, key, name, alive
        self._written = 0
        #: Names of the checkpoints that are there, oldest first, by component.
        self._kept: "Dict[int, List[str]]" = {}
        self._doomed: "List[int]" = []
        self._listed: "Dict[int, Set[int]]" = {}

    # -- writing ---------------------------------------------------------------------------------------------

    def write(self, component: "int", function: "str", files: "Sequence[Dict[str, Any]]") -> "None":
        """Keep these files: as `SCRATCH` has it, and `source`, the path to read.

        Raises:
            OSError: It is not kept; the one before it still is.
        """
        kept = self._kept.get(component)
        if kept is None:
            self._transport.make_folder(FOLDER)
            self._transport.make_folder("%s/%d" % (FOLDER, component))
            kept = self._kept[component] = []
        name = "%s.%d" % (self._name, self._written)
        self._written += 1
        path = _path(component, name)
        told = {
            "component": component,
            "function": function,
            "time": time.time(),
            "files": [{key: one[key] for key in ("folder", "path", "size", "mode")} for one in files],
        }
        try:
            self._transport.write_pieces(path, self._parts(path, told, files))
        except BaseException:
            self._transport.remove(path)
            raise
        kept.append(name)
        while len(kept) > KEPT:
            self._transport.remove(_path(component, kept.pop(0)))

    def _parts(
        self, path: "str", told: "Dict[str, Any]", files: "Sequence[Dict[str, Any]]"
    ) -> "Iterator[_Bytes]":
        offset = 0
        for data in self._contents(told, files):
            head = formats.piece_head(self._key, path, offset, data)
            yield head
            if data:
                yield data
            offset += len(head) + len(data)
            self._alive()

    def _contents(self, told: "Dict[str, Any]", files: "Sequence[Dict[str, Any]]") -> "Iterator[bytes]":
        yield json.dumps(told).encode()
        for one in files:
            left = one["size"]
            with open(one["source"], "rb") as file:
                while left:
                    data = file.read(min(left, formats.PIECE_BYTES))
                    if not data:
                        raise OSError("%s was cut while it was copied" % one["source"])
                    left -= len(data)
                    yield data
        yield b""

    # -- reading ---------------------------------------------------------------------------------------------

    def left(self, number: "int") -> "Set[int]":
        """Components of which earlier executions may have left one, for those that round `number` does."""
        if not number and self._name.endswith(".0"):
            return _NOBODY  # what this worker does now, nobody has begun before
        if number not in self._listed:
            # Whatever was left before the round was published is there by now.
            self._listed[number] = {int(name) for name in self._transport.names(FOLDER) if name.isdigit()}
        return self._listed[number]

    def restore(self, component: "int", function: "str", folder: "str") -> "Optional[List[Dict[str, Any]]]":
        """Write the files of the newest whole checkpoint into `folder`, called by their numbers: what they
        are, or None if there is none.
        """
        names = self._transport.names("%s/%d" % (FOLDER, component))
        found = []
        for name in names:
            try:
                told, _ = self._piece(_path(component, name), 0)
                about = json.loads(told.decode())
                found.append((about["time"], name, about["function"]))
            except (Torn, FileNotFoundError, ValueError):
                self._transport.remove(_path(component, name))
        found.sort()
        if found:
            self._kept[component] = [name for _, name, _ in found]
        for _, name, written_with in reversed(found):
            if written_with != function:
                continue
            try:
                return self._unpack(_path(component, name), folder)
            except (Torn, FileNotFoundError):
                self._kept[component].remove(name)
                self._transport.remove(_path(component, name))
        return None

    def _unpack(self, path: "str", folder: "str") -> "List[Dict[str, Any]]":
        told, offset = self._piece(path, 0)
        files: "List[Dict[str, Any]]" = json.loads(told.decode())["files"]
        for number, one in enumerate(files):
            left = one["size"]
            with open(os.path.join(folder, str(number)), "wb") as file:
                while left:
                    data, offset = self._piece(path, offset)
                    if not data:
                        raise Torn(path)
                    file.write(data)
                    left -= len(data)
                    self._alive()
        if self._piece(path, offset)[0]:
            raise Torn(path)
        return files

    def _piece(self, path: "str", offset: "int") -> "Tuple[bytes, int]":
        """The piece at `offset`, and where the next begins."""
        head = self._transport.read(path, formats.FRAME.size, offset)
        if len(head) < formats.FRAME.size:
            raise Torn(path)
        length = formats.FRAME.unpack(head)[1]
        if length > 16 * formats.PIECE_BYTES:
            raise Torn(path)
        begin = offset + len(head)
        data = self._transport.read(path, length, begin) if length else b""
        if len(data) < length or not formats.is_piece(self._key, path, offset, head, data):
            raise Torn(path)
        return data, begin + length

    # -- removing --------------------------------------------------------------------------------------------

    def done(self, components: "Sequence[int]", failed: "Sequence[int]") -> "None":
        """These have a record: those that have not failed need their checkpoints no longer, once it is
        safe.
        """
        if self._kept:
            self._doomed += [one for one in self._kept if one in components and one not in failed]

    def records_are_safe(self) -> "None":
        """What `done` was told of is on disk."""
        while self._doomed:
            component = self._doomed.pop()
            self._kept.pop(component, None)
            self._transport.remove_tree("%s/%d" % (FOLDER, component))


def _path(component: "int", name: "str") -> "str":
    return "%s/%d/%s" % (FOLDER, component, name)
