"""What looking costs: a live view of a million components, in Python and in a browser, and the report of a
hundred thousand.

    python benchmarks/views.py [--components 1000000] [--report 100000] [--seconds 10]

Prints JSON. Times are processor times, so that they hold on a busy machine too: of the thread that looks, and
of Chromium's renderer and GPU process, which draw the page of ``wingspan dashboard`` (the widget has the same
face). The browser is measured with a map that is only made up, and changes with every look; it is left out
where there is no Chromium (``tools/engines/chromium.py``).
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import shutil
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from wingspan.views import Cells, View


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
            "browser": browser(arguments.components, arguments.seconds),
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
    from wingspan.views import live

    last, gate = components - 1, Path(os.environ["WINGSPAN_DATA_DIR"]) / "gate"

    def component(number: int) -> int:
        if number % 50_000 == 7:
            raise ValueError(number)
        while number == last and not gate.exists():
            time.sleep(0.05)
        return number

    # The last component waits, and with it its block, of which nothing is told before: the map goes on.
    m = wingspan.map(component, range(components), pool="local")
    while m.status().counts[wingspan.ComponentStatus.IDLE] > components // 20:
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


def browser(components: int, seconds: float) -> dict[str, float] | None:
    """Updates a second that a page gets, and the share of a core that Chromium takes to show them."""
    import psutil
    from playwright.sync_api import sync_playwright

    from wingspan.views import live
    from wingspan.views._server import Dashboard

    program = shutil.which("chromium") or shutil.which("chromium-browser")
    if program is None:
        return None
    source = MadeUp(components)
    served = Dashboard(lambda: {"map made-up": shown})
    shown = live(source)
    threading.Thread(target=served.serve, daemon=True).start()

    def spent() -> dict[tuple[str, int], float]:
        """Seconds of each process, by kind and number."""
        times: dict[tuple[str, int], float] = {}
        for process in psutil.Process().children(recursive=True):
            with contextlib.suppress(psutil.Error):
                kind = next((word[7:] for word in process.cmdline() if word.startswith("--type=")), "")
                times[kind, process.pid] = sum(process.cpu_times()[:2])
        return times

    with sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = chromium.new_page(viewport={"width": 1280, "height": 900})
        page.goto(served.url)
        page.wait_for_selector(".ws-board[aria-busy=false]")
        updates: list[View] = []
        end = shown.watch(updates.append)
        time.sleep(2)
        updates.clear()
        before, begin = spent(), time.monotonic()
        time.sleep(seconds)
        after, took = spent(), time.monotonic() - begin
        end()
        # Chromium starts further processes of its own accord, which show nothing: they do not count.
        shares = {
            kind: sum(after[one] - before[one] for one in before if one[0] == kind and one in after) / took
            for kind in ("renderer", "gpu-process")
        }
        result = {
            "updates_per_s": round(len(updates) / took, 2),
            "renderer_share_of_a_core": round(shares["renderer"], 4),
            "gpu_process_share_of_a_core": round(shares["gpu-process"], 4),
        }
        chromium.close()
    served.close()
    return result


class MadeUp:
    """A map that is not there: with every look a further part of its components is completed."""

    key, created = "map made-up", 0.0

    def __init__(self, components: int) -> None:
        from wingspan.views._cells import StateGrid
        from wingspan.views._pace import Pace

        self.looks = 0
        self._codes = bytearray(components)
        self._grid, self._pace = StateGrid(), Pace()

    def exists(self) -> bool:
        return True

    def view(self) -> View:
        from wingspan.views import View

        self.looks += 1
        components, step = len(self._codes), 997
        low = self.looks * step % components
        self._codes[low : low + step] = b"\x01" * len(self._codes[low : low + step])
        done = self._codes.count(1)
        self._pace.see(time.time(), done, 2)
        return View(
            kind="map",
            name="made-up",
            title="component",
            components=components,
            created=0.0,
            now=time.time(),
            states={"completed": done, "idle": components - done},
            workers={"running": 2},
            pools=("local",),
            is_done=False,
            history=tuple(self._pace.points),
            rate=self._pace.rate(),
            actions=("hold", "cancel"),
        )

    def cells(self, first: int, stop: int, layer: str, most: int) -> Cells:
        return self._grid.cells(self._codes, {}, "idle", first, stop, most)


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
