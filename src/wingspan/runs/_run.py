"""`Run`: what a user does with a run."""

from __future__ import annotations

import codecs
import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._words import going_on
from wingspan.errors import PoolError
from wingspan.pools import JobEvent, JobState, get_pool
from wingspan.runs._again import Again
from wingspan.runs._aside import something_lies_aside
from wingspan.runs._destinations import destinations_of_job
from wingspan.runs._errors import OutputMissing, RunError, RunFailed, RunNotFound, RunTimeout
from wingspan.runs._files import copy_outputs, declared_files, expected_files
from wingspan.runs._folder import RunFolder, remove_run_folder
from wingspan.runs._gather import EXIT_MISSING_OUTPUT
from wingspan.runs._pace import LONGEST, SHORTEST, Pace
from wingspan.runs._printed import Printed
from wingspan.runs._status import RunJob, RunStatus, read_job, run_html
from wingspan.runs._table import Tables, write_parameters
from wingspan.runs._watch import removed, told
from wingspan.views._showable import Showable

if TYPE_CHECKING:
    from wingspan.views._source import Source

__all__ = ["Run", "RunJob", "RunStatus"]

#: Seconds between two looks whether the pool itself is alive, and how often at first it is asked to look for
#: machines.
_REVIVE_SECONDS, _RESCHEDULES = 3.0, 20


