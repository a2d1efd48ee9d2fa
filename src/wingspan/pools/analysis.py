"""Which machines of a pool could run a job, and what keeps the others from it.

Requirements of the job are taken apart at ``&&``, and each part is evaluated by itself over the ads of
machines, by HTCondor's own library. Machines that are alike in all that the parts name are looked at once:
a pool of 50,000 slots has some hundred kinds. What a machine asks of jobs (``START``) is not looked at:
that could name any attribute, and all attributes of a large pool are too many to fetch.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import attrs

from wingspan.pools.ads import value

__all__ = [
    "RESOURCES",
    "Analysis",
    "Resource",
    "amount",
    "analyse",
    "instead",
    "parts_of",
    "projection_for",
]


@attrs.frozen
class Resource:
    """Something that a job asks for a number of.

    Attributes:
        request: The job's attribute.
        left: The machine's: what is not given away.
        total: The machine's: all of it.
        noun: For people.
    """

    request: str
    left: str
    total: str
    noun: str


RESOURCES = (
    Resource("RequestCpus", "Cpus", "TotalSlotCpus", "cores"),
    Resource("RequestMemory", "Memory", "TotalSlotMemory", "memory"),
    Resource("RequestDisk", "Disk", "TotalSlotDisk", "disk"),
    Resource("RequestGPUs", "GPUs", "TotalSlotGPUs", "GPUs"),
)
#: HTCondor writes these parts itself (condor_submit's manual, "requirements"); amounts are compared here.
_BY_AMOUNT = re.compile(
    r"TARGET\.(Cpus|Memory|Disk|GPUs)\s*>=\s*(?:MY\.)?Request(Cpus|Memory|Disk|GPUs)", re.I
)
_BY_DEVICE = re.compile(r"countMatches\(\s*(?:MY\.)?RequireGPUs\s*,", re.I)
#: The pieces that an expression is split into; a quoted text stays whole, whatever it contains.
_WORD = re.compile(r"""\"(?:\\.|[^"\\])*\"|'(?:\\.|[^'\\])*'|=\?=|=!=|&&|\|\||[()\[\]{}?]""")
#: What machines say of all their GPUs, by the name that ``RequireGPUs`` has for it (HTCondor manual, "GPUs").
_DEVICE = ("Capability", "GlobalMemoryMb", "MaxSupportedVersion", "DeviceName", "DriverVersion")
_ALWAYS = ("Machine", "SlotType", "PartitionableSlot", "State")
#: How many machines are named that would do if the job asked for something else.
_TOLD = 2


def amount(number: float, noun: str) -> str:
    """So much of a resource: memory in MiB and disk in KiB, as ads have them.

    >>> amount(9216, "memory"), amount(2 << 20, "disk"), amount(1, "GPUs"), amount(300, "memory")
    ('9 GB of memory', '2 GB of disk', '1 GPU', '300 MB of memory')
    """
    if noun in ("memory", "disk"):
        mebibytes = number if noun == "memory" else number / 1024
        for unit in ("MB", "GB", "TB"):
            if mebibytes < 1024 or unit == "TB":
                break
            mebibytes /= 1024
        text = f"{mebibytes:.4g} {unit}" if mebibytes < 10_000 else f"{mebibytes:,.0f} {unit}"
        return f"{text} of {noun}"
    return f"{number:g} {noun if number != 1 else noun[:-1]}"


def instead(less: float, number: float, noun: str) -> str:
    """Less than was asked for.

    >>> instead(8192, 9216, "memory"), instead(8, 64, "cores")
    ('8 GB of memory instead of 9 GB', '8 cores instead of 64')
    """
    wanted = amount(number, noun)
    short = wanted.removesuffix(f" of {noun}") if noun in ("memory", "disk") else wanted.split()[0]
    return f"{amount(less, noun)} instead of {short}"


