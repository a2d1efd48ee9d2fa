"""`run`: from what a person asks for to jobs in a queue."""

from __future__ import annotations

import contextlib
import functools
import inspect
import os
import shlex
import shutil
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

import attrs

from wingspan._foreign import hint_for_run_argument
from wingspan._words import notice
from wingspan.errors import UnknownOption
from wingspan.jobs import Resources, with_needs
from wingspan.pools import Choice, Pool, choose_pool, get_pool, refuse_computation_here, site_pool
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
from wingspan.runs._attach import same_run
from wingspan.runs._environment import as_environment, check_command, keep_bundle, prepare
from wingspan.runs._errors import CommandNotFound, InvalidRun, RunWarning
from wingspan.runs._files import check_input_sizes, collect_inputs, keep_inputs, not_sent, rebased
from wingspan.runs._folder import create_run_folder, name_in_use, new_name
from wingspan.runs._jobs import moves_files, submit_jobs, write_script
from wingspan.runs._machines import check_machines
from wingspan.runs._run import Run
from wingspan.runs._spec import (
    CHECKPOINT_EXIT_CODE,
    RunSpec,
    Step,
    check_name,
    relative_path,
    sweep_rows,
)
from wingspan.runs._tasks import plan_task, tool_table
from wingspan.runs._units import parse_duration, parse_size
from wingspan.settings import load_settings

if TYPE_CHECKING:
    from wingspan.environments import Environment
    from wingspan.environments.bundles import Bundle

__all__ = ["Plan", "plan_run", "run"]


@attrs.frozen(kw_only=True)
class Plan:
    """A run that was thought through, and of which nothing is written yet.

    Attributes:
        spec: The run.
        bundle: What carries its environment, or None.
        stem: The name is made up from this; None: somebody chose it.
    """

    spec: RunSpec
    bundle: Bundle | None = None
    stem: str | None = None


