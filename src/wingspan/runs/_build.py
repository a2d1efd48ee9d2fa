"""Build an environment's bundle in a job: for access points where nobody builds, and for large machines."""

from __future__ import annotations

import contextlib
import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan import pools
from wingspan._python import this_python
from wingspan._words import going_on
from wingspan.delivery.publishing import publish_bundle
from wingspan.environments.bundles.in_job import FOLDER, PUBLISHED, Heard
from wingspan.pools import Pool, choose_pool
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._api import start
from wingspan.runs._errors import RunError, RunFailed, RunNotFound
from wingspan.runs._find import load_run
from wingspan.runs._request import RunRequest
from wingspan.settings import load_settings
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.environments import LockedEnvironment
    from wingspan.environments.bundles import Bundle
    from wingspan.runs._run import Run
    from wingspan.stores import Store

__all__ = ["build_in_job"]

#: Memory of a build job, and disk beside so many times the bytes of its packages.
_MEMORY, _DISK, _TIMES = "2GB", 2 << 30, 6
#: On a machine that does not see this one's files: unpack the tools, and start them with a Python of our
#: version.
_UNPACK = (
    'tar xf "$1"; shift; PYTHONPATH="$PWD/tools/site"; PATH="$PWD/tools/bin:$PATH"; export PYTHONPATH PATH; '
    'exec sh ./launcher.sh "$@"'
)


class _NotBuilt(Exception):
    """It was not built before."""


def build_in_job(
    env: LockedEnvironment,
    kind: str,
    *,
    pool: str | Pool | None = None,
    directory: Path | None = None,
    executable: bool = False,
    to: Store | None = None,
    progress: Progress = NO_PROGRESS,
) -> Bundle:
    """Build the bundle of `env` in a job, and put it into the cache here as if it had been built here.

    A bundle that was built before is the answer at once. Where such a job is in the queue already, it is the
    one that is waited for: after Ctrl-C the same call comes back to it.

    Args:
        env, kind, directory, executable: As for `wingspan.environments.bundles.build_bundle`.
        pool: Where the job runs; None: chosen as for a run.
        to: A store that the job itself puts the bundle into, under the name that it has there for good. A
            bundle that was built before is published from here.
        progress: Hears how far the job is.

    Raises:
        RunFailed: The build failed, or its job is held; the message has the reason.
        BundleDamaged: What came back is not the bundle of this environment.
        Others as `wingspan.run`.
    """
    from wingspan.environments.bundles import build_bundle

    def refuse() -> None:
        raise _NotBuilt

    name = _name_of(env, f"{kind}-executable" if executable else kind)
    run = _going_on(name)
    if run is None:
        with contextlib.suppress(_NotBuilt):
            found = build_bundle(
                env, kind, directory=directory, executable=executable, before=refuse, progress=progress
            )
            if to is not None:
                publish_bundle(to, found.path, digest=found.sha256, progress=progress)
            return found
    text = (
        f"Interrupted: the build job {name!r} goes on by itself, if it was submitted. The same command comes back to it, "
        f"wingspan rm {name} ends it."
    )
    with going_on(text):
        run = run or _new_run(name, env, kind, pool, executable, to, progress)
        _wait(run, progress)
    files = [path for name, path in run.outputs(0).items() if not name.endswith(".sha256")]
    made = max(files, key=lambda path: path.stat().st_size)
    bundle = build_bundle(
        env, kind, directory=directory, executable=executable, made_elsewhere=made, progress=progress
    )
    if to is not None and run.spec.destinations.get(PUBLISHED) != _address(to):
        # The job was begun without this store, and has not sent it there.
        publish_bundle(to, bundle.path, digest=bundle.sha256, progress=progress)
    run.remove()
    return bundle


def _name_of(env: LockedEnvironment, kind: str) -> str:
    """Name of the build job: the same for the same lock, environment and kind."""
    from wingspan.environments.bundles.manifest import bundle_name

    content = hashlib.sha256(env.lock_path.read_bytes() + f"{env.name} {env.platform} {kind}".encode())
    return f"build-{bundle_name(env)[:60]}-{kind}-{content.hexdigest()[:8]}"


def _going_on(name: str) -> Run | None:
    """The build job of that name, if there is one that has not failed."""
    with contextlib.suppress(RunNotFound):
        found = load_run(name)
        if not found.status().is_done or found.status().state == "completed":
            return found
        found.remove()
    return None


