"""Maps and runs that are here, as a laptop's copies of them see them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wingspan.pools import JobEvent
from wingspan.pools.ssh_mirror import event_to_json
from wingspan.serving._answers import Answer, One
from wingspan.serving._files import folder_of
from wingspan.serving._maps import OneMap
from wingspan.serving._runs import OneRun

__all__ = ["Served"]


class Served:
    """The maps and runs that one connection has asked for."""

    def __init__(self) -> None:
        self._known: dict[Path, One] = {}
        self._events: dict[Path, list[dict[str, Any]]] = {}
        self._jobs: dict[Path, dict[tuple[str, int], JobEvent]] = {}

    def _one(self, what: Mapping[str, Any]) -> One:
        folder = folder_of(what)
        if folder not in self._known:
            self._known[folder] = OneMap(folder) if what["kind"] == "maps" else OneRun(folder)
        return self._known[folder]

    def look(self, what: Mapping[str, Any]) -> Answer:
        """What is new of a map or run."""
        one, folder = self._one(what), folder_of(what)
        if what["here"] is not None:
            one.files.begin(what["here"])
        told = one.look(reconcile=bool(what["reconcile"]))
        events = self._events.setdefault(folder, [])
        known = self._jobs.setdefault(folder, {})
        for event in one.jobs():
            job = event.cluster, event.proc
            if known.get(job) != event:
                known[job] = event
                events.append(event_to_json(event))
        is_full = one.files.is_full
        files, data = one.files.answer()
        plain = {
            **told,
            "files": files,
            "large": one.files.large(),
            "more": is_full,
            "entries": [entry.to_json() for entry in one.entries()[int(what["entries"]) :]],
            "events": events[int(what["events"]) :],
        }
        return Answer(plain, data)

    def do(self, what: Mapping[str, Any], data: bytes) -> Answer:
        """Do something to a map or run."""
        if what["do"] == "remove":
            folder = folder_of(what)
            try:
                return self._one(what).do(what, data)
            finally:
                for table in (self._known, self._events, self._jobs):
                    table.pop(folder, None)
        return self._one(what).do(what, data)
