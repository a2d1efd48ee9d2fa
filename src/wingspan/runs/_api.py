"""`run`: from what a person asks for to jobs in a queue."""

from __future__ import annotations

import functools
import inspect
import os
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, overload

import attrs

from wingspan._data_folder import find_named
from wingspan._foreign import hint_for_run_argument
from wingspan._warn import warn
from wingspan.delivery.prepare import keep_bundle
from wingspan.errors import UnknownOption
from wingspan.pools import Choice, Pool, choose_pool, get_pool, refuse_computation_here, site_pool
from wingspan.pools.following import Following, earlier_ones
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._attach import same_run
from wingspan.runs._destinations import check_destinations, refuse_without_outputs
from wingspan.runs._errors import CommandNotFound, InvalidRun, RunWarning
from wingspan.runs._files import check_input_sizes, keep_inputs
from wingspan.runs._folder import create_run_folder, name_in_use
from wingspan.runs._jobs import submit_jobs, write_script
from wingspan.runs._machines import check_machines
from wingspan.runs._more_memory import check_more_memory
from wingspan.runs._plan import Plan, plan_run, programs_of
from wingspan.runs._request import RunRequest
from wingspan.runs._run import Run
from wingspan.runs._spec import CHECKPOINT_EXIT_CODE, RunSpec
from wingspan.runs._ssh import send_run
from wingspan.settings import load_settings

if TYPE_CHECKING:
    from wingspan.environments import Environment
    from wingspan.pools.rehearsal import Rehearsal

__all__ = ["run", "start", "submit_plan"]


@overload
def run(
    command: str | Sequence[str],
    *,
    pool: str | Pool | None = None,
    progress: Progress = NO_PROGRESS,
    arguments: Sequence[str] = (),
    environment: str | Environment | None = None,
    kind: str | None = None,
    frozen: bool = False,
    inject: Iterable[str | os.PathLike[str]] = (),
    inputs: Iterable[str | os.PathLike[str]] = (),
    outputs: Iterable[str] = (),
    output_destination: str | None = None,
    name: str | None = None,
    cpus: int | None = None,
    memory: int | str | None = None,
    retry_memory: int | str | None = None,
    disk: int | str | None = None,
    time: int | str | None = None,
    gpus: int | None = None,
    gpu_memory: int | str | None = None,
    variables: Mapping[str, str] | None = None,
    sweep: Mapping[str, Sequence[object]] | None = None,
    sweep_file: str | os.PathLike[str] | None = None,
    checkpoint: Iterable[str] = (),
    checkpoint_exit_code: int = CHECKPOINT_EXIT_CODE,
    profile: str | None = None,
    switches: Iterable[str] = (),
    preflight: bool = True,
    workspace: str | os.PathLike[str] = ".",
    after: object = None,
    inputs_from: object = None,
    exist_ok: bool = False,
    rehearse: Literal[False] = False,
) -> Run: ...


@overload
def run(
    command: str | Sequence[str], *, rehearse: Literal[True], row: int = 0, **request: Any
) -> Rehearsal: ...


