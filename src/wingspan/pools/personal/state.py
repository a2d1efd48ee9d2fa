"""What a personal pool wrote down of itself, and what is told of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Literal

import attrs

from wingspan.pools.personal.processes import ProcessIdentity
from wingspan.worker import trust

__all__ = ["PersonalPoolStatus", "State"]


@attrs.frozen(kw_only=True)
class PersonalPoolStatus:
    """What is known of a personal pool without asking its daemons.

    Attributes:
        state: ``"running"``; ``"crashed"`` when its master died without being asked to; else ``"stopped"``.
        directory: The pool's folder.
        version: HTCondor's version.
        source: Where this HTCondor came from.
        master_pid: Process id of ``condor_master``.
        cpus: How many cores the pool offers, each to one job that asks for one.
        address: The collector's address.
        started: When it was started, seconds since the epoch.
    """

    state: Literal["running", "stopped", "crashed"]
    directory: Path
    version: str | None = None
    source: str | None = None
    master_pid: int | None = None
    cpus: int | None = None
    address: str | None = None
    started: float | None = None


@attrs.frozen
class State:
    """What a started pool wrote down: ``state.json``."""

    master: ProcessIdentity
    version: str
    source: str
    prefix: Path
    cpus: int
    started: float

    @classmethod
    def read(cls, path: Path) -> State | None:
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            return cls(
                ProcessIdentity(**data["master"]),
                data["version"],
                data["source"],
                Path(data["prefix"]),
                data["cpus"],
                data["started"],
            )
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def write(self, path: Path) -> None:
        text = json.dumps({**attrs.asdict(self), "prefix": str(self.prefix)}, indent=1)
        trust.write_whole(str(path), text.encode() + b"\n")
