"""Install a locked environment into a folder, as it will lie at its prefix on the worker.

The packages are linked in a temporary folder, but every path in them is written for the prefix (py-rattler's
`alternative_target_prefix`). No file keeps anything of the building machine or the time, so two builds of a
lock are byte-identical.
"""

from __future__ import annotations

import base64
import contextlib
import csv
import hashlib
import io
import json
import operator
import os
import re
import shutil
import stat
import subprocess
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import attrs

from wingspan._python import this_python
from wingspan._urls import without_secrets
from wingspan.environments.bundles.errors import BuildFailed, InvalidPlace, ProgramMissing, UnsafeBundle
from wingspan.environments.bundles.linked.bytecode import compile_ahead, compile_packages
from wingspan.environments.bundles.linked.claims import CLOBBERS, Claim, claimed_files, origins_of
from wingspan.environments.bundles.packages.fetch import Archive, run_rattler
from wingspan.environments.bundles.packages.foreign_names import check_archives, clear_links
from wingspan.environments.bundles.packages.package_cache import forget_altered, remember
from wingspan.environments.bundles.packages.wheels import Wheel, read_wheel
from wingspan.environments.bundles.storage import cache_folder, hash_file, no_room
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["Installed", "conda_item", "install_wheels", "link_conda", "link_environment", "settle_modes"]

_PYTHON = "bin/python"
_SHEBANG_BYTES = 127
_BY_KERNEL = re.compile(rb"#!(?P<python>[^\n]+)\n")
_BY_SHELL = re.compile(rb"#!/bin/sh\n'''exec' '(?P<python>[^\n]+)' \"\$0\" \"\$@\"\n' '''\n")


@attrs.frozen(kw_only=True)
class Installed:
    """An environment in a folder.

    Attributes:
        size: Bytes of its files.
        files: Their number, symbolic links among them.
        origins: The origins of files by name (see `origins_of`).
        claims: The files of each package.
    """

    size: int
    files: int
    origins: dict[str, str]
    claims: list[Claim]


def link_environment(
    archives: Sequence[Archive],
    folder: Path,
    *,
    prefix: str,
    platform: str,
    ready: Callable[[Claim, Mapping[str, str]], object] = lambda claim, origins: None,
    progress: Progress = NO_PROGRESS,
) -> Installed:
    """Install `archives` into `folder` for use at `prefix`, byte-compiled.

    Args:
        archives: Checked packages of one environment.
        folder: The target folder. It is made, and must be empty. A folder ``uv`` is made beside it, and
            removed.
        prefix: Where the environment will be on the worker.
        platform: Subdir, such as ``linux-64``.
        ready: Called with each package as soon as the content of its files is final, and the origins of all
            files (see `origins_of`); from several threads.
        progress: Told of packages.

    Raises:
        BuildFailed: A package cannot be linked or a wheel not installed; or Python of another architecture
        cannot run here. DiskFull: No room for it.
    """
    with no_room(folder):
        conda = [a for a in archives if a.package.kind == "conda"]
        sha256 = {a.path: a.package.sha256 for a in archives if a.package.kind == "pypi"}
        wheels = [read_wheel(path) for path in sha256]
        forget_altered(conda, cache_folder("packages"))
        link_conda(
            [conda_item(a) for a in conda],
            folder,
            prefix=prefix,
            platform=platform,
            wheels=wheels,
            progress=progress,
        )
        settle_modes(folder)  # most files are hard links to it in the cache
        remember(conda, cache_folder("packages"))
        _forget_the_builder(folder, conda)
        has_python = (folder / _PYTHON).exists()
        if has_python:
            _check_python_runs(folder, platform)
        with ThreadPoolExecutor(1) as aside:
            if wheels:
                cache = folder.with_name("uv")
                with _compiled_ahead(conda, wheels, folder, prefix) if has_python else nullcontext():
                    install_wheels(
                        wheels, folder, sha256=sha256, prefix=prefix, cache=cache, progress=progress
                    )
                aside.submit(shutil.rmtree, cache, ignore_errors=True)
            claims = claimed_files(archives, folder, wheels)
            origins = origins_of(claims, prefix)
            compile_packages(
                claims, folder, prefix=prefix, ready=lambda claim: ready(claim, origins), progress=progress
            )
        size, files = settle_modes(folder)
    return Installed(size=size, files=files, origins=origins, claims=claims)


