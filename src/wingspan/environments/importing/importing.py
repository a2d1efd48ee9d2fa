"""Make a Pixi workspace with a lock from a requirements file, an ``environment.yml`` and the like."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.environments.errors import EnvironmentError_, ManifestInvalid
from wingspan.environments.importing.conda import name_of, read_conda_file, read_conda_lock, solved
from wingspan.environments.importing.installed import active_prefix, read_installed
from wingspan.environments.importing.packages import CondaPackage, PypiPackage
from wingspan.environments.importing.pypi import GLIBC, Target, exported, resolved
from wingspan.environments.importing.source import Source, recognize
from wingspan.environments.importing.writing import Contents, write_workspace
from wingspan.environments.platforms import native_subdir
from wingspan.errors import SettingsError
from wingspan.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from packaging.specifiers import SpecifierSet

__all__ = ["Imported", "import_environment"]

#: Pythons that conda-forge has, the oldest first.
_PYTHONS = ("3.10", "3.11", "3.12", "3.13", "3.14")


@attrs.frozen
class Imported:
    """A workspace that was made.

    Attributes:
        folder: Where ``pixi.toml`` and ``pixi.lock`` are.
        conda: How many conda packages it has.
        pypi: How many wheels.
        notes: What a person should know: what was left out, and why.
    """

    folder: Path
    conda: int
    pypi: int
    notes: tuple[str, ...]


@attrs.frozen(kw_only=True)
class _Request:
    source: Source
    subdir: str
    python: str | None
    glibc: str
    channels: tuple[str, ...]
    options: tuple[str, ...]
    virtual: tuple[str, ...]
    progress: Progress

    def target(self, python: str, wanted: str | None = None) -> Target:
        """What wheels are chosen for: a release of `python` that is within the bounds `wanted`."""
        from packaging.specifiers import SpecifierSet

        return Target(self.subdir, python, self.glibc, _patches(SpecifierSet(wanted or ""), python)[0])


@attrs.define(kw_only=True)
class _Found:
    name: str
    channels: Sequence[str]
    dependencies: Mapping[str, str | Mapping[str, str]]
    conda: Sequence[CondaPackage]
    pypi: Sequence[PypiPackage] = ()
    variables: dict[str, str] = attrs.field(factory=dict)
    notes: list[str] = attrs.field(factory=list)


def import_environment(
    source: Path | None,
    folder: Path | None = None,
    *,
    python: str | None = None,
    platform: str | None = None,
    channels: Sequence[str] = (),
    glibc: str = GLIBC,
    cuda: str | None = None,
    extras: Sequence[str] = (),
    groups: Sequence[str] = (),
    overwrite: bool = False,
    progress: Progress = NO_PROGRESS,
) -> Imported:
    """Make a Pixi workspace with a lock of a requirements file, a lock of uv or conda-lock, and the like.

    Args:
        source: A ``requirements.txt``, a ``uv.lock``, an ``environment.yml``, a ``conda-lock.yml``, a script
            with its requirements (PEP 723), or a folder with one of these. None: what is installed in the
            virtual environment or the conda environment that is active.
        folder: Where ``pixi.toml`` and ``pixi.lock`` are written. By default beside the source.
        python: The minor version of Python, such as ``"3.12"``. By default the one that the source names,
            else that of this interpreter.
        platform: ``linux-64`` or ``linux-aarch64``. By default that of machines like this one.
        channels: Of conda. By default those that the source names, else ``conda-forge``.
        glibc: The version of the C library that the workers have at least.
        cuda: The version of CUDA that the driver of the workers has at least.
        extras: Of the project of a ``uv.lock``.
        groups: The same.
        overwrite: Replace an earlier import, or a workspace of another origin.
        progress: Told of long work.

    Raises:
        EnvironmentError_: The source cannot be read or resolved, or a package has no wheel.
        SettingsError: `python`, `platform`, `glibc` or `cuda` has another form.
        FileExistsError: There is a workspace, and `overwrite` is not set. (It is a `ManifestInvalid`, too.)
    """
    _check_versions(python, platform, glibc, cuda)
    subdir = platform or native_subdir()
    chosen = Source("active", active_prefix()) if source is None else recognize(source)
    target = (folder or chosen.folder).absolute()
    _refuse_to_replace(target, overwrite)
    options = [word for extra in extras for word in ("--extra", extra)]
    options += [word for group in groups for word in ("--group", group)]
    virtual = ["__unix=0", "__linux=4.18", f"__glibc={glibc}"] + ([f"__cuda={cuda}"] if cuda else [])
    if subdir == "linux-64":
        virtual.append("__archspec=1")
    request = _Request(
        source=chosen,
        subdir=subdir,
        python=python,
        glibc=glibc,
        channels=tuple(channels),
        options=tuple(options),
        virtual=tuple(virtual),
        progress=progress,
    )
    found = _IMPORTERS[chosen.kind](request)
    origin = "the active environment" if source is None else f"{chosen.path.name} ({_digest(chosen.path)})"
    target.mkdir(parents=True, exist_ok=True)
    write_workspace(
        target,
        Contents(
            name=found.name,
            subdir=subdir,
            channels=found.channels,
            dependencies=found.dependencies,
            conda=found.conda,
            pypi=found.pypi,
            glibc=glibc,
            cuda=cuda,
            variables=found.variables,
            origin=origin,
        ),
    )
    wheels = [one for one in found.pypi if not one.editable]
    return Imported(target, len(found.conda), len(wheels), tuple(found.notes))


def _check_versions(python: str | None, platform: str | None, glibc: str, cuda: str | None) -> None:
    for name, value, form, example in (
        ("python", python, r"3\.\d+", "3.12"),
        ("platform", platform, r"linux-(64|aarch64)", "linux-64 or linux-aarch64"),
        ("glibc", glibc, r"2\.\d+", "2.28"),
        ("cuda", cuda, r"\d+(\.\d+)?", "12.4"),
    ):
        if value is not None and not re.fullmatch(form, value):
            raise SettingsError(f"{name}={value!r} cannot be used", hint=f"write it like {example}")


class _Exists(ManifestInvalid, FileExistsError):
    """There is a workspace already."""


def _refuse_to_replace(folder: Path, overwrite: bool) -> None:
    there = [name for name in ("pixi.toml", "pixi.lock") if (folder / name).exists()]
    if there and not overwrite:
        raise _Exists(
            f"{folder} has a {there[0]} already", hint="--overwrite replaces it; --to names another folder"
        )


def _digest(path: Path) -> str:
    return "sha256 " + hashlib.sha256(path.read_bytes()).hexdigest()[:12]


def _python_for(request: _Request, wanted: str | None) -> str:
    """The minor version: as asked for, as the source wants it, else this interpreter's."""
    from packaging.specifiers import InvalidSpecifier, SpecifierSet

    if request.python is not None:
        return request.python
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    try:
        bounds = SpecifierSet(wanted or "")
    except InvalidSpecifier:
        raise ManifestInvalid(
            f"{request.source.path}: {wanted!r} bounds no Python", hint='write it like ">=3.10,<3.14"'
        ) from None
    suitable = [one for one in (here, *_PYTHONS) if bounds.contains(f"{one}.{_patches(bounds, one)[0]}")]
    if not suitable:
        raise EnvironmentError_(
            f"{request.source.path} wants Python {wanted}, and conda-forge's are {', '.join(_PYTHONS)}",
            hint="name one with --python",
        )
    return suitable[0]


