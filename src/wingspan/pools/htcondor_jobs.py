"""Jobs in the queue of an HTCondor schedd: which they are, and what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingspan.jobs import Submission
from wingspan.pools._base import JobEvent, JobState
from wingspan.pools.event_log import USER_REQUEST, EventLog

if TYPE_CHECKING:
    from htcondor2 import Schedd

__all__ = ["HTCondorWatcher", "constraint_of", "own_jobs", "wait_for_shadows"]

#: JobStatus of the job ad (HTCondor manual, "Job ClassAd Attributes").
_JOB_STATUS = {
    1: JobState.IDLE,
    2: JobState.RUNNING,
    3: JobState.REMOVED,
    4: JobState.COMPLETED,
    5: JobState.HELD,
    6: JobState.RUNNING,
    7: JobState.SUSPENDED,
}
_PROJECTION = [
    "ClusterId",
    "ProcId",
    "JobStatus",
    "HoldReason",
    "HoldReasonCode",
    "ExitCode",
    "ExitSignal",
    "RemoveReason",
    "JobMaterializeNextProcId",
]


def constraint_of(submissions: Sequence[Submission]) -> str:
    return " || ".join(f"ClusterId == {int(submission.cluster)}" for submission in submissions)


def own_jobs(schedd: Schedd) -> int:
    """How many jobs this user has in the queue. The schedd counts them, and sends one ad."""
    import htcondor2

    options = htcondor2.QueryOpts.SummaryOnly | htcondor2.QueryOpts.DefaultMyJobsOnly
    for ad in schedd.query("true", ["ClusterId"], opts=options):
        if (count := ad.get("MyJobs")) is not None:
            return int(count)
    return 0


def wait_for_shadows(schedd: Schedd, constraint: str) -> None:
    """Let the shadows of held jobs end before they are released.

    Seen with HTCondor 25.14: a job that is released while its shadow still ends is idle afterwards and never
    offered to the negotiator again, until something else changes its priority.
    """
    deadline = time.monotonic() + 5.0
    while time.monotonic() < deadline:
        if not schedd.query(f"({constraint}) && JobStatus == 5 && CurrentHosts > 0", ["ClusterId"]):
            return
        time.sleep(0.05)


#: HoldReasonSubCode of jobs that took too much memory or disk (HTCondor's sources,
#: ``CONDOR_HOLD_CODE::JobOutOfResources``), the attribute that asks for it, and the unit that this counts in.
_EXCEEDED = {102: ("RequestMemory", 1 << 20), 104: ("RequestDisk", 1 << 10)}


def enlarge_held(schedd: Schedd, constraint: str, memory: int | None, disk: int | None) -> int:
    """Have held jobs that took too much ask for twice as much, at most these bytes, and release them: how
    many.
    """
    import htcondor2

    most = {"RequestMemory": memory, "RequestDisk": disk}
    codes = " || ".join(f"HoldReasonSubCode == {code}" for code in _EXCEEDED)
    wanted = f"({constraint}) && JobStatus == 5 && HoldReasonCode =!= {USER_REQUEST} && ({codes})"
    names = ["ClusterId", "ProcId", "HoldReasonSubCode", *most]
    changed = []
    for ad in schedd.query(wanted, names):
        name, unit = _EXCEEDED[int(ad["HoldReasonSubCode"])]
        limit, asked = most[name], ad.get(name)
        if limit is None or not isinstance(asked, int) or asked >= limit // unit:
            continue
        job = f"ClusterId == {int(ad['ClusterId'])} && ProcId == {int(ad['ProcId'])}"
        schedd.edit(job, name, str(min(2 * asked, limit // unit)))
        changed.append(f"({job})")
    if changed:
        jobs = " || ".join(changed)
        wait_for_shadows(schedd, jobs)
        schedd.act(htcondor2.JobAction.Release, jobs, ("asks for more, through wingspan", 0))
    return len(changed)


class HTCondorWatcher:
    """The event log; the schedd and its history only when asked.

    Args:
        schedd: Gives the schedd for the length of a ``with`` block.
        submissions: Whose jobs are followed.
        log: The event log.
    """

    def __init__(
        self, schedd: Callable[[], AbstractContextManager[Schedd]], submissions: list[Submission], log: Path
    ) -> None:
        self._schedd = schedd
        self._submissions = submissions
        self._log = EventLog(log)

    def poll(self) -> Iterable[JobEvent]:
        return list(self._log.poll())

    def ask(self) -> Iterable[JobEvent]:
        if not self._submissions:
            return []
        import htcondor2

        constraint = constraint_of(self._submissions)
        with self._schedd() as schedd:
            queue = list(schedd.query(constraint, _PROJECTION, opts=htcondor2.QueryOpts.IncludeClusterAd))
            # Of a cluster with max_idle the schedd makes jobs little by little. The cluster's ad says which
            # one is next: later ones are in no list yet.
            to_come = {
                str(ad["ClusterId"]): int(ad["JobMaterializeNextProcId"])
                for ad in queue
                if "ProcId" not in ad and "JobMaterializeNextProcId" in ad
            }
            ads: list[Any] = [ad for ad in queue if "ProcId" in ad]
            known = {(ad["ClusterId"], ad["ProcId"]) for ad in ads}
            wanted = sum(submission.count for submission in self._submissions)
            if len(known) < wanted:
                ads += list(schedd.history(constraint, _PROJECTION, wanted))
        events = {}
        for ad in ads:
            state = _JOB_STATUS.get(ad["JobStatus"], JobState.IDLE)
            job = (str(ad["ClusterId"]), int(ad["ProcId"]))
            if job not in events:
                events[job] = JobEvent(
                    cluster=job[0],
                    proc=job[1],
                    state=state,
                    time=time.time(),
                    code=ad.get("HoldReasonCode") if state is JobState.HELD else ad.get("ExitCode"),
                    reason=ad.get("HoldReason") if state is JobState.HELD else ad.get("RemoveReason"),
                    signal=ad.get("ExitSignal"),
                    by_person=state is JobState.HELD and ad.get("HoldReasonCode") == USER_REQUEST,
                )
        others = []
        for submission in self._submissions:
            begun = to_come.get(submission.cluster, submission.count)
            for process in range(submission.count):
                if (submission.cluster, process) not in events:
                    is_gone = process < begun
                    others.append(
                        JobEvent(
                            cluster=submission.cluster,
                            proc=process,
                            state=JobState.REMOVED if is_gone else JobState.UNMATERIALIZED,
                            time=time.time(),
                            reason="neither in the queue nor in the history of the schedd"
                            if is_gone
                            else None,
                        )
                    )
        return [*events.values(), *others]

    def close(self) -> None:
        self._log.close()
