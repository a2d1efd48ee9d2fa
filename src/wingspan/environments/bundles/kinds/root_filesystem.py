"""The small operating system that `sif` and `oci` images need around an environment: a libc,
a shell and its tools.

It is made of the machine's own Debian packages, without root, or taken from the user: a folder, or a tar of a
root file system (``podman export``).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import tarfile
from pathlib import Path

from wingspan.environments.bundles.errors import BuildFailed, ProgramMissing
from wingspan.environments.bundles.machine import debian
from wingspan.environments.bundles.storage import (
    cache_folder,
    hash_file,
    interprocess_lock,
    temporary_folder,
)

__all__ = ["base_digest", "copy_base", "debian_base"]

#: A shell, and the tools that jobs and activation scripts call. apt finds the libraries that they load, whose
#: names differ between releases.
_PACKAGES = (
    "base-files base-passwd bash ca-certificates coreutils dash debianutils diffutils findutils gawk grep gzip hostname libc-bin "
    "libgomp1 libstdc++6 mount ncurses-base netbase procps sed tar tzdata util-linux zlib1g"
).split()
#: No package manager, no Perl, no logging in.
_WITHOUT = re.compile(
    r"debconf|dpkg|init-system-helpers|libpam-.*|login.*|openssl|passwd|perl.*|libperl.*|libgdbm.*|libdb5.*"
)
#: A number that is raised when the base changes, so that it is made anew.
_FORMAT = 2
_FOLDERS = (
    "dev",
    "proc",
    "sys",
    "run",
    "tmp",
    "root",
    "home",
    "mnt",
    "opt",
    "srv",
    "var/tmp",
    "staging",
    "scratch",
)
_USERS = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
_GROUP = "root:x:0:\nnogroup:x:65534:\n"


def debian_base(suite: str | None = None) -> Path:
    """A root file system of a Debian suite (None: the machine's own), unpacked once into the cache.

    Raises:
        ProgramMissing: The machine is not of Debian's family; the hint says what to give instead.
    """
    try:
        suite = suite or debian.mirror()[1]
        folder = cache_folder("bases")
        root = folder / f"{suite}-{_FORMAT}"
        with interprocess_lock(folder / "lock"):
            if not root.is_dir():
                with temporary_folder(folder) as work:
                    debs = debian.fetch_with_dependencies(
                        _PACKAGES, work / "debs", without=_WITHOUT, suite=suite
                    )
                    _make(debs, work / "root")
                    (work / "root").rename(root)
    except debian.DebianUnavailable as error:
        raise ProgramMissing(
            f"no base for the image can be made here: {error}",
            hint="give one with --base: a folder or tar of a root file system (podman export)",
        ) from None
    return root


def _make(debs: list[Path], root: Path) -> None:
    """Do what the packages' own scripts would do, as far as an image needs it."""
    debian.unpack(debs, root)
    for name in _FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    (root / "tmp").chmod(0o1777)
    (root / "var/tmp").chmod(0o1777)
    etc = root / "etc"
    for name, text in (("passwd", _USERS), ("group", _GROUP), ("hosts", "127.0.0.1 localhost\n")):
        (etc / name).write_text(text, encoding="utf-8")
    (etc / "resolv.conf").touch()
    (etc / "localtime").unlink(missing_ok=True)
    (etc / "localtime").symlink_to("/usr/share/zoneinfo/Etc/UTC")
    for link, target in (("bin/sh", "dash"), ("usr/bin/awk", "gawk")):
        if not os.path.lexists(root / link):
            (root / link).symlink_to(target)
    certificates = sorted((root / "usr/share/ca-certificates/mozilla").glob("*.crt"))
    bundle = "".join(path.read_text(encoding="utf-8") for path in certificates)
    (etc / "ssl/certs").mkdir(parents=True, exist_ok=True)
    (etc / "ssl/certs/ca-certificates.crt").write_text(bundle, encoding="utf-8")
    for useless in (
        "usr/share/doc",
        "usr/share/man",
        "usr/share/locale",
        "usr/share/info",
        "usr/share/lintian",
    ):
        shutil.rmtree(root / useless, ignore_errors=True)


def base_digest(base: Path | None) -> str:
    """A text that distinguishes one base from another, for the cache of bundles.

    Raises:
        BuildFailed: It is a file, but no tar.
    """
    if base is None:
        root = debian_base()
        return f"{root.name} {(root / 'etc/debian_version').read_text(encoding='utf-8').strip()}"
    if base.is_file() and not tarfile.is_tarfile(base):
        raise BuildFailed(f"{base} is not a tar of a root file system", hint="podman export makes one")
    return hash_file(base) if base.is_file() else f"{base.absolute()} {_state(base)}"


def _state(folder: Path) -> str:
    """A text that changes if anything in a folder does: names, modes, sizes, times of change, targets of
    links.
    """
    digest = hashlib.sha256()
    for place, folders, files in os.walk(folder):
        folders.sort()
        for name in (*folders, *sorted(files)):
            path = os.path.join(place, name)  # noqa: PTH118 - tens of thousands of files
            status = os.lstat(path)
            told = [os.path.relpath(path, folder), status.st_mode]
            if not stat.S_ISDIR(status.st_mode):
                told += [status.st_size, status.st_mtime_ns]
            digest.update(repr(told).encode(errors="surrogateescape"))
    return digest.hexdigest()


def copy_base(base: Path | None, target: Path) -> None:
    """Make `target` a copy of the base (hard links where that is possible).

    Raises:
        BuildFailed: The base is neither a folder nor a tar.
    """
    if base is not None and base.is_file():
        try:
            with tarfile.open(base) as tar:
                if hasattr(tarfile, "tar_filter"):
                    tar.extractall(target, filter="tar")
                else:
                    tar.extractall(target)  # noqa: S202 - a base that the user names, on Pythons without filters
        except tarfile.TarError as error:
            raise BuildFailed(
                f"{base} is not a tar of a root file system: {error}", hint="podman export makes one"
            ) from None
        return
    source = debian_base() if base is None else base
    if not source.is_dir():
        raise BuildFailed(f"there is no base {source}", hint="a folder or tar of a root file system")

    def link(old: str, new: str) -> None:
        try:
            os.link(old, new, follow_symlinks=False)
        except OSError:
            shutil.copy2(old, new, follow_symlinks=False)

    shutil.copytree(source, target, symlinks=True, copy_function=link)
