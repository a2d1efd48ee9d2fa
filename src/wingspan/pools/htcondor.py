"""HTCondor through its own bindings: the site's pool, and the personal one."""

from __future__ import annotations

import contextlib
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from wingspan._python import this_python
from wingspan._words import counted
from wingspan.errors import PoolError, PoolUnavailable, SubmitError
from wingspan.jobs import JobDescription, Resources, Submission
from wingspan.pools._base import Action, Changed, PlainPool
from wingspan.pools.credentials import expired_tokens, issue_credentials
from wingspan.pools.event_log import submitted_clusters
from wingspan.pools.htcondor_jobs import (
    HTCondorWatcher,
    constraint_of,
    enlarge_held,
    own_jobs,
    wait_for_shadows,
)
from wingspan.pools.htcondor_waiting import EXPLAINED, remind
from wingspan.pools.personal.activation import configure, import_bindings, missing_configuration
from wingspan.pools.personal.processes import hollow_slots
from wingspan.pools.submit_description import submit_description
from wingspan.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from classad2 import ClassAd
    from htcondor2 import Schedd

    from wingspan.pools.gpus import Gpu
    from wingspan.pools.personal import PersonalPool
    from wingspan.pools.waiting import Explanation
    from wingspan.pools.warm import WarmWorkers

__all__ = ["HTCondorPool", "PersonalHTCondorPool"]

#: Workers of a map by default, on a pool of unknown size. Those that find no work end at once.
DEFAULT_WORKERS = 1000
#: JobStatus of jobs that are on a machine: running, transferring output, suspended.
_ON_MACHINE = frozenset({2, 6, 7})
#: A schedd that has answered is not asked again for so long whether it is there (s).
_ANSWER_SECONDS = 5.0
_WHOLE_SLOTS = 'SlotType =!= "Dynamic"'


