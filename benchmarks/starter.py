"""How large the starter is, and what a start takes beside the mount: JSON on standard output.

    python benchmarks/starter.py                      # this starter
    python benchmarks/starter.py --other OLD.sh       # beside another one, in turns

A start reads the script, finds the note of a bundle that was checked before, activates an environment, and
becomes ``true``. Processor time of the shell and of what it starts counts; other work on the machine disturbs
it little.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import resource
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

from wingspan.environments.bundles.remote import remote_program


def processor_time() -> float:
    """Seconds that the children of this process, and theirs, have computed."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def measure(starters: dict[str, Path], folder: Path, starts: int) -> dict[str, dict[str, float]]:
    """Sums and medians for each starter, in milliseconds."""
    bundle, prefix = folder / "bundle", folder / "environment"
    bundle.write_bytes(b"a bundle")
    (prefix / ".wingspan").mkdir(parents=True)
    (prefix / ".wingspan/activate.sh").write_text("export CONDA_PREFIX=/opt/wingspan/environment\n")
    options = [
        "--bundle",
        str(bundle),
        "--sha256",
        hashlib.sha256(b"a bundle").hexdigest(),
        "--prefix",
        str(prefix),
    ]
    variables = {"PATH": "/usr/bin:/bin", "WINGSPAN_NODE_CACHE": str(folder)}

    def start(starter: Path) -> tuple[float, float]:
        words = ["sh", str(starter), *options, "--stage", "container", "--", "true"]
        before, began = processor_time(), time.perf_counter()
        subprocess.run(words, env=variables, check=True)
        return 1000 * (processor_time() - before), 1000 * (time.perf_counter() - began)

    for starter in starters.values():
        start(starter)
    rows: dict[str, list[tuple[float, float]]] = {name: [] for name in starters}
    for turn in range(starts):
        # Each goes first as often as the other: what the first one wakes up, the second one finds awake.
        for name in sorted(starters, reverse=turn % 2 == 1):
            rows[name].append(start(starters[name]))
    return {
        name: {
            "bytes": starters[name].stat().st_size,
            "cpu_ms": round(sum(cpu for cpu, _ in row), 1),
            "wall_ms_median": round(statistics.median(wall for _, wall in row), 2),
            "wall_ms_least": round(min(wall for _, wall in row), 2),
        }
        for name, row in rows.items()
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--other", type=Path, help="another starter, as a file")
    parser.add_argument("--starts", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        own = folder / "starter.sh"
        own.write_bytes(remote_program("starter.sh"))
        starters = {"this": own} | ({"other": given.other} if given.other else {})
        print(json.dumps({"starts": given.starts, **measure(starters, folder, given.starts)}, indent=2))


if __name__ == "__main__":
    main()
