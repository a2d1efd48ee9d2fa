"""Which programs the packages of a lock bring, by their own lists; nothing is installed."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from pathlib import Path

import pytest
import zstandard

from wingspan.environments import LockedEnvironment, LockedPackage
from wingspan.environments.commands import programs_of
from wingspan.environments.lock import LockedPlatform


def environment(folder: Path, *locations: str) -> LockedEnvironment:
    packages = [
        LockedPackage(
            name="a",
            version="1",
            kind="pypi" if location.endswith(".whl") else "conda",
            location=location,
            file_name=Path(location).name,
        )
        for location in locations
    ]
    return LockedEnvironment(
        workspace="w",
        name="default",
        platform=LockedPlatform(name="linux-64", subdir="linux-64"),
        packages=tuple(packages),
        lock_path=folder / "pixi.lock",
    )


def wheel(folder: Path, **members: str) -> str:
    path = folder / "a-1-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in members.items():
            archive.writestr(name, text)
    return path.name


def conda_package(folder: Path, members: dict[str, object], name: str = "a-1-0.conda") -> str:
    """A real archive in conda's format, with these files of ``info``."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as tar:
        for member, content in members.items():
            data = json.dumps(content).encode()
            facts = tarfile.TarInfo(member)
            facts.size = len(data)
            tar.addfile(facts, io.BytesIO(data))
    with zipfile.ZipFile(folder / name, "w") as archive:
        archive.writestr("info-a-1-0.tar.zst", zstandard.compress(packed.getvalue()))
    return name


PATHS = {
    "paths": [
        {"_path": "bin/tool"},
        {"_path": "bin/below/second"},
        {"_path": "python-scripts/script"},
        {"_path": "lib/tool/bin/helper"},
    ]
}


def test_programs_of_a_conda_package(tmp_path: Path) -> None:
    """Its files in bin, and in python-scripts, which go there; not those that lie deeper elsewhere."""
    name = conda_package(tmp_path, {"info/paths.json": PATHS})
    assert programs_of(environment(tmp_path, name)) == {"tool", "second", "script"}


def test_programs_that_are_written_when_a_package_is_installed(tmp_path: Path) -> None:
    """Entry points of a package for any Python are programs, too."""
    link = {"noarch": {"type": "python", "entry_points": ["one = a:b", "two=a:c"]}}
    name = conda_package(tmp_path, {"info/paths.json": {"paths": []}, "info/link.json": link})
    assert programs_of(environment(tmp_path, name)) == {"one", "two"}
    name = conda_package(tmp_path, {"info/paths.json": PATHS, "info/link.json": {"noarch": None}})
    assert programs_of(environment(tmp_path, name)) == {"tool", "second", "script"}


def test_programs_of_an_extracted_package(tmp_path: Path) -> None:
    """As package caches keep them."""
    (tmp_path / "a-1-0.conda" / "info").mkdir(parents=True)
    (tmp_path / "a-1-0.conda" / "info" / "paths.json").write_text(json.dumps(PATHS))
    assert programs_of(environment(tmp_path, "a-1-0.conda")) == {"tool", "second", "script"}


def test_programs_of_a_wheel_and_a_conda_package(tmp_path: Path) -> None:
    """Scripts and entry points of the wheel, with those of the other package."""
    name = wheel(
        tmp_path,
        **{
            "a-1.data/scripts/shell-script": "",
            "a-1.data/data/bin/no-script": "",
            "a/scripts/no-script": "",
            "a-1.dist-info/entry_points.txt": "[console_scripts]\nentry = a:b\n",
        },
    )
    found = programs_of(environment(tmp_path, name, conda_package(tmp_path, {"info/paths.json": PATHS})))
    assert found == {"shell-script", "entry", "tool", "second", "script"}


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"info/paths.json": {"no": "paths"}},
        {"info/paths.json": ["no table"]},
        {"info/paths.json": {"paths": [{"_path": ""}]}},
        {"info/paths.json": {"paths": [{"_path": "."}]}},
        {"info/paths.json": {"paths": []}, "info/link.json": ["no table"]},
    ],
)
def test_a_package_without_a_readable_list(tmp_path: Path, members: dict[str, object]) -> None:
    """Then nobody knows: a program is not said to lack because a list does."""
    whole = conda_package(tmp_path, {"info/paths.json": PATHS}, "b-1-0.conda")
    assert programs_of(environment(tmp_path, whole)) is not None
    assert programs_of(environment(tmp_path, whole, conda_package(tmp_path, members))) is None


def test_a_package_that_is_not_here(tmp_path: Path) -> None:
    """Neither one that was not fetched yet nor one that is damaged has a list that is known."""
    assert programs_of(environment(tmp_path, "https://conda.example.org/noarch/none-0-0.conda")) is None
    whole = tmp_path / conda_package(tmp_path, {"info/paths.json": PATHS}, "b-1-0.conda")
    packed = bytearray(whole.read_bytes())
    packed[60:90] = bytes(30)
    damaged = {"b-1-0.conda": bytes(packed), "c-1-0.tar.bz2": b"BZh9no archive", "d-1-0.conda": b"PK"}
    for name, data in {
        **damaged,
        "a-1-0.conda": b"no archive",
        "a-1-py3-none-any.whl": b"no archive",
    }.items():
        (tmp_path / name).write_bytes(data)
        assert programs_of(environment(tmp_path, name)) is None
    assert programs_of(environment(tmp_path)) == frozenset()
