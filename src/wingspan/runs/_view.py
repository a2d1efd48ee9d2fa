"""A run as it is shown: the answers of one run to `wingspan.views`."""

from __future__ import annotations

import contextlib
import re
import time
from collections import Counter
from typing import Any

from wingspan._words import counted, moment, sized
from wingspan.errors import WingspanError
from wingspan.pools.times import times_of_jobs
from wingspan.runs._folder import open_run_folder
from wingspan.runs._status import RunJob, RunStatus
from wingspan.views._cells import measure_cells, state_cells
from wingspan.views._model import Cells, Detail, ErrorGroup, Report, View, WorkerSpan, cut, hold_groups
from wingspan.views._pace import Pace

__all__ = ["RunSource"]

_KINDS = 20


def _state(job: RunJob) -> str:
    return "errored" if job.state == "failed" else job.state


class RunSource:
    """One run. It has a reader of its own, so that the user's `Run` object is not changed.

    Args:
        shown: A `wingspan.Run`, whose module imports this one.
    """

    def __init__(self, shown: Any) -> None:
        self.key = f"run {shown.path}"
        self._run = type(shown)(open_run_folder(shown.name))
        self.created: float = self._run._folder.info.created
        self._pace = Pace()
        self._jobs: tuple[RunJob, ...] = ()

    def exists(self) -> bool:
        """The run has not been removed."""
        return bool(self._run.path.is_dir())

    def view(self) -> View:
        """How it fares now."""
        status, now = self._run.status(), time.time()
        self._jobs = status.jobs
        states = Counter(_state(job) for job in status.jobs)
        finished = states["completed"] + states["errored"]
        is_done = all(job.is_final for job in status.jobs)
        self._pace.see(now, finished, states["running"])
        rate = None if is_done else self._pace.rate()
        return View(
            kind="run",
            name=self._run.name,
            title=self._run.command,
            components=len(status.jobs),
            created=self.created,
            now=now,
            states=dict(states),
            workers={
                state: states[state] for state in ("idle", "running", "held", "suspended") if states[state]
            },
            pools=(self._run.pool,),
            is_done=is_done,
            rate=rate,
            left=(len(status.jobs) - finished) / rate if rate else None,
            history=tuple(self._pace.points),
            message=status.message,
            errors=_errors(status),
            holds=hold_groups(job.reason for job in status.jobs if job.state == "held"),
            actions=_actions(states),
        )

    def cells(self, first: int, stop: int, layer: str, most: int) -> Cells:
        """The grid of its jobs: by state, or by how long they ran."""
        jobs = self._jobs or self._run.status().jobs
        if layer == "runtime":
            ran = {number: _seconds(spans) for number, spans in self._spans().items()}
            return measure_cells(ran.get, first, stop, layer, most)
        if layer == "memory":  # nobody measures it
            return measure_cells(lambda number: None, first, stop, layer, most)
        codes = bytes({"completed": 1, "failed": 2}.get(job.state, 0) for job in jobs)
        exceptions = {
            job.number: job.state for job in jobs if job.state not in ("completed", "failed", "idle")
        }
        return state_cells(codes, exceptions, "idle", first, stop, most)

    def detail(self, number: int) -> Detail:
        """Parameters, exit code, reason and logs of one job."""
        jobs = self._jobs or self._run.status().jobs
        if not 0 <= number < len(jobs):
            raise IndexError(f"run {self._run.name} has no job {number}")
        job = jobs[number]
        facts = [(name, value) for name, value in job.parameters.items()]
        facts += [
            (name, str(value))
            for name, value in (("exit code", job.code), ("signal", job.signal), ("host", job.host))
            if value is not None
        ]
        facts += [(path, url) for path, url in job.sent.items()]
        facts += [("left behind", ", ".join(job.left))] if job.left else []
        texts = [("reason", job.reason or "")]
        with contextlib.suppress(WingspanError, OSError):
            texts += [("stdout", self._run.stdout(number)), ("stderr", self._run.stderr(number))]
        if job.state == "completed":
            with contextlib.suppress(WingspanError, OSError):
                texts.append(("outputs", "\n".join(self._run.outputs(number))))
        return Detail(
            number=number,
            state=_state(job),
            facts=tuple(facts),
            texts=tuple((name, cut(text)) for name, text in texts if text),
        )

    def act(self, action: str) -> str:
        """Hold, release, do again what failed, or take the jobs out of the queue."""
        run = self._run
        if action == "hold":
            run.hold()
            return "its jobs are held"
        if action == "release":
            run.release()
            return "its jobs are released"
        if action == "rerun":
            return f"{counted(len(run.rerun()), 'job')} will be done again"
        if action == "cancel":
            run.cancel()
            return "its jobs are out of the queue; what is finished is kept"
        raise WingspanError(
            f"there is no action {action!r}", hint="load the page again: it is of another version"
        )

    def _spans(self) -> dict[int, list[WorkerSpan]]:
        spans: dict[int, list[WorkerSpan]] = {}
        for number, submission, times in times_of_jobs(
            self._run._folder.submissions.entries(), self._run.path
        ):
            for ran in times:
                length = ran.ended - ran.started if ran.ended and ran.started else 0.0
                is_completed = ran.state == "completed"
                spans.setdefault(number, []).append(
                    WorkerSpan(
                        name=f"job {number}",
                        pool=submission.pool,
                        host=ran.host,
                        submitted=ran.submitted,
                        started=ran.started,
                        ended=ran.ended,
                        state=ran.state,
                        busy=length if is_completed else 0.0,
                        components=int(is_completed),
                    )
                )
        return spans

    def report(self) -> Report:
        """Everything about it."""
        view, spans = self.view(), self._spans()
        ended = [
            one[-1]
            for number, one in sorted(spans.items())
            if one[-1].started is not None and one[-1].ended is not None
        ]
        resources = self._run.spec.resources
        asked = [
            ("cpus", str(resources.cpus)),
            ("memory", sized(resources.memory) if resources.memory else ""),
            ("disk", sized(resources.disk) if resources.disk else ""),
            ("gpus", str(resources.gpus) if resources.gpus else ""),
        ]
        return Report(
            view=view,
            spans=tuple(
                sorted(
                    (span for one in spans.values() for span in one),
                    key=lambda span: span.started or span.submitted or 0.0,
                )
            ),
            started=tuple(span.started or 0.0 for span in ended),
            runtimes=tuple((span.ended or 0.0) - (span.started or 0.0) for span in ended),
            cpu=(),
            memory=(),
            requested=tuple((name, value) for name, value in asked if value),
            requested_cpus=resources.cpus or 1,
            facts=(("made", moment(view.created)),),
        )


