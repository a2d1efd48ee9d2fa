"""A schedd on another host that sees no folder of this machine: jobs are spooled to it.

Jobs are submitted with their input files, which lie in the schedd's own folder from then on, and go from
there to the machines. When a job has ended, its output files wait in that folder. Whoever looks at the map or
run here retrieves them; then the job leaves the queue. The event log of such jobs lies over there, so the
schedd is asked how they fare: not often, and for all at once.
"""

from __future__ import annotations

import contextlib
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from wingspan._files import disk_error
from wingspan._words import notice
from wingspan.errors import PoolError, PoolUnavailable, SettingsError, SubmitError
from wingspan.jobs import JobDescription, Submission
from wingspan.pools._base import Action, JobEvent, JobState
from wingspan.pools.htcondor import HTCondorPool
from wingspan.pools.htcondor_jobs import HTCondorWatcher, constraint_of
from wingspan.pools.personal.activation import configure, import_bindings
from wingspan.worker import trust

if TYPE_CHECKING:
    from htcondor2 import Schedd

__all__ = ["SpoolWatcher", "SpoolingPool"]

#: Seconds between two questions to the schedd: at first, and when nothing has changed for long.
_SOONEST, _LATEST = 0.25, 15.0
#: The pause, as a share of the time since something changed last.
_SHARE = 0.1
#: Jobs whose output waits in the schedd's folder.
_WAITS = "JobStatus == 4 && (StageOutFinish ?: 0) == 0"
#: HoldReasonCode of jobs whose files are on their way to the schedd (HTCondor manual, SpoolingInput).
_ARRIVES = 16
#: How long the schedd may take to let such jobs go once everything has arrived (s).
_ARRIVAL_SECONDS = 10.0
#: Output of so many jobs is retrieved at a time.
_AT_ONCE = 100
#: Where the output of a job cannot be retrieved, it is tried again after these pauses (s).
_TRY_AGAIN = (1.0, 4.0, 15.0, 60.0)
#: Where so much can be written here (bytes), a full disk is not what is wrong.
_ROOM = 1 << 16


class SpoolingPool(HTCondorPool):
    """The pool of a schedd on another host.

    Args:
        kind: ``schedd://NAME`` or ``schedd://NAME/COLLECTOR``: the schedd's name in its pool, and the pool's
            collector, where this machine's configuration names another one or none.
    """

    transport = "transfer"
    writes_log = False
    follows_site = False
    brings_back = False
    container_universe = False
    sends_once = False
    shells: Literal["condor_ssh_to_job", "srun"] | None = None

    def __init__(self, kind: str) -> None:
        match = re.fullmatch(r"schedd://([A-Za-z0-9_.@+-]+)(?:/([A-Za-z0-9_.:-]+))?", kind)
        if match is None:
            raise SettingsError(
                f"{kind!r} names no schedd", hint='for example pool="schedd://ap1.example.org/cm.example.org"'
            )
        self.kind = kind
        self._name, self._collector = match[1], match[2]
        self._ad: Any = None
        self._acts = 0
        #: What is known of the jobs of each map or run: there is a new watcher for each new submission.
        self._known: dict[Path, _Known] = {}

    def title(self) -> str:
        """What it is, for people."""
        return f"the pool of the schedd {self._name}, by spooling"

    def _unavailable(self, error: Exception) -> PoolUnavailable:
        told = super()._unavailable(error)
        if self._collector is None and "collector host" in str(error):
            told.hint = f'name the collector of its pool: pool="{self.kind}/cm.example.org", or COLLECTOR_HOST in HTCondor\'s configuration'
        return told

    def why_no_shell(self) -> str | None:
        """Jobs are reached from the schedd's host."""
        return "jobs are reached from the host of their schedd"

    @contextlib.contextmanager
    def _schedd(self) -> Iterator[Schedd]:
        htcondor2 = import_bindings()
        try:
            configure()
            if self._ad is None:
                collector = htcondor2.Collector(self._collector)
                self._ad = collector.locate(htcondor2.DaemonType.Schedd, self._name)
            yield htcondor2.Schedd(self._ad)
        except (OSError, RuntimeError, IndexError, htcondor2.HTCondorException) as error:
            self._ad = None  # it may have been started anew, at another address
            raise self._unavailable(error) from error

    def _queue(self, schedd: Schedd, description: Any) -> Any:
        result = schedd.submit(description, spool=True)
        try:
            schedd.spool(result)
        except BaseException as error:
            import htcondor2

            with contextlib.suppress(Exception):  # the error above counts
                schedd.act(htcondor2.JobAction.Remove, f"ClusterId == {result.cluster()}", "not spooled")
            if isinstance(error, Exception):
                raise SubmitError(
                    f"the files of the jobs cannot be sent to the schedd {self._name}: {error}",
                    hint="see whether it has room, and takes so much: condor_submit -spool says more",
                ) from error
            raise
        return result

    def submit(self, job: JobDescription) -> Submission:
        """Submit jobs with everything that they read: nothing here is looked at any more."""
        streams = {"stream_output": "false", "stream_error": "false"}
        for path in (job.stdout, job.stderr):
            if path is not None:
                trust.make_folder(str(Path(path).parent))
        return super().submit(attrs.evolve(job, submit={**job.submit, **streams}))

    def find(self, folder: Path, *, ask: bool) -> list[tuple[Submission, str]]:
        """Jobs of the map or run that the schedd has; nothing is written here before it is asked."""
        if not ask:
            return []
        import_bindings()
        import classad2

        attribute = {"maps": "WingspanMap", "runs": "WingspanRun"}.get(folder.parent.name, "WingspanMap")
        wanted = f"{attribute} == {classad2.quote(folder.name)}"
        found: dict[str, tuple[int, str]] = {}
        with contextlib.suppress(PoolError):
            for ad in self.job_ads(wanted, ["ClusterId", "ProcId", "SubmitEventUserNotes"]):
                cluster, note = str(ad["ClusterId"]), str(ad.get("SubmitEventUserNotes") or "")
                count, known = found.get(cluster, (0, note))
                found[cluster] = max(count, int(ad["ProcId"]) + 1), known or note
        return self._found(found)

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        """As on any schedd, once the jobs' files have arrived: until then they are held, and go on by
        themselves."""
        if submissions and action == "hold":
            wanted = f"({constraint_of(submissions)}) && JobStatus == 5 && HoldReasonCode == {_ARRIVES}"
            deadline = time.monotonic() + _ARRIVAL_SECONDS
            while time.monotonic() < deadline and self.job_ads(wanted, ["ClusterId"]):
                time.sleep(0.5)
        super().act(action, submissions, folder, reason)
        self._acts += 1

    def watch(self, submissions: Sequence[Submission], folder: Path) -> HTCondorWatcher:
        """Follow the jobs, and retrieve what they have made."""
        where = f"-name {self._name}" + (f" -pool {self._collector}" if self._collector else "")
        log = folder / "events.log"
        known = self._known.setdefault(folder, _Known())
        return SpoolWatcher(self._schedd, list(submissions), log, lambda: self._acts, where, known)


