"""The states of a job, in a module of their own: programs that must start quickly import only this one."""

from __future__ import annotations

import enum

__all__ = ["JobState"]


class JobState(enum.Enum):
    """State of one job, as HTCondor names them; ``COMPLETED`` says nothing of success."""

    UNMATERIALIZED = "unmaterialized"
    IDLE = "idle"
    RUNNING = "running"
    SUSPENDED = "suspended"
    HELD = "held"
    REMOVED = "removed"
    COMPLETED = "completed"

    @property
    def is_final(self) -> bool:
        """The job left the queue and will not come back."""
        return self in (JobState.REMOVED, JobState.COMPLETED)
