"""Conda packages: solved by py-rattler, or as a conda-lock file names them."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import attrs

from wingspan._urls import without_secrets
from wingspan.environments.bundles.packages.foreign_names import check_names
from wingspan.environments.errors import EnvironmentError_, ManifestInvalid
from wingspan.environments.importing.packages import CondaPackage, PypiPackage
from wingspan.environments.importing.pypi import no_network
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["CondaFile", "channel_of", "facts_of", "name_of", "read_conda_file", "read_conda_lock", "solved"]

#: What a lock keeps of a package.
_FACTS = (
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
    "python_site_packages_path",
)


@attrs.frozen
class CondaFile:
    """An ``environment.yml``.

    Attributes:
        name: Of the environment.
        channels: In their order, and behind them those that only dependencies name.
        specs: Of conda packages, as ``name version build``, with the channel before it (``nvidia::cuda``)
            where one is named.
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
    except RecursionError:
        raise ManifestInvalid(
            f"{path} cannot be read: its lists and tables lie too deep in each other",
            hint="is it the right file?",
        ) from None


def _text(path: Path, what: str, value: Any) -> str:
    """A name, a version or an address that a file gives; numbers are taken as they are written in Python.

    Raises:
        ManifestInvalid: It is a list, a table or nothing, or it has characters that no such text has.
    """
    if isinstance(value, (str, int, float)) and str(value).isprintable():
        return str(value)
    raise ManifestInvalid(
        f"{path}: {what} is {reprlib.repr(value):.200}, which is no plain text",
        hint="correct it in that file",
    )


def _variable(path: Path, key: Any, value: Any) -> str:
    """The value of a variable: it may have several lines, and may be empty."""
    if value is None or isinstance(value, str):
        for line in re.split(r"[\n\t]", value or ""):
            _text(path, f"the variable {key}", line)
        return value or ""
    return _text(path, f"the variable {key}", value)


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
            specs.append(_spec(path, entry))
        elif isinstance(entry, dict) and set(entry) == {"pip"} and isinstance(entry["pip"], list):
            requirements += [_text(path, "a requirement of pip", one) for one in entry["pip"]]
        else:
            raise ManifestInvalid(
                f"{path}: {reprlib.repr(entry):.200} is no dependency", hint="correct it in that file"
            )
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
    named = [_text(path, "a channel", one) for one in channels if one != "nodefaults"]
    asked = [spec.partition(" ")[0].rpartition("::")[0] for spec in specs if "::" in spec]
    return CondaFile(
        name=_text(path, "name", document.get("name") or path.parent.name),
        channels=tuple(dict.fromkeys((*named, *asked))),
        specs=tuple(specs),
        requirements=tuple(requirements),
        variables={
            _text(path, "a variable's name", key): _variable(path, key, value)
            for key, value in variables.items()
        },
    )


def _spec(path: Path, text: str) -> str:
    """A dependency in conda's form ``channel::name=version=build``, as ``channel::name version build``.

    Raises:
        ManifestInvalid: It is no such dependency, or it names what a Pixi manifest has in another place: a
            build's number, digest or address.
    """
    from rattler import MatchSpec
    from rattler.exceptions import InvalidMatchSpecError

    channel, colons, rest = text.strip().rpartition("::")
    try:
        spec = MatchSpec(rest, strict=False)
    except InvalidMatchSpecError as error:
        raise ManifestInvalid(
            f"{path}: {text!r:.200} is no dependency: {error!s:.200}", hint="correct it in that file"
        ) from None
    written = str(spec)
    if spec.name is None or "[" in written or _SUBDIR.search(channel) or bool(colons) != bool(channel):
        raise ManifestInvalid(
            f"{path}: of the dependency {text!r:.200} more is asked than its channel, version and build",
            hint="write it as channel::name=version=build",
        )
    return channel + colons + written


#: The end of a channel's name that also names a platform.
_SUBDIR = re.compile(r"/(noarch|(linux|osx|win)-[a-z0-9]+)/?$|[\s\"\[\]]")


def name_of(spec: str) -> str:
    """The package that a spec of a `CondaFile` is of.

    >>> name_of("nvidia::cuda 12.*")
    'cuda'
    """
    return spec.partition(" ")[0].rpartition("::")[2]


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

    request: dict[str, object] = {
        "operation": "solve",
        "channels": list(channels),
        "specs": [*map(_for_solver, specs)],
    }
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


def _for_solver(spec: str) -> str:
    """As py-rattler reads it: before ``::`` it would take the end of a channel's address for a platform."""
    channel, _, rest = spec.rpartition("::")
    return f'{rest}[channel="{channel}"]' if channel else rest


def _package(record: Mapping[str, Any]) -> CondaPackage:
    return CondaPackage(
        str(record["name"]),
        str(record["version"]),
        str(record["build"]),
        str(record["url"]),
        str(record["channel"]),
        facts_of(record),
    )


def facts_of(record: Mapping[str, Any]) -> dict[str, Any]:
    """What a lock keeps of a package, from a channel's record or that of an installed package.

    >>> facts_of({"name": "mkl", "size": 1, "track_features": "blas_mkl blas_mkl_2"})
    {'size': 1, 'track_features': ['blas_mkl', 'blas_mkl_2']}
    """
    facts = {key: record[key] for key in _FACTS if record.get(key)}
    if isinstance(facts.get("track_features"), str):  # records have words, and locks a list
        facts["track_features"] = facts["track_features"].split()
    return facts


