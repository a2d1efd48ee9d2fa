"""What a run is, before any file is written: plain values that ``run.json`` can hold."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from wingspan._shell import words
from wingspan.delivery.record import Delivery
from wingspan.jobs import Resources
from wingspan.runs._errors import InvalidName, InvalidRun, InvalidSweep

__all__ = [
    "CHECKPOINT_EXIT_CODE",
    "RunSpec",
    "Step",
    "check_name",
    "read_sweep",
    "relative_path",
    "sweep_rows",
]

#: What the templates of the field and HTCondor's manual use ("Self-Checkpointing Applications").
CHECKPOINT_EXIT_CODE = 85
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_PARAMETER = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
#: Names that the job's script uses itself.
_TAKEN = frozenset(
    "PATH HOME PWD OLDPWD IFS ENV BASH_ENV PPID UID EUID SHELLOPTS BASHOPTS OPTIND PS4 LD_PRELOAD LD_LIBRARY_PATH "
    # what shells set themselves (bash is sh on many systems), where the script makes its folder, what cd
    # prints
    "_ RANDOM SRANDOM LINENO SECONDS BASHPID BASH_COMMAND EPOCHSECONDS EPOCHREALTIME FUNCNAME GROUPS DIRSTACK HISTCMD BASH_VERSINFO "
    "TMPDIR CDPATH POSIXLY_CORRECT".split()
)
#: What the job's script has variables of its own with.
_OURS = re.compile(r"wingspan_|_*wingspan\b|_CONDOR_|SLURM_", re.IGNORECASE)


def check_name(name: str) -> str:
    """`name`, if a run can have it.

    Raises:
        InvalidName: It cannot.
    """
    if not _NAME.fullmatch(name):
        raise InvalidName(
            f"{name!r} cannot be the name of a run",
            hint="at most 100 letters, digits, dots, dashes and underscores, beginning with a letter or a digit",
        )
    return name


def relative_path(path: str, what: str) -> str:
    """A path below the job's folder, in its plain form.

    Raises:
        InvalidRun: It is absolute (for Windows, too: HTCondor holds a job with such a file), or leads out of
            the folder.

    >>> relative_path("./out//model.pt", "output")
    'out/model.pt'
    """
    parts = [part for part in path.split("/") if part not in ("", ".")]
    if not parts or path.startswith(("/", "~")) or ".." in parts:
        raise InvalidRun(
            f"{what} {path!r} is not a path below the job's folder",
            hint="name it as the command does, relative to its working folder: results/model.pt",
        )
    if any(character in path for character in "\n\t,") or path.startswith("-"):
        raise InvalidRun(
            f"{what} {path!r} has a character that submit files cannot contain", hint="rename the file"
        )
    if re.match(r"([A-Za-z]:)?\\|[A-Za-z]:/", "/".join(parts)):
        raise InvalidRun(
            f"{what} {path!r} is an absolute path of Windows, which HTCondor refuses to write",
            hint="rename the file",
        )
    return "/".join(parts)


@attrs.frozen(kw_only=True)
class Step:
    """One command of a run.

    Attributes:
        words: Program and arguments; or, with `line`, empty.
        line: A line for the shell.
        cwd: Folder, relative to the job's.
        env: Variables set for it, unless the job has them.
        task: The Pixi task that it is.
    """

    words: tuple[str, ...] = ()
    line: str | None = None
    cwd: str | None = None
    env: Mapping[str, str] = attrs.field(factory=dict)
    task: str | None = None

    @property
    def text(self) -> str:
        """As a person would type it."""
        return self.line if self.line is not None else words(self.words)


@attrs.frozen(kw_only=True)
class RunSpec:
    """A run.

    Attributes:
        name: Its name.
        base: Folder that relative inputs were relative to.
        steps: What each job executes, in order.
        inputs: (path here, path in the job's folder) of files and folders, in order.
        urls: Inputs that are URLs.
        placed: Inputs that were put into a store: (URL, path in the job's folder, bytes).
        outputs: Paths and patterns in the job's folder.
        destinations: Addresses that outputs go to instead of coming back, by path.
        parameters: Names of the sweep's parameters.
        rows: Their values, one tuple a job; a single empty one without a sweep.
        resources: What a job asks of a machine.
        checkpoint: Paths that are kept when the job exits with `checkpoint_exit_code`.
        variables: Environment variables of the job.
        environment: Its locked environment, or None.
        profile, switches: Site profile, and what is turned on in it.
        preflight: Check the GPU before the command begins.
        builds: The jobs build an environment.
        warnings: What a person should know, one sentence each.
    """

    name: str
    base: Path
    steps: tuple[Step, ...]
    inputs: tuple[tuple[Path, str], ...] = ()
    urls: tuple[str, ...] = ()
    placed: tuple[tuple[str, str, int], ...] = ()
    outputs: tuple[str, ...] = ()
    destinations: Mapping[str, str] = attrs.field(factory=dict)
    parameters: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ((),)
    resources: Resources = attrs.field(factory=Resources)
    checkpoint: tuple[str, ...] = ()
    checkpoint_exit_code: int = CHECKPOINT_EXIT_CODE
    variables: Mapping[str, str] = attrs.field(factory=dict)
    environment: Delivery | None = None
    profile: str | None = None
    switches: tuple[str, ...] = ()
    preflight: bool = True
    builds: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def command(self) -> str:
        """What is executed, in one line for people."""
        return " && ".join(step.text for step in self.steps)

    def to_json(self) -> dict[str, Any]:
        """For ``run.json``."""
        plain: dict[str, Any] = json.loads(json.dumps(attrs.asdict(self), default=str))
        return plain

    @classmethod
    def from_json(cls, plain: Mapping[str, Any]) -> RunSpec:
        """The inverse of `to_json`."""
        return cls(
            **{
                **plain,
                "base": Path(plain["base"]),
                "steps": tuple(Step(**{**step, "words": tuple(step["words"])}) for step in plain["steps"]),
                "inputs": tuple((Path(here), there) for here, there in plain["inputs"]),
                "placed": tuple((url, place, size) for url, place, size in plain.get("placed", ())),
                "rows": tuple(map(tuple, plain["rows"])),
                "resources": Resources(**plain["resources"]),
                "environment": Delivery.from_json(plain["environment"]) if plain.get("environment") else None,
                **{
                    name: tuple(plain[name])
                    for name in ("urls", "outputs", "parameters", "checkpoint", "switches", "warnings")
                },
            }
        )


def read_sweep(given: str) -> tuple[str, tuple[str, ...]]:
    """``"lr=0.1,0.01"`` as name and values.

    Raises:
        InvalidSweep: It is not of that form.

    >>> read_sweep("lr=0.1,0.01")
    ('lr', ('0.1', '0.01'))
    """
    name, equals, values = given.partition("=")
    if not equals or not _PARAMETER.fullmatch(name) or not values:
        raise InvalidSweep(f"the sweep {given!r} cannot be read", hint="write --sweep lr=0.1,0.01")
    found = tuple(value.strip() for value in values.split(","))
    if "" in found:
        raise InvalidSweep(
            f"the sweep {given!r} has an empty value",
            hint="take a comma out; a line of a --sweep-file may leave a value empty",
        )
    return name, found


def sweep_rows(
    sweep: Mapping[str, Sequence[object]] | None, file: str | Path | None
) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    """Parameters and rows: every combination of `sweep`, or the rows of a CSV file with a header.

    Raises:
        InvalidSweep: Both are given, a value list is empty, or the file cannot be read.
    """
    if sweep and file is not None:
        raise InvalidSweep("--sweep and --sweep-file are both given", hint="put everything into the file")
    if sweep:
        if not isinstance(sweep, Mapping):
            raise InvalidSweep(f"sweep = {sweep!r} names no parameters", hint='sweep={"lr": [0.1, 0.01]}')
        for name, values in sweep.items():
            _check_parameter(name)
            if isinstance(values, str) or not isinstance(values, Iterable) or not list(values):
                raise InvalidSweep(f"the sweep of {name!r} has no values", hint='sweep={"lr": [0.1, 0.01]}')
        columns = [[str(value) for value in values] for values in sweep.values()]
        return tuple(sweep), tuple(itertools.product(*columns))
    if file is None:
        return (), ((),)
    return _read_table(Path(file))


def _check_parameter(name: str) -> None:
    if name in _TAKEN or _OURS.match(name):
        raise InvalidSweep(
            f"{name!r} cannot be a parameter of a sweep: the shell, the batch system or the job's script has a variable of that name",
            hint=f"call it something else, such as my_{name}",
        )
    if not _PARAMETER.fullmatch(name):
        raise InvalidSweep(
            f"{name!r} cannot be a parameter of a sweep",
            hint="letters, digits and underscores, beginning with a letter",
        )


def _read_table(path: Path) -> tuple[tuple[str, ...], tuple[tuple[str, ...], ...]]:
    import csv

    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            lines = [tuple(cell.strip() for cell in line) for line in csv.reader(file) if any(line)]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InvalidSweep(
            f"the sweep file {path} cannot be read: {error}", hint="a CSV file in UTF-8"
        ) from error
    if len(lines) < 2:
        raise InvalidSweep(
            f"the sweep file {path} has no rows",
            hint="its first line names the parameters, each further line is a job",
        )
    for number, line in enumerate(lines, 1):
        if len(line) != len(lines[0]):
            raise InvalidSweep(
                f"{path}, row {number}: {len(line)} values for {len(lines[0])} parameters",
                hint="give each row a value for every parameter",
            )
    for name in lines[0]:
        _check_parameter(name)
    if len(set(lines[0])) < len(lines[0]):
        raise InvalidSweep(f"{path} names a parameter twice: {', '.join(lines[0])}", hint="rename one column")
    return lines[0], tuple(lines[1:])
