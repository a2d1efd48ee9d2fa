"""What looking costs: a live view of a million components, and the report of a hundred thousand.

    python benchmarks/views.py [--components 1000000] [--report 100000] [--seconds 10]

Prints JSON. Times are processor times of the thread that looks, so that they hold on a busy machine too.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from pathlib import Path


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--components", type=int, default=1_000_000)
    parser.add_argument("--report", type=int, default=100_000)
    parser.add_argument("--seconds", type=float, default=10.0, help="for which the view is watched")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wingspan-views-") as folder:
        os.environ["WINGSPAN_DATA_DIR"] = folder
        result = {
            "watched": watch(arguments.components, arguments.seconds),
            "report": report(arguments.report, Path(folder)),
        }
    json.dump(result, sys.stdout, indent=2)
    print()


def watch(components: int, seconds: float) -> dict[str, float]:
    """A view with its grid, while workers are at it: updates a second, and the share of a core that they
    take.
    """
    import wingspan
    from wingspan.maps._view import MapSource
    from wingspan.views import View, live

    last, gate = components - 1, Path(os.environ["WINGSPAN_DATA_DIR"]) / "gate"

    def component(number: int) -> int:
        if number % 50_000 == 7:
            raise ValueError(number)
        while number == last and not gate.exists():
            time.sleep(0.05)
        return number

    # The last component waits, and with it those that its worker has done just before: the map goes on.
    m = wingspan.map(component, range(components), pool="local")
    while m.status().counts[wingspan.ComponentStatus.IDLE] > components // 100:
        time.sleep(0.2)

    # From now on something changes with every look: single components are done again.
    shown, updates, costs = live(MapSource(m)), [], []
    first = threading.Event()

    def seen(view: View) -> None:
        before = time.thread_time()
        cells = shown.cells(0, view.components, "state")
        costs.append(time.thread_time() - before)
        updates.append((time.monotonic(), len(cells.data)))
        first.set()

    looks: list[float] = []
    view = shown.view

    def timed() -> View:
        before = time.thread_time()
        try:
            return view()
        finally:
            looks.append(time.thread_time() - before)

    shown.view = timed  # type: ignore[method-assign]
    end = shown.watch(seen)
    first.wait()
    updates.clear()
    looks.clear()
    costs.clear()
    begin = time.monotonic()
    again = 0
    while time.monotonic() - begin < seconds:
        m.rerun([again])
        again += 1
        time.sleep(0.1)
    took = time.monotonic() - begin
    end()
    gate.touch()
    m.remove(force=True)
    return {
        "components": components,
        "seconds": round(took, 2),
        "updates_per_s": round(len(updates) / took, 2),
        "looks_per_s": round(len(looks) / took, 2),
        "cost_of_a_look_ms": round(1000 * sum(looks) / max(1, len(looks)), 2),
        "cost_of_a_grid_ms": round(1000 * sum(costs) / max(1, len(costs)), 2),
        "share_of_a_core": round((sum(looks) + sum(costs)) / took, 4),
    }


def report(components: int, folder: Path) -> dict[str, float]:
    """Seconds, processor seconds and bytes of a report."""
    import wingspan

    m = wingspan.map(lambda number: number, range(components), pool="local")
    m.wait(progress=False)
    shown = wingspan.load(m.tag)
    begin, cpu = time.monotonic(), time.process_time()
    path = shown.report(folder / "report.html")
    result = {
        "components": components,
        "seconds": round(time.monotonic() - begin, 2),
        "processor_s": round(time.process_time() - cpu, 2),
        "bytes": path.stat().st_size,
    }
    m.remove(force=True)
    return result


if __name__ == "__main__":
    main()
