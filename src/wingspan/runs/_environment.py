"""A run's locked environment: its bundle, what it needs of a machine, and whether it has the command at all."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.errors import SettingsError
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._errors import CommandNotFound, RunDamaged
from wingspan.settings import load_settings, private_folder
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.environments import Environment
    from wingspan.environments.bundles import Bundle
    from wingspan.pools import Pool

__all__ = ["as_environment", "bundle_of", "check_command", "keep_bundle", "prepare"]


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
    look: Callable[[dict[str, Any]], None] | None = None,
    progress: Progress = NO_PROGRESS,
) -> tuple[Bundle | None, dict[str, Any]]:
    """Build (or find) the bundle, and what ``run.json`` says of it. Without `build` there is none, only what is needed.

    `look` gets what the lock alone says of the needs, before anything is built. The kind that nobody names is the one that suits the
    machines of `pool`, a site's.

    Raises:
        EnvironmentError_: The environment cannot be read, or cannot be carried.
        UnknownKind: There is no such kind of bundle.
    """
    from wingspan.delivery.bundle_source import build_here, choose_kind, find_source, machine_requirement
    from wingspan.environments import derive_needs

    environment = named.load(gpus=gpus)
    if look is not None:
        look(derive_needs(environment, gpus=gpus, caches=(), installed=False).to_json())
    kind, why = choose_kind(named.kind, pool, environment.download_bytes)
    machines = machine_requirement(environment.platform.subdir, pool)
    bundle = None
    if build:
        bundle = build_here(environment, kind, executable=kind == "pack", progress=progress)
    manifest = bundle.manifest if bundle else None
    measured = manifest.installed_bytes if manifest else None
    needs: dict[str, Any]
    if gpus or manifest is None or measured is None:
        needs = derive_needs(environment, gpus=gpus, measured=measured).to_json()
    else:  # what was written down when the bundle was built will do
        needs = {**manifest.needs, "installed_bytes": measured}
    source = find_source(bundle, pool, progress=progress) if bundle is not None else {}
    return bundle, {
        "workspace": environment.workspace,
        "name": environment.name,
        "platform": environment.platform.name,
        "bundle": bundle.to_json() if bundle else None,
        "kind_reason": why,
        **source,
        "machine_requirements": machines,
        "needs": needs,
    }


def keep_bundle(bundle: Bundle, folder: Path) -> None:
    """Link the bundle into `folder`, so that it lasts as long as the run."""
    from wingspan.environments.bundles.checked import link_bundle

    with contextlib.suppress(OSError):
        link_bundle(bundle.path, folder / bundle.path.name, bundle.sha256)


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


def check_command(bundle: Bundle, programs: Sequence[str], named: Environment, *, gpus: bool = False) -> None:
    """See that the environment has the programs; what was seen is remembered.

    A `squashfs` bundle is started here. The others would have to be unpacked first: the lists of their packages are read instead.
    Where neither is possible here, nothing is said: the jobs run elsewhere.

    Raises:
        CommandNotFound: It has not.
    """
    from wingspan.environments.bundles import starter_command

    if not programs:
        return
    name = named.name
    key = hashlib.sha256(repr((bundle.sha256, tuple(programs), os.environ.get("PATH"))).encode()).hexdigest()[
        :32
    ]
    seen = load_settings().cache_dir / "commands" / key
    if seen.exists():
        return
    look = 'for p; do command -v "$p" >/dev/null 2>&1 || echo "wingspan-lacks:$p"; done; echo wingspan-looked'
    words, had = ["sh", "-c", look, "sh", *programs], frozenset[str]()
    if bundle.kind != "squashfs":
        from wingspan.environments.commands import programs_of

        found = programs_of(named.load(gpus=gpus))
        if found is None:
            return
        had = found  # and what any machine has, as this one: the shell's own words, and its programs
    else:
        start = starter_command(bundle, words, shared=True, quiet=True)
        words = ["/bin/sh", str(start.executable), *start.arguments]
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        done = subprocess.run(
            words,
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
        lacking = [program for program in lacking if program not in had]
        if lacking:
            raise CommandNotFound(
                f"the environment {name!r} has no command {lacking[0]!r}",
                hint=f"add the package that has it (pixi add), or send it along: --input {lacking[0]} and ./{lacking[0]}",
            )
        private_folder(load_settings().cache_dir, "commands")
        trust.write_whole(str(seen), b"")
