"""``pixi.toml`` and ``pixi.lock`` (version 6, which every Pixi since 0.36 reads)."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wingspan.environments.importing.packages import CondaPackage, PypiPackage
from wingspan.worker import trust

__all__ = ["Contents", "lock_text", "write_workspace"]


@attrs.frozen(kw_only=True)
class Contents:
    """What the files say.

    Attributes:
        name: Of the workspace.
        subdir: The platform.
        channels: Names or addresses.
        dependencies: Conda packages that were asked for, with their bounds, or with a table of bounds and
            channel.
        conda: The conda packages.
        pypi: The wheels and projects.
        glibc: The C library that machines have at least.
        cuda: The version of CUDA that their driver has at least.
        variables: Variables that activation sets.
        origin: What it was made of: text for a comment.
    """

    name: str
    subdir: str
    channels: Sequence[str]
    dependencies: Mapping[str, str | Mapping[str, str]]
    conda: Sequence[CondaPackage]
    pypi: Sequence[PypiPackage]
    glibc: str
    cuda: str | None = None
    variables: Mapping[str, str] = attrs.field(factory=dict)
    origin: str


def write_workspace(folder: Path, contents: Contents) -> None:
    """Write both files, the lock first: a manifest without its lock is never there."""
    for name, text in (
        ("pixi.lock", lock_text(folder, contents)),
        ("pixi.toml", _manifest(folder, contents)),
    ):
        trust.write_whole(str(folder / name), text.encode(), mode=0o644)


def _manifest(folder: Path, contents: Contents) -> str:
    import tomlkit

    document = tomlkit.document()
    document.add(tomlkit.comment(f"Made by wingspan env import of {contents.origin}; import that again"))
    document.add(
        tomlkit.comment("where it has changed. From here on, Pixi can take over: pixi add, pixi lock.")
    )
    document["workspace"] = {
        "name": contents.name,
        "channels": list(contents.channels),
        "platforms": [contents.subdir],
    }
    document["system-requirements"] = {
        "libc": {"family": "glibc", "version": contents.glibc},
        **({"cuda": contents.cuda} if contents.cuda else {}),
    }
    document["dependencies"] = {
        name: wanted if isinstance(wanted, str) else _inline(wanted)
        for name, wanted in contents.dependencies.items()
    }
    if contents.pypi:
        document["pypi-dependencies"] = {one.name: _wanted(folder, one) for one in contents.pypi}
    if contents.variables:
        document["activation"] = {"env": dict(contents.variables)}
    return tomlkit.dumps(document)


def _inline(table: Mapping[str, str]) -> Any:
    import tomlkit

    inline = tomlkit.inline_table()
    inline.update(table)
    return inline


def _wanted(folder: Path, package: PypiPackage) -> Any:
    if package.editable:
        return {"path": _relative(folder, package.location), "editable": True}
    if not _is_address(package.location):
        return {"path": package.location}
    return f"=={package.version}"


def _is_address(location: str) -> bool:
    return "://" in location


def _relative(folder: Path, location: str) -> str:
    """A folder as the manifest names it: relative where it lies in the workspace or near it."""
    path = os.path.relpath(location, folder)
    return "." if path == "." else path if path.startswith("..") else f"./{path}"


def lock_text(folder: Path, contents: Contents) -> str:
    """The ``pixi.lock`` of a workspace in `folder`, as text."""
    import yaml

    listed: list[dict[str, str]] = []
    packages: list[dict[str, Any]] = []
    for conda in contents.conda:
        listed.append({"conda": conda.url})
        named = {"name": conda.name, "version": conda.version, "build": conda.build}
        subdir = conda.url.rpartition("/")[0].rpartition("/")[2]
        packages.append({"conda": conda.url, **named, "subdir": subdir, **conda.facts})
    for pypi in contents.pypi:
        location = pypi.location
        if pypi.editable:
            location = f"{_relative(folder, location).rstrip('/')}/"
        listed.append({"pypi": location})
        entry: dict[str, Any] = {"pypi": location, "name": pypi.name}
        entry |= {"version": pypi.version} if pypi.version else {}
        entry |= {"editable": True} if pypi.editable else {"sha256": pypi.sha256}
        entry |= pypi.facts
        packages.append(entry)
    environment: dict[str, Any] = {"channels": [{"url": url} for url in _addresses(contents)]}
    if contents.pypi:
        environment["indexes"] = ["https://pypi.org/simple"]
    environment["packages"] = {contents.subdir: listed}
    document = {"version": 6, "environments": {"default": environment}, "packages": packages}
    return str(yaml.safe_dump(document, sort_keys=False, allow_unicode=True, width=10_000))


def _addresses(contents: Contents) -> list[str]:
    """The channels' addresses, those of names by what the packages say."""
    known = dict.fromkeys(f"{conda.channel.rstrip('/')}/" for conda in contents.conda)
    named = {url.rstrip("/").rpartition("/")[2]: url for url in known}
    return [
        f"{channel.rstrip('/')}/"
        if _is_address(channel)
        else named.get(channel, f"https://conda.anaconda.org/{channel}/")
        for channel in contents.channels
    ]
