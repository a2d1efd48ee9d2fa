"""How long bundles take to build and to start, and what they cost in bytes and memory; prints JSON.

    python benchmarks/bundles.py                     SciPy and scikit-learn from the local channel
    python benchmarks/bundles.py --with torch==2.13.0 pandas pyarrow matplotlib    and these wheels from PyPI
    python benchmarks/bundles.py --changed 10        also what is moved when a package of 10 MB changes, or a
    file of the workspace's own package, and how long that takes
    python benchmarks/bundles.py --jobs 100          also what HTCondor sends for so many jobs on one machine
    python benchmarks/bundles.py --ballast 4         also the memory that a self-extracting archive of 4 GB
    takes

The environment is made with tools/local_channel.py, so neither conda-forge nor Pixi is needed. "cold" drops
the kernel's page cache first, which needs root. "squashfs_first" is the first image of packages that are
there; its processor time (this process and those that it started) says more than its seconds on a machine
that others use, too.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

TOOLS = Path(__file__).resolve().parents[1] / "tools"
ROUNDS = 5

_WORKSPACE = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import local_channel
folder, channel, wheels = map(Path, sys.argv[2:5])
local_channel.make_channel(channel)
specs = ["python 3.11.*", "scipy", "scikit-learn", "cloudpickle"]
extra = []
if sys.argv[5:]:
    have = {p.name.split("-")[0] for p in wheels.glob("*.whl")} if wheels.is_dir() else set()
    local_channel.wheels(sys.argv[5:], wheels)
    conda = {p.name.rsplit("-", 2)[0].replace("-", "_") for p in channel.rglob("*.conda")}
    extra = [p for p in sorted(wheels.glob("*.whl")) if p.name.split("-")[0].lower() not in conda]
local_channel.write_workspace(folder, channel, {"default": specs}, pypi={"default": extra}, name="benchmark")
sys.stdout.flush()
os._exit(0)
"""

_BUILD = """
import json, resource, sys, time
from wingspan.environments import load_environment
from wingspan.environments.bundles import build_bundle

def processor():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

class Steps:
    def __init__(self): self.steps, self.open = {}, {}
    def start(self, description, total=None):
        self.open[len(self.open)] = (description, time.perf_counter(), processor())
        return len(self.open) - 1
    def advance(self, task, amount=1): pass
    def finish(self, task):
        description, begun, used = self.open[task]
        spent = processor() - used
        self.steps[description] = {"seconds": round(time.perf_counter() - begun, 2), "processor_s": round(spent, 2)}

env = load_environment(sys.argv[1], "default", "linux-64")
steps = Steps()
begun, used = time.perf_counter(), processor()
bundle = build_bundle(env, sys.argv[2], executable=sys.argv[2] == "pack", progress=steps)
seconds, used = time.perf_counter() - begun, processor() - used
begun = time.perf_counter()
build_bundle(env, sys.argv[2], executable=sys.argv[2] == "pack")
print(json.dumps({"seconds": round(seconds, 2), "processor_s": round(used, 2), "again_s": round(time.perf_counter() - begun, 4), "bytes": bundle.size,
    "path": str(bundle.path), "steps": steps.steps,
    "installed_bytes": bundle.manifest.installed_bytes, "files": bundle.manifest.installed_files}))
"""


