"""Larger requests for what was ended because it took too much: the part of a keeper that asks for them."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from typing import Any

from wingspan.errors import PoolError
from wingspan.maps import _keeper_events as ev
from wingspan.maps._growth import Growth, grown, told_of, told_of_pilot
from wingspan.maps._keeper_submits import Submits
from wingspan.pools.submissions import by_pool
from wingspan.worker import rounds

__all__ = ["Grows"]


class Grows(Submits):
    """The part of a `wingspan.maps._keeper.Keeper` that asks for more."""

    _growths: Growth | None = None
    _pilot_seen = False
    _held_before: frozenset[tuple[int, float]] = frozenset()

    @property
    def _growth(self) -> Growth:
        if self._growths is None:
            self._growths = Growth(self.results)
        return self._growths

    def _see_pilot(self) -> None:
        """Submit workers for the other components once a pilot has decided what these ask for, unless
        that was done.
        """
        if self._pilot_seen or not self.options.pilot:
            return
        for plan in self.results.plans.values():
            if plan.measured is None:
                continue
            self._pilot_seen = True
            known = [entry.needs for entry in self.state.entries]
            wanted = [part.needs for part in plan.parts if part.needs not in known]
            if wanted:
                for needs in wanted:
                    self.folder.note(told_of_pilot(plan.measured, needs))
                self.add_workers(None, needs=wanted)

    def _enlarge(self) -> None:
        """Do what is due: do components again that took too much, and release held jobs that did."""
        if self.options.retry_memory is None and self.options.retry_disk is None:
            return
        if self._growth.pending:
            self._grow()
        held = frozenset(
            (job.worker, job.since) for job in self.state.jobs.held if not self.state.stopped_by_owner(job)
        )
        if held - self._held_before:
            self._held_before = held
            self._enlarge_held()

    def _enlarge_held(self) -> None:
        """Jobs that are held because they took too much ask for more, and are released."""
        for kind, submissions in by_pool(self.state.entries).items():
            with contextlib.suppress(PoolError):
                count = self._pool(kind).enlarge(
                    submissions, memory=self.options.retry_memory, disk=self.options.retry_disk
                )
                if count:
                    who = "1 held job asks" if count == 1 else f"{count:,} held jobs ask"
                    self.folder.note(f"{who} for twice as much as before, and may go on")

    def _took_too_much(self, request: ev.Publish) -> bool:
        """Workers that are gone were ended because they took more memory than they had asked for."""
        if request.kind != rounds.REPAIR or self.options.retry_memory is None:
            return False
        gone = None if request.owners is None else {int(name.partition(".")[0]) for name in request.owners}
        jobs = [job for job in self.state.jobs.by_worker.values() if gone is None or job.worker in gone]
        return any(job.exceeded == "memory" for job in jobs)

    def _larger(self, needs: Mapping[str, Any]) -> dict[str, Any]:
        return grown("memory", needs, self.options) or dict(needs)

    def _grow(self) -> None:
        """Have components that took too much done again with more."""
        with self.lock:
            groups = self._growth.groups()
            workers = self.options.workers or self.folder.info.workers
            if not self._put(rounds.plan_by_needs(rounds.RETRY, groups, workers, self.options.block_size)):
                return  # another writer was first: look again
            self._follow(ev.Published(True))
            for needs, members in groups:
                self.folder.note(told_of(needs, len(members)))
            self._growth.look(self.options)
            self.add_workers(None, needs=[needs for needs, _ in groups])
