"""Which programs the packages of a locked environment bring.

The packages' own lists say it; nothing is downloaded or unpacked.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import PurePosixPath

from wingspan.environments.archives import (
    LocalPackage,
    console_scripts,
    find_local,
    package_caches,
    read_member,
)
from wingspan.environments.lock import LockedEnvironment

__all__ = ["programs_of"]


def programs_of(environment: LockedEnvironment) -> frozenset[str] | None:
    """Names of the programs in ``bin`` of the environment;
    None where a package is not on this machine or has no list."""
    caches, names = package_caches(), set()
    for package in environment.packages:
        local = find_local(package, environment.lock_path.parent, caches)
        try:
            found = None if local is None else _of_package(local)
        except Exception:  # noqa: BLE001 - zip, tar, bz2, zstd, JSON: each has errors of its own
            found = None
        if found is None:
            return None
        names |= found
    return frozenset(names)


def _of_package(local: LocalPackage) -> set[str] | None:
    """What one package puts into ``bin``. Formats: conda's CEP 34 (paths.json,
    link.json), the wheel specification."""
    if local.path.suffix == ".whl":
        return _of_wheel(local)
    listing = read_member(local, "info/paths.json")
    if listing is None:
        return None
    paths = [PurePosixPath(entry["_path"]) for entry in json.loads(listing)["paths"]]
    # Those of packages for any Python lie in python-scripts until they are installed.
    names = {path.name for path in paths if path.parts[0] in ("bin", "python-scripts")}
    link = json.loads(read_member(local, "info/link.json") or "{}")
    points = (link.get("noarch") or {}).get("entry_points") or []
    return names | {point.partition("=")[0].strip() for point in points}


def _of_wheel(local: LocalPackage) -> set[str]:
    with zipfile.ZipFile(local.path) as wheel:
        members = [PurePosixPath(member).parts for member in wheel.namelist()]
        scripts = {
            parts[2]
            for parts in members
            if len(parts) == 3 and parts[0].endswith(".data") and parts[1] == "scripts"
        }
        return scripts | console_scripts(wheel)
