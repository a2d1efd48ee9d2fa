"""The round trip of `wingspan.Executor.submit` on warm workers, beside `ProcessPoolExecutor`'s: JSON.

    python benchmarks/executor.py             # processes on this machine
    python benchmarks/executor.py personal    # starts the personal pool

`round_trip_ms` is from `submit` to `result`, one call after the other; `thousand_s` is of a thousand calls
that are in flight together; `after_silence_ms` of a call after a second without any.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import json
import os
import statistics
import tempfile
import time


def _round_trips(executor: concurrent.futures.Executor, count: int) -> dict[str, float]:
    executor.submit(abs, -1).result()
    times = []
    for number in range(count):
        begin = time.perf_counter()
        executor.submit(abs, -number).result()
        times.append(1e3 * (time.perf_counter() - begin))
    begin = time.perf_counter()
    for call in [executor.submit(abs, -number) for number in range(1000)]:
        call.result()
    thousand = time.perf_counter() - begin
    time.sleep(1)
    begin = time.perf_counter()
    executor.submit(abs, -1).result()
    return {
        "round_trip_ms": round(statistics.median(times), 3),
        "round_trip_ms_worst": round(max(times), 3),
        "thousand_s": round(thousand, 3),
        "after_silence_ms": round(1e3 * (time.perf_counter() - begin), 3),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("pool", nargs="?", default="local")
    parser.add_argument("--count", type=int, default=200)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WINGSPAN_DATA_DIR"] = folder
        import wingspan

        with wingspan.Executor(2, pool=given.pool) as executor:
            ours = _round_trips(executor, given.count)
        with concurrent.futures.ProcessPoolExecutor(2) as executor:
            theirs = _round_trips(executor, given.count)
        ratio = round(ours["round_trip_ms"] / theirs["round_trip_ms"], 1)
        print(json.dumps({"pool": given.pool, "ours": ours, "ProcessPoolExecutor": theirs, "ratio": ratio}))


if __name__ == "__main__":
    main()