@attrs.define
class _Trouble:
    """A job whose output could not be retrieved so far.

    Attributes:
        tries: How often it was tried.
        due: When it is tried again (monotonic clock, s).
        why: What HTCondor said the last time.
    """

    tries: int = 0
    due: float = 0.0
    why: str = ""

    @property
    def is_final(self) -> bool:
        """It is not tried again by this process."""
        return self.tries > len(_TRY_AGAIN)


@attrs.define
class _Known:
    """What this process knows of the jobs of one map or run.

    Attributes:
        left: Those that have ended, and whose output is here, or will not come.
        troubles: Those whose output could not be retrieved.
    """

    left: dict[tuple[str, int], JobEvent] = attrs.field(factory=dict)
    troubles: dict[tuple[str, int], _Trouble] = attrs.field(factory=dict)


class SpoolWatcher(HTCondorWatcher):
    """Asks the schedd in pauses, and retrieves the output of jobs that have ended before it tells so.

    A job whose output cannot be retrieved keeps none of the others from being told. It is tried again some
    times, and then counts as one that has ended with nothing done: others do what it had to do.

    Args:
        schedd, submissions, log: As for `HTCondorWatcher`.
        acts: How often this process has done something to jobs: what follows is asked for at once.
        where: Options by which HTCondor's commands find the schedd, such as ``-name ap1.example.org``.
        known: What earlier watchers of these jobs have found out.
    """

    def __init__(
        self,
        schedd: Callable[[], AbstractContextManager[Schedd]],
        submissions: list[Submission],
        log: Path,
        acts: Callable[[], int],
        where: str,
        known: _Known,
    ) -> None:
        super().__init__(schedd, submissions, log)
        self._folder, self._where = log.parent, where
        self._left, self._troubles = known.left, known.troubles
        self._acts, self._acts_seen = acts, acts()
        self._told: dict[tuple[str, int], JobEvent] = {}
        self._changed = self._next = time.monotonic()

    def poll(self) -> Iterable[JobEvent]:
        """What has changed, if it is time to ask; nothing where the schedd does not answer."""
        if time.monotonic() < self._next and self._acts_seen == self._acts():
            return []
        self._acts_seen = self._acts()
        with contextlib.suppress(PoolError):
            return self.ask()
        self._pause()
        return []

    def ask(self) -> Iterable[JobEvent]:
        """Ask about all jobs that have not ended, and retrieve what waits."""
        told_now = list(super().ask())
        completed = {
            (one.cluster, one.proc) for one in told_now if one.state is JobState.COMPLETED
        } - self._left.keys()
        here = self._retrieve(completed) if completed else set()
        news = []
        for told in told_now:
            job, event = (told.cluster, told.proc), told
            if job in self._left:
                event = self._left[job]  # one whose output did not come stays in the queue
            elif told.state is JobState.HELD and told.code == _ARRIVES:
                event = attrs.evolve(told, state=JobState.IDLE, code=None, reason=None)
            elif job in completed - here:
                trouble = self._troubles.get(job)
                if trouble is None or not trouble.is_final:
                    continue  # what hears that a job has ended finds here what it has made
                reason = f"its output cannot be retrieved: {trouble.why}"
                event = attrs.evolve(told, code=None, reason=reason)
            if job in completed:
                self._left[job] = event
            known = self._told.get(job)
            if known is None or (known.state, known.code, known.reason) != (
                event.state,
                event.code,
                event.reason,
            ):
                self._told[job] = event
                news.append(event)
        if news:
            self._changed = time.monotonic()
        self._pause()
        return news

    def _pause(self) -> None:
        now = time.monotonic()
        self._next = now + min(_LATEST, max(_SOONEST, _SHARE * (now - self._changed)))

    def _retrieve(self, jobs: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """Retrieve the output of these jobs, which have ended: those whose output is here now.

        Raises:
            PoolUnavailable: The schedd does not answer.
            DiskError: Nothing can be written here.
        """
        now, failed = time.monotonic(), dict[tuple[str, int], str]()
        due = {job for job in jobs if job not in self._troubles or self._is_due(self._troubles[job], now)}
        if not due:
            return set()
        with self._schedd() as schedd:
            waiting = self._waiting(schedd, due)
            # One that fails spoils what it is retrieved with.
            others = sorted(waiting - self._troubles.keys())
            for begin in range(0, len(others), _AT_ONCE):
                with contextlib.suppress(*_failures()):
                    schedd.retrieve(list(map(_name_of, others[begin : begin + _AT_ONCE])))
            left = self._waiting(schedd, due) if waiting else set()
            for job in sorted(left):
                try:
                    schedd.retrieve([_name_of(job)])
                except _failures() as error:
                    if self._waiting(schedd, {job}):  # the schedd answers: it is about this job
                        failed[job] = " ".join(str(error).split())
        if failed:
            self._check_room()
        for job, why in failed.items():
            self._note(job, why)
        return due - failed.keys()

    def _is_due(self, trouble: _Trouble, now: float) -> bool:
        return not trouble.is_final and now >= trouble.due

    def _waiting(self, schedd: Schedd, jobs: set[tuple[str, int]]) -> set[tuple[str, int]]:
        """Those of these jobs whose output waits in the schedd's folder."""
        some = [one for one in self._submissions if any(one.cluster == cluster for cluster, _ in jobs)]
        found = schedd.query(f"({constraint_of(some)}) && {_WAITS}", ["ClusterId", "ProcId"])
        return {(str(ad["ClusterId"]), int(ad["ProcId"])) for ad in found} & jobs

    def _check_room(self) -> None:
        """See that it is not this machine's disk that takes nothing.

        Raises:
            DiskError: It is: this says nothing of the jobs.
        """
        probe = self._folder / f".room-{os.getpid()}"
        try:
            trust.write_whole(str(probe), bytes(_ROOM))
            probe.unlink(missing_ok=True)
        except OSError as error:
            words = "what jobs have made cannot be retrieved"
            kept = "Until then it waits at the schedd, for ten days"
            raise disk_error(error, words, self._folder, kept) from error

    def _note(self, job: tuple[str, int], why: str) -> None:
        """The output of a job was not retrieved."""
        trouble = self._troubles.setdefault(job, _Trouble())
        if trouble.tries < len(_TRY_AGAIN):
            trouble.due = time.monotonic() + _TRY_AGAIN[trouble.tries]
        trouble.tries += 1
        trouble.why = why
        if trouble.is_final:
            name = _name_of(job)
            notice(
                f"the output of job {name} cannot be retrieved, tried {trouble.tries} times: {trouble.why}; what it "
                "had to do counts as lost, and is done by other jobs while somebody waits. To see what is wrong: "
                f"condor_transfer_data {self._where} {name}"
            )


def _name_of(job: tuple[str, int]) -> str:
    return f"{job[0]}.{job[1]}"


def _failures() -> tuple[type[Exception], ...]:
    """What HTCondor's bindings raise where something cannot be retrieved."""
    import htcondor2

    return OSError, RuntimeError, htcondor2.HTCondorException