def plan_run(  # noqa: PLR0912, PLR0915 - one decision after the other
    command: str | Sequence[str],
    *,
    arguments: Sequence[str] = (),
    environment: str | Environment | None = None,
    kind: str | None = None,
    frozen: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
    outputs: Iterable[str] = (),
    name: str | None = None,
    cpus: int | None = None,
    memory: int | str | None = None,
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
    build: bool = True,
    pool: Pool | None = None,
    look: Callable[[RunSpec], None] | None = None,
    progress: Progress = NO_PROGRESS,
) -> Plan:
    """Everything of `run` that comes before jobs are submitted; the arguments are those of `run`.

    Without `build` the environment's bundle is not built: it lies in a container image already. A site's `pool` is asked what its machines
    offer where nobody names the kind of bundle. `look` gets a run that asks for GPUs before its bundle is built.
    """
    base = here = Path(workspace).absolute()
    task = command if isinstance(command, str) else None
    if task is None and not list(command):
        raise InvalidRun("no command was given", hint="wingspan run TASK, or wingspan run -- COMMAND…")
    from wingspan.environments import Workspace
    from wingspan.environments.errors import ManifestNotFound

    opened = None
    named_workspace = getattr(environment, "workspace", None)  # of an Environment; a name has none
    try:
        with _command_meant(task):
            opened = Workspace.open(base if named_workspace is None else named_workspace)
    except ManifestNotFound:
        if task is not None or environment is not None:
            raise
    manifest = None if opened is None else opened.manifest_path
    table = tool_table(manifest, task)
    environment = environment if environment is not None else table.get("env")
    parameters, rows = sweep_rows(sweep, None if sweep_file is None else Path(sweep_file))
    globs: tuple[tuple[str, tuple[str, ...]], ...] = ()
    outputs, checkpoint, switches = several(outputs), several(checkpoint), several(switches)
    declared = outputs or several(table.get("outputs", ()))
    if task is not None:
        assert opened is not None
        base = opened.root
        named_environment = (
            environment if isinstance(environment, str) else getattr(environment, "name", None)
        )
        with _command_meant(task):
            inside = named_environment or opened.task(task).default_environment or "default"
            opened.task(task, inside)
        environment = environment if environment is not None else inside
        plan = plan_task(opened, task, inside, arguments, parameters, rows)
        steps, globs = plan.steps, globs_of_rows(plan.inputs, parameters, rows)
        declared = [*dict.fromkeys([*declared, *plan.outputs])]
    else:
        steps = (Step(words=tuple(map(str, [*command, *arguments]))),)
    several_inputs = several(inputs)
    unnamed = check_parameters(
        steps,
        parameters,
        of_file=sweep_file is not None,
        sends=bool(several_inputs or globs or table.get("inputs")) or environment is not None,
    )
    for parameter in unnamed:
        notice(
            f"no command names the parameter {parameter!r}: its value is in the environment variable {parameter} only"
        )
    check_rows([*declared, *checkpoint], parameters, rows)
    places, urls = collect_inputs(
        [
            *(rebased(one, here, base) for one in several_inputs),
            *(
                rebased(one, base if manifest is None else manifest.parent, base)
                for one in several(table.get("inputs", ()))
            ),
        ],
        globs,
        base,
    )
    resources = Resources(
        cpus=count("cpus", cpus, table, 1, least=1),
        memory=parse_size(memory if memory is not None else table.get("memory"), "memory"),
        disk=parse_size(disk if disk is not None else table.get("disk"), "disk"),
        gpus=count("gpus", gpus, table, 0, least=0),
        gpus_minimum_memory=parse_size(gpu_memory, "gpu_memory"),
        time_limit=parse_duration(time if time is not None else table.get("time")),
    )
    checkpoints = tuple(
        relative_path(path, "checkpoint") for path in (checkpoint or several(table.get("checkpoint", ())))
    )
    profile = profile if profile is not None else table.get("profile")
    switches = tuple(switches) or tuple(several(table.get("switches", ())))
    if profile is not None or switches:
        from wingspan.pools.profiles import find_profile, load_profile

        found = find_profile() if profile is None else load_profile(profile)
        if profile is None and found.name == "generic":
            raise InvalidRun(
                f"the switch {switches[0]!r} is one of a site's profile, and none is named",
                hint=f"--profile chtc --switch {switches[0]}",
            )
        found.check(resources, switches, checkpoints=bool(checkpoints))
    words = [word for step in steps for word in _words(step)]
    made = [*declared, *(one for _, patterns in globs for one in patterns)]
    forgotten = not_sent(words, base, [place for _, place in places], made)
    told = [f"{one} is here and does not go along; --input {one} sends it" for one in forgotten]
    stem = None if name is not None else task or _stem(steps[0].words)
    spec = RunSpec(
        name=check_name(name) if name is not None else new_name(stem or "run"),
        base=base,
        steps=steps,
        inputs=places,
        urls=urls,
        outputs=tuple(check_output(path) for path in dict.fromkeys(declared)),
        parameters=parameters,
        rows=rows,
        resources=resources,
        checkpoint=checkpoints,
        checkpoint_exit_code=exit_code(checkpoint_exit_code),
        variables=job_variables(variables, parameters),
        profile=profile,
        switches=switches,
        preflight=preflight,
        warnings=tuple(told),
    )
    _check_programs(spec)
    if environment is None:
        if kind is not None:
            raise InvalidRun(
                f"kind = {kind!r} says how an environment travels, and none is named", hint="--env NAME"
            )
        return Plan(spec=spec, stem=stem)
    named = as_environment(environment, base)
    if kind is not None:
        named = attrs.evolve(named, kind=kind)
    if frozen:
        named = attrs.evolve(named, frozen=True)

    def look_at(needs: dict[str, Any]) -> None:
        assert look is not None
        look(attrs.evolve(spec, resources=with_needs(resources, needs)))

    bundle, facts = prepare(
        named,
        gpus=resources.gpus > 0,
        build=build,
        pool=pool,
        look=look_at if look is not None and resources.gpus else None,
        progress=progress,
    )
    if bundle is not None:
        check_command(bundle, _programs(spec), named, gpus=resources.gpus > 0)
    if resources.gpus:
        spec = attrs.evolve(spec, warnings=(*spec.warnings, *facts["needs"].get("warnings", ())))
    if facts.get("source_warning"):
        spec = attrs.evolve(spec, warnings=(*spec.warnings, facts["source_warning"]))
    spec = attrs.evolve(
        spec,
        environment=facts,
        resources=with_needs(resources, facts["needs"], memory=pool is not None and not pool.shares_files),
    )
    return Plan(spec=spec, bundle=bundle, stem=stem)


