"""Write the locks of the image recipes: ``pixi.lock`` beside each ``pixi.toml``.

The conda packages come from conda-forge. Where that cannot be reached, they come from what other locks say
of conda-forge's packages (``--records FOLDER``): py-rattler's solver then chooses among these. PyPI's wheels
are chosen by uv.

    python tools/lock_flavours.py                                     all that can be locked
    python tools/lock_flavours.py base torch --records tests/data/locks
"""

from __future__ import annotations

import argparse
import contextlib
import datetime
import email.message
import email.parser
import functools
import hashlib
import json
import lzma
import re
import shutil
import sys
import tempfile
import urllib.request
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import attrs

from wingspan.environments import EnvironmentError_, load_environment
from wingspan.environments.importing.conda import solved
from wingspan.environments.importing.packages import CondaPackage, PypiPackage
from wingspan.environments.importing.pypi import GLIBC, Target, resolved
from wingspan.environments.importing.writing import Contents, lock_text
from wingspan.environments.lock import LockedPlatform, normalize
from wingspan.environments.lockfile import Lock
from wingspan.environments.manifest import Dependency, Manifest
from wingspan.environments.manifest_reader import read_manifest
from wingspan.worker import trust

RECIPES = Path(__file__).resolve().parent.parent / "src/wingspan/notebooks/recipes"
CONDA_FORGE = "https://conda.anaconda.org/conda-forge"
SUBDIR = "linux-64"
#: PyPI's names of conda packages that have other ones.
PYPI_NAMES = {"pytorch": "torch"}


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """What the locks in `folder` say of conda-forge's packages, by address.

    conda-forge corrects ``depends`` and ``constrains`` of packages that it has published, so locks can differ
    in these: the lock with the newest package counts. Digests never change.

    Raises:
        SystemExit: Two locks name different digests of one package, or there are no locks.
    """
    found: dict[str, dict[str, Any]] = {}
    locks = [_records_of(path) for path in sorted(folder.rglob("pixi.lock*"))]
    for one in sorted(locks, key=lambda records: max(map(_age, records.values()), default=0)):
        for address, record in one.items():
            known = found.get(address, record)
            if any(known.get(kind) != record.get(kind) for kind in ("sha256", "md5", "size")):
                raise SystemExit(f"the locks in {folder} name different digests of {address}")
            found[address] = record
    if not found:
        raise SystemExit(f"no lock in {folder} has a package of {CONDA_FORGE}")
    return found


def _age(record: Mapping[str, Any]) -> int:
    return int(record.get("timestamp") or 0)


def _records_of(path: Path) -> dict[str, dict[str, Any]]:
    with tempfile.TemporaryDirectory() as name:
        if path.suffix == ".xz":
            path, packed = Path(name) / "pixi.lock", path
            path.write_bytes(lzma.decompress(packed.read_bytes()))
        lock = Lock(path)
        packages = [
            package
            for environment in lock.environments
            for platform in lock.platforms(environment)
            if platform.subdir == SUBDIR
            for package in lock.packages(environment, platform.name)
        ]
    return {
        package.location: json.loads(package.record.to_json())
        for package in packages
        if package.record is not None and package.sha256 and package.location.startswith(f"{CONDA_FORGE}/")
    }


@contextlib.contextmanager
def channel_of(known: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """The address of a channel on this disk that lists the packages `known`, and has none of them."""
    with tempfile.TemporaryDirectory() as name:
        for subdir in (SUBDIR, "noarch"):
            listing: dict[str, Any] = {"info": {"subdir": subdir}, "packages": {}, "packages.conda": {}}
            for address, record in known.items():
                if record["subdir"] == subdir:
                    kind = "packages.conda" if address.endswith(".conda") else "packages"
                    listing[kind][address.rpartition("/")[2]] = record
            folder = Path(name) / subdir
            folder.mkdir()
            (folder / "repodata.json").write_text(json.dumps(listing))
        yield Path(name).as_uri()


def target(manifest: Manifest) -> LockedPlatform:
    """The machine that a recipe is locked for."""
    virtual = {"__unix": "0", "__linux": "4.18", "__glibc": GLIBC, "__archspec": "1"}
    virtual |= manifest.system_requirements("default")
    return LockedPlatform(
        name=SUBDIR, subdir=SUBDIR, virtual_packages=tuple(f"{k}={v}" for k, v in virtual.items())
    )


def conda_packages(manifest: Manifest, platform: LockedPlatform, channel: str) -> list[CondaPackage]:
    """What the solver chooses of `channel`, under conda-forge's own addresses."""
    specs = [
        " ".join(part for part in (one.name, one.version, one.build) if part)
        for one in manifest.conda_dependencies("default", platform)
    ]
    found = solved([channel], specs, subdir=SUBDIR, virtual=platform.virtual_packages)
    return [
        attrs.evolve(one, url=CONDA_FORGE + one.url.removeprefix(channel), channel=CONDA_FORGE)
        if one.url.startswith(channel)
        else one
        for one in found
    ]


def wheels(wanted: Sequence[Dependency], conda: Sequence[CondaPackage]) -> list[PypiPackage]:
    """What uv chooses beside the conda packages, with what each needs."""
    [python] = [one.version for one in conda if one.name == "python"]
    minor, _, patch = python.rpartition(".")
    there = {PYPI_NAMES.get(one.name, one.name): one.version for one in conda if one.of_python}
    found = resolved(
        [_requirement(one) for one in wanted],
        Target(SUBDIR, minor, patch=int(patch)),
        installed=there,
    )
    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(_with_needs, found))


