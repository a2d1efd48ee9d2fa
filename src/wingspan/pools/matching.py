"""Whether any machine of a pool can ever run a job: asked before it is submitted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from wingspan.jobs import JobDescription

__all__ = ["PROJECTION", "why_no_machine"]

#: What is asked of each slot, beside what requirements may name (HTCondor manual, "Machine ClassAd
#: Attributes").
PROJECTION = (
    "Name",
    "TotalSlotCpus",
    "TotalSlotMemory",
    "TotalSlotDisk",
    "TotalSlotGPUs",
    "PartitionableSlot",
)


def _size(number: float) -> str:
    for unit in ("bytes", "KB", "MB", "GB", "TB"):
        if number < 1024 or unit == "TB":
            break
        number /= 1024
    return f"{number:.4g} {unit}" if number < 1024 else f"{number:,.0f} {unit}"


def _several(count: float, what: str) -> str:
    return f"{count:g} {what}" + ("" if count == 1 else "s")


def why_no_machine(job: JobDescription, slots: Iterable[Mapping[str, Any]]) -> tuple[str, str] | None:
    """Why no slot could run `job` even if it were idle: what is wrong, and what to do; None if one could.

    Args:
        job: The job.
        slots: Machine ads; dynamic slots are part of a partitionable one and need not be there.
    """
    machines = list(slots)
    if not machines:
        return None  # none has said hello yet
    resources = job.resources

    def largest(attribute: str, unit: int = 1) -> float:
        return max(float(machine.get(attribute) or 0) for machine in machines) * unit

    for wanted, there, what in (
        (resources.cpus, largest("TotalSlotCpus"), "core"),
        (resources.gpus, largest("TotalSlotGPUs"), "GPU"),
    ):
        if wanted > there:
            return (
                f"no machine of the pool has {_several(wanted, what)}: the largest has {_several(there, what)}",
                "ask for less, or use a pool that has more (pool=…)",
            )
    for size, attribute, unit, what in (
        (resources.memory, "TotalSlotMemory", 1 << 20, "memory"),
        (resources.disk, "TotalSlotDisk", 1 << 10, "disk"),
    ):
        if size and size > largest(attribute, unit):
            return (
                f"no machine of the pool has {_size(size)} of {what}: the largest has {_size(largest(attribute, unit))}",
                f"ask for less: wingspan run --{what}, or Options(request_{what}=…) of a map",
            )
    if job.requirements:
        import classad2

        from wingspan.pools.analysis import parts_of

        ads = [machine for machine in machines if isinstance(machine, classad2.ClassAd)]

        def fulfil(expression: str) -> bool:
            wish = classad2.ClassAd()
            wish["Requirements"] = classad2.ExprTree(expression)
            return any(ad.matches(wish) for ad in ads)

        if not fulfil(job.requirements):
            lacking = " and ".join(part for part in parts_of(job.requirements) if not fulfil(part))
            return (
                f"no machine of the pool fulfils the requirements {job.requirements!r}"
                + (f": none has {lacking.replace('TARGET.', '')}" if lacking else ""),
                "condor_status -long (wingspan pool run condor_status -long) shows what machines say of themselves",
            )
    return None