class Run(Printed, Again, Tables, Showable):
    """One command, or a sweep of it, executed as batch jobs. It is kept on disk under its name.

    Args:
        folder: Its folder; `load_run` opens one by name.
    """

    def __init__(self, folder: RunFolder) -> None:
        super().__init__(folder)
        self._reschedules, self._next_reschedule, self._next_revival = 0, 0.0, 0.0
        self._pace = Pace()

    if not TYPE_CHECKING:  # a checker would take any name for one that is there

        def __getattr__(self, name: str) -> Any:
            told = f"a Run has no attribute {name!r}"
            if not name.startswith("_"):
                from wingspan._foreign import hint_for_attribute

                hint = hint_for_attribute(name, dir(type(self)), of_run=True)
                told += f": {hint}" if hint else ""
            raise AttributeError(told, name=name, obj=None)

    def __repr__(self) -> str:
        try:
            state = f"{self.status().state}: "
        except Exception:  # noqa: BLE001 - also one that was removed, or is damaged, can be shown
            state = ""
        return f"<wingspan.Run {self.name!r}: {state}{self.command}>"

    def _repr_html_(self) -> str:
        return run_html(self.status(), self.command, self.pool)

    def _source(self) -> Source:
        from wingspan.runs._view import RunSource

        return RunSource(self)

    def __len__(self) -> int:
        """How many jobs."""
        return len(self.spec.rows)

    @property
    def info(self) -> dict[str, Any]:
        """What ``run.json`` says."""
        return dict(self._folder.plain)

    @property
    def command(self) -> str:
        """What is executed, in one line."""
        return self.spec.command

    # -- how it fares ----------------------------------------------------------------------------------------

    @told
    def status(self) -> RunStatus:
        """How each job fares now, from the event log.

        The scheduler is asked only when the log has been silent for long.

        Raises:
            RunNotFound: The run was removed meanwhile.
        """
        if not self.path.is_dir():
            raise removed(self.name)
        entries = self._look()
        jobs = {number: RunJob(number=number, parameters=self._row(number)) for number in range(len(self))}
        for entry in entries:
            for process, number in enumerate(entry.numbers):
                jobs[number] = self._job(number, self._events.get((entry.cluster, process)))
        waits_for, never, reason = self._not_submitted(entries)
        for number in never:
            jobs[number] = attrs.evolve(jobs[number], state="removed", reason=reason)
        unavailable_reason = None
        if entries and not all(job.is_final for job in jobs.values()):
            with contextlib.suppress(PoolError):
                unavailable_reason = get_pool(self.pool).unavailable_reason()
        if unavailable_reason is not None:  # nobody is there who could tell that they have stopped
            jobs = {
                number: attrs.evolve(job, state="idle") if job.state in ("running", "suspended") else job
                for number, job in jobs.items()
            }
        message = (
            waits_for
            or unavailable_reason
            or self._why_waiting(entries, [job.state for job in jobs.values()])
        )
        return RunStatus(name=self.name, jobs=tuple(jobs[number] for number in sorted(jobs)), message=message)

    def _job(self, number: int, event: JobEvent | None) -> RunJob:
        elsewhere = destinations_of_job(self.spec, number) if self.spec.destinations else None
        raised = event is not None and event.raised
        asked = self.resources(number) if raised else self.spec.resources
        return read_job(number, self._row(number), event, self.path, elsewhere, asked)

    @told
    def wait(self, timeout: float | None = None) -> RunStatus:
        """Wait until every job has ended, however it did.

        Args:
            timeout: Seconds; None: as long as it takes.

        Raises:
            RunTimeout: The time is over; the run goes on.
            RunFailed: All that is left is held: it would wait for ever.
            PoolUnavailable: The personal pool was stopped by its owner.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        self._pace.begin()
        with self._going_on():
            while True:
                status = self.status()
                if status.is_done:
                    return status
                if status.is_stuck and not self.asks_for_more(status):
                    held = next(job for job in status.jobs if job.state == "held")
                    late = "allowed execute duration" in (held.reason or "")
                    raise RunFailed(
                        f"job {held.number} of {self.name} is held: {held.reason}",
                        hint=f"run it again with a longer --time; wingspan rm {self.name} removes this one"
                        if late
                        else f"wingspan release {self.name} lets it go on, once that is mended",
                    )
                if deadline is not None and time.monotonic() >= deadline:
                    raise RunTimeout(
                        f"{self.name} is not done after {timeout:g} s", hint="it goes on; wait again"
                    )
                self.attend(status)
                self._pace.sleep(status)

    def _going_on(self) -> contextlib.AbstractContextManager[None]:
        return going_on(
            f"Interrupted: the run {self.name!r} goes on by itself. wingspan.load_run({self.name!r}).wait() comes back to it, "
            f"wingspan.load_run({self.name!r}).remove() ends it."
        )

    @told
    def attend(self, status: RunStatus) -> None:
        """Speed up jobs that somebody waits for.

        New jobs get a machine sooner, and a personal pool that has crashed is started again.

        Raises:
            PoolUnavailable: Its owner has stopped it.
        """
        pool, now = get_pool(self.pool), time.monotonic()
        self.asks_for_more(status)
        if (following := self._begins_later()) is not None:
            following.carry_on(self.pool)
        if now >= self._next_revival:
            self._next_revival = now + _REVIVE_SECONDS
            pool.revive()
        if status.counts["idle"] and self._reschedules < _RESCHEDULES and now >= self._next_reschedule:
            pause = min(LONGEST, SHORTEST * 1.3**self._reschedules)
            self._reschedules, self._next_reschedule = self._reschedules + 1, now + pause
            pool.reschedule()

    @told
    def check(self) -> None:
        """Raise an error if a job did not end well.

        Raises:
            OutputMissing: One did not write what it should.
            RunFailed: One ended otherwise.
        """
        for job in self.status().jobs:
            if job.state in ("failed", "removed", "held"):
                kind = OutputMissing if job.code == EXIT_MISSING_OUTPUT else RunFailed
                raise kind(
                    f"job {job.number} of {self.name} {'is' if job.state == 'held' else 'has'} {job.state}: {job.reason}"
                    if job.state != "removed"
                    else f"job {job.number} of {self.name} was removed: {job.reason}",
                    hint=f"wingspan logs {self.name} {job.number} shows what it printed; wingspan rerun {self.name} does it again",
                )

    # -- what it gave ----------------------------------------------------------------------------------------

    def _outputs(self, number: int) -> Path:
        return self.path / f"outputs-{number}"

    @told
    def outputs(self, number: int = 0) -> dict[str, Path]:
        """Outputs of a job that has ended: relative path -> where it lies in the run's folder.

        Only files that a declared output names, or that lie in a folder that one names: whatever else a job
        or its machine puts there is not handed on, and no symbolic link (the job's script has replaced them
        by what they lead to).
        """
        self.log_path(number)
        self._bring(f"outputs-{number}")
        return declared_files(self._outputs(number), self.spec, number)

    def expected_outputs(self, number: int = 0) -> dict[str, Path]:
        """As `outputs`, of a job that need not have ended: where its declared outputs will lie.

        Raises:
            RunError: An output is a pattern, or goes elsewhere.
        """
        self.log_path(number)
        return expected_files(self._outputs(number), self.spec, number)

    @told
    def fetch(
        self, to: str | Path = ".", *, overwrite: bool = False, skip: frozenset[int] = frozenset()
    ) -> dict[int, tuple[Path, ...]]:
        """Copy the outputs of all jobs that have ended to a folder; paths stay as they are below it.

        Args:
            to: The folder; of a sweep each job has its own in it, ``<name>/<number>``.
            overwrite: Replace files that are there with another content.
            skip: Numbers of jobs that are left out.

        Returns:
            The files of each job.

        Raises:
            WouldOverwrite: A file is in the way; nothing was copied of that job.
        """
        base = Path(to).expanduser()
        fetched: dict[int, tuple[Path, ...]] = {}
        with self._alone(shared=True):  # what a rerun is about to give up is there whole or not at all
            status = self.status()
            if something_lies_aside(self._folder):
                raise RunError(
                    f"a rerun of {self.name} was interrupted, and what it had put aside cannot be put back",
                    hint=f"it lies in {self.path / 'earlier'}; make {self.path} writable and try again",
                )
            for job in status.jobs:
                if job.state in ("completed", "failed") and job.number not in skip:
                    target = base if len(self) == 1 else base / self.name / str(job.number)
                    fetched[job.number] = copy_outputs(self.name, self.outputs(job.number), target, overwrite)
            if any(fetched.values()) and self.spec.parameters and len(self) > 1:
                write_parameters(base / self.name, status)
        return fetched

    # -- what is done to it ----------------------------------------------------------------------------------

    @told
    def hold(self) -> None:
        """Hold its jobs: they stop, keep their place in the queue, and go on after `release`."""
        with self._alone():
            self._act("hold")

    @told
    def release(self) -> None:
        """Let held jobs go on."""
        if get_pool(self.pool).ends_held_jobs:
            self._submit_anew({"held"})
        else:
            with self._alone():
                self._act("release")
            get_pool(self.pool).reschedule()
        # What was done is known before the event log tells it: a wait right after this must not find the jobs
        # held.
        for job, event in list(self._events.items()):
            if event.state is JobState.HELD:
                self._events[job] = attrs.evolve(event, state=JobState.IDLE, reason=None)

    @told
    def cancel(self) -> None:
        """Take its jobs out of the queue.

        What they have written so far, and the outputs of those that are done, are kept.
        """
        with self._alone():
            if (following := self._begins_later()) is not None:
                following.stop("it was cancelled before it began")
            self._act("remove")

    @told
    def vacate(self) -> None:
        """Send its jobs off their machines; they start again, from their checkpoint if they have one."""
        if get_pool(self.pool).ends_held_jobs:
            # Those that have ended before, or are held, stay as they are.
            self._submit_anew({"idle", "running"})
        else:
            with self._alone():
                self._act("vacate")

    @told
    def remove(self, *, force: bool = False) -> None:
        """Remove the run: its jobs, its outputs, its name.

        Args:
            force: Remove the files even where the scheduler does not answer.
        """
        if not self._is_there():
            return
        with self._alone(force=force):
            if not self._is_there():
                return  # somebody else has removed it, and may have made another one of its name
            try:
                if self._following is not None:
                    self._following.stop("it was removed")
                if not self._remove_elsewhere(force=force):
                    self._adopt(ask=not self._folder.submissions.entries())
                    self._act("remove")
                    self._wait_for_the_end()
            except Exception:
                if not force:
                    raise
            self._close()
            remove_run_folder(self.path)

    def _is_there(self) -> bool:
        """Its folder is still the one of this run."""
        try:
            return RunFolder(self.path).info.created == self._folder.info.created
        except RunNotFound:
            return False
        except RunError:
            return True  # damaged, it can be removed

    def follow(self, number: int = 0, which: str = "out") -> Iterator[str]:
        """What a job prints, as it does, until it has ended or is held."""
        self.log_path(number, which)
        position = 0
        decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a look may end within a character
        with self._going_on():
            while True:
                job = self.status().jobs[number]
                ended = job.is_final or job.state == "held"
                with contextlib.suppress(FileNotFoundError), self.log_path(number, which).open("rb") as file:
                    if position > file.seek(0, 2):
                        position = 0  # the job was begun again
                    file.seek(position)
                    data = file.read()
                    position += len(data)
                    if text := decoder.decode(data, final=ended):
                        yield text
                if ended:
                    return
                time.sleep(0.1)
