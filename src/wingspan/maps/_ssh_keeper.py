"""The keeper of a map that an access point has, which is reached through SSH.

Nothing is decided here: the keeper over there submits, repairs and publishes rounds. This one keeps a copy of
the map up to date, from which everything is read, and has done over there what its user wants.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from wingspan._words import notice
from wingspan.errors import PoolUnavailable, WingspanError
from wingspan.maps import _keeper_events as ev
from wingspan.maps._components import WorkerStart
from wingspan.maps._done import call_when_done
from wingspan.maps._errors import MapRemoved, TagExists, WorkersCannotStart
from wingspan.maps._folder import MapFolder, tags_root
from wingspan.maps._keeper import Keeper
from wingspan.maps._options import Options
from wingspan.maps._worker_job import output_name
from wingspan.pools import Action, Changed, Pool
from wingspan.pools.ssh_connection import error_of
from wingspan.pools.ssh_mirror import PATIENCE, Mirror
from wingspan.worker import rounds

__all__ = ["SshKeeper"]

#: What an access point may say of a map that is here.
_TOLD = ("options", "edited", "format", "environment")


class SshKeeper(Keeper):
    """The live side of a copy of a map."""

    def __init__(self, folder: MapFolder) -> None:
        super().__init__(folder)
        self._mirror = Mirror(folder.path, folder.info.pool)
        self._seen = (0, 0)
        self._is_wanted = self._told_silent = False

    # -- looking ---------------------------------------------------------------------------------------------

    def refresh(self) -> bool:
        """Bring what is new, and take it in.

        Where the access point does not answer, what was known before is what is known now: a notice says so.

        Raises:
            MapRemoved: The map was removed over there.
            PoolUnavailable: The access point has not answered for minutes.
        """
        with self.lock:
            before = len(self.state.entries)
            wanted, self._is_wanted = self._is_wanted, False
            try:
                self._mirror.look(reconcile=wanted)
                self._told_silent = False
            except PoolUnavailable as error:
                self._tell_silent(error)
            self._take_info()
            news = self.results.poll()
            entries = self.folder.submissions.entries()
            if len(entries) != len(self.state.entries):
                self._follow(ev.SubmissionsRead(entries))
            events, self._seen = self._mirror.events_since(self._seen)
            if events:
                self._follow(ev.JobsTold(tuple(events)))
            self._read_actions()
            news = news or bool(events) or before != len(entries)
            if news:
                self._follow(ev.Looked(time.monotonic(), news))
                if self.finished:
                    call_when_done(self.folder, self.results)
            return news

    def _tell_silent(self, error: PoolUnavailable) -> None:
        if self._mirror.silent_seconds > PATIENCE:
            raise PoolUnavailable(
                f"{error.message}, since {self._mirror.silent_seconds / 60:.0f} minutes",
                hint=f"the map {self.folder.info.tag!r} goes on; ask again later",
            ) from error
        if not self._told_silent:
            self._told_silent = True
            notice(f"{error.message}; map {self.folder.info.tag!r} is shown as it was known last")

    def _take_info(self) -> None:
        """What has changed of the map itself: what its jobs ask for, and get. Its tag is changed by `retag`.
        Nothing else of it is the access point's to say.
        """
        known = self.folder.info.to_json()
        with self._mirror.making_sense():
            said = self._mirror.told.get("info") or {}
            told = {name: said[name] for name in _TOLD if name in said and known.get(name) != said[name]}
            if "format" in told:
                told["format"] = int(told["format"])
            if "edited" in told:
                told["edited"] = {
                    str(what): (int(size), int(since)) for what, (size, since) in told["edited"].items()
                }
            if "options" in told:
                Options.from_dict(told["options"])
            if not isinstance(told.get("environment", {}), dict | None):
                raise TypeError("an environment is no table")
        if told:
            self.folder.update_info(**told)
            self.read_options()

    def reconcile(self) -> None:
        """The next look has the access point do what is due.

        Raises:
            WorkersCannotStart: They refuse, or end before they say hello.
        """
        self._is_wanted = not self.finished or not self.state.tidied
        trouble = self._mirror.told.pop("trouble", None)
        if trouble is not None:
            with self._mirror.making_sense():
                error = error_of(trouble)
            raise error

    def stopped_pools(self) -> dict[str, str]:
        """As over there."""
        with self._mirror.making_sense():
            told = "\n".join(map(str, self._mirror.told.get("stopped") or []))
        return {self.folder.info.pool: told} if told else {}

    def external(self) -> list[WorkerStart]:
        """As over there."""
        with self._mirror.making_sense():
            names = set(self._mirror.told.get("external") or ())
        return [start for start in self.results.starts.values() if start.name in names]

    def _follow(self, event: ev.Event) -> None:
        """Take in what has happened; what follows from it is done over there."""
        self.state.handle(event)

    def adopt(self) -> None:
        """The access point does that."""

    def ask(self) -> None:
        """The access point does that."""

    def _broken_start(self, worker: int) -> tuple[WorkersCannotStart, str]:
        with contextlib.suppress(WingspanError):
            self._mirror.bring(f"workers/{output_name(worker, 0, 'err')}")
        return super()._broken_start(worker)

    def bring(self, name: str) -> None:
        """Bring files that components have sent."""
        self._mirror.bring(name)

    def sent(self) -> list[int] | None:
        """Components that have sent files."""
        with self._mirror.making_sense():
            return sorted(map(int, self._mirror.ask("sent")["components"]))

    # -- doing something about it ----------------------------------------------------------------------------

    def begin(self, pool: Pool, *further: Pool) -> None:
        """Send the map, and have its first workers submitted."""
        moved = (self.folder.info.files or {}).get("moved") or {}
        self._mirror.send({name: Path(source) for source, name in moved.items()})
        self.refresh()

    def add_workers(
        self,
        count: int | None,
        pool: Pool | None = None,
        *,
        for_held: bool = False,
        for_unserved: bool = False,
        needs: Sequence[Mapping[str, Any]] | None = None,
        most: int | None = None,
    ) -> int:
        """Have the access point submit workers, in its own pool."""
        kind = None if pool is None or pool.elsewhere else pool.kind
        plain = None if needs is None else [dict(one) for one in needs]
        told = self._mirror.change("add", count=count, pool=kind, needs=plain, most=most)
        self.refresh()
        with self._mirror.making_sense():
            return int(told["workers"])

    def publish(
        self,
        kind: str,
        components: Iterable[int],
        function: str = rounds.FUNCTION,
        change: Callable[[Mapping[str, Any]], dict[str, Any]] | None = None,
        workers: int | None = None,
    ) -> bool:
        """Publish the next round over there; True if ours was put in place."""
        return self._publish(kind, components, function, change, workers)

    def _put(self, plan: rounds.Plan) -> bool:
        number = max(self.results.plans) + 1
        data, function = plan.dumps(self.folder.key, number), plan.function
        is_there = function in {rounds.FUNCTION, *(known.function for known in self.results.plans.values())}
        files = () if is_there else (str(Path(function).with_suffix(".json")), function)
        told = self._mirror.change("publish", data, files=files, number=number)
        self.refresh()
        with self._mirror.making_sense():
            return bool(told["won"])

    def act(self, action: Action, reason: str, *, for_good: bool = False) -> None:
        """Hold, release, vacate or remove all jobs."""
        self._mirror.change("act", action=action, reason=reason)
        self.refresh()

    def change(self, *, memory: int | None = None, disk: int | None = None) -> Changed:
        """Have jobs that wait, and later ones, ask for so much (bytes)."""
        what, size = ("disk", disk) if memory is None else ("memory", memory)
        told = self._mirror.change("edit", what=what, size=size)
        with self._mirror.making_sense():
            return Changed(changed=int(told["changed"]), running=int(told["running"]))

    def description(self) -> str:
        """What the scheduler over there is told when workers are submitted."""
        with self._mirror.making_sense():
            return str(self._mirror.ask("describe")["text"])

    def retag(self, tag: str) -> None:
        """Give the map over there another tag, if it is free here, too.

        Raises:
            TagExists: It is not free here, or there.
        """
        if (tags_root() / tag).exists() and tag != self.folder.info.tag:
            raise TagExists(f"there is a map with the tag {tag!r} already", hint="choose another tag")
        self._mirror.change("retag", tag=tag)

    def remove_elsewhere(self, *, force: bool) -> bool:
        """Remove the map over there, and its jobs: True, what is here is a copy."""
        with contextlib.suppress(MapRemoved):
            self._mirror.change("remove", force=force)
        return True
