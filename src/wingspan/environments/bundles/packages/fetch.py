"""Bring the packages of a lock into the archive cache and check each against the lock.

py-rattler does not check ``file://`` packages and its own cache, and pixi-pack does not check wheels. So
packages are linked only from this cache, and a file enters the cache, or is used from it, only if its digest
is the lock's.
"""

from __future__ import annotations

import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import unquote, urlsplit

import attrs

from wingspan._cores import usable_cores
from wingspan._python import this_python
from wingspan._urls import without_secrets
from wingspan.environments.bundles.errors import (
    BuildFailed,
    PackageMismatch,
    PackageUnavailable,
    UnsafePackage,
)
from wingspan.environments.bundles.storage import (
    CHUNK,
    cache_folder,
    hash_file,
    interprocess_lock,
    no_room,
    replacing,
)
from wingspan.environments.lock import LockedEnvironment, LockedPackage
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.worker import trust

__all__ = ["Archive", "fetch_packages"]


@attrs.frozen(kw_only=True)
class Archive:
    """A package and its checked file."""

    package: LockedPackage
    path: Path


def _digest(package: LockedPackage) -> tuple[str, str]:
    if package.sha256:
        return "sha256", package.sha256
    if package.md5:
        return "md5", package.md5
    raise PackageMismatch(
        f"the lock has no hash for {package.name} {package.version}",
        hint="write the lock anew with a current Pixi: pixi lock",
    )


def _file_name(package: LockedPackage, source: str) -> str:
    return package.file_name or unquote(urlsplit(source).path).rsplit("/", 1)[-1]


def fetch_packages(env: LockedEnvironment, *, progress: Progress = NO_PROGRESS) -> list[Archive]:
    """Fetch and check every package of `env`. Packages in the cache are checked again, but not fetched.

    After an interruption, the next call goes on with the packages that are missing.

    Returns:
        One `Archive` per package, in the order of ``env.packages``.

    Raises:
        PackageMismatch: A package is not the one that the lock names. The message names it, and nothing of it
            is kept.
        PackageUnavailable: A package cannot be fetched.
        DiskFull: The cache's file system is full.
    """
    folder = cache_folder("archives")
    archives = []
    wanted: list[tuple[LockedPackage, str, Path]] = []
    for package in env.packages:
        source = package.resolve(env.lock_path.parent)
        algorithm, digest = _digest(package)
        name = digest if algorithm == "sha256" else f"{algorithm}-{digest}"
        path = folder / name / _file_name(package, source)
        archives.append(Archive(package=package, path=path))
        wanted.append((package, source, path))
    sizes = {item[2]: _size(item[2]) for item in wanted}
    present = [item for item in wanted if sizes[item[2]] is not None]
    missing = [item for item in wanted if sizes[item[2]] is None]
    task = progress.start("Checking packages", sum(filter(None, sizes.values())))
    with ThreadPoolExecutor(max_workers=_threads()) as threads:
        for ok, item in zip(
            threads.map(lambda item: _good(item, progress, task), present), present, strict=True
        ):
            if not ok:  # it was altered after it was checked: fetch it again
                item[2].unlink(missing_ok=True)  # another process may have removed it already
                missing.append(item)
    progress.finish(task)
    if missing:
        with interprocess_lock(folder / "lock"):
            for leftover in folder.glob("*/.*.part"):  # leftovers of killed processes: we hold the lock
                leftover.unlink(missing_ok=True)
            missing = [item for item in missing if not item[2].is_file()]
            task = progress.start("Fetching packages", sum(package.size or 0 for package, _, _ in missing))
            local = [item for item in missing if _local_path(item[1]) is not None]
            for package, source, path in local:
                _copy(package, source, path, progress, task)
            remote = [item for item in missing if _local_path(item[1]) is None]
            if remote:
                _download(remote, progress, task)
            progress.finish(task)
    return archives


def _threads() -> int:
    return min(4, usable_cores())


