"""How quick the personal pool is: start, first line of a job, jobs at once, after a removal. Prints JSON.

    python benchmarks/personal_pool.py [--cpus 4] [--tries 10] [--directory FOLDER]
    python benchmarks/personal_pool.py --maps     # maps and runs close behind others, on 2 cores

Times are seconds of wall time on whatever else the machine does; ``load`` says how much that was.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

from wingspan.pools.personal import PersonalPool


def summary(values: list[float]) -> dict[str, object]:
    return {
        "median": round(statistics.median(values), 3),
        "min": round(min(values), 3),
        "max": round(max(values), 3),
        "all": [round(value, 3) for value in values],
    }


class Bench:
    def __init__(self, pool: PersonalPool, folder: Path) -> None:
        self.pool, self.folder, self.number = pool, folder, 0
        self.extra: dict[str, str] = {}

    def submit(self, count: int, command: str = "/bin/date", arguments: str = "+%s.%N") -> tuple[Path, int]:
        import htcondor2

        self.number += 1
        here = self.folder / str(self.number)
        here.mkdir()
        description = {
            "executable": command,
            "arguments": arguments,
            "transfer_executable": "false",
            "should_transfer_files": "NO",
            "initialdir": str(here),
            "output": "out.$(Process)",
            "log": "log",
            "request_memory": "128MB",
            **self.extra,
        }
        result = self.pool.schedd().submit(htcondor2.Submit(description), count=count)
        return here, result.cluster()

    def jobs(self, count: int, *, reschedule: bool = False) -> tuple[float, float, float]:
        """Seconds from the submit to the first job's line, the last job's line, and the last event
        "terminated".
        """
        begun = time.time()
        here, _ = self.submit(count)
        stop = threading.Event()

        def keep_nudging() -> None:
            with self.pool.activate():
                while not stop.is_set() and time.time() < begun + 2.5:
                    self.pool.reschedule()
                    stop.wait(0.1)

        thread = threading.Thread(target=keep_nudging)
        if reschedule:
            thread.start()
        log = here / "log"
        while not log.exists() or log.read_text().count("\n005 (") < count:
            if any(path.stat().st_size for path in here.glob("out.*")):
                stop.set()
            time.sleep(0.005)
            if time.time() > begun + 120:
                raise SystemExit(f"jobs in {here} did not end within two minutes")
        stop.set()
        ended = time.time()
        lines = [float(path.read_text()) for path in here.glob("out.*")]
        if reschedule:
            thread.join()
        return min(lines) - begun, max(lines) - begun, ended - begun

    def after_removal(self, count: int) -> float:
        """Seconds from the submit to the first line, right after `count` jobs that filled the pool were
        removed.
        """
        import htcondor2

        here, cluster = self.submit(count, "/bin/sleep", "1000")
        log = here / "log"
        while not log.exists() or "\n001 (" not in log.read_text():
            time.sleep(0.01)
        time.sleep(2)
        self.pool.schedd().act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}")
        return self.jobs(1)[0]


_FRESH = """
import wingspan
assert sum(wingspan.map(abs, range({n}), pool="personal")) >= 0
"""


def processor_seconds() -> float:
    """Processor time of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def fresh_maps(n: int, tries: int, environment: dict[str, str]) -> tuple[list[float], list[float]]:
    """Seconds that a map takes in a fresh Python, from its start to its end, one Python after the other
    without a pause; and the processor time of each Python, which says more on a busy machine.
    """
    taken, used = [], []
    for _ in range(tries):
        begun, before = time.perf_counter(), processor_seconds()
        subprocess.run(
            [sys.executable, "-c", _FRESH.format(n=n)], env=environment, check=True, stdout=subprocess.DEVNULL
        )
        taken.append(time.perf_counter() - begun)
        used.append(processor_seconds() - before)
    return taken, used


