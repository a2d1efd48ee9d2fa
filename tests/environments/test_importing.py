"""``wingspan env import``: environments of people who do not use Pixi."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import click.testing
import pytest
import tomlkit
import yaml

import wingspan
from wingspan.cli._main import cli
from wingspan.environments import Imported, Workspace, import_environment, load_environment
from wingspan.environments.bundles.linked.prefix import find_uv
from wingspan.environments.errors import (
    EnvironmentError_,
    ManifestInvalid,
    ManifestNotFound,
    UnsupportedPackages,
)
from wingspan.environments.importing.conda import read_conda_file
from wingspan.environments.importing.installed import read_installed
from wingspan.environments.importing.pypi import Target, resolved
from wingspan.environments.importing.source import recognize
from wingspan.errors import SettingsError

Import = Callable[..., Imported]

PROJECT = """
[project]
name = "mine"
version = "1.2"
requires-python = ">=3.11,<3.12"
dependencies = ["six"]
[project.optional-dependencies]
tables = ["tabulate"]
[build-system]
requires = ["uv_build>=0.8"]
build-backend = "uv_build"
"""
SCRIPT = """# /// script
# requires-python = ">=3.11.1,!=3.11.4,<3.12"
# dependencies = ["tabulate>=0.9"]
# ///
import tabulate
"""


@pytest.fixture
def make(
    local_channel: Path,
    wheels: Path,
    tmp_path_factory: pytest.TempPathFactory,
    monkeypatch: pytest.MonkeyPatch,
) -> Import:
    """Imports with the tests' channel, and with their wheels as the only index."""
    settings_of_uv = tmp_path_factory.mktemp("uv") / "uv.toml"
    settings_of_uv.write_text(f'no-index = true\nfind-links = ["{wheels}"]\npython-downloads = "never"\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(settings_of_uv))

    def make(source: Path | None, folder: Path | None = None, **how: object) -> Imported:
        settings = {"channels": [local_channel.as_uri()], "glibc": "2.34", "python": "3.11"} | how
        return import_environment(source, folder, **settings)  # type: ignore[arg-type]

    return make


def names(folder: Path) -> dict[str, str]:
    """What a workspace's lock has from PyPI; it fits its manifest."""
    env = load_environment(folder)
    assert env.python == "3.11"
    assert {package.name for package in env.packages} >= {"python", "openssl"}
    return {package.name: package.version for package in env.packages if package.kind == "pypi"}


def test_a_requirements_file(make: Import, tmp_path: Path) -> None:
    """Markers count for the workers' platform, and every package has a hash; nothing is replaced unasked."""
    source = tmp_path / "requirements.txt"
    source.write_text("six>=1.10\ntabulate ; sys_platform == 'win32'\n")
    made = make(source)
    assert (made.folder, made.pypi, made.notes) == (tmp_path, 1, ())
    assert names(tmp_path) == {"six": "1.17.0"}
    lock = yaml.safe_load((tmp_path / "pixi.lock").read_text())
    assert [package for package in lock["packages"] if not package.get("sha256")] == []
    with pytest.raises(FileExistsError):
        make(source)
    source.write_text("tabulate\n")
    make(source, overwrite=True)
    assert names(tmp_path) == {"tabulate": "0.9.0"}


@pytest.mark.slow
def test_a_map_runs_in_what_was_imported(
    make: Import, tmp_path: Path, bundle_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From a script with its requirements to a worker that has them and nothing else."""
    (tmp_path / "study.py").write_text(SCRIPT)
    folder = make(tmp_path / "study.py", tmp_path / "made", python=None).folder
    assert names(folder) == {"tabulate": "0.9.0"}
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))

    def table(x: int) -> tuple[str, bool]:
        import importlib.util

        import tabulate  # type: ignore[import-untyped]

        return tabulate.tabulate([[x]], tablefmt="plain"), importlib.util.find_spec("six") is None

    m = wingspan.map(
        table, [7], pool="local", options=wingspan.Options(environment=wingspan.Environment(folder))
    )
    assert list(m) == [("7", True)]
    m.remove()


def test_the_lock_of_a_script_is_of_what_it_needs_now(make: Import, tmp_path: Path) -> None:
    """A lock beside the script is taken as it is: one that was made before a requirement came is an error."""
    script = tmp_path / "study.py"
    script.write_text(SCRIPT)
    subprocess.run(
        [find_uv(), "lock", "--quiet", "--no-cache", "--script", script], check=True, capture_output=True
    )
    assert names(make(script, tmp_path / "made", python=None).folder) == {"tabulate": "0.9.0"}
    script.write_text(SCRIPT.replace('["tabulate>=0.9"]', '["tabulate>=0.9", "six"]'))
    with pytest.raises(ManifestInvalid, match=r"before the requirements of study\.py changed: six") as caught:
        make(script, tmp_path / "again", python=None)
    assert caught.value.hint == "uv lock --script study.py"
    assert not (tmp_path / "again").exists()


def test_a_uv_lock(make: Import, tmp_path: Path) -> None:
    """Its wheels, those of an extra if that is asked for, and the project itself as a folder of one's own."""
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    (tmp_path / "src/mine").mkdir(parents=True)
    (tmp_path / "src/mine/__init__.py").touch()
    subprocess.run(
        [find_uv(), "lock", "--quiet", "--no-cache"], cwd=tmp_path, check=True, capture_output=True
    )
    assert make(tmp_path, python=None).folder == tmp_path
    assert names(tmp_path) == {"six": "1.17.0", "mine": ""}
    make(tmp_path / "uv.lock", tmp_path / "other", extras=["tables"])
    assert names(tmp_path / "other") == {"six": "1.17.0", "tabulate": "0.9.0", "mine": ""}
    manifest = Workspace.open(tmp_path / "other").manifest_path
    assert manifest is not None
    assert 'path = ".."' in manifest.read_text()


def write_wheel(folder: Path, name: str, version: str) -> None:
    """A wheel without any file of its own."""
    folder.mkdir(exist_ok=True)
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}-{version}.dist-info/METADATA", f"Name: {name}\nVersion: {version}\n")
        wheel.writestr(f"{name}-{version}.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr(f"{name}-{version}.dist-info/RECORD", "")


def test_an_environment_yml(
    make: Import, tmp_path: Path, local_channel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Conda solves its packages, uv those of pip with conda's as they are; variables are kept."""
    for version in ("2.0", "99.0"):
        write_wheel(tmp_path / "more", "numpy", version)
    monkeypatch.setenv("UV_FIND_LINKS", str(tmp_path / "more"))
    source = tmp_path / "environment.yml"
    dependencies = ["python=3.11", "numpy >=2", {"pip": ["six", "numpy"]}]
    document = {"name": "study", "channels": [local_channel.as_uri()], "dependencies": dependencies}
    variables = {"STUDY": "1", "LINES": "a\n\tb", "NOTHING": None}
    source.write_text(yaml.safe_dump({**document, "variables": variables}))
    make(source, channels=(), python=None)
    assert names(tmp_path) == {"six": "1.17.0"}
    env = load_environment(tmp_path)
    assert "numpy" in {package.name for package in env.packages if package.kind != "pypi"}
    written = tomlkit.parse((tmp_path / "pixi.toml").read_text()).unwrap()["activation"]["env"]
    assert written == {"STUDY": "1", "LINES": "a\n\tb", "NOTHING": ""}


def test_conda_s_spelling_of_a_name_counts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """conda's ``typing_extensions`` is PyPI's ``typing-extensions``: no wheel of it is added."""
    for name in ("typing_extensions", "other"):
        write_wheel(tmp_path / "more", name, "1.0")
    (tmp_path / "uv.toml").write_text(f'no-index = true\nfind-links = ["{tmp_path / "more"}"]\n')
    monkeypatch.setenv("UV_CONFIG_FILE", str(tmp_path / "uv.toml"))
    found = resolved(
        ["typing-extensions", "other"], Target("linux-64", "3.12"), installed={"typing_extensions": "1.0"}
    )
    assert [package.name for package in found] == ["other"]


def test_a_conda_lock(make: Import, tmp_path: Path, local_channel: Path, wheels: Path) -> None:
    """Exactly the packages that it has for the platform, and no solver."""
    files = sorted(local_channel.glob("*/*.conda"))
    entries = []
    for path in files:
        if path.name.startswith(("scipy", "scikit", "prefix-probe-1")):
            continue
        name, version, _ = path.stem.rsplit("-", 2)
        known = {"sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "md5": "0" * 32}
        known = {"sha256": known["sha256"]}
        entries.append(
            {
                "name": name,
                "version": version,
                "manager": "conda",
                "platform": "linux-64",
                "url": path.as_uri(),
            }
            | {"hash": known, "dependencies": {"python": ">=3.11"} if path.parent.name == "noarch" else {}}
        )
    wheel = next(wheels.glob("six*.whl"))
    digest = hashlib.sha256(wheel.read_bytes()).hexdigest()
    pip = {
        "name": "six",
        "version": "1.17.0",
        "manager": "pip",
        "platform": "linux-64",
        "url": wheel.as_uri(),
    }
    entries += [pip | {"hash": {"sha256": digest}}, entries[0] | {"platform": "osx-64", "name": "elsewhere"}]
    source = tmp_path / "conda-lock.yml"
    source.write_text(yaml.safe_dump({"version": 1, "package": entries}))
    made = make(source, channels=())
    assert (made.conda, made.pypi) == (len(entries) - 2, 1)
    assert names(tmp_path) == {"six": "1.17.0"}
    with pytest.raises(ManifestInvalid, match="no packages for linux-aarch64"):
        make(source, tmp_path / "other", platform="linux-aarch64")


def test_the_environment_that_is_active(
    make: Import, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The versions that are installed, projects in place as folders, and no word of what is not carried."""
    prefix = tmp_path / "venv"
    project = tmp_path / "project"
    (project / "mine").mkdir(parents=True)
    (project / "mine/__init__.py").touch()
    (project / "pyproject.toml").write_text(PROJECT)
    subprocess.run([find_uv(), "venv", "-q", "--python", "3.11", str(prefix)], check=True)
    python = str(prefix / "bin/python")
    subprocess.run([find_uv(), "pip", "install", "-q", "--python", python, "six", "tabulate"], check=True)
    site = next(prefix.glob("lib/python3.*/site-packages"))
    for name, origin in {
        "mine-1.2": {"url": project.as_uri(), "dir_info": {"editable": True}},
        "from_git-3": {"url": "https://example.org/x.git", "vcs_info": {"vcs": "git"}},
        "wingspan-0.1": {},
    }.items():
        info = site / f"{name}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Name: {name.split('-')[0]}\nVersion: {name.split('-')[1]}\n")
        (info / "direct_url.json").write_text(json.dumps(origin))
    (site / "~ix-1.0.dist-info").mkdir()  # a pip that was interrupted leaves such
    monkeypatch.setenv("VIRTUAL_ENV", str(prefix))
    made = make(None, tmp_path / "made", python=None)
    assert names(tmp_path / "made") == {"six": "1.17.0", "tabulate": "0.9.0", "mine": ""}
    (note,) = made.notes
    assert "from_git 3" in note


def test_a_conda_environment_that_is_active(tmp_path: Path) -> None:
    """Its packages are those of its records; what pip has put into it comes from PyPI."""
    site = tmp_path / "lib/python3.12/site-packages"
    for name, installer in (("numpy", "conda"), ("six", "pip")):
        info = site / f"{name}-2.0.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Name: {name}\nVersion: 2.0\n")
        (info / "INSTALLER").write_text(f"{installer}\n")
    record = {
        "name": "numpy",
        "version": "2.0",
        "build": "py312h1_0",
        "depends": ["python"],
        "sha256": "ab" * 32,
    }
    record["url"] = "https://conda.anaconda.org/conda-forge/linux-64/numpy-2.0-py312h1_0.conda"
    (tmp_path / "conda-meta").mkdir()
    (tmp_path / "conda-meta/numpy-2.0-py312h1_0.json").write_text(json.dumps(record))
    (tmp_path / "lib/python3.12/site-packages/six-2.0.dist-info/direct_url.json").write_text("[1]")
    found = read_installed(tmp_path)
    assert (found.python, found.pins, found.left_out) == ("3.12", ("six==2.0",), ())
    (numpy,) = found.conda
    assert (numpy.name, numpy.channel) == ("numpy", "https://conda.anaconda.org/conda-forge")
    assert numpy.facts["sha256"] == "ab" * 32
    (tmp_path / "conda-meta/numpy-2.0-py312h1_0.json").write_text("{}")
    with pytest.raises(ManifestInvalid, match="does not say which package"):
        read_installed(tmp_path)


@pytest.mark.parametrize(
    ("written", "spec"),
    [
        ("python", "python"),
        ("python=3.11", "python 3.11.*"),
        ("python=3.11.*", "python 3.11.*"),
        ("numpy==2.1", "numpy ==2.1"),
        ("numpy >=2,<3", "numpy >=2,<3"),
        ("numpy=2.1=py311h1_0", "numpy ==2.1 py311h1_0"),
        ("conda-forge::numpy>=2", "conda-forge::numpy >=2"),
        ("numpy 2.1", "numpy ==2.1"),
        ("numpy[version='>=2',build=py*]", "numpy >=2 py*"),
    ],
)
def test_specs_of_conda(written: str, spec: str, tmp_path: Path) -> None:
    """Conda's own short form means what it means to conda."""
    (tmp_path / "environment.yml").write_text(yaml.safe_dump({"dependencies": [written]}))
    assert read_conda_file(tmp_path / "environment.yml").specs == (spec,)


@pytest.mark.parametrize(
    ("name", "text", "error", "says"),
    [
        ("requirements.txt", "no-such-package==9\n", EnvironmentError_, "no-such-package"),
        ("requirements.txt", "six==\n", EnvironmentError_, "uv could not resolve"),
        ("environment.yml", "dependencies: {a: 1}\n", ManifestInvalid, "no list of dependencies"),
        ("environment.yml", "dependencies: [\n", ManifestInvalid, "cannot be read"),
        (
            "environment.yml",
            "dependencies: [no-such-package]\n",
            EnvironmentError_,
            "no conda packages were found",
        ),
        ("environment.yml", "dependencies: [pip: ['-r x.txt']]\n", ManifestInvalid, "is not understood"),
        ("uv.lock", "a = [", ManifestInvalid, "uv.lock cannot be read"),
        ("environment.yml", "channels: x\ndependencies: [a]\n", ManifestInvalid, "channels are a list"),
        ("environment.yml", "variables: [x]\ndependencies: [a]\n", ManifestInvalid, "channels are a list"),
        ("conda-lock.yml", "package: [1]\n", ManifestInvalid, "lacks its name"),
        ("conda-lock.yml", "package: []\n", ManifestInvalid, "none at all"),
        ("conda-lock.yml", "a: 1\n", ManifestInvalid, "no lock of conda-lock"),
        ("conda-lock.yml", "package: [{platform: linux-64}]\n", ManifestInvalid, "lacks its name"),
        ("script.py", "import six\n", ManifestInvalid, "does not say what it needs"),
        ("script.py", "# /// script\n# a = \n# ///\n", ManifestInvalid, "no TOML"),
        (
            "script.py",
            "# /// script\n# requires-python = '>=4'\n# ///\n",
            EnvironmentError_,
            "wants Python >=4",
        ),
        ("notes.rst", "", ManifestInvalid, "nothing that an environment can be made of"),
    ],
)
def test_what_cannot_be_imported(
    name: str, text: str, error: type[Exception], says: str, make: Import, tmp_path: Path
) -> None:
    """Each is one sentence, and nothing is written."""
    (tmp_path / name).write_text(text)
    with pytest.raises(error, match=says):
        make(tmp_path / name, python=None)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["python", "platform", "glibc", "cuda"])
def test_versions_of_another_form(name: str, tmp_path: Path) -> None:
    """A version that is none is said to be so before uv is asked; nothing is written."""
    (tmp_path / "requirements.txt").write_text("six\n")
    with pytest.raises(SettingsError, match=f"{name}='x' cannot be used"):
        import_environment(tmp_path / "requirements.txt", **{name: "x"})  # type: ignore[arg-type]
    assert os.listdir(tmp_path) == ["requirements.txt"]


@pytest.mark.parametrize(
    ("said", "hint"),
    [
        ("cause: Because x==4.2.0 has no usable wheels", "a package without a wheel"),
        ("cause: error sending request for url (https://127.0.0.1:9/x/)", "reaches the index"),
        ("cause: Because connectorx was not found in the package registry", "correct the names"),
    ],
)
def test_the_next_step_is_that_of_what_uv_says(
    said: str, hint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A missing wheel, a server that is not reached, and a wrong name are told apart."""
    uv = tmp_path / "uv"
    uv.write_text(f"#!/bin/sh\necho '{said}' >&2\nexit 1\n")
    uv.chmod(0o700)
    monkeypatch.setattr("wingspan.environments.importing.pypi.find_uv", lambda: str(uv))
    with pytest.raises(EnvironmentError_, match="uv could not resolve it") as caught:
        resolved(["x"], Target("linux-64", "3.12"))
    assert hint in str(caught.value.hint)


@pytest.mark.parametrize(("glibc", "asked"), [("2.17", "2_17"), ("2.30", "2_28"), ("2.99", "2_40")])
def test_a_glibc_that_uv_does_not_know(glibc: str, asked: str) -> None:
    """uv is asked for the next lower one that it knows."""
    assert Target("linux-64", "3.12", glibc).uv_options[-1] == f"x86_64-manylinux_{asked}"


def test_a_package_without_a_wheel_for_the_workers(
    make: Import, tmp_path: Path, wheels: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A lock of uv that has only a source of it: the package is named, and what to do."""
    lock = 'version = 1\nrequires-python = ">=3.11"\n[[package]]\nname = "mine"\nversion = "1"\nsource = { virtual = "." }\n'
    lock += 'dependencies = [{ name = "old" }]\n[[package]]\nname = "old"\nversion = "2"\n'
    lock += 'source = { registry = "https://pypi.org/simple" }\n'
    lock += 'sdist = { url = "https://example.org/old-2.tar.gz", hash = "sha256:' + "0" * 64 + '" }\n'
    (tmp_path / "uv.lock").write_text(lock)
    project = '[project]\nname = "mine"\nversion = "1"\nrequires-python = ">=3.11"\ndependencies = ["old"]\n'
    (tmp_path / "pyproject.toml").write_text(project)
    monkeypatch.delenv("UV_CONFIG_FILE")
    with pytest.raises(UnsupportedPackages, match="old 2"):
        make(tmp_path)


def test_what_is_not_there(tmp_path: Path) -> None:
    """A file that is not there, a folder with nothing in it."""
    with pytest.raises(ManifestNotFound, match="is not there"):
        recognize(tmp_path / "requirements.txt")
    with pytest.raises(ManifestNotFound, match="nothing to import"):
        recognize(tmp_path)


def test_on_the_command_line(make: Import, tmp_path: Path, local_channel: Path) -> None:
    """It says where the lock is and what it has; a source or --active is named, and not both."""
    (tmp_path / "requirements.txt").write_text("six\n")
    words = ["env", "import", str(tmp_path / "requirements.txt"), "--to", str(tmp_path / "made")]
    words += ["--glibc", "2.34", "--python", "3.11", "--channel", local_channel.as_uri()]
    done = click.testing.CliRunner().invoke(cli, words)
    assert done.output.splitlines()[-1].endswith("made/pixi.lock: 12 conda packages and 1 wheel")
    assert sorted(os.listdir(tmp_path / "made")) == ["pixi.lock", "pixi.toml"]
    done = click.testing.CliRunner().invoke(cli, [*words, "--overwrite", "--json"])
    assert json.loads(done.stdout)["pypi"] == 1
    for wrong, told in (
        (["env", "import"], "name a source, or --active"),
        ([*words, "--active"], "name a source, or --active"),
        ([*words, "--json", "--bundle"], "--json goes without --bundle"),
    ):
        done = click.testing.CliRunner().invoke(cli, wrong)
        assert (done.exit_code, told in done.output) == (2, True)


def _entry(**changed: object) -> dict[str, object]:
    """A package as conda-lock has it."""
    url = "https://c.example.org/a/linux-64/x-1-0.conda"
    plain = {"name": "x", "version": "1", "manager": "conda", "platform": "linux-64", "url": url}
    return {**plain, "hash": {"sha256": "ab" * 32}, "dependencies": {"y": ">=2"}, **changed}


_PIP = {"name": "y", "manager": "pip", "url": "https://f.example.org/y-1-py3-none-any.whl"}


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        (_entry(hash={}), "has no sha256 and no md5"),
        (_entry(hash={"sha256": "../../x"}), "has no sha256 and no md5"),
        (_entry(hash={"sha256": 5}), "has no sha256 and no md5"),
        (_entry(**_PIP, hash={"md5": "ab" * 16}), "has no sha256"),
        (_entry(**{**_PIP, "url": "https://f.example.org/y-1.tar.gz"}), "a file that ends with .whl"),
        (_entry(**{**_PIP, "url": "git+https://f.example.org/y.git"}), "a file that ends with .whl"),
        (_entry(url="x-1-0.conda"), "no address of a file"),
        (_entry(url="https:x-1-0.conda"), "no address of a file"),
        (_entry(url="https://[c/noarch/x-1-0.conda"), "no address of a file"),
        (_entry(url="https://me:s3cret@c.example.org/x"), "no address of a file"),
        (_entry(name="../../x"), "has a part '..'"),
        (_entry(name="x\ny"), "no plain text"),
        (_entry(name="x\udcff"), "no plain text"),
        (_entry(version=["1"]), "no plain text"),
        (_entry(dependencies={"y": ["1"]}), "no plain text"),
        (_entry(version="2"), "two packages x"),
    ],
)
def test_a_conda_lock_that_could_not_be_checked(entry: dict[str, object], says: str, tmp_path: Path) -> None:
    """What has no digest, no place or no plain name is refused before anything is written."""
    source = tmp_path / "conda-lock.yml"
    source.write_text(yaml.safe_dump({"version": 1, "package": [_entry(), entry]}))
    with pytest.raises(EnvironmentError_, match=says) as caught:
        import_environment(source)
    assert "s3cret" not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == [source.name]


def test_of_a_conda_lock_only_digests_are_taken_as_digests(tmp_path: Path) -> None:
    """The table of digests says nothing else of a package; the same package twice is one."""
    source = tmp_path / "conda-lock.yml"
    said = {"md5": "AB" * 16, "name": "z", "depends": ["evil"]}
    source.write_text(yaml.safe_dump({"version": 1, "package": [_entry(hash=said)] * 2}))
    assert import_environment(source).conda == 1
    (package,) = yaml.safe_load((tmp_path / "pixi.lock").read_text())["packages"]
    assert (package["name"], package["depends"], package["md5"]) == ("x", ["y >=2"], "ab" * 16)


_BOMB = "a: &a [x, x, x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}, *{chr(97 + n)}, *{chr(97 + n)}]\n"
    for n in range(24)
)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("dependencies:\n" + "- " * 700 + "x\n", "too deep in each other"),
        (_BOMB + "name: *y\ndependencies: []\n", "no plain text"),
        (_BOMB + "dependencies: [*y]\n", "is no dependency"),
        (_BOMB + "channels: [*y]\ndependencies: []\n", "no plain text"),
        ("variables: {X: {}}\ndependencies: []\n", "no plain text"),
        ("dependencies: ['numpy[md5=0123456789abcdef0123456789abcdef]']\n", "more is asked"),
        ("dependencies: ['conda-forge/osx-64::numpy']\n", "more is asked"),
        ("dependencies: ['https://c.example.org/linux-64/a-1-0.conda']\n", "more is asked"),
        ("dependencies: ['numpy; os_name == 1']\n", "is no dependency"),
        ("dependencies: ['']\n", "is no dependency"),
    ],
)
def test_an_environment_yml_that_makes_no_sense(text: str, says: str, tmp_path: Path) -> None:
    """It is one short sentence, however much a few lines of YAML stand for."""
    (tmp_path / "environment.yml").write_text(text)
    with pytest.raises(ManifestInvalid, match=says) as caught:
        read_conda_file(tmp_path / "environment.yml")
    assert len(str(caught.value)) < 1_000


