"""How soon a notebook can be used: from ``wingspan notebook`` to the outputs of a map in its first cell.

Prints JSON.

    python benchmarks/notebook.py [--tries 3]

Each try has a data folder of its own and so starts a pool; caches are the user's, and warm after the first
try. ``server``: the server answers. ``kernel``: a kernel is ready. ``usable``: the first cell, a map of five
components, has its outputs. These are seconds from the start of the command. ``second``: the same cell again,
from sending it. ``plain``: a cell without a map. ``cpu``: processor seconds of server, kernel and pool until
then.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "tests"))

from _jupyter import Server

CELL = "import wingspan; list(wingspan.map(lambda x: x * x, range(5)))"
SQUARES = "[0, 1, 4, 9, 16]"


def one_try(folder: Path) -> dict[str, float]:
    began = time.monotonic()
    before = os.times()
    server = Server(folder, environment={"WINGSPAN_DATA_DIR": str(folder / "data")})
    found: dict[str, float] = {}
    try:
        server.wait_until_up()
        found["server"] = time.monotonic() - began
        kernel = server.kernel()
        found["kernel"] = time.monotonic() - began
        cell = kernel.run(CELL)
        assert SQUARES in cell.text, cell
        found["usable"] = time.monotonic() - began
        for name, code in (("second", CELL), ("plain", "6 * 7")):
            times = []
            for _ in range(5):
                start = time.monotonic()
                assert kernel.run(code).status == "ok"
                times.append(time.monotonic() - start)
            found[name] = statistics.median(times)
        server.says("Maps run on the personal pool")
    finally:
        server.close()
    after = os.times()
    found["cpu"] = sum(after[2:4]) - sum(before[2:4])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--tries", type=int, default=3)
    options = parser.parse_args()
    tries = []
    for _ in range(options.tries + 1):  # the first one warms the caches
        with tempfile.TemporaryDirectory(prefix="wingspan-notebook-", dir="/var/tmp") as folder:
            tries.append(one_try(Path(folder)))
    summary = {
        name: {
            "median": round(statistics.median([one[name] for one in tries[1:]]), 3),
            "all": [round(one[name], 3) for one in tries],
        }
        for name in tries[0]
    }
    print(json.dumps({**summary, "load": [round(x, 1) for x in os.getloadavg()]}, indent=2))


if __name__ == "__main__":
    main()
