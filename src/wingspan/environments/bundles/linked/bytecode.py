"""Compile the Python files of an environment before it is sealed.

This gains most of the start-up time (8–10 s → 3–4 s).

The ``.pyc`` are of the *unchecked-hash* kind, so they stay valid whatever times the files get in an image.
They are made package by package and kept. The next environment with the same package, Python and prefix takes
them from the cache, after a check against the list of digests beside them.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import json
import os
import queue
import shutil
import stat
import subprocess
import tempfile
import threading
from collections import Counter
from collections.abc import Callable, Container, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import attrs

from wingspan._cores import usable_cores
from wingspan.environments.bundles.errors import BuildFailed
from wingspan.environments.bundles.linked.claims import Claim
from wingspan.environments.bundles.storage import cache_folder, interprocess_lock
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["compile_ahead", "compile_packages"]

_FORMAT = "5"  # 1: without digests, 2: without the packages' own byte code, 3, 4: with more of their tests
#: The list: SHA-256 by name.
_DIGESTS = "digests.json"
#: How many files one process compiles. The content of a .pyc depends a little on what its process compiled
#: before. With fixed batches the same package gives the same bytes, whatever else is built, on any number of
#: cores.
_BATCH = 150
#: Folders of packages' own tests and their helpers. In large packages they are a quarter of all source, and
#: jobs seldom import them, so they are not compiled here; Python compiles them if they are imported. Byte
#: code that a package brings for them is kept.
_TESTS = ("/tests/", "/test/", "/testing/_internal/")

#: This program compiles batches of files. It reads one line of JSON for each batch, and answers with a line
#: that has the digests of the written files. Each batch has its own process, forked from one that has
#: compiled nothing yet; to start a Python for each would take half as long again. The bytes are those of
#: `py_compile` with PycInvalidationMode.UNCHECKED_HASH. `py_compile` itself is not called, because it writes
#: each file to a temporary name and renames it, while here a whole folder is renamed at the end. Packages
#: that are not noarch bring byte code. It is used if Python itself would accept it by time and size (the
#: first 16 bytes, PEP 552), which is some ten times as fast as compiling.
_PROGRAM = """
import hashlib, importlib.util, json, marshal, os, sys, warnings
warnings.simplefilter("ignore")
number = importlib.util.MAGIC_NUMBER
unchecked = (1).to_bytes(4, "little")

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
        return number + unchecked + importlib.util.source_hash(file.read()) + code[16:]

def compiled(source, name):
    with open(source, "rb") as file:
        text = file.read()
    try:
        code = marshal.dumps(compile(text, name, "exec", dont_inherit=True, optimize=0))
    except Exception:
        return None  # templates and tests for other Pythons: they fail where they are imported, if ever
    return number + unchecked + importlib.util.source_hash(text) + code

def compile_batch(job):
    with_code = set(job["own"])
    digests = {}
    made = None
    for name in job["files"]:
        head, tail = os.path.split(name)
        place = os.path.join(head, "__pycache__", tail[:-3] + "." + sys.implementation.cache_tag + ".pyc")
        source = os.path.join(job["folder"], name)
        code = own(source, os.path.join(job["folder"], place)) if name in with_code else None
        if code is None:
            code = compiled(source, job["prefix"] + "/" + name)
            if code is None:
                continue
        if head != made:
            os.makedirs(os.path.join(job["output"], head, "__pycache__"), exist_ok=True)
            made = head
        with open(os.path.join(job["output"], place), "wb") as file:
            file.write(code)
        digests[place] = hashlib.sha256(code).hexdigest()
    return digests

for line in sys.stdin.buffer:
    child = os.fork()
    if not child:
        try:
            answer = {"digests": compile_batch(json.loads(line))}
        except BaseException as error:
            answer = {"error": repr(error), "errno": getattr(error, "errno", None)}
        sys.stdout.write(json.dumps(answer) + "\\n")
        sys.stdout.flush()
        os._exit(0)
    status = os.waitpid(child, 0)[1]
    if status:
        sys.stdout.write(json.dumps({"error": "the compiler ended with status %d" % status}) + "\\n")
        sys.stdout.flush()
