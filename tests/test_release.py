"""``tools/release.py``: a whole release, against an index on loopback."""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import platform
import re
import runpy
import shutil
import subprocess
import sys
import tarfile
import urllib.request
import zipfile
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import pytest
import yaml

from _waiting import until
from wingspan.pools.personal.ports import free_port

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture
def index(tmp_path: Path) -> Iterator[str]:
    """A package index on loopback that takes everything."""
    if importlib.util.find_spec("pypiserver") is None:  # to import it would change how this process imports
        pytest.skip("no pypiserver")
    (tmp_path / "index").mkdir()
    port = free_port()
    words = ["-m", "pypiserver", "run", "-i", "127.0.0.1", "-p", str(port), "-P", ".", "-a", "."]
    server = subprocess.Popen([sys.executable, *words, str(tmp_path / "index")], stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/"

    def answers() -> bool:
        try:
            with urllib.request.urlopen(f"{address}simple/") as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    try:
        until(lambda: server.poll() is not None or answers(), "the index")
        yield address
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """This tree as a repository of its own, with one commit."""
    folder = tmp_path / "clone"
    left_out = shutil.ignore_patterns(".*", "build", "dist", "__pycache__", "pictures", "tests", "benchmarks")
    shutil.copytree(ROOT, folder, ignore=left_out)
    shutil.copy(ROOT / ".gitignore", folder)
    git(folder, "init", "--quiet", "--initial-branch=main")
    git(folder, "config", "user.name", "Wingspan's tests")
    git(folder, "config", "user.email", "tests@example.org")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "What was there")
    return folder


def git(folder: Path, *words: str) -> str:
    """What git prints."""
    return subprocess.run(["git", "-C", folder, *words], check=True, capture_output=True, text=True).stdout


