"""The recipes of notebook images, and their locks."""

from __future__ import annotations

import importlib.util
from importlib.metadata import requires
from pathlib import Path
from types import ModuleType

import pytest
from packaging.requirements import Requirement
from rattler import MatchSpec

from _command_line import wingspan_here
from wingspan.environments import LockedEnvironment, load_environment
from wingspan.environments.importing.packages import CondaPackage
from wingspan.environments.importing.writing import Contents, lock_text
from wingspan.environments.lock import LockedPlatform, normalize
from wingspan.environments.manifest_reader import read_manifest
from wingspan.environments.wheel_tags import markers
from wingspan.errors import SettingsError
from wingspan.notebooks.images import FLAVOURS, ImageError, _site_packages, build_image, write_recipe

PLATFORM = LockedPlatform(name="linux-64", subdir="linux-64")
ROOT = Path(__file__).resolve().parents[2]
RECIPES = ROOT / "src/wingspan/notebooks/recipes"
LOCKED = ("base", "scipy", "tensorflow", "torch", "torch-cuda")
SOURCES = ("https://conda.anaconda.org/conda-forge/", "https://files.pythonhosted.org/packages/")


def wanted_by_wingspan() -> list[Requirement]:
    """What an image needs for Wingspan, its environments and its notebooks."""
    found = [Requirement(line) for line in requires("wingspan") or ()]
    machine = markers("3.13.0", "x86_64")
    return [
        one
        for one in found
        for extra in ("", "environments", "notebook")
        if one.marker is None or one.marker.evaluate(dict(machine) | {"extra": extra})
    ]


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_a_recipe_asks_for_what_wingspan_needs(flavour: str, tmp_path: Path) -> None:
    """Each recipe is a Pixi workspace with Python and everything that Wingspan imports in a notebook; it is
    written once, and never over another.
    """
    written = write_recipe(flavour, tmp_path / "recipe")
    assert {path.name for path in written} == {"pixi.toml"} | ({"pixi.lock"} if flavour in LOCKED else set())
    manifest = read_manifest(tmp_path / "recipe/pixi.toml")
    assert manifest.name == f"wingspan-{flavour}"
    tables = (
        manifest.conda_dependencies("default", PLATFORM),
        manifest.pypi_dependencies("default", PLATFORM),
    )
    asked = {normalize(one.name) for table in tables for one in table}
    assert {"python", "anywidget", *(normalize(one.name) for one in wanted_by_wingspan())} <= asked
    with pytest.raises(SettingsError, match="is there already"):
        write_recipe(flavour, tmp_path / "recipe")


@pytest.mark.parametrize("flavour", LOCKED)
def test_a_lock_is_whole(flavour: str) -> None:
    """It satisfies its manifest, every package has a digest and a public address, and what a package needs is
    there in a version that it takes: a build finds nothing lacking.
    """
    env = load_environment(RECIPES / flavour)
    assert env.problems() == ()
    assert env.python is not None
    assert all(one.sha256 and one.location.startswith(SOURCES) for one in env.packages)
    assert broken(env) == []
    for one in wanted_by_wingspan():
        [version] = [each.version for each in env.packages if normalize(each.name) == normalize(one.name)]
        assert one.specifier.contains(version, prereleases=True), one


def broken(env: LockedEnvironment) -> list[str]:
    """What packages of `env` need and do not find there."""
    conda = {one.name: one for one in env.conda_packages}
    lacking = [
        f"{one.name} needs {spec}"
        for one in conda.values()
        for spec in one.depends
        if not spec.startswith("__")
        and not ((found := conda.get(spec.split()[0])) and found.record.matches(MatchSpec(spec)))
    ]
    versions = {normalize(one.name): one.version for one in env.packages}
    marked = dict(markers(conda["python"].version, "x86_64"))
    for one in env.pypi_packages:
        for need in map(Requirement, one.depends):
            if need.marker is not None and not need.marker.evaluate(marked | {"extra": ""}):
                continue
            if not need.specifier.contains(versions.get(normalize(need.name), "0.dev0"), prereleases=True):
                lacking.append(f"{one.name} needs {need}")
            if normalize(need.name) not in versions:
                lacking.append(f"{one.name} needs {need}")
    return lacking


