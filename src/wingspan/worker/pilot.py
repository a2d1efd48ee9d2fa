"""Some components first: what they took decides what the others ask for.

The first round of a map with ``Options(pilot=10)`` does only these. The signed file ``pilot`` says which
others there are. The worker that finds the pilot finished publishes the round that does them, with what it
has measured. Its parts are shared: the workers of the pilot go on with them if they have enough.
"""

import json

from . import formats, rounds
from .history import outcome_records
from .parts import Part

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Dict, List, Mapping, Optional

    from .transports import Transport

FILE = "pilot"
_MB = 1 << 20
#: What is asked for beyond what was measured: a quarter more, and what the worker itself takes (bytes).
MARGIN, OWN_MEMORY, OWN_DISK = 1.25, 64 * _MB, 256 * _MB
#: A worker's time is what its components should take, so many times, and this at least (s).
TIMES, LEAST_TIME = 3.0, 1800


def dumps(key: "bytes", parts: "List[Part]", timed: "bool", count: "int") -> "bytes":
    """The file: the parts that come after a pilot of `count` components; `timed` if jobs ask for time."""
    plain = {"parts": [part.to_plain() for part in parts], "timed": timed, "count": count}
    return formats.sign(key, json.dumps(plain))


def plan_for_rest(
    transport: "Transport",
    key: "bytes",
    plans: "Mapping[int, rounds.Plan]",
    usual: "Mapping[str, Any]",
    disk: "int",
) -> "Optional[rounds.Plan]":
    """The round that does what the pilot has left; None: it is published, the pilot is not finished, or there
    is none.

    Args:
        transport: The way to the map's folder.
        key: The map's.
        plans: The rounds that there are.
        usual: What the map's options ask for.
        disk: Bytes of scratch disk that were taken at most, as far as this worker knows; 0: it does not.
    """
    if any(plan.measured for plan in plans.values()):
        return None
    try:
        text = formats.verify(key, transport.read(FILE))
    except FileNotFoundError:
        return None  # the map is too small for a pilot
    if text is None:
        raise ValueError("the file pilot is not signed with this map's key")
    rest = json.loads(text.decode())
    measured = measure(transport, key, plans[0])
    if measured["components"] < rest["count"]:
        return None
    measured["disk"] = disk
    parts = [Part.from_plain(plain) for plain in rest["parts"]]
    for part in parts:
        part.needs.update(
            (name, value)
            for name, value in needs_after(measured, part, usual, rest["timed"]).items()
            if name not in part.needs
        )
        part.shared = True
    plan = rounds.Plan.of(rounds.INITIAL, parts, rounds.newest_function(plans))
    plan.measured = measured
    return plan


def measure(transport: "Transport", key: "bytes", plan: "rounds.Plan") -> "Dict[str, Any]":
    """What the components of a plan took at most: ``memory`` (bytes) and ``wall`` (s), and how many have an
    outcome.
    """
    done = set()
    memory, wall = 0, 0.0
    for name in transport.names("results"):
        for record in outcome_records(transport, key, name):
            inside = [one for one in range(record[4], record[4] + record[2]) if one in plan]
            if inside:
                done.update(inside)
                memory, wall = max(memory, record[8] * 1024), max(wall, record[6] / record[2])
    return {"components": len(done), "memory": memory, "wall": wall}


def needs_after(
    measured: "Mapping[str, Any]", part: "Part", usual: "Mapping[str, Any]", timed: "bool"
) -> "Dict[str, int]":
    """What the components of `part` ask for."""
    needs = {"request_memory": _with_margin(measured["memory"], OWN_MEMORY)}
    if measured["disk"]:
        needs["request_disk"] = _with_margin(measured["disk"], OWN_DISK)
    if timed and usual.get("time") is None:
        each = -(-part.length // part.workers)
        minutes = max(LEAST_TIME, TIMES * each * measured["wall"]) / 60.0
        needs["time"] = 60 * int(-(-minutes // 1))
    return needs


def _with_margin(size: "int", own: "int") -> "int":
    """Bytes, rounded up to 16 MB."""
    step = 16 * _MB
    return -int(-(MARGIN * size + own) // step) * step
