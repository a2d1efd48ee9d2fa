"""A run's locked environment: its bundle, what it needs of a machine, and whether it has the command at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.errors import SettingsError
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._errors import CommandNotFound, InvalidRun, RunDamaged
from wingspan.settings import load_settings

if TYPE_CHECKING:
    from wingspan.environments import Environment
    from wingspan.environments.bundles import Bundle
    from wingspan.pools import Pool

__all__ = ["as_environment", "bundle_of", "check_command", "keep_bundle", "prepare"]

_KINDS = ("squashfs", "sif", "pack", "install")


def as_environment(given: Any, base: Path) -> Environment:
    """What ``environment=…`` names: an environment of the workspace around `base`, or an `Environment`.

    Raises:
        SettingsError: It is neither.
    """
    from wingspan.environments import Environment

    if isinstance(given, Environment):
        return given
    if isinstance(given, str):
        return Environment(base, given)
    raise SettingsError(
        f"environment={given!r} names no environment",
        hint='environment="gpu", or wingspan.Environment("path/to/workspace", "gpu", "linux-64")',
    )


def prepare(
    named: Environment,
    *,
    gpus: bool,
    build: bool = True,
    pool: Pool | None = None,
    progress: Progress = NO_PROGRESS,
) -> tuple[Bundle | None, dict[str, Any]]:
    """Build (or find) the bundle, and what ``run.json`` says of it. Without `build` there is none, only what is needed.

    The kind that nobody names is the one that suits the machines of `pool`, a site's.

    Raises:
        EnvironmentError_: The environment cannot be read, or cannot be carried.
        InvalidRun: Its kind is not one that a job starts from.
    """
    from wingspan.environments import derive_needs

    kind, why = named.kind or "squashfs", "asked for" if named.kind else "it is used where it lies"
    if named.kind is None and pool is not None:
        from wingspan.pools.machines import explain_bundle_kind

        choice = explain_bundle_kind(pool)
        kind, why = choice.kind, choice.reason
    if kind not in _KINDS:
        raise InvalidRun(
            f"a run cannot start from a bundle of kind {kind!r}",
            hint=f"use {', '.join(_KINDS)}; for an image in a registry: wingspan render htcondor DIR --image docker://…",
        )
    environment = named.load(gpus=gpus)
    bundle = None
    if build:
        from wingspan.environments.bundles import build_bundle

        bundle = build_bundle(environment, kind, executable=kind == "pack", progress=progress)
    needs: dict[str, Any] = dict(bundle.manifest.needs) if bundle and bundle.manifest else {}
    if bundle and bundle.manifest:
        needs.setdefault("installed_bytes", bundle.manifest.installed_bytes)
    if gpus or not needs:  # else what was written down when the bundle was built will do
        needs = derive_needs(environment, gpus=gpus).to_json()
    source = None
    if bundle is not None and pool is not None and pool.kind == "htcondor" and kind in ("squashfs", "pack"):
        from wingspan.pools.bundle_source import source_of_bundle
        from wingspan.stores import Route

        placed = source_of_bundle(bundle.path, bundle.size, bundle.sha256, progress=progress)
        source = placed if placed.route is not Route.TRANSFER else None
    return bundle, {
        "workspace": environment.workspace,
        "name": environment.name,
        "platform": environment.platform.name,
        "bundle": bundle.to_json() if bundle else None,
        "kind_reason": why,
        "source": source.source if source else None,
        "source_requirements": source.requirements if source else None,
        "needs": needs,
    }


def keep_bundle(bundle: Bundle, folder: Path) -> None:
    """Link the bundle into `folder`, so that it lasts as long as the run."""
    with contextlib.suppress(OSError):
        os.link(bundle.path, folder / bundle.path.name)


def bundle_of(folder: Path, facts: dict[str, Any]) -> Bundle:
    """The bundle that the run in `folder` was made with.

    Raises:
        RunDamaged: It is gone, or another one.
    """
    from wingspan.environments.bundles import Bundle, Manifest

    known = dict(facts["bundle"])
    cached = Path(known.pop("path"))
    manifest = known.pop("manifest")
    fields = {field.name for field in attrs.fields(Bundle)} - {"sources"}
    # Its digest is checked where it is used: by the starter, before anything in it runs.
    for path in (folder / cached.name, cached):
        if path.exists() and path.stat().st_size == known["size"]:
            return Bundle(
                path=path,
                manifest=Manifest(**manifest) if manifest else None,
                **{name: value for name, value in known.items() if name in fields},
            )
    raise RunDamaged(
        f"the bundle {cached.name} is neither in {folder} nor in the cache",
        hint="wingspan env bundle builds it again from the same lock",
    )


def check_command(bundle: Bundle, programs: Sequence[str], *, name: str) -> None:
    """See that the environment has the programs, by starting it here; what was seen is remembered.

    Only a `squashfs` bundle is looked into: the others would have to be unpacked first. Where it cannot be started
    here, nothing is said: the jobs run elsewhere.

    Raises:
        CommandNotFound: It has not.
    """
    from wingspan.environments.bundles import starter_command

    if bundle.kind != "squashfs" or not programs:
        return
    key = hashlib.sha256(repr((bundle.sha256, tuple(programs), os.environ.get("PATH"))).encode()).hexdigest()[
        :32
    ]
    seen = load_settings().cache_dir / "commands" / key
    if seen.exists():
        return
    look = 'for p; do command -v "$p" >/dev/null 2>&1 || echo "wingspan-lacks:$p"; done; echo wingspan-looked'
    start = starter_command(bundle, ["sh", "-c", look, "sh", *programs], shared=True, quiet=True)
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            ["/bin/sh", str(start.executable), *start.arguments],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if "wingspan-looked" not in done.stdout:
            return
        lacking = [
            line.partition(":")[2] for line in done.stdout.splitlines() if line.startswith("wingspan-lacks:")
        ]
        if lacking:
            raise CommandNotFound(
                f"the environment {name!r} has no command {lacking[0]!r}",
                hint=f"add the package that has it (pixi add), or send it along: --input {lacking[0]} and ./{lacking[0]}",
            )
        seen.parent.mkdir(parents=True, exist_ok=True)
        seen.touch()