#: More releases than any minor version has.
_MOST_PATCHES = 50


def _patches(bounds: SpecifierSet, minor: str) -> list[int]:
    """Third numbers of a minor version's releases that are within bounds; 0 where none is."""
    return [patch for patch in range(_MOST_PATCHES) if bounds.contains(f"{minor}.{patch}")] or [0]


def _with_python(
    request: _Request, python: str, packages: Sequence[PypiPackage], name: str, wanted: str | None = None
) -> _Found:
    """An environment whose Python is conda's, within the bounds `wanted`, and all else from PyPI."""
    from packaging.specifiers import SpecifierSet

    channels = request.channels or ("conda-forge",)
    spec = f"{python}.*"
    if wanted and request.python is None and len(_patches(SpecifierSet(wanted), python)) < _MOST_PATCHES:
        spec += "," + wanted.replace(" ", "").replace(f"=={spec}", spec)  # conda knows no ==3.11.*
    conda = solved(
        channels,
        [f"python {spec}"],
        subdir=request.subdir,
        virtual=request.virtual,
        progress=request.progress,
    )
    return _Found(name=name, channels=channels, dependencies={"python": spec}, conda=conda, pypi=packages)


def _requirements(request: _Request) -> _Found:
    python = _python_for(request, None)
    packages = resolved(request.source.path, request.target(python))
    return _with_python(request, python, packages, request.source.path.parent.name)


def _uv_lock(request: _Request) -> _Found:
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    path = request.source.path
    try:
        document = tomlkit.parse(path.read_text(encoding="utf-8")).unwrap()
    except (OSError, UnicodeDecodeError, TOMLKitError) as error:
        raise ManifestInvalid(f"{path} cannot be read: {error}", hint="uv lock writes it") from None
    wanted = document.get("requires-python")
    python = _python_for(request, wanted)
    target = request.target(python, wanted)
    packages = exported(request.source.path, target, script=False, options=request.options)
    return _with_python(request, python, packages, request.source.path.parent.name, wanted)


def _script(request: _Request) -> _Found:
    path = request.source.path
    block = _script_block(path)
    wanted = None if block.get("requires-python") is None else str(block["requires-python"])
    python = _python_for(request, wanted)
    target = request.target(python, wanted)
    lock = Path(f"{path}.lock")  # uv lock --script writes it beside the script
    if not lock.is_file():
        return _with_python(request, python, resolved(path, target), path.stem, wanted)
    _check_script_lock(path, block, lock)
    return _with_python(request, python, exported(path, target, script=True), path.stem, wanted)