def build(workspace: Path, kind: str, cache: Path) -> dict[str, object]:
    """Build in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", _BUILD, str(workspace), kind],
        env={**os.environ, "WINGSPAN_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, object] = json.loads(done.stdout)
    return answer


def drop_caches() -> bool:
    """Forget what the kernel has read, as if the machine had just been given the file."""
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def timed(command: list[str], folder: Path, *, cold: bool = False) -> float:
    """Seconds from the start of `command` to its end, median of some."""
    taken = []
    for _ in range(3 if cold else ROUNDS):
        if cold:
            drop_caches()
        begun = time.perf_counter()
        subprocess.run(command, cwd=folder, check=True, capture_output=True, env={"PATH": os.environ["PATH"]})
        taken.append(time.perf_counter() - begun)
    return round(statistics.median(taken), 3)


def start_figures(path: Path, folder: Path) -> dict[str, object]:
    """Start-up by every way that works here, beside the same Python from an unpacked folder."""
    from wingspan.environments.bundles import open_bundle, starter_command
    from wingspan.environments.bundles.machine.programs import find_program

    bundle = open_bundle(path)
    plain = folder / "plain"
    subprocess.run(
        [find_program("unsquashfs"), "-q", "-n", "-d", plain, path], check=True, capture_output=True
    )
    answer: dict[str, object] = {"python_alone_s": timed([str(plain / "bin/python"), "-c", ""], folder)}
    for method in ("kernel", "fuse", "apptainer"):
        start = starter_command(bundle, ["python", "-c", ""], shared=True, method=method)
        command = ["sh", str(start.executable), *start.arguments]
        first = time.perf_counter()
        if subprocess.run(command, cwd=folder, capture_output=True, check=False).returncode:
            answer[method] = "not here"
            continue
        first = time.perf_counter() - first
        answer[method] = {"first_with_digest_s": round(first, 3), "warm_s": timed(command, folder)}
        if drop_caches():
            answer[method]["cold_s"] = timed(command, folder, cold=True)  # type: ignore[index]
    if drop_caches():
        answer["python_alone_cold_s"] = timed([str(plain / "bin/python"), "-c", ""], folder, cold=True)
    shutil.rmtree(plain)
    start = starter_command(bundle, ["sh", "-c", "du -sk . | cut -f1"], shared=True)
    done = subprocess.run(
        ["sh", str(start.executable), *start.arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        check=True,
    )
    answer["extra_disk_kB"] = int(done.stdout)
    return answer


def pack_figures(path: Path, folder: Path) -> dict[str, object]:
    """Time and memory of a self-extracting pack."""
    program = (
        "import resource, subprocess, sys, time; b = time.perf_counter(); code = subprocess.call(sys.argv[1:])\n"
        "print(code, time.perf_counter() - b, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)"
    )
    command = [sys.executable, "-c", program, "bash", str(path), "-o", str(folder / "unpacked")]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    code, seconds, memory = done.stdout.split()
    assert code == "0", done.stderr
    return {"unpack_s": round(float(seconds), 2), "peak_memory_kB": int(memory), "bytes": path.stat().st_size}


_BALLAST = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import local_channel
from conda_package import write_package
folder, gigabytes = Path(sys.argv[2]), int(sys.argv[3])
for number in range(2 * gigabytes):
    tree = folder / "tree"
    (tree / "share").mkdir(parents=True, exist_ok=True)
    for old in (tree / "share").iterdir():
        old.unlink()
    (tree / f"share/ballast-{number}").write_bytes(os.urandom(500_000_000))
    write_package(tree, folder / "channel", name=f"ballast{number}", version="1", build="0")
local_channel.index(folder / "channel")
names = [f"ballast{number}" for number in range(2 * gigabytes)]
local_channel.write_workspace(folder / "w", folder / "channel", {"default": names}, name="ballast")
sys.stdout.flush()
os._exit(0)
"""


def ballast_figures(gigabytes: int, folder: Path) -> dict[str, object]:
    """A self-extracting pack of so many 10**9 bytes that nothing compresses."""
    subprocess.run([sys.executable, "-c", _BALLAST, str(TOOLS), str(folder), str(gigabytes)], check=True)
    built = build(folder / "w", "pack", folder / "cache")
    return pack_figures(Path(str(built["path"])), folder)