@contextlib.contextmanager
def _compiled_ahead(
    conda: Sequence[Archive], wheels: Sequence[Wheel], folder: Path, prefix: str
) -> Iterator[None]:
    """While the block installs wheels, the conda packages are compiled: one large wheel takes one core for
    seconds.
    """
    stop = threading.Event()
    with ThreadPoolExecutor(1) as threads:
        claims = claimed_files(conda, folder, ())
        sites = [site.relative_to(folder).as_posix() for site in folder.glob("lib/python*/site-packages")]
        others = {
            f"{site}/{name}" for site in sites for wheel in wheels for name, _ in _installed_files(wheel)
        }
        ahead = threads.submit(compile_ahead, claims, others, folder, prefix=prefix, stop=stop)
        try:
            yield
        except BaseException:
            stop.set()
            raise
        ahead.result()


def conda_item(archive: Archive) -> dict[str, Any]:
    """A package for `rattler_process`: the lock's record and the path of the checked archive."""
    package = archive.package
    assert package.record is not None
    record = json.loads(package.record.to_json())
    for key in ("fn", "url", "channel"):
        record.pop(key, None)
    return {
        "subdir": package.subdir,
        "file_name": package.file_name,
        "record": record,
        "path": str(archive.path),
    }


def link_conda(
    items: Sequence[dict[str, Any]],
    folder: Path,
    *,
    prefix: str,
    platform: str,
    cache: Path | None = None,
    wheels: Sequence[Wheel] = (),
    progress: Progress = NO_PROGRESS,
) -> None:
    """Link conda packages (see `conda_item`) into `folder` with paths for `prefix`.

    `wheels` will be installed afterwards.

    Raises:
        UnsafePackage: A name in one of them leads out of the folder; nothing was linked.
        InvalidPlace: A program has no room for a path as long as `prefix`; nothing was linked.
    """
    cache = cache or cache_folder("packages")
    room = check_archives(items, cache, wheels)
    if room is not None and len(os.fsencode(prefix)) > room.size:
        raise InvalidPlace(
            f"{prefix} is too long a path ({len(os.fsencode(prefix))} bytes): "
            f"{room.name} of the package {room.label} has room for {room.size}",
            hint=f"take a bundle of kind 'pack', and unpack it to a path of at most {room.size} bytes",
        )
    _check_there_is_a_python([item["record"] for item in items])
    folder.mkdir(parents=True, exist_ok=True)
    task = progress.start("Linking packages", len(items))
    request: dict[str, object] = {
        "operation": "link",
        "items": list(items),
        "prefix": str(folder),
        "target": prefix,
        "platform": platform,
        "cache": str(cache),
    }
    for event in run_rattler(request):
        progress.advance(task, int(event.get("linked", 0)))
    # py-rattler's marker, by which backups would leave the environment out
    (folder / "CACHEDIR.TAG").unlink(missing_ok=True)
    progress.finish(task)


def _check_there_is_a_python(records: Sequence[Mapping[str, Any]]) -> None:
    """Check that there is a Python if there are packages for any Python."""
    wanting = [str(record.get("name")) for record in records if record.get("noarch") == "python"]
    if wanting and not any(record.get("name") == "python" for record in records):
        raise BuildFailed(
            f"{wanting[0]} is a package for any Python, and the environment has none",
            hint="add python to its dependencies: pixi add python",
        )