def _script_block(path: Path) -> dict[str, Any]:
    """The block of a script that names its requirements (PEP 723); empty where there is none."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    lines: list[str] = []
    inside = False
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        if inside and line.rstrip() == "# ///":
            break
        if inside:
            lines.append(line.removeprefix("#").removeprefix(" "))
        inside = inside or line.rstrip() == "# /// script"
    try:
        return tomlkit.parse("\n".join(lines)).unwrap()
    except TOMLKitError as error:
        raise ManifestInvalid(
            f"{path}: the block at its top is no TOML: {error}",
            hint="it is inline script metadata, as uv writes it: uv add --script",
        ) from None


def _check_script_lock(path: Path, block: Mapping[str, Any], lock: Path) -> None:
    """See that the lock of a script is of the requirements that the script has now: nobody else asks, since
    uv is told to take the lock as it is.

    Raises:
        ManifestInvalid: It is of others, or cannot be read.
    """
    import tomlkit
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import SpecifierSet
    from packaging.utils import canonicalize_name
    from tomlkit.exceptions import TOMLKitError

    hint = f"uv lock --script {path.name}"
    try:
        wanted = {
            (canonicalize_name(one.name), one.specifier, frozenset(one.extras))
            for one in map(Requirement, map(str, block.get("dependencies") or ()))
        }
        manifest = tomlkit.parse(lock.read_text(encoding="utf-8")).unwrap().get("manifest", {})
        locked = {
            (
                canonicalize_name(one["name"]),
                SpecifierSet(one.get("specifier", "")),
                frozenset(one.get("extras", ())),
            )
            for one in manifest.get("requirements", ())
        }
    except (TOMLKitError, InvalidRequirement, ValueError, TypeError, KeyError, AttributeError) as error:
        raise ManifestInvalid(f"{lock} cannot be compared with {path.name}: {error}", hint=hint) from None
    if wanted != locked:
        names = sorted({name for name, _, _ in wanted ^ locked})
        raise ManifestInvalid(
            f"{lock} was made before the requirements of {path.name} changed: {', '.join(names)}", hint=hint
        )


def _conda_file(request: _Request) -> _Found:
    file = read_conda_file(request.source.path)
    channels = request.channels or file.channels
    # Other channels than the file's are asked for: they are in the place of those that its dependencies name.
    specs = [spec.rpartition("::")[2] for spec in file.specs] if request.channels else list(file.specs)
    names = [name_of(spec) for spec in specs]
    if request.python is not None:
        specs = [spec for spec, name in zip(specs, names, strict=True) if name != "python"]
        specs.append(f"python {request.python}.*")
    elif file.requirements and "python" not in names:
        specs.append(f"python {_python_for(request, None)}.*")
    conda = solved(channels, specs, subdir=request.subdir, virtual=request.virtual, progress=request.progress)
    pypi: tuple[PypiPackage, ...] = ()
    if file.requirements:
        version = next(one.version for one in conda if one.name == "python")
        target = request.target(".".join(version.split(".")[:2]))
        installed = {one.name: one.version for one in conda if one.of_python}
        pypi = resolved(file.requirements, target, installed=installed)
    return _Found(
        name=file.name,
        channels=channels,
        dependencies={name_of(spec): _wanted(spec) for spec in specs},
        conda=conda,
        pypi=pypi,
        variables=dict(file.variables),
    )


def _wanted(spec: str) -> str | dict[str, str]:
    """A spec as a manifest has it, without its build string: the lock holds that."""
    named, _, bounds = spec.partition(" ")
    version, channel = bounds.partition(" ")[0] or "*", named.rpartition("::")[0]
    return {"version": version, "channel": channel} if channel else version


def _pinned(packages: Sequence[CondaPackage]) -> dict[str, str]:
    return {one.name: f"=={one.version}" for one in packages}


def _channels_of(request: _Request, packages: Sequence[CondaPackage]) -> Sequence[str]:
    return request.channels or list(dict.fromkeys(one.channel for one in packages))


def _conda_lock(request: _Request) -> _Found:
    conda, pypi = read_conda_lock(request.source.path, request.subdir)
    return _Found(
        name=request.source.path.parent.name,
        channels=_channels_of(request, conda),
        dependencies=_pinned(conda),
        conda=conda,
        pypi=pypi,
    )


def _active(request: _Request) -> _Found:
    installed = read_installed(request.source.path)
    pypi = (
        [*resolved(installed.pins, request.target(installed.python), dependencies=False)]
        if installed.pins
        else []
    )
    pypi += installed.projects
    if installed.conda:
        found = _Found(
            name=request.source.path.name,
            channels=_channels_of(request, installed.conda),
            dependencies=_pinned(installed.conda),
            conda=installed.conda,
            pypi=pypi,
        )
    else:
        found = _with_python(request, installed.python, pypi, Path.cwd().name)
    found.notes += [f"left out: {one}; it comes from no index" for one in installed.left_out]
    return found


_IMPORTERS: dict[str, Callable[[_Request], _Found]] = {
    "requirements": _requirements,
    "uv": _uv_lock,
    "script": _script,
    "conda": _conda_file,
    "conda-lock": _conda_lock,
    "active": _active,
}
