"""What tests of maps share: own folders, a gate that components wait at, patience."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from _each_engine import engine
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
