"""What tests of `wingspan.htmap` share: own folders, the local pool, settings as they are at import."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from _gate import gate
from _own_folders import data_dir
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
