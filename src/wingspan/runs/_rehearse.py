"""A run's job is executed here, as a worker would see it, and nothing is submitted."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wingspan._warn import warn
from wingspan.delivery.prepare import keep_bundle
from wingspan.pools import Pool, get_pool, site_pool
from wingspan.pools.rehearsal import (
    WAYS,
    Execution,
    Here,
    Rehearsal,
    engine_for,
    execute,
    missed,
    printed_by,
    rehearsal_folder,
)
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._errors import InvalidRun, RunWarning
from wingspan.runs._files import declared_files, keep_inputs
from wingspan.runs._folder import RunFolder
from wingspan.runs._info import RunInfo
from wingspan.runs._jobs import describe_jobs, write_script
from wingspan.runs._plan import Plan, plan_run
from wingspan.runs._request import RunRequest
from wingspan.runs._spec import RunSpec
from wingspan.runs._status import outcome_of
from wingspan.worker import trust

if TYPE_CHECKING:
    from wingspan.jobs import JobDescription

__all__ = ["rehearse"]


def rehearse(
    request: RunRequest,
    *,
    pool: str | Pool | None = None,
    row: int = 0,
    ways: Sequence[str] = WAYS,
    printed: Callable[[bool, bytes], None] | None = None,
    progress: Progress = NO_PROGRESS,
) -> Rehearsal:
    """Execute one job of a run here, as a worker would see it. Nothing is submitted, and nothing is kept.

    Where workers see this machine's file systems (Slurm), so does the job, but for ``/tmp`` and the like.
    Otherwise, and where the pool is this machine itself, it sees the system, and what is sent.

    Args:
        request: The run.
        pool: Kind of pool that it is for; None: chosen as for a run.
        row: Which job of a sweep, numbered from 0.
        ways: How the rest of this machine may be hidden (see `wingspan.pools.rehearsal.WAYS`).
        printed: Hears what the job prints: whether to standard error, and what.
        progress: Hears of the environment being built.

    Raises:
        InvalidRun: The run contradicts itself (its subclasses say how), or has no such row.
        PoolError: An input cannot be brought to the job.
    """
    named = get_pool(pool) if isinstance(pool, str) else pool
    site = site_pool(pool) if pool is None or isinstance(pool, str) else pool
    if site is not None and site.elsewhere:
        site = None  # it would build the environment over there
    plan = plan_run(request, pool=site, progress=progress)
    if not 0 <= row < len(plan.spec.rows):
        raise InvalidRun(
            f"there is no row {row}: the sweep has {len(plan.spec.rows)}, numbered from 0",
            hint="--row 0 is the first",
        )
    for warning in plan.spec.warnings:
        warn(warning, RunWarning)
    engine = engine_for(named or site)
    with rehearsal_folder() as top:
        folder, not_checked = _write(plan, engine, top / "run", progress)
        job = describe_jobs(folder, engine, number=row)
        done = execute(
            job,
            row,
            top,
            own=() if job.transfer_files else (top,),
            ways=ways,
            again=plan.spec.checkpoint_exit_code if plan.spec.checkpoint and job.transfer_files else None,
            printed=printed,
        )
        return _told(plan, folder, job, row, done, not_checked)


def _write(plan: Plan, engine: Pool, path: Path, progress: Progress) -> tuple[RunFolder, tuple[str, ...]]:
    """The folder of the run, as its jobs find it; and what cannot be checked here."""
    spec, not_checked = plan.spec, list[str]()
    if spec.destinations:  # a rehearsal writes nothing elsewhere: they are looked for, and stay here
        named = next(iter(spec.destinations.values()))
        not_checked.append(f"whether outputs can be sent to their addresses ({named})")
        spec = attrs.evolve(spec, destinations={})
    if spec.environment is not None:  # the bundle is here: it is not fetched from where it is published
        spec = attrs.evolve(spec, environment=attrs.evolve(spec.environment, source=None))
    if spec.resources.gpus and shutil.which("nvidia-smi") is None:
        not_checked.append("the GPU, as this machine has none")
        spec = attrs.evolve(spec, preflight=False)
    if spec.environment is None:
        not_checked.append(
            "whether the workers have the programs that it calls: it had those of this machine's system, "
            "as no environment is named"
        )
    for name in ("", "logs"):
        trust.make_folder(str(path / name))
    size = keep_inputs(spec.inputs, path / "inputs", progress) if spec.inputs else None
    if plan.bundle is not None:
        keep_bundle(plan.bundle, path)
    write_script(spec, plan.bundle, engine, path, path)
    info = RunInfo(
        spec=spec, pool=engine.kind, python=sys.version.split()[0], input_bytes=size, created=time.time()
    )
    trust.write_whole(str(path / "run.json"), json.dumps(info.to_json()).encode())
    return RunFolder(path), tuple(not_checked)


def _told(
    plan: Plan,
    folder: RunFolder,
    job: JobDescription,
    row: int,
    done: Execution,
    not_checked: tuple[str, ...],
) -> Rehearsal:
    spec = plan.spec
    outputs = (done.folder if job.transfer_files else folder.path) / f"outputs-{row}"
    outcome = outcome_of(outputs)
    stdout, stderr = printed_by(done)
    resources = job.resources
    found = declared_files(outputs, spec, row) if outputs.is_dir() else {}
    return Rehearsal(
        name=spec.name if len(spec.rows) == 1 else f"{spec.name}, row {row}{_row_text(spec, row)}",
        code=done.code,
        way=done.sandbox.way,
        shared=not job.transfer_files,
        not_checked=(*not_checked, *done.sandbox.not_checked),
        missed=_missed(spec, done, stdout, stderr),
        ended=done.ended,
        outputs={name: path.stat().st_size for name, path in found.items()},
        missing=tuple(value for name, value in outcome if name == "missing"),
        left=tuple(value for name, value in outcome if name == "left"),
        stdout=stdout,
        stderr=stderr,
        wall=done.wall,
        cpu=done.cpu,
        peak_memory=done.peak_memory,
        peak_disk=done.peak_disk,
        memory=resources.memory,
        disk=resources.disk,
        time=resources.time_limit,
    )


def _missed(spec: RunSpec, done: Execution, stdout: str, stderr: str) -> tuple[str, ...]:
    texts = [stdout, stderr] if done.code else []
    if done.sandbox.way == "none":  # the command may have opened what it names, and a worker has not
        texts += [f"not found: {step.text}" for step in spec.steps]
    return missed("\n".join(texts), _here(spec, done))


def _row_text(spec: RunSpec, row: int) -> str:
    pairs = zip(spec.parameters, spec.rows[row], strict=True)
    return f" ({', '.join(f'{name}={value}' for name, value in pairs)})" if spec.parameters else ""


def _here(spec: RunSpec, done: Execution) -> Here:
    return Here(
        base=spec.base,
        home=Path(os.path.expanduser("~")),  # noqa: PTH111 - that of Path raises where there is no such user
        folder=done.sandbox.folder,
        shows=done.sandbox.shows,
        sent=frozenset(place for _, place in spec.inputs),
        how="--input {}".format,
    )
