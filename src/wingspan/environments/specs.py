"""Match specs and their conditions: which package, from which version on, and whether it applies at all.

rattler (conda) and packaging (PyPI) parse them. Specs that they cannot read are unknown, and callers must
treat them so.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

from wingspan.environments.lock import LockedPackage, LockedPlatform

__all__ = [
    "VirtualBound",
    "condition_holds",
    "lower_bound",
    "marker_holds",
    "required_name",
    "version_numbers",
    "virtual_bounds",
]

#: Pixi's defaults where a platform declares nothing, old and new (its manual, "System requirements").
_DEFAULTS: Mapping[str, tuple[str, ...]] = {"__glibc": ("2.17", "2.28"), "__linux": ("4.18", "5.10")}


@attrs.frozen(kw_only=True)
class VirtualBound:
    """The lowest version of a virtual package that some package accepts.

    Attributes:
        package: The package that asks for it.
        spec: The text in the lock: ``__cuda >=12.4``.
        field: ``"depends"`` or ``"constrains"``.
        version: ``(12, 4)``; None: any version will do.
    """

    package: LockedPackage
    spec: str
    field: str
    version: tuple[int, ...] | None


def required_name(requirement: str) -> str:
    """Name of a match spec or a PEP 508 requirement.

    >>> required_name("conda-forge::numpy >=2"), required_name("numpy[extra]>=2; python_version<'4'")
    ('numpy', 'numpy')
    """
    return re.split(r"[\s\[<>=!~;@(]", requirement.strip().rpartition("::")[2], maxsplit=1)[0].lower()


def version_numbers(text: str) -> tuple[int, ...]:
    """The leading numbers of a version.

    >>> version_numbers("12.4.0a0"), version_numbers("x")
    ((12, 4, 0), ())
    """
    found = re.match(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def lower_bound(version: str | None) -> tuple[int, ...] | None:
    """The lowest version that a spec allows; None if there is no lower limit.

    >>> lower_bound(">=2.17,<3.0.a0"), lower_bound("2.34.*"), lower_bound("<3"), lower_bound(">=12.4|>=13")
    ((2, 17), (2, 34), None, (12, 4))
    """
    choices = []
    for choice in (version or "").replace("(", "").replace(")", "").split("|"):
        bounds = []
        for part in choice.split(","):
            operator, text = re.match(r"\s*([<>=!~]*)\s*(.*)", part).groups()  # type: ignore[union-attr]
            if operator in ("", ">=", ">", "==", "=", "~=") and (numbers := version_numbers(text)):
                bounds.append(numbers)
        choices.append(max(bounds, default=None))
    return None if None in choices else min(choice for choice in choices if choice is not None)


def virtual_bounds(
    packages: Iterable[LockedPackage], name: str, platform: LockedPlatform
) -> Iterator[VirtualBound]:
    """The requirements of conda packages for the virtual package `name`, from their dependencies and
    constraints.
    """
    from rattler import MatchSpec
    from rattler.exceptions import InvalidMatchSpecError

    for package in packages:
        if package.kind != "conda":
            continue
        for field, specs in (("depends", package.depends), ("constrains", package.constrains)):
            for spec in specs:
                if required_name(spec) != name:
                    continue
                plain, _, condition = spec.partition("; if ")  # how channels wrote it before `when`
                try:
                    match = MatchSpec(plain)
                    version, condition = match.version, condition or match.condition or ""
                except InvalidMatchSpecError:
                    version = plain.strip()[len(name) :]
                if condition and condition_holds(str(condition), platform, {}) is False:
                    continue
                yield VirtualBound(
                    package=package, spec=spec, field=field, version=lower_bound(version and str(version))
                )


def condition_holds(
    condition: Any, platform: LockedPlatform, packages: Mapping[str, LockedPackage]
) -> bool | None:
    """Whether a condition of a dependency (Pixi's ``when``) holds; None if the lock cannot tell.

    Args:
        condition: A match spec, of a virtual package or a package; or ``{"all": […]}``, ``{"any": […]}``,
            ``{"package": "python", "version": ">=3.10"}``.
        platform: The platform.
        packages: The locked conda packages by name; empty: unknown.

    >>> linux = LockedPlatform(name="p2", subdir="linux-64", virtual_packages=("__cuda=12",))
    >>> [condition_holds(c, linux, {}) for c in ("__cuda>=12", "__cuda >=13", "__win", "python >=3.10")]
    [True, False, False, None]
    >>> condition_holds({"any": ["__osx", {"all": ["__unix", "__cuda"]}]}, linux, {})
    True
    """
    if isinstance(condition, Mapping):
        if "all" in condition or "any" in condition:
            parts = condition.get("all", condition.get("any"))
            found = [condition_holds(part, platform, packages) for part in parts]
            return _all(found) if "all" in condition else _any(found)
        if "package" not in condition:
            return None
        words = [str(condition["package"]), str(condition.get("version") or "*")]
        rest = set(condition) - {"package", "version", "build"}
        text = " ".join([*words, str(condition["build"])] if "build" in condition else words)
        held = _spec_holds(text, platform, packages)
        return held if held is False or not rest else None
    text = str(condition)
    if "(" in text:
        return None
    choices = []
    for choice in re.split(r"\s+or\s+", text):
        parts = re.split(r"\s+and\s+", choice)
        choices.append(_all([_spec_holds(part, platform, packages) for part in parts]))
    return _any(choices)


def _all(found: list[bool | None]) -> bool | None:
    return False if False in found else None if None in found else True


def _any(found: list[bool | None]) -> bool | None:
    return True if True in found else None if None in found else False


def _spec_holds(text: str, platform: LockedPlatform, packages: Mapping[str, LockedPackage]) -> bool | None:
    from rattler import MatchSpec, Version, VersionSpec
    from rattler.exceptions import InvalidMatchSpecError, InvalidVersionError, InvalidVersionSpecError

    name = required_name(text)
    virtual = name.startswith("__")
    try:
        spec = MatchSpec(text)
        if not virtual:
            package = packages.get(name)
            if package is None:
                return False if packages else None
            return None if package.record is None else bool(package.record.matches(spec))
        versions = _virtual_versions(name, platform)
        if versions and spec.build is not None:
            return None
        wanted = VersionSpec(str(spec.version or "*"))
        answers = {wanted.matches(Version(version)) for version in versions} or {False}
    except (InvalidMatchSpecError, InvalidVersionError, InvalidVersionSpecError, TypeError):
        return None
    return answers.pop() if len(answers) == 1 else None


def _virtual_versions(name: str, platform: LockedPlatform) -> tuple[str, ...]:
    """The versions that a virtual package may have on a platform; empty if the platform has none."""
    if name == "__archspec":
        return ("1", "0")
    stated = platform.virtual_package(name)
    if stated is not None:
        return (stated,)
    family = platform.subdir.partition("-")[0]
    here = {"linux": ("__linux", "__unix", "__glibc"), "osx": ("__osx", "__unix"), "win": ("__win",)}
    return _DEFAULTS.get(name, ("0",)) if name in here.get(family, ()) else ()


def marker_holds(marker: str, platform: LockedPlatform, python: LockedPackage | None) -> bool | None:
    """Whether an environment marker (PEP 508) holds; None if the lock cannot tell.

    Args:
        marker: ``sys_platform == 'linux' and python_version < '3.11'``.
        platform: The platform.
        python: The locked Python, or None if there is none.

    >>> linux = LockedPlatform(name="linux-64", subdir="linux-64")
    >>> [marker_holds(m, linux, None) for m in ("sys_platform == 'win32'", "python_version > '3'")]
    [False, None]
    """
    from packaging.markers import InvalidMarker, Marker, UndefinedComparison, UndefinedEnvironmentName

    family, _, machine = platform.subdir.partition("-")
    system = {"linux": ("linux", "Linux"), "osx": ("darwin", "Darwin"), "win": ("win32", "Windows")}.get(
        family, (family, family)
    )
    machines = {"64": "AMD64" if family == "win" else "x86_64", "32": "i686", "arm64": "arm64"}
    known = {
        "sys_platform": system[0],
        "platform_system": system[1],
        "os_name": "nt" if family == "win" else "posix",
        "platform_machine": "ARM64" if platform.subdir == "win-arm64" else machines.get(machine, machine),
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
    }
    if python is not None:
        known["python_full_version"] = python.version
        known["python_version"] = ".".join(python.version.split(".")[:2])
        known["implementation_version"] = python.version
        if "pypy" in python.build:
            known.update(implementation_name="pypy", platform_python_implementation="PyPy")
    unknown = re.findall(
        r"\b(python_version|python_full_version|implementation_version|platform_release|platform_version|extra)\b",
        re.sub(r"'[^']*'|\"[^\"]*\"", "", marker),
    )
    if any(name not in known for name in unknown):
        return None
    try:
        return Marker(marker).evaluate(known)
    except (InvalidMarker, UndefinedComparison, UndefinedEnvironmentName):
        return None