def maps_behind_others(tries: int) -> dict[str, object]:
    """On a pool of its own with 2 cores: maps and runs close behind other jobs."""
    folder = Path(tempfile.mkdtemp(prefix="wingspan-bench-", dir="/var/tmp"))
    environment = {**os.environ, "WINGSPAN_DATA_DIR": str(folder)}
    os.environ["WINGSPAN_DATA_DIR"] = str(folder)
    pool = PersonalPool(cpus=2)
    pool.start()
    import wingspan

    try:
        fresh_maps(1, 3, environment)  # the first of a pool has no worker that waits
        figures: dict[str, object] = {}
        for n in (1, 10_000):
            taken, used = fresh_maps(n, tries, environment)
            figures[f"fresh_python_map_of_{n}_no_pause_s"] = summary(taken)
            figures[f"fresh_python_map_of_{n}_no_pause_processor_s"] = summary(used)
        behind, memory = [], []
        for number in range(3):
            with pool.activate():
                bench = Bench(pool, Path(tempfile.mkdtemp(prefix="jobs-", dir=folder)))
                bench.extra = {"keep_claim_idle": "30"}
                bench.jobs(4)
            begun = time.perf_counter()
            list(wingspan.map(abs, [1], pool="personal"))
            behind.append(time.perf_counter() - begun)
            begun = time.perf_counter()
            options = wingspan.Options(request_memory=f"{200 + 100 * number}MB")
            list(wingspan.map(abs, [1], pool="personal", options=options))
            memory.append(time.perf_counter() - begun)
        figures["map_of_1_after_jobs_with_keep_claim_idle_s"] = summary(behind)
        figures["map_of_1_after_a_map_with_other_memory_s"] = summary(memory)
        (folder / "F").write_text("x")
        command = [
            sys.executable,
            "-m",
            "wingspan",
            "run",
            "--pool",
            "personal",
            "--fetch",
            "--quiet",
            "--input",
            "F",
        ]
        command += [
            "--sweep",
            f"x={','.join(map(str, range(1, 21)))}",
            "--",
            "sh",
            "-c",
            "sleep 0.5; cat F; echo {x}",
        ]
        begun = time.perf_counter()
        subprocess.run(command, env=environment, check=True, cwd=folder, stdout=subprocess.DEVNULL)
        figures["sweep_of_20_half_second_jobs_with_an_input_s"] = round(time.perf_counter() - begun, 2)
    finally:
        pool.stop()
        shutil.rmtree(folder, ignore_errors=True)
    return figures


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--cpus", type=int, default=4)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--directory", type=Path, help="where to put the pool (default: a temporary folder)")
    parser.add_argument("--maps", action="store_true", help="maps and runs close behind others, nothing else")
    options = parser.parse_args()
    if options.maps:
        figures = {
            "load": [round(value, 1) for value in os.getloadavg()],
            **maps_behind_others(options.tries),
        }
        print(json.dumps(figures, indent=2))
        return
    folder = options.directory or Path(tempfile.mkdtemp(prefix="wingspan-bench-", dir="/var/tmp"))
    folder.mkdir(parents=True, exist_ok=True)
    pool = PersonalPool(folder / "pool", cpus=options.cpus)
    pool.install()
    ready, stopped, found = [], [], []
    for _ in range(3):
        begun = time.perf_counter()
        pool.start()
        ready.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        pool.start()
        found.append(time.perf_counter() - begun)
        begun = time.perf_counter()
        pool.stop()
        stopped.append(time.perf_counter() - begun)
    pool.start()
    try:
        with pool.activate():
            bench = Bench(pool, Path(tempfile.mkdtemp(prefix="jobs-", dir=folder)))
            bench.jobs(1)
            idle, close, rescheduled = [], [], []
            for number in range(options.tries):
                time.sleep(2.5 + 0.1 * (number % 10))
                idle.append(bench.jobs(1)[0])
            for values, reschedule in ((close, False), (rescheduled, True)):
                time.sleep(2.5)
                for number in range(options.tries):
                    time.sleep(0.1 * (number % 10))
                    values.append(bench.jobs(1, reschedule=reschedule)[0])
            fifty = []
            for _ in range(3):
                time.sleep(2.5)
                fifty.append(bench.jobs(50)[2])
            removed = []
            for _ in range(3):
                time.sleep(2.5)
                removed.append(bench.after_removal(2 * options.cpus))
        status = pool.status()
    finally:
        pool.stop()
        shutil.rmtree(folder if options.directory is None else folder / "pool", ignore_errors=True)
    figures = {
        "htcondor": status.version,
        "source": status.source,
        "cpus": options.cpus,
        "cores": len(os.sched_getaffinity(0)),
        "load": [round(value, 1) for value in os.getloadavg()],
        "ready_s": summary(ready),
        "found_running_s": summary(found),
        "stop_s": summary(stopped),
        "submit_to_first_line_idle_s": summary(idle),
        "submit_to_first_line_close_behind_s": summary(close),
        "submit_to_first_line_close_behind_rescheduled_s": summary(rescheduled),
        "submit_50_noop_to_last_event_s": summary(fifty),
        "submit_to_first_line_after_removal_s": summary(removed),
    }
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
