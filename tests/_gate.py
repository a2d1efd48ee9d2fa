"""A gate that components of a test wait at."""

from __future__ import annotations

import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from _waiting import PATIENCE

__all__ = ["gate"]


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
