"""The status of components and maps."""

from __future__ import annotations

import enum

import attrs

from wingspan._words import counted
from wingspan.maps._several import told_by_pool

__all__ = ["ComponentStatus", "Hold", "MapStatus"]


class ComponentStatus(str, enum.Enum):
    """The status of a component, in HTCondor's words where it has one."""

    IDLE = "IDLE"  #: no worker has begun it
    RUNNING = "RUNNING"  #: a worker is at it
    COMPLETED = "COMPLETED"  #: its output is there
    ERRORED = "ERRORED"  #: it failed, and no attempt is left
    HELD = "HELD"  #: the jobs that would do it are held
    SUSPENDED = "SUSPENDED"  #: the jobs that would do it are suspended
    REMOVED = "REMOVED"  #: it was cancelled, or the jobs that would do it were removed

    def __str__(self) -> str:
        return self.value


@attrs.frozen
class Hold:
    """Why a component is held.

    Attributes:
        code: HoldReasonCode (HTCondor manual, "Job ClassAd Attributes"); None on other pools.
        reason: In HTCondor's words.
        worker: Number of the worker whose job is held.
    """

    code: int | None
    reason: str
    worker: int


@attrs.frozen(kw_only=True, repr=False)
class MapStatus:
    """How far a map is.

    Attributes:
        tag: Its tag.
        components: How many components it has.
        counts: Components by status; all statuses are there.
        workers: Jobs by state, such as ``{"running": 4}``.
        pools: Kinds of the pools that work on it.
        by_pool: How many components the workers of each pool have done, if there are several pools.
        cancelled: How many components their owner has cancelled; they are counted as removed.
        message: What keeps it, with the next step; None when nothing does.
        elapsed: Seconds from when it was made until its last component ended, or until now.
        wall, cpu: Seconds that workers have spent on its components, wall and processor time, all together.
        peak_memory: The most memory that one component has taken, bytes.
        notes: How far the maps before it in a chain are; and what was decided about its requests by itself:
            more memory after a kill, for instance.
    """

    tag: str
    components: int
    counts: dict[ComponentStatus, int]
    workers: dict[str, int]
    pools: tuple[str, ...]
    by_pool: dict[str, int] = attrs.field(factory=dict)
    cancelled: int = 0
    message: str | None = None
    elapsed: float = 0.0
    wall: float = 0.0
    cpu: float = 0.0
    peak_memory: int = 0
    notes: tuple[str, ...] = ()

    @property
    def is_done(self) -> bool:
        """Every component is completed, has failed, or was cancelled."""
        finished = self.counts[ComponentStatus.COMPLETED] + self.counts[ComponentStatus.ERRORED]
        return finished + self.cancelled == self.components

    def __str__(self) -> str:
        parts = [f"{count:,} {status.value.lower()}" for status, count in self.counts.items() if count]
        workers = ", ".join(f"{count:,} {state}" for state, count in self.workers.items()) or "none"
        text = (
            f"map {self.tag}: {counted(self.components, 'component')}: {', '.join(parts)}; workers: {workers}"
        )
        if self.by_pool:
            text += f"; done by: {told_by_pool(self.by_pool)}"
        return "\n".join([text, *self.notes, *([self.message] if self.message else [])])

    def __repr__(self) -> str:
        return f"<{self}>"
