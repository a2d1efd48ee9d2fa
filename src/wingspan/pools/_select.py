"""Which pool is used: the one that was named, else the site's HTCondor, its Slurm, the personal pool.

A site that is configured and does not answer is an error. People who have a site's pool do not
want the work to be done on the machine that they all share, only because the scheduler is silent for a
moment.
"""

from __future__ import annotations

import functools
import importlib.util
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import attrs

from wingspan.errors import OnAccessPoint, PoolError, PoolUnavailable, SettingsError
from wingspan.pools._base import Pool
from wingspan.pools.site_hosts import may_have_a_profile
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import Settings, load_settings

__all__ = [
    "KINDS",
    "Choice",
    "check_kind",
    "choose_pool",
    "get_pool",
    "is_kind",
    "personal_pool",
    "pool_at",
    "pool_kinds",
    "refuse_computation_here",
    "register",
    "site_pool",
]

#: Where slurm.conf may be, beside the folder of its own programs.
_SLURM_FOLDERS = (
    "/etc/slurm",
    "/etc/slurm-llnl",
    "/run/slurm/conf",
    "/usr/local/etc",
    "/usr/local/etc/slurm",
    "/opt/slurm/etc",
)
#: Seconds that sinfo may look for a cluster that no file names. It looks in DNS, and would retry for a
#: minute.
_SINFO_SECONDS = 3.0

KINDS = ("personal", "htcondor", "slurm", "local")
#: The name of a pool that another machine has begins with this, and names the machine: one that is reached
#: through SSH, or the schedd that jobs are spooled to.
_SSH, _SCHEDD = "ssh://", "schedd://"


@attrs.frozen
class Choice:
    """A pool and why it was chosen.

    Attributes:
        pool: The pool.
        reason: One sentence for a person.
        is_fallback: Nothing better was to be had; the reason should be shown.
    """

    pool: Pool
    reason: str
    is_fallback: bool = False


#: What makes the pools that were given to `register`.
_registered: dict[str, Callable[[], Pool]] = {}


def register(kind: str, make: Callable[[], Pool]) -> None:
    """Have maps and runs executed by an engine that is not a part of Wingspan.

    Maps and runs keep the name of their pool: every process that opens them must register it before.

    Args:
        kind: Its name, which ``pool=`` then takes. Wingspan's own names cannot be taken.
        make: Makes the pool, once in a process.
    """
    _registered[kind] = make


@functools.lru_cache(maxsize=16)
def _make(kind: str, place: Path) -> Pool:
    if kind in _registered and kind not in KINDS:
        return _registered[kind]()
    if kind == "local":
        from wingspan.pools.local import LocalPool

        return LocalPool()
    if kind == "slurm":
        from wingspan.pools.slurm import SlurmPool

        return SlurmPool()
    if kind.startswith(_SSH):
        from wingspan.pools.ssh import SshPool

        return SshPool(kind)
    return _condor(kind, place)


def _condor(kind: str, place: Path) -> Pool:
    if importlib.util.find_spec("htcondor2") is None:
        raise PoolUnavailable(
            f"the {kind} pool needs HTCondor's Python bindings, which are not installed here",
            hint="pip install htcondor (Linux only), or use pool='local'",
        )
    if kind.startswith(_SCHEDD):
        from wingspan.pools.htcondor_spool import SpoolingPool

        return SpoolingPool(kind)
    from wingspan.pools.htcondor import HTCondorPool, PersonalHTCondorPool

    if kind == "personal":
        from wingspan.pools.personal import PersonalPool

        return PersonalHTCondorPool(PersonalPool(place))
    return HTCondorPool()


def pool_kinds() -> tuple[str, ...]:
    """Names of all kinds of pools: Wingspan's own, and those that were given to `register`."""
    return (*KINDS, *(kind for kind in _registered if kind not in KINDS))


