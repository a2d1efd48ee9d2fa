"""Folders of a test's own for maps and runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan

__all__ = ["data_dir"]


@pytest.fixture(autouse=True)
def data_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Each test has its own data and configuration folder, and leaves no map behind."""
    folder = tmp_path / "data"
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(folder))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("WINGSPAN_POOL", raising=False)
    yield folder
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(folder))
    for tag in wingspan.tags():
        wingspan.remove(tag, missing_ok=True, force=True)
