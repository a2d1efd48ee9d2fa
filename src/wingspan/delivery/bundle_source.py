"""The bundle for the jobs of a pool: its kind, and where machines fetch it. Maps and runs have it alike."""

from __future__ import annotations

import contextlib
import platform as machine
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._cores import limited_cores
from wingspan.delivery.machines import BundleChoice, explain_bundle_kind
from wingspan.environments.bundles.manifest import Kind, check_kind
from wingspan.errors import OnAccessPoint, PoolError, SettingsError
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import load_settings

if TYPE_CHECKING:
    from wingspan.environments import LockedEnvironment
    from wingspan.environments.bundles import Bundle
    from wingspan.environments.bundles.manifest import Delta
    from wingspan.environments.needs import NeedsFacts
    from wingspan.pools._base import Pool
    from wingspan.stores import Placement

__all__ = [
    "Source",
    "build_here",
    "choose_kind",
    "find_source",
    "machine_requirement",
    "processor_requirement",
    "source_of_bundle",
]

#: Kinds that are large files: a site says how files of a size get to its machines.
_FILES = ("squashfs", "pack", "oci", "sif")
#: Kinds that a processor works on for a while when they are built; the others hold packages as they were
#: fetched.
_COMPUTED = ("squashfs", "oci", "sif")
#: ``Arch`` in machine ads (HTCondor manual, "Machine ClassAd Attributes"), by the architecture in conda's
#: subdirs.
_ARCH = {"64": "X86_64", "aarch64": "aarch64", "ppc64le": "ppc64le"}


def choose_kind(asked: str | None, pool: Pool | None, size: int) -> tuple[Kind, str]:
    """The kind of bundle for the jobs of `pool`, and why.

    It is the kind that the user names, or else the one that suits the pool's machines and the size.

    Args:
        asked: Kind that the user names.
        pool: Where the jobs run; None: nowhere yet (rendered files).
        size: Bytes of the environment's packages.

    Raises:
        UnknownKind: There is none of that name.
    """
    if asked is not None:
        return check_kind(asked), "asked for"
    if pool is None or pool.elsewhere:  # the other machine chooses for itself
        return "squashfs", "it is used where it lies"
    choice: BundleChoice = explain_bundle_kind(pool, size)
    return check_kind(choice.kind), choice.reason


def build_here(
    environment: LockedEnvironment, kind: Kind, *, progress: Progress = NO_PROGRESS, **options: Any
) -> Bundle:
    """`build_bundle`, by the rules of the site whose machine this is.

    On an access point that many people share, the build uses one core. Where the site wants no builds there
    at all, the answer is a bundle that was built before.

    Args:
        environment, kind, options: As for `wingspan.environments.bundles.build_bundle`.
        progress: Hears how far the build is.

    Raises:
        OnAccessPoint: The site wants it built elsewhere.
        QuotaExceeded: There is no room for it.
        Others as `wingspan.environments.bundles.build_bundle`.
    """
    from wingspan.environments.bundles import build_bundle
    from wingspan.pools.profiles import check_disk, find_profile

    site = find_profile()
    is_refused = site.is_access_point() and not site.builds and kind in _COMPUTED

    def look() -> None:
        check_disk(
            site,
            load_settings().cache_dir,
            environment.download_bytes,
            f"the {kind} bundle of the environment {environment.name!r}, which has at least the size of its packages,",
        )
        if not is_refused:
            return
        raise OnAccessPoint(
            f"{site.title or site.name} wants no {kind} bundle built on its access points, which many people share",
            hint=site.build_hint
            or "build it in a job (wingspan env bundle --on-pool) or on your own machine, and publish it: wingspan env publish",
        )

    with limited_cores(1) if site.is_access_point() else contextlib.nullcontext():
        return build_bundle(environment, kind, progress=progress, before=look, **options)


@attrs.frozen(kw_only=True)
class Source:
    """Where machines get a bundle.

    Attributes:
        address: Where they fetch it; None: the scheduler sends it, or they see this machine's files.
        requirements: Requirements on machines that read it: a ClassAd expression.
        warning: What the site will not like, where no better way is open.
        delta: `address` is where they fetch another bundle, and this is the difference to it.
    """

    address: str | None = None
    requirements: str | None = None
    warning: str | None = None
    delta: Delta | None = None


def find_source(bundle: Bundle, pool: Pool | None, *, progress: Progress = NO_PROGRESS) -> Source:
    """Where the machines of `pool` fetch `bundle`.

    Raises:
        As `source_of_bundle`.
    """
    if pool is None or pool.runs_here or pool.shares_files or bundle.kind not in _FILES:
        return Source()
    from wingspan.stores import Route

    found = _delta_of(bundle, progress)
    delta, placed = found or (
        None,
        source_of_bundle(bundle.path, bundle.size, bundle.sha256, progress=progress),
    )
    fetched = placed.route is not Route.TRANSFER
    return Source(
        address=placed.source if fetched else None,
        requirements=placed.requirements if fetched else None,
        warning=placed.warning or _unread(placed.requirements, pool),
        delta=delta,
    )


