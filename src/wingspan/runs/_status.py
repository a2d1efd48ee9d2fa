"""How a run and its jobs fare, as values."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs

from wingspan._words import counted, nearest
from wingspan.jobs import Resources, size_text
from wingspan.pools import JobEvent, JobState
from wingspan.pools.submit_description import larger
from wingspan.runs._gather import EXIT_MISSING_OUTPUT, OUTCOME

__all__ = [
    "RunJob",
    "RunStatus",
    "outcome_of",
    "read_job",
    "run_html",
    "why_it_failed",
    "why_outputs_are_missing",
]

#: States, the most telling first.
_ORDER = ("completed", "failed", "running", "held", "removed", "suspended", "idle")
#: The most jobs that are named with their reasons.
_NAMED = 10


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
        sent: Outputs that went to an address, and did not come back: path -> address.
        left: What the command wrote into its folder and no output names: it did not come back. Twenty of them
            at most.
        since: When it came into this state, Unix time; None: nothing was heard of it.
        raised_memory: Bytes of memory that it asks for, or asked for, since it took more than it had asked
            for at first; None: it did not.
    """

    number: int
    state: str = "idle"
    parameters: dict[str, str] = attrs.field(factory=dict)
    code: int | None = None
    signal: int | None = None
    reason: str | None = None
    host: str | None = None
    missing: tuple[str, ...] = ()
    sent: dict[str, str] = attrs.field(factory=dict)
    left: tuple[str, ...] = ()
    since: float | None = None
    raised_memory: int | None = None

    @property
    def is_final(self) -> bool:
        """It will not change by itself."""
        return self.state in ("removed", "failed", "completed")


@attrs.frozen(kw_only=True, repr=False)
class RunStatus:
    """How a run fares.

    Attributes:
        name: The run's name.
        jobs: Its jobs.
        message: What keeps all of them, and what to do about it; None: nothing does.
    """

    name: str
    jobs: tuple[RunJob, ...]
    message: str | None = None

    def __str__(self) -> str:
        count = counted(len(self.jobs), "job")
        said = [self.message] if self.message else []
        return "\n".join(
            [f"run {self.name}: {count}: {self._counted()}", *self._reasons(), *self.notes, *said]
        )

    def __repr__(self) -> str:
        return f"<{self}>"

    def _counted(self) -> str:
        counts = self.counts
        return ", ".join(f"{counts[state]:,} {state}" for state in _ORDER if counts[state])

    def _reasons(self) -> list[str]:
        told = [job for job in self.jobs if job.reason]
        lines = [f"job {job.number} {job.state}: {job.reason}" for job in told[:_NAMED]]
        return [*lines, f"and {len(told) - _NAMED:,} more"] if len(told) > _NAMED else lines

    @property
    def notes(self) -> tuple[str, ...]:
        """What was done to have the jobs end well, one sentence each: whose memory was raised."""
        raised = [job for job in self.jobs if job.raised_memory is not None]
        lines = [f"job {job.number} {_told_of_memory(job)}" for job in raised[:_NAMED]]
        return (*lines, f"and {len(raised) - _NAMED:,} more") if len(raised) > _NAMED else tuple(lines)

    @property
    def counts(self) -> Counter[str]:
        """How many jobs are in each state."""
        return Counter(job.state for job in self.jobs)

    @property
    def is_done(self) -> bool:
        """Every job has ended."""
        return all(job.is_final for job in self.jobs)

    @property
    def is_stuck(self) -> bool:
        """All that has not ended is held: it would stay so for ever."""
        return not self.is_done and all(job.is_final or job.state == "held" for job in self.jobs)

    @property
    def state(self) -> str:
        """In one word: the most telling state of its jobs."""
        counts = self.counts
        order = (
            ("failed", "removed", "completed") if self.is_done else ("held", "running", "suspended", "idle")
        )
        return next((name for name in order if counts[name]), "idle")