def _size(path: Path) -> int | None:
    """Bytes of a file, or None if there is no such file."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return None
    return status.st_size if stat.S_ISREG(status.st_mode) else None


def _good(item: tuple[LockedPackage, str, Path], progress: Progress, task: int) -> bool:
    package, _, path = item
    algorithm, digest = _digest(package)
    try:
        return hash_file(path, algorithm, progress=lambda count: progress.advance(task, count)) == digest
    except FileNotFoundError:  # another process has found it altered, and fetches it again
        return False


def _local_path(source: str) -> Path | None:
    parts = urlsplit(source)
    if parts.scheme == "file":
        return Path(unquote(parts.path))
    return Path(source) if not parts.scheme or "://" not in source else None


def mismatch(package: LockedPackage, source: str, algorithm: str, wanted: str, got: str) -> PackageMismatch:
    return PackageMismatch(
        f"{package.name} {package.version}: {without_secrets(source)} is not the package that the lock names "
        f"({algorithm} {got}, the lock says {wanted}); nothing of it was kept",
        hint="if the channel replaced the file, update the lock (pixi update); else find out who altered it",
    )


def _copy(package: LockedPackage, source: str, path: Path, progress: Progress, task: int) -> None:
    algorithm, wanted = _digest(package)
    digest = hashlib.new(algorithm, usedforsecurity=False)
    local = _local_path(source)
    assert local is not None
    try:
        file = local.open("rb")
    except OSError as error:
        raise PackageUnavailable(
            f"{package.name} {package.version}: {local} cannot be read: {error.strerror}",
            hint="is the local channel or wheel still where it was when the lock was written?",
        ) from None
    with file, replacing(path) as target:
        while piece := file.read(CHUNK):
            digest.update(piece)
            target.write(piece)
            progress.advance(task, len(piece))
        if digest.hexdigest() != wanted:
            raise mismatch(package, source, algorithm, wanted, digest.hexdigest())


def _download(items: Sequence[tuple[LockedPackage, str, Path]], progress: Progress, task: int) -> None:
    """Download several packages at once, in another process (see `rattler_process`), and put them in
    place.
    """
    requests = []
    for package, source, path in items:
        algorithm, digest = _digest(package)
        trust.make_folder(str(path.parent))
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        requests.append({"url": source, "path": str(part), "algorithm": algorithm, "digest": digest})
    try:
        with no_room(items[0][2]):
            for event in run_rattler({"operation": "fetch", "items": requests}):
                if "bytes" in event:
                    progress.advance(task, int(event["bytes"]))
                    continue
                package, source, path = items[int(event["item"])]
                request = requests[int(event["item"])]
                if "error" in event:
                    raise PackageUnavailable(
                        f"{package.name} {package.version}: {without_secrets(source)} cannot be fetched: "
                        f"{without_secrets(event['error'])}{_unreachable(source)}",
                        hint="call again: packages that did come are kept",
                    )
                if event["got"] != request["digest"]:
                    raise mismatch(
                        package, source, request["algorithm"], request["digest"], str(event["got"])
                    )
                Path(request["path"]).replace(path)
    finally:
        for request in requests:
            Path(request["path"]).unlink(missing_ok=True)


def _unreachable(source: str) -> str:
    """Why a host does not answer, since py-rattler does not say it.

    Empty if it answers, or if a proxy is set.
    """
    import socket
    from urllib.request import getproxies

    parts = urlsplit(source)
    if parts.hostname is None or getproxies():
        return ""
    try:
        port = parts.port or (80 if parts.scheme == "http" else 443)
        socket.create_connection((parts.hostname, port), timeout=5).close()
    except OSError as error:
        return f" ({parts.hostname}: {error.strerror or error})"
    return ""


def run_rattler(request: dict[str, object]) -> Iterator[dict[str, str]]:
    """Run one operation of `rattler_process` in its own process and yield the events that it writes.

    py-rattler can crash an interpreter that ends in the ordinary way, because its threads outlive it. In a
    process of its own, a crash after the work is done does no harm.
    """
    process = subprocess.Popen(
        [this_python(), "-m", "wingspan.environments.bundles.packages.rattler_process"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    done = False
    try:
        process.stdin.write(json.dumps(request))
        process.stdin.close()
        for line in process.stdout:
            event = json.loads(line)
            if event.get("done"):
                done = True
                break
            if "unsafe" in event:
                raise UnsafePackage(
                    event["unsafe"], hint="do not use this lock or bundle, and ask where it comes from"
                )
            yield event
    finally:
        if not done:
            process.terminate()
        reason = process.stderr.read()
        process.stdout.close()
        process.stderr.close()
        process.wait()
    if not done:
        what = str(request["operation"])
        if "No space left" in reason:
            raise OSError(28, "No space left on device")
        last = reason.strip().splitlines()[-1:] or [f"exit status {process.returncode}"]
        raise BuildFailed(
            f"py-rattler could not {what} the packages: {last[0]}",
            hint="try again; packages that were fetched are kept",
        )
