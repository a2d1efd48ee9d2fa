"""Components that need what no worker has that is there. No file is read here."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wingspan.maps._components import Components
from wingspan.maps._jobs import Jobs
from wingspan.pools.submissions import LoggedSubmission
from wingspan.worker import rounds
from wingspan.worker.parts import Part

__all__ = ["Unserved", "unfinished_groups", "unserved"]

#: Seconds between two looks that go through all components, and that a lack must last.
_LOOK_SECONDS = 0.5
#: How often workers are submitted though nothing gets finished.
_MOST_FRUITLESS = 5


def unfinished_groups(known: Components) -> list[tuple[Mapping[str, Any], list[int]]]:
    """Components that are still to be done, by what they need."""
    left = sorted({*known.unfinished(), *known.retryable})
    if known.plans[0].length < known.n:  # what comes after a pilot is in no round before that
        left = [one for one in left if any(one in plan for plan in known.plans.values())]
    return rounds.groups_of(known.plans, left)


def unserved(
    known: Components, entries: Iterable[LoggedSubmission], jobs: Jobs, usual: Mapping[str, Any]
) -> list[tuple[Mapping[str, Any], list[int]]]:
    """Those of them for which no worker is there.

    Args:
        known: What is known of the components.
        entries: All submissions.
        jobs: How the jobs fare.
        usual: What the map's options ask for.
    """
    there = _there(entries, jobs)
    parts = [part for plan in known.plans.values() for part in plan.parts]
    if all(_is_served(part, there, usual) for part in parts):
        return []
    lacking = {_text(part.needs) for part in parts if not _is_served(part, there, usual)}
    lacking -= {_text(part.needs) for part in parts if _is_served(part, there, usual)}
    return [(needs, members) for needs, members in unfinished_groups(known) if _text(needs) in lacking]


def _there(entries: Iterable[LoggedSubmission], jobs: Jobs) -> list[Mapping[str, Any] | None]:
    """The needs of workers in the queue or at work; None: such as do everything."""
    live = {job.worker for job in jobs.live()}
    there: list[Mapping[str, Any] | None] = []
    for entry in entries:
        if live.intersection(entry.numbers):
            there.append(None if entry.external or entry.needs == "all" else entry.needs or {})
    return there


def _is_served(part: Part, there: Sequence[Mapping[str, Any] | None], usual: Mapping[str, Any]) -> bool:
    return any(part.is_for(needs, usual) for needs in there)


def _text(needs: Mapping[str, Any]) -> str:
    return json.dumps(needs, sort_keys=True)


class Unserved:
    """When workers are to be submitted because components need what none has."""

    def __init__(self) -> None:
        self._since: float | None = None
        self._next_look = 0.0
        self._finished, self._fruitless = -1, 0

    def is_due(
        self,
        known: Components,
        entries: Sequence[LoggedSubmission],
        jobs: Jobs,
        usual: Mapping[str, Any],
        now: float,
    ) -> bool:
        """Others are to be submitted now: it has looked so for a moment."""
        if now < self._next_look or not any(plan.has_needs for plan in known.plans.values()):
            return False
        self._next_look = now + _LOOK_SECONDS
        if not unserved(known, entries, jobs, usual):
            self._since = None
            return False
        if self._since is None:
            self._since = now
            return False
        self._since = None
        if known.finished != self._finished:
            self._finished, self._fruitless = known.finished, 0
        self._fruitless += 1
        return self._fruitless <= _MOST_FRUITLESS