def read_job(
    number: int,
    parameters: dict[str, str],
    event: JobEvent | None,
    folder: Path,
    destinations: Mapping[str, str] | None = None,
    resources: Resources | None = None,
) -> RunJob:
    """How one job fares.

    Args:
        number: Its number in the run.
        parameters: Its row of the sweep.
        event: The last that was heard of it; None: nothing was.
        folder: The run's, where a job that has ended has left its outputs and what it printed.
        destinations: Addresses that its outputs go to, by path.
        resources: What it asked for at first.
    """
    job = RunJob(number=number, parameters=parameters, since=None if event is None else event.time)
    if event is None:
        return job
    if event.raised and resources is not None:
        # One that has taken too much of the most that it may ask for was evicted, too, and is held.
        sizes = larger(resources.memory, resources.retry_memory)[: event.raised]
        job = attrs.evolve(job, raised_memory=sizes[-1] if sizes else None)
    if event.state is not JobState.COMPLETED:
        is_told = event.state in (JobState.HELD, JobState.REMOVED) or event.never_starts
        return attrs.evolve(
            job,
            state=event.state.value if event.state is not JobState.UNMATERIALIZED else "idle",
            reason=event.reason if is_told else None,
            host=event.host,
        )
    outcome = outcome_of(folder / f"outputs-{number}")
    missing = tuple(value for name, value in outcome if name == "missing")
    job = attrs.evolve(
        job,
        state="completed" if event.signal is None and event.code == 0 else "failed",
        code=event.code,
        host=dict(outcome).get("host") or event.host,
        left=tuple(value for name, value in outcome if name == "left"),
        sent={
            value: (destinations or {})[value]
            for name, value in outcome
            if name == "sent" and value in (destinations or {})
        },
    )
    if job.state == "completed":
        return job
    if event.code == EXIT_MISSING_OUTPUT and missing:
        reason = why_outputs_are_missing(missing, job.left)
    elif event.signal is not None:
        reason = f"signal {event.signal} ended it"
    elif event.code is None and event.reason:
        reason = event.reason  # the scheduler's
    else:
        reason = why_it_failed(_text(folder / "logs" / f"{number}.err"), event.code)
    return attrs.evolve(job, signal=event.signal, missing=missing, reason=reason)


def _told_of_memory(job: RunJob) -> str:
    """For people: its memory was raised.

    >>> _told_of_memory(RunJob(number=0, state="running", raised_memory=4 << 30))
    'took more memory than it had asked for, and is done again with 4GB'
    """
    again = "was done" if job.is_final or job.state == "held" else "is done"
    return (
        f"took more memory than it had asked for, and {again} again with {size_text(job.raised_memory or 0)}"
    )


def outcome_of(outputs: Path) -> list[tuple[str, str]]:
    """What a job's script has written of its end: names and values."""
    lines = _text(outputs / OUTCOME).splitlines()
    return [(name, value) for name, _, value in (line.partition("=") for line in lines)]


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def why_it_failed(stderr: str, code: int | None) -> str:
    """Why a job ended with an exit code, from its standard error: what our own scripts say, or the last line.

    >>> why_it_failed("KeyError: 'a'", 1)
    "it ended with exit code 1: KeyError: 'a'"
    >>> why_it_failed("wingspan-run: there is no driver", 117)
    'there is no driver'
    """
    lines = [line.strip() for line in stderr.splitlines()[-50:] if line.strip()]
    for line in reversed(lines):
        for mark in ("wingspan-run: ", "wingspan-start: "):
            if line.startswith(mark):
                return line.removeprefix(mark)
    # A shell names its script first, with all of its path.
    last = re.sub(r"^\S*/job\.sh: (\d+|line \d+): ", "", lines[-1]) if lines else ""
    last = last if len(last) <= 200 else last[:199] + "…"
    return f"it ended with exit code {code}" + (f": {last}" if last else "")


def why_outputs_are_missing(missing: Sequence[str], left: Sequence[str]) -> str:
    """Which outputs a command did not write, and what it wrote instead: a name that is mistyped, most likely.

    >>> why_outputs_are_missing(["modle.pt"], ["log.txt", "model.pt"])
    'it did not write modle.pt; it wrote model.pt, log.txt, which no output names and which did not come back. Was --output model.pt meant?'
    """  # noqa: W505
    told = f"it did not write {', '.join(missing)}"
    if not left:
        return told
    near = list(dict.fromkeys(found for one in missing if (found := nearest(one, left))))
    names = [*near, *(name for name in left if name not in near)]
    shown = ", ".join(names[:5]) + (", …" if len(names) > 5 else "")
    told += f"; it wrote {shown}, which no output names and which did not come back"
    return f"{told}. Was {' '.join(f'--output {one}' for one in near)} meant?" if near else told


def run_html(status: RunStatus, command: str, pool: str) -> str:
    """A run as a notebook shows it: its name and command, a bar by state, and what is wrong.

    >>> "width:50.00%" in run_html(RunStatus(name="a", jobs=(RunJob(number=0), RunJob(number=1, state="held"))), "ls", "local")
    True
    """  # noqa: W505
    import html

    from wingspan.views._still import still_bar, still_message

    reasons = "\n".join([*status._reasons(), *status.notes, *([status.message] if status.message else [])])
    return (
        f"<div><b>{html.escape(status.name)}</b>: <code>{html.escape(command)}</code>"
        f"{still_bar(status.counts)}<small>{status._counted()} ({html.escape(pool)})</small>{still_message(reasons)}</div>"
    )
