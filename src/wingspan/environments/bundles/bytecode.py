"""Compile the Python files of an environment before it is sealed: the largest gain in start-up time (8–10 s
→ 3–4 s).

The ``.pyc`` are of the *unchecked-hash* kind: they hold whatever the times of the files become in an image.
They are made package by package and kept, so the next environment with the same package (and Python, and
prefix) takes them from the cache, if they are what was put there: a list of their digests lies with them.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from wingspan._cores import usable_cores
from wingspan.environments.bundles.claims import Claim
from wingspan.environments.bundles.errors import BuildFailed
from wingspan.environments.bundles.storage import cache_folder, interprocess_lock
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["compile_packages"]

_FORMAT = "3"  # 1: without digests, 2: without the packages' own byte code
#: The list: SHA-256 by name.
_DIGESTS = "digests.json"
#: Files that one process compiles. What a .pyc holds depends a little on what the process compiled before,
#: so the cut is fixed: the same package gives the same bytes whatever else is built and on however many
#: cores.
_BATCH = 150

#: Packages that are not noarch have byte code of their own, mostly that of a source with this time and size (the first 16 bytes,
#: by PEP 552): where Python itself would take it, it is taken, which is some ten times as quick as to compile.
_PROGRAM = """
import importlib.util, json, os, py_compile, sys
job = json.load(sys.stdin)
with_code = set(job["own"])
mode = py_compile.PycInvalidationMode.UNCHECKED_HASH
number = importlib.util.MAGIC_NUMBER

def own(source, name):
    try:
        with open(name, "rb") as file:
            code = file.read()
    except OSError:
        return None
    state = os.stat(source)
    if code[:8] != number + bytes(4) or len(code) <= 16:
        return None
    if code[8:16] != b"".join((int(part) & 0xFFFFFFFF).to_bytes(4, "little") for part in (state.st_mtime, state.st_size)):
        return None
    with open(source, "rb") as file:
        return number + (1).to_bytes(4, "little") + importlib.util.source_hash(file.read()) + code[16:]

for name in job["files"]:
    head, tail = os.path.split(name)
    compiled = tail[:-3] + "." + sys.implementation.cache_tag + ".pyc"
    cached = os.path.join(job["output"], head, "__pycache__", compiled)
    os.makedirs(os.path.dirname(cached), exist_ok=True)
    source = os.path.join(job["folder"], name)
    code = own(source, os.path.join(job["folder"], head, "__pycache__", compiled)) if name in with_code else None
    if code is not None:
        with open(cached, "wb") as file:
            file.write(code)
        continue
    try:
        py_compile.compile(source, cached, job["prefix"] + "/" + name, True, 0, mode)
    except Exception:
        pass  # templates and tests for other Pythons: they fail where they are imported, if ever
"""


@attrs.frozen
class _Work:
    files: tuple[str, ...]
    own: frozenset[str]
    cache: Path


def compile_packages(
    claims: Sequence[Claim], folder: Path, *, prefix: str, progress: Progress = NO_PROGRESS
) -> None:
    """Put the ``.pyc`` of every package's ``.py`` files into `folder`, to lie at `prefix`."""
    python = next((claim.package for claim in claims if claim.package.name == "python"), None)
    if python is None:
        return
    cache = cache_folder("bytecode")
    recipe = f"{_FORMAT} {python.digest} {prefix} {_BATCH}"
    counts = Counter(name for claim in claims for name in claim.files)
    work: list[_Work] = []
    contested: set[str] = set()
    for claim in claims:
        found = _sources(claim.files, folder)
        files = tuple(name for name in found if counts[name] == 1)
        contested.update(name for name in found if counts[name] > 1)
        own = frozenset(_with_code(name for name in claim.files if counts[name] == 1).intersection(files))
        if files:
            work.append(_Work(files, own, cache / _key(recipe, claim.package.digest, files, sorted(own))))
    with contextlib.ExitStack() as stack:
        if contested:  # whose content is there depends on this environment: nothing to be kept of a package
            passing = stack.enter_context(tempfile.TemporaryDirectory(prefix=".part-", dir=cache))
            work.append(_Work(tuple(sorted(contested)), frozenset(), Path(passing) / "contested"))
        threads = stack.enter_context(ThreadPoolExecutor(max_workers=usable_cores()))
        whole = threads.map(_is_whole, (item.cache for item in work))
        missing = [item for item, good in zip(work, whole, strict=True) if not good]
        task = progress.start("Compiling Python files", sum(len(item.files) for item in missing))
        try:
            for item in missing:
                _forget(item.cache)
                _compile(item, folder, prefix, threads=threads, progress=progress, task=task)
        except BaseException:
            threads.shutdown(wait=False, cancel_futures=True)  # Ctrl-C does not wait for the rest
            raise
        progress.finish(task)
        for item in work:
            _place(item.cache, folder)


