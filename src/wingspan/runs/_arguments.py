"""What `wingspan.run` is given, looked at one by one."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from wingspan.runs._errors import InvalidRun, InvalidSweep
from wingspan.runs._files import is_url
from wingspan.runs._spec import Step, relative_path
from wingspan.runs._words import filled, uses_parameter

__all__ = [
    "check_output",
    "check_parameters",
    "check_rows",
    "count",
    "exit_code",
    "globs_of_rows",
    "job_variables",
    "several",
]


def several(given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> list[str]:
    """Paths; a single text is one path, and not a list of its letters."""
    return [os.fspath(one) for one in ([given] if isinstance(given, str | os.PathLike) else given)]


def job_variables(given: Mapping[str, str] | None, parameters: Sequence[str]) -> dict[str, str]:
    """Environment variables of the jobs.

    Raises:
        InvalidRun: A name is none.
        InvalidSweep: A parameter has the same.
    """
    for name, value in (given or {}).items():
        if name in parameters:
            raise InvalidSweep(
                f"{name!r} is a parameter of the sweep, and a variable that is set to {value!r}",
                hint="leave one of them out: a parameter is a variable of the job, too",
            )
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", str(name)):
            raise InvalidRun(
                f"{name!r} cannot be the name of an environment variable",
                hint="letters, digits and underscores, beginning with a letter",
            )
    return {name: str(value) for name, value in (given or {}).items()}


def count(what: str, value: int | None, table: Mapping[str, Any], default: int, *, least: int) -> int:
    """A number of something: what was said, else the manifest's, else `default`.

    Raises:
        InvalidRun: It is no whole number, or less than `least`.
    """
    found = value if value is not None else table.get(what, default)
    if isinstance(found, bool) or not isinstance(found, int) or found < least:
        raise InvalidRun(
            f"{what} = {found!r} must be a whole number, at least {least}", hint=f"for example {least}"
        )
    return found


def exit_code(code: int) -> int:
    """The exit code that says that there is a checkpoint.

    Raises:
        InvalidRun: No process can end with it, or it is that of a success.
    """
    if isinstance(code, bool) or not isinstance(code, int) or not 1 <= code <= 255:
        raise InvalidRun(
            f"checkpoint_exit_code = {code!r} cannot say that there is a checkpoint",
            hint="1 to 255; 85 is the custom",
        )
    return code


def check_output(path: str) -> str:
    """A path or pattern that comes back, as it is compared.

    Raises:
        InvalidRun: It leads out of the job's folder, has a ``**``, or is a URL.
    """
    if is_url(path):
        raise InvalidRun(
            f"the output {path!r} is an address; an output is a path that the command writes in the job's folder",
            hint=f"name that path and the address: --output model.pt={path}",
        )
    plain = relative_path(path, "output")
    if "**" in plain:
        raise InvalidRun(f"the output {path!r} has a **", hint="name the folder itself: all of it comes back")
    return plain


def globs_of_rows(
    globs: Iterable[tuple[str, tuple[str, ...]]], parameters: Sequence[str], rows: Iterable[Sequence[str]]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """A task's inputs, with the values of every row where they name an argument that is swept."""
    found = {
        (filled(glob, parameters, row), tuple(filled(one, parameters, row) for one in made)): None
        for row in rows
        for glob, made in globs
    }
    return tuple(found)


def check_rows(paths: Iterable[str], parameters: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """A value must not lead an output out of the job's folder."""
    named = [path for path in paths if any(f"{{{name}}}" in path for name in parameters)]
    for row in rows if named else ():
        for path in named:
            relative_path(filled(path, parameters, row), "output")


#: Programs that execute what they are given, which may read variables.
_INTERPRETERS = re.compile(
    r"(?:ba|da|z|k|c|tc|fi)?sh|(?:python|pypy)[0-9.]*|perl|ruby|julia|Rscript|R|node|deno|java|matlab|octave|php|lua|tclsh|env|make|"
    r"snakemake|nextflow|apptainer|singularity|docker|podman|mpirun|mpiexec|srun|torchrun|accelerate|pixi|conda|uv|time|nice"
)


def check_parameters(
    steps: Sequence[Step], parameters: Sequence[str], *, of_file: bool = False, sends: bool = False
) -> tuple[str, ...]:
    """Parameters of the sweep that no command names: their values are in the variables of these names only.

    Args:
        steps: The commands.
        parameters: Names.
        of_file: They are the columns of a file, which may have more than one command needs.
        sends: Files go along, which may be programs that read the variables.

    Raises:
        InvalidSweep: Nothing that is executed could read one.
    """
    unnamed = []
    programs = [step.words[0] for step in steps if step.words]
    may_read = of_file or sends or any(step.line for step in steps)
    may_read = may_read or any("/" in one or _INTERPRETERS.fullmatch(one) for one in programs)
    texts = [text for step in steps for text in (*step.words, step.line or "", *step.env.values())]
    for name in parameters:
        # A program that is started through a shell may read the variable itself; a plain word can only name
        # it.
        if any(uses_parameter(text, name) for text in texts):
            continue
        unnamed.append(name)
        if not may_read:
            raise InvalidSweep(
                f"the command does not use the parameter {name!r}",
                hint=f"write {{{name}}} where its value belongs: --{name} {{{name}}}",
            )
    return tuple(unnamed)
