"""A command-line tool, swept over its options: the result is files.

How small does gzip make Python's language reference, level by level? Each combination of the sweep
is a job; the input travels to it, and what it writes comes back.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from pydoc_data.topics import topics

import wingspan


def draw(table: dict[tuple[str, int], int], size: int) -> None:
    """Sizes by tool and level: command.png."""
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(6, 4), layout="constrained")
    for tool in sorted({tool for tool, _ in table}):
        levels = sorted(level for other, level in table if other == tool)
        axes.plot(levels, [100 * table[tool, level] / size for level in levels], marker="o", label=tool)
    axes.set(xlabel="level", ylabel="size (% of the text)", title="Compressed language reference of Python")
    axes.legend()
    figure.savefig("command.png", dpi=120)


if __name__ == "__main__":
    text = Path(tempfile.mkdtemp()) / "reference.txt"
    text.write_text("\n".join(topics.values()), encoding="utf-8")
    run = wingspan.run(
        ["sh", "-c", '"$tool" -"$level" -c reference.txt > small'],
        name="compress",
        inputs=[text],
        outputs=["small"],
        sweep={"tool": ["gzip", "xz"], "level": [1, 3, 6, 9]},
    )
    run.wait()
    run.check()
    table = {}
    for job in run.status().jobs:
        size = run.outputs(job.number)["small"].stat().st_size
        table[job.parameters["tool"], int(job.parameters["level"])] = size
    draw(table, text.stat().st_size)
    best = min(table, key=table.__getitem__)
    print(
        f"{len(table)} jobs; smallest: {best[0]} -{best[1]}, {100 * table[best] / text.stat().st_size:.1f} %"
    )
    run.remove()
