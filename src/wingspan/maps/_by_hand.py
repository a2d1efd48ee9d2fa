"""Workers that no Wingspan submitted: those of rendered files, started with plain ``condor_submit`` or ``sbatch``."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from wingspan.worker import formats

if TYPE_CHECKING:
    from wingspan.maps._folder import MapFolder
    from wingspan.maps._jobs import Jobs
    from wingspan.maps._results import Results, WorkerStart

__all__ = ["HINT", "PLANNED_WORKERS", "workers_by_hand"]

#: A map without workers of its own (``Options(workers=0)``) is cut into blocks for so many.
PLANNED_WORKERS = 100
#: What to do about a map that nobody works on.
HINT = "wingspan render htcondor|slurm DIR --from {tag} writes the files that start some"


def workers_by_hand(folder: MapFolder, results: Results, jobs: Jobs) -> list[WorkerStart]:
    """Starts of workers that belong to no submission of ours and have given a sign of life within the lease.

    Nobody tells us of their jobs: what they write is all there is to know.
    """
    lease = float(folder.info.get("lease_seconds", formats.LEASE_SECONDS))
    alive = []
    for start in list(results.starts.values()):
        if start.number < 0 or start.left or start.refused is not None or start.number in jobs.by_worker:
            continue
        seen = folder.transport.modified(f"results/{start.name}")
        if seen is not None and time.time() - seen < lease:
            alive.append(start)
    return alive