def delivery_figures(workspace: Path, jobs: int, folder: Path, cache: Path) -> dict[str, object]:
    """What a site's access point sends for `jobs` jobs in the environment that one machine executes."""
    import re

    os.environ |= {"WINGSPAN_DATA_DIR": str(folder / "data"), "WINGSPAN_CACHE_DIR": str(cache)}
    import wingspan
    from wingspan.pools.personal import PersonalPool

    place = Path(tempfile.mkdtemp(prefix="wingspan-benchmark-", dir="/var/tmp"))
    pool = PersonalPool(place)
    pool.start()
    os.environ["CONDOR_CONFIG"] = str(pool.config_file)
    try:
        run = wingspan.run(
            ["python", "-c", "print({n})"],
            environment=wingspan.Environment(workspace, kind="squashfs"),
            sweep={"n": [str(number) for number in range(jobs)]},
            pool="htcondor",
        )
        assert run.wait().state == "completed"
        log = (run.path / "events.log").read_text()
        bundle = run.spec.environment.bundle_bytes if run.spec.environment else None
        assert bundle is not None
    finally:
        pool.stop()
        shutil.rmtree(place, ignore_errors=True)
    common = log.count("Common files event: TransferFinished")
    others = sum(int(number) for number in re.findall(r"(\d+)  -  Run Bytes Received By Job", log))
    return {
        "jobs": jobs,
        "bundle_bytes": bundle,
        "bundle_transfers": common,
        "other_bytes": others,
        "bytes_over_bundle": round((common * bundle + others) / bundle, 3),
    }


_CHANGED = """
import json, os, resource, sys, time, zipfile
from pathlib import Path
from wingspan.environments import Environment
from wingspan.environments.bundles import build_bundle
from wingspan.environments.bundles.delta import bases_of, make_delta
from wingspan.environments.bundles.own.layer import Contents, project_contents, write_layer
from wingspan.environments.bundles.own.project import read_project

def processor():
    return sum(sum(resource.getrusage(who)[:2]) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))

def wheel(folder, version):
    info = f"changed-{version}.dist-info"
    path = folder / f"changed-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("changed/__init__.py", f"VERSION = {version!r}\\n")
        archive.writestr("changed/data.bin", os.urandom(megabytes * 1_000_000))
        archive.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\\nName: changed\\nVersion: {version}\\n")
        archive.writestr(f"{info}/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        archive.writestr(f"{info}/RECORD", "")
    return path

workspace, folder, megabytes = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
first = build_bundle(Environment(workspace, inject=wheel(folder, "1")).load(), "squashfs")
new = Environment(workspace, inject=wheel(folder, "2"))
begun, used = time.perf_counter(), processor()
second = build_bundle(new.load(), "squashfs")
built = time.perf_counter() - begun
delta = make_delta(second, bases_of(second)[0])
seconds, used = time.perf_counter() - begun, processor() - used
project = folder / "project"
(project / "own").mkdir(parents=True)
(project / "pyproject.toml").write_text('[project]\\nname = "own"\\nversion = "1"\\n')
for number in range(300):
    (project / f"own/module_{number}.py").write_text(f"VALUE = {number}\\n" * 500)
begun_own = time.perf_counter()
contents = Contents()
project_contents(read_project(project, "own", "1"), contents)
layer = write_layer("own-code", contents)
own = {"files": 300, "files_bytes": contents.size, "sent_bytes": layer.size}
own["seconds"] = round(time.perf_counter() - begun_own, 3)
print(json.dumps({
    "package_bytes": megabytes * 1_000_000,
    "bundle_bytes": second.size,
    "installed_bytes": second.manifest.installed_bytes,
    "base": str(first.path.with_name(delta.base)),
    "bundle": str(second.path),
    "delta": str(delta.path),
    "delta_sha256": delta.sha256,
    "sent_bytes": delta.size,
    "bundle_s": round(built, 2),
    "ready_s": round(seconds, 2),
    "processor_s": round(used, 2),
    "own_code": own,
}))
"""


