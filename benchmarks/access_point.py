"""What the workers of a map ask of the access point: JSON on standard output.

    python benchmarks/access_point.py --workers 50 800 10000

The workers are simulated, with the map in memory (`wingspan.maps._simulated`). Claims and appends grow with
the work and are told apart; `others` is everything else a worker asks in its life: listings, reads, times,
files created and removed. For `one_lost`, one of the workers claims a block and is never heard of again.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from functools import lru_cache
from typing import Any

from wingspan.maps._simulated import Counting, InMemory, Memory, simulate
from wingspan.worker import rounds


def measure(workers: int, components: int, retries: int, one_lost: bool) -> dict[str, Any]:
    """Let `workers` do a map of so many components, and count."""
    memory = Memory()
    transports = [Counting(InMemory(memory)) for _ in range(workers)]

    def silence(path: str) -> None:
        memory.file(path)[1][0] -= 1000

    begin = time.process_time()
    lost = silence if one_lost else None
    done = simulate(InMemory(memory), transports, components, retries=retries, lost=lost, block_size=None)
    blocks = rounds.plan_for(rounds.INITIAL, range(components), workers, may_fall=True).blocks
    assert one_lost or len({component for component, _ in done}) == blocks
    others = [len(transport.others) for transport in transports]
    return {
        "blocks": blocks,
        "others_at_most": max(others),
        "others_median": statistics.median_high(others),
        "claims_at_most": max(transport.claims for transport in transports),
        "appends_at_most": max(transport.appends for transport in transports),
        "files_left_per_worker": round(memory.count_files() / workers, 3),
        "cpu_s": round(time.process_time() - begin, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[50, 800])
    parser.add_argument("--components-per-worker", type=int, default=rounds.MANY_COMPONENTS)
    options = parser.parse_args()
    # Every worker checks the signatures of all others' notes. Here they are one process, which needs to check
    # each only once.
    rounds.parse_settled = lru_cache(maxsize=None)(rounds.parse_settled)
    figures: dict[str, Any] = {}
    for workers in options.workers:
        components = workers * options.components_per_worker
        for what, retries, one_lost in (("plain", 0, False), ("retries", 2, False), ("one_lost", 0, True)):
            figures[f"{workers} {what}"] = measure(workers, components, retries, one_lost)
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"what": "access point", "machine": machine, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