def run(
    command: str | Sequence[str],
    *,
    pool: str | Pool | None = None,
    progress: Progress = NO_PROGRESS,
    arguments: Sequence[str] = (),
    environment: str | Environment | None = None,
    kind: str | None = None,
    frozen: bool = False,
    inject: Iterable[str | os.PathLike[str]] = (),
    inputs: Iterable[str | os.PathLike[str]] = (),
    outputs: Iterable[str] = (),
    output_destination: str | None = None,
    name: str | None = None,
    cpus: int | None = None,
    memory: int | str | None = None,
    retry_memory: int | str | None = None,
    disk: int | str | None = None,
    time: int | str | None = None,
    gpus: int | None = None,
    gpu_memory: int | str | None = None,
    variables: Mapping[str, str] | None = None,
    sweep: Mapping[str, Sequence[object]] | None = None,
    sweep_file: str | os.PathLike[str] | None = None,
    checkpoint: Iterable[str] = (),
    checkpoint_exit_code: int = CHECKPOINT_EXIT_CODE,
    profile: str | None = None,
    switches: Iterable[str] = (),
    preflight: bool = True,
    workspace: str | os.PathLike[str] = ".",
    after: object = None,
    inputs_from: object = None,
    exist_ok: bool = False,
    rehearse: bool = False,
    row: int = 0,
    **unknown: NoReturn,
) -> Run | Rehearsal:
    """Execute a command, or a Pixi task, as batch jobs; come back as soon as they are in the queue.

    Args:
        command: A list is program and arguments; a string is the name of a task of the workspace, or of a
            notebook (``.ipynb``), which papermill executes, and which comes back as ``NAME.executed.ipynb``.
        arguments: Further arguments; those of the task, if it is one.
        environment: Locked environment: its name, or a `wingspan.Environment`. None: a task's own, or none.
        kind: How it travels: ``"squashfs"``, ``"sif"``, ``"oci"``, ``"pack"`` or ``"install"``.
        frozen: Take the lock as it is, though the manifest has changed since.
        inject: Wheels of your own that go into the environment as well.
        inputs: Files, folders and URLs that go along. Relative ones keep their folders; they are copied now.
        outputs: Paths and patterns that come back. ``"model.pt=osdf:///ospool/me/model.pt"`` goes to that
            address instead, ``"*.pt=osdf:///ospool/me/"`` into that folder; ``{number}`` in it is the job's
            number, ``{lr}`` the value of a parameter.
        output_destination: Address of a folder that all outputs without an address of their own go to.
        name: The run's name; None: made up.
        cpus, gpus: Cores and GPU devices of each job.
        memory, disk, gpu_memory: ``"2GB"``; a plain number is MB.
        retry_memory: The most that is asked for, ``"16GB"``, after a job took more than `memory`: HTCondor
            does it again with twice as much each time, up to that. None: such a job is held.
        time: Longest wall time: ``"12h"``, or seconds.
        variables: Environment variables of the jobs.
        sweep: Parameters and their values: a job for each combination; ``{name}`` in the command is the
            value.
        sweep_file: A CSV file whose first line names the parameters: a job for each further line.
        checkpoint: Paths that are kept when the command exits with `checkpoint_exit_code`, which starts it
            again.
        profile, switches: Site profile, and what is turned on in it.
        preflight: Check the GPU before the command begins.
        workspace: Folder that relative paths are relative to, and in or above which the workspace is.
        after: Maps and runs, or their names: the jobs are submitted when these are done without failures,
            also after this session has ended. Inputs need not be there before, and are copied then.
        inputs_from: The same, and their outputs go along: files of a map as ``TAG/0/…``, ``TAG/1/…``, outputs
            of a run as ``NAME/…``, and of a sweep as ``NAME/0/…``.
        exist_ok: Where there is a run of this name already, of the same command and inputs, answer that one,
            with its outputs: so a script can be executed again. It keeps the resources and the pool that it
            was made with.
        rehearse: Submit nothing: execute one job here, as a worker would see it, and answer a
            `wingspan.Rehearsal`, which tells how it fared.
        row: Which job of a sweep is rehearsed, numbered from 0.
        pool: Kind of pool; None: chosen.
        progress: Hears of the environment being built.

    Raises:
        InvalidRun: What is asked for contradicts itself (its subclasses say how).
        InputMissing: An input is not there.
        CommandNotFound: The environment does not have the command.
        NoSuchMachine: No machine of the pool has what is asked for.
        RunExists: The name is in use; with `exist_ok`: by another run, and the message says in what it
            differs.
        UnknownOption: There is no argument of that name.
        UnknownTask: There is no such task.
        PoolError: The pool cannot be used.

    Warns:
        RunWarning: A file that the command names does not go along, the environment does not suit what is
            asked for, and the like.

    >>> r = run(["sh", "-c", "echo hello > greeting.txt"], outputs=["greeting.txt"], pool="local")
    >>> r.wait().state, r.outputs()["greeting.txt"].read_text()
    ('completed', 'hello\\n')
    >>> r.remove()
    """
    for word in unknown:
        raise UnknownOption(
            f"run() has no argument {word!r}",
            hint=hint_for_run_argument(word, inspect.signature(run).parameters),
        )
    request = RunRequest(
        **followed(after, inputs_from),
        command=command,
        arguments=arguments,
        environment=environment,
        kind=kind,
        frozen=frozen,
        inject=inject,
        inputs=inputs,
        outputs=outputs,
        output_destination=output_destination,
        name=name,
        cpus=cpus,
        memory=memory,
        retry_memory=retry_memory,
        disk=disk,
        time=time,
        gpus=gpus,
        gpu_memory=gpu_memory,
        variables=variables,
        sweep=sweep,
        sweep_file=sweep_file,
        checkpoint=checkpoint,
        checkpoint_exit_code=checkpoint_exit_code,
        profile=profile,
        switches=switches,
        preflight=preflight,
        workspace=workspace,
    )
    if rehearse:
        if request.after:
            raise InvalidRun("a rehearsal waits for nothing", hint="leave after and inputs_from out")
        from wingspan.runs._rehearse import rehearse as rehearse_job

        return rehearse_job(request, pool=pool, row=row, progress=progress)
    return start(request, pool=pool, progress=progress, exist_ok=exist_ok)


def followed(after: object, inputs_from: object) -> dict[str, Any]:
    """What a run follows, as fields of a `RunRequest`.

    Raises:
        SettingsError: There is no such map or run.
        InvalidRun: Outputs of a run are to go along, and none of them comes back.
    """
    if not after and not inputs_from:
        return {}
    sources = earlier_ones(inputs_from or None, find_named)
    for one in sources:
        refuse_without_outputs(one)
    earlier = dict.fromkeys((*earlier_ones(after or None, find_named), *sources))
    return {"after": tuple(earlier), "outputs_of": tuple(one.name for one in sources)}


