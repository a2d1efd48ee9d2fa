"""From a run to the jobs that execute it: script and `JobDescription`."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wingspan.delivery.carriage import OWN_DISK, Carriage, carriage_to
from wingspan.jobs import JobDescription, Resources, all_of
from wingspan.pools.following import Following
from wingspan.runs._asks import asked_by, noted
from wingspan.runs._destinations import plugin_requirement, transfer_remaps
from wingspan.runs._errors import InputMissing, RunDamaged, RunError
from wingspan.runs._files import keep_inputs, url_bytes
from wingspan.runs._gather import CHECKPOINT_FOLDER
from wingspan.runs._script import job_script
from wingspan.runs._spec import RunSpec
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.environments.bundles import Bundle
    from wingspan.pools import Pool
    from wingspan.runs._folder import RunFolder

__all__ = [
    "bundle_of",
    "checkpoint_commands",
    "describe_jobs",
    "submit_jobs",
    "take_inputs",
    "write_script",
]


def bundle_of(folder: RunFolder) -> Bundle | None:
    """The bundle that the run was made with; None: it has no locked environment.

    Raises:
        RunDamaged: It is gone, or another one.
    """
    delivery = folder.spec.environment
    return delivery.locate(folder.path, RunDamaged, f"the run {folder.spec.name!r}") if delivery else None


def write_script(spec: RunSpec, bundle: Bundle | None, pool: Pool, now: Path, later: Path) -> None:
    """Write ``job.sh`` into the folder `now`, which will be `later`."""
    if bundle is not None and (now / bundle.path.name).exists():
        # They last as long as the run.
        layers = tuple(attrs.evolve(one, path=later / one.path.name) for one in bundle.layers)
        bundle = attrs.evolve(bundle, path=later / bundle.path.name, layers=layers)
    words = carriage_to(pool, bundle).words if bundle is not None else ()
    shared = None if pool.moves_files else str(later)
    # Without an environment programs were looked for here, and here is where the jobs run: they find the same
    # ones.
    path = os.environ.get("PATH") if bundle is None and pool.shares_files else None
    script = now / "job.sh"
    text = job_script(spec, words, shared=shared, path=path)
    trust.write_whole(str(script), text.encode(), mode=trust.PROGRAM)


#: How a job's script names the inputs that it copies; the second, up to version 0.1.
_COPIES = ('"$wingspan_folder/inputs', '"$folder/inputs')


def take_inputs(folder: RunFolder, *, shared: bool) -> int:
    """Copy the run's inputs once more, as the files are now.

    Nothing uses the copies before jobs are submitted with them.

    Args:
        folder: The run's.
        shared: The jobs' script copies the inputs: it gets a version of its own.

    Returns:
        The number of this version.

    Raises:
        InputMissing: One is not there any more.
    """
    if folder.spec.placed:
        raise RunError(
            f"{folder.spec.placed[0][1]}, an input of {folder.spec.name}, lies in a store as it was",
            hint="make a new run, which takes it anew; rerun without --with-current-inputs uses it as it was",
        )
    if not folder.spec.inputs:
        return 0
    temporary = folder.path / f".new-inputs-{os.getpid()}-{os.urandom(4).hex()}"
    try:
        for here, _ in folder.spec.inputs:
            if not here.exists():
                raise InputMissing(
                    f"the input {here} of {folder.spec.name} is not there any more",
                    hint="bring it back, or do it again with the inputs as they were",
                )
        keep_inputs(folder.spec.inputs, temporary, profile=folder.spec.profile)
        following = Following.of(folder.path)
        for name in following.outputs_of if following else ():  # they stay as they were
            shutil.copytree(folder.inputs(0) / name, temporary / name)
        while True:
            version = folder.newest_inputs() + 1
            if shared:
                text = folder.script(0).read_text(encoding="utf-8")
                copies = next((line for line in _COPIES if line in text), None)
                if copies is None:
                    raise RunError(
                        f"the script of {folder.spec.name} is of an older Wingspan, whose jobs cannot take new inputs",
                        hint="make a new run",
                    )
                text = text.replace(copies, f"{copies}-{version}")
                trust.write_whole(str(folder.script(version)), text.encode(), trust.PROGRAM)
            try:
                temporary.rename(folder.inputs(version))
            except OSError as error:
                if error.errno not in (errno.EEXIST, errno.ENOTEMPTY):
                    raise
                continue  # another process has taken them at the same moment
            return version
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


#: What the scheduler keeps with the jobs, before the number of the first one, how many they are, and which
#: inputs they have.
JOB_NOTE = "wingspan job "


def submit_jobs(
    folder: RunFolder, pool: Pool, inputs: int = 0, asks: Mapping[str, int] | None = None
) -> None:
    """Submit all jobs of the run, in as few submissions as the pool takes, and write down each. The arguments
    are those of `describe_jobs`.

    Raises:
        PoolError: One was refused; those before it are in the queue.
    """
    from wingspan.pools.profiles import submittable

    count = len(folder.spec.rows)
    _, most = submittable(pool, folder.spec.profile, count)
    for first in range(0, count, most):
        some = min(most, count - first)
        job = attrs.evolve(
            describe_jobs(folder, pool, inputs=inputs, asks=asks),
            first=first,
            count=some,
            note=f"{JOB_NOTE}{first} {some} {inputs}{noted(asks)}",
        )
        folder.submissions.add(pool.submit(job), first=first, inputs=inputs, needs=asks)


def checkpoint_commands(spec: RunSpec) -> dict[str, str]:
    """The submit commands of jobs that write checkpoints and go on from them."""
    if not spec.checkpoint:
        return {}
    return {
        "checkpoint_exit_code": str(spec.checkpoint_exit_code),
        "transfer_checkpoint_files": CHECKPOINT_FOLDER,
    }


def describe_jobs(
    folder: RunFolder,
    pool: Pool,
    number: int | None = None,
    inputs: int = 0,
    asks: Mapping[str, int] | None = None,
) -> JobDescription:
    """All jobs of the run, or the one with `number`.

    Args:
        folder: The run's.
        pool: Where.
        number: Which; None: all.
        inputs: Which inputs (`RunFolder.inputs`).
        asks: What they ask for instead of what the run was made with (`read_asks`).
    """
    spec, path = asked_by(folder.spec, asks), folder.path
    gpus = (str(spec.resources.gpus),) if spec.resources.gpus != folder.spec.resources.gpus else ()
    moves = pool.moves_files
    which, count = ("$(Process)", len(spec.rows)) if number is None else (str(number), 1)
    bundle = bundle_of(folder)
    carriage = carriage_to(pool, bundle, spec.environment) if bundle is not None else None
    sending = plugin_requirement(spec.destinations.values()) if moves else None
    job = JobDescription(
        name=spec.name,
        executable=str(folder.script(0 if moves else inputs)),
        transfer_executable=moves,
        arguments=(which, *gpus),
        count=count,
        input_files=_files_sent(folder, inputs) if moves else (),
        output_files=(f"outputs-{which}",) if moves else None,
        working_dir=path,
        stdout=str(path / "logs" / f"{which}.out"),
        stderr=str(path / "logs" / f"{which}.err"),
        log=str(path / "events.log"),
        resources=_with_disk(spec.resources, carriage, folder, pool),
        requirements=all_of(*(carriage.requirements if carriage else ()), _mounts_wanted(spec), sending),
        transfer_files=moves,
        note=f"{JOB_NOTE}{number or 0} {count} {inputs}{noted(asks)}",
        custom={"WingspanRun": spec.name},
        profile=spec.profile,
        submit=_submit_commands(spec, number) if moves else {},
    )
    if carriage is not None:
        job = carriage.beside(job)
    if spec.profile is None or not moves:
        return job
    from wingspan.pools.profiles import load_profile

    site = load_profile(spec.profile)
    if spec.builds:
        job = attrs.evolve(
            job, custom={**site.build.attributes, **job.custom}, submit={**site.build.submit, **job.submit}
        )
    return site.apply(job, spec.switches)


def _files_sent(folder: RunFolder, inputs: int) -> tuple[str, ...]:
    """What HTCondor sends to each job. The slash means the files in the folder, not the folder itself."""
    kept = [f"{folder.inputs(inputs)}/"] if folder.spec.inputs or folder.inputs(inputs).is_dir() else []
    return (*kept, *folder.spec.urls, *(url for url, _, _ in folder.spec.placed))


def _mounts_wanted(spec: RunSpec) -> str | None:
    """Which machines have the file systems that inputs are read from."""
    urls = (*spec.urls, *(url for url, _, _ in spec.placed))
    if not urls:
        return None
    from wingspan.stores import mount_requirement

    return mount_requirement(urls)


def _submit_commands(spec: RunSpec, number: int | None) -> dict[str, str]:
    """Submit commands of HTCondor for what people see of a job, its time, where its outputs go, and its
    checkpoints.
    """
    commands = {"stream_output": "true", "stream_error": "true"}
    if spec.resources.time_limit:
        commands["allowed_execute_duration"] = str(spec.resources.time_limit)
    if remaps := transfer_remaps(spec, number):
        commands["transfer_output_remaps"] = remaps
    return commands | checkpoint_commands(spec)


def _with_disk(resources: Resources, carriage: Carriage | None, folder: RunFolder, pool: Pool) -> Resources:
    inputs = _input_bytes(folder) + url_bytes(folder.spec.urls)
    inputs += sum(size for _, _, size in folder.spec.placed)
    if resources.disk is not None or pool.shares_files or (carriage is None and not inputs):
        return resources
    return attrs.evolve(resources, disk=(carriage.disk if carriage else 0) + inputs + OWN_DISK)


def _input_bytes(folder: RunFolder) -> int:
    """Bytes of the inputs; those of a run that follows others were taken after it was made."""
    known = folder.info.input_bytes
    if known is not None or not folder.inputs(0).is_dir():
        return known or 0
    return sum(path.lstat().st_size for path in folder.inputs(0).rglob("*"))