def _new_run(
    name: str,
    env: LockedEnvironment,
    kind: str,
    pool: str | Pool | None,
    executable: bool,
    to: Store | None,
    progress: Progress,
) -> Run:
    """Submit a build job."""
    from wingspan.environments.bundles.own.split import without_own

    plain = without_own(env)
    chosen = choose_pool(pool, progress).pool if pool is None or isinstance(pool, str) else pool
    with _workspace(env) as folder:
        manifest = env.manifest_path or env.lock_path
        words = [
            "-m",
            "wingspan.environments.bundles.in_job",
            f"workspace/{manifest.name}",
            env.name,
            str(env.platform.name),
            kind,
            *(["executable"] if executable else []),
            *([PUBLISHED] if to is not None else []),
        ]
        inputs: list[str] = ["workspace"]
        if chosen.shares_files:
            command = [this_python(), *words]
        else:
            from wingspan.delivery.toolkit import toolkit

            progress_task = progress.start("Packing what builds")
            tools = toolkit()
            progress.finish(progress_task)
            launcher = Path(pools.__file__).with_name("launcher.sh")
            inputs += [str(tools), str(launcher)]
            version = f"{sys.version_info[0]}.{sys.version_info[1]}"
            words.append(f"python={version}")
            command = ["sh", "-c", _UNPACK, "sh", tools.name, version, this_python(), *words]
        # Where the job sees this cache, it finds packages in it that were fetched before.
        cache = {"WINGSPAN_CACHE_DIR": str(load_settings().cache_dir)} if chosen.shares_files else {}
        request = RunRequest(
            command=command,
            inputs=inputs,
            outputs=[FOLDER, *([f"{PUBLISHED}={_address(to)}"] if to is not None else [])],
            name=name,
            memory=_MEMORY,
            disk=f"{(_DISK + _TIMES * plain.download_bytes) >> 20}MB",
            variables=cache,
            workspace=folder,
            builds=True,
        )
        return start(request, pool=chosen, progress=progress)


def _address(store: Store) -> str:
    """The store, as jobs write to it."""
    return store.job_url if "://" in store.job_url else Path(store.job_url).absolute().as_uri()


@contextlib.contextmanager
def _workspace(env: LockedEnvironment) -> Iterator[Path]:
    """A folder with ``workspace`` in it: what a build reads of the real one."""
    root = env.lock_path.parent
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder, "workspace")
        paths = [env.lock_path, *([env.manifest_path] if env.manifest_path else [])]
        for path in [*paths, *_scripts(env), *_local_wheels(env)]:
            if path.is_relative_to(root) and path.is_file():
                place = target / path.relative_to(root)
                place.parent.mkdir(parents=True, exist_ok=True)
                trust.copy_file(str(path), str(place))
        yield Path(folder)


def _scripts(env: LockedEnvironment) -> list[Path]:
    """The workspace's scripts of activation."""
    from wingspan.environments.activation import carried_activation

    if env.manifest_path is None:
        return []
    return [env.manifest_path.parent / name for name in carried_activation(env).scripts]


def _local_wheels(env: LockedEnvironment) -> list[Path]:
    """Packages of the lock that lie in the workspace."""
    places = [package.resolve(env.lock_path.parent) for package in env.packages]
    return [Path(place) for place in places if "://" not in place]


def _wait(run: Run, progress: Progress) -> None:
    """Wait for the job, and pass on how far it is.

    Raises:
        RunFailed: It failed, or is held.
    """
    heard, position = Heard(progress), 0
    waiting: int | None = progress.start(f"Waiting for the build job {run.name}")
    try:
        while True:
            status = run.status()
            if waiting is not None and not status.counts["idle"]:
                progress.finish(waiting)
                waiting = None
            with contextlib.suppress(FileNotFoundError), run.log_path(0).open("rb") as log:
                log.seek(position)
                data = log.read()
                position += len(data)
                heard.read(data.decode("utf-8", "replace"))
            if status.is_done or status.is_stuck:
                break
            run.attend(status)
            time.sleep(0.1)
    finally:
        heard.close()
        if waiting is not None:
            progress.finish(waiting)
    try:
        run.check()
    except RunError as error:
        raise RunFailed(
            f"the build job failed: {error.message}",
            hint=f"wingspan logs {run.name} shows more; the same command tries again",
        ) from None
