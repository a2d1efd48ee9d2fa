"""From a `RunRequest` to a `Plan`: what is done before files are written and jobs are submitted."""

from __future__ import annotations

import contextlib
import shlex
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._words import notice
from wingspan.delivery.prepare import as_environment, needs_by_lock, prepare
from wingspan.jobs import Resources, with_needs
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._arguments import (
    check_output,
    check_parameters,
    check_rows,
    count,
    exit_code,
    globs_of_rows,
    job_variables,
    several,
)
from wingspan.runs._destinations import split_outputs
from wingspan.runs._errors import CommandNotFound, InvalidRun
from wingspan.runs._files import collect_inputs, not_sent, rebased
from wingspan.runs._folder import new_name
from wingspan.runs._more_memory import most_memory
from wingspan.runs._notebook import executed_here, is_notebook, notebook_request
from wingspan.runs._programs import check_command
from wingspan.runs._request import RunRequest
from wingspan.runs._spec import RunSpec, Step, check_name, relative_path, sweep_rows
from wingspan.runs._tasks import plan_task, tool_table
from wingspan.runs._units import parse_duration, parse_size

if TYPE_CHECKING:
    from wingspan.environments import Environment, LockedEnvironment, Workspace
    from wingspan.environments.bundles import Bundle
    from wingspan.pools import Pool
    from wingspan.pools.following import Earlier

__all__ = ["Plan", "plan_run", "programs_of", "with_environment"]


@attrs.frozen(kw_only=True)
class Plan:
    """A run that was planned, and is not on disk yet.

    Attributes:
        spec: The run.
        bundle: What carries its environment, or None.
        stem: The name is made up from this; None: somebody chose it.
        named: Its environment, as it was named.
        after: What must be done before its jobs begin.
        outputs_of: Names of those of them whose outputs go along.
    """

    spec: RunSpec
    bundle: Bundle | None = None
    stem: str | None = None
    named: Environment | None = None
    after: tuple[Earlier, ...] = ()
    outputs_of: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class _Origin:
    """Where a request comes from.

    Attributes:
        here: Folder that paths of the request are relative to.
        base: Folder that the job's files are relative to: the workspace's for a task.
        workspace: The workspace around it, or None.
        table: What ``[tool.wingspan]`` of its manifest says of the task, or of runs.
    """

    here: Path
    base: Path
    workspace: Workspace | None
    table: Mapping[str, Any]

    @property
    def table_folder(self) -> Path:
        """Folder that paths of `table` are relative to."""
        manifest = None if self.workspace is None else self.workspace.manifest_path
        return self.base if manifest is None else manifest.parent


@attrs.frozen(kw_only=True)
class _Work:
    """What the jobs execute.

    Attributes:
        steps: Commands, in order.
        globs: Inputs of tasks, each with what other tasks of the job write before.
        outputs: What comes back, of the request or the manifest and of the tasks.
        destinations: Where outputs go that do not come back.
        environment: The one that it is executed in, or None.
        parameters, rows: The sweep.
    """

    steps: tuple[Step, ...]
    globs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    outputs: Sequence[str]
    destinations: Mapping[str, str]
    environment: str | Environment | None
    parameters: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


def plan_run(
    request: RunRequest,
    *,
    build: bool = True,
    pool: Pool | None = None,
    look: Callable[[RunSpec], None] | None = None,
    progress: Progress = NO_PROGRESS,
) -> Plan:
    """Make the plan of a run.

    Args:
        request: What is asked for.
        build: Build the environment's bundle; without, it lies in a container image already.
        pool: A site's: it is asked what its machines offer where nobody names the kind of bundle.
        look: Gets a run that asks for GPUs before its bundle is built.
        progress: Hears of the environment being built.

    Raises:
        InvalidRun, InputMissing, CommandNotFound, UnknownTask: As `wingspan.run`.
        EnvironmentError_: The environment cannot be read, or cannot be carried.
    """
    notebook = is_notebook(request)
    if notebook:
        request = notebook_request(request)
    origin = _origin(request)
    work = _work(request, origin)
    if notebook and work.environment is None and pool is None:  # a site's machines have another Python
        work = attrs.evolve(work, steps=executed_here(work.steps))
    _check_sweep(request, origin, work)
    spec = _spec(request, origin, work)
    _check_programs(spec)
    stem = None if request.name is not None else _name_stem(request, work)
    if work.environment is not None:
        named = _named_environment(request, work.environment, origin.base)
        return with_environment(
            Plan(spec=spec, stem=stem), named, build=build, pool=pool, look=look, progress=progress
        )
    if request.inject:
        raise InvalidRun(
            f"{request.inject[0]} goes into an environment, and none is named", hint="--env NAME"
        )
    if request.kind is not None:
        raise InvalidRun(
            f"kind = {request.kind!r} says how an environment travels, and none is named", hint="--env NAME"
        )
    return Plan(spec=spec, stem=stem)


