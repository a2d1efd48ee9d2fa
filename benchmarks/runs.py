"""How long `wingspan run` takes until its job is in the queue, with a warm bundle: JSON on standard output.

    python benchmarks/runs.py WORKSPACE        # a folder with pixi.toml and pixi.lock; its environment
    "default" is used

On a personal pool of its own, in a temporary data folder. ``call``: `wingspan.run` in a running Python.
``command``: the command line, from its start to its end, which waits for nothing but the queue.
``end_to_end``: from the call to the outputs in hand. All repetitions are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("workspace", type=Path, nargs="?", help="without one, nothing is measured")
    parser.add_argument("--repeat", type=int, default=7)
    options = parser.parse_args()
    if options.workspace is None:
        print("runs.py: name a workspace to measure with", file=sys.stderr)
        return
    with tempfile.TemporaryDirectory(prefix="wingspan-benchmark-", dir="/var/tmp") as folder:
        os.environ["WINGSPAN_DATA_DIR"] = folder
        os.chdir(options.workspace)
        print(json.dumps(_measure(options.repeat), indent=1))


def _measure(repeat: int) -> dict[str, object]:
    import wingspan
    from wingspan.pools.personal import PersonalPool

    pool = PersonalPool()
    pool.start()
    command = ["python", "-c", "open('o.txt', 'w').write('x')"]
    figures: dict[str, list[float]] = {"call": [], "command": [], "end_to_end": []}
    try:
        wingspan.run(
            command, environment="default", outputs=["o.txt"], pool="personal"
        ).wait()  # the bundle, once
        for _ in range(repeat):
            begun = time.perf_counter()
            run = wingspan.run(command, environment="default", outputs=["o.txt"], pool="personal")
            figures["call"].append(round(time.perf_counter() - begun, 3))
            run.wait()
            run.outputs()["o.txt"].read_text()
            figures["end_to_end"].append(round(time.perf_counter() - begun, 3))
            begun = time.perf_counter()
            words = ["run", "-q", "-p", "personal", "-e", "default", "-o", "o.txt", "--", *command]
            done = subprocess.run(
                [sys.executable, "-m", "wingspan", *words], capture_output=True, text=True, check=True
            )
            figures["command"].append(round(time.perf_counter() - begun, 3))
            wingspan.load_run(done.stdout.strip()).wait()
    finally:
        pool.stop()
    return {
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0],
        "seconds": figures,
    }


if __name__ == "__main__":
    main()
