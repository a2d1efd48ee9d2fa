"""What is in the wheel that users install."""

from __future__ import annotations

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
    """All pages of docs/, and no picture of them."""
    pages = {f"wingspan/_docs/{path.name}" for path in (ROOT / "docs").glob("*.md")}
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


def test_versions_agree() -> None:
    """The package and pyproject.toml tell the same version."""
    assert f'\nversion = "{wingspan.__version__}"\n' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
