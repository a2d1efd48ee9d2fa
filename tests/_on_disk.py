"""What maps write down in their folders, read from there as other programs read it."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import wingspan

__all__ = ["change_map_json", "key", "map_json", "rounds", "starts", "submissions", "take_away"]


def map_json(m: wingspan.Map[Any]) -> dict[str, Any]:
    """What the map is: its file `map.json`."""
    facts: dict[str, Any] = json.loads((m.path / "map.json").read_bytes())
    return facts


def change_map_json(m: wingspan.Map[Any], **facts: Any) -> None:
    """Have the map's file say something else, as it would of a map that was made otherwise; who loads the
    map anew reads it.
    """
    (m.path / "map.json").write_text(json.dumps({**map_json(m), **facts}))


def take_away(folder: Path) -> None:
    """Remove the folder of a map, also while the last worker still tidies it up."""
    elsewhere = folder.rename(folder.parents[1] / f"{folder.name}-gone")
    shutil.rmtree(elsewhere, ignore_errors=True)


def key(m: wingspan.Map[Any]) -> bytes:
    """What the map's records are signed with: its file `key`."""
    return (m.path / "key").read_bytes()


def rounds(m: wingspan.Map[Any]) -> list[int]:
    """Numbers of the map's rounds, each a folder; more than one where something was done again or
    repaired.
    """
    return sorted(int(path.name) for path in (m.path / "rounds").iterdir() if path.name.isdigit())


def starts(m: wingspan.Map[Any]) -> list[str]:
    """Names of the starts of workers that have something to say, each a file: ``worker.start``."""
    return sorted(path.name for path in (m.path / "results").iterdir())


def submissions(m: wingspan.Map[Any] | wingspan.Run) -> list[dict[str, Any]]:
    """Which jobs work for the map or run, oldest first: a line each in its file `submissions`."""
    return [json.loads(line) for line in (m.path / "submissions").read_bytes().splitlines()]