def _seconds(spans: list[WorkerSpan]) -> float | None:
    last = spans[-1]
    if last.started is None or last.ended is None:
        return None
    return last.ended - last.started


def _errors(status: RunStatus) -> tuple[ErrorGroup, ...]:
    """Failures with equal reasons, but for their numbers."""
    groups: dict[str, list[RunJob]] = {}
    for job in status.jobs:
        if job.state == "failed":
            groups.setdefault(re.sub(r"\d+", "#", job.reason or ""), []).append(job)
    ranked = sorted(groups.values(), key=lambda jobs: -len(jobs))[:_KINDS]
    return tuple(
        ErrorGroup(
            kind=f"exit code {jobs[0].code}" if jobs[0].code is not None else "ended",
            count=len(jobs),
            component=jobs[0].number,
            text=cut(jobs[0].reason or "no reason is known"),
            hint=f"wingspan logs {status.name} --stderr shows what it printed",
        )
        for jobs in ranked
    )


def _actions(states: Counter[str]) -> tuple[str, ...]:
    waits = states["idle"] or states["running"]
    some = [
        ("hold", bool(waits)),
        ("release", bool(states["held"])),
        ("rerun", bool(states["errored"] or states["removed"])),
        ("cancel", bool(waits or states["held"])),
    ]
    return tuple(name for name, is_possible in some if is_possible)
