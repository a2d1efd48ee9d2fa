"""Which pool a map would get and why, told without starting or obtaining anything (``wingspan doctor``)."""

from __future__ import annotations

import importlib.util
import shutil
import sys

import attrs

from wingspan.errors import OnAccessPoint, PoolError, SettingsError
from wingspan.pools._select import (
    KINDS,
    check_named,
    get_pool,
    refuse_computation_here,
    site_condor,
    slurm_configured,
)
from wingspan.settings import load_settings

__all__ = ["Candidate", "explain_choice"]


@attrs.frozen(kw_only=True)
class Candidate:
    """A kind of pool, and whether it could be used.

    Attributes:
        kind: ``"htcondor"``, ``"personal"``, ``"slurm"`` or ``"local"``.
        usable: Jobs can be submitted to it, now or once it has been started.
        configured: This machine's configuration names it. A map is not sent elsewhere when it does not
            answer.
        chosen: A map that names no pool gets this one.
        reason: Why, or why not, as a sentence.
        hint: What makes it usable, where something does.
    """

    kind: str
    usable: bool
    configured: bool = False
    chosen: bool = False
    reason: str
    hint: str | None = None


def _no_bindings(kind: str) -> Candidate | None:
    if importlib.util.find_spec("htcondor2") is not None:
        return None
    return Candidate(
        kind=kind,
        usable=False,
        configured=kind == "htcondor" and site_condor() is not None,
        reason="HTCondor's Python bindings are not installed",
        hint="pip install htcondor (wheels are for Linux only)",
    )


def _site() -> Candidate:
    named = site_condor()
    if named is None:
        return Candidate(
            kind="htcondor",
            usable=False,
            reason="no site pool is configured on this machine",
            hint="work on the site's access point, or set CONDOR_CONFIG or _condor_SCHEDD_HOST",
        )
    return _asked("htcondor", named, "its schedd answers")


def _asked(kind: str, named: str, answers: str) -> Candidate:
    """A site's pool that this machine's configuration names: its scheduler is asked whether it answers."""
    try:
        get_pool(kind).make_ready()
    except PoolError as error:
        reason = f"{named}, but {error.message}"
        return Candidate(kind=kind, usable=False, configured=True, reason=reason, hint=error.hint)
    return Candidate(kind=kind, usable=True, configured=True, reason=f"{named}, and {answers}")


def _personal() -> Candidate:
    from wingspan.pools.personal import PersonalPool, SourceError
    from wingspan.pools.personal.installation import cached, system

    status = PersonalPool().status()
    if status.state == "running":
        reason = f"it runs: HTCondor {status.version}, {status.cpus} cores"
    elif found := cached():
        reason = f"HTCondor {found.version} was obtained before; the first map starts it"
    else:
        try:
            reason = f"HTCondor {system().version} is installed on this machine; the first map starts it"
        except SourceError:
            if not sys.platform.startswith("linux"):
                return Candidate(kind="personal", usable=False, reason="it needs Linux")
            reason = "the first map obtains HTCondor, without root, and starts it"
    return Candidate(kind="personal", usable=True, reason=reason)


def _slurm() -> Candidate:
    program = shutil.which("sbatch")
    if program is None:
        return Candidate(
            kind="slurm", usable=False, reason="no sbatch on PATH", hint="work on the cluster's login node"
        )
    cluster = slurm_configured()
    if cluster is None:
        return Candidate(
            kind="slurm",
            usable=False,
            reason=f"{program} is there, but no cluster is configured (slurm.conf)",
            hint="work on the cluster's login node, or set SLURM_CONF",
        )
    return _asked("slurm", cluster, "the cluster answers")


def _on_access_point(kind: str) -> Candidate | None:
    """Why a pool of this machine cannot be used where many people share the machine; None: it can."""
    try:
        refuse_computation_here(get_pool(kind))
    except OnAccessPoint as error:
        return Candidate(kind=kind, usable=False, reason=error.message, hint=error.hint)
    except (PoolError, SettingsError):
        pass  # told elsewhere
    return None


def explain_choice(*, ignore_named: bool = False) -> tuple[Candidate, ...]:
    """All kinds of pools in the order in which they are tried; one of them is `Candidate.chosen`.

    Nothing is started or obtained; only a site's scheduler is asked whether it answers.

    Args:
        ignore_named: As if the settings named no pool.

    Raises:
        SettingsError: The configuration file cannot be read, or it names a pool that does not exist.

    >>> [candidate.kind for candidate in explain_choice()]
    ['htcondor', 'slurm', 'personal', 'local']
    """
    settings = load_settings()
    if ignore_named:
        settings = attrs.evolve(settings, pool=None)
    check_named(settings)
    named = settings.pool
    found = [
        _no_bindings("htcondor") or _site(),
        _slurm(),
        _on_access_point("personal") or _no_bindings("personal") or _personal(),
        _on_access_point("local")
        or Candidate(kind="local", usable=True, reason="plain processes on this machine, always there"),
    ]
    if named is not None and named not in KINDS:
        there = _asked(named, "the settings name it", "it answers")
        return (attrs.evolve(there, chosen=True), *found)
    if named is not None:
        return tuple(
            attrs.evolve(one, chosen=True, reason=f"the settings name it; {one.reason}")
            if one.kind == named
            else one
            for one in found
        )
    # On an access point whose pool is not configured none is usable: then the first one is shown.
    first = next((one for one in found if one.configured or one.usable), found[0])
    return tuple(attrs.evolve(one, chosen=one is first) for one in found)
