"""Which package put which file into an environment, from the packages' own lists."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path

import attrs

from wingspan.environments.bundles.packages.fetch import Archive
from wingspan.environments.bundles.packages.wheels import Wheel, read_wheel
from wingspan.environments.lock import LockedPackage

__all__ = ["CLOBBERS", "Claim", "claimed_files", "compiled", "origin_of", "origins_of"]

#: The folder where py-rattler puts files of conda packages that another package's file of the same name
#: replaced.
CLOBBERS = "__clobbers__"
#: Written by the installer, not by the package.
_OF_THE_INSTALLER = ("RECORD", "direct_url.json", "INSTALLER", "REQUESTED")


@attrs.frozen
class Claim:
    """The files of one package, by name below the environment.

    Attributes:
        package: The package.
        files: The files of its list, nearly: some may not exist, and another package may claim the same.
        scripts: Whether an installer wrote its files in ``bin``. This is so for packages for any Python and
            for wheels.
        record: Its file in ``conda-meta``; None for wheels.
    """

    package: LockedPackage
    files: tuple[str, ...]
    scripts: bool
    record: str | None = None


def claimed_files(
    archives: Sequence[Archive], folder: Path, wheels: Iterable[Wheel] | None = None
) -> list[Claim]:
    """The files of every package that is installed in `folder`: conda packages first.

    Args:
        archives: The packages.
        folder: The environment.
        wheels: The packages from PyPI, if their lists were read before.
    """
    if wheels is None:
        wheels = [read_wheel(archive.path) for archive in archives if archive.package.kind == "pypi"]
    members = {wheel.path: wheel for wheel in wheels}
    conda = {a.package.file_name: a.package for a in archives if a.package.kind == "conda"}
    claims = []
    for path in sorted((folder / "conda-meta").glob("*.json")):
        record = json.loads(path.read_text(encoding="utf-8"))
        package = conda.get(record.get("fn", ""))
        if package is not None:
            files = tuple(record.get("files", []))
            claims.append(Claim(package, files, bool(record.get("noarch")), f"conda-meta/{path.name}"))
    for archive in archives:
        if archive.package.kind == "pypi":
            claims.append(Claim(archive.package, _wheel_files(members[archive.path], folder), True))
    return claims


def _wheel_files(wheel: Wheel, folder: Path) -> tuple[str, ...]:
    # the name from inside, since the file's name may be spelled differently (ruamel_yaml-1.whl,
    # ruamel.yaml-1.dist-info)
    listed = (member.filename for member in wheel.members)
    tops = [name for name in listed if name.endswith(".dist-info/RECORD") and name.count("/") == 1]
    for site in folder.glob("lib/python*/site-packages"):
        record = site.joinpath(*tops[:1])
        if record.is_file():
            start = f"{site.relative_to(folder).as_posix()}/"
            with record.open(newline="", encoding="utf-8") as file:
                names = [start + row[0] for row in csv.reader(file) if row]
            return tuple(os.path.normpath(name) if ".." in name else name for name in names)
    return ()


def origins_of(claims: Sequence[Claim], prefix: str) -> dict[str, str]:
    """The origins of the files whose content does not depend on which other packages are installed.

    Files that several packages claim, that an installer wrote, or that belong to the activation are left out.

    Returns:
        Origins by name; byte code has the origin of its source.
    """
    python = next((claim.package.digest for claim in claims if claim.package.name == "python"), "")
    counts = Counter(name for claim in claims for name in claim.files)
    origins = {}
    for claim in claims:
        origin = origin_of(claim.package, python, prefix)
        for name in claim.files:
            if counts[name] > 1 or (claim.scripts and name.startswith("bin/")):
                continue
            if name.startswith(("conda-meta/", "etc/conda/")) or name.endswith(_OF_THE_INSTALLER):
                continue
            origins[name] = origin
            if name.endswith(".py"):
                origins.setdefault(compiled(name), origin)
    return origins


def origin_of(package: LockedPackage, python: str, prefix: str) -> str:
    """The origin of a package's files: the package, the digest of the Python that they are for, and their
    prefix.
    """
    return f"{package.file_name} {package.digest} {python} {prefix}"


def compiled(name: str) -> str:
    """Where the byte code of a module
    lies: ``lib/python3.11/x.py`` → ``lib/python3.11/__pycache__/x.cpython-311.pyc``."""
    folder, _, file = name.rpartition("/")
    python = name.split("/", 2)[1] if name.startswith("lib/python3.") else "python3"
    return f"{folder}/__pycache__/{file[:-3]}.cpython-{python.removeprefix('python').replace('.', '')}.pyc"
