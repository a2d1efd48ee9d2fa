"""Open a bundle file: find out its kind, read its manifest, and check that it is whole."""

from __future__ import annotations

import hashlib
import json
import struct
import tarfile
from pathlib import Path
from typing import Any, BinaryIO

import attrs

from wingspan.environments.bundles.errors import BundleDamaged, BundleNotFound
from wingspan.environments.bundles.kinds.pack import check_member, opened_pack, read_pack_manifest
from wingspan.environments.bundles.kinds.squashfs import read_trailer
from wingspan.environments.bundles.manifest import INSTALL_MARK, Bundle, Kind, Manifest
from wingspan.environments.bundles.storage import CHUNK, hash_file
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.stores.errors import StoreError
from wingspan.stores.names import SIDECAR_SUFFIX, ContentName, read_sidecar

__all__ = ["check_file", "check_pack_sums", "detect_kind", "listed_packages", "open_bundle", "verify_bundle"]

#: The limit (bytes) for texts of a bundle or package that are read into memory. No description is larger.
MOST_TEXT = 1 << 28


def detect_kind(path: Path) -> Kind:
    """The kind of a bundle, by its content.

    Raises:
        BundleNotFound: No such file.
        BundleDamaged: It is of no known kind.
    """
    try:
        with path.open("rb") as file:
            head = file.read(1024)
            if head[:4] == b"hsqs":
                return "squashfs"
            if head[32:41] == b"SIF_MAGIC":
                return "sif"
            if head[:2] == b"#!":
                return "install" if INSTALL_MARK in head else "pack"
            kind = _kind_of_archive(file) if head[257:262] == b"ustar" else None
            if kind is not None:
                return kind
    except (FileNotFoundError, IsADirectoryError):
        raise BundleNotFound(f"there is no bundle {path}", hint="build one: wingspan env bundle") from None
    except tarfile.TarError:
        pass
    raise BundleDamaged(
        f"{path} is not a bundle, or its beginning is damaged",
        hint="a bundle is a squashfs or SIF image, a pack, an OCI archive, or an install script",
    )


def _kind_of_archive(file: BinaryIO) -> Kind | None:
    """The kind of a bundle that is a tar, by the first member that tells it."""
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if name in ("oci-layout", "manifest.json", "index.json"):
                return "oci"
            if name in ("channel", "pixi-pack.json", "environment.yml"):
                return "pack"
    return None


def _manifest(path: Path, kind: Kind) -> Manifest | None:
    text: bytes | None
    if kind == "pack":
        text, _ = read_pack_manifest(path)
        return Manifest.from_json(text, path) if text is not None else None  # pixi-pack made it
    if kind in ("squashfs", "sif"):
        text = read_trailer(path)
    elif kind == "oci":
        text = _oci_manifest(path)
    else:
        with path.open("rb") as file:
            _, _, behind = file.read(1 << 20).partition(INSTALL_MARK)
        line, end, _ = behind.partition(b"\n")
        text = line if end else None
    if text is None:
        raise BundleDamaged(
            f"{path} is cut, or Wingspan did not make it: it has no description of itself",
            hint="fetch or build it again",
        )
    return Manifest.from_json(text, path)


def _oci_manifest(path: Path) -> bytes | None:
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                if member.name == "wingspan.json" and (source := tar.extractfile(member)) is not None:
                    if member.size > MOST_TEXT:
                        raise BundleDamaged(
                            f"{path}: its description has {member.size:,} bytes", hint="is it the right file?"
                        )
                    return source.read()
    except (tarfile.TarError, EOFError) as error:
        raise BundleDamaged(f"{path} is damaged: {error}", hint="fetch or build it again") from None
    return None


def _claimed(path: Path) -> str | None:
    """The digest in the ``.sha256`` file beside the bundle."""
    try:
        return read_sidecar(path.with_name(path.name + SIDECAR_SUFFIX).read_bytes())
    except OSError:
        return None


def open_bundle(path: str | Path) -> Bundle:
    """Read the manifest of a bundle. Its content is not checked (`verify_bundle` does that).

    If there is no ``.sha256`` beside it, the digest is computed and compared with the digits in the name.

    Raises:
        BundleNotFound: No such file.
        BundleDamaged: It is no bundle, its manifest cannot be read, or its name has another digest.
    """
    path = Path(path).absolute()
    kind = detect_kind(path)
    manifest = _manifest(path, kind)
    try:
        content_name = ContentName.parse(path.name)
    except StoreError:
        content_name = None
    sha256 = _claimed(path)
    if sha256 is None:
        sha256 = hash_file(path)
        if content_name is not None and not sha256.startswith(content_name.short):
            raise _altered(path, content_name.short + "…", sha256)
    return Bundle(
        path=path,
        kind=kind,
        name=content_name.name if content_name is not None else path.stem,
        sha256=sha256,
        size=path.stat().st_size,
        environment_digest=manifest.environment_digest if manifest else None,
        prefix=manifest.prefix if manifest else None,
        manifest=manifest,
    )


def verify_bundle(bundle: Bundle | str | Path, *, progress: Progress = NO_PROGRESS) -> Bundle:
    """Check every byte of a bundle.

    The file is compared with the digest beside it and with its own name; in a pack, also every package with
    the digest that the lock had for it.

    Returns:
        The bundle.

    Raises:
        BundleNotFound, BundleDamaged: see there. A pack's damaged package is named.
    """
    path = bundle.path if isinstance(bundle, Bundle) else Path(bundle).absolute()
    opened = check_file(path, bundle.sha256 if isinstance(bundle, Bundle) else None, progress=progress)
    if opened.kind == "pack":
        _verify_pack(path)
    return opened


