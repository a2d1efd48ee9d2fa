"""What tests of runs share: own folders, a folder to work in, both pools, a workspace with a small
environment.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from _command_line import wingspan_here
from _waiting import PATIENCE
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool
from wingspan.runs import Run, load_runs


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test works in a folder of its own, has its own data, and leaves no run behind."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("WINGSPAN_POOL", raising=False)
    work = tmp_path / "work"
    work.mkdir()
    monkeypatch.chdir(work)
    yield work
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    for run in load_runs():
        run.remove(force=True)


@pytest.fixture
def use_personal_pool(personal_pool: PersonalPool, monkeypatch: pytest.MonkeyPatch) -> PersonalPool:
    """``pool="personal"`` is the session's pool, whatever the data folder."""
    import wingspan.pools._select as select

    pool = PersonalHTCondorPool(personal_pool)
    real = select._make
    monkeypatch.setattr(select, "_make", lambda kind, data: pool if kind == "personal" else real(kind, data))
    return personal_pool


@pytest.fixture(params=["local", pytest.param("personal", marks=pytest.mark.htcondor)])
def pool(request: pytest.FixtureRequest) -> str:
    """Each test that asks for it runs on both pools."""
    if request.param == "personal":
        request.getfixturevalue("use_personal_pool")
    return str(request.param)


@pytest.fixture
def done() -> Callable[[Run], Run]:
    """Waits for a run, and answers it."""

    def wait(run: Run) -> Run:
        run.wait(PATIENCE)
        return run

    return wait


@pytest.fixture
def wingspan_cli(folders: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in the working folder, in this process."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return wingspan_here(*words, cwd=folders, env={"NO_COLOR": "1"})

    return call


@pytest.fixture
def wingspan_process(folders: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs the command line in the working folder, as a process of its own."""

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "wingspan", *words],
            capture_output=True,
            text=True,
            timeout=2 * PATIENCE,
            cwd=folders,
            env={**os.environ, "NO_COLOR": "1"},
            check=False,
        )

    return call
