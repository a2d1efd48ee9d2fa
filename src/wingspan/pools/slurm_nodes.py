"""Which nodes of a Slurm cluster could run a task that waits, in words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

import attrs

from wingspan.pools.analysis import amount, instead

__all__ = ["NODES", "WISHES", "NodeGroup", "Wish", "read_nodes", "read_wishes", "what_nodes_say"]

#: What squeue is asked of tasks that wait, and sinfo of nodes; both know it since long before 20.11.
WISHES = "%F|%P|%C|%m|%b|%f"
NODES = "%R|%c|%m|%f|%G|%D|%T"
_UNITS = {"": 1, "K": 1 / 1024, "M": 1, "G": 1024, "T": 1024**2}
#: States of nodes that take no jobs (sinfo(1), "NODE STATE CODES"), and of those that have nothing to do.
_AWAY = (
    "down",
    "drain",
    "fail",
    "maint",
    "reboot",
    "no_respond",
    "inval",
    "future",
    "power",
    "unk",
    "reserved",
)


@attrs.frozen(kw_only=True)
class Wish:
    """What a task asks of its node.

    Attributes:
        partitions: Where it may run.
        cpus: Cores.
        memory: MiB of memory.
        gpus: GPUs.
        features: As ``--constraint`` has them; empty: any.
    """

    partitions: tuple[str, ...]
    cpus: int
    memory: float
    gpus: int
    features: str


@attrs.frozen(kw_only=True)
class NodeGroup:
    """Nodes of a partition that are alike.

    Attributes:
        partition, cpus, memory, gpus, features: As they are configured; memory in MiB.
        count: How many.
        state: Their state, as sinfo has it.
    """

    partition: str
    cpus: int
    memory: float
    gpus: int
    features: frozenset[str]
    count: int
    state: str


def _mebibytes(text: str, cpus: int) -> float:
    """Memory as squeue and sinfo write it: MiB or with a unit; with a ``c`` it is for each core.

    >>> _mebibytes("12G", 2), _mebibytes("100Mc", 2), _mebibytes("16000+", 1)
    (12288.0, 200.0, 16000.0)
    """
    found = re.match(r"([\d.]+)([KMGT]?)(c?)", text)
    if found is None or not found[1]:
        return 0.0
    return float(found[1]) * _UNITS[found[2]] * (cpus if found[3] else 1)


def _gpus(text: str) -> int:
    """How many GPUs stand in generic resources.

    >>> _gpus("gres:gpu:2"), _gpus("gpu:a100:4(S:0-1),shard:8"), _gpus("(null)"), _gpus("gpu")
    (2, 4, 0, 1)
    """
    found = re.findall(r"\bgpu(?:[:/][A-Za-z]\w*)?(?:[:=](\d+))?(?=$|[,(])", text)
    return sum(int(number or 1) for number in found)


def read_wishes(text: str) -> Iterator[Wish]:
    """What squeue prints in the format of `WISHES`."""
    for line in text.splitlines():
        cells = line.split("|", 5)
        if len(cells) == 6:
            cpus = int(cells[2]) if cells[2].isdigit() else 1
            yield Wish(
                partitions=tuple(cells[1].split(",")),
                cpus=cpus,
                memory=_mebibytes(cells[3], cpus),
                gpus=_gpus(cells[4]),
                features="" if cells[5] == "(null)" else cells[5],
            )


def read_nodes(text: str) -> Iterator[NodeGroup]:
    """What sinfo prints in the format of `NODES`."""
    for line in text.splitlines():
        cells = line.split("|")
        if len(cells) == 7:
            yield NodeGroup(
                partition=cells[0],
                cpus=int(cells[1].rstrip("+")) if cells[1].rstrip("+").isdigit() else 0,
                memory=_mebibytes(cells[2], 1),
                features=frozenset() if cells[3] == "(null)" else frozenset(cells[3].split(",")),
                gpus=_gpus(cells[4]),
                count=int(cells[5]) if cells[5].isdigit() else 1,
                state=cells[6].lower(),
            )


def what_nodes_say(wish: Wish, groups: Iterable[NodeGroup]) -> str | None:
    """Which nodes could run it, for people; None: the partition has none that anybody may see.

    >>> group = NodeGroup(partition="p", cpus=4, memory=8192, gpus=0, features=frozenset(), count=3, state="idle")
    >>> wish = Wish(partitions=("p",), cpus=1, memory=9216, gpus=0, features="")
    >>> what_nodes_say(wish, [group])
    'no node of the partition p has 9 GB of memory; 3 of 3 would do with 8 GB of memory instead of 9 GB'
    """  # noqa: W505
    here = [group for group in groups if group.partition in wish.partitions]
    total = sum(group.count for group in here)
    if not total:
        return None
    where = f"the partition {', '.join(wish.partitions)}"
    lacking = [(group, tuple(_lacking(wish, group))) for group in here]
    fitting = [group for group, lacks in lacking if not lacks]
    if fitting:
        count = sum(group.count for group in fitting)
        away = sum(group.count for group in fitting if any(word in group.state for word in _AWAY))
        idle = sum(group.count for group in fitting if group.state.rstrip("*") == "idle")
        told = f"{count:,} of {total:,} nodes of {where} could run it"
        if away == count:
            return f"{told}, and all of them are down or drained"
        rest = [f"{idle:,} of them idle"] if idle else []
        rest += [f"{away:,} down or drained"] if away else []
        return told + (f", {' and '.join(rest)}" if rest else "")
    return f"no node of {where} has {_told_lacks(wish, lacking, total)}"


def _told_lacks(wish: Wish, lacking: list[tuple[NodeGroup, tuple[str, ...]]], total: int) -> str:
    """What no node has, and how many would do with less."""
    numbers = {"cores": float(wish.cpus), "memory": wish.memory, "GPUs": float(wish.gpus)}
    names = dict.fromkeys(lack for _, lacks in lacking for lack in lacks)
    everywhere = [name for name in names if all(name in lacks for _, lacks in lacking)]
    told = " and ".join(
        amount(numbers[name], name) if name in numbers else f"the features {wish.features}"
        for name in everywhere or names
    )
    if not everywhere:
        told = f"all of it: {told}"
    for name, number in numbers.items():
        alone = [group for group, lacks in lacking if lacks == (name,)]
        most = max((_has(group, name) for group in alone), default=0.0)
        if most > 0:
            count = sum(group.count for group in alone if _has(group, name) >= most)
            told += f"; {count:,} of {total:,} would do with {instead(most, number, name)}"
    return told


def _has(group: NodeGroup, name: str) -> float:
    return {"cores": float(group.cpus), "memory": group.memory, "GPUs": float(group.gpus)}[name]


def _lacking(wish: Wish, group: NodeGroup) -> Iterator[str]:
    """What the node does not have, were it empty."""
    if wish.cpus > group.cpus:
        yield "cores"
    if wish.memory > group.memory:
        yield "memory"
    if wish.gpus > group.gpus:
        yield "GPUs"
    if wish.features and not _has_features(wish.features, group.features):
        yield "features"


def _has_features(wanted: str, there: frozenset[str]) -> bool:
    """``a&b`` and ``a|b`` of sbatch's ``--constraint``. What is written otherwise is taken for fulfilled."""
    if re.search(r"[\[\]()*,]", wanted):
        return True
    return any(all(name in there for name in choice.split("&")) for choice in wanted.split("|"))
