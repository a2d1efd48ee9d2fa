"""HTCondor from conda-forge, by py-rattler."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from wingspan.pools.personal.errors import SourceError
from wingspan.progress import Progress

__all__ = ["obtain"]


def obtain(work: Path, place: Callable[[str], Path], progress: Progress) -> tuple[str, str]:
    raise SourceError("not written yet")