def _delta_of(bundle: Bundle, progress: Progress) -> tuple[Delta, Placement] | None:
    """The difference to a bundle in the configured store, where `bundle` itself would go there."""
    from wingspan.delivery.deltas import delta_to_published
    from wingspan.pools.profiles import find_profile
    from wingspan.stores import Route, choose_route, configured_stores, open_store

    settings = load_settings()
    limits = find_profile(settings).limits
    stores = configured_stores(settings)
    if len(stores) != 1 or choose_route(bundle.size, limits) is Route.TRANSFER:
        return None
    store = open_store(next(iter(stores)), settings)
    found = delta_to_published(bundle, store, limits, progress=progress)
    return found if found is not None and found[1].route is not Route.TRANSFER else None


def _unread(requirements: str | None, pool: Pool) -> str | None:
    """A warning if no machine of the pool says that it has the file system: jobs might wait for ever."""
    if requirements is None:
        return None
    try:
        if pool.machine_ads(requirements.replace("TARGET.", ""), ["Name"]):
            return None
    except PoolError:  # the submission will say so
        return None
    return f"no machine of the pool fulfils {requirements} now, which reading the bundle there needs: jobs wait for one"


def machine_requirement(subdir: str, pool: Pool | None) -> str | None:
    """The architecture that the environment needs, as a requirement of machines.

    None where it is this machine's: HTCondor asks for that by itself.

    >>> machine_requirement("linux-riscv64", None)
    '(TARGET.Arch == "riscv64")'

    Args:
        subdir: The environment's platform, ``linux-aarch64``.
        pool: Where the jobs run; None: nowhere yet. Slurm has no such words: a partition has machines of one
            kind.

    Raises:
        SettingsError: The jobs run on this machine, which has another architecture.
    """
    wanted = subdir.partition("-")[2]
    wanted = _ARCH.get(wanted, wanted)
    if wanted.lower() == machine.machine().lower() or (pool is not None and not pool.takes_requirements):
        return None
    if pool is not None and pool.runs_here:
        raise SettingsError(
            f"the environment is for {subdir}, and jobs of the {pool.kind} pool run on this machine, which is {machine.machine()}",
            hint="name a platform of this machine, or a pool that has such machines (pool=…)",
        )
    return f'(TARGET.Arch == "{wanted}")'


def processor_requirement(needs: NeedsFacts, pool: Pool | None) -> str | None:
    """The level of processors that the environment needs, as a requirement of machines.

    Machines of HTCondor say it since version 10 (``Microarch``).

    >>> processor_requirement({"microarch_min": "x86_64-v3"}, None)
    '(TARGET.Microarch >= "x86_64-v3")'

    Args:
        needs: Of the environment, as `Needs.to_json` has them.
        pool: Where the jobs run; None: nowhere yet.
    """
    level = needs.get("microarch_min")
    if not level or (pool is not None and not pool.takes_requirements):
        return None
    return f'(TARGET.Microarch >= "{level}")'


def source_of_bundle(
    path: Path, size: int, sha256: str | None = None, *, progress: Progress = NO_PROGRESS
) -> Placement:
    """How a bundle gets to the jobs: small ones by HTCondor's own transfer, larger ones from the configured
    store.

    The site's profile says what is small and large (``transfer_limit``, ``url_limit``). Where no store is
    configured, or several are, the bundle goes through the access point, and `Placement.warning` says so.

    Args:
        path: The bundle on the access point; its name says its content.
        size: Bytes.
        sha256: Its digest, if known.
        progress: Hears of the upload.

    Raises:
        SettingsError: A profile or store of the configuration file cannot be read.
        StoreError: The store cannot be written.
        OnAccessPoint: The site wants files to get into the store through another machine.
        QuotaExceeded: The store has no room for it.
    """
    # Imported here: jobs on this machine need neither profiles nor stores, and importing takes time.
    from wingspan.delivery.publishing import publish_bundle
    from wingspan.pools.profiles import find_profile
    from wingspan.stores import Route, choose_route, configured_stores, open_store, place

    settings = load_settings()
    limits = find_profile(settings).limits
    stores = configured_stores(settings)
    if choose_route(size, limits) is Route.TRANSFER:
        return place(size, local=path, limits=limits)
    if len(stores) != 1:
        placed = place(size, local=path, limits=limits)
        if not stores:
            return placed
        told = f"{placed.warning}; which of {', '.join(sorted(stores))} is meant? Keep one of them in {settings.config_file}"
        return attrs.evolve(placed, warning=told)
    store = open_store(next(iter(stores)), settings)
    published = publish_bundle(store, path, digest=sha256, progress=progress)
    return place(size, local=path, store=store, published=published, limits=limits)
