"""External workers: those of rendered files, which a person submits with ``condor_submit`` or ``sbatch``."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan.jobs import Submission
from wingspan.pools import JobEvent, pool_at
from wingspan.pools.event_log import EventLog
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.maps._components import Components, WorkerStart
    from wingspan.maps._folder import MapFolder
    from wingspan.maps._jobs import Jobs

__all__ = [
    "HINT",
    "NOTE",
    "NUMBERS",
    "PLANNED_WORKERS",
    "ExternalSubmissions",
    "external_workers",
    "is_owned",
    "note_rendered",
]

#: What the event log says of external jobs (``submit_event_user_notes``).
NOTE = "wingspan workers by hand"
#: Appended to the number of a submission, so that no two workers of a map have the same number: two
#: schedulers may both count from 1.
NUMBERS = {"htcondor": "000000", "slurm": "500000"}

#: A map without workers of its own (``Options(workers=0)``) is cut into blocks for so many.
PLANNED_WORKERS = 100
#: What to do about a map that nobody works on.
HINT = "wingspan render htcondor|slurm DIR --from {tag} writes the files that start some"


class ExternalSubmissions:
    """External jobs that HTCondor's event log tells of: they are written down like the jobs that we submit.

    From then on status, hold, release, vacate and remove know them.
    """

    def __init__(self, folder: MapFolder) -> None:
        self._folder = folder
        self._path = folder.path / "events.log"
        self._log: EventLog | None = None
        self._seen: dict[str, set[int]] = {}
        self._schedds: dict[str, str] = {}
        self._written: dict[str, int] = {}

    def poll(self) -> list[JobEvent]:
        """New events.

        Call it only if the map has no jobs of ours in HTCondor: otherwise the watcher of these jobs reads the
        log.
        """
        if self._log is None:
            if not self._path.exists():
                return []
            self._log = EventLog(self._path)
        try:
            return list(self._log.poll())
        except ImportError:  # no bindings: all that is known of these jobs is what they write
            return []

    def take(self, events: Iterable[JobEvent], known: Iterable[Submission]) -> None:
        """Write down external jobs, if this process can speak with their schedd."""
        for event in events:
            if event.notes == NOTE and event.proc >= 0:
                self._seen.setdefault(event.cluster, set()).add(event.proc)
                self._schedds[event.cluster] = event.schedd or ""
        if not self._seen:
            return
        for one in known:
            self._written[one.cluster] = max(one.count, self._written.get(one.cluster, 0))
        for cluster, processes in self._seen.items():
            count = max(processes) + 1
            if count > self._written.get(cluster, 0) and (pool := pool_at(self._schedds[cluster])):
                self._write(Submission(pool=pool.kind, cluster=cluster, count=count), pool.place)

    def _write(self, one: Submission, place: str | None) -> None:
        """Write down an external submission, unless another process that sees the same has done so."""
        log = self._folder.submissions
        with log.alone() as held:
            if not held:
                return  # the next look does
            known = [
                entry.count
                for entry in log.entries()
                if (entry.pool, entry.cluster) == (one.pool, one.cluster)
            ]
            if one.count > max(known, default=0):
                first = int(f"{one.cluster}{NUMBERS['htcondor']}")
                log.add(one, first=first, place=place, external=True)
        self._written[one.cluster] = one.count

    def close(self) -> None:
        """Let go of the log."""
        if self._log is not None:
            self._log.close()
            self._log = None


def note_rendered(folder: Path, rendered: Path) -> None:
    """Somebody has files in `rendered` that start workers for the map in `folder`."""
    with open(folder / "rendered", "a", encoding="utf-8", opener=trust.opener) as file:
        file.write(json.dumps(str(rendered.absolute())) + "\n")


def is_owned(folder: Path) -> bool:
    """Rendered files that start workers for the map in `folder` still exist: the person who has them needs
    the map."""
    try:
        lines = (folder / "rendered").read_text(encoding="utf-8").splitlines()
        return any(Path(json.loads(line)).is_dir() for line in lines)
    except (OSError, ValueError):
        return False


def external_workers(folder: MapFolder, results: Components, jobs: Jobs) -> list[WorkerStart]:
    """Starts of workers that belong to no submission of ours and have given a sign of life within the lease.

    No pool tells of their jobs (Slurm's, or those of another HTCondor): all that is known of them is what
    they write.
    """
    alive = []
    for start in results.newest_starts():
        if start.left or start.refused is not None or start.number in jobs.by_worker:
            continue
        seen = folder.transport.modified(f"results/{start.name}")
        if seen is not None and folder.was_written_lately(seen):
            alive.append(start)
    return alive
