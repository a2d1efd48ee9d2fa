"""Put an environment together from the shares of packages that were installed before, without installing them
again.

After an installation each package's *share* is written down: names and modes of its files (whose content
`blobs` has), its links, and the small files that an installer wrote for it. An environment all of whose
packages have shares is their union, if no two of them want the same name; else it is installed. Both ways
give the same bytes.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import importlib.metadata
import json
import stat
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wingspan.environments.bundles.kinds.squashfs_format import read_tree
from wingspan.environments.bundles.linked.claims import CLOBBERS, Claim, compiled, origin_of
from wingspan.environments.bundles.packages.fetch import Archive
from wingspan.environments.bundles.storage import cache_folder, replacing

__all__ = ["Composition", "compose", "keep_shares", "unknown_packages"]

#: A number that is raised when shares may differ. 1: also where a conda package had given way to another; 2:
#: with modes that somebody gave to extracted files; 3: with byte code of more tests.
_FORMAT = "4"
_HISTORY = "conda-meta/history"


@attrs.frozen
class Composition:
    """An environment of which nearly all files are in blobs.

    Attributes:
        files: (mode, size, origin) of files by name.
        links: Targets of symbolic links by name.
        size: Bytes of all files of the environment, links among them.
        count: Their number.
    """

    files: dict[str, tuple[int, int, str]]
    links: dict[str, str]
    size: int
    count: int


def compose(archives: Sequence[Archive], folder: Path, *, prefix: str) -> Composition | None:
    """Write the files of an environment that are in no blob into `folder`, and return the others' facts.

    None means that the environment must be installed.

    Args:
        archives: Checked packages of the environment.
        folder: Where the files go; made.
        prefix: Where the environment will be on the worker.
    """
    shares = []
    for archive, key in zip(archives, _keys(archives, prefix), strict=True):
        share = _load(key)
        if share is None:
            return None
        shares.append((share, origin_of(archive.package, _python(archives), prefix)))
    files: dict[str, tuple[int, int, str]] = {}
    links: dict[str, str] = {}
    written: dict[str, tuple[int, bytes]] = {_HISTORY: (0o644, b"")}
    count = 1
    for share, origin in shares:
        files.update((name, (mode, size, origin)) for name, mode, size in share["files"])
        links.update(share["links"])
        written.update((name, (mode, base64.b64decode(text))) for name, mode, text in share["written"])
        count += len(share["files"]) + len(share["links"]) + len(share["written"])
    names = [*files, *links, *written]
    unique = set(names)
    if len(names) != count or len(unique) != count or unique & _folders(unique):
        return None  # only the installers decide which package's file wins
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    for name in sorted(_folders(set(written))):
        (folder / name).mkdir(exist_ok=True)
        (folder / name).chmod(0o755)
    for name, (mode, content) in written.items():
        (folder / name).write_bytes(content)
        (folder / name).chmod(mode)
    size = sum(entry[1] for entry in files.values())
    size += sum(len(target.encode(errors="surrogateescape")) for target in links.values())
    size += sum(len(content) for _, content in written.values())
    return Composition(files, links, size, count)


def keep_shares(
    archives: Sequence[Archive],
    claims: Sequence[Claim],
    folder: Path,
    *,
    prefix: str,
    origins: dict[str, str],
) -> None:
    """Write down what each package put into the environment in `folder`.

    Nothing is written if that is unclear.

    Args:
        archives: The packages.
        claims: The files that they claim in their own lists.
        folder: The environment, without what Wingspan adds.
        prefix: Where it will be on the worker.
        origins: The origins, from `origins_of`.
    """
    owners = _owners(claims)
    shares = None if owners is None else _shares(len(claims), owners, folder, origins)
    keys = dict(zip((a.package for a in archives), _keys(archives, prefix), strict=True))
    if shares is None or len(claims) != len(keys):
        return
    kept = cache_folder("shares")
    for claim, share in zip(claims, shares, strict=True):
        key = keys[claim.package]
        if _load(key) is None:
            text = json.dumps(share, separators=(",", ":")).encode()
            with replacing(kept / key, sync=False) as file:
                file.write(hashlib.sha256(text).hexdigest().encode() + b"\n" + text)


def unknown_packages(archives: Sequence[Archive], prefix: str) -> list[Archive]:
    """The packages whose shares are not written down.

    Args:
        archives: Checked packages of an environment.
        prefix: Where it will be on the worker.
    """
    keys = zip(archives, _keys(archives, prefix), strict=True)
    return [archive for archive, key in keys if _load(key) is None]


def _owners(claims: Sequence[Claim]) -> dict[str, int] | None:
    """The number of the claim for each name; None if two packages claim the same, or did."""
    owners: dict[str, int] = {}
    for number, claim in enumerate(claims):
        for name in claim.files:
            if owners.setdefault(name, number) != number or name.startswith(f"{CLOBBERS}/"):
                return None
            if name.endswith(".py"):
                owners.setdefault(compiled(name), number)
        if claim.record is not None:
            owners[claim.record] = number
    return owners


def _shares(
    count: int, owners: Mapping[str, int], folder: Path, origins: Mapping[str, str]
) -> list[dict[str, Any]] | None:
    """The share of each claim; None if there is a file that nobody claims."""
    shares: list[dict[str, Any]] = [{"files": [], "links": {}, "written": []} for _ in range(count)]
    found, folders = set(), set()
    for node in read_tree(folder).below():
        if stat.S_ISDIR(node.mode):
            folders.add(node.path)
            continue
        found.add(node.path)
        if node.path == _HISTORY:
            continue
        owner = owners.get(node.path)
        if owner is None:
            return None
        mode = stat.S_IMODE(node.mode)
        if stat.S_ISLNK(node.mode):
            shares[owner]["links"][node.path] = node.target
        elif not stat.S_ISREG(node.mode):
            return None
        elif node.path in origins:
            shares[owner]["files"].append([node.path, mode, node.size])
        else:
            content = base64.b64encode((folder / node.path).read_bytes()).decode()
            shares[owner]["written"].append([node.path, mode, content])
    return shares if folders == _folders(found) else None


def _load(key: str) -> dict[str, Any] | None:
    try:
        digest, _, text = (cache_folder("shares") / key).read_bytes().partition(b"\n")
    except OSError:
        return None
    if hashlib.sha256(text).hexdigest().encode() != digest:
        return None  # installing a package writes it anew
    share: dict[str, Any] = json.loads(text)
    return share


def _keys(archives: Sequence[Archive], prefix: str) -> list[str]:
    """A name for each package's share, derived from everything that decides its content."""
    installers = [_version(name) for name in ("py-rattler", "uv")]
    python = _python(archives)
    keys = []
    for archive in archives:
        package = archive.package
        record = package.record
        # conda-meta repeats the lock's record of a package
        said = [record.to_json(), record.url, record.channel] if record is not None else None
        parts = [_FORMAT, origin_of(package, python, prefix), installers, said]
        keys.append(hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest())
    return keys


def _version(name: str) -> str | None:
    with contextlib.suppress(importlib.metadata.PackageNotFoundError):  # a uv of the system
        return importlib.metadata.version(name)
    return None


def _python(archives: Sequence[Archive]) -> str:
    return next((a.package.digest or "" for a in archives if a.package.name == "python"), "")


def _folders(names: set[str]) -> set[str]:
    """The folders of these names, and all folders above them."""
    found: set[str] = set()
    for name in names:
        folder = name.rpartition("/")[0]
        while folder and folder not in found:
            found.add(folder)
            folder = folder.rpartition("/")[0]
    return found
