"""Why jobs wait, or are started again and again, as far as a scheduler can tell.

The scheduler is asked once for all jobs of a map or run, and seldom: only while jobs seem to be stuck.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.errors import PoolError
from wingspan.pools.ads import value
from wingspan.pools.submit_description import COMES_BACK

if TYPE_CHECKING:
    from wingspan.jobs import Submission
    from wingspan.pools._base import Pool

__all__ = ["Explainer", "Explanation", "explain"]

#: Seconds after which jobs that have not moved are asked about, and asked about again; on a site's pool less
#: and less often.
PATIENCE = 5.0
AGAIN_AT_MOST = 1800.0
#: Seconds after which a job is lost that the schedd says runs and that no slot has.
LOST = 15.0
#: Starts that end within so many seconds, on average, have failed.
SHORT = 60.0
#: How many groups of alike jobs are looked at.
_GROUPS = 3
#: Why a job was sent off its machine where nothing is wrong with it: holds, policies, people, priorities
#: (HTCondor's sources, condor_holdcodes.h).
_DELIBERATE = frozenset(
    {1, 3, 15, 26, 1000, 1001, 1004, 1005, 1010, 1011, *range(1013, 1020), 1022, 1023, 1025}
)


@attrs.frozen
class Explanation:
    """What is known of jobs that make no progress.

    Attributes:
        message: What keeps them, with the next step; None: nothing unusual.
        neglected: Jobs ``(cluster, proc)`` that wait although a slot is free for them.
        lost: Jobs ``(cluster, proc)`` that are said to run, and that no slot knows.
    """

    message: str | None = None
    neglected: tuple[tuple[int, int], ...] = ()
    lost: tuple[tuple[int, int], ...] = ()


def _text(ad: Any, name: str) -> str:
    value = ad.get(name)
    return value if isinstance(value, str) else ""


def _failing(jobs: Sequence[Any]) -> str | None:
    """Jobs whose starts end within moments, with the last reason that HTCondor gives.

    Jobs that come back by themselves are none of them:

    >>> job = {"NumShadowStarts": 9, "ExitCode": 85}
    >>> _failing([job]) is None, _failing([{**job, COMES_BACK: 85}]) is None
    (False, True)
    """
    found = []
    for ad in jobs:
        starts = int(value(ad, "NumShadowStarts"))
        reason, code = _text(ad, "VacateReason"), ad.get("VacateReasonCode")
        if not starts or value(ad, "RemoteWallClockTime") / starts > SHORT:
            continue
        if (reason and (code in _DELIBERATE)) or _came_early(ad):
            continue
        ended = f"it ended with exit code {ad['ExitCode']}" if isinstance(ad.get("ExitCode"), int) else ""
        # Without a reason it may be a checkpoint: the job ended to be started again.
        again = starts >= 3 and ended and ad.get("SuccessCheckpointExitCode") is None
        if (reason and value(ad, "NumVacates")) or again:
            found.append((starts, reason or ended))
    if not found:
        return None
    starts, reason = max(found)
    times = "once" if starts == 1 else f"{starts} times"
    which = "a job makes" if len(found) == 1 else f"{len(found)} jobs make"
    return f"{which} no progress: HTCondor has started it {times}, each time it was over within moments; the last reason: {reason}"


def _came_early(ad: Any) -> bool:
    """The job has ended by itself because it could do nothing yet, and is to be started again."""
    code = ad.get(COMES_BACK)
    return code is not None and ad.get("ExitCode") == code


def explain(
    jobs: Sequence[Any],
    slots: Sequence[Any],
    *,
    own: bool,
    now: float,
    hollow: Callable[[], frozenset[str]] = frozenset,
) -> Explanation:
    """Why these jobs make no progress.

    Args:
        jobs: Whole ads of those that wait or run.
        slots: Ads of the pool's slots; of an `own` pool whole ones, and the dynamic ones too.
        own: The pool is one person's: there are no others' priorities.
        now: Unix time.
        hollow: Tells of slots whose starter has no job: asked after a schedd came back.
    """
    if failing := _failing(jobs):
        return Explanation(failing)
    running = [ad for ad in jobs if ad["JobStatus"] == 2]
    idle = [
        ad for ad in jobs if ad["JobStatus"] == 1 and now - value(ad, "EnteredCurrentStatus") > PATIENCE - 1
    ]
    if own and (lost := _lost(running, slots, now, hollow)):
        return Explanation("HTCondor says that it runs, and no process of it is there", lost=lost)
    if not idle or (running and not own):
        return Explanation()
    machines = [slot for slot in slots if slot.get("SlotType") != "Dynamic"]
    early = [ad for ad in idle if _came_early(ad)]
    if early:
        idle = [ad for ad in idle if not _came_early(ad)]
        if not idle:
            told = (
                None if running else f"{_many(len(early))} for inputs that are not there yet, and look again"
            )
            return Explanation(told)
    if not machines:
        return Explanation("its jobs wait: no machine of the pool is there")
    groups: dict[Any, list[Any]] = {}
    for ad in idle:
        groups.setdefault(ad.get("AutoClusterId", ad["ClusterId"]), []).append(ad)
    told, neglected = None, []
    for group in list(groups.values())[:_GROUPS]:
        why, free = _why(group[0], machines, own)
        if free:
            neglected += [(int(ad["ClusterId"]), int(ad["ProcId"])) for ad in group]
        elif not running:
            told = told or f"{_many(len(group))}{why}"
    if told is None and neglected:
        told = f"{_many(len(neglected))} although a slot is free"
    return Explanation(told, neglected=tuple(neglected))


def _why(job: Any, machines: Sequence[Any], own: bool) -> tuple[str, bool]:
    """Why a job waits, in words that follow "1 job waits", and whether a slot is free for it."""
    from wingspan.pools.analysis import analyse  # few jobs wait for long

    found = analyse(job, machines)
    if not found.fitting:
        return f"{found.text()}; condor_q -better-analyze {job['ClusterId']}.{job['ProcId']} says more", False
    if own:
        return ": other jobs have the slots that could run it", found.free > 0
    # Who comes first, only the negotiator knows.
    said = _text(job, "LastRejMatchReason")
    return found.text() + (f"; HTCondor's negotiator says {said!r}" if said else ""), False


def _many(count: int) -> str:
    return "1 job waits" if count == 1 else f"{count} jobs wait"


def _lost(
    running: Sequence[Any], slots: Sequence[Any], now: float, hollow: Callable[[], frozenset[str]]
) -> tuple[tuple[int, int], ...]:
    """Jobs that the schedd believes to run: no slot has them, or they ended while the schedd was away."""
    old = [
        ad
        for ad in running
        if now - value(ad, "EnteredCurrentStatus") > LOST and now - value(ad, "JobCurrentStartDate") > LOST
    ]
    if not old:
        return ()
    known = {_text(slot, "JobId") for slot in slots}
    reconnected = [ad for ad in old if value(ad, "ShadowBday") > value(ad, "JobCurrentStartDate") + 1]
    empty = hollow() if reconnected else frozenset()
    return tuple(
        (int(ad["ClusterId"]), int(ad["ProcId"]))
        for ad in old
        if f"{ad['ClusterId']}.{ad['ProcId']}" not in known
        or (ad in reconnected and _text(ad, "RemoteHost") in empty)
    )


class Explainer:
    """Asks pools why jobs make no progress, not often, and keeps what they say."""

    def __init__(self) -> None:
        self._next: dict[str, float] = {}
        self._pauses: dict[str, float] = {}
        self._told: dict[str, str | None] = {}

    def told(self, pool: Pool, submissions: Sequence[Submission], folder: Path, since: float) -> str | None:
        """What the pool says of jobs that have not moved `since` (Unix time); None: nothing, or not asked."""
        now = time.time()
        if 0.0 <= now - since < PATIENCE:  # the scheduler's clock may be ahead of ours
            self._told.pop(pool.kind, None)
            self._pauses.pop(pool.kind, None)
            return None
        if now >= self._next.get(pool.kind, 0.0):
            pause = self._pauses.get(pool.kind, PATIENCE)
            self._pauses[pool.kind] = pause if pool.own else min(AGAIN_AT_MOST, 3 * pause)
            self._next[pool.kind] = now + pause
            with contextlib.suppress(PoolError):
                self._told[pool.kind] = pool.why_waiting(submissions, folder)
        return self._told.get(pool.kind)