def _origin(request: RunRequest) -> _Origin:
    """Find the workspace of a request; a command needs none.

    Raises:
        InvalidRun: There is no command.
        ManifestNotFound: There is no workspace, and the request names a task or an environment.
    """
    here = Path(request.workspace).absolute()
    if request.task is None and not list(request.command):
        raise InvalidRun("no command was given", hint="wingspan run TASK, or wingspan run -- COMMAND…")
    from wingspan.environments import Workspace
    from wingspan.environments.errors import ManifestNotFound

    workspace = None
    named = getattr(request.environment, "workspace", None)  # of an Environment; a name has none
    try:
        with _command_meant(request.task):
            workspace = Workspace.open(here if named is None else named)
    except ManifestNotFound:
        if request.task is not None or request.environment is not None:
            raise
    return _Origin(
        here=here,
        base=here if request.task is None or workspace is None else workspace.root,
        workspace=workspace,
        table=tool_table(None if workspace is None else workspace.manifest_path, request.task),
    )


def _work(request: RunRequest, origin: _Origin) -> _Work:
    """What the jobs execute: the steps of the task, or the command."""
    environment = request.environment if request.environment is not None else origin.table.get("env")
    file = None if request.sweep_file is None else Path(request.sweep_file)
    parameters, rows = sweep_rows(request.sweep, file)
    outputs = request.outputs or several(origin.table.get("outputs", ()))
    elsewhere = request.output_destination or origin.table.get("output_destination")
    outputs, destinations = split_outputs(outputs, elsewhere)
    task, workspace = request.task, origin.workspace
    if task is None:
        words = tuple(map(str, [*request.command, *request.arguments]))
        return _Work(
            steps=(Step(words=words),),
            outputs=outputs,
            destinations=destinations,
            environment=environment,
            parameters=parameters,
            rows=rows,
        )
    assert workspace is not None
    named = environment if isinstance(environment, str) else getattr(environment, "name", None)
    with _command_meant(task):
        inside = named or workspace.task(task).default_environment or "default"
        workspace.task(task, inside)
    plan = plan_task(workspace, task, inside, request.arguments, parameters, rows)
    return _Work(
        steps=plan.steps,
        globs=globs_of_rows(plan.inputs, parameters, rows),
        outputs=[*dict.fromkeys([*outputs, *plan.outputs])],
        destinations=split_outputs([*plan.outputs], elsewhere)[1] | destinations,
        environment=environment if environment is not None else inside,
        parameters=parameters,
        rows=rows,
    )


def _check_sweep(request: RunRequest, origin: _Origin, work: _Work) -> None:
    """See that the sweep's parameters are used, and that their values lead no path out of the job's folder.

    Raises:
        InvalidSweep, InvalidRun: One is not; one does.
    """
    sends = bool(request.inputs or work.globs or origin.table.get("inputs")) or work.environment is not None
    unnamed = check_parameters(
        work.steps, work.parameters, of_file=request.sweep_file is not None, sends=sends
    )
    for parameter in unnamed:
        notice(
            f"no command names the parameter {parameter!r}: its value is in the environment variable {parameter} only"
        )
    check_rows([*work.outputs, *request.checkpoint], work.parameters, work.rows)


