"""Where maps and runs lie in the data folder of this user.

Both have to know a little of each other: no map and no run have the same name, and each can follow the other.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from wingspan.settings import load_settings

__all__ = ["find_named", "folders", "maps_root", "runs_root", "tags_root"]


def maps_root() -> Path:
    """Where the maps lie."""
    return load_settings().data_dir / "maps"


def tags_root() -> Path:
    """Where their tags lie."""
    return load_settings().data_dir / "tags"


def runs_root() -> Path:
    """Where the runs lie."""
    return load_settings().data_dir / "runs"


def find_named(name: str) -> tuple[Literal["map", "run"], Path] | None:
    """The map with this tag, or the run of this name, and its folder; None: there is none."""
    if "/" in name:
        return None
    with contextlib.suppress(OSError, ValueError):
        if (runs_root() / name / "run.json").is_file():
            return "run", runs_root() / name
        if (tags_root() / name).is_file():
            return "map", maps_root() / (tags_root() / name).read_text().strip()
    return None


def folders() -> Iterator[Path]:
    """The folders of all maps and runs, those too that are being made or removed."""
    for root in (maps_root(), runs_root()):
        with contextlib.suppress(FileNotFoundError):
            yield from root.iterdir()
