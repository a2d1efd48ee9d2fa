"""What a person asks to be run: one class for `wingspan.run`, the command line, `render` and shells."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import attrs

from wingspan.runs._arguments import several
from wingspan.runs._spec import CHECKPOINT_EXIT_CODE

if TYPE_CHECKING:
    from wingspan.environments import Environment
    from wingspan.pools.following import Earlier

__all__ = ["RunRequest"]


def _paths(given: str | os.PathLike[str] | Iterable[str | os.PathLike[str]]) -> tuple[str, ...]:
    """Paths; a single text is one path, and not a list of its letters."""
    return tuple(several(given))


@attrs.frozen(kw_only=True)
class RunRequest:
    """A command or a Pixi task, and how it is to be executed; as it was given, nothing is checked yet.

    Attributes:
        command: A list is program and arguments; a string is the name of a task of the workspace.
        arguments: Further arguments; those of the task, if it is one.
        environment: Locked environment: its name, or a `wingspan.Environment`. None: a task's own, or none.
        kind: How it travels: ``"squashfs"``, ``"sif"``, ``"oci"``, ``"pack"`` or ``"install"``. None: chosen.
        frozen: Take the lock as it is, though the manifest has changed since.
        inject: Wheels that go into the environment as well; relative paths are relative to `workspace`.
        inputs: Files, folders and URLs that go along.
        outputs: Paths and patterns that come back; ``PATH=URL`` goes to an address instead.
        output_destination: Address of a folder that all outputs without an address of their own go to.
        name: The run's name; None: made up.
        cpus: Cores of each job.
        memory: Of each job: ``"2GB"``; a plain number is MB.
        retry_memory: The most that is asked for after a job took more than `memory`; None: the job is held.
        disk: Scratch disk of each job, likewise.
        time: Longest wall time: ``"12h"``, or seconds.
        gpus: GPU devices of each job.
        gpu_memory: Least memory of each device: ``"20GB"``, or bytes.
        variables: Environment variables of the jobs.
        sweep: Parameters and their values: a job for each combination.
        sweep_file: A CSV file whose first line names the parameters: a job for each further line.
        checkpoint: Paths that are kept when the command exits with `checkpoint_exit_code`.
        checkpoint_exit_code: Says that there is a checkpoint, and that the command is to be started again.
        profile: Site profile.
        switches: What is turned on in it.
        preflight: Check the GPU before the command begins.
        builds: The job builds an environment: the site's profile says what it wants of such jobs.
        workspace: Folder that relative paths are relative to, and in or above which the workspace is.
        after: What must be done before the jobs begin.
        outputs_of: Names of those of them whose outputs go along.
    """

    command: str | Sequence[str]
    arguments: Sequence[str] = ()
    environment: str | Environment | None = None
    kind: str | None = None
    frozen: bool = False
    inject: tuple[str, ...] = attrs.field(default=(), converter=_paths)
    inputs: tuple[str, ...] = attrs.field(default=(), converter=_paths)
    outputs: tuple[str, ...] = attrs.field(default=(), converter=_paths)
    output_destination: str | None = None
    name: str | None = None
    cpus: int | None = None
    memory: int | str | None = None
    retry_memory: int | str | None = None
    disk: int | str | None = None
    time: int | str | None = None
    gpus: int | None = None
    gpu_memory: int | str | None = None
    variables: Mapping[str, str] | None = None
    sweep: Mapping[str, Sequence[object]] | None = None
    sweep_file: str | os.PathLike[str] | None = None
    checkpoint: tuple[str, ...] = attrs.field(default=(), converter=_paths)
    checkpoint_exit_code: int = CHECKPOINT_EXIT_CODE
    profile: str | None = None
    switches: tuple[str, ...] = attrs.field(default=(), converter=_paths)
    preflight: bool = True
    builds: bool = False
    workspace: str | os.PathLike[str] = "."
    after: tuple[Earlier, ...] = ()
    outputs_of: tuple[str, ...] = ()

    @property
    def task(self) -> str | None:
        """The Pixi task that is meant; None: `command` is one."""
        return self.command if isinstance(self.command, str) else None