def parts_of(expression: str) -> Iterator[str]:
    """What is joined by ``&&``, without the brackets around it.

    >>> list(parts_of('((A) && (TARGET.B == "x && y")) && (C || D) && f(E && F) && G =?= true'))
    ['A', 'TARGET.B == "x && y"', 'C || D', 'f(E && F)', 'G =?= true']
    """
    text = expression.strip()
    depth, cuts, first_close = 0, [], None
    for found in _WORD.finditer(text):
        word = found[0]
        if word in ("(", "[", "{"):
            depth += 1
        elif word in (")", "]", "}"):
            depth -= 1
            first_close = found.end() if depth == 0 and first_close is None else first_close
        elif depth == 0 and word in ("||", "?"):  # what is joined by something weaker is one part
            yield text
            return
        elif depth == 0 and word == "&&":
            cuts.append(found)
    if cuts:
        begins, ends = [0, *(cut.end() for cut in cuts)], [*(cut.start() for cut in cuts), len(text)]
        for begin, end in zip(begins, ends, strict=True):
            yield from parts_of(text[begin:end])
    elif text.startswith("(") and first_close == len(text):
        yield from parts_of(text[1:-1])
    elif text:
        yield text


def projection_for(jobs: Iterable[Any]) -> list[str]:
    """The attributes of machines that are needed to analyse these jobs (ads)."""
    wanted = {*_ALWAYS, *(f"GPUs_{name}" for name in _DEVICE)}
    for resource in RESOURCES:
        wanted |= {resource.left, resource.total}
    for job in jobs:
        wanted |= set(_names(job, job.get("Requirements")))
    return sorted(wanted)


def _names(job: Any, expression: Any) -> list[str]:
    """Names of the machine's attributes in an expression of the job."""
    if expression is None:
        return []
    return [name.removeprefix("TARGET.").split(".")[0] for name in job.externalRefs(expression)]


@attrs.frozen(kw_only=True)
class Analysis:
    """What machines there are for a job.

    Attributes:
        machines: How many there are.
        fitting: How many could run it if they were empty.
        free: How many have room for it now.
        lacking: What no machine has, in words.
        near: What would have to be otherwise so that machines could run it, in words, each with how many
            machines that would be.
    """

    machines: int
    fitting: int
    free: int
    lacking: tuple[str, ...] = ()
    near: tuple[tuple[int, str], ...] = ()

    def text(self) -> str:
        """Why the job waits, in words that follow "1 job waits"."""
        pool = f"{self.machines:,}"
        if self.fitting:
            busy = (
                f"{self.free:,} of them have room now, so it is others' turn, or HTCondor has not looked yet"
                if self.free
                else "other jobs have them"
            )
            whose = "1 machine" if self.machines == 1 else f"{self.fitting:,} of {pool} machines"
            return f": {whose} could run it, and {busy}"
        told = f": no machine of this pool has {' and '.join(self.lacking)}" if self.lacking else ""
        if not told:
            told = ": no machine of this pool has all that it asks for"
        near = [
            one
            for one in self.near
            if one != (self.machines, f"without {self.lacking[:1] and self.lacking[0]}")
        ]
        for count, otherwise in near[:_TOLD]:
            told += f"; {count:,} of {pool} would do {otherwise}"
        return f" for ever{told}"


def analyse(job: Any, slots: Sequence[Any]) -> Analysis:
    """Which machines could run `job`.

    Args:
        job: Its whole ad.
        slots: Ads of slots that are no dynamic ones, with the attributes of `projection_for`.
    """
    asked = [(resource, value(job, resource.request)) for resource in RESOURCES]
    parts = [part for part in parts_of(str(job.get("Requirements", ""))) if not _BY_AMOUNT.fullmatch(part)]
    by_device = any(_BY_DEVICE.match(part) for part in parts) or job.get("RequireGPUs") is not None
    parts = [part for part in parts if not _BY_DEVICE.match(part)]
    kinds = _Kinds(job, parts, by_device=by_device and value(job, "RequestGPUs") > 0)
    best: dict[str, tuple[tuple[str, ...], Any, bool]] = {}
    failed: Counter[str] = Counter()
    for slot in slots:
        lacks = (
            *kinds.lacking(slot),
            *(resource.request for resource, number in asked if number > value(slot, resource.total)),
        )
        failed.update(set(lacks))
        name = str(slot.get("Machine", id(slot)))
        known = best.get(name)
        room = not lacks and _is_open(slot) and all(n <= value(slot, r.left) for r, n in asked)
        if known is None or len(lacks) < len(known[0]) or (room and not known[2]):
            best[name] = lacks, slot, room
    numbers = {resource.request: (resource, number) for resource, number in asked}
    return Analysis(
        machines=len(best),
        fitting=sum(not lacks for lacks, _, _ in best.values()),
        free=sum(room for _, _, room in best.values()),
        lacking=tuple(_words(lack, numbers) for lack in failed if failed[lack] == len(slots)),
        near=tuple(_near(best.values(), numbers)),
    )


