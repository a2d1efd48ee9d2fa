"""What tests of maps share: own folders, a gate that components wait at, patience."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import pytest

from _own_folders import data_dir
from _waiting import PATIENCE

__all__ = ["data_dir", "engine", "gate", "other_python"]


@pytest.fixture
def gate(tmp_path: Path) -> SimpleNamespace:
    """A gate that components wait at (``wait``) until the test opens it (``open``)."""
    path = str(tmp_path / "gate")

    def wait() -> None:
        deadline = time.monotonic() + PATIENCE
        while not Path(path).exists():
            if time.monotonic() > deadline:
                raise TimeoutError("the gate was never opened")
            time.sleep(0.01)

    return SimpleNamespace(wait=wait, open=Path(path).touch)


@pytest.fixture
def other_python(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs a script in another Python process and answers what it printed."""

    def run(script: str, *arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-c", script, *map(str, arguments)],
            capture_output=True,
            text=True,
            timeout=4 * PATIENCE,
            cwd=tmp_path,
        )
        assert not check or done.returncode == 0, done.stderr
        return done

    return run


@pytest.fixture(params=["local", "personal", "slurm"])
def engine(request: pytest.FixtureRequest, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each engine that maps run on, ready: the name of its pool."""
    if request.param == "personal":
        data_dir.mkdir(exist_ok=True)
        (data_dir / "personal-pool").symlink_to(request.getfixturevalue("personal_pool").directory)
    if request.param == "slurm":
        for name, value in request.getfixturevalue("slurm_cluster").environment().items():
            monkeypatch.setenv(name, value)
    return str(request.param)
