"""What maps write down in their folders, read from there as other programs read it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import wingspan
from wingspan.worker import formats, trust
from wingspan.worker.rounds import Plan

__all__ = [
    "change_map_json",
    "finished",
    "key",
    "map_json",
    "plans",
    "processes",
    "records",
    "rounds",
    "starts",
    "submissions",
    "take_away",
]


def map_json(m: wingspan.Map[Any]) -> dict[str, Any]:
    """What the map is: its file `map.json`."""
    facts: dict[str, Any] = json.loads((m.path / "map.json").read_bytes())
    return facts


def change_map_json(m: wingspan.Map[Any], **facts: Any) -> None:
    """Have the map's file say something else, as it would of a map that was made otherwise; who loads the
    map anew reads it.
    """
    trust.write_whole(str(m.path / "map.json"), json.dumps({**map_json(m), **facts}).encode())


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


def plans(m: wingspan.Map[Any]) -> dict[int, Plan]:
    """The plan of each round, by number: its file `plan`."""
    found = {}
    for number in rounds(m):
        plan = Plan.loads(key(m), (m.path / "rounds" / str(number) / "plan").read_bytes(), number)
        assert plan is not None, f"the plan of round {number} is whole, and signed with the map's key"
        found[number] = plan
    return found


def starts(m: wingspan.Map[Any]) -> list[str]:
    """Names of the starts of workers that have something to say, each a file: ``worker.start``."""
    return sorted(path.name for path in (m.path / "results").iterdir())


def records(m: wingspan.Map[Any], *kinds: int) -> Iterator[tuple[str, tuple[Any, ...], bytes]]:
    """Records of these kinds that workers have written so far: name of the start, fields, payload. Those of
    each start are in the order in which it wrote them, and workers are in the order of their numbers.
    """
    for name in sorted(starts(m), key=lambda name: [int(number) for number in name.split(".")]):
        data = (m.path / "results" / name).read_bytes()
        for _, count, headers, _ in formats.whole_frames(name, key(m), data, 0):
            at = headers + count * formats.RECORD.size
            for header in range(headers, at, formats.RECORD.size):
                record = formats.RECORD.unpack_from(data, header)
                length = record[-1]
                if record[0] in kinds:
                    yield name, record, data[at : at + length]
                at += length


def processes(m: wingspan.Map[Any], *, have_left: bool = True) -> list[int]:
    """Process ids of the workers that have said which they are; without `have_left`, of those that have not
    said good-bye.
    """
    gone = set() if have_left else {name for name, _, _ in records(m, formats.BYE)}
    return [json.loads(facts)["pid"] for name, _, facts in records(m, formats.HELLO) if name not in gone]


def finished(m: wingspan.Map[Any]) -> set[int]:
    """Components that have an output, whatever a process that looks after the map knows of it."""
    kinds = (formats.OUTPUT, formats.RUN, formats.LARGE)
    return {
        component
        for _, (_, _, count, _, first, *_), _ in records(m, *kinds)
        for component in range(first, first + count)
    }


def submissions(m: wingspan.Map[Any] | wingspan.Run) -> list[dict[str, Any]]:
    """Which jobs work for the map or run, oldest first: a line each in its file `submissions`."""
    path = m.path / "submissions"
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.exists() else []
