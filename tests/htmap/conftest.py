"""What tests of `wingspan.htmap` share: own folders, the local pool, settings as they are at import."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from _own_folders import data_dir
from _waiting import PATIENCE
from wingspan import htmap
from wingspan.htmap.settings import follow_htmap_dir

__all__ = ["data_dir", "gate"]


@pytest.fixture(autouse=True)
def _local(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Maps run as local processes, and what a test sets is gone after it."""
    monkeypatch.setenv("WINGSPAN_POOL", "local")
    before = list(htmap.settings.maps)
    htmap.settings.maps = [{}, *before[1:]]
    yield
    htmap.settings.maps = before
    follow_htmap_dir()


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