@pytest.mark.parametrize("flavour", sorted(set(FLAVOURS) - set(LOCKED)))
def test_a_recipe_without_a_lock_says_what_to_do(flavour: str, tmp_path: Path) -> None:
    """Nothing is solved in its place, and the list of flavours marks it."""
    with pytest.raises(ImageError, match="comes without a lock") as refused:
        build_image(flavour, folder=tmp_path)
    assert f"{flavour} (without a lock)\n" in wingspan_here("image", "flavours").stdout
    assert (
        refused.value.hint
        == f"wingspan image recipe {flavour} FOLDER, then pixi lock there, then wingspan image build FOLDER"
    )


def test_wingspan_goes_where_the_python_of_the_lock_finds_it(tmp_path: Path) -> None:
    """A free-threaded Python has its packages in another folder, which the lock names."""
    write_recipe("base", tmp_path)
    lock = tmp_path / "pixi.lock"
    text = lock.read_text()
    usual = _site_packages(load_environment(tmp_path, platform="linux-64"))
    assert f"python_site_packages_path: {usual}\n" in text
    lock.write_text(text.replace(usual, "lib/python3.13t/site-packages"))
    free = load_environment(tmp_path, platform="linux-64")
    assert _site_packages(free) == "lib/python3.13t/site-packages"


@pytest.fixture(scope="module")
def tool() -> ModuleType:
    """tools/lock_flavours.py."""
    spec = importlib.util.spec_from_file_location("lock_flavours", ROOT / "tools/lock_flavours.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_locks_are_made_of_what_other_locks_say(tool: ModuleType) -> None:
    """The solver chooses among the records of real locks, and the packages keep conda-forge's addresses and
    digests.
    """
    known = tool.records(ROOT / "tests/data/locks")
    with tool.channel_of(known) as channel:
        manifest = read_manifest(RECIPES / "torch/pixi.toml")
        chosen = tool.conda_packages(manifest, tool.target(manifest), channel)
    assert {"python", "pytorch-cpu", "torchvision", "openssl"} <= {one.name for one in chosen}
    for one in chosen:
        assert known[one.url]["sha256"] == one.facts["sha256"]
        assert known[one.url]["depends"] == one.facts.get("depends", [])


def test_of_two_locks_the_newer_counts(tool: ModuleType, tmp_path: Path) -> None:
    """conda-forge corrects what a published package depends on: the newer lock has it. Two digests of one
    package cannot both be right, and are refused.
    """
    address = f"{SOURCES[0]}noarch/a-1-0.conda"

    def write(lock: str, sha256: str, depends: str, newest: int) -> None:
        facts = {"sha256": sha256 * 64, "depends": [depends], "timestamp": newest}
        other = f"{SOURCES[0]}noarch/b-{newest}-0.conda"
        conda = [
            CondaPackage("a", "1", "0", address, SOURCES[0], facts | {"timestamp": 1}),
            CondaPackage("b", str(newest), "0", other, SOURCES[0], facts),
        ]
        (tmp_path / lock).mkdir()
        contents = Contents(
            name="x",
            subdir="linux-64",
            channels=[SOURCES[0]],
            dependencies={},
            conda=conda,
            pypi=[],
            glibc="2.28",
            origin="",
        )
        (tmp_path / lock / "pixi.lock").write_text(lock_text(tmp_path / lock, contents))

    write("1", "a", "corrected", 3_000)
    write("2", "a", "as published", 2_000)
    assert tool.records(tmp_path)[address]["depends"] == ["corrected"]
    write("3", "b", "corrected", 4_000)
    with pytest.raises(SystemExit, match=r"different digests of .*/a-1-0\.conda"):
        tool.records(tmp_path)


def test_what_a_build_cannot_end_with_is_refused_before(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A registry's name that cannot be, a folder that cannot be, and programs that are not here: nothing is
    fetched first.
    """
    for reference, said in {
        "registry.example.org/me/notebook": "has no tag that will always name this image",
        "notebook:1": "names no repository",
        "https://registry.example.org/me/notebook:1": "names no repository",
    }.items():
        refused = wingspan_here("image", "build", "--push", reference, cwd=tmp_path)
        assert refused.returncode != 0
        assert said in refused.stderr
        assert "Fetching" not in refused.stderr
    (tmp_path / "file").touch()
    refused = wingspan_here("image", "build", "-o", "file/below", cwd=tmp_path)
    assert "Not a directory: file/below" in refused.stderr
    assert "Fetching" not in refused.stderr
    monkeypatch.setenv("PATH", str(tmp_path))
    for words, lacking in (
        (["--push", "ghcr.io/me/a:1"], "neither skopeo nor podman"),
        (["-k", "sif"], "Apptainer"),
    ):
        refused = wingspan_here("image", "build", *words, cwd=tmp_path)
        assert refused.returncode != 0
        assert lacking in refused.stderr