class HTCondorPool(PlainPool):
    """The HTCondor that this machine's configuration names."""

    kind = "htcondor"
    #: Workers can only reach the folder of their map. On a pool of one person they go on to the next map.
    limits_access = True
    #: Files that jobs have in common are sent once to each machine. They would not be spooled.
    sends_once = True
    transport = "chirp"
    _answers_until = 0.0
    shares_files = False
    moves_files = True
    writes_log = True
    fetches_urls = True
    container_universe = True
    takes_requirements = True
    follows_site = True
    hands_out_gpus = True
    sends_mail = True
    brings_back = True
    raises_memory = True
    shells: Literal["condor_ssh_to_job", "srun"] | None = "condor_ssh_to_job"

    def title(self) -> str:
        return "the site's HTCondor pool"

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        """Whatever Python of our version the machine has: `launcher.sh` looks for it."""
        version = f"{sys.version_info[0]}.{sys.version_info[1]}"
        return str(Path(__file__).with_name("launcher.sh")), (version, sys.executable or ""), True

    @contextlib.contextmanager
    def _schedd(self) -> Iterator[Schedd]:
        missing = missing_configuration()
        if missing is not None:
            raise PoolUnavailable(
                f"the file {missing} that CONDOR_CONFIG names is not there",
                hint="set CONDOR_CONFIG to the site's configuration, or unset it",
            )
        htcondor2 = import_bindings()
        try:
            configure()
            yield htcondor2.Schedd()
        except (OSError, RuntimeError, IndexError, htcondor2.HTCondorException) as error:
            raise self._unavailable(error) from error

    def _unavailable(self, error: Exception) -> PoolUnavailable:
        return PoolUnavailable(
            f"the schedd of the {self.kind} pool does not answer: {error}",
            hint=(None if self.own else expired_tokens())
            or "wingspan doctor says which pool is used and why; "
            + (
                "wingspan pool start starts the personal one"
                if self.own
                else "the access point may be busy or going down: try again in some minutes. Jobs go on meanwhile"
            ),
        )

    def machine_ads(self, constraint: str, projection: Sequence[str] = ()) -> list[ClassAd]:
        """Machine ads of the pool.

        Args:
            constraint: ClassAd expression that they fulfil.
            projection: Attributes wanted; none for all.

        Raises:
            PoolUnavailable: The collector does not answer.
        """
        with self._schedd():  # the collector needs what is set up there, too
            import htcondor2

            return list(htcondor2.Collector().query(htcondor2.AdType.Startd, constraint, list(projection)))

    def job_ads(self, constraint: str, projection: Sequence[str] = ()) -> list[ClassAd]:
        """Ads of queued jobs.

        Args:
            constraint: ClassAd expression that they fulfil.
            projection: Attributes wanted; none for all.

        Raises:
            PoolUnavailable: The schedd does not answer.
        """
        with self._schedd() as schedd:
            return list(schedd.query(constraint, list(projection)))

    def make_ready(self, progress: Progress = NO_PROGRESS) -> None:
        """See that the schedd answers."""
        with self._schedd() as schedd:
            self._see_that_it_answers(schedd, at_once=True)

    def _see_that_it_answers(self, schedd: Schedd, *, at_once: bool = False) -> None:
        """Ask the schedd something that costs nothing. The bindings wait for ever for a schedd that falls
        silent
        while it takes jobs; for an answer to this they wait some twenty seconds.
        """
        if at_once or time.monotonic() > self._answers_until:
            schedd.query("false", ["ClusterId"])
        self._answers_until = time.monotonic() + _ANSWER_SECONDS

    def default_workers(self, count: int) -> int:
        return max(1, min(count, DEFAULT_WORKERS))

    def queued_jobs(self) -> int | None:
        with self._schedd() as schedd:
            return own_jobs(schedd)

    def gpus(self) -> list[Gpu]:
        from wingspan.pools.gpus import gpus_of_slots

        # What a partitionable slot holds in all; dynamic slots are parts of it.
        return gpus_of_slots(self.machine_ads("(TotalSlotGPUs > 0 || GPUs > 0) && DynamicSlot =!= true"))

    def submit(self, job: JobDescription) -> Submission:
        import htcondor2

        self.check_gpus(job)
        with self._schedd() as schedd:
            try:
                description = htcondor2.Submit(self._text(job, _version(schedd)))
            except (ValueError, RuntimeError, htcondor2.HTCondorException) as error:
                raise SubmitError(
                    f"HTCondor cannot read the submit description: {error}",
                    hint="see what Options(submit=…, requirements=…, custom=…) and the site profile add to it",
                ) from error
            issue_credentials(description)
            self._see_that_it_answers(schedd)
            try:
                result = self._queue(schedd, description)
            except (ValueError, RuntimeError, htcondor2.HTCondorException) as error:
                raise SubmitError(
                    f"the schedd refused the jobs: {error}",
                    hint="the site's rules are in its documentation; wingspan doctor says which pool is used",
                ) from error
            return Submission(pool=self.kind, cluster=str(result.cluster()), count=job.count)

    def _queue(self, schedd: Schedd, description: Any) -> Any:
        """Put jobs into the queue. Returns what the schedd answers."""
        return schedd.submit(description)

    def _text(self, job: JobDescription, version: tuple[int, int]) -> str:
        """The submit description for a schedd of this version."""
        return submit_description(
            job,
            common_files=self.sends_once and version >= _COMMON_FILES,
            common_images=self.sends_once and version >= _COMMON_IMAGES,
            limits_access=self.limits_access,
            retries=version >= _RETRIES,
        )

    def describe(self, job: JobDescription) -> str:
        with self._schedd() as schedd:
            return self._text(job, _version(schedd))

    def change(
        self, submissions: Sequence[Submission], *, memory: int | None = None, disk: int | None = None
    ) -> Changed:
        """Edit the jobs' ads. One that runs asks for it when it is started again."""
        constraint = constraint_of(submissions)
        # MiB and KiB: what the attributes count in.
        wanted = {"RequestMemory": (memory, 1 << 20), "RequestDisk": (disk, 1 << 10)}
        with self._schedd() as schedd:
            states = (
                [ad["JobStatus"] for ad in schedd.query(constraint, ["JobStatus"])] if submissions else []
            )
            try:
                for name, (size, unit) in wanted.items():
                    if size is not None and states:
                        schedd.edit(constraint, name, str(-(-size // unit)))
            except (ValueError, RuntimeError) as error:
                raise PoolError(
                    f"the schedd does not change the jobs: {error}",
                    hint="condor_qedit -constraint … says more; jobs that are submitted from now on ask for it",
                ) from error
        running = sum(state in _ON_MACHINE for state in states)
        return Changed(changed=len(states) - running, running=running)

    def enlarge(self, submissions: Sequence[Submission], *, memory: int | None, disk: int | None) -> int:
        with self._schedd() as schedd:
            return enlarge_held(schedd, constraint_of(submissions), memory, disk) if submissions else 0

    def why_no_gpu(self, resources: Resources) -> tuple[str, str] | None:
        from wingspan.pools.gpus import why_no_gpu

        return why_no_gpu(resources, self.gpus(), self.kind)

    def check_gpus(self, job: JobDescription) -> None:
        if not job.resources.gpus or any(
            name.lower().startswith("want") for name in (*job.custom, *job.submit)
        ):
            return
        problem = self.why_no_gpu(job.resources)
        if problem is not None:
            raise SubmitError(problem[0], hint=problem[1])

    def why_waiting(self, submissions: Sequence[Submission], folder: Path) -> str | None:
        found = self._explanation(submissions)
        return found.message if found is not None else None

    def _explanation(self, submissions: Sequence[Submission]) -> Explanation | None:
        from wingspan.pools import analysis, waiting

        constraint = f"({constraint_of(submissions)}) && (JobStatus == 1 || JobStatus == 2)"
        with self._schedd() as schedd:
            jobs = list(schedd.query(constraint, [], limit=EXPLAINED))
        if not jobs:
            return None
        slots = (
            self.machine_ads("true")
            if self.own
            else self.machine_ads(_WHOLE_SLOTS, analysis.projection_for(jobs))
        )
        return waiting.explain(jobs, slots, own=self.own, now=time.time(), hollow=self._hollow_slots)

    def _hollow_slots(self) -> frozenset[str]:
        """Slots that have a starter and no job, where this machine can tell."""
        return frozenset()

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        import htcondor2

        if not submissions:
            return
        name = {"hold": "Hold", "release": "Release", "vacate": "Vacate", "remove": "Remove"}[action]
        with self._schedd() as schedd:
            if action == "release":
                wait_for_shadows(schedd, constraint_of(submissions))
            # A plain string as reason is dropped by htcondor2 25: it takes (reason, code).
            schedd.act(getattr(htcondor2.JobAction, name), constraint_of(submissions), (reason, 0))

    def find(self, folder: Path, *, ask: bool) -> list[tuple[Submission, str]]:
        found = submitted_clusters(folder / "events.log")
        if not ask:
            return self._found(found)
        with contextlib.suppress(PoolError):
            import_bindings()
            import classad2

            constraint = f"UserLog == {classad2.quote(str(folder / 'events.log'))}"
            for ad in self.job_ads(constraint, ["ClusterId", "ProcId", "SubmitEventUserNotes"]):
                cluster, note = str(ad["ClusterId"]), str(ad.get("SubmitEventUserNotes") or "")
                count, known = found.get(cluster, (0, note))
                found[cluster] = max(count, int(ad["ProcId"]) + 1), known or note
        return self._found(found)

    def _found(self, found: dict[str, tuple[int, str]]) -> list[tuple[Submission, str]]:
        return [
            (Submission(pool=self.kind, cluster=cluster, count=count), note)
            for cluster, (count, note) in found.items()
        ]

    def watch(self, submissions: Sequence[Submission], folder: Path) -> HTCondorWatcher:
        return HTCondorWatcher(self._schedd, list(submissions), folder / "events.log")


#: Versions of the schedd since which files and images are sent once to each execution point (HTCondor's
#: sources: ``CommonInputFiles``, ``container_is_common``). An older one would not send such a file at all.
_COMMON_FILES, _COMMON_IMAGES = (25, 14), (25, 0)
#: Since then the schedd itself asks for more after a job took too much (``retry_request_memory``).
_RETRIES = (25, 10)


def _version(schedd: Schedd) -> tuple[int, int]:
    """Major and minor version of the schedd; (0, 0) where it does not say."""
    match = re.search(r"(\d+)\.(\d+)\.\d+", str(getattr(schedd, "_version", "")))
    return (int(match[1]), int(match[2])) if match else (0, 0)


class PersonalHTCondorPool(HTCondorPool):
    """The HTCondor that Wingspan runs on this machine for its user; started when it is first needed."""

    kind = "personal"
    limits_access = False
    shares_files = True
    runs_here = True
    container_universe = False
    follows_site = False
    own = True

    def __init__(self, pool: PersonalPool | None = None) -> None:
        from wingspan.pools.personal import PersonalPool

        self.personal: PersonalPool = pool or PersonalPool()
        self.place: str | None = str(self.personal.directory)
        self._warm: WarmWorkers | None = None
        self._looked_at: set[tuple[int, int]] = set()
        self._was_ready: tuple[object, ...] = ()
        self._ready_until = 0.0

    @contextlib.contextmanager
    def _schedd(self) -> Iterator[Schedd]:
        htcondor2 = import_bindings()
        try:
            with self.personal.activate():
                yield self.personal.schedd()
        except (OSError, RuntimeError, IndexError, htcondor2.HTCondorException) as error:
            raise self._unavailable(error) from error

    def title(self) -> str:
        status = self.personal.status()
        return f"the personal pool on this machine: HTCondor {status.version}, {counted(status.cpus or 0, 'core')}"

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        """This very Python: the machine is the same."""
        return this_python(), (), False

    def _check_machines(self, job: JobDescription) -> None:
        """Refuse a job that no machine can ever run. All machines are known here."""
        resources = job.resources
        usual = resources.cpus == 1 and not resources.gpus and not job.requirements
        if usual and not resources.memory and not resources.disk:
            return
        from wingspan.pools.matching import PROJECTION, why_no_machine

        slots = self.machine_ads('SlotType =!= "Dynamic"', [] if job.requirements else PROJECTION)
        problem = why_no_machine(job, slots)
        if problem is not None:
            raise SubmitError(f"the personal pool cannot run this: {problem[0]}", hint=problem[1])

    def unavailable_reason(self) -> str | None:
        """It was stopped, or has crashed."""
        state = self.personal.status().state
        if state == "running":
            return None
        what = "has crashed" if state == "crashed" else f"is {state}"
        return f"the personal pool in {self.personal.directory} {what}: `wingspan pool start` lets jobs go on"

    def tools(self) -> Mapping[str, str]:
        return self.personal.environment()

    def why_no_shell(self) -> str | None:
        from wingspan.pools.personal.shells import has_sshd

        if has_sshd(self.personal.directory):
            return None
        return "this machine has no OpenSSH server (sshd), by which HTCondor opens the shell"

    def revive(self) -> None:
        """Start the daemons again after a crash or a reboot; the queue is kept."""
        if self.personal.status().state == "running":
            return
        if not (self.personal.directory / "state.json").exists():
            raise PoolUnavailable(
                f"the personal pool in {self.personal.directory} was stopped, and jobs of yours wait in its queue",
                hint="wingspan pool start: they go on where they were",
            )
        self.personal.start()

    def submit(self, job: JobDescription) -> Submission:
        self._check_machines(job)
        job = _with_short_lease(job)
        warm = self._warm_workers()
        if not warm.suits(job):
            return super().submit(job)
        with self.personal.activate():  # for both, so that the bindings read its configuration once
            lent = warm.lend(job, min(job.count, self._room(job)))
            if lent is None:
                return super().submit(warm.prepared(job))
            try:
                submission = super().submit(job)
                lent.begin(submission)
            finally:
                lent.close()
        return submission

    def describe(self, job: JobDescription) -> str:
        return super().describe(_with_short_lease(job))

    def _warm_workers(self) -> WarmWorkers:
        from wingspan.pools.warm import WarmWorkers

        if self._warm is None:
            self._warm = WarmWorkers(self.personal)
        return self._warm

    def _room(self, job: JobDescription) -> int:
        """How many such jobs could start now, beside all that run and wait."""
        from wingspan.pools.personal.pool import memory_mib
        from wingspan.pools.warm import PROJECTION, room

        cpus = self.personal.status().cpus or 1
        with self._schedd() as schedd:
            # This many jobs leave no room, however many there are.
            ads = schedd.query("JobStatus == 1 || JobStatus == 2", list(PROJECTION), limit=4 * cpus)
        return room(ads, job, cpus, memory_mib())

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        """Do it to the jobs, and to the warm workers that work in their place."""
        super().act(action, submissions, folder, reason)
        if action != "release":
            self._warm_workers().end(submissions, folder)

    def why_waiting(self, submissions: Sequence[Submission], folder: Path) -> str | None:
        found = self._explanation(submissions)
        if found is None:
            return None
        forgotten = {*found.neglected, *found.lost}
        new, self._looked_at = forgotten - self._looked_at, forgotten
        if new:
            with self._schedd() as schedd:
                remind(schedd, found, new)
        if forgotten:
            # The reminder of a moment ago may still help: nothing is reported yet.
            return found.message if forgotten - new else None
        message = found.message
        if message is not None and "tmp" in self.personal.directory.parts and "ontainer" in message:
            message += (
                f"\nThe pool lies in {self.personal.directory}, and HTCondor gives containers a /tmp of their own: start a pool in "
                "another folder (wingspan pool start --directory)"
            )
        return message

    def _hollow_slots(self) -> frozenset[str]:
        return hollow_slots(self.personal.directory)

    def reschedule(self) -> None:
        """Ask negotiator and schedd to look for work now."""
        try:
            with self.personal.activate():
                self.personal.reschedule()
        except PoolError:
            pass

    def make_ready(self, progress: Progress = NO_PROGRESS) -> None:
        """Obtain HTCondor and start the pool, unless it runs. For a second after its daemons have answered
        they are not asked again: a map wants the pool ready when it is made, and when it gets its workers.
        """
        if self._started() == self._was_ready and time.monotonic() < self._ready_until:
            return
        self.personal.start(progress=progress)
        self._was_ready = self._started()
        self._ready_until = time.monotonic() + 1.0

    def _started(self) -> tuple[object, ...]:
        """Which start of the pool runs."""
        status = self.personal.status()
        return status.state, status.master_pid, status.started

    def default_workers(self, count: int) -> int:
        return max(1, min(count, self.personal.status().cpus or 1))


def _with_short_lease(job: JobDescription) -> JobDescription:
    """After a crash of the machine there is nothing to reconnect to: do not wait the usual 40 minutes."""
    return attrs.evolve(job, submit={"job_lease_duration": "40", **job.submit})
