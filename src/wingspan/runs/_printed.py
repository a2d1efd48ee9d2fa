"""What the jobs of a run have printed."""

from __future__ import annotations

from wingspan.runs._watch import RunJobs, told

__all__ = ["Printed"]


class Printed(RunJobs):
    """The part of a `wingspan.Run` that reads what its jobs print."""

    @told
    def stdout(self, number: int = 0) -> str:
        """What a job has printed so far."""
        return self._log(number, "out")

    @told
    def stderr(self, number: int = 0) -> str:
        """What a job has written to standard error so far."""
        return self._log(number, "err")