def is_kind(name: object) -> bool:
    """A pool may have this name."""
    return isinstance(name, str) and (name in pool_kinds() or name.startswith((_SSH, _SCHEDD)))


def check_kind(kind: str) -> None:
    """See that a pool may have this name.

    Raises:
        SettingsError: There is no such kind.
    """
    if not is_kind(kind):
        raise SettingsError(
            f"there is no pool {kind!r}",
            hint=f"pools are: {', '.join(pool_kinds())}, ssh://[user@]host, schedd://name",
        )


def get_pool(kind: str, place: str | None = None) -> Pool:
    """The pool of this kind.

    Args:
        kind: ``"personal"``, ``"htcondor"``, ``"slurm"``, ``"local"``, ``"ssh://[user@]host"``,
            ``"schedd://name"``, or a name that was given to `register`.
        place: Which of several of this kind (`Pool.place`); None is the one of the settings.

    Raises:
        SettingsError: There is no such kind.
        PoolUnavailable: It cannot be used on this machine.
    """
    check_kind(kind)
    return _make(kind, Path(place) if place else load_settings().data_dir / "personal-pool")


def site_condor() -> str | None:
    """A sentence that says what names a site's HTCondor on this machine; None if nothing does."""
    schedd = os.environ.get("_condor_SCHEDD_HOST")  # noqa: SIM112 - HTCondor's own spelling
    if schedd:
        return f"_condor_SCHEDD_HOST is {schedd}"
    configuration = os.environ.get("CONDOR_CONFIG")
    # /dev/null: HTCondor's bindings say so in their own process when they are imported where nothing is
    # configured.
    if configuration and configuration.upper() != "ONLY_ENV" and configuration != os.devnull:
        return f"CONDOR_CONFIG is {configuration}"
    for path in (Path("/etc/condor/condor_config"), Path.home() / ".condor" / "user_config"):
        if path.is_file():
            return f"{path} is there"
    return None


