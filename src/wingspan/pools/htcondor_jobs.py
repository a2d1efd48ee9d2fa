"""Jobs in the queue of an HTCondor schedd: which they are, and what becomes of them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from wingspan.jobs import Submission
from wingspan.pools._base import JobEvent, JobState
from wingspan.pools.event_log import ASKS_FOR_MORE, USER_REQUEST, EventLog

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
    """Have held jobs that took too much ask for twice as much, at most these bytes, and release them. Returns
    how many.
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
        schedd.act(htcondor2.JobAction.Release, jobs, (ASKS_FOR_MORE, 0))
    return len(changed)


def _job_ads(queue: Iterable[Any]) -> Iterator[Any]:
    """The ads of jobs, without those of clusters."""
    return (ad for ad in queue if "ProcId" in ad)


def _event_of(ad: Any) -> JobEvent:
    """What the schedd says of a job."""
    state = _JOB_STATUS.get(ad["JobStatus"], JobState.IDLE)
    is_held = state is JobState.HELD
    return JobEvent(
        cluster=str(ad["ClusterId"]),
        proc=int(ad["ProcId"]),
        state=state,
        time=time.time(),
        code=ad.get("HoldReasonCode") if is_held else ad.get("ExitCode"),
        reason=ad.get("HoldReason") if is_held else ad.get("RemoveReason"),
        signal=ad.get("ExitSignal"),
        by_person=is_held and ad.get("HoldReasonCode") == USER_REQUEST,
    )


class HTCondorWatcher:
    """The event log; the schedd when asked, and its history for jobs that have left the queue.

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
        #: Jobs that have left the queue, as the history told: it is asked once for each.
        self._left: dict[tuple[str, int], JobEvent] = {}
        #: Jobs that neither the queue nor the history had once. What is missing twice is taken to be gone.
        self._missed: set[tuple[str, int]] = set()

    def poll(self) -> Iterable[JobEvent]:
        return list(self._log.poll())

    def ask(self) -> Iterable[JobEvent]:
        own = {one.cluster for one in self._submissions}
        left = {job: event for job, event in self._left.items() if job[0] in own}
        there = [one for one in self._submissions if self._may_be_queued(one)]
        if not there:
            return list(left.values())
        import htcondor2

        with self._schedd() as schedd:
            flags = htcondor2.QueryOpts.IncludeClusterAd
            queue = list(schedd.query(constraint_of(there), _PROJECTION, opts=flags))
            events = {(one.cluster, one.proc): one for one in map(_event_of, _job_ads(queue))}
            # Of a cluster with max_idle the schedd makes jobs little by little. The cluster's ad says which
            # one is next: later ones are in no list yet.
            to_come = {
                str(ad["ClusterId"]): int(ad["JobMaterializeNextProcId"])
                for ad in queue
                if "ProcId" not in ad and "JobMaterializeNextProcId" in ad
            }
            missing = [
                (one, process)
                for one in there
                for process in range(min(one.count, to_come.get(one.cluster, one.count)))
                if (one.cluster, process) not in events and (one.cluster, process) not in left
            ]
            if missing:
                left.update(self._ask_history(schedd, missing))
        unmade = [
            JobEvent(cluster=one.cluster, proc=process, state=JobState.UNMATERIALIZED, time=time.time())
            for one in there
            for process in range(to_come.get(one.cluster, one.count), one.count)
            if (one.cluster, process) not in events
        ]
        return [*events.values(), *(event for job, event in left.items() if job not in events), *unmade]

    def _may_be_queued(self, one: Submission) -> bool:
        return any((one.cluster, process) not in self._left for process in range(one.count))

    def _ask_history(
        self, schedd: Schedd, missing: Sequence[tuple[Submission, int]]
    ) -> dict[tuple[str, int], JobEvent]:
        """See what has become of jobs that are not in the queue."""
        wanted = {(one.cluster, process) for one, process in missing}
        clusters = constraint_of(list({one.cluster: one for one, _ in missing}.values()))
        # The newest come first: jobs of these clusters that are known already may be among them.
        most = len(wanted) + len(self._left)
        found: dict[tuple[str, int], JobEvent] = {}
        for event in map(_event_of, schedd.history(clusters, _PROJECTION, most)):
            if (event.cluster, event.proc) in wanted:
                found.setdefault((event.cluster, event.proc), event)
        self._left.update(found)
        for cluster, process in wanted - found.keys():
            found[cluster, process] = JobEvent(
                cluster=cluster,
                proc=process,
                state=JobState.REMOVED,
                time=time.time(),
                reason="neither in the queue nor in the history of the schedd",
            )
            if (cluster, process) in self._missed:
                self._left[cluster, process] = found[cluster, process]
            self._missed.add((cluster, process))
        return found

    def close(self) -> None:
        self._log.close()
