"""How long it takes to tell why a job waits, and to know the site's rules: JSON on standard output.

    python benchmarks/waiting.py --slots 1000 50000

The ads of slots are made up: machines of four slots with memory and disk of different sizes, three levels of
processors, and a file system that half of them have. `query_s` is what fetching as many ads with the same
attributes costs this process at least: reading their text. `profile_ms` is one look for the profile of this
machine, `profile_first_ms` the first one. All of it is processor time.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import time
from typing import Any

import classad2

from wingspan.pools.analysis import analyse
from wingspan.pools.profiles import find_profile

REQUIREMENTS = (
    '(TARGET.Arch == "X86_64") && (TARGET.OpSys == "LINUX") && (TARGET.Disk >= RequestDisk) && '
    '(TARGET.Memory >= RequestMemory) && (TARGET.HasFileTransfer) && (TARGET.Microarch >= "x86_64-v3") && '
    "(TARGET.HasStaging is true)"
)


def ads(count: int) -> list[str]:
    """The text of so many ads."""
    chance = random.Random(1)
    made = []
    for number in range(count):
        disk = chance.randrange(10**6, 10**8)
        made.append(
            f'[Machine = "m{number // 4}"; Arch = "X86_64"; OpSys = "LINUX"; HasFileTransfer = true; Cpus = 8; '
            f'TotalSlotCpus = 8; Microarch = "x86_64-v{chance.choice((2, 3, 4))}"; Disk = {disk}; TotalSlotDisk = {disk}; '
            f"HasStaging = {chance.choice(('true', 'false'))}; Memory = 100; PartitionableSlot = true; "
            f'TotalSlotMemory = {chance.choice((4096, 8000, 8192))}; State = "Unclaimed"]'
        )
    return made


def measure(count: int) -> dict[str, Any]:
    """Explain one job over `count` slots."""
    job = classad2.ClassAd(
        "[ClusterId = 1; ProcId = 0; RequestCpus = 1; RequestMemory = 9216; RequestDisk = 2000000; "
        f"Requirements = {REQUIREMENTS}]"
    )
    texts = ads(count)
    begin = time.process_time()
    slots = [classad2.ClassAd(text) for text in texts]
    read = time.process_time()
    found = analyse(job, slots)
    return {
        "query_s": round(read - begin, 3),
        "analysis_s": round(time.process_time() - read, 3),
        "told": found.text(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--slots", type=int, nargs="+", default=[1000, 50_000])
    options = parser.parse_args()
    begin = time.process_time()
    find_profile()
    first = time.process_time()
    for _ in range(100):
        find_profile()
    figures: dict[str, Any] = {
        "profile_first_ms": round(1000 * (first - begin), 2),
        "profile_ms": round(10 * (time.process_time() - first), 3),
        "slots": {str(count): measure(count) for count in options.slots},
    }
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"what": "waiting", "machine": machine, "figures": figures}, indent=1))


if __name__ == "__main__":
    main()
