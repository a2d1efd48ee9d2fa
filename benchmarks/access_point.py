"""What the workers of a map ask of the access point: JSON on standard output.

    python benchmarks/access_point.py --workers 50 800 10000

Each worker is a real `WorkSource` with a transport that counts; they take turns, claim, finish what they have claimed, and run dry. No job
is started and no function called. Claims and appends grow with the work and are told apart; `others` is everything else a worker asks in its
life: listings, reads, times, files created and removed. For `one_lost`, one of the workers claims a block and is never heard of again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

from wingspan.worker import formats, rounds
from wingspan.worker.outbox import Outbox
from wingspan.worker.transports import FileTransport
from wingspan.worker.work import WorkSource

KEY = bytes(formats.KEY_BYTES)
COUNTED = (
    "read",
    "size",
    "append",
    "create_exclusively",
    "write_whole",
    "names",
    "modified",
    "make_folder",
    "rename_folder",
    "remove_tree",
)


class Counting(FileTransport):
    """The file system, counting. It keeps no files open: all workers are in one process here."""

    def __init__(self, folder: str) -> None:
        super().__init__(folder)
        self.claims = self.appends = self.others = 0


def _counted(name: str) -> Any:
    method = getattr(FileTransport, name)

    def counted(self: Counting, path: str, *arguments: Any, **named: Any) -> Any:
        if name == "append":
            self.appends += 1
        elif name == "create_exclusively" and "/claims/" in path:
            self.claims += 1
        else:
            self.others += 1
        try:
            return method(self, path, *arguments, **named)
        finally:
            if name == "append":
                FileTransport.close(self)

    return counted


for _name in COUNTED:
    setattr(Counting, _name, _counted(_name))


def simulate(folder: Path, workers: int, blocks: int, retries: int, one_lost: bool) -> dict[str, Any]:
    """Let `workers` do a map of `blocks` blocks."""
    for name in ("rounds", "results"):
        (folder / name).mkdir()
    publisher = FileTransport(str(folder))
    plan = rounds.plan_for(rounds.INITIAL, range(blocks), workers, 1)
    rounds.publish(publisher, KEY, 0, plan, "first")
    transports = [Counting(str(folder)) for _ in range(workers)]
    sources, boxes = [], []
    for worker, transport in enumerate(transports):
        name = f"{worker}.0"
        transport.create_exclusively(f"results/{name}", b"")
        sources.append(WorkSource(transport, KEY, worker, name, retries, 120.0))
        boxes.append(Outbox(transport, KEY, name))
    active = list(range(workers))
    if one_lost:
        sources[0].next_block()
        past = time.time() - 1000
        os.utime(folder / "results/0.0", (past, past))
        active.remove(0)
    while active:
        for worker in list(active):
            block = sources[worker].next_block()
            if block is not None:
                first, _ = block.next_run()
                boxes[worker].add(formats.OUTPUT, payload=b"p", number=block.round, index=first)
                boxes[worker].block_done(block)
                boxes[worker].flush()
            elif not sources[worker].another_round():
                active.remove(worker)
    others = sorted(transport.others for transport in transports)
    files = sum(len(names) for _, _, names in os.walk(folder))
    return {
        "blocks": blocks,
        "others_at_most": others[-1],
        "others_median": others[len(others) // 2],
        "claims_at_most": max(transport.claims for transport in transports),
        "appends_at_most": max(transport.appends for transport in transports),
        "files_left_per_worker": round(files / workers, 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[50, 800])
    parser.add_argument("--blocks-per-worker", type=int, default=rounds.BLOCKS_PER_WORKER)
    options = parser.parse_args()
    figures: dict[str, Any] = {}
    for workers in options.workers:
        blocks = min(rounds.MAX_BLOCKS, workers * options.blocks_per_worker)
        for what, retries, one_lost in (("plain", 0, False), ("retries", 2, False), ("one_lost", 0, True)):
            with tempfile.TemporaryDirectory(prefix="wingspan-benchmark-") as folder:
                begin = time.process_time()
                told = simulate(Path(folder), workers, blocks, retries, one_lost)
                told["cpu_s"] = round(time.process_time() - begin, 1)
            figures[f"{workers} {what}"] = told
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"what": "access point", "machine": machine, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
