"""The workers of one map in a single process, and how often each of them asks the access point for something.

Every worker is a real `WorkSource` and a real `Outbox`. They take turns: each claims a block, finishes it,
and looks for more work when all blocks are claimed. No job is started and no function is called.
`wingspan bench --site`, `benchmarks/access_point.py` and `tests/worker/test_work.py` use this.
"""

from __future__ import annotations

import errno
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

from wingspan.worker import formats, rounds
from wingspan.worker.counting import Counting
from wingspan.worker.outbox import Outbox
from wingspan.worker.work import WorkSource

if TYPE_CHECKING:
    from wingspan.worker.transports import Transport

__all__ = ["KEY", "Counting", "InMemory", "Memory", "finish", "simulate"]

KEY = bytes(formats.KEY_BYTES)
LEASE = 120.0


class Memory:
    """The folders and files of a map, without a disk: folders by path, each with its names; a file is its
    bytes and the time of its change.

    No time passes here: a process that plays many workers takes longer than the lease of each, and none of
    them is to count as lost for that.
    """

    NOW = 1e9

    def __init__(self, folders: Iterable[str] = ("rounds", "results")) -> None:
        self.folders: dict[str, dict[str, tuple[bytearray, list[float]] | None]] = {"": {}}
        self.files = self.most_files = 0
        for folder in folders:
            self.add_folder(folder)

    def add_folder(self, path: str) -> None:
        parent, _, name = path.rpartition("/")
        self.folder(parent)[name] = None
        self.folders[path] = {}

    def folder(self, path: str) -> dict[str, tuple[bytearray, list[float]] | None]:
        if path not in self.folders:
            raise FileNotFoundError(errno.ENOENT, "no such folder", path)
        return self.folders[path]

    def file(self, path: str) -> tuple[bytearray, list[float]]:
        parent, _, name = path.rpartition("/")
        found = self.folder(parent).get(name)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, "no such file", path)
        return found

    def put(self, path: str, data: bytes) -> None:
        parent, _, name = path.rpartition("/")
        self.files += name not in self.folder(parent)
        self.most_files = max(self.most_files, self.files)
        self.folder(parent)[name] = (bytearray(data), [self.NOW])

    def inside(self, path: str) -> list[str]:
        """The folder and those in it."""
        return [each for each in self.folders if each == path or each.startswith(path + "/")]

    def count_files(self) -> int:
        """A file of several names is one."""
        entries = (entry for folder in self.folders.values() for entry in folder.values())
        return len({id(entry) for entry in entries if entry is not None})


class InMemory:
    """Answers as `FileTransport` does, from a `Memory` that all workers share."""

    name = "memory"
    flush_seconds = 0.02
    can_link = True

    def __init__(self, memory: Memory) -> None:
        self._memory = memory

    def read(self, path: str, length: int | None = None, offset: int = 0) -> bytes:
        data = self._memory.file(path)[0]
        return bytes(data[offset:] if length is None else data[offset : offset + length])

    def size(self, path: str) -> int:
        return len(self._memory.file(path)[0])

    def append(self, path: str, *parts: bytes | memoryview) -> None:
        parent, _, name = path.rpartition("/")
        if self._memory.folder(parent).get(name) is None:
            self._memory.put(path, b"")
        data, changed = self._memory.file(path)
        for part in parts:
            data += part
        changed[0] = self._memory.NOW

    def create_exclusively(self, path: str, data: bytes) -> bool:
        parent, _, name = path.rpartition("/")
        if name in self._memory.folder(parent):
            return False
        self._memory.put(path, data)
        return True

    def link(self, path: str, new: str) -> bool:
        file = self._memory.file(path)
        parent, _, name = new.rpartition("/")
        if name in self._memory.folder(parent):
            return False
        self._memory.folder(parent)[name] = file
        return True

    def write_whole(self, path: str, data: bytes) -> None:
        self._memory.put(path, data)

    def names(self, path: str) -> list[str]:
        return list(self._memory.folders.get(path, ()))

    def modified(self, path: str) -> float | None:
        parent, _, name = path.rpartition("/")
        entry = self._memory.folders.get(parent, {}).get(name)
        return None if entry is None else entry[1][0]

    def make_folder(self, path: str) -> None:
        if path not in self._memory.folders:
            self._memory.add_folder(path)

    def rename_folder(self, old: str, new: str) -> bool:
        memory = self._memory
        memory.folder(old)
        if memory.folders.get(new):
            return False
        for each in memory.inside(old):
            memory.folders[new + each[len(old) :]] = memory.folders.pop(each)
        for path, gone in ((old, True), (new, False)):
            parent, _, name = path.rpartition("/")
            if gone:
                memory.folder(parent).pop(name, None)
            else:
                memory.folder(parent)[name] = None
        return True

    def remove_tree(self, path: str) -> None:
        for each in self._memory.inside(path):
            del self._memory.folders[each]
        self._memory.files = self._memory.count_files()
        parent, _, name = path.rpartition("/")
        self._memory.folders.get(parent, {}).pop(name, None)

    def close(self) -> None:
        pass


def finish(
    transport: Any, name: str, block: Any, failed: Iterable[int] = (), components: Iterable[int] | None = None
) -> None:
    """Write the records of a block, and say that it is done; or write those of some `components` of it
    alone.
    """
    box = Outbox(transport, KEY, name)
    failed = list(failed)
    for first, stop in [block.next_run()] if components is None else [(c, c + 1) for c in components]:
        for component in range(first, stop):
            kind = formats.ERROR if component in failed else formats.OUTPUT
            box.add(kind, payload=b"p", number=block.round, index=component)
    block.failed = failed
    if components is None:
        box.block_done(block)
    box.flush()


def _all_but(component: int) -> Callable[[int], bool]:
    return lambda one: one != component


def simulate(
    publisher: Transport,
    transports: list[Counting],
    components: int,
    *,
    retries: int = 0,
    failing: frozenset[int] = frozenset(),
    lost: Callable[[str], object] | None = None,
    block_size: int | None = 1,
) -> list[tuple[int, bool]]:
    """Let one worker for each of `transports` do a map of so many components.

    Args:
        publisher: Writes the first round; what it asks is not counted.
        transports: One for each worker.
        components: How many.
        retries: How often a component that fails is tried again.
        failing: Components that fail at the first attempt.
        lost: Given, the first worker claims a block and is never heard of again. It is called with the name
            of that worker's results, and has to make these older than the lease.
        block_size: As in a map's options. Of larger blocks only the first component gets a record.

    Returns:
        What was done, in order: the first component of each block, and whether it failed.
    """
    workers = len(transports)
    plan = rounds.plan_for(rounds.INITIAL, range(components), workers, block_size, may_fall=True)
    rounds.publish(publisher, KEY, 0, plan, "first")
    sources = []
    for worker, transport in enumerate(transports):
        transport.create_exclusively(f"results/{worker}.0", b"")
        sources.append(WorkSource(transport, KEY, worker, f"{worker}.0", retries, LEASE))
    done: list[tuple[int, bool]] = []
    active = list(range(workers))
    if lost is not None:
        sources[0].next_block()
        lost("results/0.0")
        active.remove(0)
    while active:
        going_on = []
        for worker in active:
            block = sources[worker].next_block()
            if block is not None:
                first, _ = block.next_run()
                failed = [first] if first in failing and block.attempt == 0 else []
                block.drop(_all_but(first))
                finish(transports[worker], f"{worker}.0", block, failed)
                done.append((first, bool(failed)))
            elif not sources[worker].another_round():
                continue
            going_on.append(worker)
        active = going_on
    return done
