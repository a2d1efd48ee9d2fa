"""How a run and its jobs fare, as values."""

from __future__ import annotations

from collections import Counter

import attrs

__all__ = ["RunJob", "RunStatus"]


@attrs.frozen(kw_only=True)
class RunJob:
    """One job of a run.

    Attributes:
        number: Its number in the run.
        state: ``idle``, ``running``, ``suspended``, ``held``, ``removed``, ``failed`` or ``completed``.
        parameters: Its row of the sweep.
        code: Exit code.
        signal: Signal that ended it.
        reason: Why it is held, removed or failed.
        host: Where it runs or ran.
        missing: Declared outputs that were not written.
    """

    number: int
    state: str = "idle"
    parameters: dict[str, str] = attrs.field(factory=dict)
    code: int | None = None
    signal: int | None = None
    reason: str | None = None
    host: str | None = None
    missing: tuple[str, ...] = ()

    @property
    def is_final(self) -> bool:
        """It will not change by itself."""
        return self.state in ("removed", "failed", "completed")


@attrs.frozen(kw_only=True)
class RunStatus:
    """How a run fares.

    Attributes:
        name: The run's name.
        jobs: Its jobs.
    """

    name: str
    jobs: tuple[RunJob, ...]

    @property
    def counts(self) -> Counter[str]:
        """How many jobs are in each state."""
        return Counter(job.state for job in self.jobs)

    @property
    def is_done(self) -> bool:
        """Every job has ended."""
        return all(job.is_final for job in self.jobs)

    @property
    def state(self) -> str:
        """In one word: the most telling state of its jobs."""
        counts = self.counts
        order = (
            ("failed", "removed", "completed") if self.is_done else ("held", "running", "suspended", "idle")
        )
        return next((name for name in order if counts[name]), "idle")
