"""How the workers of a map come by their environment: as a bundle, started by the starter.

What was decided stands in ``map.json`` under ``environment``, and the bundle is linked into the map's folder, so that workers can be
added next month, when the cache is empty and the workspace has moved on.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.errors import EnvironmentWarning, SettingsError
from wingspan.jobs import JobDescription, Resources, all_of, with_needs
from wingspan.maps._errors import MapDamaged, PythonsDiffer

if TYPE_CHECKING:
    from wingspan.environments import Environment, LockedEnvironment
    from wingspan.environments.bundles import Bundle
    from wingspan.maps._folder import MapFolder
    from wingspan.maps._options import Options
    from wingspan.pools import Pool
    from wingspan.progress import Progress

__all__ = ["Delivery", "inside", "prepare"]

#: Disk of a job beside its bundle, when nobody says: inputs, outputs, what is printed.
_OWN_DISK = 1 << 30


def as_environment(given: Any) -> Environment:
    """What ``Options(environment=…)`` names: an environment of the workspace here, or an `Environment`."""
    from wingspan.environments import Environment

    if isinstance(given, Environment):
        return given
    if isinstance(given, str):
        return Environment(Path(), given)
    raise SettingsError(
        f"environment={given!r} names no environment",
        hint='environment="gpu", or wingspan.Environment("path/to/workspace", "gpu", "linux-64")',
    )


@attrs.frozen(kw_only=True)
class Delivery:
    """A bundle for a map.

    Attributes:
        bundle: The bundle.
        python: Python of the environment, ``"3.12"``; None when it has none.
        facts: What ``map.json`` says of it.
    """

    bundle: Bundle
    python: str | None
    facts: dict[str, Any]


def prepare(options: Options, pool: Pool, progress: Progress, *, holds_code: bool = False) -> Delivery | None:
    """Build (or find) the bundle that `options` ask for; None when the map runs in today's interpreter.

    Args:
        options: The map's.
        pool: Where it runs.
        progress: Hears of the build.
        holds_code: The function travels as bytecode.

    Raises:
        EnvironmentError_: The environment cannot be read, or cannot be carried.
        PythonsDiffer: It has no Python at all, or one that cannot read what travels.
        SettingsError: It is for machines that the pool does not have.
        SubmitError: No machine of the pool has such GPUs.
        UnknownKind: There is no such kind of bundle.
    """
    if options.environment is None:
        return None
    from wingspan.delivery.bundle_source import build_here, choose_kind, find_source, machine_requirement
    from wingspan.environments import derive_needs

    named = as_environment(options.environment)
    environment = named.load(gpus=options.request_gpus > 0)
    if environment.python is None:
        raise PythonsDiffer(
            f"the environment {environment.name!r} of {environment.workspace} has no Python",
            hint="add python to its dependencies: a map calls a Python function",
        )
    # Before the packages are fetched: that may take minutes.
    check_pythons(environment.name, environment.python, holds_code)
    _check_gpus(environment, options, pool)
    machines = machine_requirement(environment.platform.subdir, pool)
    kind, why = choose_kind(named.kind, pool, environment.download_bytes)
    bundle = build_here(environment, kind, executable=kind == "pack", progress=progress)
    measured = bundle.manifest.installed_bytes if bundle.manifest else None
    needs = derive_needs(environment, gpus=options.request_gpus > 0, measured=measured)
    source = find_source(bundle, pool, progress=progress)
    told = [*(needs.warnings if options.request_gpus else ()), *filter(None, [source["source_warning"]])]
    facts = {
        "workspace": environment.workspace,
        "name": environment.name,
        "platform": environment.platform.name,
        "digest": environment.digest,
        "python": environment.python,
        "kind": bundle.kind,
        "kind_reason": why,
        "bundle": bundle.path.name,
        "bundle_sha256": bundle.sha256,
        "bundle_bytes": bundle.size,
        "cache": str(bundle.path),
        **source,
        "warnings": told,
        "machine_requirements": machines,
        "needs": needs.to_json(),
    }
    for warning in told:
        warnings.warn(f"environment {environment.name!r}: {warning}", EnvironmentWarning, stacklevel=5)
    return Delivery(bundle=bundle, python=environment.python, facts=facts)


def _check_gpus(environment: LockedEnvironment, options: Options, pool: Pool) -> None:
    """See that the pool has GPUs that suit the lock, as `pool.submit` does, which comes when the bundle is built."""
    if not options.request_gpus or options.workers == 0:
        return
    from wingspan.environments import derive_needs
    from wingspan.maps._worker_job import for_site
    from wingspan.pools.htcondor import HTCondorPool

    if isinstance(pool, HTCondorPool):
        needs = derive_needs(environment, gpus=True, caches=(), installed=False).to_json()
        resources = with_needs(Resources(gpus=options.request_gpus, time_limit=options.time), needs)
        job = JobDescription(
            name="", executable="", resources=resources, custom=options.custom, submit=options.submit
        )
        pool.check_gpus(for_site(job, options, pool))


def check_pythons(name: str, python: str | None, holds_code: bool) -> None:
    """See that what was pickled here can be read in the environment `name`, which has `python`, before anything is submitted.

    Raises:
        PythonsDiffer: The function, or an input, travels by value, and the environment has another Python.
    """
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if holds_code and python != here:
        raise PythonsDiffer(
            f"this is Python {here} and the environment {name!r} has Python {python}: "
            "the function travels as bytecode, which only its own version reads",
            hint=f"make the map from inside the environment (pixi run -e {name} python …), or use a function "
            "that a module of the environment has (from mypackage import f), which travels by name",
        )


def keep(delivery: Delivery, folder: Path) -> None:
    """Link the bundle into the map's folder, so that it lasts as long as the map, and its digest, so that it is not computed again."""
    from wingspan.environments.bundles.checked import link_bundle

    bundle = delivery.bundle
    beside = f"{bundle.path.name}.sha256"
    with contextlib.suppress(OSError):
        os.link(bundle.path.with_name(beside), folder / beside)
    with contextlib.suppress(OSError):
        link_bundle(bundle.path, folder / bundle.path.name, bundle.sha256)


