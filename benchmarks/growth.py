"""How the cost of a map on the access point grows with its workers: JSON, and the curves of
``docs/growth.md``.

    python benchmarks/growth.py > growth.json                    # simulated, up to 10,000 workers: some
    minutes wingspan bench --site --workers 1,10,50 --json > site.json   # measured, where there are slots
    python benchmarks/growth.py --plot docs/pictures/growth.svg growth.json site.json

Each point is a line of ``loads`` in the JSON: filled where it was measured, hollow where it was simulated on
the real code of the workers, with the map in memory.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from pathlib import Path
from typing import Any

from _drawing import new_figure, save
from wingspan.maps._bench import simulate_load

#: What is drawn: title of the panel, its curves, and whether these are counts a worker.
PANELS: list[tuple[str, list[tuple[str, str]]]] = [
    ("operations of all workers", [("claims", "claims"), ("appends", "appends"), ("others", "all others")]),
    ("operations of one worker", [("others_at_most", "beside claims and appends, at most")]),
    ("files of the map", [("files", "at most"), ("files_left", "when it is complete")]),
    ("bytes of all workers", [("written", "to the access point"), ("read", "from it")]),
]


def simulated(workers: list[int]) -> dict[str, Any]:
    """The figures for so many workers each."""
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    return {
        "what": "growth",
        "machine": machine,
        "loads": [simulate_load(count).to_json() for count in workers],
    }


def plot(target: Path, loads: list[dict[str, Any]]) -> None:
    """Draw the curves; the same figures give the same file."""
    figure, axes = new_figure(2, 2, (8.5, 6.2))
    for axis, (title, curves) in zip(axes.flat, PANELS, strict=True):
        for number, (field, label) in enumerate(curves):
            color = f"C{number}"
            for is_measured in (False, True):
                points = sorted(
                    (load["workers"], load[field]) for load in loads if load["is_measured"] is is_measured
                )
                if points:
                    axis.plot(
                        *zip(*points, strict=True),
                        color=color,
                        marker="o",
                        linestyle="none" if is_measured else "-",
                        markerfacecolor=color if is_measured else "white",
                        label=None if is_measured else label,
                    )
        axis.set(title=title, xlabel="workers", xscale="log")
        if title.endswith("one worker"):
            axis.set_ylim(0, 25)
            axis.axhline(20, color="grey", linestyle=":", label="the limit")
        else:
            axis.set_yscale("log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    save(figure, target)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 3, 10, 30, 100, 300, 1000, 3000, 10000])
    parser.add_argument(
        "--plot", type=Path, metavar="SVG", help="draw what the files say, and measure nothing"
    )
    parser.add_argument("files", type=Path, nargs="*")
    options = parser.parse_args()
    if options.plot is None:
        print(json.dumps(simulated(options.workers), indent=1))
    else:
        plot(
            options.plot, [load for file in options.files for load in json.loads(file.read_bytes())["loads"]]
        )


if __name__ == "__main__":
    main()
