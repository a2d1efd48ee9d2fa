"""What is to be executed, in no engine's language: pools render a `JobDescription` and submit it."""

from __future__ import annotations

import re
import reprlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from wingspan.errors import SettingsError

__all__ = [
    "ClassAdValue",
    "ComesBack",
    "JobDescription",
    "Resources",
    "Submission",
    "all_of",
    "parse_duration",
    "parse_size",
    "size_text",
    "with_needs",
]

_SECONDS = {"s": 1, "m": 60, "min": 60, "h": 3600, "d": 86400}

#: What a custom attribute may be; strings are quoted for ClassAds when rendered.
ClassAdValue = bool | int | float | str


@attrs.frozen(kw_only=True)
class Resources:
    """What one job asks of a machine.

    Attributes:
        cpus: Cores.
        memory: Bytes of memory.
        disk: Bytes of scratch disk.
        gpus: GPU devices.
        gpus_minimum_capability: Lowest CUDA compute capability, such as ``7.5``.
        gpus_maximum_capability: Highest CUDA compute capability.
        gpus_minimum_runtime: Lowest CUDA runtime that the device's driver must support, such as ``"12.0"``.
        gpus_minimum_memory: Bytes of memory of each device.
        time_limit: Seconds of wall time.
        retry_memory: The most memory that is asked for after the job took more than `memory` (bytes), where
            the scheduler itself does that.
        retry_disk: The same for disk.
    """

    cpus: int = 1
    memory: int | None = None
    disk: int | None = None
    gpus: int = 0
    gpus_minimum_capability: float | None = None
    gpus_maximum_capability: float | None = None
    gpus_minimum_runtime: str | None = None
    gpus_minimum_memory: int | None = None
    time_limit: int | None = None
    retry_memory: int | None = None
    retry_disk: int | None = None


@attrs.frozen(kw_only=True)
class ComesBack:
    """How a job comes back that has left its machine because there is nothing for it to do yet.

    Attributes:
        exit_code: By which it says so.
        first_pause: Seconds before it is started again the first time; later ones are twice as long each.
        longest_pause: Seconds of a pause at most.
    """

    exit_code: int
    first_pause: float
    longest_pause: float


@attrs.frozen(kw_only=True)
class JobDescription:
    """A set of like jobs: an HTCondor cluster of `count` procs, a Slurm array, or `count` processes.

    Attributes:
        name: Shown by ``condor_q`` (JobBatchName) and ``squeue``.
        executable: Program to run; a path on the execution point when `transfer_executable` is false.
        arguments: Its arguments. ``"$(Process)"`` stands for the number of the job within the set.
        transfer_executable: Send the program along with the job.
        count: How many jobs.
        first: Number of the first one, where `Pool.largest_submission` wants a set in several parts.
        input_files: Local paths or URLs put into the job's working folder before it starts.
        common_input_files: Local paths that are the same for all jobs: sent once to each execution point
            where the pool can.
        output_files: Paths in the job's working folder that come back. None: nothing.
        keeps_output: A job that is sent off its machine keeps its output files, and finds them where it
            starts again.
        working_dir: Folder on the access point that relative paths are relative to.
        environment: Environment variables of the job.
        stdout, stderr: Files for the job's output; ``"$(Process)"`` as in `arguments`.
        log: HTCondor's event log.
        resources: What a job asks of a machine.
        requirements: ClassAd expression, joined by ``&&`` to what Wingspan itself requires.
        max_idle: Keep at most this many jobs idle in the queue (late materialization).
        io_proxy: Give the job a chirp channel to its access point (HTCondor's ``WantIOProxy``).
        reach: Further paths on the access point that a job opens through its chirp channel.
        container_image: A local image that HTCondor runs the job in (container universe); it is sent once to
            each execution point where the pool can. None: no container.
        transfer_files: Send input files to the job's scratch folder; false where both sides see the same file
            system.
        note: Kept with the jobs by their scheduler: whoever finds jobs that nobody has written down sees what
            they are.
        custom: Further job attributes, ``{"WantGPULab": True}``.
        profile: Site profile whose options of sbatch the jobs get; None: the one of the settings. For
            HTCondor it was applied before.
        submit: Further submit commands, rendered as they stand, ``{"accounting_group": "physics"}``.
        sbatch: Further options of sbatch, by long name; True: it has no value. They win over the profile's.
        notification: When the scheduler mails: ``never``, ``complete``, ``error`` or ``always``.
        notify_user: Whom; None: the owner, in the scheduler's way.
        comes_back: The jobs may leave before they are done, and are started again (`Pool.brings_back`).
        after: Jobs that must have begun, or (`after_end`) ended, before these start (`Pool.orders_jobs`).
        after_end: See `after`.
        at_access_point: One process that submits others and computes nothing: where the scheduler can do
            that, it runs beside it and takes no slot.
    """

    name: str
    executable: str
    arguments: tuple[str, ...] = ()
    transfer_executable: bool = False
    count: int = 1
    first: int = 0
    input_files: tuple[str, ...] = ()
    common_input_files: tuple[str, ...] = ()
    output_files: tuple[str, ...] | None = None
    keeps_output: bool = False
    working_dir: Path | None = None
    environment: Mapping[str, str] = attrs.field(factory=dict)
    stdout: str | None = None
    stderr: str | None = None
    log: str | None = None
    resources: Resources = attrs.field(factory=Resources)
    requirements: str | None = None
    max_idle: int | None = None
    io_proxy: bool = False
    reach: tuple[str, ...] = ()
    container_image: str | None = None
    transfer_files: bool = True
    note: str = ""
    custom: Mapping[str, ClassAdValue] = attrs.field(factory=dict)
    profile: str | None = None
    submit: Mapping[str, str] = attrs.field(factory=dict)
    sbatch: Mapping[str, str | bool] = attrs.field(factory=dict)
    notification: str = "never"
    notify_user: str | None = None
    comes_back: ComesBack | None = None
    after: tuple[Submission, ...] = ()
    after_end: bool = False
    at_access_point: bool = False


