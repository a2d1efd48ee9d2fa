"""Find the packages of a lock that cannot be carried to a worker as they are, and say what to do about
each.
"""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from wingspan.environments.errors import UnsupportedPackages
from wingspan.environments.locked_package import LockedPackage

__all__ = ["Problem", "find_problems", "refuse_problems"]


@attrs.frozen(kw_only=True)
class Problem:
    """One package, and what is wrong with it.

    Attributes:
        package: The package.
        what: What it is, e.g. ``"an sdist"``.
        remedy: What to do.
        severity: ``"refused"``: it cannot be carried; ``"code"``: not in the bundle, but in a thin layer
            beside it; ``"unverified"``: it can, but has no hash that shows
            whether the fetched file is the locked one; ``"weak"``: verified by md5 only.
    """

    package: LockedPackage
    what: str
    remedy: str
    severity: str

    def __str__(self) -> str:
        return f"{self.package} is {self.what}: {self.remedy}"


_SOURCES = {
    "conda-source": (
        "a conda source package",
        "a Python one (pixi-build-python) whose folder is here goes along in a thin layer; "
        "build others once, put them in a channel and depend on them by version",
    ),
    "sdist": (
        "an sdist, built on each machine",
        "depend on a version that has a wheel for the platform, or on a conda package, "
        "or build a wheel and name its path",
    ),
    "directory": (
        "a source folder (perhaps an editable install)",
        "where the folder is here, its Python files go along in a thin layer beside the bundle; "
        "what has to be built does not: build a wheel (python -m build --wheel) and name its path in the manifest",
    ),
    "vcs": (
        "a version-control checkout, built on each machine",
        "build a wheel of that revision and name its path or URL in the manifest",
    ),
}


def find_problems(packages: Iterable[LockedPackage]) -> tuple[Problem, ...]:
    """The problems of `packages`, in their order."""
    found = []
    for package in packages:
        if package.form in _SOURCES:
            what, remedy = _SOURCES[package.form]
            found.append(
                Problem(
                    package=package,
                    what=f"{what} ({package.location})",
                    remedy=remedy,
                    severity="code" if package.form == "directory" else "refused",
                )
            )
        elif package.sha256 is None and package.md5 is None:
            found.append(
                Problem(
                    package=package,
                    what="locked without a hash",
                    remedy="lock again with a current Pixi (pixi update), "
                    "or take it from a channel that publishes hashes",
                    severity="unverified",
                )
            )
        elif package.sha256 is None:
            found.append(
                Problem(
                    package=package,
                    what="locked with an md5 only",
                    remedy="it is checked by that; prefer a channel with sha256, such as conda-forge",
                    severity="weak",
                )
            )
    return tuple(found)


def refuse_problems(packages: Iterable[LockedPackage], where: str, *, strict: bool) -> None:
    """Raise `UnsupportedPackages` for packages that cannot be carried; if `strict`, also for those that
    cannot be verified.

    `where` names the lock and the environment in the message.
    """
    refused = {"refused", "code", "unverified"} if strict else {"refused", "code"}
    problems = [p for p in find_problems(packages) if p.severity in refused]
    if not problems:
        return
    listing = "\n".join(f"  - {problem}" for problem in problems)
    count = "1 package" if len(problems) == 1 else f"{len(problems)} packages"
    raise UnsupportedPackages(
        f"{where} has {count} that cannot be carried to a worker as locked:\n{listing}",
        hint="change the manifest as each line says, then: pixi lock",
    )