def check_file(path: Path, sha256: str | None, *, progress: Progress = NO_PROGRESS) -> Bundle:
    """Check a bundle's file against `sha256`, the digest beside it, and the digits in its name, as far as
    they exist.

    Raises:
        BundleNotFound, BundleDamaged: see `verify_bundle`.
    """
    if not path.is_file():
        raise BundleNotFound(f"there is no bundle {path}", hint="build one: wingspan env bundle")
    task = progress.start(f"Checking {path.name}", path.stat().st_size)
    got = hash_file(path, progress=lambda count: progress.advance(task, count))
    progress.finish(task)
    wanted = [digest for digest in (sha256, _claimed(path)) if digest]
    for digest in wanted:
        if digest != got:
            raise _altered(path, digest, got)
    try:
        short = ContentName.parse(path.name).short
    except StoreError:
        short = None
    if short is not None and got[:8] != short:
        raise _altered(path, short + "…", got)
    opened = attrs.evolve(open_bundle(path), sha256=got)
    if opened.kind != "pack" and not wanted and short is None:  # packs contain the digests of their members
        raise BundleDamaged(
            f"nothing says what {path} should be: there is no {path.name}.sha256, and no digest in its name",
            hint=f"its SHA-256 is {got}; compare that with what its author says",
        )
    return opened


def _altered(path: Path, wanted: str, got: str) -> BundleDamaged:
    return BundleDamaged(
        f"{path} is damaged or another file: its SHA-256 is {got}, not {wanted}",
        hint="fetch or build it again",
    )


def _verify_pack(path: Path) -> None:
    """Hash the members without unpacking, and compare them with the records and with ``sha256sums``."""
    sums: dict[str, str] = {}
    md5: dict[str, str] = {}
    texts: dict[str, bytes] = {}
    with opened_pack(path) as tar:
        for member in tar:
            name = check_member(member, path)
            source = tar.extractfile(member) if member.isfile() else None
            if source is None:
                continue
            sha, old = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
            keep = name == "sha256sums" or name.endswith("/repodata.json")
            parts = []
            while piece := source.read(CHUNK):
                sha.update(piece)
                old.update(piece)
                if keep and member.size > MOST_TEXT:
                    raise BundleDamaged(
                        f"{path}: {name} has {member.size:,} bytes", hint="is it the right file?"
                    )
                if keep:
                    parts.append(piece)
            sums[name], md5[name] = sha.hexdigest(), old.hexdigest()
            if keep:
                texts[name] = b"".join(parts)
    check_pack_sums(path, sums, texts, md5)


def check_pack_sums(path: Path, sums: dict[str, str], texts: dict[str, bytes], md5: dict[str, str]) -> None:
    """Compare the digests of a pack's members with its records and its ``sha256sums``.

    Raises:
        BundleDamaged: A member is missing or differs; the message names it.
    """
    for name, text in texts.items():
        if name == "sha256sums":
            for line in text.decode(errors="replace").splitlines():
                digest, _, member = line.partition("  ")
                if sums.get(member) != digest:
                    raise _member(path, member, digest, sums.get(member))
            continue
        try:
            records = listed_packages(text)
        except ValueError:
            raise BundleDamaged(f"{path}: {name} cannot be read", hint="fetch or build it again") from None
        for file_name, record in records.items():
            member = f"{name.rsplit('/', 1)[0]}/{file_name}"
            for algorithm, found in (("sha256", sums), ("md5", md5)):
                if record.get(algorithm):
                    if found.get(member) != record[algorithm]:
                        raise _member(path, member, record[algorithm], found.get(member))
                    break


def listed_packages(text: bytes) -> dict[str, dict[str, Any]]:
    """The records of packages by file name in a ``repodata.json``.

    Raises:
        ValueError: It is none.
    """
    try:
        document = json.loads(text)
        found = {**document.get("packages", {}), **document.get("packages.conda", {})}
    except (AttributeError, TypeError, RecursionError):
        raise ValueError("it lists no packages") from None
    if not all(isinstance(record, dict) for record in found.values()):
        raise ValueError("its list has entries that are not packages")
    return found


def _member(path: Path, member: str, wanted: str, got: str | None) -> BundleDamaged:
    what = "is missing" if got is None else f"is not what it should be (digest {got}, not {wanted})"
    return BundleDamaged(f"{path}: {member} {what}", hint="fetch or build it again")


def sif_partition(path: Path) -> int:
    """Byte offset of the system partition in a SIF image (the format's descriptors:
    github.com/apptainer/sif).

    Raises:
        BundleDamaged: There is none.
    """
    with path.open("rb") as file:
        head = file.read(128).ljust(128, b"\0")
        # header: launch[32] magic[10] version[3] arch[3] id[16] created mtime free total descr_off ...
        (_, _, _, total, offset) = struct.unpack("<qqqqq", head[64:104])
        file.seek(offset)
        for _ in range(min(total, 64)):
            descriptor = file.read(585)
            if len(descriptor) == 585 and struct.unpack("<i", descriptor[:4])[0] == 0x4004 and descriptor[4]:
                start: int = struct.unpack("<q", descriptor[17:25])[0]
                return start
    raise BundleDamaged(f"{path} has no partition", hint="fetch or build it again")
