"""Jobs of HTCondor that make no progress: the schedd is reminded of those that it has forgotten."""

from __future__ import annotations

from collections.abc import Set
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from htcondor2 import Schedd

    from wingspan.pools.waiting import Explanation

__all__ = ["EXPLAINED", "remind"]

#: At most so many jobs of a map or run are examined to see why they wait.
EXPLAINED = 200


def remind(schedd: Schedd, found: Explanation, jobs: Set[tuple[int, int]]) -> None:
    """Have the schedd look again at jobs that it has forgotten.

    Seen with HTCondor 25.14: a job that was released while its shadow still ended is not offered to the
    negotiator until its priority is set, even to the same value. A job whose schedd died while it took a
    checkpoint is said to run, and does not.

    Args:
        schedd: Has the jobs.
        found: What is known of them.
        jobs: Those that were not reminded of before.
    """
    import htcondor2

    for cluster, process in sorted(jobs & set(found.neglected))[:EXPLAINED]:
        job = f"ClusterId == {cluster} && ProcId == {process}"
        for ad in schedd.query(job, ["JobPrio"]):
            schedd.edit(job, "JobPrio", str(int(ad.get("JobPrio") or 0)))
    for cluster, process in sorted(jobs & set(found.lost))[:EXPLAINED]:
        schedd.act(htcondor2.JobAction.VacateFast, f"ClusterId == {cluster} && ProcId == {process}")
    schedd.reschedule()