def run(
    command: str | Sequence[str],
    *,
    pool: str | Pool | None = None,
    progress: Progress = NO_PROGRESS,
    arguments: Sequence[str] = (),
    environment: str | Environment | None = None,
    kind: str | None = None,
    frozen: bool = False,
    inputs: Iterable[str | os.PathLike[str]] = (),
    outputs: Iterable[str] = (),
    name: str | None = None,
    cpus: int | None = None,
    memory: int | str | None = None,
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
    exist_ok: bool = False,
    **unknown: NoReturn,
) -> Run:
    """Execute a command, or a Pixi task, as batch jobs; come back as soon as they are in the queue.

    Args:
        command: A list is program and arguments; a string is the name of a task of the workspace.
        arguments: Further arguments; those of the task, if it is one.
        environment: Locked environment: its name, or a `wingspan.Environment`. None: a task's own, or none.
        kind: How it travels: ``"squashfs"``, ``"sif"``, ``"oci"``, ``"pack"`` or ``"install"``.
        frozen: Take the lock as it is, though the manifest has changed since.
        inputs: Files, folders and URLs that go along. Relative ones keep their folders; they are copied now.
        outputs: Paths and patterns that come back.
        name: The run's name; None: made up.
        cpus, gpus: Cores and GPU devices of each job.
        memory, disk, gpu_memory: ``"2GB"``, or bytes.
        time: Longest wall time: ``"12h"``, or seconds.
        variables: Environment variables of the jobs.
        sweep: Parameters and their values: a job for each combination; ``{name}`` in the command is the value.
        sweep_file: A CSV file whose first line names the parameters: a job for each further line.
        checkpoint: Paths that are kept when the command exits with `checkpoint_exit_code`, which starts it again.
        profile, switches: Site profile, and what is turned on in it.
        preflight: Check the GPU before the command begins.
        workspace: Folder that relative paths are relative to, and in or above which the workspace is.
        exist_ok: Where there is a run of this name already, of the same command and inputs, answer that one, with its outputs: so a script
            can be executed again. It keeps the resources and the pool that it was made with.
        pool: Kind of pool; None: chosen.
        progress: Hears of the environment being built.

    Raises:
        InvalidRun: What is asked for contradicts itself (its subclasses say how).
        InputMissing: An input is not there.
        CommandNotFound: The environment does not have the command.
        NoSuchMachine: No machine of the pool has what is asked for.
        RunExists: The name is in use; with `exist_ok`: by another run, and the message says in what it differs.
        UnknownOption: An argument of a name that nobody knows.
        UnknownTask: There is no such task.
        PoolError: The pool cannot be used.

    Warns:
        RunWarning: A file that the command names does not go along, the environment does not suit what is asked for, and the like.

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
    if exist_ok and name is None:
        raise InvalidRun("exist_ok takes up a run again by its name, and none is given", hint='name="train"')
    if isinstance(pool, str):
        get_pool(pool)  # a name that nobody knows is said first; it is started when all else is in order
    site = site_pool(pool) if pool is None or isinstance(pool, str) else pool

    @functools.cache
    def choose() -> Choice:
        if pool is None or isinstance(pool, str):
            return choose_pool(pool, progress)
        refuse_computation_here(pool)
        return Choice(pool, "given")

    plan = plan_run(
        command,
        arguments=arguments,
        environment=environment,
        kind=kind,
        frozen=frozen,
        inputs=inputs,
        outputs=outputs,
        name=name,
        cpus=cpus,
        memory=memory,
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
        pool=site,
        look=lambda spec: check_machines(spec, choose().pool),
        progress=progress,
    )
    if exist_ok and name_in_use(plan.spec.name) == "run":
        return same_run(plan.spec)
    choice = choose()
    note = choice.reason if choice.is_fallback else None
    for warning in (*plan.spec.warnings, *([note] if note else [])):
        # Before anything is submitted: who makes warnings errors wants no run then.
        warnings.warn(warning, RunWarning, stacklevel=2)
    return submit_plan(plan, choice.pool, progress, note=note)


def submit_plan(plan: Plan, pool: Pool, progress: Progress = NO_PROGRESS, note: str | None = None) -> Run:
    """Write the run's folder and submit its jobs. If they are refused, nothing is left."""
    spec = plan.spec
    if spec.environment is None and pool.shares_files:
        for program in _programs(spec):
            if shutil.which(program) is None:
                raise CommandNotFound(
                    f"this machine has no command {program!r}",
                    hint="name its environment: --env NAME, or send it along: --input",
                )
    if spec.urls and not moves_files(pool):
        raise InvalidRun(
            f"the input {spec.urls[0]} is a URL, which only HTCondor fetches",
            hint="download it and give the file",
        )
    if pool.kind == "htcondor":
        from wingspan.pools.profiles import find_profile, load_profile

        found = find_profile() if spec.profile is None else load_profile(spec.profile)
        found.check(spec.resources, spec.switches, checkpoints=bool(spec.checkpoint))
        found.check_folder(load_settings().data_dir)
        check_input_sizes(spec, found)
        spec = attrs.evolve(spec, profile=found.name)
    check_machines(spec, pool)
    if note:
        spec = attrs.evolve(spec, warnings=(*spec.warnings, note))
    facts: dict[str, Any] = {"pool": pool.kind, "python": sys.version.split()[0]}

    def fill(now: Path, later: Path) -> None:
        if spec.inputs and "input_bytes" not in facts:
            facts["input_bytes"] = keep_inputs(spec.inputs, now / "inputs", progress)
        if plan.bundle is not None:
            keep_bundle(plan.bundle, now)
        write_script(attrs.evolve(spec, name=later.name), plan.bundle, pool, now, later)

    made = Run(create_run_folder(spec, facts, fill, stem=plan.stem))
    try:
        submit_jobs(made._folder, pool)
    except BaseException:
        made.remove(force=True)
        raise
    pool.nudge()
    return made


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


def _stem(words: Sequence[str]) -> str:
    """A name from a command: the script, if it is one of an interpreter.

    >>> _stem(("python", "-u", "src/train.py", "--lr", "1")), _stem(("sh", "-c", "echo a")), _stem(("/bin/hostname",))
    ('train', 'sh', 'hostname')
    """
    for word in (
        words[1:3] if Path(words[0]).name.startswith(("python", "bash", "sh", "Rscript", "julia")) else ()
    ):
        if Path(word).suffix in (".py", ".sh", ".R", ".jl"):
            return Path(word).stem
    return Path(words[0]).name


def _programs(spec: RunSpec) -> list[str]:
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
