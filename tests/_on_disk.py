"""What maps write down in their folders, read from there as other programs read it."""

from __future__ import annotations

import json
from typing import Any

import wingspan

__all__ = ["map_json", "submissions"]


def map_json(m: wingspan.Map[Any]) -> dict[str, Any]:
    """What the map is: its file `map.json`."""
    facts: dict[str, Any] = json.loads((m.path / "map.json").read_bytes())
    return facts


def submissions(m: wingspan.Map[Any] | wingspan.Run) -> list[dict[str, Any]]:
    """Which jobs work for the map or run, oldest first: a line each in its file `submissions`."""
    return [json.loads(line) for line in (m.path / "submissions").read_bytes().splitlines()]
