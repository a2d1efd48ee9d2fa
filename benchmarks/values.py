"""How long large values take, and how much memory: JSON on standard output.

    python benchmarks/values.py local
    python benchmarks/values.py personal          # starts a personal pool of its own, 2 slots
    python benchmarks/values.py memory            # one output of --gibibytes, a closure over 300 MiB

Times of `local` and `personal` are of 1,000 values of 1 MiB, from the call to the last in hand. Beside them
stands `plain_s`, the time that this machine takes at that moment to write as many bytes to a file, read them
and hash them once: on a machine that has other work, compare the two. Maps after the first of a personal pool
are done by workers that have stayed warm; with WINGSPAN_IDLE_SECONDS=0.01 every one is done by chirp. Each
figure of memory is taken in a process of its own.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 1 << 20
COUNT = 1000

_OUTPUT = """
import json, resource, time, wingspan
size = {size}
begin = time.time()
m = wingspan.map(bytes, [size], pool="local", options=wingspan.Options(workers=1))
m.wait()
done = time.time() - begin
assert len(m[0]) == size
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
print(json.dumps({{"done_s": round(done, 2), "read_s": round(time.time() - begin - done, 2),
                   "reader_peak_over_size": round(peak / size, 3), "worker_peak_over_size": round(m.memory[0] / size, 3)}}))
m.remove()
"""

_CLOSURE = """
import json, resource, wingspan
list(wingspan.map(abs, [-1], pool="local"))
much = {what}
view = memoryview(much).cast("B")
sum(view[::4096])
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
m = wingspan.map(lambda _: memoryview(much).nbytes, range(2), pool="local", options=wingspan.Options(workers=1))
assert list(m) == [300 << 20] * 2
print(json.dumps({{"caller_above_object_MiB": (peak() - before) >> 10, "worker_above_object_MiB": (m.memory[0] >> 20) - 300}}))
m.remove()
"""


def _plain() -> float:
    """Seconds to write, read and hash as many bytes as the maps move."""
    piece = bytes(MIB)
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as file:
        for _ in range(COUNT):
            file.write(piece)
        file.seek(0)
        digest = hashlib.sha256()
        while data := file.read(MIB):
            digest.update(data)
    return round(time.perf_counter() - begin, 2)


def _both_ways(pool: Any, repeat: int) -> dict[str, Any]:
    import wingspan

    options = wingspan.Options(workers=2)
    list(wingspan.map(abs, range(8), pool=pool, options=options))
    figures: dict[str, Any] = {"outputs": [], "inputs": []}
    given = [bytes(MIB)] * COUNT

    def outputs() -> Any:
        m = wingspan.map(lambda _: bytes(MIB), range(COUNT), pool=pool, options=options)
        assert sum(map(len, m)) == COUNT * MIB
        return m

    def inputs() -> Any:
        m = wingspan.map(len, given, pool=pool, options=options)
        assert sum(m) == COUNT * MIB
        return m

    ways: dict[str, Callable[[], Any]] = {"outputs": outputs, "inputs": inputs}
    for _ in range(repeat):
        for what, do in ways.items():
            time.sleep(1)
            begin, cpu = time.perf_counter(), time.process_time()
            m = do()
            told = {
                "s": round(time.perf_counter() - begin, 2),
                "caller_cpu_s": round(time.process_time() - cpu, 2),
                "plain_s": _plain(),
            }
            figures[what].append(told)
            m.remove()
    figures["caller_peak_MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
    return figures


def _personal(repeat: int) -> dict[str, Any]:
    from wingspan.pools.htcondor import PersonalHTCondorPool
    from wingspan.pools.personal import PersonalPool

    pool = PersonalPool(cpus=2)
    pool.start()
    try:
        return _both_ways(PersonalHTCondorPool(pool), repeat)
    finally:
        pool.stop()


def _memory(gibibytes: float) -> dict[str, Any]:
    def told(script: str) -> Any:
        return json.loads(
            subprocess.run(
                [sys.executable, "-c", script], check=True, stdout=subprocess.PIPE, text=True
            ).stdout
        )

    figures = {f"output_{gibibytes:g}_GiB": told(_OUTPUT.format(size=int(gibibytes * (1 << 30))))}
    figures["closure_bytes"] = told(_CLOSURE.format(what="bytes(300 << 20)"))
    figures["closure_array"] = told("import numpy\n" + _CLOSURE.format(what="numpy.ones(300 << 17)"))
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["local", "personal", "memory"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--gibibytes", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wingspan-benchmark-") as folder:
        os.environ["WINGSPAN_DATA_DIR"] = str(Path(folder) / "data")
        load = os.getloadavg()[0]
        measured = {
            "local": lambda: _both_ways("local", options.repeat),
            "personal": lambda: _personal(options.repeat),
            "memory": lambda: _memory(options.gibibytes),
        }[options.what]()
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load_before": load}
        print(json.dumps({"what": options.what, "machine": machine, "figures": measured}, indent=1))


if __name__ == "__main__":
    main()
