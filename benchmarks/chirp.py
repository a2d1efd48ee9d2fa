"""How fast outputs and inputs go by chirp, HTCondor's channel from a job to its access point: JSON on
standard output.

    python benchmarks/chirp.py                    # 1,000 values of 1 MiB each way, on a personal pool of its
    own with 2 slots python benchmarks/chirp.py --mebibytes 64 --count 16 python benchmarks/chirp.py --channel
    # the channel alone: one job writes and reads a file, piece by piece

No warm worker takes part, as these would use the file system: the jobs ask for something of their own
(`Options(custom=…)`). `MBps` counts from the start of the first component to the last output in the caller's
hand, so without the start of the jobs, which is told as `until_first_s`. Processor time of the workers
(`workers_cpu_s`) and of the caller is counted by the kernel, and so is that of the shadows, the processes at
the access point's end of the channel. Beside them stands `plain_s`, see benchmarks/values.py.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import platform
import tempfile
import time
from pathlib import Path
from typing import Any

MIB = 1 << 20

#: What the job of --channel does: appends pieces to a file of the map's folder and reads them back, by the
#: worker's own transport.
_CHANNEL = """
import json, os, resource, sys, time
sys.path.insert(0, {archive!r})
from wingspan_worker.chirp import ChirpTransport

TICK = 1.0 / os.sysconf("SC_CLK_TCK")

def of(pid):
    with open("/proc/%s/stat" % pid) as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) * TICK

def named(name):
    found = []
    for pid in filter(str.isdigit, os.listdir("/proc")):
        try:
            with open("/proc/%s/environ" % pid, "rb") as file:
                if {mark!r} in file.read() and open("/proc/%s/comm" % pid).read().strip() == name:
                    found.append(pid)
        except OSError:
            pass
    return found

WHO = {{"starter": named("condor_starter"), "shadow": named("condor_shadow")}}

def cpu():
    used = resource.getrusage(resource.RUSAGE_SELF)
    told = {{"worker": used.ru_utime + used.ru_stime}}
    told.update((name, sum(map(of, pids))) for name, pids in WHO.items())
    return told

channel, piece, count = ChirpTransport({folder!r}), bytes({piece}), {count}
told = {{}}
for what in ("append", "read"):
    begin, used = time.perf_counter(), cpu()
    for number in range(count):
        if what == "append":
            channel.append("channel", piece[:64], piece)
        else:
            channel.read("channel", len(piece), 64 + number * (64 + len(piece)))
    seconds, after = time.perf_counter() - begin, cpu()
    told[what] = {{"MBps": round(len(piece) * count / seconds / 1e6), "us_each": round(1e6 * seconds / count),
                  "cpu_us_each": {{name: round(1e6 * (after[name] - used[name]) / count) for name in after}}}}
print(json.dumps(told))
"""


def _plain(count: int, size: int) -> float:
    """Seconds to write, read and hash as many bytes as the map moves."""
    piece = bytes(size)
    begin = time.perf_counter()
    with tempfile.TemporaryFile() as file:
        for _ in range(count):
            file.write(piece)
        file.seek(0)
        digest = hashlib.sha256()
        while data := file.read(MIB):
            digest.update(data)
    return round(time.perf_counter() - begin, 2)


def _shadows_cpu(pool: Any) -> float:
    """Processor time of the pool's shadows that run now (s)."""
    total = 0.0
    mark = str(pool.personal.directory).encode()
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if (process / "comm").read_text().strip() == "condor_shadow" and mark in (
                process / "environ"
            ).read_bytes():
                words = (process / "stat").read_text().rpartition(")")[2].split()
                total += (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
    return total


def _one(pool: Any, what: str, count: int, size: int) -> dict[str, Any]:
    import wingspan

    options = wingspan.Options(workers=2, custom={"WithoutWarmWorkers": 1})
    begin, cpu = time.time(), time.process_time()
    if what == "outputs":
        m = wingspan.map(lambda _: bytes(size), range(count), pool=pool, options=options)
        total = sum(map(len, m))
    else:
        m = wingspan.map(len, [bytes(size)] * count, pool=pool, options=options)
        total = sum(m)
    end, used = time.time(), time.process_time() - cpu
    shadows = _shadows_cpu(pool)
    assert total == count * size
    first = min(measures.started for measures in m.runtimes.values())
    told = {
        "MBps": round(total / (end - first) / 1e6),
        "s": round(end - begin, 2),
        "until_first_s": round(first - begin, 2),
        "caller_cpu_s": round(used, 2),
        "shadows_cpu_s": round(shadows, 2),
        "plain_s": _plain(count, size),
    }
    m.remove()
    return told


def _channel(pool: Any, folder: Path, pieces: list[int]) -> list[dict[str, Any]]:
    """By a job of one process: what a piece of each size costs."""
    import htcondor2

    from wingspan.pools.zipapp import worker_zipapp

    found = []
    for piece in pieces:
        place = folder / f"channel-{piece}"
        place.mkdir()
        script = place / "script.py"
        script.write_text(
            _CHANNEL.format(
                archive=str(worker_zipapp()),
                mark=str(pool.personal.directory).encode(),
                folder=str(place),
                piece=piece,
                count=max(8, min(2000, (1 << 27) // piece)),
            )
        )
        submit = {
            "executable": pool.python if hasattr(pool, "python") else "/usr/bin/python3",
            "arguments": str(script),
            "output": str(place / "out"),
            "error": str(place / "err"),
            "log": str(place / "log"),
            "+WantIOProxy": "true",
            "transfer_executable": "false",
            "should_transfer_files": "no",
            "request_memory": "500",
        }
        with pool.personal.activate():
            cluster = pool.personal.schedd().submit(htcondor2.Submit(submit)).cluster()
        deadline = time.monotonic() + 300
        while "terminated" not in ((place / "log").read_text() if (place / "log").exists() else ""):
            if time.monotonic() > deadline:
                raise SystemExit(f"job {cluster} does not end: {(place / 'err').read_text()}")
            time.sleep(0.1)
        if not (place / "out").read_text():
            raise SystemExit((place / "err").read_text())
        found.append({"piece_KiB": piece >> 10, **json.loads((place / "out").read_text())})
    return found


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--mebibytes", type=float, default=1.0)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--channel", action="store_true")
    options = parser.parse_args()
    size = int(options.mebibytes * MIB)
    with tempfile.TemporaryDirectory(prefix="wingspan-benchmark-") as folder:
        os.environ["WINGSPAN_DATA_DIR"] = str(Path(folder) / "data")
        from wingspan.pools.htcondor import PersonalHTCondorPool
        from wingspan.pools.personal import PersonalPool

        load = os.getloadavg()[0]
        personal = PersonalPool(cpus=2)
        personal.start()
        try:
            pool = PersonalHTCondorPool(personal)
            if options.channel:
                figures: Any = _channel(pool, Path(folder), [1 << 16, 1 << 18, 1 << 20, 1 << 22, 1 << 24])
            else:
                figures = {
                    what: [_one(pool, what, options.count, size) for _ in range(options.repeat)]
                    for what in ("outputs", "inputs")
                }
        finally:
            personal.stop()
    print(
        json.dumps(
            {
                "machine": {
                    "cores": os.cpu_count(),
                    "python": platform.python_version(),
                    "load": round(load, 2),
                },
                "figures": figures,
            },
            indent=2,
        )
    )


if __name__ == "__main__":
    main()