def _is_whole(cache: Path) -> bool:
    """Whether byte code is there, all as it was written."""
    try:
        digests = json.loads((cache / _DIGESTS).read_bytes())
        return all(_digest(f"{cache}/{name}") == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def _digest(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123 - tens of thousands of files
        return hashlib.sha256(file.read()).hexdigest()


def _forget(cache: Path) -> None:
    """Remove what is not whole, but not what another process has put in its place."""
    if cache.is_dir():
        with interprocess_lock(cache.with_name("lock")):
            if not _is_whole(cache):
                shutil.rmtree(cache, ignore_errors=True)


def _key(recipe: str, digest: str, files: Sequence[str], own: Sequence[str]) -> str:
    """Files are part of it: what gives way to another package's, or is another's too, is not there in every environment."""
    parts = "\0".join((recipe, digest, *files, "", *own))
    return hashlib.sha256(parts.encode(errors="surrogateescape")).hexdigest()


def _sources(names: Iterable[str], folder: Path) -> tuple[str, ...]:
    found = (name for name in names if name.endswith(".py") and name.startswith("lib/python"))
    return tuple(sorted(name for name in found if _is_plain_file(f"{folder}/{name}")))


def _with_code(names: Iterable[str]) -> set[str]:
    """The sources of the byte code among a package's files.

    >>> _with_code(["lib/python3.11/a/__pycache__/b.cpython-311.pyc", "lib/python3.11/a/b.py", "lib/python3.11/c.pyc"])
    {'lib/python3.11/a/b.py'}
    """
    parts = (name.partition("/__pycache__/") for name in names if name.endswith(".pyc"))
    return {f"{folder}/{rest.partition('.')[0]}.py" for folder, found, rest in parts if found}


def _is_plain_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


def _compile(
    item: _Work, folder: Path, prefix: str, *, threads: ThreadPoolExecutor, progress: Progress, task: int
) -> None:
    """Compile one package into the cache, whole or not at all."""
    output = Path(tempfile.mkdtemp(prefix=".part-", dir=item.cache.parent))
    try:

        def run(batch: tuple[str, ...]) -> None:
            job = {
                "files": batch,
                "own": [name for name in batch if name in item.own],
                "folder": str(folder),
                "output": str(output),
                "prefix": prefix,
            }
            done = subprocess.run(
                [folder / "bin/python", "-S", "-s", "-c", _PROGRAM],
                input=json.dumps(job),
                capture_output=True,
                text=True,
                check=False,
                cwd="/",
                env={"PATH": os.defpath, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
            )
            if done.returncode:
                if "No space left" in done.stderr:
                    raise OSError(28, "No space left on device")
                raise BuildFailed(f"compiling Python files failed: {done.stderr.strip()[-800:]}")
            progress.advance(task, len(batch))

        batches = [item.files[start : start + _BATCH] for start in range(0, len(item.files), _BATCH)]
        for _ in threads.map(run, batches):
            pass
        names = (path.relative_to(output).as_posix() for path in output.rglob("*.pyc"))
        digests = {name: _digest(f"{output}/{name}") for name in names}
        (output / _DIGESTS).write_text(json.dumps(digests), encoding="ascii")
        try:
            output.rename(item.cache)
        except OSError:
            if not _is_whole(item.cache):  # another process was faster: as good
                raise
    finally:
        shutil.rmtree(output, ignore_errors=True)


def _place(source: Path, folder: Path) -> None:
    """Hard-link (else copy) the compiled files into their places; older ones of the package make way."""
    names = json.loads((source / _DIGESTS).read_bytes())
    for parent in {name.rpartition("/")[0] for name in names}:
        (folder / parent).mkdir(parents=True, exist_ok=True)
    for name in names:
        old, new = f"{source}/{name}", f"{folder}/{name}"
        try:
            os.link(old, new)
        except FileExistsError:
            os.unlink(new)  # noqa: PTH108
            os.link(old, new)
        except OSError:
            shutil.copyfile(old, new)