def bundle_of(folder: MapFolder) -> Bundle:
    from wingspan.environments.bundles import open_bundle
    from wingspan.environments.bundles.errors import BundleDamaged, BundleNotFound

    facts, bad = folder.info["environment"], None
    for path in (folder.path / facts["bundle"], Path(facts["cache"])):
        try:
            opened = open_bundle(path)
        except BundleNotFound:
            continue
        except BundleDamaged as error:
            bad = bad or error.message
            continue
        if opened.sha256 == facts["bundle_sha256"]:
            return opened
        bad = bad or f"{path} is not the bundle that the map {folder.info['tag']!r} was made with"
    raise MapDamaged(
        bad
        or f"the bundle {facts['bundle']} of map {folder.info['tag']!r} is neither in its folder nor in the cache",
        hint="wingspan env bundle builds it again from the same lock",
    )


def inside(job: JobDescription, folder: MapFolder, pool: Pool) -> JobDescription:
    """`job`, started inside the map's environment."""
    facts = folder.info.get("environment")
    if not facts:
        return job
    from wingspan.delivery.bundle_source import bundle_disk
    from wingspan.environments.bundles import starter_command

    bundle = bundle_of(folder)
    place = next(number for number, word in enumerate(job.arguments) if word.endswith("worker.pyz"))
    container = bundle.kind == "sif" and pool.kind == "htcondor"
    start = starter_command(
        bundle, ["python", *job.arguments[place:]], shared=pool.shares_files, quiet=True, container=container
    )
    source = facts.get("source")
    # The same for all workers: the bundle, and what helps to mount it.
    common = [path for path in start.input_files if path != bundle.path or not (container or source)]
    others = (source,) if source and not pool.shares_files and not container else ()
    resources = job.resources
    if resources.disk is None and not pool.shares_files:
        resources = attrs.evolve(
            resources, disk=bundle_disk(bundle, facts["needs"].get("installed_bytes")) + _OWN_DISK
        )
    return attrs.evolve(
        job,
        # By its shell where it is used in place: an installed script need not have kept its mode.
        executable="/bin/sh" if pool.shares_files else str(start.executable),
        transfer_executable=not pool.shares_files,
        arguments=(str(start.executable), *start.arguments) if pool.shares_files else start.arguments,
        input_files=(*job.input_files, *others),
        common_input_files=tuple(map(str, common)),
        container_image=(source or str(bundle.path)) if container else None,
        resources=with_needs(resources, facts["needs"], memory=not pool.shares_files),
        requirements=all_of(
            job.requirements, facts.get("source_requirements"), facts.get("machine_requirements")
        ),
    )