@attrs.frozen(kw_only=True)
class Submission:
    """Jobs that a pool took.

    Attributes:
        pool: Kind of the pool: ``personal``, ``htcondor``, ``slurm`` or ``local``.
        cluster: HTCondor's cluster id, Slurm's array job id, or a name of ours on ``local``.
        count: How many jobs.
    """

    pool: str
    cluster: str
    count: int


def all_of(*expressions: str | None) -> str | None:
    """The ClassAd expression that holds where all of these do; None of none.

    >>> all_of(None, "TARGET.HasX"), all_of("a || b", None, "c", "c"), all_of(None)
    ('TARGET.HasX', '(a || b) && (c)', None)
    """
    parts = list(dict.fromkeys(filter(None, expressions)))
    return " && ".join(f"({part})" for part in parts) if len(parts) > 1 else next(iter(parts), None)


#: Memory of a Python that has imported little (bytes), and what a large environment may come to at most.
_PYTHON_MEMORY, _MOST_MEMORY = 256 << 20, 2 << 30


def with_needs(resources: Resources, needs: Mapping[str, Any], *, memory: bool = False) -> Resources:
    """`resources` with what an environment needs; what was said explicitly stays.

    Args:
        resources: What the user asks for.
        needs: Of the environment, as `Needs.to_json` has them.
        memory: Where nobody said how much, ask for what a Python needs that has a quarter of the environment
            in memory, 2 GiB at most.

    >>> with_needs(Resources(), {"installed_bytes": 1 << 30}, memory=True).memory >> 20
    512
    """
    if memory and resources.memory is None:
        installed = int(needs.get("installed_bytes") or 0)
        resources = attrs.evolve(resources, memory=min(_PYTHON_MEMORY + installed // 4, _MOST_MEMORY))
    if not resources.gpus:
        return resources
    lowest, highest = needs.get("gpu_capability_min"), needs.get("gpu_capability_max")
    return attrs.evolve(
        resources,
        gpus_minimum_capability=resources.gpus_minimum_capability or (float(lowest) if lowest else None),
        gpus_maximum_capability=resources.gpus_maximum_capability or (float(highest) if highest else None),
        gpus_minimum_runtime=resources.gpus_minimum_runtime or needs.get("cuda_runtime_min"),
    )


#: HTCondor's units are binary: its manual, condor_submit, request_memory ("K or KB … 1024").
_UNITS = {"B": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40, "P": 1 << 50}
_SIZE = re.compile(
    r"\s*([0-9]{1,30}(?:\.[0-9]{1,30})?|\.[0-9]{1,30})\s*(?:([KMGTP])(?:i?B)?|(B))?\s*",
    re.IGNORECASE | re.ASCII,
)
#: HTCondor and Slurm count in 64 bits.
_MOST = 1 << 62


class Size(int):
    """Bytes: a size that was read already, and is not read anew as a number of MB."""


def parse_size(value: int | float | str, what: str = "size") -> Size:
    """Bytes of a size, for memory and disk, maps and runs alike: ``"2GB"``, ``"512 MiB"``, ``"1.5G"``, with
    binary units as HTCondor has them.

    A plain number, be it a number or a text, is MB: what ``request_memory``, Slurm's ``--mem`` and ``--tmp``
    take it for. (HTCondor's ``request_disk`` takes it for kB: there is one meaning here.)

    Raises:
        SettingsError: It is no size, or less than 1 MB.

    >>> parse_size("2GB"), parse_size("1.5 MiB"), parse_size(512), parse_size("512")
    (2147483648, 1572864, 536870912, 536870912)
    """
    if isinstance(value, Size):
        return value
    hint = 'write "2GB" or "512MB"; a plain number is MB'
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise SettingsError(f"{what}={value!r} is no size", hint=hint)
    match = _SIZE.fullmatch(value if isinstance(value, str) else reprlib.repr(value))
    if match is None:
        raise SettingsError(f"{what}={value!r:.80} is no size", hint=hint)
    unit = _UNITS[(match[2] or match[3] or "M").upper()]
    number, _, fraction = match[1].partition(".")
    size = int(number or 0) * unit + (int(fraction) * unit // 10 ** len(fraction) if fraction else 0)
    if not _UNITS["M"] <= size <= _MOST:
        bound = "less than 1 MB" if size < _UNITS["M"] else "more than any machine has"
        raise SettingsError(f"{what}={value!r:.80} is {bound}", hint=hint)
    return Size(size)


def size_text(size: int) -> str:
    """A size as one writes it in a request, in the largest unit that needs no fraction; MB, rounded up, at
    least.

    >>> size_text(3 << 30), size_text(1536 << 20), size_text((2 << 30) - 1)
    ('3GB', '1536MB', '2GB')
    """
    number, unit = -(-size // _UNITS["M"]), "M"
    while number % 1024 == 0 and unit != "T":
        number, unit = number // 1024, {"M": "G", "G": "T"}[unit]
    return f"{number}{unit}B"


#: More seconds than any site allows: thirty years.
_LONGEST = 10**9


def parse_duration(value: int | str | None, what: str = "time") -> int | None:
    """Seconds of a time such as ``"12h"``, ``"1d 6h"``, ``"01:30:00"`` or ``"1-06:00"`` (as Slurm has them),
    or of a number of seconds.

    Raises:
        SettingsError: It is no time, or a text without a unit: to Slurm plain numbers are minutes, and so is
            the first of two (sbatch's manual, ``--time``), which others take for hours.

    >>> parse_duration("90 min"), parse_duration("1d 6h"), parse_duration("01:30:00"), parse_duration(60)
    (5400, 108000, 5400, 60)
    """
    if value is None:
        return None
    text = (value if isinstance(value, str) else reprlib.repr(value)).strip().lower()
    seconds = 0
    if re.fullmatch(r"[0-9]{1,9}:[0-9]{2}", text):
        raise SettingsError(
            f"{what} = {value!r}: are these minutes or hours?", hint=f'write "0:{text}" or "{text}:00"'
        )
    clock = re.fullmatch(r"(?:([0-9]{1,9})-)?([0-9]{1,9})(?::([0-9]{2}))?(?::([0-9]{2}))?", text)
    if clock and not text.isdigit():
        days, hours, minutes, rest = (int(part or 0) for part in clock.groups())
        seconds = days * 86400 + hours * 3600 + minutes * 60 + rest
    elif isinstance(value, int) and not isinstance(value, bool):
        seconds = value
    elif text.isdigit():
        raise SettingsError(
            f"{what} = {value!r:.80} has no unit", hint=f'write "{text:.20}min", "{text:.20}s" or "12h"'
        )
    elif re.fullmatch(r"([0-9]{1,9}(?:\.[0-9]{1,9})?\s*(?:s|min|m|h|d)\s*)+", text):
        parts = re.findall(r"([0-9]+(?:\.[0-9]+)?)\s*(min|[smhd])", text)
        seconds = int(sum(float(number) * _SECONDS[unit] for number, unit in parts))
    if not 0 < seconds <= _LONGEST:
        raise SettingsError(f"{what} = {value!r:.80} is no time", hint='write "90 min", "12h" or "1d 6h"')
    return seconds