"""


@attrs.frozen
class _Work:
    """The files of one package to compile, and where their byte code is kept. Files that several packages
    have are no package's: they have no claim.
    """

    claim: Claim | None
    files: tuple[str, ...]
    own: frozenset[str]
    cache: Path


def compile_packages(
    claims: Sequence[Claim],
    folder: Path,
    *,
    prefix: str,
    ready: Callable[[Claim], object] = lambda claim: None,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Put the ``.pyc`` of every package's ``.py`` files into `folder`, to lie at `prefix`.

    `ready` is called for each package as soon as its byte code is in its place, from several threads.
    """
    cache = cache_folder("bytecode")
    work, contested = _work(claims, folder, prefix, Counter(name for claim in claims for name in claim.files))
    with contextlib.ExitStack() as stack:
        # which package's file is there depends on this environment: not to be kept with a package
        if contested:
            passing = stack.enter_context(tempfile.TemporaryDirectory(prefix=".part-", dir=cache))
            work.append(_Work(None, tuple(sorted(contested)), frozenset(), Path(passing) / "contested"))
        threads = stack.enter_context(ThreadPoolExecutor(max_workers=usable_cores()))

        def place(item: _Work) -> None:
            _place(item.cache, folder)
            if item.claim is not None:
                ready(item.claim)

        missing = _missing(work, threads)
        later = {item.cache for item in missing}
        for claim in claims:
            if not any(item.claim is claim for item in work):  # it has nothing to compile
                ready(claim)
        for item in work:
            if item.cache not in later:
                place(item)
        _compile(missing, folder, prefix, whole=place, threads=threads, progress=progress)


def compile_ahead(
    claims: Sequence[Claim], others: Iterable[str], folder: Path, *, prefix: str, stop: threading.Event
) -> None:
    """Compile packages into the cache while further packages are still being installed: `compile_packages`
    finds their byte code there.

    Args:
        claims: Packages that are installed, Python among them.
        others: Names that the further packages may bring as well. If they bring others, `compile_packages`
            compiles anew.
        folder: Where they are.
        prefix: Where they will lie.
        stop: Set by somebody who does not want the rest any more.
    """
    counts = Counter(name for claim in claims for name in claim.files)
    counts.update(others)
    work, _ = _work(claims, folder, prefix, counts)
    with ThreadPoolExecutor(max_workers=usable_cores()) as threads:
        _compile(_missing(work, threads), folder, prefix, threads=threads, stop=stop)


def _work(
    claims: Sequence[Claim], folder: Path, prefix: str, counts: Counter[str]
) -> tuple[list[_Work], set[str]]:
    """What is to be compiled of each package, and files that are not of one package alone.

    `counts` says for each name how many packages have it.
    """
    work: list[_Work] = []
    contested: set[str] = set()
    python = next((claim.package for claim in claims if claim.package.name == "python"), None)
    if python is None:
        return work, contested
    cache = cache_folder("bytecode")
    recipe = f"{_FORMAT} {python.digest} {prefix} {_BATCH}"
    for claim in claims:
        with_code = _with_code(name for name in claim.files if counts[name] == 1)
        found = _sources(claim.files, folder, with_code)
        files = tuple(name for name in found if counts[name] == 1)
        contested.update(name for name in found if counts[name] > 1)
        own = frozenset(with_code.intersection(files))
        if files:
            place = cache / _key(recipe, claim.package.digest, files, sorted(own))
            work.append(_Work(claim, files, own, place))
    return work, contested


def _missing(work: Sequence[_Work], threads: ThreadPoolExecutor) -> list[_Work]:
    """What is not in the cache, or is there and altered: that is removed."""
    whole = threads.map(_is_whole, [item.cache for item in work])
    missing = [item for item, good in zip(work, whole, strict=True) if not good]
    for item in missing:
        _forget(item.cache)
    return missing


def _is_whole(cache: Path) -> bool:
    """Whether all byte code is there, as it was written."""
    try:
        digests = json.loads((cache / _DIGESTS).read_bytes())
        return all(_digest(f"{cache}/{name}") == digest for name, digest in digests.items())
    except (OSError, ValueError, AttributeError):
        return False


def _digest(path: str) -> str:
    with open(path, "rb") as file:  # noqa: PTH123 - tens of thousands of files
        return hashlib.sha256(file.read()).hexdigest()


def _forget(cache: Path) -> None:
    """Remove byte code that is not whole, unless another process has replaced it."""
    if cache.is_dir():
        with interprocess_lock(cache.with_name("lock")):
            if not _is_whole(cache):
                shutil.rmtree(cache, ignore_errors=True)


def _key(recipe: str, digest: str, files: Sequence[str], own: Sequence[str]) -> str:
    """The key of a package's byte code.

    The names of the files are part of it, because a file may be missing where another package has the same.
    """
    parts = "\0".join((recipe, digest, *files, "", *own))
    return hashlib.sha256(parts.encode(errors="surrogateescape")).hexdigest()


def _sources(names: Iterable[str], folder: Path, with_code: Container[str]) -> tuple[str, ...]:
    """The files to compile: all except tests without byte code."""
    found = (
        name
        for name in names
        if name.endswith(".py")
        and name.startswith("lib/python")
        and (name in with_code or not any(part in name for part in _TESTS))
    )
    return tuple(sorted(name for name in found if _is_plain_file(f"{folder}/{name}")))


