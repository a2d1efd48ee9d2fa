"""How long reading locks takes: parse, select with the comparison to the manifest, derive needs.

    python benchmarks/environments.py [--repeat 20] [--json]

Measures the five real locks of ``tests/data/locks``, the largest linux-64 environment of each; every
repetition opens the workspace anew. The median is shown; the 90 % quantile (--json) tells how noisy it was.
"""

from __future__ import annotations

import argparse
import json
import lzma
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

LOCKS = Path(__file__).parent.parent / "tests" / "data" / "locks"


def measure(work: Callable[[], object], repeat: int) -> tuple[float, float]:
    """(median, 90 % quantile) in milliseconds."""
    times = []
    for _ in range(repeat):
        begun = time.perf_counter()
        work()
        times.append((time.perf_counter() - begun) * 1e3)
    times.sort()
    return statistics.median(times), times[int(len(times) * 0.9)]


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()

    from wingspan.environments import Workspace, derive_needs, load_environment
    from wingspan.environments.lockfile import Lock

    rows = []
    with tempfile.TemporaryDirectory() as name:
        for variable in ("WINGSPAN_CACHE_DIR", "RATTLER_CACHE_DIR"):
            os.environ[variable] = str(Path(name) / "cache")
        for packed in sorted(LOCKS.glob("*/pixi.lock.xz")):
            folder = Path(name) / packed.parent.name
            folder.mkdir()
            (folder / "pixi.lock").write_bytes(lzma.decompress(packed.read_bytes()))
            shutil.copyfile(packed.parent / "pixi.toml", folder / "pixi.toml")
            workspace = Workspace.open(folder)
            environments = [
                workspace.load(name, p.name)
                for name in workspace.environments
                for p in workspace.platforms(name)
                if p.subdir == "linux-64"
            ]
            env = max(environments, key=lambda e: len(e.packages))
            parse = measure(partial(Lock, folder / "pixi.lock"), options.repeat)
            load = measure(partial(load_environment, folder, env.name, env.platform.name), options.repeat)
            needs = measure(partial(derive_needs, env), options.repeat)
            rows.append(
                {
                    "lock": folder.name,
                    "bytes": (folder / "pixi.lock").stat().st_size,
                    "environment": f"{env.name} on {env.platform.label}",
                    "packages": len(env.packages),
                    "parse_ms": round(parse[0], 1),
                    "load_ms": round(load[0], 1),
                    "needs_ms": round(needs[0], 1),
                    "needs_p90_ms": round(needs[1], 1),
                }
            )
        command = [sys.executable, "-m", "wingspan", "env", "needs", "-m", str(folder), "--json"]
        whole = measure(
            lambda: subprocess.run(command, check=True, capture_output=True), max(3, options.repeat // 4)
        )
    if options.json:
        print(json.dumps({"locks": rows, "command_ms": round(whole[0], 1)}, indent=1))
        return
    print(f"milliseconds, median of {options.repeat}")
    print(f"{'lock':45} {'packages':>8} {'kB':>5} {'parse':>7} {'load':>7} {'needs':>7}")
    for row in rows:
        print(
            f"{row['lock']:45} {row['packages']:8} {int(row['bytes']) // 1000:5} "
            f"{row['parse_ms']:7} {row['load_ms']:7} {row['needs_ms']:7}"
        )
    print(f"wingspan env needs --json, whole command: {whole[0]:.0f} ms")


if __name__ == "__main__":
    main()