class _Kinds:
    """Machines by what the job's parts name of them: each kind is evaluated once."""

    def __init__(self, job: Any, parts: Sequence[str], *, by_device: bool) -> None:
        import classad2

        self._known: dict[tuple[str, ...], tuple[str, ...]] = {}
        self._parts = []
        names: set[str] = set()
        for part in parts:
            wish = classad2.ClassAd(str(job))
            wish["Requirements"] = classad2.ExprTree(part)
            self._parts.append((part, wish))
            names |= set(_names(job, wish["Requirements"]))
        self._devices = []
        if by_device and (wanted := job.get("RequireGPUs")) is not None:
            self._devices = [(part, classad2.ExprTree(part)) for part in parts_of(str(wanted))]
            names |= {f"GPUs_{name}" for name in _DEVICE}
        self._names = sorted(names)

    def lacking(self, slot: Any) -> tuple[str, ...]:
        """The parts that this slot does not fulfil, were it empty."""
        key = tuple(str(slot.get(name)) for name in self._names)
        found = self._known.get(key)
        if found is None:
            found = tuple(part for part, wish in self._parts if not slot.matches(wish)) + self._device(slot)
            self._known[key] = found
        return found

    def _device(self, slot: Any) -> tuple[str, ...]:
        """What the machine's GPUs lack.

        A machine that does not describe all of them in common is not judged.
        """
        import classad2

        device = classad2.ClassAd()
        for name in _DEVICE:
            if (said := slot.get(f"GPUs_{name}")) is not None:
                device[name] = said
        lacks = []
        for part, expression in self._devices:
            device["Wanted"] = expression
            if device.eval("Wanted") is False:
                lacks.append(f"GPU: {part}")
        return tuple(lacks)


def _is_open(slot: Any) -> bool:
    """A job could have the slot: it is partitionable and not drained, or nobody has claimed it."""
    if slot.get("PartitionableSlot") is True:
        return str(slot.get("State", "")) in ("Unclaimed", "")
    return str(slot.get("State", "")) == "Unclaimed"


def _words(lack: str, numbers: Mapping[str, tuple[Resource, float]]) -> str:
    """What a machine does not have, for people."""
    if lack in numbers:
        resource, number = numbers[lack]
        return amount(number, resource.noun)
    text = re.sub(r"\b(?:TARGET|MY)\.", "", lack)
    text = re.sub(r"^\(?(\w+)\s*(?:==|=\?=|is)\s*true\)?$", r"\1", text, flags=re.I)
    return f"a {text}" if text.startswith("GPU: ") else text


def _near(
    best: Iterable[tuple[tuple[str, ...], Any, bool]], numbers: Mapping[str, tuple[Resource, float]]
) -> Iterator[tuple[int, str]]:
    """How many machines lack one thing only, by that thing, most first."""
    alone: dict[str, list[Any]] = {}
    for lacks, slot, _ in best:
        if len(lacks) == 1:
            alone.setdefault(lacks[0], []).append(slot)
    found = []
    for lack, slots in alone.items():
        if lack in numbers:
            resource, number = numbers[lack]
            totals = [value(slot, resource.total) for slot in slots]
            most = max(totals)
            if most <= 0:
                found.append((len(slots), f"without {amount(number, resource.noun)}"))
                continue
            count = sum(total >= most for total in totals)
            found.append((count, f"with {instead(most, number, resource.noun)}"))
        else:
            found.append((len(slots), f"without {_words(lack, numbers)}"))
    yield from sorted(found, reverse=True)