def _with_code(names: Iterable[str]) -> set[str]:
    """The sources of the byte code among a package's files.

    >>> _with_code(["lib/python3.11/a/__pycache__/b.cpython-311.pyc", "lib/python3.11/a/b.py", "lib/python3.11/c.pyc"])
    {'lib/python3.11/a/b.py'}
    """  # noqa: W505
    parts = (name.partition("/__pycache__/") for name in names if name.endswith(".pyc"))
    return {f"{folder}/{rest.partition('.')[0]}.py" for folder, found, rest in parts if found}


def _is_plain_file(path: str) -> bool:
    try:
        return stat.S_ISREG(os.lstat(path).st_mode)
    except OSError:
        return False


class _Package:
    """The byte code of a package while it is made.

    It is written beside its place in the cache and moved there when it is complete.
    """

    def __init__(self, item: _Work) -> None:
        self.item = item
        self.output = Path(tempfile.mkdtemp(prefix=".part-", dir=item.cache.parent))
        self.digests: dict[str, str] = {}
        starts = range(0, len(item.files), _BATCH)
        self.batches = [item.files[start : start + _BATCH] for start in starts]
        self._left = len(self.batches)
        self._lock = threading.Lock()

    def add(self, digests: dict[str, str]) -> bool:
        """Add a finished batch. The last batch moves the package to its place in the cache; true if this was
        the last one.
        """
        with self._lock:
            self.digests |= digests
            self._left -= 1
            if self._left:
                return False
        (self.output / _DIGESTS).write_text(json.dumps(self.digests), encoding="ascii")
        self.output.chmod(0o755)
        try:
            self.output.rename(self.item.cache)
        except OSError:
            if not _is_whole(self.item.cache):  # another process was faster, and its byte code is as good
                raise
        return True


def _compile(
    missing: Sequence[_Work],
    folder: Path,
    prefix: str,
    *,
    threads: ThreadPoolExecutor,
    whole: Callable[[_Work], object] = lambda item: None,
    stop: threading.Event | None = None,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Compile packages into the cache, each whole or not at all, and tell `whole` of each.

    The cores share the batches of all packages.
    """
    task = progress.start("Compiling Python files", sum(len(item.files) for item in missing))
    packages: list[_Package] = []
    waiting: queue.SimpleQueue[tuple[_Package, tuple[str, ...]] | None] = queue.SimpleQueue()
    stop = stop or threading.Event()

    def work(stop: threading.Event) -> None:
        with _Compiler(folder, prefix) as compiler:
            while (order := waiting.get()) is not None and not stop.is_set():
                package, batch = order
                if package.add(compiler.compile(package, batch)):
                    whole(package.item)
                progress.advance(task, len(batch))

    try:
        for item in missing:
            packages.append(_Package(item))
        # Large packages first, so that no core works alone on the last batches.
        for package in sorted(packages, key=lambda each: -len(each.batches)):
            for batch in package.batches:
                waiting.put((package, batch))
        workers = min(usable_cores(), sum(len(package.batches) for package in packages))
        for _ in range(workers):
            waiting.put(None)
        try:
            for done in [threads.submit(work, stop) for _ in range(workers)]:
                done.result()
        except BaseException:
            stop.set()  # Ctrl-C does not wait for the rest
            threads.shutdown(wait=False, cancel_futures=True)
            raise
    finally:
        for package in packages:
            shutil.rmtree(package.output, ignore_errors=True)
    progress.finish(task)


class _Compiler:
    """The environment's own Python, compiling batches (see `_PROGRAM`)."""

    def __init__(self, folder: Path, prefix: str) -> None:
        self._folder, self._prefix = folder, prefix
        self._said = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(
            [folder / "bin/python", "-S", "-s", "-c", _PROGRAM],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._said,
            cwd="/",
            env={"PATH": os.defpath, "PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"},
        )

    def compile(self, package: _Package, batch: tuple[str, ...]) -> dict[str, str]:
        """SHA-256 of each ``.pyc`` that was written, by name.

        Raises:
            BuildFailed, OSError: It failed.
        """
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        job = {
            "files": batch,
            "own": [name for name in batch if name in package.item.own],
            "folder": str(self._folder),
            "output": str(package.output),
            "prefix": self._prefix,
        }
        try:
            self._process.stdin.write(json.dumps(job).encode() + b"\n")
            self._process.stdin.flush()
            answer = json.loads(self._process.stdout.readline())
        except (BrokenPipeError, ValueError):
            self._said.seek(0)
            words = self._said.read().decode(errors="replace").strip()[-800:]
            raise BuildFailed(f"compiling Python files failed: {words}") from None
        if answer.get("errno") == errno.ENOSPC:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if "error" in answer:
            raise BuildFailed(f"compiling Python files failed: {answer['error']}")
        digests: dict[str, str] = answer["digests"]
        return digests

    def __enter__(self) -> _Compiler:
        return self

    def __exit__(self, *_: object) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(OSError):
                    stream.close()
        self._process.wait()
        self._said.close()


def _place(source: Path, folder: Path) -> None:
    """Hard-link (else copy) the compiled files into their places, and replace older ones of the package."""
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
