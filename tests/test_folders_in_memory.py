"""Where the tests themselves have their folders: pytest's option ``--in-memory``."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MEMORY = Path("/dev/shm")

_TESTS = """
import pytest
@pytest.fixture(scope="module", autouse=True)
def large(tmp_path_factory): (tmp_path_factory.mktemp("large") / "file").write_text("of a module")
def test_good(tmp_path): (tmp_path / "file").write_text(str(tmp_path))
def test_bad(tmp_path): assert not (tmp_path / "file").write_text(str(tmp_path))
"""


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A folder with this conftest.py and two tests, one of which fails."""
    shutil.copy(ROOT / "conftest.py", tmp_path)
    (tmp_path / "test_two.py").write_text(_TESTS)
    return tmp_path


def _folders(checkout: Path, *words: str) -> list[Path]:
    """What a session with these words leaves in memory; that is removed then."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--in-memory", *words]
    with subprocess.Popen(
        command, cwd=checkout, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT
    ) as session:
        told, _ = session.communicate()
    left = list(MEMORY.glob(f"wingspan-tests-{os.geteuid()}-{session.pid}-*"))
    found = [file.relative_to(left[0]) for file in left[0].rglob("file")] if left else []
    for folder in left:
        shutil.rmtree(folder)
    assert b"passed" in told or b"failed" in told, told
    return found


def test_nothing_is_left_in_memory(checkout: Path) -> None:
    """Where all is well, no folder of the tests is left; where a test fails, its own is, and no other."""
    assert _folders(checkout, "-k", "good") == []
    left = _folders(checkout)
    assert left in ([], [Path("test_bad0/file")])  # none where there is no room in memory