def slurm_configured() -> str | None:
    """A sentence that says what names a Slurm cluster on this machine; None if nothing does.

    The places are those of slurm.conf(5), of Slurm that was built by itself, and of "configless" Slurm, which
    may have none at all: then sinfo is asked for a moment, where there is one.
    """
    if named := os.environ.get("SLURM_CONF"):
        return f"SLURM_CONF is {named}"
    program = shutil.which("sbatch")
    if program is None:
        return None
    own = Path(program).resolve().parent.parent / "etc"
    for folder in (*_SLURM_FOLDERS, own, own / "slurm"):
        if (path := Path(folder) / "slurm.conf").is_file():
            return f"{path} is there"
    try:
        asked = subprocess.run(
            ["sinfo", "--noheader", "--format=%R"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            timeout=_SINFO_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return "sinfo knows a cluster" if asked.returncode == 0 else None


def _named_pool(name: str | None, settings: Settings) -> Pool:
    """The pool that was named; the error for an unknown name says where it was named."""
    try:
        return get_pool(name or str(settings.pool))
    except SettingsError as error:
        if name is not None:
            raise
        place = "WINGSPAN_POOL" if os.environ.get("WINGSPAN_POOL") else str(settings.config_file)
        raise SettingsError(f"{place}: {error.message}", hint=error.hint) from None


def check_named(settings: Settings) -> None:
    """See that the pool that the settings name is one.

    Raises:
        SettingsError: It is not; the message says who named it.
    """
    if settings.pool is not None and not is_kind(settings.pool):
        _named_pool(None, settings)


def site_pool(name: str | None = None) -> Pool | None:
    """The site's HTCondor, where `choose_pool` would try it; asks nobody, starts nothing."""
    named = name or load_settings().pool
    if named == "htcondor" or (named is None and site_condor() is not None):
        return get_pool("htcondor")
    return None


def personal_pool(name: str | None = None) -> Pool | None:
    """The personal pool, if `choose_pool` would take it; asks no scheduler, starts nothing."""
    named = name or load_settings().pool
    if named == "personal" or (named is None and site_condor() is None):
        return get_pool("personal")
    return None


def pool_at(schedd: str) -> Pool | None:
    """The HTCondor pool whose schedd has this address; None: it is none that this process can speak with."""
    place = get_pool("personal").place
    if place is not None:
        try:
            address = (Path(place) / "log/.schedd_address").read_text(encoding="utf-8").split("\n")[0]
        except OSError:
            address = ""
        if address and address.partition("?")[0].rstrip(">") == schedd.partition("?")[0].rstrip(">"):
            return get_pool("personal")
    return get_pool("htcondor") if site_condor() is not None else None


def _answering(kind: str, reason: str) -> Pool:
    """The site's pool of this kind, which `reason` names.

    Raises:
        PoolUnavailable: It cannot be used now.
    """
    try:
        pool = get_pool(kind)
        pool.make_ready()
    except PoolError as error:
        raise PoolUnavailable(
            f"{reason}, but {error.message}",
            hint="try again later, or mend that setting"
            + (
                "; --pool personal, pool='personal' or WINGSPAN_POOL=personal computes on this machine instead"
                if _shared_by_many() is None
                else ""
            ),
        ) from error
    return pool


def _shared_by_many() -> str | None:
    """The site that has this machine as an access point; None: it is none."""
    if not may_have_a_profile():
        return None
    from wingspan.pools.profiles import find_profile

    profile = find_profile()
    return (profile.title or profile.name) if profile.is_access_point() else None


def refuse_computation_here(pool: Pool, *, named: bool = True) -> None:
    """Refuse a pool whose jobs would run on an access point that many people share.

    Args:
        pool: Where they would run.
        named: Somebody has asked for it; else it is what is left where no scheduler is configured.

    Raises:
        OnAccessPoint: They would.
    """
    if pool.runs_here and (site := _shared_by_many()) is not None:
        here = f"this machine is an access point of {site}, which many people share"
        if not named:
            raise OnAccessPoint(
                f"{here}, and neither HTCondor nor Slurm is configured for this session",
                hint="wingspan doctor says what was looked for: often a module has to be loaded, or CONDOR_CONFIG or SLURM_CONF set; "
                "`wingspan profile show` says whose rules these are",
            )
        raise OnAccessPoint(
            f"{here}: the {pool.kind} pool would compute on it",
            hint="leave the pool out, and the site's is used; or work on a machine of your own",
        )


def choose_pool(name: str | None = None, progress: Progress = NO_PROGRESS) -> Choice:
    """The pool to use, ready to take jobs (the personal one is started if need be).

    Args:
        name: A kind of pool, or None to choose.
        progress: Hears of HTCondor being downloaded.

    Raises:
        SettingsError: There is no pool of that name.
        PoolError: The pool that was named cannot be used, or the site's does not answer.
        OnAccessPoint: This machine is a site's access point, and the pool would compute on it.
    """
    settings = load_settings()
    named = name or settings.pool
    if named is not None:
        pool = _named_pool(name, settings)
        refuse_computation_here(pool)
        pool.make_ready(progress)
        return Choice(pool, f"{named} was asked for" if name else f"the settings name {named}")
    if (site := site_condor()) is not None:
        pool = _answering("htcondor", site)
        return Choice(pool, f"{site}, and its schedd answers")
    if (cluster := slurm_configured()) is not None:
        pool = _answering("slurm", cluster)
        return Choice(pool, f"{cluster}, and the cluster answers")
    refuse_computation_here(get_pool("local"), named=False)
    try:
        pool = get_pool("personal")
        pool.make_ready(progress)
    except PoolError as error:
        return Choice(
            get_pool("local"),
            f"no HTCondor is to be had ({error.message}): this map runs as processes on this machine",
            is_fallback=True,
        )
    return Choice(pool, "nothing else is configured: the personal pool")
