"""What a memo costs: making a map whose outputs are all there, and one that finds nothing.

    python benchmarks/memo.py [COMPONENTS]

Prints JSON: seconds, and microseconds a component, of processor time of this process and of wall time.
``plain`` is the same map without a memo: what a hit costs is ``hits`` less ``plain``.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time


def main(count: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        os.environ["WINGSPAN_DATA_DIR"] = folder
        import wingspan

        def double(x: int) -> int:
            return 2 * x

        def pair(x: tuple[int, str]) -> list[int]:
            return [x[0]]

        found: dict[str, dict[str, float]] = {}

        def make(name: str, inputs: list[object], f: object, **how: object) -> wingspan.Map:
            wall, cpu = time.perf_counter(), time.process_time()
            m = wingspan.map(f, inputs, pool="local", **how)
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            found[name] = {
                "seconds": round(wall, 3),
                "cpu_seconds": round(cpu, 3),
                "us_a_component": round(1e6 * wall / count, 2),
                "cpu_us_a_component": round(1e6 * cpu / count, 2),
            }
            return m

        none = wingspan.Options(workers=0)
        for kind, f, inputs in (
            ("ints", double, list(range(count))),
            ("tuples", pair, [(number, str(number)) for number in range(count)]),
        ):
            make(f"{kind}: plain", inputs, f, options=none).remove()
            first = make(f"{kind}: nothing is there", inputs, f, memo=True)
            first.wait(progress=False)
            make(
                f"{kind}: first hits (the outputs of the map before are put into the store)",
                inputs,
                f,
                memo=True,
            )
            again = make(f"{kind}: hits", inputs, f, memo=True)
            assert again.is_done
            wall = time.perf_counter()
            assert len(list(again)) == count
            found[f"{kind}: reading the outputs"] = {"seconds": round(time.perf_counter() - wall, 3)}
        print(json.dumps({"components": count, **found}, indent=2))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 100_000)
