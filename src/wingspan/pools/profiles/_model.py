"""What a profile says, and what follows from it for a job."""

from __future__ import annotations

import socket
from collections.abc import Collection, Mapping

import attrs

from wingspan.errors import SettingsError
from wingspan.jobs import ClassAdValue, JobDescription, Resources
from wingspan.stores import SizeLimits

__all__ = [
    "JobRules",
    "Profile",
    "SlurmGpu",
    "Switch",
    "WalltimeClass",
    "WalltimeClasses",
    "WalltimeNotAllowed",
    "duration_text",
]


class WalltimeNotAllowed(SettingsError):
    """The site ends jobs sooner than is asked for."""


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
    """

    attributes: Mapping[str, ClassAdValue] = attrs.field(factory=dict)
    submit: Mapping[str, str] = attrs.field(factory=dict)
    walltime: WalltimeClasses | None = None
    time_limit: int | None = None


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
        hosts: Patterns of the names of its access points.
        staging: Folder for large files, with ``{user}``, ``{letter}`` (its first) and ``{host}`` (the access
            point's, short).
        limits: From which sizes on it wants files to come another way.
        every, cpu, gpu: What it wants of all jobs, of those without and of those with GPUs.
        switches: What users may turn on, by name.
        sbatch: Options of sbatch that all jobs have, by long name (``{"account": "abc"}``).
        slurm_gpus: Its kinds of GPUs, if it is a Slurm cluster.
    """

    name: str
    title: str = ""
    hosts: tuple[str, ...] = ()
    staging: str | None = None
    limits: SizeLimits = attrs.field(factory=SizeLimits)
    every: JobRules = attrs.field(factory=JobRules)
    cpu: JobRules = attrs.field(factory=JobRules)
    gpu: JobRules = attrs.field(factory=JobRules)
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
        return self.staging.format(user=user, letter=user[:1], host=short)

    def _chosen(self, switches: Collection[str]) -> list[Switch]:
        unknown = sorted(set(switches) - set(self.switches))
        if unknown:
            known = ", ".join(sorted(self.switches)) or "none"
            raise SettingsError(f"profile {self.name} has no switch {unknown[0]!r}", hint=f"it has: {known}")
        return [self.switches[name] for name in switches]

    def check_time(self, resources: Resources, switches: Collection[str] = ()) -> None:
        """Nothing, if the site lets a job run as long as `resources` asks.

        Raises:
            WalltimeNotAllowed: It does not.
            SettingsError: A switch that the profile does not have.
        """
        chosen = self._chosen(switches)
        if resources.time_limit is None:
            return
        asked = duration_text(resources.time_limit)
        for rules in (self.every, self.gpu if resources.gpus else self.cpu):
            longest = rules.walltime.classes[-1].up_to if rules.walltime else rules.time_limit
            if longest is not None and resources.time_limit > longest:
                kind = "GPU jobs" if rules is self.gpu else "jobs"
                raise WalltimeNotAllowed(
                    f"{self.title or self.name} lets {kind} run for {duration_text(longest)}; "
                    f"{asked} is asked for",
                    hint="split the work, or checkpoint and go on: wingspan run --checkpoint",
                )
        for switch in chosen:
            if switch.time_limit is not None and resources.time_limit > switch.time_limit:
                raise WalltimeNotAllowed(
                    f"{switch.name} ({switch.help}) is for jobs of at most "
                    f"{duration_text(switch.time_limit)}; {asked} is asked for",
                    hint=f"leave {switch.name} out, or make the jobs shorter",
                )

    def apply(self, job: JobDescription, switches: Collection[str] = ()) -> JobDescription:
        """`job` with what the site wants; what the job says itself wins.

        Args:
            job: The job.
            switches: Names of what the user turns on.

        Raises:
            WalltimeNotAllowed: The site ends jobs sooner than `job` asks.
            SettingsError: A switch that the profile does not have.
        """
        resources = job.resources
        self.check_time(resources, switches)
        attributes: dict[str, ClassAdValue] = {}
        submit: dict[str, str] = {}
        for rules in (self.every, self.gpu if resources.gpus else self.cpu):
            attributes |= rules.attributes
            submit |= rules.submit
            if rules.walltime:
                said = _class_of(rules.walltime, resources.time_limit)
                if said is not None:
                    attributes[rules.walltime.attribute] = said
        for switch in self._chosen(switches):
            attributes |= switch.attributes
            submit |= switch.submit
        return attrs.evolve(job, custom=attributes | dict(job.custom), submit=submit | dict(job.submit))

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
        return walltime.choose(seconds)
    return walltime.default if walltime.always else None
