"""Add wheels of one's own to a locked environment."""

from __future__ import annotations

import email
import os
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wingspan._warn import warn
from wingspan.environments.archives import ZIP_FAULTS
from wingspan.environments.errors import InvalidWheel
from wingspan.environments.lock import LockedEnvironment, normalize
from wingspan.environments.locked_package import LockedPackage
from wingspan.environments.specs import marker_holds
from wingspan.environments.wheel_tags import machine_of, wheel_tags
from wingspan.errors import EnvironmentWarning
from wingspan.stores.errors import ObjectNotFound
from wingspan.stores.names import file_digest
from wingspan.worker import trust

if TYPE_CHECKING:
    from packaging.tags import Tag

__all__ = ["inject_wheels"]

#: The largest description of a wheel that is read (bytes).
_MOST_TEXT = 1 << 24


def inject_wheels(env: LockedEnvironment, wheels: Iterable[str | os.PathLike[str]]) -> LockedEnvironment:
    """`env` with these wheels in it, as if the lock named them.

    A wheel of a package whose source is in a folder (an editable one) takes its place. An
    `EnvironmentWarning` names each package that a wheel asks for and the environment does not have.

    Args:
        env: A locked environment.
        wheels: Files.

    Raises:
        InvalidWheel: A file is no wheel, is for another Python or platform, or is a second version of a
            package that the lock has.
    """
    injected: list[LockedPackage] = []
    for path in map(Path, wheels):
        package, asked = _read(path.absolute(), env)
        there = env.package(package.name)
        if there is not None and there.form not in ("directory", "conda-source"):
            raise InvalidWheel(
                f"{path} would be a second {package.name} in the environment {env.name!r}: {env.lock_path} has {there}",
                hint=f"leave the wheel out, or take {package.name} out of the manifest (pixi remove {package.name})",
            )
        if any(other.name == package.name for other in injected):
            raise InvalidWheel(f"{path} is a second wheel of {package.name}", hint="name one of them")
        if there is not None:
            env = env.without(package.name)
        injected.append(attrs.evolve(package, depends=asked))
    if not injected:
        return env
    packages = sorted((*env.packages, *injected), key=lambda one: (one.kind, one.name))
    env = attrs.evolve(env, packages=tuple(packages))
    for package in injected:
        for missing in _missing(package, env):
            warn(
                f"environment {env.name!r}: the wheel of {package.name} asks for {missing}, which the lock does not have",
                EnvironmentWarning,
            )
    return env


_NAME = "wheels are called my_package-1.0-py3-none-any.whl"


def _read(path: Path, env: LockedEnvironment) -> tuple[LockedPackage, tuple[str, ...]]:
    """The wheel as a package, and what it asks for."""
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, tags = parse_wheel_filename(path.name)
        trust.check_name(path.name)
    except (InvalidWheelFilename, trust.BadName) as error:
        raise InvalidWheel(f"{path} is not named as wheels are: {error}", hint=_NAME) from None
    try:
        digest = file_digest(path)
        with zipfile.ZipFile(path) as archive:
            said = email.message_from_string(_metadata(archive))
    except (OSError, ObjectNotFound) as error:
        raise InvalidWheel(
            f"{path} cannot be read: {error}", hint="build it: python -m build --wheel"
        ) from None
    except ZIP_FAULTS as error:
        raise InvalidWheel(
            f"{path} is not a wheel: {error}", hint="build it again: python -m build --wheel"
        ) from None
    if normalize(said.get("Name", "")) != normalize(name) or said.get("Version", "") not in (
        str(version),
        path.name.split("-")[1],
    ):
        raise InvalidWheel(
            f"{path} calls itself {said.get('Name')} {said.get('Version')} inside",
            hint="give it the name that it was built with",
        )
    _check_tags(path, tags, env)
    package = LockedPackage(
        name=normalize(name),
        version=str(version),
        kind="pypi",
        form="wheel",
        location=str(path),
        file_name=path.name,
        sha256=digest,
        size=path.stat().st_size,
        injected=True,
        requires_python=said.get("Requires-Python"),
    )
    return package, tuple(said.get_all("Requires-Dist") or ())


def _metadata(archive: zipfile.ZipFile) -> str:
    names = [
        name for name in archive.namelist() if name.endswith(".dist-info/METADATA") and name.count("/") == 1
    ]
    if len(names) != 1:
        raise ValueError("it has no METADATA")
    if archive.getinfo(names[0]).file_size > _MOST_TEXT:
        raise ValueError("its METADATA is too large")
    return archive.read(names[0]).decode("utf-8")


def _check_tags(path: Path, tags: Iterable[Tag], env: LockedEnvironment) -> None:
    """See that the wheel is for the environment's Python and platform."""
    if env.python is None:
        raise InvalidWheel(
            f"{path} cannot go into the environment {env.name!r}, which has no Python", hint="pixi add python"
        )
    offered = _offered(env)
    if offered.isdisjoint(tags):
        raise InvalidWheel(
            f"{path} is for {', '.join(sorted(map(str, tags)))}, "
            f"and the environment {env.name!r} has Python {env.python} on {env.platform}",
            hint="build it with that Python on that platform",
        )


def _offered(env: LockedEnvironment) -> frozenset[Tag]:
    """The tags of wheels that the environment's Python takes."""
    assert env.python is not None
    glibc = env.platform.virtual_package("__glibc") or "2.99"
    return frozenset(wheel_tags(env.python, machine_of(env.platform.subdir), glibc))


def _missing(package: LockedPackage, env: LockedEnvironment) -> list[str]:
    """What the wheel asks for and `env` does not have, or has in another version."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.version import InvalidVersion, Version

    python = env.package("python")
    missing = []
    for text in package.depends:
        try:
            asked = Requirement(text)
            if asked.marker is not None and marker_holds(str(asked.marker), env.platform, python) is not True:
                continue
        except (InvalidRequirement, ValueError):
            continue  # a requirement that cannot be read asks for nothing
        there = env.package(normalize(asked.name))
        if there is None:
            missing.append(str(asked).partition(";")[0].strip())
            continue
        try:
            fits = not there.version or asked.specifier.contains(Version(there.version), prereleases=True)
        except InvalidVersion:  # conda has versions that PyPI has not
            fits = True
        if not fits:
            missing.append(f"{asked.name}{asked.specifier} (the lock has {there.version})")
    return missing
