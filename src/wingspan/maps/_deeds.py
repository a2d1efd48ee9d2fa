"""What was done to a map's jobs on purpose, and by whom it was not: every process that looks at the map asks here before it infers a loss.

The file ``actions`` in the map's folder has a line for each action, written before it is done: the action, and the clusters it is for.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from wingspan._files import JsonLog
from wingspan.maps._jobs import Job
from wingspan.pools import JobState

__all__ = ["COMPLETE", "Deeds", "stopped_by_owner"]

#: The action that takes jobs of a complete map out of the queue: nobody wanted the map to stop.
COMPLETE = "complete"


class Deeds:
    """The file ``actions`` of one map."""

    def __init__(self, folder: Path) -> None:
        self._log = JsonLog(folder / "actions")
        self._read: list[dict[str, Any]] | None = None
        self._clusters: dict[str, set[str]] = {}
        self._last: dict[str, set[str]] = {}

    def note(self, action: str, clusters: Iterable[str]) -> None:
        """Write down what is about to be done. Where that is not possible it is done all the same."""
        entry = {"action": action, "clusters": sorted(clusters), "time": time.time()}
        with contextlib.suppress(OSError):
            self._log.append(entry)

    def clusters(self, *actions: str) -> set[str]:
        """Clusters to which one of these was done."""
        self._look()
        return set().union(*(self._clusters.get(action, set()) for action in actions))

    def last(self, action: str) -> set[str]:
        """Clusters to which this was done the last time; none if it never was, or could not be written down."""
        self._look()
        return self._last.get(action, set())

    def _look(self) -> None:
        entries = self._log.entries()
        if entries is not self._read:
            self._read = entries
            self._clusters, self._last = {}, {}
            for entry in entries:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self._last[entry["action"]] = set(entry["clusters"])
                    self._clusters.setdefault(entry["action"], set()).update(entry["clusters"])


def stopped_by_owner(job: Job, deeds: Deeds, *, ends_when_held: bool) -> bool:
    """Somebody wanted this job to stop: what it had claimed is not lost, and not a component's fault.

    Args:
        job: The job.
        deeds: What was done on purpose.
        ends_when_held: The job's pool ends jobs that are held or sent away (`Pool.ends_held_jobs`).
    """
    if ends_when_held:
        return job.cluster in deeds.clusters("hold", "vacate")
    if job.state is JobState.HELD:
        return job.held_by_person
    return job.state is JobState.REMOVED