def channel_of(url: str) -> str:
    """The address of the channel that a package lies in.

    >>> channel_of("https://conda.anaconda.org/conda-forge/linux-64/python-3.12.1-0.conda")
    'https://conda.anaconda.org/conda-forge'
    """
    return url.rsplit("/", 2)[0]


def read_conda_lock(path: Path, subdir: str) -> tuple[tuple[CondaPackage, ...], tuple[PypiPackage, ...]]:
    """The packages that a ``conda-lock.yml`` has for a platform.

    Raises:
        ManifestInvalid: It is no such file, has nothing for that platform, or has a package that could not be
            checked or is there twice.
        UnsafePackage: A name could not be a file's.
    """
    document = _document(path)
    entries = document.get("package") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ManifestInvalid(
            f"{path} is no lock of conda-lock", hint="conda-lock -f environment.yml writes one"
        )
    conda: dict[str, CondaPackage] = {}
    pypi: dict[str, PypiPackage] = {}
    platforms = set()
    for entry in entries:
        try:
            platforms.add(_text(path, "a platform", entry["platform"]))
            if entry["platform"] != subdir or entry.get("category", "main") != "main":
                continue
            name, version, url = (
                _text(path, f"the {key} of a package", entry[key]) for key in ("name", "version", "url")
            )
            hashes, needed = dict(entry["hash"]), dict(entry.get("dependencies") or {})
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            if isinstance(error, ManifestInvalid):
                raise
            raise ManifestInvalid(
                f"{path}: a package lacks its name, version, platform, url or hash",
                hint="conda-lock writes all of them: make the lock anew",
            ) from None
        digests = _digests(path, name, hashes)
        if entry.get("manager") == "pip":
            found: PypiPackage | CondaPackage = _wheel(path, name, version, url, digests)
            packages: dict[str, Any] = pypi
        else:
            depends = [
                " ".join(_text(path, f"what {name} depends on", part) for part in pair).strip()
                for pair in needed.items()
            ]
            found = _archive(path, name, version, url, {**digests, "depends": depends})
            packages = conda
        known = packages.setdefault(name, found)
        if known != found:
            raise ManifestInvalid(
                f"{path} has two packages {name} for {subdir}: {known.version} and {found.version}",
                hint="conda-lock takes one of them: make the lock anew",
            )
    if not conda:
        raise ManifestInvalid(
            f"{path} has no packages for {subdir}",
            hint=f"it has {', '.join(sorted(platforms)) or 'none at all'}; --platform names one",
        )
    return tuple(conda.values()), tuple(pypi.values())


#: Digests that a lock may have, and their forms.
_DIGESTS = {"sha256": re.compile("[0-9a-f]{64}"), "md5": re.compile("[0-9a-f]{32}")}


def _digests(path: Path, name: str, hashes: Mapping[str, Any]) -> dict[str, str]:
    """The digests of a package that have the form of one.

    Raises:
        ManifestInvalid: There is none, or one has another form.
    """
    found = {kind: str(hashes[kind]).lower() for kind in _DIGESTS if hashes.get(kind) is not None}
    if not found or not all(_DIGESTS[kind].fullmatch(text) for kind, text in found.items()):
        raise ManifestInvalid(
            f"{path}: the package {name} has no sha256 and no md5, or it is none: it could not be checked",
            hint="conda-lock writes them: make the lock anew",
        )
    return found


def _file_name(path: Path, name: str, url: str, endings: tuple[str, ...]) -> str:
    """The file that an address leads to.

    Raises:
        ManifestInvalid: It is no address of such a file.
    """
    try:
        parts = urlsplit(url)
    except ValueError:  # what stands in brackets is no host
        parts = urlsplit("")
    file = unquote(parts.path).rpartition("/")[2]
    is_address = parts.scheme in ("https", "http", "file") and parts.path.startswith("/")
    if not is_address or not file.endswith(endings):
        raise ManifestInvalid(
            f"{path}: {without_secrets(url)!r:.200}, for the package {name}, is no address of a file that ends with "
            + " or ".join(endings),
            hint="a worker builds nothing: have a wheel of it in the lock"
            if endings == (".whl",)
            else "conda-lock writes them: make the lock anew",
        )
    return file


def _wheel(path: Path, name: str, version: str, url: str, digests: Mapping[str, str]) -> PypiPackage:
    _file_name(path, name, url, (".whl",))
    if "sha256" not in digests:
        raise ManifestInvalid(
            f"{path}: the wheel {name} has no sha256: it could not be checked",
            hint="conda-lock writes them: make the lock anew",
        )
    return PypiPackage(name, version, url, digests["sha256"])


def _archive(path: Path, name: str, version: str, url: str, facts: Mapping[str, Any]) -> CondaPackage:
    file = _file_name(path, name, url, (".conda", ".tar.bz2"))
    build = re.sub(r"\.(conda|tar\.bz2)$", "", file).rpartition("-")[2]
    check_names({"name": name, "version": version, "build": build}, file, url.rsplit("/", 2)[1])
    return CondaPackage(name, version, build, url, channel_of(url), facts)
