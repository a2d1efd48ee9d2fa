"""What is in the wheel that users install."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

import wingspan

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> zipfile.ZipFile:
    """The wheel, built from this tree by its own build backend."""
    target = tmp_path_factory.mktemp("wheel")
    code = f"import hatchling.build; print(hatchling.build.build_wheel({str(target)!r}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return zipfile.ZipFile(target / done.stdout.strip().splitlines()[-1])


def test_wheel_holds_every_file_of_the_package(wheel: zipfile.ZipFile) -> None:
    """Sources, the type marker and data files such as the worker's scripts: what is in src is in the
    wheel.
    """
    source = ROOT / "src"
    tracked = subprocess.run(
        ["git", "ls-files", "src"], cwd=ROOT, capture_output=True, text=True, check=False
    ).stdout.split()
    wanted = {str(Path(name).relative_to("src")) for name in tracked if (ROOT / name).is_file()} or {
        str(path.relative_to(source))
        for path in source.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    names = set(wheel.namelist())
    assert "wingspan/py.typed" in wanted
    assert {"wingspan/worker/supervisor.py", "wingspan/worker/executor.py"} <= wanted
    assert wanted <= names


def test_wheel_holds_the_pages_that_help_shows(wheel: zipfile.ZipFile) -> None:
    """All pages of docs/ but those that the site fills in, and no picture of them."""
    docs = ROOT / "docs"
    found = [path.relative_to(docs) for path in docs.rglob("*.md")]
    pages = {f"wingspan/_docs/{page}" for page in found if page.parts[0] != "reference"}
    assert {name for name in wheel.namelist() if name.startswith("wingspan/_docs/")} == pages


def test_wheel_holds_nothing_else(wheel: zipfile.ZipFile) -> None:
    """No tests, tools, caches or documents: one package and its metadata."""
    top = {name.split("/")[0] for name in wheel.namelist()}
    assert top == {"wingspan", f"wingspan-{wingspan.__version__}.dist-info"}
    assert not [name for name in wheel.namelist() if "__pycache__" in name or "/tests/" in name]


def test_metadata_names_the_command_and_the_licence(wheel: zipfile.ZipFile) -> None:
    """The wheel installs ``wingspan``, needs Python 3.10, and carries its licence."""
    info = f"wingspan-{wingspan.__version__}.dist-info"
    assert "wingspan = wingspan.cli:main" in wheel.read(f"{info}/entry_points.txt").decode()
    metadata = wheel.read(f"{info}/METADATA").decode()
    assert "Requires-Python: >=3.10" in metadata
    assert "License-Expression: BSD-3-Clause" in metadata
    assert f"{info}/licenses/LICENSE" in wheel.namelist()


def test_packages_are_what_pypi_takes_and_can_be_made_again(tmp_path: Path) -> None:
    """Wheel and sdist pass twine's strict check, and have the same bytes when they are built again."""
    pytest.importorskip("twine")
    code = "import sys, hatchling.build as b; [make(sys.argv[1]) for make in (b.build_wheel, b.build_sdist)]"
    made = []
    for name in ("first", "second"):
        folder = tmp_path / name
        subprocess.run([sys.executable, "-c", code, str(folder)], cwd=ROOT, capture_output=True, check=True)
        made.append({path.name: path.read_bytes() for path in folder.iterdir()})
    assert made[0] == made[1]
    assert {Path(name).suffix for name in made[0]} == {".whl", ".gz"}
    files = sorted(map(str, (tmp_path / "first").iterdir()))
    done = subprocess.run(
        [sys.executable, "-m", "twine", "check", "--strict", *files],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_versions_agree() -> None:
    """The package, pyproject.toml and the conda recipe tell the same version."""
    assert f'\nversion = "{wingspan.__version__}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    assert f'  version: "{wingspan.__version__}"\n' in (ROOT / "recipe/recipe.yaml").read_text(
        encoding="utf-8"
    )


@pytest.mark.slow
def test_uv_installs_it_as_a_tool(wheel: zipfile.ZipFile, tmp_path: Path) -> None:
    """The command works from an environment of its own, as `uv tool install` and pipx make it."""
    from wingspan.environments.bundles.linked.prefix import find_uv

    folders = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin")}
    made = subprocess.run(
        [find_uv(), "tool", "install", "-q", "--python", sys.executable, str(wheel.filename)],
        env={**os.environ, **folders},
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stderr
    command = str(tmp_path / "bin/wingspan")
    told = subprocess.run([command, "--version"], capture_output=True, text=True, check=True)
    assert wingspan.__version__ in told.stdout
    page = subprocess.run([command, "help", "first-map"], capture_output=True, text=True, check=True)
    assert page.stdout == (ROOT / "docs/first-map.md").read_text(encoding="utf-8")


def test_a_page_says_what_each_extra_brings() -> None:
    """Every extra of pyproject.toml is in the table of docs/install.md, and none else."""
    tomlkit = pytest.importorskip("tomlkit")
    project = tomlkit.parse((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    page = (ROOT / "docs/install.md").read_text(encoding="utf-8")
    table = page.partition("| extra |")[2].partition("\n\n")[0]
    named = re.findall(r"`(\w+)`", " ".join(line.split("|")[1] for line in table.splitlines()[2:]))
    assert sorted(named) == sorted(project["optional-dependencies"])
