"""How long maps take, from the call to the last result in hand: JSON on standard output.

    python benchmarks/maps.py personal            # starts a personal pool of its own, 4 slots
    python benchmarks/maps.py local               # cold Python processes, 2 workers, and the warm round trip
    python benchmarks/maps.py start               # import wingspan, wingspan --help
    python benchmarks/maps.py many --components 10000000   # a map of so many no-ops on local
    python benchmarks/maps.py worker              # processor time of a worker that does one component

Everything is kept in a temporary data folder. Each figure names what it measures; `repeat` runs are made and
all are printed, so that a reader sees the spread.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_COLD = """
import time
import wingspan
m = wingspan.map(lambda x: 2 * x, range({n}), pool="local", options=wingspan.Options(workers=2))
first = m[0]
first_at = time.time()
assert sum(m) == sum(2 * x for x in range({n}))
print(first_at, time.time())
"""


def _personal(repeat: int, sizes: list[int]) -> dict[str, object]:
    import wingspan
    from wingspan.pools.htcondor import PersonalHTCondorPool
    from wingspan.pools.personal import PersonalPool

    pool = PersonalPool(cpus=4)
    begin = time.perf_counter()
    pool.start()
    figures: dict[str, object] = {"pool_ready_s": round(time.perf_counter() - begin, 2)}
    engine = PersonalHTCondorPool(pool)
    try:
        list(
            wingspan.map(lambda x: 2 * x, range(8), pool=engine)
        )  # a warm-up: the first jobs of a pool are slower
        for n in sizes:
            runs = []
            for _ in range(repeat if n < 1_000_000 else 1):
                time.sleep(2)
                begin = time.perf_counter()
                m = wingspan.map(lambda x: 2 * x, range(n), pool=engine)
                made = time.perf_counter() - begin
                m[0]
                first = time.perf_counter() - begin
                total = 0
                for output in m:
                    total += output
                last = time.perf_counter() - begin
                assert total == n * (n - 1)
                runs.append({"made_s": round(made, 3), "first_s": round(first, 3), "last_s": round(last, 3)})
                m.remove()
            figures[str(n)] = runs
        figures["access_point_peak_MiB"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    finally:
        pool.stop()
    return figures


def _local(repeat: int) -> dict[str, object]:
    import wingspan

    figures: dict[str, object] = {}
    for n in (1, 1_000, 10_000, 100_000):
        runs = []
        for _ in range(repeat):
            # Other start variables than the run before: no idle worker fits, every process is cold.
            environ = {**os.environ, "LC_WINGSPAN": str(time.time_ns())}
            begin = time.time()
            text = subprocess.run(
                [sys.executable, "-c", _COLD.format(n=n)],
                check=True,
                capture_output=True,
                text=True,
                env=environ,
            ).stdout
            first, last = (float(word) - begin for word in text.split())
            runs.append({"first_s": round(first, 3), "last_s": round(last, 3)})
        figures[f"cold_{n}"] = runs
    trips = []
    for number in range(60):
        begin = time.perf_counter()
        m = wingspan.map(lambda x: 2 * x, [number], pool="local", options=wingspan.Options(workers=1))
        assert m[0] == 2 * number
        trips.append(time.perf_counter() - begin)
        time.sleep(0.02)
    trips = sorted(trips[10:])
    figures["warm_round_trip_ms"] = {
        "best": round(trips[0] * 1e3, 2),
        "median": round(trips[len(trips) // 2] * 1e3, 2),
        "worst": round(trips[-1] * 1e3, 2),
    }
    return figures


def _start(repeat: int) -> dict[str, object]:
    def seconds(*command: str) -> float:
        times = []
        for _ in range(max(5, repeat)):
            begin = time.perf_counter()
            subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
            times.append(time.perf_counter() - begin)
        return min(times)

    bare = seconds(sys.executable, "-c", "pass")
    return {
        "bare_python_ms": round(bare * 1e3, 1),
        "import_wingspan_over_bare_ms": round(
            (seconds(sys.executable, "-c", "import wingspan") - bare) * 1e3, 1
        ),
        "wingspan_help_ms": round(seconds(sys.executable, "-m", "wingspan", "--help") * 1e3, 1),
    }


#: Prints what was measured in a process of its own, whose peak of memory is that of the access point.
_MANY = """
import json, os, resource, sys, time
import wingspan

n, tag, what = int(sys.argv[1]), sys.argv[2], sys.argv[3]
begin = time.perf_counter()
if what == "make":
    m = wingspan.map(lambda x: None, range(n), pool="local", tag=tag, options=wingspan.Options(workers=2))
    made = time.perf_counter() - begin
    m.wait()
else:
    m = wingspan.load(tag)
    made = time.perf_counter() - begin
    if what == "last":
        assert m[n - 1] is None
    else:
        print(m.status(), file=sys.stderr)
used = resource.getrusage(resource.RUSAGE_SELF)
print(json.dumps({
    "made_s": round(made, 3),
    "done_s": round(time.perf_counter() - begin, 3),
    "cpu_s": round(used.ru_utime + used.ru_stime, 3),
    "peak_MiB": used.ru_maxrss // 1024,
}))
"""


def _many(repeat: int, components: int) -> dict[str, object]:
    """A map of so many no-ops: made and waited for, then opened again in another process."""

    def told(tag: str, what: str) -> object:
        command = [sys.executable, "-c", _MANY, str(components), tag, what]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        return json.loads(done.stdout)

    runs = []
    for number in range(repeat):
        tag = f"many-{number}"
        what = ("make", "last", "last", "status", "status")
        runs.append([{one: told(tag, one)} for one in what])
    import wingspan

    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", "import wingspan.maps._map"], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    wingspan.clean(all=True)
    imports = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"components": components, "runs": runs, "imports_alone_cpu_s": round(imports, 3)}


def _worker(repeat: int) -> dict[str, object]:
    """Processor time of a cold worker, both its processes, that does one component; of a bare Python, too."""
    import wingspan

    def cpu(*command: str) -> float:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

    bare, workers = [], []
    for _ in range(max(10, repeat)):
        m = wingspan.map(lambda x: None, [0], pool="local", options=wingspan.Options(workers=0))
        workers.append(cpu(sys.executable, str(m.path / "worker.pyz"), "file", str(m.path), "1000000", "0"))
        m.wait()
        bare.append(cpu(sys.executable, "-c", "pass"))
    return {
        "worker_cpu_ms": [round(1e3 * one, 1) for one in sorted(workers)],
        "bare_python_cpu_ms": [round(1e3 * one, 1) for one in sorted(bare)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["personal", "local", "start", "many", "worker"])
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1, 50, 10_000, 100_000, 1_000_000])
    parser.add_argument("--components", type=int, default=1_000_000, help="of many")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="wingspan-benchmark-") as folder:
        os.environ["WINGSPAN_DATA_DIR"] = str(Path(folder) / "data")
        begin = os.getloadavg()[0]
        measured = {
            "personal": lambda: _personal(options.repeat, options.sizes),
            "local": lambda: _local(options.repeat),
            "start": lambda: _start(options.repeat),
            "many": lambda: _many(options.repeat, options.components),
            "worker": lambda: _worker(options.repeat),
        }[options.what]()
        machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load_before": begin}
        print(json.dumps({"what": options.what, "machine": machine, "figures": measured}, indent=1))


if __name__ == "__main__":
    main()
