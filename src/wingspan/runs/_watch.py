"""The jobs of a run: which they are, what becomes of them, and who may do something to them."""

from __future__ import annotations

import contextlib
import functools
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar

import attrs

from wingspan._files import disk_error, lock
from wingspan.errors import PoolError, PoolUnavailable, SettingsError, WingspanError
from wingspan.pools import JobEvent, JobState, get_pool
from wingspan.pools.following import Following
from wingspan.pools.submissions import LoggedSubmission, by_pool
from wingspan.pools.waiting import Explainer
from wingspan.runs._aside import something_lies_aside, take_back
from wingspan.runs._asks import asks_in
from wingspan.runs._errors import RunError, RunNotFound
from wingspan.runs._folder import RunFolder
from wingspan.runs._jobs import JOB_NOTE
from wingspan.runs._spec import RunSpec

if TYPE_CHECKING:
    from wingspan.pools import Action, JobWatcher
    from wingspan.pools.ssh_mirror import Mirror

__all__ = ["RunJobs", "removed", "told"]

#: Seconds of silence after which the scheduler itself is asked.
_SILENCE = 30.0
#: Seconds that a process which changes a run waits for another one that does.
_PATIENCE = 60.0
#: Seconds that the removal of a run waits for its jobs to be gone.
_END_SECONDS = 10.0

_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")
_Run = TypeVar("_Run", bound="RunJobs")