def changed_figures(workspace: Path, megabytes: int, folder: Path, cache: Path) -> dict[str, object]:
    """What is moved when a package of so many MB changes, how long it takes, and how a job starts then."""
    import attrs

    from wingspan.environments.bundles import open_bundle, starter_command
    from wingspan.environments.bundles.manifest import Delta

    folder.mkdir()
    measured = subprocess.run(
        [sys.executable, "-c", _CHANGED, str(workspace), str(folder), str(megabytes)],
        env={**os.environ, "WINGSPAN_CACHE_DIR": str(cache)},
        stdout=subprocess.PIPE,
        check=True,
    )
    answer: dict[str, object] = json.loads(measured.stdout)
    base, path, made = (Path(str(answer.pop(name))) for name in ("base", "bundle", "delta"))
    facts = {"sha256": str(answer.pop("delta_sha256")), "size": made.stat().st_size}
    delta = Delta(path=made, base=base.name, base_size=base.stat().st_size, **facts)  # type: ignore[arg-type]
    bundle = attrs.evolve(open_bundle(path), delta=delta)
    for method in ("kernel", "fuse", "apptainer"):
        start = starter_command(bundle, ["python", "-c", ""], method=method)
        job = folder / method
        job.mkdir()
        for file in (start.executable, base, *start.input_files):
            if file != bundle.path:
                os.link(file, job / file.name) if file == base else shutil.copy(file, job)
        command = ["sh", start.executable.name, *start.arguments]
        done = subprocess.run(command, cwd=job, capture_output=True, check=False, text=True)
        if done.returncode:
            answer[f"start_{method}_s"] = f"not here: {done.stderr.strip().splitlines()[-1:]}"
            continue
        answer[f"start_{method}_s"] = timed(command, job)
    return answer


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--with", dest="wheels", nargs="*", default=[], metavar="REQUIREMENT")
    parser.add_argument("--keep", type=Path, help="folder for channel, wheels and caches, to be used again")
    parser.add_argument("--jobs", type=int, default=0, help="measure what is sent for so many jobs")
    parser.add_argument("--changed", type=int, default=0, metavar="MB", help="measure a changed package")
    parser.add_argument("--ballast", type=int, default=0, metavar="GB", help="measure a pack of this size")
    arguments = parser.parse_args()
    import platformdirs

    folder = Path(tempfile.mkdtemp(prefix="wingspan-benchmark-"))
    keep = (arguments.keep or Path(platformdirs.user_cache_dir("wingspan-tests"))).absolute()
    keep.mkdir(parents=True, exist_ok=True)
    try:
        command = [
            sys.executable,
            "-c",
            _WORKSPACE,
            str(TOOLS),
            str(folder / "w"),
            str(keep / "channel"),
            str(keep / "bench-wheels"),
        ]
        subprocess.run([*command, *arguments.wheels], check=True)
        cache = folder / "cache"
        report: dict[str, object] = {"load": os.getloadavg()[0], "cores": len(os.sched_getaffinity(0))}
        build(folder / "w", "pack", cache)  # fetches and checks the packages
        report["squashfs_first"] = build(folder / "w", "squashfs", cache)
        shutil.rmtree(cache / "environments/bundles")
        report["squashfs_warm_packages"] = warm = build(folder / "w", "squashfs", cache)
        job = folder / "job"
        job.mkdir()
        report["start"] = start_figures(Path(str(warm["path"])), job)
        report["pack"] = build(folder / "w", "pack", cache)
        report["self_extracting"] = pack_figures(Path(str(report["pack"]["path"])), job)  # type: ignore[index]
        if arguments.jobs:
            report["delivery"] = delivery_figures(folder / "w", arguments.jobs, folder, cache)
        if arguments.changed:
            report["changed"] = changed_figures(folder / "w", arguments.changed, folder / "changed", cache)
        if arguments.ballast:
            report["ballast"] = ballast_figures(arguments.ballast, folder / "ballast")
        print(json.dumps(report, indent=1))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