def release(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """The command of the clone."""
    command = [sys.executable, "tools/release.py", *words]
    known = {"TWINE_USERNAME": "me", "TWINE_PASSWORD": "mine"}
    return subprocess.run(
        command, cwd=folder, env={**os.environ, **known}, capture_output=True, text=True, check=False
    )


@pytest.mark.slow
def test_one_command_makes_a_release_and_publishes_it(clone: Path, index: str, tmp_path: Path) -> None:
    """Version, changelog, commit, tag, packages and check sums; begun again, it makes the same bytes."""
    made = []
    git(clone, "remote", "add", "origin", "ssh://git@git.example.org/pools/wingspan.git")
    for more in (["--site", "https://wingspan.example.org/docs"], ["--publish", "--index", index]):
        done = release(clone, "77.0.1", *more)
        assert done.returncode == 0, done.stdout + done.stderr
        made.append({path.name: path.read_bytes() for path in (clone / "dist/77.0.1").iterdir()})
    assert made[0] == made[1]
    assert git(clone, "describe").strip() == "v77.0.1"
    assert git(clone, "log", "--format=%s").splitlines() == ["Release 77.0.1", "What was there"]
    assert git(clone, "status", "--porcelain") == ""
    assert "\n## 77.0.1 (" in (clone / "CHANGELOG.md").read_text(encoding="utf-8")
    assert list((clone / "changelog.d").glob("*.md")) == []
    provenance = json.loads(made[0].pop("provenance.intoto.json"))
    commit, hatchling, python = provenance["predicate"]["buildDefinition"]["resolvedDependencies"]
    assert commit["digest"] == {"gitCommit": git(clone, "rev-parse", "v77.0.1^{commit}").strip()}
    assert commit["uri"] == "git+https://git.example.org/pools/wingspan@refs/tags/v77.0.1"
    assert hatchling["uri"] == f"pkg:pypi/hatchling@{version('hatchling')}"
    assert python["uri"] == f"pkg:generic/python@{platform.python_version()}"
    sums = dict(reversed(line.split("  ")) for line in made[0].pop("SHA256SUMS").decode().splitlines())
    assert sums == {name: hashlib.sha256(content).hexdigest() for name, content in made[0].items()}
    assert {one["name"]: one["digest"]["sha256"] for one in provenance["subject"]} == sums
    got = tmp_path / "got"
    address = ["--index-url", f"{index}simple/", "--no-deps", "--dest", str(got), "wingspan==77.0.1"]
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "--isolated",
            "download",
            "-q",
            "--disable-pip-version-check",
            *address,
        ],
        check=True,
    )
    (wheel,) = got.iterdir()
    assert wheel.read_bytes() == made[0][wheel.name]
    with zipfile.ZipFile(wheel) as archive:
        assert b'__version__ = "77.0.1"' in archive.read("wingspan/_version.py")
        told = archive.read("wingspan-77.0.1.dist-info/METADATA").decode()
    with tarfile.open(clone / "dist/77.0.1/wingspan-77.0.1.tar.gz") as source:
        packed = source.extractfile("wingspan-77.0.1/PKG-INFO")
        assert packed is not None
        assert packed.read().decode() == told
    assert re.findall(r"^Project-URL: (.*)$", told, re.MULTILINE) == [
        "Homepage, https://wingspan.example.org/docs/",
        "Documentation, https://wingspan.example.org/docs/",
        "Source, https://git.example.org/pools/wingspan",
        "Issues, https://git.example.org/pools/wingspan/issues",
        "Changelog, https://wingspan.example.org/docs/reference/changes.html",
    ]
    raw = "https://git.example.org/pools/wingspan/raw/v77.0.1/docs/pictures/first-session.svg"
    blob = "https://git.example.org/pools/wingspan/blob/v77.0.1/CONTRIBUTING.md"
    assert f"it is loaded again]({raw})" in told
    assert f"]({blob})" in told
    assert "](https://wingspan.example.org/docs/first-map.html)" in told
    assert re.findall(r"\]\((?!https://)[^)]*\)", told) == []
    about = yaml.safe_load((clone / "recipe/recipe.yaml").read_text(encoding="utf-8"))["about"]
    assert about["homepage"] == about["documentation"] == "https://wingspan.example.org/docs/"
    assert about["repository"] == "https://git.example.org/pools/wingspan"
    asked = "import runpy; print(runpy.run_path('docs/conf.py')['html_baseurl'])"
    done = subprocess.run(
        [sys.executable, "-c", asked], cwd=clone, capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "https://wingspan.example.org/docs/"


def test_what_keeps_a_release_from_being_made(clone: Path) -> None:
    """A word that is no version, no address, changed files, an older version, a tag elsewhere: nothing is
    done.
    """
    before = git(clone, "rev-parse", "HEAD")
    assert "is no version" in release(clone, "next").stderr
    assert "nobody has said where the project lives" in release(clone, "79.0.0").stderr
    assert "are not published" in release(clone, "79.0.0", "--publish", "--without-address").stderr
    assert "is no web address" in release(clone, "79.0.0", "--address", "/srv/git/wingspan").stderr
    git(clone, "remote", "add", "origin", "https://git.example.org/pools/wingspan")
    assert "has version" in release(clone, "0.0.1").stderr
    git(clone, "tag", "v78.0.0", "HEAD")
    git(clone, "commit", "--quiet", "--allow-empty", "--message", "Later")
    assert "v78.0.0 is another commit" in release(clone, "78.0.0").stderr
    (clone / "README.md").write_text("changed")
    assert "commit or stash" in release(clone, "79.0.0").stderr
    assert git(clone, "rev-parse", "HEAD~").strip() == before.strip()
    assert git(clone, "tag").split() == ["v78.0.0"]


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ("git@git.example.org:pools/wingspan.git", "https://git.example.org/pools/wingspan"),
        ("ssh://git@git.example.org:2222/pools/wingspan.git", "https://git.example.org/pools/wingspan"),
        ("https://ada:secret@git.example.org/pools/wingspan/", "https://git.example.org/pools/wingspan"),
        ("/srv/git/wingspan.git", None),
        ("../wingspan.git", None),
        ("file:///srv/git/wingspan", None),
        ("http://127.0.0.1/wingspan", None),
    ],
)
def test_the_address_of_a_repository_tells_no_secret(given: str, shown: str | None) -> None:
    """What git calls origin becomes a web address without user and password; a folder has none."""
    assert runpy.run_path(str(ROOT / "tools/release.py"))["web_address"](given) == shown
