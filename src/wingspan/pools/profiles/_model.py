"""What a profile says, and what follows from it for a job."""

from __future__ import annotations

import os
import socket
from collections.abc import Collection, Mapping
from pathlib import PurePath
from typing import TypeVar

import attrs

from wingspan.errors import SettingsError
from wingspan.jobs import ClassAdValue, JobDescription, Resources
from wingspan.pools.profiles._limits import AccountingRules, QueueRules, Quota
from wingspan.pools.site_hosts import fits_this_machine
from wingspan.stores import SizeLimits

__all__ = [
    "DiskNotAllowed",
    "FolderNotAllowed",
    "JobRules",
    "Profile",
    "SlurmGpu",
    "Switch",
    "WalltimeClass",
    "WalltimeClasses",
    "WalltimeNotAllowed",
    "duration_text",
]


_Value = TypeVar("_Value")

#: Variables that HTCondor and Slurm set in jobs: whatever the machine is, this is the place for computation.
_IN_A_JOB = ("_CONDOR_JOB_AD", "_CONDOR_SCRATCH_DIR", "SLURM_JOB_ID")


class WalltimeNotAllowed(SettingsError):
    """The site ends jobs sooner than is asked for."""


class DiskNotAllowed(SettingsError):
    """The site gives a job less disk than is asked for."""


class FolderNotAllowed(SettingsError):
    """Jobs cannot be submitted from this folder."""


def duration_text(seconds: int) -> str:
    """Seconds for people.

    >>> duration_text(1200), duration_text(43200), duration_text(7 * 86400), duration_text(90 * 60)
    ('20 min', '12 h', '7 d', '90 min')
    """
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds % unit == 0 and seconds >= unit and not (unit == 86400 and seconds < 3 * unit):
            return f"{seconds // unit} {name}"
    return f"{seconds} s"


@attrs.frozen(kw_only=True)
class WalltimeClass:
    """A value of the site's attribute, and up to how many seconds of wall time it is for."""

    value: str
    up_to: int


@attrs.frozen(kw_only=True)
class WalltimeClasses:
    """The site's attribute that says how long a job may take.

    Attributes:
        attribute: Name of the job attribute: CHTC's ``GPUJobLength``, CERN's ``JobFlavour``.
        classes: Its values, shortest first.
        default: The value that is meant when no time is asked for.
        always: Say `default` even then, because the site's own default is another.
    """

    attribute: str
    classes: tuple[WalltimeClass, ...]
    default: str | None = None
    always: bool = False

    def choose(self, seconds: int) -> str | None:
        """The shortest class that `seconds` fit into; None if none is long enough.

        >>> lengths = (WalltimeClass(value="short", up_to=43200), WalltimeClass(value="long", up_to=604800))
        >>> [WalltimeClasses(attribute="A", classes=lengths).choose(t) for t in (60, 43201, 604801)]
        ['short', 'long', None]
        """
        return next((each.value for each in self.classes if seconds <= each.up_to), None)


@attrs.frozen(kw_only=True)
class JobRules:
    """What a site wants of a kind of jobs.

    Attributes:
        attributes: Job attributes (``+Name = value`` in a submit file).
        submit: Submit commands as they stand.
        walltime: How it wants to be told of the time.
        time_limit: Seconds after which it ends a job, where no class says so.
        limit_per_checkpoint: The time limit holds from one checkpoint to the next; a job that writes
            checkpoints may take longer.
        disk_per_cpu: Bytes of disk that a job gets for each of its cores.
        no_ssh: Why nobody gets a shell in such a job; None: `condor_ssh_to_job` works, as far as the site
            says.
        no_chirp: Why such a job has no chirp channel to its access point; None: it has one, as far as the
            site says.
        no_user_namespaces: Why such a job may make no user namespaces, and so mount no image by itself; None:
            machines say it.
    """

    attributes: Mapping[str, ClassAdValue] = attrs.field(factory=dict)
    submit: Mapping[str, str] = attrs.field(factory=dict)
    walltime: WalltimeClasses | None = None
    time_limit: int | None = None
    limit_per_checkpoint: bool = False
    disk_per_cpu: int | None = None
    no_ssh: str | None = None
    no_chirp: str | None = None
    no_user_namespaces: str | None = None


@attrs.frozen(kw_only=True)
class Switch:
    """Something that a user may turn on for a job.

    Attributes:
        name: How it is asked for.
        help: What it does, as a phrase.
        attributes, submit: As in `JobRules`.
        time_limit: Seconds that a job may take with it.
    """

    name: str
    help: str = ""
    attributes: Mapping[str, ClassAdValue] = attrs.field(factory=dict)
    submit: Mapping[str, str] = attrs.field(factory=dict)
    time_limit: int | None = None


