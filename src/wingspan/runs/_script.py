"""The job's script: a pure function of a `RunSpec`, and one file of POSIX shell that a person can read and
edit.

It runs twice. The outer part prepares, checks and collects; it starts the script once more in the environment
(``WINGSPAN_INSIDE=yes``), and there the commands run. Its parts lie in ``scripts/``; this module decides
which parts a script has, and puts the values in.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from wingspan._shell import Shell, exports, filled, quoted, variable, words
from wingspan._words import counted
from wingspan.pools.text import one_line
from wingspan.runs._gather import CHECKPOINT_FOLDER, SCRIPTS, gathering
from wingspan.runs._spec import RunSpec, Step
from wingspan.runs._words import inside_quotes, path_word, word

__all__ = ["EXIT_GPU", "EXIT_NO_CHECKPOINT", "job_script"]

#: The GPU is not one that the environment can use.
EXIT_GPU = 117
#: The command said that it has a checkpoint, and has none.
EXIT_NO_CHECKPOINT = 118

#: What tells one job's outputs from another's.
_JOB, _JOB_OF_SUBMISSION = (
    Shell("$wingspan_number"),
    Shell("${WINGSPAN_SUBMISSION:+$WINGSPAN_SUBMISSION-}$wingspan_number"),
)
_NOTHING = Shell("")
_NO_ROW = '*) echo "wingspan-run: there is no job $wingspan_number" >&2; exit 2 ;;'
#: Programs that write to HOME fill a quota, or fail where there is none; Pixi's tasks ask for the others.
_HOMES = ("HOME", "PIXI_PROJECT_ROOT", "INIT_CWD")


def job_script(
    spec: RunSpec,
    start: Sequence[str],
    *,
    shared: str | None = None,
    row_arguments: bool = False,
    gpu_check: bool | None = None,
    path: str | None = None,
    by_submission: bool = False,
) -> str:
    """The script of the jobs of `spec`; its first argument is the job's number.

    Args:
        spec: The run.
        start: Words that start a command inside the environment; they end before the command. Empty: no
            environment.
        shared: The run's folder, on a file system that the job sees: inputs are copied from it and outputs
            into it.
            None: HTCondor moves files.
        row_arguments: The values of the sweep follow the number as arguments; otherwise the script has a
            table of them.
        gpu_check: Check the GPU; None: when one is asked for.
        path: Where programs are looked for (``PATH``); None: where the job's machine looks.
        by_submission: The variable ``WINGSPAN_SUBMISSION`` has the number of the submission, and outputs are
            told apart by it.
    """
    here = shared is not None
    checks = gpu_check if gpu_check is not None else (spec.resources.gpus > 0 and spec.preflight)
    outputs = Shell('"$wingspan_folder/.outputs-$wingspan_job.$$"' if here else '"outputs-$wingspan_job"')
    return filled(
        SCRIPTS / "job.sh",
        title=Shell(f"{spec.name}: {one_line(spec.command)}"),
        job=_JOB_OF_SUBMISSION if by_submission else _JOB,
        path=_NOTHING if path is None else filled(SCRIPTS / "path.sh", path=path),
        parameters=_parameters(spec, row_arguments),
        variables=_lines(exports(spec.variables)),
        homes=_lines(exports({name: Shell('"$PWD"') for name in _HOMES if name not in spec.variables})),
        steps=_lines(_step(step, spec.parameters, step is spec.steps[-1]) for step in spec.steps),
        folder=_part("folder", folder=shared) if shared is not None else _placed(spec),
        outputs=outputs,
        finish=gathering(spec, shared=here),
        checkpoint=_checkpoint(spec, here),
        preflight=_preflight(spec) if checks else _NOTHING,
        start=words((*start, "sh")),
        attempts=_attempts(spec, here),
    )


def _placed(spec: RunSpec) -> Shell:
    """The part of the script that gives large inputs their own names: they come from a store, under names
    that say their content.
    """
    if not spec.placed:
        return _NOTHING
    names = [url.rpartition("/")[2] for url, *_ in spec.placed]
    calls = _lines(
        f"wingspan_place {words((name, place, *(['again'] if name in names[number + 1 :] else [])))}"
        for number, (name, (_, place, _)) in enumerate(zip(names, spec.placed, strict=True))
    )
    return Shell(f"{filled(SCRIPTS / 'placed.sh', calls=calls)}\n")


def _part(name: str, **places: str | int) -> Shell:
    """A part of the script, and an empty line after it."""
    return Shell(f"{filled(SCRIPTS / f'{name}.sh', **places)}\n")


def _lines(lines: Iterable[str]) -> Shell:
    return Shell("\n".join(lines))


def _parameters(spec: RunSpec, row_arguments: bool) -> Shell:
    """The sweep's values for this job, from the script's arguments or from a table in it."""
    if not spec.parameters:
        return _NOTHING
    if row_arguments:
        values = _lines(f"{name}=${{{place}}}" for place, name in enumerate(spec.parameters, 2))
    else:
        rows = (
            "; ".join(f"{name}={quoted(value)}" for name, value in zip(spec.parameters, row, strict=True))
            for row in spec.rows
        )
        table = (f"{number}) {row} ;;" for number, row in enumerate(rows))
        values = _lines(["case $wingspan_number in", *table, _NO_ROW, "esac"])
    return filled(SCRIPTS / "parameters.sh", values=values, names=words(spec.parameters))


def _step(step: Step, parameters: Sequence[str], last: bool) -> str:
    """One command, inside the environment."""
    # A value becomes part of the line, as Pixi has it: also where it stands inside of quotes.
    given = step.words if step.line is None else ("sh", "-c", step.line)
    command = words(word(one, parameters) for one in given)
    body = [f"exec {command}"]
    # A variable that the job has already wins over the task's: so it is with Pixi.
    body[:0] = [
        f'[ -n "${{{variable(name)}+set}}" ] || export {name}={inside_quotes(value, parameters)}'
        for name, value in step.env.items()
    ]
    if step.cwd:
        body.insert(0, f"mkdir -p {quoted(step.cwd)} && cd {quoted(step.cwd)}")
    if not last:  # the last one takes the place of this shell: it gets the signals
        margin = "" if "\n" in command else "    "  # a line's beginning may be inside of quotes
        body = ["(", *(margin + line for line in body), ")"]
    return _lines([*([f"# task {one_line(step.task)}"] if step.task else []), *body])


def _checkpoint(spec: RunSpec, here: bool) -> Shell:
    if not spec.checkpoint:
        return _NOTHING
    return _part(
        "checkpoint",
        folder=Shell('"$wingspan_folder/checkpoint-$wingspan_job"') if here else CHECKPOINT_FOLDER,
        paths=words(path_word(path, spec.parameters) for path in spec.checkpoint),
        exit_code=EXIT_NO_CHECKPOINT,
    )


def _preflight(spec: RunSpec) -> Shell:
    resources = spec.resources

    def text(value: object) -> str:
        return "" if value is None else str(value)

    return _part(
        "preflight",
        gpus=resources.gpus,
        gpus_text=Shell(counted(resources.gpus, "GPU")),
        lowest=text(resources.gpus_minimum_capability),
        highest=text(resources.gpus_maximum_capability),
        runtime=text(resources.gpus_minimum_runtime),
        memory=text(resources.gpus_minimum_memory and resources.gpus_minimum_memory >> 20),
        code=EXIT_GPU,
    )


def _attempts(spec: RunSpec, here: bool) -> Shell:
    """How often the commands start: with a checkpoint, until they are done.

    HTCondor itself starts a job again.
    """
    if not spec.checkpoint:
        return Shell('wingspan_attempt "$@"')
    name = "attempts_here" if here else "attempts_moved"
    return filled(SCRIPTS / f"{name}.sh", code=spec.checkpoint_exit_code)
