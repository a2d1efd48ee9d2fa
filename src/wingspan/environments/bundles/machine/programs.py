"""The programs that open images on this machine and travel to workers: found,
else obtained into the cache without root.

``unsquashfs`` and ``squashfuse_ll`` come from PATH, else from the machine's Debian packages,
else from conda-forge.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
import shutil
import subprocess
import tarfile
from pathlib import Path

from wingspan._python import this_python
from wingspan._shell import quoted
from wingspan.environments.bundles.errors import BundleError, ProgramMissing
from wingspan.environments.bundles.machine import debian
from wingspan.environments.bundles.storage import cache_folder, interprocess_lock, replacing, temporary_folder
from wingspan.worker import trust

__all__ = ["find_program", "mount_helper"]

#: program: (Debian packages, conda-forge package)
_SOURCES = {
    "unsquashfs": (["squashfs-tools", "liblzo2-2"], "squashfs-tools"),
    "squashfuse_ll": (["squashfuse", "libsquashfuse0", "libfuse3-3", "liblzo2-2"], "squashfuse"),
}
_PLACES = ("/usr/bin", "/usr/sbin", "/sbin", "/usr/local/bin")


def find_program(name: str, *, obtain: bool = True) -> Path:
    """Path of a program, or of a script of ours in the cache that runs it.

    Args:
        name: ``unsquashfs``, ``squashfuse_ll``, or any program on PATH.
        obtain: Whether to get it if it is missing.

    Raises:
        ProgramMissing: It is not there and cannot be obtained; the hint says how to get it.
    """
    found = shutil.which(name) or shutil.which(name, path=os.pathsep.join(_PLACES))
    if found:
        return Path(found)
    if name in _SOURCES:
        debs, conda = _SOURCES[name]
        folder = cache_folder("programs")
        script = folder / "bin" / name
        if script.is_file():
            return script
        if obtain:
            with interprocess_lock(folder / "lock"):
                if not script.is_file():
                    _obtain(name, debs, conda, folder, script)
            return script
        hint = f"install {conda} (Debian, Fedora and conda-forge have it under that name)"
    else:
        hint = f"install it, or ask the people who run this machine for {name}"
    raise ProgramMissing(f"the program {name} is not there", hint=hint)


def _obtain(name: str, debs: list[str], conda: str, folder: Path, script: Path) -> None:
    reasons = []
    for source in ("Debian", "conda-forge"):
        with temporary_folder(folder) as work:
            root = work / "root"
            try:
                if source == "Debian":
                    _from_debian(debs, root)
                else:
                    _from_conda(conda, root)
            except (debian.DebianUnavailable, BundleError, OSError, subprocess.SubprocessError) as error:
                reasons.append(f"{source}: {error}")
                continue
            program = next((p for p in (root / "usr/bin" / name, root / "bin" / name) if p.is_file()), None)
            if program is None:
                reasons.append(f"{source}: there is no {name} in it")
                continue
            home = folder / conda
            shutil.rmtree(home, ignore_errors=True)
            root.rename(home)
            libraries = ":".join(
                sorted({str(home / p.parent.relative_to(root)) for p in home_libraries(home, root)})
            )
            with replacing(script, mode=trust.PROGRAM) as file:
                run = home / program.relative_to(root)
                file.write(
                    f'#!/bin/sh\nLD_LIBRARY_PATH={quoted(libraries)} exec {quoted(run)} "$@"\n'.encode()
                )
            return
    raise ProgramMissing(
        f"the program {name} is not there and could not be obtained ({'; '.join(reasons)})",
        hint=f"install {conda} (Debian, Fedora and conda-forge have it under that name)",
    )


def home_libraries(home: Path, root: Path) -> list[Path]:
    """The original paths below `root` of the library files below `home`."""
    return [root / p.relative_to(home) for p in home.rglob("lib*.so*")]


def _from_debian(packages: list[str], root: Path) -> None:
    debian.unpack(debian.fetch(packages, root.with_name("debs")), root)


def _from_conda(package: str, root: Path) -> None:
    program = (
        "import asyncio, os, sys, rattler\n"
        "async def get():\n"
        "    virtual = rattler.VirtualPackage.detect()\n"
        "    records = await rattler.solve(['conda-forge'], [sys.argv[1]], virtual_packages=virtual)\n"
        "    await rattler.install(records, sys.argv[2], cache_dir=sys.argv[3], show_progress=False)\n"
        "try:\n"
        "    asyncio.run(get())\n"
        "except BaseException as error:\n"
        "    print(error, file=sys.stderr, flush=True)\n"
        "    os._exit(1)\n"
        "os._exit(0)\n"
    )
    command = [this_python(), "-c", program, package, str(root), str(cache_folder("packages"))]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise BundleError((done.stderr.strip().splitlines() or ["py-rattler failed"])[-1])


def mount_helper() -> Path:
    """A small archive for workers that have no squashfuse: squashfuse_ll, unsquashfs and every library they
    need.

    It runs with its own libc, so the worker's libraries do not matter. It is a gzipped tar of about 2 MB,
    named by its content, and made once.

    Raises:
        ProgramMissing: squashfuse_ll is not here and cannot be obtained.
    """
    programs = [find_program("squashfuse_ll"), find_program("unsquashfs")]
    folder = cache_folder("programs")
    key = hashlib.sha256("".join(f"{p} {p.stat().st_mtime_ns}" for p in programs).encode()).hexdigest()[:16]
    index = folder / f"helper-{key}.txt"
    if index.is_file():
        path = folder / index.read_text(encoding="utf-8").strip()
        if path.is_file():
            return path
    files: dict[str, Path] = {}
    for program in programs:
        real, search = _behind(program)
        files[program.name] = real
        files |= _libraries(real, search)
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as tar:
        for name, path in sorted(files.items()):
            content = path.resolve().read_bytes()
            member = tarfile.TarInfo(name)
            member.size, member.mode = len(content), 0o755
            tar.addfile(member, io.BytesIO(content))
    packed = io.BytesIO()
    import gzip

    with gzip.GzipFile(fileobj=packed, mode="wb", mtime=0) as archive:
        archive.write(buffer.getvalue())
    name = f"squashfuse-{hashlib.sha256(packed.getvalue()).hexdigest()[:8]}.tar.gz"
    for path, content in ((folder / name, packed.getvalue()), (index, name.encode())):
        with replacing(path) as file:
            file.write(content)
    return folder / name


def _behind(program: Path) -> tuple[Path, str]:
    """The binary that a script of ours runs, and its folders of libraries."""
    head = program.read_bytes()[:4]
    if head == b"\x7fELF":
        return program, ""
    found = re.search(r'LD_LIBRARY_PATH="([^"]*)" exec "([^"]*)"', program.read_text(encoding="utf-8"))
    if found is None:
        raise ProgramMissing(f"{program} is not a binary", hint="install squashfuse and squashfs-tools")
    return Path(found[2]), found[1]


def _libraries(binary: Path, search: str) -> dict[str, Path]:
    """The files of all libraries that `binary` loads, by name; the loader itself is ``ld.so``."""
    done = subprocess.run(
        ["ldd", str(binary)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "LD_LIBRARY_PATH": search, "LC_ALL": "C"},
    )
    found = {name: Path(path) for name, path in re.findall(r"^\s*(\S+) => (/\S+)", done.stdout, re.MULTILINE)}
    loader = re.search(r"^\s*(/\S*ld-linux\S*)", done.stdout, re.MULTILINE)
    if done.returncode or loader is None or "not found" in done.stdout:
        raise ProgramMissing(f"the libraries of {binary} cannot be found: {done.stdout}{done.stderr}")
    return {**found, "ld.so": Path(loader[1])}
