"""What the rest of Wingspan knows of a pool, in no engine's words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import attrs

from wingspan._shell import words
from wingspan.jobs import JobDescription, Resources, Submission
from wingspan.pools._states import JobState
from wingspan.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from wingspan.pools.gpus import Gpu

__all__ = ["Action", "Changed", "JobEvent", "JobState", "JobWatcher", "PlainPool", "Pool"]

Action = Literal["hold", "release", "vacate", "remove"]


@attrs.frozen(kw_only=True)
class JobEvent:
    """A job's state changed.

    Attributes:
        cluster: The submission's name or number.
        proc: Number of the job in it; -1 when the event is about all of them.
        state: What the job is now.
        time: Unix time.
        code: Hold reason code (HTCondor manual, "HoldReasonCode"), or the exit code.
        reason: In words: why held, removed or evicted.
        signal: Signal that ended the job.
        host: Execution point.
        notes: Of a job that was just submitted: what its submit description says in
            ``submit_event_user_notes``.
        schedd: Of a job that was just submitted: the address of its schedd.
        by_person: Of a held job: a person wanted the hold. Nothing is wrong with the job or its machine.
        never_starts: Of an idle job: as things are it will not start, and `reason` says why.
        exceeded: ``"memory"``: the scheduler ended the job because it took more than it had asked for.
        begins: The job itself says that it begins. If it was running before, it was killed and started again,
            and nobody told.
        raised: How often the job had taken more memory than it had asked for by then, and asked for more.
    """

    cluster: str
    proc: int
    state: JobState
    time: float
    code: int | None = None
    reason: str | None = None
    signal: int | None = None
    host: str | None = None
    notes: str | None = None
    schedd: str | None = None
    by_person: bool = False
    never_starts: bool = False
    exceeded: str | None = None
    begins: bool = False
    raised: int = 0


@attrs.frozen(kw_only=True)
class Changed:
    """How many jobs ask for something else now.

    Attributes:
        changed: Jobs that have not begun.
        running: Jobs that run, and keep what they have.
    """

    changed: int
    running: int


class JobWatcher(Protocol):
    """Follows the jobs of one map or run."""

    def poll(self) -> Iterable[JobEvent]:
        """What happened since the last call; cheap, never blocks, asks no scheduler."""
        ...

    def ask(self) -> Iterable[JobEvent]:
        """Ask the scheduler once about all jobs, also about those that have left the queue."""
        ...

    def close(self) -> None:
        """Let go of open files."""
        ...


class Pool(Protocol):
    """An engine that executes jobs."""

    #: Its name: ``"personal"``, ``"htcondor"``, ``"slurm"``, ``"local"``, or one that was given to
    #: `register`.
    kind: str
    #: Which of several pools of this kind: the folder of a personal one. None where there is only one.
    place: str | None
    #: How workers reach the map's folder: ``"file"`` or ``"chirp"``.
    transport: str
    #: Execution points see the access point's file system: nothing needs to be sent.
    shares_files: bool
    #: Its jobs run on this machine.
    runs_here: bool
    #: Another machine submits its jobs, and has the map or run; what lies here is a copy of that.
    elsewhere: bool
    #: Workers can be started before it is known what they are for (`warm_up`).
    warms_up: bool
    #: It gives each job a folder, and brings files there and back.
    moves_files: bool
    #: It writes HTCondor's event log, ``events.log`` in the map's or run's folder: what becomes of each job,
    #: its end too.
    writes_log: bool
    #: A job that is held or sent away ends for good: to go on, another one is submitted in its place.
    ends_held_jobs: bool
    #: Its watchers answer `JobWatcher.ask` from files of this machine: they may be asked at every look.
    answers_at_once: bool
    #: It brings files from URLs to jobs.
    fetches_urls: bool
    #: The scheduler itself starts jobs in container images (HTCondor's container universe).
    container_universe: bool
    #: Jobs may state what they require of machines as a ClassAd expression.
    takes_requirements: bool
    #: Where nobody names a profile, the profile of the site applies.
    follows_site: bool
    #: A profile becomes options of the scheduler when a job is submitted; else `Profile.apply` has changed
    #: the job before.
    renders_profile: bool
    #: A job that asks for GPUs gets devices of its own; else it finds them itself, and others may find the
    #: same.
    hands_out_gpus: bool
    #: Its scheduler can mail when jobs end.
    sends_mail: bool
    #: Its scheduler starts a job again, after a pause, that says that it can do nothing yet
    #: (`JobDescription.comes_back`).
    brings_back: bool
    #: A job that took more memory than it had asked for can be started again and ask for more
    #: (`Resources.retry_memory`).
    raises_memory: bool
    #: A job that takes more memory than it asked for is ended, or held.
    limits_memory: bool
    #: Its scheduler starts jobs only when others have begun, or have ended (`JobDescription.after`).
    orders_jobs: bool
    #: Jobs that ask for less time begin sooner: a pilot measures what they need.
    rewards_short_jobs: bool
    #: It belongs to one person: its scheduler may be asked as often as one likes.
    own: bool
    #: The program that opens a shell in a job, or a job that is a shell; None: there is none.
    shells: Literal["condor_ssh_to_job", "srun"] | None

    def title(self) -> str:
        """What it is, for people: the end of the sentence "maps run on …"."""
        ...

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        """How a Python program is started.

        Returns:
            The executable, arguments before the program's own, and whether the executable is sent along.
        """
        ...

    def make_ready(self, progress: Progress = NO_PROGRESS) -> None:
        """See that jobs can be submitted; start what has to be started.

        Raises:
            PoolError: It cannot be used.
        """
        ...

    def warm_up(self, archive: Path, count: int) -> None:
        """Prepare for about `count` workers, which `submit` brings in a moment, or `cool_down` takes back."""
        ...

    def cool_down(self) -> None:
        """The workers that `warm_up` has prepared for will not be submitted."""
        ...

    def default_workers(self, count: int) -> int:
        """How many workers a map of `count` components gets by default."""
        ...

    def largest_submission(self, count: int) -> int:
        """How many of `count` jobs one submission may have.

        Raises:
            PoolUnavailable: No scheduler answers.
        """
        ...

    def queued_jobs(self) -> int | None:
        """How many jobs this user has in its queue; None: it has no limit, so nobody needs the number.

        Raises:
            PoolUnavailable: No scheduler answers.
        """
        ...

    def gpus(self) -> list[Gpu]:
        """All its GPUs, by machine.

        Raises:
            PoolError: It does not list them.
            PoolUnavailable: Nobody answers.
        """
        ...

    def why_no_gpu(self, resources: Resources) -> tuple[str, str] | None:
        """Why no machine has the GPUs that a job asks for.

        Returns:
            What is wrong, and what to do. None: a machine has them, or nobody can tell.

        Raises:
            PoolUnavailable: Nobody answers.
        """
        ...

    def check_gpus(self, job: JobDescription) -> None:
        """Refuse a job whose GPUs no machine has, unless it may go to other pools.

        Raises:
            SubmitError: None has.
        """
        ...

    def machine_ads(self, constraint: str, projection: Sequence[str] = ()) -> Sequence[Mapping[str, Any]]:
        """What its machines say of themselves, in HTCondor's names; none where machines do not.

        Args:
            constraint: ClassAd expression that they fulfil.
            projection: Attributes wanted; none for all.

        Raises:
            PoolUnavailable: Nobody answers.
        """
        ...

    def tools(self) -> Mapping[str, str]:
        """Environment variables by which the programs of its scheduler find it, beside those that are set."""
        ...

    def why_no_shell(self) -> str | None:
        """Why nobody gets a shell in a job, as far as this machine can tell."""
        ...

    def submit(self, job: JobDescription) -> Submission:
        """Submit jobs.

        Raises:
            SubmitError: The scheduler refused them.
            PoolUnavailable: No scheduler answers.
        """
        ...

    def describe(self, job: JobDescription) -> str:
        """What `submit` tells the scheduler, as text: a submit description, a script or a command line.

        Raises:
            SubmitError: The job cannot be described in its words.
        """
        ...

    def change(
        self, submissions: Sequence[Submission], *, memory: int | None = None, disk: int | None = None
    ) -> Changed:
        """Have the jobs of `submissions` that have not begun ask for so much memory or disk (bytes).

        Raises:
            PoolError: The scheduler does not answer, or refuses.
        """
        ...

    def enlarge(self, submissions: Sequence[Submission], *, memory: int | None, disk: int | None) -> int:
        """Have jobs that are held because they took more than they had asked for ask for twice as much, and
        release them.

        Args:
            submissions: Whose jobs.
            memory: The most memory that may be asked for (bytes); None: it is left as it is.
            disk: The most disk.

        Returns:
            How many jobs.

        Raises:
            PoolError: The scheduler does not answer, or refuses.
        """
        ...

    def unavailable_reason(self) -> str | None:
        """Why its jobs cannot run at present, and what to do. Asks no scheduler.

        None: it runs, or others see to it.
        """
        ...

    def why_waiting(self, submissions: Sequence[Submission], folder: Path) -> str | None:
        """Why jobs of `submissions` wait or start again and again, and what to do; None: nothing unusual.

        Asks the scheduler, so not to be called often (see `wingspan.pools.waiting.Explainer`). On a pool of
        one's own it also has the scheduler look again at jobs that it has forgotten.

        Raises:
            PoolError: It does not answer.
        """
        ...

    def revive(self) -> None:
        """Start what has crashed again, if Wingspan may start it: somebody waits for jobs.

        Costs little when nothing has crashed.

        Raises:
            PoolUnavailable: Its owner has stopped it.
        """
        ...

    def reschedule(self) -> None:
        """Have the scheduler look for machines now, if it can: somebody waits for new jobs. Never raises."""
        ...

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        """Hold, release, vacate or remove the jobs of `submissions`; `folder` is that of the map or run."""
        ...

    def find(self, folder: Path, *, ask: bool) -> list[tuple[Submission, str]]:
        """Submissions that work on the map or run in `folder`, each with its note.

        Also those whose submitter died before it heard that they were taken.

        With `ask` the scheduler is asked. Without, only those are found of which it has written something to
        the folder. Never raises.
        """
        ...

    def watch(self, submissions: Sequence[Submission], folder: Path) -> JobWatcher:
        """Follow the jobs of `submissions`."""
        ...


class PlainPool:
    """A pool that can do little: an engine derives from it, and says in what it differs (see `Pool`)."""

    place: str | None = None
    transport = "file"
    shares_files = True
    runs_here = False
    elsewhere = False
    warms_up = False
    moves_files = False
    writes_log = False
    ends_held_jobs = False
    answers_at_once = False
    fetches_urls = False
    container_universe = False
    takes_requirements = False
    follows_site = False
    renders_profile = False
    hands_out_gpus = False
    sends_mail = False
    brings_back = False
    raises_memory = False
    limits_memory = True
    orders_jobs = False
    rewards_short_jobs = False
    own = False
    shells: Literal["condor_ssh_to_job", "srun"] | None = None

    def warm_up(self, archive: Path, count: int) -> None:
        """It starts workers when they are submitted."""

    def cool_down(self) -> None:
        """Nothing was prepared."""

    def largest_submission(self, count: int) -> int:
        """As many as there are."""
        return count

    def queued_jobs(self) -> int | None:
        """It takes any number."""
        return None

    def why_no_gpu(self, resources: Resources) -> tuple[str, str] | None:
        """Nobody can tell before the jobs are submitted."""
        return None

    def check_gpus(self, job: JobDescription) -> None:
        """The scheduler itself refuses what no machine has."""

    def machine_ads(self, constraint: str, projection: Sequence[str] = ()) -> Sequence[Mapping[str, Any]]:
        """Its machines do not say what they are."""
        return ()

    def tools(self) -> Mapping[str, str]:
        """Its programs find it as they are."""
        return {}

    def why_no_shell(self) -> str | None:
        """This machine cannot tell."""
        return None

    def describe(self, job: JobDescription) -> str:
        """The command that each job is."""
        return words([job.executable, *job.arguments]) + "\n"

    def change(
        self, submissions: Sequence[Submission], *, memory: int | None = None, disk: int | None = None
    ) -> Changed:
        """Its jobs have asked for nothing that could be changed."""
        return Changed(changed=0, running=0)

    def enlarge(self, submissions: Sequence[Submission], *, memory: int | None, disk: int | None) -> int:
        """It holds no job for that."""
        return 0

    def unavailable_reason(self) -> str | None:
        """It runs always, or others see to it."""
        return None

    def why_waiting(self, submissions: Sequence[Submission], folder: Path) -> str | None:
        """Nothing is known."""
        return None

    def revive(self) -> None:
        """Others start it again."""

    def reschedule(self) -> None:
        """It looks for work at its own pace."""
