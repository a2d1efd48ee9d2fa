"""From the name of an environment to a bundle, and what jobs have to know of it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.delivery.record import Delivery
from wingspan.errors import SettingsError
from wingspan.jobs import all_of
from wingspan.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from wingspan.delivery.bundle_source import Source
    from wingspan.environments import Environment, LockedEnvironment
    from wingspan.environments.bundles import Bundle
    from wingspan.environments.needs import NeedsFacts
    from wingspan.pools import Pool

__all__ = ["as_environment", "keep_bundle", "needs_by_lock", "prepare"]


def as_environment(given: Any, base: Path | None = None) -> Environment:
    """What ``environment=…`` names: an environment of the workspace around `base`, or an `Environment`.

    Raises:
        SettingsError: It is neither.
    """
    from wingspan.environments import Environment

    if isinstance(given, Environment):
        return given
    if isinstance(given, str):
        return Environment(base or Path(), given)
    raise SettingsError(
        f"environment={given!r} names no environment",
        hint='environment="gpu", or wingspan.Environment("path/to/workspace", "gpu", "linux-64")',
    )


def needs_by_lock(environment: LockedEnvironment, *, gpus: bool) -> NeedsFacts:
    """What the environment needs, by the lock alone: before anything is fetched."""
    from wingspan.environments import derive_needs

    return derive_needs(environment, gpus=gpus, caches=(), installed=False).to_json()


def prepare(
    named: Environment,
    *,
    gpus: bool,
    pool: Pool | None = None,
    build: bool = True,
    look: Callable[[LockedEnvironment], None] | None = None,
    progress: Progress = NO_PROGRESS,
) -> tuple[Bundle | None, Delivery]:
    """Build (or find) the bundle of an environment for the jobs of a pool.

    Args:
        named: The environment.
        gpus: The jobs use GPUs.
        pool: Where they run. If nobody names a kind of bundle, it is one that suits the pool's machines.
            None: nowhere yet.
        build: Build the bundle. Without, the answer says only what the environment needs (an image has the
            environment).
        look: Is called with the lock before anything is fetched, which may take minutes. An error of it ends
            the work.
        progress: Hears of the build.

    Raises:
        EnvironmentError_: The environment cannot be read, or cannot be carried.
        SettingsError: It is for machines that the pool does not have.
        UnknownKind: There is no such kind of bundle.
    """
    from wingspan.delivery import bundle_source as sources

    environment = named.load(gpus=gpus)
    if look is not None:
        look(environment)
    kind, why = sources.choose_kind(named.kind, pool, environment.download_bytes)
    machines = sources.machine_requirement(environment.platform.subdir, pool)
    bundle = None
    if build:
        bundle = sources.build_here(environment, kind, executable=kind == "pack", progress=progress)
    needs = _needs(environment, bundle, gpus=gpus)
    delivery = Delivery(
        workspace=environment.workspace,
        name=environment.name,
        platform=environment.platform.name,
        digest=environment.digest,
        python=environment.python,
        kind=kind,
        kind_reason=why,
        machine_requirements=all_of(machines, sources.processor_requirement(needs, pool)),
        needs=needs,
        warnings=tuple(needs.get("warnings", ())) if gpus else (),
    )
    if bundle is None:
        return None, delivery
    source = sources.find_source(bundle, pool, progress=progress)
    bundle = attrs.evolve(bundle, delta=source.delta)
    return bundle, _carried(delivery, bundle, source)


def _carried(delivery: Delivery, bundle: Bundle, source: Source) -> Delivery:
    """`delivery`, with what is known of the bundle and of where machines fetch it."""
    return attrs.evolve(
        delivery,
        kind=bundle.kind,
        bundle=bundle.path.name,
        bundle_sha256=bundle.sha256,
        bundle_bytes=bundle.size,
        cache=str(bundle.path),
        manifest=bundle.manifest.facts() if bundle.manifest else None,
        warnings=(*delivery.warnings, *([source.warning] if source.warning else [])),
        layers=tuple(one.to_json() for one in bundle.layers),
        delta=source.delta.to_json() if source.delta else None,
        source=source.address,
        source_requirements=source.requirements,
        source_warning=source.warning,
    )


def _needs(environment: LockedEnvironment, bundle: Bundle | None, *, gpus: bool) -> NeedsFacts:
    from wingspan.environments import derive_needs

    manifest = bundle.manifest if bundle else None
    measured = manifest.installed_bytes if manifest else None
    if gpus or manifest is None or measured is None:
        return derive_needs(environment, gpus=gpus, measured=measured).to_json()
    # What the bundle's own manifest says will do.
    return {**manifest.needs, "installed_bytes": measured}


def keep_bundle(bundle: Bundle, folder: Path) -> None:
    """Link the bundle into `folder`, so that it lasts as long as a map or run.

    Its digest goes along and is not computed again.
    """
    from wingspan.environments.bundles.checked import link_bundle
    from wingspan.stores.names import SIDECAR_SUFFIX

    beside = bundle.path.name + SIDECAR_SUFFIX
    with contextlib.suppress(OSError):
        os.link(bundle.path.with_name(beside), folder / beside)
    with contextlib.suppress(OSError):
        link_bundle(bundle.path, folder / bundle.path.name, bundle.sha256)
    for path in (*(layer.path for layer in bundle.layers), *([bundle.delta.path] if bundle.delta else [])):
        with contextlib.suppress(OSError):
            os.link(path, folder / path.name)
