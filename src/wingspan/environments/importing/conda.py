"""Conda packages: solved by py-rattler, or as a conda-lock file names them."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wingspan.environments.errors import EnvironmentError_, ManifestInvalid
from wingspan.environments.importing.packages import CondaPackage, PypiPackage
from wingspan.environments.importing.pypi import no_network
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["FACTS", "CondaFile", "channel_of", "read_conda_file", "read_conda_lock", "solved"]

#: What a lock keeps of a package.
FACTS = (
    "build_number",
    "noarch",
    "sha256",
    "md5",
    "depends",
    "constrains",
    "size",
    "license",
    "license_family",
    "timestamp",
    "track_features",
)


@attrs.frozen
class CondaFile:
    """An ``environment.yml``.

    Attributes:
        name: Of the environment.
        channels: In their order.
        specs: Of conda packages, as ``name version build``.
        requirements: Of PyPI packages.
        variables: Variables that activation sets.
    """

    name: str
    channels: tuple[str, ...]
    specs: tuple[str, ...]
    requirements: tuple[str, ...]
    variables: Mapping[str, str]


def _document(path: Path) -> Any:
    import yaml

    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        first = str(error).strip().splitlines()[0]
        raise ManifestInvalid(f"{path} cannot be read: {first}", hint="is it YAML?") from None


def read_conda_file(path: Path) -> CondaFile:
    """Read an ``environment.yml`` as conda does.

    Raises:
        ManifestInvalid: It is no such file.
    """
    document = _document(path)
    listed = document.get("dependencies") if isinstance(document, dict) else None
    if not isinstance(listed, list):
        raise ManifestInvalid(f"{path} has no list of dependencies", hint="conda env export writes one")
    specs, requirements = [], []
    for entry in listed:
        if isinstance(entry, str):
            specs.append(_spec(entry))
        elif isinstance(entry, dict) and set(entry) == {"pip"} and isinstance(entry["pip"], list):
            requirements += [str(one) for one in entry["pip"]]
        else:
            raise ManifestInvalid(f"{path}: {entry!r} is no dependency")
    channels, variables = document.get("channels") or ["conda-forge"], document.get("variables") or {}
    if not isinstance(channels, list) or not isinstance(variables, dict):
        raise ManifestInvalid(
            f"{path}: channels are a list, and variables a table", hint="conda env export writes one"
        )
    left_out = [one for one in requirements if one.lstrip().startswith("-")]
    if left_out:
        raise ManifestInvalid(
            f"{path}: pip's option {left_out[0]!r} is not understood",
            hint="give requirements themselves; uv's own settings name other indexes",
        )
    return CondaFile(
        name=str(document.get("name") or path.parent.name),
        channels=tuple(str(one) for one in channels if one != "nodefaults"),
        specs=tuple(specs),
        requirements=tuple(requirements),
        variables={str(key): str(value) for key, value in variables.items()},
    )


def _spec(text: str) -> str:
    """A dependency in conda's form ``name=version=build``, as ``name version build``."""
    text = text.strip().rpartition("::")[2]
    match = re.fullmatch(r"([\w.-]+)=([^=<>!~,|\s]+)(?:=([^=\s]+))?", text)
    if match is None:  # name, name==1.0, name>=1.0,<2
        match = re.fullmatch(r"([\w.-]+)\s*(.*)", text)
        if match is None:
            raise ManifestInvalid(f"{text!r} is no dependency")
        return " ".join(part for part in match.groups() if part)
    name, version, build = match.groups()
    if build:
        return f"{name} =={version} {build}"
    return f"{name} {version if version.endswith('*') else version + '.*'}"


def solved(
    channels: Sequence[str],
    specs: Sequence[str],
    *,
    subdir: str,
    virtual: Iterable[str],
    progress: Progress = NO_PROGRESS,
) -> tuple[CondaPackage, ...]:
    """Choose conda packages.

    Args:
        channels: Names (``conda-forge``) or addresses.
        specs: What is wanted.
        subdir: For which machines.
        virtual: Virtual packages that those machines have, as ``__glibc=2.28``.
        progress: Told that it is at work.

    Raises:
        EnvironmentError_: There is no solution, or a channel cannot be reached.
    """
    from wingspan.environments.bundles.errors import BuildFailed
    from wingspan.environments.bundles.packages.fetch import run_rattler

    request: dict[str, object] = {"operation": "solve", "channels": list(channels), "specs": list(specs)}
    request |= {"subdir": subdir, "virtual": list(virtual)}
    task = progress.start("Solving", None)
    try:
        found = [_package(event["record"]) for event in run_rattler(request)]  # type: ignore[arg-type]
    except BuildFailed as error:
        raise EnvironmentError_(
            f"no conda packages were found for {', '.join(specs)} in {', '.join(channels)}: {error.message}",
            hint="see whether this machine reaches the channel; --channel names others, also by their addresses"
            if no_network(error.message)
            else "--channel names other channels",
        ) from None
    finally:
        progress.finish(task)
    return tuple(sorted(found, key=lambda package: package.name))


def _package(record: Mapping[str, Any]) -> CondaPackage:
    facts = {key: record[key] for key in FACTS if record.get(key)}
    return CondaPackage(
        str(record["name"]),
        str(record["version"]),
        str(record["build"]),
        str(record["url"]),
        str(record["channel"]),
        facts,
    )


def channel_of(url: str) -> str:
    """The address of the channel that a package lies in.

    >>> channel_of("https://conda.anaconda.org/conda-forge/linux-64/python-3.12.1-0.conda")
    'https://conda.anaconda.org/conda-forge'
    """
    return url.rsplit("/", 2)[0]


def read_conda_lock(path: Path, subdir: str) -> tuple[tuple[CondaPackage, ...], tuple[PypiPackage, ...]]:
    """The packages that a ``conda-lock.yml`` has for a platform.

    Raises:
        ManifestInvalid: It is no such file, or has nothing for that platform.
    """
    document = _document(path)
    entries = document.get("package") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ManifestInvalid(
            f"{path} is no lock of conda-lock", hint="conda-lock -f environment.yml writes one"
        )
    conda, pypi = [], []
    for entry in entries:
        try:
            if entry["platform"] != subdir or entry.get("category", "main") != "main":
                continue
            name, version, url = str(entry["name"]), str(entry["version"]), str(entry["url"])
            hashes = dict(entry["hash"])
            needed = dict(entry.get("dependencies") or {})
        except (AttributeError, KeyError, TypeError, ValueError):
            raise ManifestInvalid(
                f"{path}: a package lacks its name, version, platform, url or hash",
                hint="conda-lock writes all of them: make the lock anew",
            ) from None
        if entry.get("manager") == "pip":
            pypi.append(PypiPackage(name, version, url, hashes.get("sha256")))
            continue
        file = url.rpartition("/")[2]
        build = re.sub(r"\.(conda|tar\.bz2)$", "", file).rpartition("-")[2]
        depends = [f"{one} {bounds}".strip() for one, bounds in needed.items()]
        conda.append(CondaPackage(name, version, build, url, channel_of(url), {**hashes, "depends": depends}))
    if not conda:
        known = sorted({str(entry["platform"]) for entry in entries}) or ["none at all"]
        raise ManifestInvalid(
            f"{path} has no packages for {subdir}", hint=f"it has {', '.join(known)}; --platform names one"
        )
    return tuple(conda), tuple(pypi)
