"""The `pack` kind: pixi-pack's format, version 1, written and read.

::

    channel/<subdir>/<package>      every conda package, and repodata.json with the records of the lock
    pypi/<wheel>
    environment.yml                 for those who have conda or micromamba only
    pixi-pack.json                  format version and platform
    sha256sums                      ours: of every other file, for `sha256sum -c`; pixi-unpack ignores it
    pixi.lock, wingspan.json        ours: the lock, and the bundle's manifest
    activation/                     ours: the workspace's part of the activation

A pack is one plain tar, or a shell script with the tar in it as base64. The layout is pixi-pack's, but for
line breaks in the base64: with pixi-pack's one endless line ``sed`` takes 1 GB of memory for a 413 MB
archive, with line breaks 13 MB.
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from wingspan.environments.bundles.errors import BundleDamaged, UnsafeBundle
from wingspan.environments.bundles.linked.prefix import conda_item
from wingspan.environments.bundles.manifest import Manifest
from wingspan.environments.bundles.packages.fetch import Archive
from wingspan.environments.bundles.remote import remote_program
from wingspan.environments.bundles.storage import CHUNK, hash_file
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.worker import trust

__all__ = [
    "check_member",
    "extract_pack",
    "opened_pack",
    "read_pack_manifest",
    "write_executable",
    "write_pack",
]

_END_HEADER = b"@@END_HEADER@@"
_END_ARCHIVE = b"@@END_ARCHIVE@@"
_HEAD_MARK = b"# wingspan-pack: "
#: Bytes of archive in one line of base64: a multiple of 3, so that lines join without padding.
_LINE = 3 * 76 * 1024
_MTIME = 315_532_800  # 1980-01-01: the earliest time that zip tools can store


def write_pack(
    target: Path,
    archives: list[Archive],
    manifest: Manifest,
    lock: bytes,
    *,
    activation: Mapping[str, bytes],
    progress: Progress = NO_PROGRESS,
) -> None:
    """Write the tar: sorted members, no times or owners, so the same lock gives the same bytes."""
    members: dict[str, Path | bytes] = {}
    repodata: dict[str, dict[str, Any]] = {}
    sums: dict[str, str] = {}
    for archive in archives:
        package = archive.package
        if package.kind == "conda":
            name = f"channel/{package.subdir}/{package.file_name}"
            repodata.setdefault(package.subdir, {})[package.file_name] = conda_item(archive)["record"]
        else:
            name = f"pypi/{archive.path.name}"
        members[name] = archive.path
        if package.sha256:
            sums[name] = package.sha256
    for subdir, records in repodata.items():
        document = {
            "info": {"subdir": subdir},
            "packages": {},
            "packages.conda": records,
            "repodata_version": 2,
        }
        members[f"channel/{subdir}/repodata.json"] = _json(document)
    members["environment.yml"] = _environment_yml(archives).encode()
    members["pixi-pack.json"] = json.dumps({"version": "1", "platform": manifest.platform}).encode()
    members["pixi.lock"] = lock
    members.update((f"activation/{name}", content) for name, content in activation.items())
    members["wingspan.json"] = manifest.to_json().encode()
    for name, content in members.items():
        if name not in sums:  # packages that are locked by md5 only have hundreds of megabytes too
            sums[name] = (
                hashlib.sha256(content).hexdigest() if isinstance(content, bytes) else hash_file(content)
            )
    members["sha256sums"] = "".join(f"{sums[name]}  {name}\n" for name in sorted(sums)).encode()
    task = progress.start("Writing the pack", len(members))
    with target.open("wb") as file, tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for name in sorted(_folders(members) | set(members)):
            _add(tar, name, members.get(name))
            progress.advance(task, name in members)
    progress.finish(task)


def _add(tar: tarfile.TarFile, name: str, content: Path | bytes | None) -> None:
    """Add a file, or (None) a folder."""
    member = tarfile.TarInfo(name)
    member.mtime, member.mode = _MTIME, 0o644
    if content is None:
        member.type, member.mode = tarfile.DIRTYPE, 0o755
        tar.addfile(member)
    elif isinstance(content, bytes):
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))
    else:
        member.size = content.stat().st_size
        with content.open("rb") as source:
            tar.addfile(member, source)


def _json(document: object) -> bytes:
    return json.dumps(document, sort_keys=True, indent=1).encode()


def _folders(names: Any) -> set[str]:
    return {str(parent) for name in names for parent in Path(name).parents if str(parent) != "."}


def _environment_yml(archives: list[Archive]) -> str:
    lines = ["channels:", "- ./channel", "- nodefaults", "dependencies:"]
    lines += [f"- {p.name}={p.version}={p.build}" for p in (a.package for a in archives) if p.kind == "conda"]
    wheels = [a.package for a in archives if a.package.kind == "pypi"]
    if wheels:
        lines += ["- pip:", "  - --no-index", "  - --find-links ./pypi"]
        lines += [f"  - {p.name}=={p.version}" for p in wheels]
    return "\n".join(lines) + "\n"


def write_executable(
    target: Path, pack: Path, manifest: Manifest, unpacker: bytes, *, progress: Progress = NO_PROGRESS
) -> None:
    """Write a shell script that unpacks `pack`.

    Args:
        target: The script.
        pack: The tar.
        manifest: The tar's manifest. It is written into the script's head too, where it is quick to find.
        unpacker: The program that the script runs as ``PROGRAM [options] archive.tar``: ours, or a stock
            ``pixi-unpack``.
        progress: Told of bytes.
    """
    header = remote_program("unpack_header.sh")
    task = progress.start("Writing the script", pack.stat().st_size)
    with target.open("wb") as file, pack.open("rb") as source:
        note = _HEAD_MARK + json.dumps(json.loads(manifest.to_json()), sort_keys=True).encode()
        file.write(header.rstrip(b"\n") + b"\n" + note + b"\n" + _END_HEADER + b"\n\n")
        while piece := source.read(_LINE):
            file.write(base64.b64encode(piece) + b"\n")
            progress.advance(task, len(piece))
        file.write(_END_ARCHIVE + b"\n" + base64.b64encode(unpacker))
    progress.finish(task)


class _Base64Section(io.RawIOBase):
    """The tar inside a script, decoded while it is read.

    This takes little memory, with and without line breaks.
    """

    def __init__(self, file: IO[bytes], start: int, end: int) -> None:
        super().__init__()
        self.file, self.end = file, end
        self.rest = b""
        self.ready = memoryview(b"")
        file.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self.ready:
            piece = self.file.read(min(CHUNK, self.end - self.file.tell()))
            if not piece:
                if self.rest:
                    raise BundleDamaged(
                        "the archive in the script ends in the middle", hint="fetch or build it again"
                    )
                return 0
            text = self.rest + piece.translate(None, b"\r\n")
            whole = len(text) // 4 * 4
            try:
                self.ready = memoryview(base64.b64decode(text[:whole]))
            except ValueError:
                raise BundleDamaged(
                    "the archive in the script is not base64", hint="fetch or build it again"
                ) from None
            self.rest = text[whole:]
        count = min(len(buffer), len(self.ready))
        buffer[:count], self.ready = self.ready[:count], self.ready[count:]
        return count


@contextmanager
def opened_pack(path: Path) -> Iterator[tarfile.TarFile]:
    """The tar of a pack, to be read from beginning to end.

    The pack may be a script of pixi-pack's or of ours.

    Raises:
        BundleDamaged: It is cut, or is no tar.
    """
    try:
        with path.open("rb") as file:
            if file.read(2) != b"#!":
                file.seek(0)
                with tarfile.open(fileobj=file, mode="r:") as tar:
                    yield tar
                return
            start, end = _section(file, path)
            reader = io.BufferedReader(_Base64Section(file, start, end), CHUNK)
            with tarfile.open(fileobj=reader, mode="r|", bufsize=CHUNK) as tar:
                yield tar
    except (tarfile.TarError, EOFError) as error:
        raise BundleDamaged(f"{path} is damaged: {error}", hint="fetch or build it again") from None
    except BundleDamaged as error:
        raise BundleDamaged(f"{path}: {error.message}", hint=error.hint) from None


def _section(file: IO[bytes], path: Path) -> tuple[int, int]:
    """Byte offsets of the base64 of the archive in a script."""
    file.seek(0)
    head = file.read(1 << 16)
    begin = head.find(b"\n" + _END_HEADER + b"\n")
    if begin < 0:
        raise BundleDamaged(
            f"{path} is a script, but not one of pixi-pack's layout", hint="is it the right file?"
        )
    start = begin + len(_END_HEADER) + 3
    position = start
    marker = b"\n" + _END_ARCHIVE + b"\n"
    overlap = b""
    file.seek(start)
    while piece := file.read(CHUNK):
        found = (overlap + piece).find(marker)
        if found >= 0:
            return start, position - len(overlap) + found
        position += len(piece)
        overlap = (overlap + piece)[-len(marker) :]
    raise BundleDamaged(f"{path} is cut: the end of its archive is missing", hint="fetch or build it again")


def check_member(member: tarfile.TarInfo, path: Path) -> str:
    """The member's name, without a leading ``./``, if it is one that a pack may have.

    Raises:
        UnsafeBundle: It would be written outside the folder, or is a link or a device.
    """
    name = member.name[2:] if member.name.startswith("./") else member.name
    try:
        if name not in ("", ".") or not member.isdir():
            trust.check_path(name)
    except trust.BadName as error:
        raise UnsafeBundle(
            f"{path} has a member {member.name!r:.200}, which would be written outside the target folder: {error}",
            hint="do not use this file, and ask where it comes from",
        ) from None
    if not (member.isfile() or member.isdir()):
        what = f"a link to {member.linkname!r}" if member.islnk() or member.issym() else "a device"
        raise UnsafeBundle(
            f"{path} has a member {member.name!r} that is {what}; a pack has files and folders only",
            hint="do not use this file, and ask where it comes from",
        )
    return name


def extract_pack(path: Path, folder: Path, *, progress: Progress = NO_PROGRESS) -> dict[str, str]:
    """Write the files of a pack below `folder`.

    Returns:
        SHA-256 by member name, computed while they were written.
    """
    sums: dict[str, str] = {}
    task = progress.start("Unpacking", path.stat().st_size)
    with path.open("rb") as file:
        script = file.read(2) == b"#!"
    with opened_pack(path) as tar:
        if not script:  # a tar can be looked through before anything is written
            for member in tar.getmembers():
                check_member(member, path)
        for member in tar:
            name = check_member(member, path)
            if member.isdir() or name in ("", "."):
                continue
            source = tar.extractfile(member)
            assert source is not None
            target = folder / name
            target.parent.mkdir(parents=True, exist_ok=True)
            digest = hashlib.sha256()
            written = 0
            with target.open("wb") as file:
                while piece := source.read(CHUNK):
                    file.write(piece)
                    digest.update(piece)
                    written += len(piece)
                    progress.advance(task, len(piece))
            if written != member.size:
                raise BundleDamaged(f"{path} is cut in {name}", hint="fetch or build it again")
            sums[name] = digest.hexdigest()
    progress.finish(task)
    return sums


def read_pack_manifest(path: Path) -> tuple[bytes | None, dict[str, Any]]:
    """(our manifest or None, content of ``pixi-pack.json``) of a pack.

    Raises:
        BundleDamaged: It is no pack.
    """
    with path.open("rb") as file:
        head = file.read(1 << 16)
    if head.startswith(b"#!") and _HEAD_MARK in head:
        start = head.index(_HEAD_MARK) + len(_HEAD_MARK)
        return head[start : head.find(b"\n", start)], {"version": "1"}
    ours: bytes | None = None
    pixi_pack: dict[str, Any] | None = None
    with opened_pack(path) as tar:
        for member in tar:
            name = check_member(member, path)
            if name in ("wingspan.json", "pixi-pack.json") and member.isfile():
                source = tar.extractfile(member)
                assert source is not None
                content = source.read(1 << 20)
                if name == "wingspan.json":
                    ours = content
                else:
                    try:
                        pixi_pack = json.loads(content)
                    except (ValueError, RecursionError):
                        pixi_pack = None
    if not isinstance(pixi_pack, dict):
        raise BundleDamaged(
            f"{path} is not a pack: it has no readable pixi-pack.json", hint="is it the right file?"
        )
    return ours, pixi_pack
