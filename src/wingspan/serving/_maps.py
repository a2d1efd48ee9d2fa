"""Maps that are here: what is new of one, and what a laptop wants to be done to it."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from wingspan.errors import WingspanError
from wingspan.jobs import Size
from wingspan.maps._components import NOTHING
from wingspan.maps._errors import MapRemoved
from wingspan.maps._find import load_folder
from wingspan.maps._kept import forget_checkpoints
from wingspan.pools import JobEvent, get_pool
from wingspan.pools.submissions import LoggedSubmission
from wingspan.serving._answers import Answer, Files
from wingspan.serving._errors import told
from wingspan.worker import rounds
from wingspan.worker.departing import SENT

__all__ = ["OneMap"]

#: What ``map.json`` says that may change while a map is there.
_CHANGING = ("options", "edited", "format", "environment", "tag")


class OneMap:
    """One map."""

    def __init__(self, folder: Path) -> None:
        if not (folder / "map.json").is_file():
            raise MapRemoved("the map was removed on the access point", hint="make it again")
        self._map = load_folder(str(folder))
        self.files = Files(folder)
        self._keeper = self._map._keeper

    def entries(self) -> tuple[LoggedSubmission, ...]:
        """Its submissions."""
        return self._keeper.state.entries

    def look(self, *, reconcile: bool) -> Mapping[str, Any]:
        """Take in what is new, and do what is due if somebody waits."""
        keeper, folder = self._keeper, self._map._folder
        if not folder.exists:
            raise folder.removed()
        keeper.refresh()
        trouble = None
        if reconcile:
            try:
                keeper.reconcile()
            except WingspanError as error:
                trouble = told(error)
        results = keeper.results
        for number in results.plans:
            if not self.files.is_full:
                self.files.whole(f"rounds/{number}/plan")
                function = results.plans[number].function
                if function != rounds.FUNCTION:
                    self.files.whole(function)
                    self.files.whole(str(Path(function).with_suffix(".json")))
        for name, start in results.starts.items():
            self.files.grown(f"results/{name}", start.frames_end)
        for name in ("actions", "notes"):
            self.files.whole(name)
        folder.read_info()
        plain = folder.info.to_json()
        return {
            "info": {name: plain[name] for name in _CHANGING if name in plain},
            "trouble": trouble,
            "stopped": list(keeper.stopped_pools().values()) if not keeper.finished else [],
            "external": [start.name for start in keeper.external()] if not keeper.finished else [],
        }

    def jobs(self) -> Iterable[JobEvent]:
        """Its jobs, each as it is now."""
        first = {entry.cluster: entry.first for entry in self.entries()}
        for job in self._keeper.jobs.by_worker.values():
            yield JobEvent(
                cluster=job.cluster,
                proc=job.worker - first[job.cluster],
                state=job.state,
                time=job.since,
                code=job.code,
                reason=job.reason,
                signal=job.signal,
                host=job.host,
                by_person=job.held_by_person,
                exceeded=job.exceeded,
            )

    def do(self, what: Mapping[str, Any], data: bytes) -> Answer:
        """Do what a request asks for."""
        do = _DO.get(what["do"])
        if do is None:
            raise ValueError(f"{what['do']!r} is not something that can be done")
        return Answer(do(self, what, data) or {})

    def _act(self, what: Mapping[str, Any], _: bytes) -> None:
        self._keeper.act(what["action"], what["reason"])

    def _add(self, what: Mapping[str, Any], _: bytes) -> Mapping[str, Any]:
        pool = get_pool(what["pool"]) if what["pool"] else None
        done = self._keeper.add_workers(what["count"], pool, needs=what["needs"], most=what["most"])
        return {"workers": done}

    def _edit(self, what: Mapping[str, Any], _: bytes) -> Mapping[str, Any]:
        edited = getattr(self._map, f"set_{what['what']}")(Size(int(what["size"])))
        return {"changed": edited.changed, "running": edited.running}

    def _retag(self, what: Mapping[str, Any], _: bytes) -> None:
        self._map.retag(what["tag"])

    def _remove(self, what: Mapping[str, Any], _: bytes) -> None:
        self._map.remove(force=bool(what["force"]))

    def _why(self, _: Mapping[str, Any], __: bytes) -> Mapping[str, Any]:
        self._keeper.refresh()
        return {"waiting": self._keeper.waiting()}

    def _describe(self, _: Mapping[str, Any], __: bytes) -> Mapping[str, Any]:
        return {"text": self._map.submit_description()}

    def _publish(self, what: Mapping[str, Any], data: bytes) -> Mapping[str, Any]:
        """Put a round in place that the other end has signed; whether it was the first of this number."""
        keeper, folder, number = self._keeper, self._map._folder, int(what["number"])
        keeper.refresh()
        plan = rounds.Plan.loads(folder.key, data, number)
        if plan is None:
            raise ValueError("the round is not signed with the map's key")
        if number != max(keeper.results.plans) + 1:
            return {"won": False}
        if plan.kind == rounds.RERUN:
            forget_checkpoints(folder, keeper.results)
        return {"won": keeper.put(plan)}

    def _sent(self, _: Mapping[str, Any], __: bytes) -> Mapping[str, Any]:
        return {"components": list(self._senders())}

    def _senders(self) -> Iterator[int]:
        """Components that have sent files."""
        if (self._map.path / SENT).is_dir():
            for name in os.listdir(self._map.path / SENT):
                if name.isdigit() and self._keeper.results.state[int(name)] != NOTHING:
                    yield int(name)


#: How each request is carried out.
_DO: dict[str, Callable[[OneMap, Mapping[str, Any], bytes], Mapping[str, Any] | None]] = {
    "act": OneMap._act,
    "add": OneMap._add,
    "describe": OneMap._describe,
    "edit": OneMap._edit,
    "publish": OneMap._publish,
    "remove": OneMap._remove,
    "retag": OneMap._retag,
    "sent": OneMap._sent,
    "why": OneMap._why,
}
