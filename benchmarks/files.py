"""What files of maps cost: JSON on standard output.

    python benchmarks/files.py --components 500 --megabytes 512

For each engine: the time of a component with a small file in its arguments, and of one that sends a small
file, both beyond what a component without files takes; megabytes a second of one large file to a component,
and back; and the peak of its memory meanwhile. ``elsewhere`` is the personal pool with files that go through
chirp, as they do on a pool that shares no disk.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import wingspan
from wingspan import Options, TransferPath
from wingspan.pools.htcondor import PersonalHTCondorPool


class Elsewhere(PersonalHTCondorPool):
    """The personal pool, as if its machines did not see this one's disk."""

    shares_files = False


def read(path: Any) -> int:
    """The function of a component that gets a file."""
    return len(path.read_bytes())


def send(size: int) -> None:
    """The function of a component that sends a file."""
    with Path("out").open("wb") as file:
        file.truncate(size)
    wingspan.component().transfer_output_files("out")


def size_of(path: Any) -> int:
    """The function of a component that gets a large file."""
    return int(path.stat().st_size)


def as_elsewhere(paths: list[Path]) -> Iterable[TransferPath]:
    """Inputs whose times differ, below a second, when a worker looks: it asks the access point for them."""
    yield from map(TransferPath, paths)
    for path in paths:
        written = path.stat().st_mtime_ns
        os.utime(path, ns=(written, written ^ 1))


def walls(function: Any, inputs: Iterable[Any], pool: Any) -> tuple[float, float, int]:
    """Mean wall and CPU seconds of a component of one worker, and the peak of its memory (bytes)."""
    m = wingspan.map(function, inputs, pool=pool, options=Options(workers=1, own_folder=True))
    seen = m.wait(progress=False)
    m.remove()
    return seen.wall / seen.components, seen.cpu / seen.components, seen.peak_memory


def measure(pool: Any, folder: Path, components: int, megabytes: int) -> dict[str, Any]:
    """The figures of one engine."""
    small = [folder / f"small-{number}" for number in range(components)]
    for path in small:
        path.write_text("x")
    large = folder / "large"
    large.write_bytes(os.urandom(1 << 20) * megabytes)
    given = as_elsewhere if isinstance(pool, Elsewhere) else lambda paths: map(TransferPath, paths)
    none, into, out = (
        walls(function, inputs, pool)
        for function, inputs in ((abs, range(components)), (read, given(small)), (send, [1] * components))
    )
    large_in = walls(size_of, given([large]), pool)
    large_out = walls(send, [megabytes << 20], pool)
    return {
        "folder_ms": round(1e3 * none[0], 2),
        "file_in_ms": round(1e3 * (into[0] - none[0]), 2),
        "file_out_ms": round(1e3 * (out[0] - none[0]), 2),
        "file_in_cpu_ms": round(1e3 * (into[1] - none[1]), 2),
        "file_out_cpu_ms": round(1e3 * (out[1] - none[1]), 2),
        "large_in_mb_per_s": round(megabytes / large_in[0]),
        "large_out_mb_per_s": round(megabytes / large_out[0]),
        "large_peak_memory_mb": round(max(large_in[2], large_out[2]) / (1 << 20)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--components", type=int, default=500)
    parser.add_argument("--megabytes", type=int, default=512)
    parser.add_argument("--engines", nargs="+", default=["local", "personal", "elsewhere"])
    options = parser.parse_args()
    engines: dict[str, Any] = {name: Elsewhere() if name == "elsewhere" else name for name in options.engines}
    with tempfile.TemporaryDirectory() as folder:
        figures = {}
        for name, pool in engines.items():
            place = Path(folder, name)
            place.mkdir()
            figures[name] = measure(pool, place, options.components, options.megabytes)
    facts = {"components": options.components, "megabytes": options.megabytes, "machine": platform.node()}
    print(json.dumps({**facts, "engines": figures}, indent=2))


if __name__ == "__main__":
    main()
