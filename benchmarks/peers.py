"""No-op components with Wingspan and with its peers, in one run: JSON, and the curves of ``docs/growth.md``.

    python benchmarks/peers.py > benchmarks/peers.json            # both engines: about a quarter of an hour
    python benchmarks/peers.py --engine local --sizes 1,100
    python benchmarks/peers.py --plot docs/pictures/peers.svg benchmarks/peers.json

Each figure is of a fresh Python, from before it starts: seconds until the first result is in hand, and until
all are. Everybody has two workers and doubles whole numbers. The contestants take turns, `--tries` times, and
the median counts; who took longer than `--limit` seconds for one size is not asked for larger ones.

The peers are installed into a virtual environment in the user's cache folder, with Wingspan itself.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import platform
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import platformdirs

from _drawing import new_figure, save

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ["joblib", "distributed", "dask-jobqueue", "parsl", "executorlib", "submitit"]

#: Before each program: what it doubles with, and how it says what it has.
HEAD = """
import json, os, sys, time
N = int(sys.argv[1])
BEGIN = float(os.environ["BEGIN"])
SAID = {}

def double(x):
    return 2 * x

def first(value):
    assert value % 2 == 0
    SAID.setdefault("first", time.time() - BEGIN)
    return value

def done(values):
    values = list(values)
    assert sorted(values) == [2 * x for x in range(N)], values[:9]
    SAID["all"] = time.time() - BEGIN
    with open(os.environ["SAID"], "w") as file:
        json.dump(SAID, file)
"""

#: By engine and name: the program, as the peer's own pages write it.
PROGRAMS: dict[str, dict[str, str]] = {
    "local": {
        "wingspan": """
import wingspan
m = wingspan.map(double, range(N), pool="local", options=wingspan.Options(workers=2))
done(map(first, m))
""",
        "concurrent.futures": """
from concurrent.futures import ProcessPoolExecutor
with ProcessPoolExecutor(2) as executor:
    done(map(first, executor.map(double, range(N))))
""",
        "joblib": """
from joblib import Parallel, delayed
done(map(first, Parallel(n_jobs=2, return_as="generator")(delayed(double)(x) for x in range(N))))
""",
        "dask.distributed": """
from distributed import Client, LocalCluster
if __name__ == "__main__":
    with LocalCluster(n_workers=2, threads_per_worker=1, dashboard_address=None) as cluster, Client(cluster) as client:
        futures = client.map(double, range(N))
        first(futures[0].result())
        done(client.gather(futures))
""",
        "parsl": """
import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
with parsl.load(Config(executors=[HighThroughputExecutor(address="127.0.0.1", max_workers_per_node=2)])):
    futures = [parsl.python_app(double)(x) for x in range(N)]
    done([first(future.result()) for future in futures])
""",
        "executorlib": """
from executorlib import SingleNodeExecutor
if __name__ == "__main__":
    with SingleNodeExecutor(max_workers=2, block_allocation=True) as executor:
        futures = [executor.submit(double, x) for x in range(N)]
        done([first(future.result()) for future in futures])
""",
        "submitit": """
import submitit
executor = submitit.AutoExecutor(folder="log", cluster="local")
executor.update_parameters(timeout_min=5)
done([first(job.result()) for job in executor.map_array(double, range(N))])
""",
    },
    "htcondor": {
        "wingspan": """
import wingspan
m = wingspan.map(double, range(N), pool="personal", options=wingspan.Options(workers=2))
done(map(first, m))
""",
        "dask-jobqueue": """
from distributed import Client
from dask_jobqueue import HTCondorCluster
with HTCondorCluster(cores=1, memory="512MB", disk="100MB", log_directory="log",
                     scheduler_options={"dashboard_address": None}) as cluster, Client(cluster) as client:
    cluster.scale(jobs=2)
    futures = client.map(double, range(N))
    first(futures[0].result())
    done(client.gather(futures))
""",
        "parsl": """
import parsl
from parsl.config import Config
from parsl.executors import HighThroughputExecutor
from parsl.providers import CondorProvider
provider = CondorProvider(init_blocks=2, max_blocks=2, walltime="00:10:00", environment={"PATH": os.environ["PATH"]})
executor = HighThroughputExecutor(address="127.0.0.1", max_workers_per_node=1, provider=provider)
with parsl.load(Config(executors=[executor])):
    futures = [parsl.python_app(double)(x) for x in range(N)]
    done([first(future.result()) for future in futures])
""",
        "a submit file": """
import subprocess
with open("double.sub", "w") as file:
    file.write('''executable = /bin/sh
arguments = "-c 'echo $((2 * $(Process)))'"
output = $(Process).out
log = events.log
request_cpus = 1
request_memory = 32MB
request_disk = 10MB
should_transfer_files = yes
queue %d
''' % N)
subprocess.run(["condor_submit", "double.sub"], check=True, stdout=subprocess.DEVNULL)
while not (os.path.exists("0.out") and os.path.getsize("0.out")):
    time.sleep(0.05)
