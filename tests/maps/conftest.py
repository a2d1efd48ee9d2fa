"""What tests of maps share: own folders, a gate that components wait at, patience."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from _gate import gate
from _own_folders import data_dir
from _waiting import PATIENCE

__all__ = ["data_dir", "engine", "gate", "other_python"]


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


@pytest.fixture(
    params=[
        "local",
        pytest.param("personal", marks=pytest.mark.htcondor),
        pytest.param("slurm", marks=pytest.mark.slurm),
    ]
)
def engine(request: pytest.FixtureRequest, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each engine that maps run on, ready: the name of its pool."""
    if request.param == "personal":
        data_dir.mkdir(exist_ok=True)
        (data_dir / "personal-pool").symlink_to(request.getfixturevalue("personal_pool").directory)
    if request.param == "slurm":
        for name, value in request.getfixturevalue("slurm_cluster").environment().items():
            monkeypatch.setenv(name, value)
    return str(request.param)