def start(
    request: RunRequest,
    *,
    pool: str | Pool | None = None,
    progress: Progress = NO_PROGRESS,
    exist_ok: bool = False,
) -> Run:
    """Do what `run` does, for a request."""
    if exist_ok and request.name is None:
        raise InvalidRun("exist_ok takes up a run again by its name, and none is given", hint='name="train"')
    if isinstance(pool, str):
        get_pool(
            pool
        )  # an unknown name is an error before all others; the pool is started when all else is in order
    site = _pool_before_the_plan(pool)

    @functools.cache
    def choose() -> Choice:
        if pool is None or isinstance(pool, str):
            return choose_pool(pool, progress)
        refuse_computation_here(pool)
        return Choice(pool, "given")

    plan = plan_run(
        request,
        build=site is None or not site.elsewhere,
        pool=site,
        look=lambda spec: check_machines(spec, choose().pool),
        progress=progress,
    )
    plan = attrs.evolve(plan, after=request.after, outputs_of=request.outputs_of)
    if exist_ok and name_in_use(plan.spec.name) == "run":
        return same_run(plan.spec)
    choice = choose()
    note = choice.reason if choice.is_fallback else None
    for warning in (*plan.spec.warnings, *([note] if note else [])):
        # Before anything is submitted: a program that makes warnings errors wants no run then.
        warn(warning, RunWarning)
    return submit_plan(plan, choice.pool, progress, note=note)


def _pool_before_the_plan(pool: str | Pool | None) -> Pool | None:
    """The pool, as far as a plan depends on it, and as it is known without asking or starting anything."""
    if pool is not None and not isinstance(pool, str):
        return pool
    named = pool or load_settings().pool
    if named is not None and (found := get_pool(named)).elsewhere:
        return found
    return site_pool(pool)


def _with_large_inputs(spec: RunSpec, pool: Pool, progress: Progress) -> RunSpec:
    """The run, with inputs that are too large for the access point in the configured store."""
    from wingspan.delivery.large_inputs import place_large

    inputs, placed = [], list(spec.placed)
    for here, place in spec.inputs:
        found = place_large(here, pool, spec.profile, progress)
        if found is None:
            inputs.append((here, place))
        else:
            placed.append((found.url, place, found.size))
    return attrs.evolve(spec, inputs=tuple(inputs), placed=tuple(placed))


def submit_plan(plan: Plan, pool: Pool, progress: Progress = NO_PROGRESS, note: str | None = None) -> Run:
    """Write the run's folder and submit its jobs. If they are refused, nothing is left."""
    if pool.elsewhere:
        if plan.after:
            raise InvalidRun(
                f"a run of the pool {pool.kind} is submitted on another machine, where nobody sees what it follows",
                hint="make it there, or once the others are done",
            )
        return send_run(plan, pool, progress)
    spec = _fitting(plan, pool, progress)
    if note:
        spec = attrs.evolve(spec, warnings=(*spec.warnings, note))
    input_bytes: int | None = None

    def fill(now: Path, later: Path) -> int | None:
        nonlocal input_bytes
        if plan.after:
            Following.write(now, plan.after, plan.outputs_of)
        elif spec.inputs and input_bytes is None:  # called again where the name was taken meanwhile
            input_bytes = keep_inputs(spec.inputs, now / "inputs", progress, spec.profile)
        if plan.bundle is not None:
            keep_bundle(plan.bundle, now)
        write_script(attrs.evolve(spec, name=later.name), plan.bundle, pool, now, later)
        return input_bytes

    made = Run(create_run_folder(spec, pool.kind, fill, stem=plan.stem))
    try:
        if (following := Following.of(made.path)) is not None:
            following.carry(pool)
            return made
        submit_jobs(made._folder, pool)
    except BaseException:
        made.remove(force=True)
        raise
    pool.reschedule()
    return made


def _fitting(plan: Plan, pool: Pool, progress: Progress) -> RunSpec:
    """What the pool and its site make of a plan, once both were asked whether they can do it."""
    spec = plan.spec
    if spec.environment is None and pool.shares_files:
        for program in programs_of(spec):
            if shutil.which(program) is None:
                raise CommandNotFound(
                    f"this machine has no command {program!r}",
                    hint="name its environment: --env NAME, or send it along: --input",
                )
    if spec.urls and not pool.fetches_urls:
        raise InvalidRun(
            f"the input {spec.urls[0]} is a URL, which only HTCondor fetches",
            hint="download it and give the file",
        )
    if pool.follows_site and not pool.renders_profile:
        from wingspan.pools.profiles import chosen_profile

        found = chosen_profile(spec.profile)
        found.check(spec.resources, spec.switches, checkpoints=bool(spec.checkpoint))
        found.check_folder(load_settings().data_dir)
        found.check_accounting(found.submit_of(spec.resources, spec.switches), {})
        if not plan.after:
            spec = _with_large_inputs(spec, pool, progress)
            check_input_sizes(spec, found)
        spec = attrs.evolve(spec, profile=spec.profile or found.name)
    if spec.profile is not None or pool.follows_site:
        from wingspan.pools.profiles import check_room

        check_room(pool, spec.profile, len(spec.rows), "the run")
    check_more_memory(spec, pool)
    check_machines(spec, pool)
    check_destinations(spec, pool)
    return spec