def told(
    method: Callable[Concatenate[_Run, _Given], _Answer],
) -> Callable[Concatenate[_Run, _Given], _Answer]:
    """Have a method raise errors of the operating system as errors of Wingspan."""

    @functools.wraps(method)
    def words(self: _Run, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Answer:
        try:
            return method(self, *args, **kwargs)
        except PoolError as error:
            if not (self.path / "run.json").exists():  # its folder is no more: no job can be begun there
                raise removed(self.name) from error
            raise
        except OSError as error:
            if isinstance(error, WingspanError):
                raise
            if not (self.path / "run.json").exists():
                raise removed(self.name) from None
            what = f"{method.__name__} of the run {self.name!r} cannot be done"
            raise disk_error(error, what, self.path, "What it has written is kept") from error

    return words


def removed(name: str) -> RunNotFound:
    """The error for a run that is gone."""
    return RunNotFound(f"the run {name!r} was removed", hint="make it again")


class RunJobs:
    """The jobs of one run."""

    def __init__(self, folder: RunFolder) -> None:
        self._folder = folder
        self._watchers: dict[str, JobWatcher] = {}
        self._events: dict[tuple[str, int], JobEvent] = {}
        self._explainer, self._evicted = Explainer(), False
        self._watched = 0
        self._asked = 0.0
        self._adopted = False
        self._following = Following.of(folder.path)

    def _begins_later(self) -> Following | None:
        """What it follows, if its jobs were not submitted yet."""
        following = self._following
        return None if following is None or self._folder.submissions.entries() else following

    def _not_submitted(self, entries: Sequence[LoggedSubmission]) -> tuple[str | None, list[int], str]:
        """What the run waits for before its jobs are submitted, or (None) which of them never will be, and
        why.
        """
        following = self._begins_later()
        if following is not None and following.is_waiting:
            return f"it begins when {following} is done", [], ""
        if following is not None and following.refusal is not None:
            return None, list(range(len(self.spec.rows))), following.refusal
        reason = "it was never submitted: the program that made it was interrupted"
        return None, self._never_submitted(entries), reason

    def _wait_once_more(self) -> bool:
        """If the run has not begun because of what it follows: wait for that once more."""
        following = self._begins_later()
        if following is None or following.refusal is None:
            return False
        following.reset()  # the inputs are taken when that is done
        following.carry(get_pool(self.pool))
        return True

    @property
    def name(self) -> str:
        """What it is called: ``wingspan status NAME``."""
        return self.spec.name

    @property
    def path(self) -> Path:
        """The run's folder."""
        return self._folder.path

    @property
    def spec(self) -> RunSpec:
        """What was asked for."""
        return self._folder.spec

    def _row(self, number: int) -> dict[str, str]:
        """A job's row of the sweep."""
        return dict(zip(self.spec.parameters, self.spec.rows[number], strict=True))

    @property
    def pool(self) -> str:
        """Kind of the pool that it is in."""
        return self._folder.info.pool

    @property
    def _elsewhere(self) -> Mirror | None:
        """The way to the machine that has the run, where this is a copy of it; None: it is here."""
        try:
            if not get_pool(self.pool).elsewhere:
                return None
        except (PoolUnavailable, SettingsError):  # whose programs are gone: what is here can be read
            return None
        from wingspan.pools.ssh_mirror import Mirror

        return Mirror(self.path, self.pool)

    def _bring(self, name: str) -> None:
        """Have a folder of the run here, which a copy leaves out."""
        mirror = self._elsewhere
        if mirror is not None and name == "logs":
            self._look()  # brings what has been printed since
        elif mirror is not None:
            mirror.bring(name)

    def log_path(self, number: int, which: str = "out") -> Path:
        """The file of a job's ``out`` or ``err``; it grows while the job runs."""
        jobs = len(self.spec.rows)
        if not 0 <= number < jobs:
            raise RunError(
                f"{self.name} has no job {number}",
                hint=f"its {jobs:,} jobs are numbered 0 to {jobs - 1}" if jobs > 1 else "it has one: job 0",
            )
        return self.path / "logs" / f"{number}.{which}"

    def _log(self, number: int, which: str) -> str:
        self._bring("logs")
        try:
            return self.log_path(number, which).read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return ""

    def _rerun_elsewhere(
        self, numbers: list[int] | None, with_current_inputs: bool, asks: Mapping[str, Any]
    ) -> list[int] | None:
        """Have the machine that has the run do jobs again, with the arguments of `Run.rerun`: which; None: it
        is here.

        Raises:
            RunError: The inputs are to be taken anew, which are not sent a second time.
        """
        if (mirror := self._elsewhere) is None:
            return None
        if with_current_inputs:
            raise RunError(
                f"{self.name} is on another machine, which has its inputs as they were",
                hint="make a new run of the inputs as they are now",
            )
        with mirror.making_sense():
            return [int(number) for number in mirror.change("rerun", numbers=numbers, asks=asks)["numbers"]]

    def _remove_elsewhere(self, *, force: bool) -> bool:
        """Remove the run where it is; False: it is here."""
        if (mirror := self._elsewhere) is None:
            return False
        try:
            mirror.change("remove", force=force)
        except RunNotFound:
            pass
        except PoolError:
            if not force:
                raise
        return True

    def _submissions(self) -> tuple[LoggedSubmission, ...]:
        """Which jobs work on the run, also those whose submitter was killed before it wrote them down."""
        if something_lies_aside(self._folder):
            with contextlib.suppress(OSError), lock(self.path / "lock") as alone:
                if alone:  # the process that began to do jobs again has died
                    self._adopt(ask=True)
                    take_back(self._folder)
        elif not self._adopted:
            self._adopt(ask=not self._folder.submissions.entries())
        return self._folder.submissions.entries()

    def _never_submitted(self, entries: Sequence[LoggedSubmission]) -> list[int]:
        """Jobs that no scheduler has, and that nobody is about to submit.

        Whoever makes a run submits its jobs in order. Where others were submitted out of that order (by a
        rerun), the program that made the run has died before it came to those that are missing.
        """
        submitted: set[int] = set()
        in_order = True
        for entry in entries:
            in_order = in_order and entry.first == len(submitted)
            submitted.update(entry.numbers)
        if entries and in_order:
            return []  # all are there, or somebody is at it this moment
        return [number for number in range(len(self.spec.rows)) if number not in submitted]

    def _adopt(self, *, ask: bool) -> None:
        """Write down jobs that nobody has written down; with `ask` the scheduler is asked for them, too."""
        self._adopted = True
        known = {entry.cluster for entry in self._folder.submissions.entries()}
        for found, note in get_pool(self.pool).find(self.path, ask=ask):
            if found.cluster not in known:
                words = note.removeprefix(JOB_NOTE).split() if note.startswith(JOB_NOTE) else []
                said = [int(word) for word in words if word.isdigit()]
                first, count, inputs = [*said, *(0, found.count, 0)[len(said) :]][:3]
                self._folder.submissions.add(
                    attrs.evolve(found, count=count), first=first, inputs=inputs, needs=asks_in(words)
                )

    @contextlib.contextmanager
    def _alone(self, *, shared: bool = False, force: bool = False) -> Iterator[None]:
        """Hold the run's lock: no other process changes the run, or (`shared`) its outputs.

        Raises:
            RunError: Another process holds it for long.
        """
        with lock(self.path / "lock", shared=shared, patience=_PATIENCE) as held:
            if not held and not force:
                raise RunError(
                    f"another process has been working on {self.name} for {_PATIENCE:g} s, or was stopped in the middle",
                    hint=f"see what holds {self.path / 'lock'} (lslocks), and try again",
                )
            yield

    def _look(self) -> tuple[LoggedSubmission, ...]:
        """Read what has become of the jobs.

        Returns:
            The submissions that they belong to.
        """
        entries = self._submissions()
        if len(entries) != self._watched:
            self._close()
            self._events.clear()
            self._watched = len(entries)
            for kind, own in by_pool(entries).items():
                self._watchers[kind] = get_pool(kind).watch(own, self.path)
        for watcher in self._watchers.values():
            self._take_all(watcher.poll())
        if len(self._folder.submissions.entries()) != self._watched:
            return self._look()  # of a copy, the watcher has brought others
        if not self._have_ended(entries):
            silent = time.time() - max(self._newest(entries), self._asked) > _SILENCE
            for kind, watcher in self._watchers.items():
                if silent or get_pool(kind).answers_at_once:
                    self._asked = time.time()
                    with contextlib.suppress(PoolError):
                        self._take_all(watcher.ask())
        return entries

    def _have_ended(self, entries: Sequence[LoggedSubmission]) -> bool:
        return all(
            self._state_of(entry, process).is_final for entry in entries for process in range(entry.count)
        )

    def _newest(self, entries: Sequence[LoggedSubmission]) -> float:
        """When something was heard of the jobs last, Unix time."""
        now = time.time()  # the scheduler's clock may be ahead of ours: what it says of the future is too old
        times = [*(event.time for event in self._events.values()), *(entry.time for entry in entries)]
        return max((one for one in times if one <= now), default=0.0)

    def _state_of(self, entry: LoggedSubmission, process: int) -> JobState:
        event = self._events.get((entry.cluster, process))
        return JobState.IDLE if event is None else event.state

    def _why_waiting(self, entries: Sequence[LoggedSubmission], states: list[str]) -> str | None:
        """Why jobs make no progress, as their pool says; it is asked seldom, and only while they seem
        stuck.
        """
        if "idle" not in states and "running" not in states:
            return None
        pool = get_pool(self.pool)
        # On a pool of one's own it costs next to nothing to ask of those that are said to run, too.
        if "idle" not in states and not self._evicted and (not pool.own or "running" not in states):
            return None
        if "running" in states and not self._evicted and not pool.own:
            return None
        since = 0.0 if self._evicted else self._newest(entries)
        return self._explainer.told(pool, entries, self.path, since)

    def _take_all(self, events: Iterable[JobEvent]) -> None:
        for event in events:
            self._take(event)

    def _take(self, event: JobEvent) -> None:
        if event.proc < 0:
            for (cluster, process), known in list(self._events.items()):
                if cluster == event.cluster and not known.state.is_final:
                    self._events[(cluster, process)] = attrs.evolve(event, proc=process)
            return
        before = self._events.get((event.cluster, event.proc))
        if before is not None and before.state is JobState.RUNNING:
            # Slurm's jobs that are killed and started again say only that they have begun.
            begun_again = event.begins and event.time > before.time
            self._evicted = self._evicted or begun_again or event.state is JobState.IDLE
        host = event.host or (before.host if before else None)
        raised = max(event.raised, before.raised if before else 0)
        self._events[(event.cluster, event.proc)] = attrs.evolve(event, host=host, raised=raised)

    def _act(self, action: Action) -> None:
        for kind, submissions in by_pool(self._submissions()).items():
            get_pool(kind).act(action, submissions, self.path, f"wingspan {action} {self.name}")

    def _wait_for_the_end(self) -> None:
        """Wait until HTCondor has logged the end of removed jobs: it would make the folder anew for that."""
        deadline = time.monotonic() + _END_SECONDS
        writes_log = get_pool(self.pool).writes_log
        while writes_log and time.monotonic() < deadline:
            if self._have_ended(self._look()):
                return
            time.sleep(0.05)

    def _close(self) -> None:
        for watcher in self._watchers.values():
            watcher.close()
        self._watchers.clear()
