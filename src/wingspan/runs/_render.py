"""Runs as files for people to own: submit description or sbatch script, the script it executes, and how to use them.

What is written works with plain ``condor_submit`` and ``sbatch``, on machines that have never heard of Wingspan, and says in
comments why each line is there.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal

import attrs

from wingspan._version import __version__
from wingspan.jobs import JobDescription, Resources
from wingspan.pools.submit_description import classad_literal, quote_arguments
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._api import Plan, plan_run
from wingspan.runs._environment import bundle_of
from wingspan.runs._errors import InvalidRun, InvalidSweep, RunExists
from wingspan.runs._files import keep_inputs
from wingspan.runs._render_slurm import (
    DEFAULT_MEMORY,
    DEFAULT_TIME,
    clock,
    mebibytes,
    one_line,
    sbatch_script,
)
from wingspan.runs._run import Run
from wingspan.runs._script import CHECKPOINT_FOLDER, job_script

__all__ = ["Target", "plan_of_run", "render", "write_files"]

Target = Literal["htcondor", "slurm"]

_OWN_DISK = 1 << 30
#: Values that HTCondor's ``queue … from`` reads back as they are.
_SIMPLE = re.compile(r"[A-Za-z0-9_.:/=@%^~-]+")


def render(
    target: Target,
    folder: str | os.PathLike[str],
    command: Any,
    *,
    image: str | None = None,
    bundle_url: str | None = None,
    progress: Progress = NO_PROGRESS,
    **options: Any,
) -> list[Path]:
    """Write the files of a run into `folder` and submit nothing.

    Args:
        target: ``"htcondor"`` or ``"slurm"``.
        folder: New or empty.
        command, options: As for `wingspan.run`.
        image: Container image in which the environment lies (made from an `oci` or `sif` bundle): ``docker://…@sha256:…``.
        bundle_url: Where the bundle was published; it is then not copied into `folder`.
        progress: Hears of the environment being built.

    Returns:
        What was written.

    Raises:
        RunExists: The folder holds something.
        InvalidRun: What was asked for cannot be said to `target`.
        Others as `wingspan.run`, but for those of pools.
    """
    _check_empty(Path(folder))
    plan = plan_run(command, build=image is None, progress=progress, **options)
    return write_files(target, plan, Path(folder), progress, image=image, bundle_url=bundle_url)


def plan_of_run(run: Run) -> Plan:
    """The plan of a run that exists, with its inputs as they were."""
    bundle = bundle_of(run.path, dict(run.spec.environment)) if run.spec.environment else None
    inputs = tuple((run.path / "inputs" / place, place) for _, place in run.spec.inputs)
    return Plan(spec=attrs.evolve(run.spec, inputs=inputs), bundle=bundle)


def _check_empty(folder: Path) -> None:
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise RunExists(f"{folder} holds something already", hint="name a new folder")


def write_files(
    target: Target,
    plan: Plan,
    folder: Path,
    progress: Progress = NO_PROGRESS,
    *,
    image: str | None = None,
    bundle_url: str | None = None,
) -> list[Path]:
    """`render`, of a plan."""
    if image is not None and target != "htcondor":
        raise InvalidRun(
            "an image can be rendered for HTCondor only", hint="use a sif or squashfs bundle on Slurm"
        )
    if target == "slurm" and plan.spec.urls:
        raise InvalidRun(
            f"Slurm does not fetch the input {plan.spec.urls[0]}", hint="download it and give the file"
        )
    files = _Files(plan, target, folder, image, bundle_url)
    folder.mkdir(parents=True, exist_ok=True)
    files.write(progress)
    return sorted(path for path in folder.iterdir() if path.is_file())


class _Files:
    """One rendering."""

    def __init__(
        self, plan: Plan, target: Target, folder: Path, image: str | None, bundle_url: str | None
    ) -> None:
        self.spec, self.bundle, self.target, self.folder = plan.spec, plan.bundle, target, folder
        self.image, self.bundle_url = image, bundle_url
        self.input_bytes = 0
        #: The container universe starts the image; the others start from a file that the starter makes available.
        self.container = target == "htcondor" and (
            image is not None or (self.bundle is not None and self.bundle.kind == "sif")
        )
        self.carried: list[str] = []

    def write(self, progress: Progress) -> None:
        spec = self.spec
        if spec.inputs:
            self.input_bytes = keep_inputs(spec.inputs, self.folder / "inputs", progress)
        (self.folder / "logs").mkdir()
        start: tuple[str, ...] = ()
        if self.bundle is not None or self.image is not None:
            self._enter()
            start = ("sh", '"$folder/enter.sh"' if self.target == "slurm" else "enter.sh")
        if self.target == "htcondor":
            text = job_script(spec, start, row_arguments=bool(spec.parameters))
            self._put("job.sh", text, 0o755)
            self._put(f"{spec.name}.sub", self._submit_description())
            if spec.parameters:
                self._put("params.csv", "".join(", ".join(row) + "\n" for row in self._simple_rows()))
        else:
            self._put("job.sh", job_script(spec, start, shared='"$PWD"'), 0o755)
            self._put(f"{spec.name}.sbatch", sbatch_script(spec), 0o755)
        self._put("submit.sh", self._submit_script(), 0o755)
        self._put("interact.sh", self._interact_script(), 0o755)
        self._put("README.md", self._readme())

    def _put(self, name: str, text: str, mode: int = 0o644) -> None:
        path = self.folder / name
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)

    def _simple_rows(self) -> tuple[tuple[str, ...], ...]:
        for row in self.spec.rows:
            for value in row:
                if not _SIMPLE.fullmatch(value):
                    raise InvalidSweep(
                        f"the value {value!r} cannot stand in a list that HTCondor's queue statement reads",
                        hint="use values without blanks, commas and quotes, or wingspan run, which has no such limit",
                    )
        return self.spec.rows

    # -- the environment -----------------------------------------------------------------------------------------------

    def _enter(self) -> None:
        """Write ``enter.sh``, which starts a command in the environment, and put beside it what it needs."""
        head = (
            "#!/bin/sh\n"
            "# Starts a command in the environment: sh enter.sh python --version; without one, a shell.\n"
            "set -eu\n"
            '[ $# -gt 0 ] || set -- "${SHELL:-/bin/sh}"\n'
        )
        if self.container:
            prefix = (self.bundle.prefix if self.bundle else None) or "/opt/wingspan/environment"
            if self.bundle is not None and self.image is None:
                self._carry(self.bundle.path)
            self._put(
                "enter.sh",
                f"{head}# The container has the environment at {prefix}; HTCondor starts programs without the image's own entry point.\n"
                f"script={prefix}/.wingspan/activate.sh\n"
                "# Packages' own activation scripts are written for bash, and not for set -eu.\n"
                "if command -v bash >/dev/null 2>&1; then\n"
                """    exec bash -c '. "$1"; shift; exec "$@"' bash "$script" "$@"\n"""
                "fi\n"
                "set +eu\n"
                '. "$script"\n'
                'exec "$@"\n',
                0o755,
            )
            return
        from wingspan.environments.bundles import starter_command

        assert self.bundle is not None
        start = starter_command(self.bundle, ["COMMAND"])
        for path in (start.executable, *start.input_files):
            self._carry(path)
        shown, beside = [], {path.name for path in start.input_files}
        for word in start.arguments[:-2]:
            shown.append(f'"$here/{word}"' if word in beside else shlex.quote(word))
        self._put(
            "enter.sh",
            f"{head}"
            'here=$(cd "$(dirname "$0")" && pwd)\n'
            "# The bundle is checked against its SHA-256 before anything in it runs.\n"
            f'exec sh "$here/{start.executable.name}" {" ".join(shown)} -- "$@"\n',
            0o755,
        )

    def _carry(self, path: Path) -> None:
        self.carried.append(path.name)
        if self.bundle is not None and path == self.bundle.path and self.bundle_url is not None:
            if self.bundle_url.rsplit("/", 1)[-1] != path.name:
                raise InvalidRun(
                    f"{self.bundle_url} does not end in the bundle's name {path.name}",
                    hint="wingspan env publish prints the address",
                )
            self.carried[-1] = self.bundle_url
            return
        if path.suffix == ".sh" and self.bundle is not None and path != self.bundle.path:
            # For those who lint the folder: the starter looks at each failure itself.
            text = path.read_text(encoding="utf-8")
            excuse = "\n# wingspan: ignore=goes-on-after-failure (every failure is looked at)\nEXIT_DAMAGED="
            self._put(path.name, text.replace("\nEXIT_DAMAGED=", excuse, 1), 0o755)
            return
        try:
            os.link(path, self.folder / path.name)
        except OSError:
            shutil.copy2(path, self.folder / path.name)

    # -- HTCondor ------------------------------------------------------------------------------------------------------

    def _submit_description(self) -> str:
        spec, resources = self.spec, self.spec.resources
        lines = [
            f"# {spec.name}: {one_line(spec.command)}",
            f"# Written by Wingspan {__version__}; plain HTCondor from here on. Submit it with: sh submit.sh",
            "",
        ]

        def say(why: str, *commands: str | None) -> None:
            lines.extend([f"# {why}", *(command for command in commands if command is not None), ""])

        if self.container:
            image = self.image or next(name for name in self.carried if name.endswith(".sif"))
            say(
                "The job runs inside this image. Its name says its content: caches take a name for unchangeable.",
                "universe = container",
                f"container_image = {image}",
            )
        else:
            say("An ordinary program; the environment comes along as a file.", "universe = vanilla")
        say("What condor_q shows.", f"JobBatchName = {classad_literal(spec.name)}")
        row = (f"$({name})" for name in spec.parameters)
        arguments = quote_arguments(("$(Process)", *row)) if spec.parameters else "$(Process)"
        say(
            "The script beside this file; its first argument is the number of the job.",
            "executable = job.sh",
            f"arguments = {arguments}",
        )
        say(
            "What HTCondor tells about the jobs, and what they print. Streamed: it can be read while they run.",
            f"log = {spec.name}.log",
            "output = logs/$(Process).out",
            "error = logs/$(Process).err",
            "stream_output = true",
            "stream_error = true",
        )
        self._transfer(say)
        self._resources(say, resources)
        self._profile(say)
        if spec.parameters:
            say("One job for each line of params.csv.", f"queue {', '.join(spec.parameters)} from params.csv")
        else:
            lines.append("queue")
        return "\n".join(lines).rstrip("\n") + "\n"

    def _transfer(self, say: Callable[..., None]) -> None:
        spec = self.spec
        carried = [name for name in self.carried if not (self.container and name.endswith(".sif"))]
        enter = ["enter.sh"] if self.bundle is not None or self.image is not None else []
        inputs = [*(["inputs/"] if spec.inputs else []), *spec.urls, *enter, *carried]
        say(
            "Files go to the job and come back. The slash after inputs: what is in it, with its folders, not the folder itself.",
            "should_transfer_files = YES",
            f"transfer_input_files = {', '.join(inputs)}" if inputs else None,
        )
        say(
            "job.sh moves what is to come back into one folder, so that a missing file is an error it can name; named here, "
            "HTCondor would hold the job.",
            "when_to_transfer_output = ON_EXIT",
            "transfer_output_files = outputs-$(Process)",
        )
        if spec.checkpoint:
            say(
                f"The command exits with {spec.checkpoint_exit_code} when it has written a checkpoint; job.sh puts it into this "
                "folder, which HTCondor keeps; the command is started again with it, here or elsewhere.",
                f"checkpoint_exit_code = {spec.checkpoint_exit_code}",
                f"transfer_checkpoint_files = {CHECKPOINT_FOLDER}",
            )

    def _resources(self, say: Callable[..., None], resources: Resources) -> None:
        unsaid = (
            ""
            if resources.memory
            else " Nobody said how much memory: 2 GB is a guess; condor_q -analyze and the log tell better."
        )
        memory = resources.memory or DEFAULT_MEMORY
        say(
            f"What a job needs of a machine. It is held if it takes more memory, so leave room.{unsaid}",
            f"request_cpus = {resources.cpus}",
            f"request_memory = {mebibytes(memory)}MB",
            f"request_disk = {mebibytes(self._disk())}MB",
        )
        if resources.time_limit:
            say(
                "Longer than this, and something is wrong.",
                f"allowed_execute_duration = {resources.time_limit}",
            )
        if resources.gpus:
            say(
                "GPUs. These commands test the very device that the job will get; a requirements line would test the machine. "
                "The runtime is CUDA's, as the driver supports it, and one major version is enough.",
                f"request_gpus = {resources.gpus}",
                _line("gpus_minimum_capability", resources.gpus_minimum_capability),
                _line("gpus_maximum_capability", resources.gpus_maximum_capability),
                _line("gpus_minimum_runtime", resources.gpus_minimum_runtime),
                None
                if resources.gpus_minimum_memory is None
                else f"gpus_minimum_memory = {mebibytes(resources.gpus_minimum_memory)}MB",
            )

    def _disk(self) -> int:
        if self.spec.resources.disk is not None:
            return self.spec.resources.disk
        size = self.bundle.size if self.bundle is not None and not self.container else 0
        return size + self.input_bytes + _OWN_DISK

    def _profile(self, say: Callable[..., None]) -> None:
        if self.spec.profile is None:
            return
        from wingspan.pools.profiles import load_profile

        profile = load_profile(self.spec.profile)
        job = profile.apply(
            JobDescription(name=self.spec.name, executable="job.sh", resources=self.spec.resources),
            self.spec.switches,
        )
        wanted = [f"+{name} = {classad_literal(value)}" for name, value in job.custom.items()]
        wanted += [f"{name} = {value}" for name, value in job.submit.items()]
        if wanted:
            say(f"What {profile.title or profile.name} wants to know beside HTCondor's own.", *wanted)

    # -- around it -----------------------------------------------------------------------------------------------------

    def _submit_script(self) -> str:
        command = (
            f'condor_submit "$@" {self.spec.name}.sub'
            if self.target == "htcondor"
            else f'sbatch "$@" {self.spec.name}.sbatch'
        )
        return (
            "#!/bin/sh\n"
            f"# Submits the jobs; outputs of an earlier submission are put aside first. Options go to {command.split(maxsplit=1)[0]}.\n"
            "set -eu\n"
            'cd "$(dirname "$0")"\n'
            "for old in outputs-*; do\n"
            '    [ -e "$old" ] || continue\n'
            "    aside=${aside:-earlier-$(date +%Y%m%d-%H%M%S)}\n"
            '    mkdir -p "$aside"\n'
            '    mv "$old" "$aside/"\n'
            "done\n"
            "mkdir -p logs\n"
            f"{command}\n"
        )

    def _interact_script(self) -> str:
        entered = self.bundle is not None or self.image is not None
        inside = "sh enter.sh" if entered else "there is nothing to enter: the programs are the machine's own"
        if self.target == "htcondor":
            return (
                "#!/bin/sh\n"
                "# A shell on a machine of the pool, with the same files, resources and container as the job.\n"
                f"# Then, for the environment: {inside}\n"
                "set -eu\n"
                'cd "$(dirname "$0")"\n'
                f'echo "In the shell, for the environment: {inside}"\n'
                f'condor_submit -interactive "$@" {self.spec.name}.sub\n'
            )
        resources = self.spec.resources
        gpus = f" --gpus-per-node={resources.gpus}" if resources.gpus else ""
        shell = 'sh "$folder/enter.sh"' if entered else '"${SHELL:-/bin/sh}"'
        return (
            "#!/bin/sh\n"
            "# A shell on a node, with the same resources as the job, in a copy of its inputs and in its environment.\n"
            "set -eu\n"
            'cd "$(dirname "$0")"\n'
            "folder=$PWD\nexport folder\n"
            f"exec srun --pty --ntasks=1 --cpus-per-task={resources.cpus} --mem={mebibytes(resources.memory or DEFAULT_MEMORY)}M "
            f'--time={clock(resources.time_limit or DEFAULT_TIME)}{gpus} "$@" sh -c \'\n'
            "    set -eu\n"
            "    scratch=$(mktemp -d)\n"
            '    if [ -d "$folder/inputs" ]; then cp -R "$folder/inputs/." "$scratch/"; fi\n'
            '    cd "$scratch"\n'
            f"    exec {shell}'\n"
        )

    def _readme(self) -> str:
        spec, main = self.spec, f"{self.spec.name}.{'sub' if self.target == 'htcondor' else 'sbatch'}"
        rows = [
            (
                main,
                "what is asked of "
                + ("HTCondor" if self.target == "htcondor" else "Slurm")
                + ", each line with its reason",
            ),
            ("job.sh", "what a job executes: it prepares, runs the command, gathers the outputs"),
            ("submit.sh", "submits; puts earlier outputs aside"),
            ("interact.sh", "a shell with the same files and resources"),
        ]
        if spec.inputs:
            rows.append(("inputs/", "what the command reads, as it was when this was written"))
        if self.bundle is not None or self.image is not None:
            rows.append(("enter.sh", "starts a command in the environment"))
        rows += [(name, "the environment, and what starts it") for name in self.carried if "://" not in name]
        if spec.parameters and self.target == "htcondor":
            rows.append(("params.csv", f"one job a line: {', '.join(spec.parameters)}"))
        table = "\n".join(f"| `{name}` | {what} |" for name, what in rows)
        outputs = ", ".join(f"`{path}`" for path in spec.outputs) or "nothing: no outputs were declared"
        return (
            f"# {spec.name}\n\n"
            f"    {one_line(spec.command)}\n\n"
            f"Submit with `sh submit.sh`. It needs {'condor_submit' if self.target == 'htcondor' else 'sbatch'} and nothing else; "
            "everything may be edited.\n\n"
            f"| file | what it is |\n| --- | --- |\n{table}\n\n"
            f"What comes back, in `outputs-0/` (a folder for each job, by its number): {outputs}.\n"
            "`.wingspan-outcome` in it says how the command ended. What it prints is in `logs/`.\n"
        )


def _line(name: str, value: object) -> str | None:
    return None if value is None else f"{name} = {value}"