def test_the_channel_of_a_dependency_is_kept(make: Import, local_channel: Path, tmp_path: Path) -> None:
    """``channel::name`` is taken from that channel, in the lock and in the manifest, though another one has
    it too.
    """
    where = local_channel.as_uri()
    dependencies = ["python=3.11", f"{where}::numpy"]
    (tmp_path / "environment.yml").write_text(
        yaml.safe_dump({"channels": ["nodefaults"], "dependencies": dependencies})
    )
    make(tmp_path / "environment.yml", channels=(), python=None)
    assert f'numpy = {{version = "*", channel = "{where}"}}' in (tmp_path / "pixi.toml").read_text()
    load_environment(tmp_path)


_EXECUTED = "#!/bin/sh\n: > '{mark}'\nexec '{python}' \"$@\"\n"


@pytest.mark.parametrize("name", ["requirements.txt", "uv.lock", "script.py", "--help.txt"])
def test_nothing_beside_the_file_is_executed(name: str, make: Import, tmp_path: Path) -> None:
    """uv does not ask a Python that lies beside a foreign file, and builds nothing."""
    folder, mark = tmp_path / "theirs", tmp_path / "EXECUTED"
    (folder / ".venv/bin").mkdir(parents=True)
    (folder / ".venv/pyvenv.cfg").write_text("home = /usr/bin\n")
    for place in (folder / ".venv/bin/python", folder / ".venv/bin/python3"):
        place.write_text(_EXECUTED.format(mark=mark, python=sys.executable))
        place.chmod(0o755)
    (folder / "evil").mkdir()
    (folder / "evil/setup.py").write_text(
        f"open({str(mark)!r}, 'w')\nimport setuptools\nsetuptools.setup()\n"
    )
    (folder / "pyproject.toml").write_text(
        "[project]\nname = 'p'\nversion = '1'\nrequires-python = '>=3.10'\n"
    )
    lock = 'version = 1\nrequires-python = ">=3.10"\n[[package]]\nname = "p"\nversion = "1"\nsource = { virtual = "." }\n'
    texts = {
        "uv.lock": lock,
        "script.py": "# /// script\n# dependencies = ['evil @ file://%s']\n# ///\n" % (folder / "evil"),
    }
    (folder / name).write_text(texts.get(name, ""))
    with pytest.raises(EnvironmentError_, match="evil") if name == "script.py" else nullcontext():
        make(folder / name, tmp_path / "ours")
    assert not mark.exists()


def test_what_is_installed_under_a_name_that_is_none(tmp_path: Path) -> None:
    """Metadata of a package cannot put options or lines before uv."""
    site = tmp_path / "lib/python3.11/site-packages"
    for number, (name, url) in enumerate([("-r x", None), ("good", "https://h/a.whl\n-r y"), ("six", None)]):
        folder = site / f"p{number}-1.dist-info"
        folder.mkdir(parents=True)
        (folder / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1\n")
        if url:
            (folder / "direct_url.json").write_text(json.dumps({"url": url, "dir_info": 5}))
    found = read_installed(tmp_path)
    assert found.pins == ("six==1",)
    assert len(found.left_out) == 2