first(0)
subprocess.run(["condor_wait", "events.log"], check=True, stdout=subprocess.DEVNULL)
done([int(open("%d.out" % x).read()) for x in range(N)])
""",
    },
}


def python_with_peers() -> Path:
    """A Python that has all of them."""
    folder = Path(platformdirs.user_cache_dir("wingspan-benchmarks")) / f"peers-{sys.version_info[1]}"
    python = folder / "bin/python"
    if not (folder / "ready").exists():
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        subprocess.run([*install, *PACKAGES], check=True, stdout=sys.stderr)
        (folder / "ready").touch()
    # This very Wingspan, each time.
    install = [python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--editable", ROOT]
    subprocess.run(install, check=True, stdout=sys.stderr)
    return python


def run_once(
    python: Path, program: str, size: int, limit: float, environment: dict[str, str]
) -> dict[str, float] | None:
    """Seconds to the first and to all results; None where it took longer than `limit`, or failed."""
    folder = Path(tempfile.mkdtemp(prefix="peers-"))
    try:
        (folder / "program.py").write_text(HEAD + program)
        said = folder / "said.json"
        given = {**os.environ, **environment, "BEGIN": repr(time.time()), "SAID": str(said)}
        with (folder / "err").open("wb") as err:
            process = subprocess.Popen(
                [python, "program.py", str(size)],
                cwd=folder,
                env=given,
                stdout=err,
                stderr=err,
                start_new_session=True,
            )
            try:
                process.wait(limit)
            except subprocess.TimeoutExpired:
                print(f"  longer than {limit:.0f} s", file=sys.stderr)
            finally:
                # Some leave their workers behind.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if not said.exists():
            print("  " + (folder / "err").read_text(errors="replace")[-500:], file=sys.stderr)
            return None
        told: dict[str, float] = json.loads(said.read_text())
        return told
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def measure(engine: str, sizes: list[int], tries: int, limit: float) -> list[dict[str, Any]]:
    """The figures of an engine: a row for each contestant and size."""
    python = python_with_peers()
    environment = pool_environment() if engine == "htcondor" else {}
    environment["PATH"] = f"{python.parent}{os.pathsep}{environment.get('PATH', os.environ['PATH'])}"
    left = dict(PROGRAMS[engine])
    rows = []
    for size in sizes:
        times: dict[str, list[dict[str, float]]] = {name: [] for name in left}
        for _ in range(tries):
            for name in list(left):
                print(f"{engine}: {name}, {size}", file=sys.stderr)
                told = run_once(python, left[name], size, limit, environment)
                if engine == "htcondor":
                    clear_queue({**os.environ, **environment})
                if told is None:
                    del left[name]
                else:
                    times[name].append(told)
        for name, told_all in times.items():
            if told_all:
                medians = {
                    what: statistics.median(one[what] for one in told_all) for what in ("first", "all")
                }
                rows.append(
                    {"engine": engine, "tool": name, "components": size, "tries": len(told_all), **medians}
                )
    return rows


def clear_queue(environment: dict[str, str]) -> None:
    """Remove what a program has left in the queue, and wait until it is gone: the next begins as it did."""
    command = {
        name: shutil.which(name, path=environment["PATH"]) or name for name in ("condor_rm", "condor_q")
    }
    subprocess.run([command["condor_rm"], "-all"], env=environment, capture_output=True)
    deadline = time.monotonic() + 60
    while subprocess.run(
        [command["condor_q"], "-all", "-af", "ClusterId"], env=environment, capture_output=True
    ).stdout.strip():
        if time.monotonic() > deadline:
            raise SystemExit("the queue of the personal pool does not become empty")
        time.sleep(0.2)


def pool_environment() -> dict[str, str]:
    """What HTCondor's own commands need to reach the personal pool, which is started."""
    import wingspan

    wingspan.pool.ensure("personal")
    shell = 'eval "$("$0" -m wingspan pool env)" && exec env -0'
    told = subprocess.run(
        ["sh", "-c", shell, sys.executable], check=True, capture_output=True
    ).stdout.decode()
    pairs = [one.partition("=") for one in told.split("\0") if one]
    return {name: value for name, _, value in pairs if os.environ.get(name) != value}


def plot(target: Path, rows: list[dict[str, Any]]) -> None:
    """Draw the curves; the same figures give the same file."""
    figure, axes = new_figure(1, 2, (8.5, 4.2), sharey=True)
    titles = {"local": "two local processes", "htcondor": "a personal HTCondor pool"}
    for axis, (engine, title) in zip(axes, titles.items(), strict=True):
        for number, name in enumerate(PROGRAMS[engine]):
            points = [
                (row["components"], row["all"])
                for row in rows
                if (row["engine"], row["tool"]) == (engine, name)
            ]
            if points:
                width = 2.5 if name == "wingspan" else 1.2
                axis.plot(*zip(*points, strict=True), color=f"C{number}", marker="o", lw=width, label=name)
        axis.set(title=title, xlabel="components", xscale="log", yscale="log")
        axis.grid(alpha=0.3)
        axis.legend(fontsize=8)
    axes[0].set_ylabel("seconds until all results are there")
    save(figure, target)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("file", nargs="?", type=Path, help="figures that `--plot` draws")
    parser.add_argument("--plot", type=Path, help="draw the figures of FILE into this SVG")
    parser.add_argument("--engine", choices=["local", "htcondor", "both"], default="both")
    parser.add_argument("--sizes", default="1,10,100,1000,10000,100000")
    parser.add_argument("--tries", type=int, default=3)
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one program")
    arguments = parser.parse_args()
    if arguments.plot:
        plot(arguments.plot, json.loads(arguments.file.read_text())["rows"])
        return
    sizes = [int(size) for size in arguments.sizes.split(",")]
    engines = ["local", "htcondor"] if arguments.engine == "both" else [arguments.engine]
    rows = [row for engine in engines for row in measure(engine, sizes, arguments.tries, arguments.limit)]
    python = python_with_peers()
    code = f"import importlib.metadata as m, json; print(json.dumps({{p: m.version(p) for p in {[*PACKAGES, 'wingspan']}}}))"
    versions = json.loads(
        subprocess.run([python, "-c", code], check=True, capture_output=True, text=True).stdout
    )
    machine = {"cores": os.cpu_count(), "python": platform.python_version()}
    print(json.dumps({"what": "peers", "machine": machine, "versions": versions, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