def _requirement(one: Dependency) -> str:
    extras = f"[{','.join(one.extras)}]" if one.extras else ""
    return f"{one.name}{extras}{'' if one.version == '*' else one.version}"


@functools.cache  # flavours have most of their wheels in common
def _told_by(location: str, sha256: str) -> email.message.Message:
    """What a wheel says of itself; it is fetched and compared with its digest."""
    with tempfile.TemporaryFile() as file:
        with urllib.request.urlopen(location, timeout=60) as stream:
            shutil.copyfileobj(stream, file)
        file.seek(0)
        digest = hashlib.file_digest(file, "sha256").hexdigest()
        if digest != sha256:
            raise SystemExit(f"{location} has the digest {digest}, and its index names {sha256}")
        with zipfile.ZipFile(file) as wheel:
            [name] = [name for name in wheel.namelist() if re.fullmatch(r"[^/]+\.dist-info/METADATA", name)]
            return email.parser.BytesParser().parsebytes(wheel.read(name), headersonly=True)


def _with_needs(package: PypiPackage) -> PypiPackage:
    """`package` with what its wheel says that it needs."""
    assert package.sha256 is not None
    told = _told_by(package.location, package.sha256)
    if normalize(told["Name"]) != package.name:
        raise SystemExit(f"{package.location} says that it is {told['Name']}")
    facts = {"requires_dist": told.get_all("Requires-Dist"), "requires_python": told["Requires-Python"]}
    return attrs.evolve(package, facts={key: value for key, value in facts.items() if value})


def lock(flavour: str, channel: str, known: Mapping[str, Mapping[str, Any]]) -> str:
    """Lock one recipe, and tell how.

    Raises:
        EnvironmentError_: There is no solution.
        SystemExit: `known`, what is known of conda-forge's packages, lacks some that the recipe asks for.
    """
    folder = RECIPES / flavour
    manifest = read_manifest(folder / "pixi.toml")
    platform = target(manifest)
    names = {one["name"] for one in known.values()}
    lacking = [one.name for one in manifest.conda_dependencies("default", platform) if one.name not in names]
    if known and lacking:
        raise SystemExit(f"no record of {', '.join(lacking)}")
    conda = conda_packages(manifest, platform, channel)
    pypi = wheels(manifest.pypi_dependencies("default", platform), conda)
    newest = f"{_day(max(_age(one.facts) for one in conda))}"
    head = f"# Written by tools/lock_flavours.py on {_day()}; its newest conda package is of {newest}.\n"
    contents = Contents(
        name=manifest.name,
        subdir=SUBDIR,
        channels=[CONDA_FORGE],
        dependencies={},
        conda=conda,
        pypi=pypi,
        glibc=GLIBC,
        origin="",
    )
    text = head + lock_text(folder, contents)
    with tempfile.TemporaryDirectory() as name:
        shutil.copy(folder / "pixi.toml", name)
        (Path(name) / "pixi.lock").write_text(text, encoding="utf-8")
        if problems := load_environment(Path(name)).problems():  # it satisfies the manifest, too
            raise SystemExit("; ".join(map(str, problems)))
    trust.write_whole(str(folder / "pixi.lock"), text.encode(), mode=0o644)
    return f"{len(conda)} conda packages, the newest of {newest}; {len(pypi)} wheels"


def _day(milliseconds: int | None = None) -> str:
    utc = datetime.timezone.utc
    day = (
        datetime.datetime.now(utc)
        if milliseconds is None
        else datetime.datetime.fromtimestamp(milliseconds / 1000, utc)
    )
    return f"{day:%Y-%m-%d}"


def main() -> int:
    flavours = sorted(path.parent.name for path in RECIPES.glob("*/pixi.toml"))
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("flavours", nargs="*", default=flavours, metavar="FLAVOUR", help="default: all")
    parser.add_argument("--records", type=Path, help="a folder with locks that name conda-forge's packages")
    arguments = parser.parse_args()
    failed = 0
    known = records(arguments.records) if arguments.records else {}
    with channel_of(known) if known else contextlib.nullcontext(CONDA_FORGE) as channel:
        for flavour in arguments.flavours:
            try:
                told = lock(flavour, channel, known)
            except (EnvironmentError_, SystemExit) as error:
                failed, told = 1, f"not locked: {error}"
            print(f"{flavour}: {told}", flush=True)
    return failed


if __name__ == "__main__":
    sys.exit(main())
