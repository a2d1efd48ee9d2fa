"""Wheels: uv resolves and exports (pylock.toml, PEP 751), packaging chooses for the platform.

uv knows requirements files, its own locks, scripts and indexes, and heeds the user's settings for it. It is
told to use this process's Python. Otherwise it would look for one beside the file that is imported
(``.venv/bin/python``), and execute it.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import attrs

from wingspan._python import this_python
from wingspan.environments.bundles.linked.prefix import find_uv
from wingspan.environments.errors import EnvironmentError_, UnsupportedPackages
from wingspan.environments.importing.packages import PypiPackage
from wingspan.environments.lock import normalize
from wingspan.environments.wheel_tags import machine_of, markers, wheel_tags

__all__ = ["GLIBC", "Target", "exported", "resolved"]

#: The C library that wheels are picked for: that of RHEL 8 and Debian 10, which most sites have.
GLIBC = "2.28"
#: The second numbers of those that uv knows; for another one, it is asked for the next lower.
_GLIBCS_OF_UV = (17, 28, *range(31, 41))


def no_network(said: str) -> bool:
    """Whether a program says that a server was not reached."""
    return re.search(r"lookup address|dns error|error sending request|timed out", said, re.I) is not None


@attrs.frozen
class Target:
    """The machine and the Python that wheels are picked for.

    Attributes:
        subdir: ``linux-64`` or ``linux-aarch64``.
        python: The minor version of Python, such as ``"3.12"``.
        glibc: The version of the C library that it has at least.
        patch: The third number of Python's version.
    """

    subdir: str
    python: str
    glibc: str = GLIBC
    patch: int = 0

    @property
    def machine(self) -> str:
        """As wheels call it."""
        return machine_of(self.subdir)

    @property
    def uv_options(self) -> list[str]:
        """The same for ``uv pip compile``."""
        wanted = int(self.glibc.partition(".")[2])
        known = max((one for one in _GLIBCS_OF_UV if one <= wanted), default=_GLIBCS_OF_UV[0])
        platform = f"{self.machine}-manylinux_2_{known}"
        return ["--python-version", self.python, "--python-platform", platform]


def resolved(
    requirements: Path | Sequence[str],
    target: Target,
    *,
    installed: Mapping[str, str] = MappingProxyType({}),
    dependencies: bool = True,
) -> tuple[PypiPackage, ...]:
    """Choose wheels that satisfy a requirements file, or requirements.

    Args:
        requirements: The file, a script with its requirements, or the requirements themselves.
        target: What they are for.
        installed: Name and version of what is there already, from conda. It binds the choice where PyPI has
            that version too, and is not picked.
        dependencies: Also what these need in turn.
    """
    installed = {normalize(name): version for name, version in installed.items()}
    folder, last = Path.cwd(), "-"
    stdin = ""
    if isinstance(requirements, Path):
        folder, last = requirements.parent, f"./{requirements.name}"  # its name may begin with a dash
    else:
        stdin = "\n".join(requirements)
    command = ["pip", "compile", "--format", "pylock.toml", "--only-binary", ":all:"]
    command += ["--python", this_python(), *target.uv_options]
    command += [] if dependencies else ["--no-deps"]
    text = _uv([*command, last], folder=folder, stdin=stdin)
    there = [one.name for one in _chosen(text, target, folder) if one.name in installed]
    if there:
        bounds = "".join(f"\n{name}=={installed[name]}" for name in there)
        command += [word for name in there for word in ("--no-emit-package", name)]
        try:
            text = _uv([*command, last], folder=folder, stdin=stdin + bounds)
        except EnvironmentError_:  # PyPI does not have conda's version, or calls it otherwise
            text = _uv([*command, last], folder=folder, stdin=stdin)
    return _chosen(text, target, folder)


def exported(
    path: Path, target: Target, *, script: bool, options: Sequence[str] = ()
) -> tuple[PypiPackage, ...]:
    """What a ``uv.lock``, or the lock of a script with its requirements, holds for `target`.

    Raises:
        EnvironmentError_: uv refuses it.
    """
    command = ["export", "--format", "pylock.toml", "--python", this_python(), "--frozen"]
    command += ["--script", f"./{path.name}"] if script else ["--no-default-groups", *options]
    return _chosen(_uv(command, folder=path.parent), target, path.parent)


def _uv(words: Sequence[str], *, folder: Path | None = None, stdin: str = "") -> str:
    command = [find_uv(), "--quiet", "--no-progress", *words]
    done = subprocess.run(command, cwd=folder, input=stdin, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.strip()]
        raise EnvironmentError_(
            "uv could not resolve it: " + "\n".join(said[-12:] or ["no reason was given"]),
            hint=_hint_for(done.stderr),
        )
    return done.stdout


def _hint_for(said: str) -> str:
    """The next step after what uv has said."""
    if no_network(said):
        return "see whether this machine reaches the index; uv's own settings name mirrors"
    if "wheel" in said:
        return (
            "a package without a wheel for this platform must be built into one first (uv build), and be "
            "named by its path"
        )
    return "correct the names and versions that are asked for"


def _chosen(text: str, target: Target, folder: Path) -> tuple[PypiPackage, ...]:
    """The file of each package that the target takes."""
    import tomlkit
    from packaging.pylock import PackageDirectory, Pylock, PylockSelectError, PylockValidationError

    document = _without_builds(tomlkit.parse(text).unwrap())
    packages, refused = [], []
    try:
        lock = Pylock.from_dict(document)
        for package, picked in lock.select(
            environment=markers(f"{target.python}.{target.patch}", target.machine),
            tags=wheel_tags(target.python, target.machine, target.glibc),
        ):
            version = None if package.version is None else str(package.version)
            if isinstance(picked, PackageDirectory):
                project = folder / picked.path
                packages.append(PypiPackage.project(package.name, version or _version_of(project), project))
                continue
            url = getattr(picked, "url", None)
            path = getattr(picked, "path", None)
            location = url or (path and str((folder / path).resolve()))
            sha256 = dict(getattr(picked, "hashes", None) or {}).get("sha256")
            if not location or sha256 is None or not _is_wheel(location):
                refused.append(f"{package.name} {version or ''}".strip())
                continue
            packages.append(PypiPackage(package.name, version, _path_of(location), sha256))
    except (PylockSelectError, PylockValidationError) as error:
        raise UnsupportedPackages(
            f"no file of a package suits Python {target.python} on {target.subdir}: {error}",
            hint="choose another Python with --python, or build a wheel of it",
        ) from None
    if refused:
        raise UnsupportedPackages(
            f"there is no wheel with a hash of {', '.join(sorted(refused))}",
            hint="build one (uv build, pip wheel) and require it by its path: a worker builds nothing",
        )
    return tuple(sorted(packages, key=lambda package: package.name))


def _version_of(project: Path) -> str:
    """The version that a project's ``pyproject.toml`` names; 0 where only a build finds it out."""
    import tomlkit
    from tomlkit.exceptions import TOMLKitError

    try:
        document = tomlkit.parse((project / "pyproject.toml").read_text(encoding="utf-8")).unwrap()
    except (OSError, UnicodeDecodeError, TOMLKitError):
        return "0"
    return str(document.get("project", {}).get("version", "0"))


def _without_builds(document: dict[str, Any]) -> dict[str, Any]:
    """Less the sources of packages that have wheels: a worker builds nothing."""
    for package in document.get("packages", []):
        if package.get("wheels"):
            package.pop("sdist", None)
    return document


def _is_wheel(location: str) -> bool:
    return location.partition("#")[0].partition("?")[0].endswith(".whl")


def _path_of(location: str) -> str:
    """A path of a ``file://`` address, which Pixi's lock has as a path; other addresses as they are."""
    from urllib.parse import unquote, urlsplit

    parts = urlsplit(location)
    return unquote(parts.path) if parts.scheme == "file" else location
