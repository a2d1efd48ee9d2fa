"""Files that are drawn with: scripts and styles."""

from __future__ import annotations

import functools
import importlib.resources

__all__ = ["static_text"]


@functools.cache
def static_text(name: str) -> str:
    """A file of `wingspan/views/static`."""
    folder = importlib.resources.files("wingspan.views") / "static"
    return (folder / name).read_text(encoding="utf-8")
