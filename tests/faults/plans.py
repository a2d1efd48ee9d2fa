"""What happens in a round, decided by a seed and the round's number alone."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import attrs

__all__ = ["ACTIONS", "Plan", "plan_round"]

#: Faults and how often they are chosen. See `injected`.
ANYWHERE = {
    "kill_caller": 3,
    "second_waiter": 2,
    "kill_supervisor": 4,
    "kill_executor": 2,
    "kill_workers": 2,
    "end_worker": 1,
    "pause_worker": 2,
    "pause_callers": 2,
    "act_killed": 5,
    "two_at_once": 3,
    "hold_and_release": 2,
    "shift_times": 1,
    "tear_notes": 2,
    "lock_folder": 2,
    "other_clock": 2,
    "old_listings": 2,
}
OF_MAPS = {
    "rerun": 4,
    "other_pool": 1,
    "retag": 2,
    "cut_results": 2,
    "copy_results": 1,
    "delete_sockets": 1,
    "delete_tag": 1,
    "clean_killed": 2,
}
OF_HTCONDOR = {
    "kill_shadow": 2,
    "kill_starter": 2,
    "kill_schedd": 2,
    "kill_startd": 2,
    "kill_master": 2,
    "kill_pool": 1,
    "stop_pool": 1,
    "vacate_job": 2,
    "remove_job": 2,
    "hold_job": 2,
    "delete_log": 1,
    "pool_command_killed": 2,
}
OF_SMALL_DISKS = {"fill_disk": 12}
#: What an actor may do to a map or run; some are killed in the middle.
ACTIONS = {
    "map": ("rerun", "hold", "release", "vacate", "add_workers", "retag"),
    "run": ("rerun", "hold", "release", "vacate", "fetch"),
}
#: Shapes of maps: least and most components, seconds of each at most.
SHAPES = {"quick": (200, 2000, 0.0), "usual": (40, 200, 0.15), "long": (10, 30, 0.6), "large": (10, 40, 0.2)}


@attrs.define(kw_only=True)
class Plan:
    """One round.

    Attributes:
        seed, number: Name it.
        what: ``"map"`` or ``"run"``.
        pool: Kind of the pool.
        inputs: Of a map ``[number, kind, seconds, size]``; of a run ``[number, kind, steps, seconds, size]``.
        options: Of a map; of a run ``{"every": steps between checkpoints}``.
        faults: ``[seconds after it was made, name, number for its own random choices]``.
        killed_at: The process that makes it is killed at its change with this number; 0: it is not killed.
        end: How it is removed: ``"plain"``, ``"killed"`` first, or ``"contested"`` by others.
        lease: Seconds of silence after which a worker counts as lost; None: as usual.
    """

    seed: int
    number: int
    what: str
    pool: str
    inputs: list[list[Any]]
    options: dict[str, Any]
    faults: list[list[Any]]
    killed_at: int
    end: str
    lease: float | None

    @property
    def name(self) -> str:
        return f"f{self.seed}-{self.number}"

    def write(self, path: Path) -> None:
        path.write_text(json.dumps(attrs.asdict(self)), encoding="utf-8")

    @classmethod
    def read(cls, path: Path) -> Plan:
        return cls(**json.loads(path.read_text(encoding="utf-8")))


def plan_round(
    seed: int,
    number: int,
    *,
    pool: str | None = None,
    what: str | None = None,
    disk: bool = False,
    only: tuple[str, ...] = (),
) -> Plan:
    """Round `number` of `seed`; what is given is not chosen at random.

    >>> plan_round(1, 7) == plan_round(1, 7)
    True
    """
    rng = random.Random(f"{seed}/{number}")
    pool = pool or rng.choice(["local", "personal"])
    what = what or rng.choices(["map", "run"], [3, 1])[0]
    inputs, options = (_map if what == "map" else _run)(rng, pool)
    weights = {
        **ANYWHERE,
        **(OF_MAPS if what == "map" else {}),
        **(OF_HTCONDOR if pool == "personal" else {}),
    }
    if disk:
        weights.update(OF_SMALL_DISKS)
    if only:
        weights = dict.fromkeys(only, 1)
    names = rng.choices(list(weights), list(weights.values()), k=rng.randint(1, 4))
    faults: list[list[Any]] = sorted(
        [round(rng.uniform(0.1, 6.0), 2), name, rng.randrange(1 << 30)] for name in names
    )
    return Plan(
        seed=seed,
        number=number,
        what=what,
        pool=pool,
        inputs=inputs,
        options=options,
        faults=faults,
        killed_at=rng.choice([rng.randint(1, 25), rng.randint(1, 80)]) if rng.random() < 0.2 else 0,
        end=rng.choices(["plain", "killed", "contested"], [2, 1, 1])[0],
        lease=rng.choice([None, None, 2.0, 10.0]),
    )


def _map(rng: random.Random, pool: str) -> tuple[list[list[Any]], dict[str, Any]]:
    shape = rng.choice(list(SHAPES))
    least, most, seconds = SHAPES[shape]
    count = rng.randint(least, most)
    inputs: list[list[Any]] = []
    for number in range(count):
        size = rng.choice([0, 1000, 100_000, 1_000_000]) if shape == "large" else rng.choice([0, 0, 0, 5000])
        inputs.append(
            [number, "quick" if shape == "quick" else "ok", round(rng.uniform(0, seconds), 3), size]
        )
    for number in rng.sample(range(count), rng.randint(0, min(8, count // 4))):
        inputs[number][1] = rng.choice(["raise", "exit", "crash", "unpicklable", "print", "fork"])
    options: dict[str, Any] = {"retries": rng.choice([0, 0, 1, 2])}
    if workers := rng.choice([None, 1, 2, 3, 5]):
        options["workers"] = workers
    if rng.random() < 0.4:
        options["block_size"] = rng.choice([1, 2, 7, count])
    if pool == "personal":
        options["request_memory"] = "64MB"
    return inputs, options


def _run(rng: random.Random, pool: str) -> tuple[list[list[Any]], dict[str, Any]]:
    inputs = [
        [
            number,
            rng.choices(["ok", "fail", "missing"], [8, 1, 1])[0],
            rng.randint(1, 4),
            round(rng.uniform(0.1, 0.5), 2),
            rng.choice([0, 1000, 300_000]),
        ]
        for number in range(rng.randint(1, 6))
    ]
    return inputs, {"every": rng.choice([0, 0, 1, 2])}