def _forget_the_builder(folder: Path, archives: Sequence[Archive]) -> None:
    """Remove facts about this machine from ``conda-meta``."""
    urls = {a.package.file_name: a.package for a in archives}
    for path in sorted((folder / "conda-meta").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        package = urls.get(record.get("fn", ""))
        if package is not None and package.record is not None:
            record["url"] = without_secrets(package.record.url)
            record["channel"] = without_secrets(package.record.channel or "") or None
        for key in ("extracted_package_dir", "package_tarball_full_path", "link"):
            record.pop(key, None)
        # where packages want the same file, py-rattler lists their files in the order in which its threads
        # came to them
        record["files"] = sorted(record.get("files", []))
        entries = record.get("paths_data", {}).get("paths", [])
        entries.sort(key=operator.itemgetter("_path"))
        for entry in entries:
            if entry.get("path_type") == "softlink":
                entry.pop("sha256_in_prefix", None)
        _write(path, json.dumps(record, indent=2, sort_keys=True) + "\n")
    (folder / "conda-meta").mkdir(exist_ok=True)
    _write(folder / "conda-meta/history", "")  # conda recognizes an environment by this file
    # py-rattler moves replaced files there, and may leave their folders behind
    for place, _, _ in os.walk(folder / CLOBBERS, topdown=False):
        with contextlib.suppress(OSError):  # not empty
            Path(place).rmdir()


def _write(path: Path, text: str) -> None:
    """Write a new file, never through a hard link into a cache."""
    path.unlink(missing_ok=True)
    path.write_text(text, encoding="utf-8")


def find_uv() -> str:
    """The `uv` program: of the package ``uv`` beside this Python, else on PATH.

    Raises:
        ProgramMissing: There is none.
    """
    beside = shutil.which("uv", path=str(Path(this_python()).parent))
    found = beside or shutil.which("uv")
    if found is None:
        raise ProgramMissing(
            "the lock has PyPI packages, and uv, which installs them, is not there", hint="pip install uv"
        )
    return found


def install_wheels(
    wheels: Sequence[Wheel],
    folder: Path,
    *,
    sha256: Mapping[Path, str | None],
    prefix: str,
    cache: Path,
    progress: Progress = NO_PROGRESS,
) -> None:
    """Install checked wheels with uv: offline, no index, hashes required, scripts for `prefix`.

    Args:
        wheels: Checked ones.
        folder: The environment, with its Python.
        sha256: The digest of each wheel from the lock; None where it is taken from the file.
        prefix: Where it will lie.
        cache: A folder in which uv unpacks wheels. The caller removes it, because uv uses its content again
            without a check.
        progress: Told of wheels.
    """
    python = folder / _PYTHON
    if not python.exists():
        raise BuildFailed(
            "the environment has PyPI packages and no Python",
            hint="add python to its dependencies: pixi add python",
        )
    task = progress.start("Installing wheels", len(wheels))
    for site in folder.glob("lib/python*/site-packages"):
        clear_links(wheels, folder, site.relative_to(folder).as_posix())
    before = {p.name for p in _dist_infos(folder)}
    for batch in _in_turn(wheels):
        _run_uv({wheel.path: sha256[wheel.path] for wheel in batch}, python, cache)
    for dist_info in _dist_infos(folder):
        if dist_info.name not in before:
            _settle_wheel(dist_info, folder, prefix)
            progress.advance(task)
    progress.finish(task)


def _in_turn(wheels: Sequence[Wheel]) -> list[list[Wheel]]:
    """Groups of wheels: first those that can be installed at once, then one by one those whose file another
    wheel has with other content. The last by name wins.

    uv installs wheels in parallel, so the winner of two files of one name would change from time to time.
    """
    wanted: dict[str, dict[object, list[Path]]] = {}
    for wheel in wheels:
        for name, content in _installed_files(wheel):
            wanted.setdefault(name, {}).setdefault(content, []).append(wheel.path)
    contested = {
        w for contents in wanted.values() if len(contents) > 1 for those in contents.values() for w in those
    }
    free = [wheel for wheel in wheels if wheel.path not in contested]
    alone = sorted((wheel for wheel in wheels if wheel.path in contested), key=lambda wheel: wheel.path.name)
    return ([free] if free else []) + [[wheel] for wheel in alone]


def _installed_files(wheel: Wheel) -> Iterator[tuple[str, object]]:
    """The files that a wheel installs (modules by name, others by scheme and name), each with a text that
    changes with its content.
    """
    for member in wheel.members:
        top, _, rest = member.filename.partition("/")
        content = member.CRC, member.file_size
        if top.endswith(".data"):
            scheme, _, rest = rest.partition("/")
            yield rest if scheme in ("purelib", "platlib") else f"<{scheme}>/{rest}", content
        else:
            yield member.filename, content
    for program in wheel.programs:
        yield f"<scripts>/{program}", wheel.path.name


def _run_uv(wheels: Mapping[Path, str | None], python: Path, cache: Path) -> None:
    lines = []
    for wheel, known in wheels.items():
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name}=={version} --hash=sha256:{known or hash_file(wheel)}\n")
    command = [find_uv(), "pip", "install", "--python", str(python), "--cache-dir", str(cache)]
    command += ["--no-config", "--offline", "--no-index", "--no-deps", "--require-hashes", "--no-build"]
    command += ["--break-system-packages", "--no-progress", "--no-python-downloads", "-r", "-"]
    for parent in sorted({wheel.parent for wheel in wheels}):
        command += ["--find-links", parent.as_uri()]  # uv cuts a path at commas
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("UV_", "PYTHON", "PIP_"))}
    done = subprocess.run(
        command,
        input="".join(sorted(lines)),
        capture_output=True,
        text=True,
        check=False,
        env={**environment, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    if done.returncode:
        raise BuildFailed(f"uv could not install the PyPI packages: {done.stderr.strip()[-1500:]}")


def _dist_infos(folder: Path) -> list[Path]:
    return sorted(folder.glob("lib/python*/site-packages/*.dist-info"))


def _settle_wheel(dist_info: Path, folder: Path, prefix: str) -> None:
    """Replace the temporary folder by the prefix where uv wrote it, remove uv's notes, and correct RECORD."""
    site = dist_info.parent
    rows = []
    with (dist_info / "RECORD").open(newline="", encoding="utf-8") as file:
        for name, digest, size in csv.reader(file):
            if not name.startswith(("../", dist_info.name)):  # modules: most of the rows, and nothing to do
                rows.append([name, digest, size])
                continue
            path = Path(os.path.normpath(site / name))
            if path.parent == dist_info and path.name in ("uv_cache.json", "uv_build.json", "REQUESTED"):
                path.unlink(missing_ok=True)
                continue
            row = [name, digest, size]
            if path.parent == folder / "bin" and path.is_file():
                content = path.read_bytes()
                if str(folder).encode() in content and b"\0" not in content:
                    mode = path.stat().st_mode
                    content = _launched_from(prefix, content.replace(str(folder).encode(), prefix.encode()))
                    path.unlink()
                    path.write_bytes(content)
                    path.chmod(mode)
                    hashed = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
                    row = [name, f"sha256={hashed}", str(len(content))]
            rows.append(row)
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(sorted(rows))
    _write(dist_info / "RECORD", text.getvalue())


def _launched_from(prefix: str, script: bytes) -> bytes:
    """The script with the first lines that uv would write for `prefix`. uv's lines depend on the length of
    the temporary folder's name.

    The kernel reads 127 bytes of a first line and splits it at a space (execve(2)). If that is too short, uv
    uses ``/bin/sh``.
    """
    head = _BY_SHELL.match(script) or _BY_KERNEL.match(script)
    if head is None or not head["python"].startswith(os.fsencode(prefix)):
        return script
    python = head["python"]
    line = b"#!" + python
    if len(line) > _SHEBANG_BYTES or b" " in python:
        line = b"#!/bin/sh\n'''exec' '" + python + b"' \"$0\" \"$@\"\n' '''"
    return line + b"\n" + script[head.end() :]


def _check_python_runs(folder: Path, platform: str) -> None:
    try:
        done = subprocess.run(
            [folder / _PYTHON, "-I", "-B", "-c", ""],  # writes no byte code with times in it
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": os.defpath},
        )
        reason = done.stderr.strip()[-500:] if done.returncode else ""
    except OSError as error:
        reason = error.strerror or str(error)
    if reason:
        raise BuildFailed(
            f"the environment's Python ({platform}) does not run on this machine: {reason}",
            hint="build on a machine of that platform (a build job), or take the kind 'pack'",
        )


def settle_modes(folder: Path, *, owner: bool = False) -> tuple[int, int]:
    """Set modes that do not depend on the umask: 0755 for folders and programs, 0644 for other files; none is
    setuid.

    Args:
        folder: An environment.
        owner: Whether to make this user the owner of everything. Where root unpacks, the image names the
            owners.

    Returns:
        Bytes and number of the files. A file with several links counts each time.

    Raises:
        UnsafeBundle: There is a device, a pipe or a socket.
    """
    size = files = 0
    folder.chmod(0o755)
    stack = [os.fspath(folder)]
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                status = entry.stat(follow_symlinks=False)
                directory = stat.S_ISDIR(status.st_mode)
                if not (directory or stat.S_ISREG(status.st_mode) or stat.S_ISLNK(status.st_mode)):
                    raise UnsafeBundle(
                        f"{os.path.relpath(entry.path, folder)!r} is a device, a pipe or a socket; environments have none",
                        hint="do not use this file, and ask where it comes from",
                    )
                if owner and status.st_uid != os.geteuid():
                    os.chown(entry.path, os.geteuid(), os.getegid(), follow_symlinks=False)
                if directory:
                    stack.append(entry.path)
                else:
                    size += status.st_size
                    files += 1
                mode = 0o755 if directory or status.st_mode & 0o111 else 0o644
                if stat.S_IMODE(status.st_mode) != mode and not stat.S_ISLNK(status.st_mode):
                    os.chmod(entry.path, mode)  # noqa: PTH101 - tens of thousands of files
    return size, files