def _spec(request: RunRequest, origin: _Origin, work: _Work) -> RunSpec:
    """The run, but for what its environment adds."""
    table, base = origin.table, origin.base
    places, urls = collect_inputs(
        [
            *(rebased(one, origin.here, base) for one in request.inputs),
            *(rebased(one, origin.table_folder, base) for one in several(table.get("inputs", ()))),
        ],
        work.globs,
        base,
        later=bool(request.after),
    )
    resources = _resources(request, table)
    checkpoints = tuple(
        relative_path(path, "checkpoint")
        for path in (request.checkpoint or several(table.get("checkpoint", ())))
    )
    profile = request.profile if request.profile is not None else table.get("profile")
    switches = request.switches or tuple(several(table.get("switches", ())))
    _check_profile(profile, switches, resources, checkpoints=bool(checkpoints))
    told = _forgotten(work, base, [place for _, place in places])
    return RunSpec(
        name=check_name(request.name) if request.name is not None else new_name(_name_stem(request, work)),
        base=base,
        steps=work.steps,
        inputs=places,
        urls=urls,
        outputs=tuple(check_output(path) for path in dict.fromkeys(work.outputs)),
        destinations={check_output(path): url for path, url in work.destinations.items()},
        parameters=work.parameters,
        rows=work.rows,
        resources=resources,
        checkpoint=checkpoints,
        checkpoint_exit_code=exit_code(request.checkpoint_exit_code),
        variables=job_variables(request.variables, work.parameters),
        profile=profile,
        switches=switches,
        preflight=request.preflight,
        builds=request.builds,
        warnings=told,
    )


def _resources(request: RunRequest, table: Mapping[str, Any]) -> Resources:
    """What each job gets: what was said, else what the manifest says."""

    def said(what: str) -> Any:
        given = getattr(request, what)
        return given if given is not None else table.get(what.replace("_", "-"))

    memory = parse_size(said("memory"), "memory")
    return Resources(
        cpus=count("cpus", request.cpus, table, 1, least=1),
        memory=memory,
        retry_memory=most_memory(said("retry_memory"), memory),
        disk=parse_size(said("disk"), "disk"),
        gpus=count("gpus", request.gpus, table, 0, least=0),
        gpus_minimum_memory=parse_size(request.gpu_memory, "gpu_memory"),
        time_limit=parse_duration(said("time")),
    )


def _check_profile(
    profile: str | None, switches: Sequence[str], resources: Resources, *, checkpoints: bool
) -> None:
    """See that the site allows what is asked for.

    Raises:
        InvalidRun: There is a switch, and no site.
        SettingsError: There is no such profile, or it does not allow that.
    """
    if profile is None and not switches:
        return
    from wingspan.pools.profiles import chosen_profile

    found = chosen_profile(profile)
    if profile is None and found.name == "generic":
        raise InvalidRun(
            f"the switch {switches[0]!r} is one of a site's profile, and none is named",
            hint=f"--profile chtc --switch {switches[0]}",
        )
    found.check(resources, switches, checkpoints=checkpoints)


def _forgotten(work: _Work, base: Path, places: Sequence[str]) -> tuple[str, ...]:
    """A warning for each file that a command names and that does not go along."""
    words = [word for step in work.steps for word in _words(step)]
    made = [*work.outputs, *(one for _, patterns in work.globs for one in patterns)]
    return tuple(
        f"{one} is here and does not go along; --input {one} sends it"
        for one in not_sent(words, base, places, made)
    )


def _named_environment(request: RunRequest, given: str | Environment, base: Path) -> Environment:
    """The environment as it is to travel."""
    named = as_environment(given, base)
    if request.kind is not None:
        named = attrs.evolve(named, kind=request.kind)
    if request.inject:
        wheels = (Path(request.workspace).absolute() / wheel for wheel in request.inject)
        named = attrs.evolve(named, inject=(*named.inject, *wheels))
    return attrs.evolve(named, frozen=True) if request.frozen else named