@attrs.frozen(kw_only=True)
class SlurmGpu:
    """A kind of GPU of a Slurm cluster. Slurm knows no capability: sites name kinds, and this table says what
    they are.

    Attributes:
        constraint: Feature that nodes with it have (``--constraint``).
        capability: CUDA compute capability.
        memory: Bytes of memory of a device.
    """

    constraint: str
    capability: float
    memory: int | None = None


@attrs.frozen(kw_only=True)
class Profile:
    """A site.

    Attributes:
        name: How users ask for it.
        title: Its name in full.
        origin: Where the profile comes from: ``"shipped"``, ``"config.toml"``, or the address that it was
            added from.
        source: Pages of the site that it follows.
        date: When they were read: ``"2026-11"``.
        hosts: Patterns of the names of its machines.
        environment: Environment variables by which this profile is told from others of the same machines,
            with their values.
        access_points: Patterns of the names of those that many people share to submit from. Computation has
            no place there: neither the personal pool nor local processes are started, and environments are
            built on one core, if at all.
        builds: Environments may be built on its access points.
        build_hint: Where they are built instead, as a sentence.
        no_submit_from: Folders below which no job may be submitted, each with the reason.
        only_submit_from: Folders of which one has to be around a folder that jobs are submitted from, each
            with the reason.
        page: Address of the page that people are sent to.
        staging: Folder for large files, with ``{user}``, ``{letter}`` (its first), ``{host}`` (the access
            point's, short) and ``{home}``.
        transfer_host: The machine through which alone files get into `staging`; None: any access point.
        limits: From which sizes on it wants files to come another way.
        queue: How many jobs it takes.
        accounting: What each job must say of its account; None: nothing.
        operations: How many operations a second the workers of one map, all together, may ask of the access
            point (claims and appends, mostly); None: 500 where they go by chirp.
        quotas: How much a person may keep where, by name.
        every, cpu, gpu: What it wants of all jobs, of those without and of those with GPUs.
        build: What it wants of jobs that build an environment.
        switches: What users may turn on, by name.
        sbatch: Options of sbatch that all jobs have, by long name (``{"account": "abc"}``).
        slurm_gpus: Its kinds of GPUs, if it is a Slurm cluster.
    """

    name: str
    title: str = ""
    origin: str = "shipped"
    source: tuple[str, ...] = ()
    date: str | None = None
    hosts: tuple[str, ...] = ()
    environment: Mapping[str, str] = attrs.field(factory=dict)
    access_points: tuple[str, ...] = ()
    builds: bool = True
    build_hint: str | None = None
    no_submit_from: Mapping[str, str] = attrs.field(factory=dict)
    only_submit_from: Mapping[str, str] = attrs.field(factory=dict)
    page: str | None = None
    staging: str | None = None
    transfer_host: str | None = None
    limits: SizeLimits = attrs.field(factory=SizeLimits)
    queue: QueueRules = attrs.field(factory=QueueRules)
    accounting: AccountingRules | None = None
    operations: float | None = None
    quotas: Mapping[str, Quota] = attrs.field(factory=dict)
    every: JobRules = attrs.field(factory=JobRules)
    cpu: JobRules = attrs.field(factory=JobRules)
    gpu: JobRules = attrs.field(factory=JobRules)
    build: JobRules = attrs.field(factory=JobRules)
    switches: Mapping[str, Switch] = attrs.field(factory=dict)
    sbatch: Mapping[str, str] = attrs.field(factory=dict)
    slurm_gpus: tuple[SlurmGpu, ...] = ()

    def staging_folder(self, user: str, host: str | None = None) -> str | None:
        """The user's folder for large files on this site; None if it has none.

        Args:
            user: Name of the user.
            host: Name of the access point; by default this machine's.
        """
        if self.staging is None:
            return None
        short = (host or socket.gethostname()).split(".")[0]
        home = os.path.expanduser(f"~{user}")  # noqa: PTH111 - who is not known here stays as it is
        return self.staging.format(user=user, letter=user[:1], host=short, home=home)

    def is_access_point(self, host: str | None = None) -> bool:
        """This machine is one that many people share to submit from, and this process is not a job on it.

        Args:
            host: Full name of the machine; by default this one's.
        """
        if any(os.environ.get(name) for name in _IN_A_JOB):
            return False
        return fits_this_machine(self.access_points, host)

    def check_folder(self, folder: PurePath) -> None:
        """See that jobs may be submitted from `folder`.

        Raises:
            FolderNotAllowed: They may not; the message has the site's reason.
        """
        around = {str(one) for one in (folder, *folder.parents)}
        for place, why in self.no_submit_from.items():
            if why and place in around:
                raise FolderNotAllowed(
                    f"jobs of {self.title or self.name} cannot be submitted from {folder}: {why}",
                    hint="choose a folder elsewhere; WINGSPAN_DATA_DIR says where maps and runs are kept",
                )
        wanted = {place: why for place, why in self.only_submit_from.items() if why}
        if wanted and not around & wanted.keys():
            raise FolderNotAllowed(
                f"jobs of {self.title or self.name} cannot be submitted from {folder}: {next(iter(wanted.values()))}",
                hint=f"set WINGSPAN_DATA_DIR, which says where maps and runs are kept, to a folder below {' or '.join(wanted)}",
            )

    def no_ssh(self, resources: Resources) -> str | None:
        """Why nobody gets a shell in a job that asks for `resources`; None: the site allows it."""
        return self._rules(resources).no_ssh or self.every.no_ssh

    def no_chirp(self, resources: Resources) -> str | None:
        """Why a job that asks for `resources` has no chirp channel; None: the site says nothing of it."""
        return self._rules(resources).no_chirp or self.every.no_chirp

    def no_user_namespaces(self, resources: Resources | None = None) -> str | None:
        """Why a job that asks for `resources` (None: any job) may make no user namespaces; None: machines
        say it."""
        own = self._rules(resources).no_user_namespaces if resources is not None else None
        return own or self.every.no_user_namespaces

    def _rules(self, resources: Resources) -> JobRules:
        return self.gpu if resources.gpus else self.cpu

    def check_accounting(self, submit: Collection[str], custom: Collection[str]) -> None:
        """See that jobs with submit commands and attributes of these names say whose account they are on.

        What the profile itself adds to all jobs counts.

        Raises:
            AccountingMissing: The site wants it, and it is not set.
        """
        if self.accounting is not None:
            own = (*self.every.submit, *self.sbatch, *self.every.attributes)
            self.accounting.check(self.name, (*submit, *own), custom)

    def _chosen(self, switches: Collection[str]) -> list[Switch]:
        unknown = sorted(set(switches) - set(self.switches))
        if unknown:
            known = ", ".join(sorted(self.switches)) or "none"
            raise SettingsError(f"profile {self.name} has no switch {unknown[0]!r}", hint=f"it has: {known}")
        return [self.switches[name] for name in switches]

    def check(
        self, resources: Resources, switches: Collection[str] = (), *, checkpoints: bool = False
    ) -> None:
        """See that the site lets a job run as long, and have as much disk, as `resources` says.

        Args:
            resources: What is asked for.
            switches: Names of what the user turns on.
            checkpoints: The job writes checkpoints, and goes on from them.

        Raises:
            WalltimeNotAllowed, DiskNotAllowed: It does not.
            SettingsError: A switch that the profile does not have.
        """
        self.check_time(resources, switches, checkpoints=checkpoints)
        for rules in (self.every, self._rules(resources)):
            if rules.disk_per_cpu is None or resources.disk is None:
                continue
            cores = -(-resources.disk // rules.disk_per_cpu)
            if cores > resources.cpus:
                raise DiskNotAllowed(
                    f"{self.title or self.name} gives jobs {rules.disk_per_cpu >> 30} GB of disk for each core; "
                    f"{-(-resources.disk >> 30)} GB with {resources.cpus} "
                    f"{'core' if resources.cpus == 1 else 'cores'} is asked for",
                    hint=f"ask for {cores} cores, or for less disk",
                )

    def check_time(
        self, resources: Resources, switches: Collection[str] = (), *, checkpoints: bool = False
    ) -> None:
        """See that the site lets a job run as long as `resources` says; the arguments are those of `check`.

        Raises:
            WalltimeNotAllowed: It does not.
            SettingsError: A switch that the profile does not have.
        """
        chosen = self._chosen(switches)
        if resources.time_limit is None:
            return
        asked = duration_text(resources.time_limit)
        for rules in (self.every, self._rules(resources)):
            longest = rules.walltime.classes[-1].up_to if rules.walltime else rules.time_limit
            if longest is None or resources.time_limit <= longest:
                continue
            if checkpoints and rules.limit_per_checkpoint:
                continue
            kind = "GPU jobs" if rules is self.gpu else "jobs"
            raise WalltimeNotAllowed(
                f"{self.title or self.name} lets {kind} run for {duration_text(longest)}; "
                f"{asked} is asked for",
                hint=f"give --time {_short(longest)} or less: a job is started again after each checkpoint"
                if checkpoints
                else f"ask for {_short(longest)} or less; work that takes longer is split, or goes on from checkpoints: wingspan run "
                "--checkpoint, and wingspan.component().checkpoint(…) in a map",
            )
        for switch in chosen:
            if switch.time_limit is not None and resources.time_limit > switch.time_limit:
                raise WalltimeNotAllowed(
                    f"{switch.name} ({switch.help}) is for jobs of at most "
                    f"{duration_text(switch.time_limit)}; {asked} is asked for",
                    hint=f"leave {switch.name} out, or make the jobs shorter",
                )

    def submit_of(self, resources: Resources, switches: Collection[str] = ()) -> dict[str, str]:
        """Submit commands that the site wants of a job; the arguments are those of `check`."""
        submit = {**self.every.submit, **self._rules(resources).submit}
        for switch in self._chosen(switches):
            submit |= switch.submit
        return submit

    def apply(self, job: JobDescription, switches: Collection[str] = ()) -> JobDescription:
        """`job` with what the site wants; what the job says itself wins, in whatever letter case.

        Args:
            job: The job.
            switches: Names of what the user turns on.

        Raises:
            WalltimeNotAllowed: The site ends jobs sooner than `job` asks.
            DiskNotAllowed: The site gives less disk.
            AccountingMissing: The site wants to know whose account the job is on.
            SettingsError: A switch that the profile does not have.
        """
        resources = job.resources
        self.check(resources, switches, checkpoints=_writes_checkpoints(job))
        attributes: dict[str, ClassAdValue] = {}
        for rules in (self.every, self._rules(resources)):
            attributes |= rules.attributes
            if rules.walltime:
                said = _class_of(rules.walltime, resources.time_limit)
                if said is not None:
                    attributes[rules.walltime.attribute] = said
        for switch in self._chosen(switches):
            attributes |= switch.attributes
        if job.max_idle is None and self.queue.max_idle and job.count > (self.queue.per_owner or 0):
            job = attrs.evolve(job, max_idle=self.queue.max_idle)
        submit = self.submit_of(resources, switches)
        applied = attrs.evolve(job, custom=_under(attributes, job.custom), submit=_under(submit, job.submit))
        self.check_accounting(applied.submit, applied.custom)
        return applied

    def sbatch_options(self, resources: Resources, own: Mapping[str, str | bool]) -> dict[str, str | bool]:
        """Options of sbatch for jobs that ask for `resources`: the site's, and over them those of their user.

        Of ``constraint`` both count: what is wanted, and which nodes have GPUs that are good enough.

        Raises:
            SettingsError: The cluster has GPUs, and none of them is good enough.
        """
        options: dict[str, str | bool] = {**self.sbatch, **own}
        good, wanted = self.slurm_constraint(resources), options.get("constraint")
        if good:
            options["constraint"] = f"({wanted})&({good})" if wanted else good
        return {name: value for name, value in options.items() if value is not False}

    def slurm_constraint(self, resources: Resources) -> str | None:
        """``--constraint`` for the GPUs that `resources` asks for; None if the table has nothing to say.

        Raises:
            SettingsError: The cluster has GPUs, and none of them is good enough.
        """
        if not resources.gpus or not self.slurm_gpus:
            return None
        good = [
            gpu.constraint
            for gpu in self.slurm_gpus
            if gpu.capability >= (resources.gpus_minimum_capability or 0)
            and gpu.capability <= (resources.gpus_maximum_capability or gpu.capability)
            and (gpu.memory is None or gpu.memory >= (resources.gpus_minimum_memory or 0))
        ]
        if not good:
            kinds = ", ".join(f"{gpu.constraint} ({gpu.capability})" for gpu in self.slurm_gpus)
            raise SettingsError(
                f"no GPU of {self.title or self.name} is good enough: it has {kinds}",
                hint="ask for less, or correct [[profile.….slurm_gpus]]",
            )
        return None if len(good) == len(self.slurm_gpus) else "|".join(dict.fromkeys(good))


def _class_of(walltime: WalltimeClasses, seconds: int | None) -> str | None:
    if seconds is not None:
        # None is long enough for a job that goes on from its checkpoints: the longest.
        return walltime.choose(seconds) or walltime.classes[-1].value
    return walltime.default if walltime.always else None


def _writes_checkpoints(job: JobDescription) -> bool:
    return any(name.lower() == "checkpoint_exit_code" for name in job.submit)


def _under(site: Mapping[str, _Value], own: Mapping[str, _Value]) -> dict[str, _Value]:
    """All that the job says, and what the site wants besides; the letter case of names does not count."""
    said = {name.lower() for name in own}
    return {name: value for name, value in site.items() if name.lower() not in said} | dict(own)


def _short(seconds: int) -> str:
    return duration_text(seconds).replace(" ", "")
