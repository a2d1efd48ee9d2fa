"""What a pool's machines offer to locked environments, and which kind of bundle suits them best.

The names are those of machine ads (HTCondor manual, "Machine ClassAd Attributes"). ``HasUserNamespaces`` and
``HasSingularity`` say that an image can be mounted, ``HasCommonFilesTransfer`` that HTCondor sends a file
once for all jobs of a machine.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.errors import PoolError

if TYPE_CHECKING:
    from wingspan.pools._base import Pool

__all__ = [
    "BundleChoice",
    "Machine",
    "choose_bundle_kind",
    "explain_bundle_kind",
    "machines_of",
    "read_machines",
]

PROJECTION = (
    "Machine",
    "HasUserNamespaces",
    "HasSingularity",
    "HasCommonFilesTransfer",
    "CondorVersion",
)
#: Bytes of a large bundle: unpacking takes long, and the user hears of it if it is sent with every job.
LARGE = 10**9


@attrs.frozen(kw_only=True)
class Machine:
    """A machine of a pool.

    Attributes:
        name: Its name.
        user_namespaces: An unprivileged user may mount there.
        apptainer: It has Apptainer or Singularity, and HTCondor starts containers with it.
        common_files: HTCondor sends it a file once for all jobs.
        version: Its HTCondor's, such as ``"25.14.1"``.
    """

    name: str
    user_namespaces: bool = False
    apptainer: bool = False
    common_files: bool = False
    version: str | None = None


@attrs.frozen(kw_only=True)
class BundleChoice:
    """The kind of bundle that a pool gets.

    Attributes:
        kind: ``"squashfs"``, ``"sif"`` or ``"pack"``.
        reason: Why, as a sentence.
        machines: How many machines were asked.
    """

    kind: str
    reason: str
    machines: int = 0


def read_machines(ads: Iterable[Mapping[str, Any]]) -> tuple[Machine, ...]:
    """The machines that machine ads tell of, each once.

    >>> ad = {"Machine": "a", "HasUserNamespaces": True, "HasCommonFilesTransfer": 2,
    ...       "CondorVersion": "$CondorVersion: 25.14.1 2026-10-16 $"}
    >>> read_machines([ad, ad])
    (Machine(name='a', user_namespaces=True, apptainer=False, common_files=True, version='25.14.1'),)
    """
    found = {}
    for ad in ads:
        name = str(ad.get("Machine", "?"))
        words = str(ad.get("CondorVersion", "")).split()
        found[name] = Machine(
            name=name,
            user_namespaces=ad.get("HasUserNamespaces") is True,
            apptainer=ad.get("HasSingularity") is True,
            common_files=int(ad.get("HasCommonFilesTransfer") or 0) > 0,
            version=words[1] if len(words) > 1 else None,
        )
    return tuple(found[name] for name in sorted(found))


def choose_bundle_kind(machines: Sequence[Machine], size: int | None = None) -> BundleChoice:
    """The kind of bundle that starts fastest on most of these machines.

    `squashfs` where most can mount it, by a user namespace or by Apptainer: the starter unpacks it on the
    others. `sif` where most have
    Apptainer and few have user namespaces: then HTCondor itself starts the container. `pack` where
    most can do neither and everything would be unpacked anyhow; but a large environment, which takes minutes
    to unpack, is a `squashfs` as soon as one machine can mount it.

    Args:
        machines: Those of the pool; none if they are not known.
        size: Bytes of the environment's packages, about those of the bundle; None if not known.

    >>> a, b = Machine(name="a", user_namespaces=True), Machine(name="b")
    >>> choose_bundle_kind([a]).kind, choose_bundle_kind([a, b, b]).kind
    ('squashfs', 'pack')
    >>> choose_bundle_kind([a, b, b], size=2 * 10**9).kind
    'squashfs'
    >>> print(choose_bundle_kind([a, a, b]).reason)
    2 of 3 machines mount it, the others unpack it; it is sent with every job
    """
    if not machines:
        return BundleChoice(
            kind="squashfs",
            reason="no machine says what it offers; squashfs is mounted where it can be, else unpacked",
        )
    total = len(machines)
    namespaces = sum(machine.user_namespaces for machine in machines)
    mounting = sum(machine.user_namespaces or machine.apptainer for machine in machines)
    apptainer = sum(machine.apptainer for machine in machines)
    everyone = f"all {total} machines" if total > 1 else "the machine"
    sent = _how_sent(machines, size)
    if 2 * apptainer > total and 4 * namespaces < total:
        return BundleChoice(
            kind="sif",
            reason=f"{apptainer} of {total} machines have Apptainer and only {namespaces} user namespaces: HTCondor starts "
            f"the container; {sent}",
            machines=total,
        )
    large = size is not None and size > LARGE
    if 2 * mounting > total or (large and mounting):
        who = (
            f"{everyone} can mount it"
            if mounting == total
            else f"{mounting} of {total} machines mount it, the others unpack it"
        )
        if 2 * mounting <= total:
            who += ", which takes long at this size"
        return BundleChoice(kind="squashfs", reason=f"{who}; {sent}", machines=total)
    return BundleChoice(
        kind="pack",
        reason=f"{mounting} of {total} machine{'s' if total > 1 else ''} can mount an image: it is unpacked in every job; {sent}",
        machines=total,
    )


def _how_sent(machines: Sequence[Machine], size: int | None) -> str:
    if all(machine.common_files for machine in machines):
        return "it is sent once to each machine"
    if any(machine.common_files for machine in machines):
        return "it is sent once to each machine that knows common files, elsewhere with every job"
    publish = "; at this size publish it to a store (wingspan env publish)" if size and size > LARGE else ""
    return f"it is sent with every job{publish}"


def machines_of(pool: Pool) -> tuple[Machine, ...]:
    """The machines of a pool, by HTCondor's ads; none where the pool has no ads, or does not answer."""
    try:
        return read_machines(pool.machine_ads('SlotType =!= "Dynamic"', PROJECTION))
    except PoolError:
        return ()


def explain_bundle_kind(pool: Pool, size: int | None = None) -> BundleChoice:
    """The kind of bundle for the jobs of a pool, and why.

    Args:
        pool: Where the jobs run.
        size: Bytes of the environment's packages.
    """
    if pool.shares_files:
        where = "jobs run on this machine" if pool.runs_here else "machines see the files of this one"
        return BundleChoice(
            kind="squashfs",
            reason=f"{where}: it is used where it lies, mounted where that works, else unpacked",
        )
    machines = machines_of(pool)
    if pool.follows_site:
        from wingspan.pools.profiles import find_profile

        if find_profile().no_user_namespaces():
            machines = tuple(attrs.evolve(machine, user_namespaces=False) for machine in machines)
    return choose_bundle_kind(machines, size)