def with_environment(
    plan: Plan,
    named: Environment,
    *,
    build: bool = True,
    pool: Pool | None,
    look: Callable[[RunSpec], None] | None = None,
    progress: Progress = NO_PROGRESS,
) -> Plan:
    """The plan with its bundle, with what the bundle needs of a machine, and with warnings about it."""
    spec = plan.spec
    resources = spec.resources

    def look_at(locked: LockedEnvironment) -> None:
        assert look is not None
        needs = needs_by_lock(locked, gpus=True)
        look(attrs.evolve(spec, resources=with_needs(resources, needs)))

    bundle, delivery = prepare(
        named,
        gpus=resources.gpus > 0,
        build=build,
        pool=pool,
        look=look_at if look is not None and resources.gpus else None,
        progress=progress,
    )
    if bundle is not None:
        check_command(bundle, programs_of(spec), named, gpus=resources.gpus > 0)
    needs_memory = pool is not None and not pool.shares_files
    spec = attrs.evolve(
        spec,
        environment=delivery,
        warnings=(*spec.warnings, *delivery.warnings),
        resources=with_needs(resources, delivery.needs, memory=needs_memory),
    )
    return attrs.evolve(plan, spec=spec, bundle=bundle, named=named)


@contextlib.contextmanager
def _command_meant(task: str | None) -> Iterator[None]:
    """Where there is no such task, but a program of that name: say how a command is given."""
    from wingspan.environments.errors import ManifestNotFound, UnknownTask

    try:
        yield
    except (ManifestNotFound, UnknownTask) as error:
        if task is not None and (any(map(str.isspace, task)) or shutil.which(task)):
            error.hint = f"a command goes after --: wingspan run -- {task} …; in Python it is a list of words"
        raise


def _words(step: Step) -> list[str]:
    if step.line is None:
        return list(step.words)
    prefix = f"{step.cwd}/" if step.cwd else ""
    try:
        return [
            prefix + word if prefix and not word.startswith(("-", "/")) else word
            for word in shlex.split(step.line)
        ]
    except ValueError:
        return []


def _name_stem(request: RunRequest, work: _Work) -> str:
    """What a name is made up from: the task, or the command."""
    return request.task or _stem(work.steps[0].words) or "run"


def _stem(words: Sequence[str]) -> str:
    """A name from a command: the script, if it is one of an interpreter.

    >>> _stem(("python", "-u", "src/train.py", "--lr", "1")), _stem(("sh", "-c", "echo a")), _stem(("/bin/hostname",))
    ('train', 'sh', 'hostname')
    """  # noqa: W505
    for word in (
        words[1:3] if Path(words[0]).name.startswith(("python", "bash", "sh", "Rscript", "julia")) else ()
    ):
        if Path(word).suffix in (".py", ".sh", ".R", ".jl"):
            return Path(word).stem
    for word in words[:4]:
        if word.endswith(".ipynb"):
            return Path(word).stem
    return Path(words[0]).name


def programs_of(spec: RunSpec) -> list[str]:
    """First words of the commands that have to be found on the PATH."""
    found = [step.words[0] for step in spec.steps if step.words]
    for step in spec.steps:
        if step.line is not None:
            # Only a plain first word: what the shell makes of the rest is its own affair.
            first = step.line.split()[:1]
            if first and all(character.isalnum() or character in "._+-" for character in first[0]):
                found.append(first[0])
    builtins = {"cd", "echo", "exit", "export", "set", "test", "true", "false", "exec", ":", "."}
    return [
        word for word in dict.fromkeys(found) if "/" not in word and "{" not in word and word not in builtins
    ]


def _check_programs(spec: RunSpec) -> None:
    """A program that is named by a relative path must be among what is sent."""
    places = [place for _, place in spec.inputs]
    for step in spec.steps:
        word = step.words[0] if step.words else ""
        if "/" not in word or word.startswith("/") or "{" in word:
            continue
        prefix = f"{step.cwd}/" if step.cwd else ""
        plain = relative_path(prefix + word, "program")
        if not any(plain == place or plain.startswith(f"{place}/") for place in places):
            raise CommandNotFound(f"{word} does not go along with the job", hint=f"--input {plain} sends it")
