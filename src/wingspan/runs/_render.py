"""Runs as files for people to own: submit description or sbatch script, the job's script, a README.

What is written works with plain ``condor_submit`` and ``sbatch``, on machines that have never heard of
Wingspan, and says in comments why each line is there. What maps have too is in `wingspan.delivery.render`.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import attrs

from wingspan._shell import Shell
from wingspan._version import __version__
from wingspan._warn import warn
from wingspan.delivery.carriage import OWN_DISK
from wingspan.delivery.render import (
    Reasoned,
    RenderedEnvironment,
    Target,
    check_empty,
    interact_script,
    long_array,
    most_at_once,
    new_folder,
    one_line,
    profile_lines,
    put,
    requirement_lines,
    resource_lines,
    sbatch_options,
    shell_script,
    site_profile,
    submit_script,
)
from wingspan.jobs import JobDescription, size_text
from wingspan.pools.submit_description import classad_literal, quote_arguments, submit_value
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.runs._destinations import rendered_remaps
from wingspan.runs._errors import InvalidRun, InvalidSweep, RunWarning
from wingspan.runs._files import check_input_sizes, keep_inputs, url_bytes
from wingspan.runs._jobs import bundle_of, checkpoint_commands
from wingspan.runs._plan import Plan, plan_run
from wingspan.runs._request import RunRequest
from wingspan.runs._run import Run
from wingspan.runs._script import job_script
from wingspan.runs._spec import RunSpec
from wingspan.worker import trust

__all__ = ["plan_of_run", "render", "render_request", "write_files"]

#: Before the names of parameters in a submit description, where ``rank`` or ``input`` alone would be submit
#: commands.
_PARAMETER = "p_"
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
        image: Container image in which the environment lies (made from an `oci` or `sif` bundle):
            ``docker://…@sha256:…``.
        bundle_url: Where the bundle was published; it is then not copied into `folder`.
        progress: Hears of the environment being built.

    Returns:
        What was written.

    Raises:
        FolderInUse: The folder holds something.
        InvalidRun: What was asked for cannot be said to `target`.
        Others as `wingspan.run`, but for those of pools.
    """
    request = RunRequest(command=command, **options)
    return render_request(target, folder, request, image=image, bundle_url=bundle_url, progress=progress)


def render_request(
    target: Target,
    folder: str | os.PathLike[str],
    request: RunRequest,
    *,
    image: str | None = None,
    bundle_url: str | None = None,
    progress: Progress = NO_PROGRESS,
) -> list[Path]:
    """`render`, of a request."""
    check_empty(Path(folder))
    plan = plan_run(request, build=image is None, progress=progress)
    for warning in plan.spec.warnings:
        warn(warning, RunWarning)
    return write_files(target, plan, Path(folder), progress, image=image, bundle_url=bundle_url)


def plan_of_run(run: Run) -> Plan:
    """The plan of a run that exists, with its inputs as they were taken last."""
    bundle = bundle_of(run._folder)
    kept = run._folder.inputs(run._folder.newest_inputs())
    inputs = tuple((kept / place, place) for _, place in run.spec.inputs)
    return Plan(spec=attrs.evolve(run.spec, inputs=inputs), bundle=bundle)


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
    if target == "slurm" and plan.spec.resources.retry_memory is not None:
        raise InvalidRun(
            "Slurm does no job again that took more memory than it had asked for",
            hint=f"leave retry_memory out, and ask for enough: --memory {size_text(plan.spec.resources.retry_memory)}",
        )
    if target == "slurm" and plan.spec.placed:
        raise InvalidRun(
            f"Slurm does not fetch the input {plan.spec.placed[0][0]}",
            hint="render the command anew, with the file",
        )
    if target == "slurm" and plan.spec.destinations:
        raise InvalidRun(
            f"Slurm sends no output to {next(iter(plan.spec.destinations.values()))}",
            hint="let it come back, or send it from the command; wingspan run does it, where the nodes see this Wingspan",
        )
    files = _Files(plan, target, folder, image, bundle_url)
    with new_folder(folder):
        files.write(progress)
    return sorted(path for path in folder.iterdir() if path.is_file())


class _Files:
    """One rendering."""

    def __init__(
        self, plan: Plan, target: Target, folder: Path, image: str | None, bundle_url: str | None
    ) -> None:
        self.spec, self.target, self.folder = plan.spec, target, folder
        self.environment = RenderedEnvironment(target, plan.bundle, image, bundle_url)
        self.input_bytes = 0
        if target == "htcondor":
            site_profile(self.spec.profile).check_folder(folder.absolute())
            check_input_sizes(self.spec, site_profile(self.spec.profile))
        self.main = f"{plan.spec.name}.{'sub' if target == 'htcondor' else 'sbatch'}"

    def write(self, progress: Progress) -> None:
        spec = self.spec
        if spec.inputs:
            self.input_bytes = keep_inputs(spec.inputs, self.folder / "inputs", progress)
        trust.make_folder(str(self.folder / "logs"))
        self.environment.write(self.folder)
        start = self.environment.start
        if self.target == "htcondor":
            text = job_script(spec, start, row_arguments=bool(spec.parameters), by_submission=True)
            put(self.folder, "job.sh", text, trust.PROGRAM)
            put(self.folder, self.main, self._submit_description())
            if spec.parameters:
                rows = "".join(", ".join(map(submit_value, row)) + "\n" for row in self._simple_rows())
                put(self.folder, "params.csv", rows)
        else:
            text = job_script(spec, start, shared=Shell('"$PWD"'), by_submission=True)
            put(self.folder, "job.sh", text, trust.PROGRAM)
            put(self.folder, self.main, _sbatch_script(spec), trust.PROGRAM)
        put(self.folder, "submit.sh", self._submit_script(), trust.PROGRAM)
        one, entered = "rows = :1" if spec.parameters else None, bool(self.environment)
        interact = interact_script(
            self.main, spec.resources, entered=entered, append=one, also="shell.sh, job.sh"
        )
        put(self.folder, "interact.sh", interact, trust.PROGRAM)
        first = " ".join(("sh job.sh 0", *(spec.rows[0] if spec.parameters else ())))
        if self.target == "slurm":
            first = 'cd "$WINGSPAN_FOLDER" && sh job.sh 0'
        hint = f"In this shell: {first}  does what the job does."
        shell = shell_script(self.target, entered=entered, variables=spec.variables, hint=hint)
        put(self.folder, "shell.sh", shell, trust.PROGRAM)
        put(self.folder, "README.md", self._readme())

    def _simple_rows(self) -> tuple[tuple[str, ...], ...]:
        for row in self.spec.rows:
            for value in row:
                if not _SIMPLE.fullmatch(value):
                    raise InvalidSweep(
                        f"the value {value!r} cannot stand in a list that HTCondor's queue statement reads",
                        hint="use values without blanks, commas and quotes, or wingspan run, which has no such limit",
                    )
        return self.spec.rows

    # -- HTCondor --------------------------------------------------------------------------------------------

    def _submit_description(self) -> str:
        spec = self.spec
        text = Reasoned(
            f"{spec.name}: {one_line(spec.command)}",
            f"Written by Wingspan {__version__}; plain HTCondor from here on. Submit it with: sh submit.sh",
        )
        say = text.say
        if self.environment.container:
            say(
                "The job runs inside this image. Its name says its content: caches take a name for unchangeable.",
                *self.environment.image_lines(),
            )
        else:
            along = "; the environment comes along as a file" if self.environment else ""
            say(f"An ordinary program{along}.", "universe = vanilla")
        say("What condor_q shows.", f"JobBatchName = {classad_literal(spec.name)}")
        row = (f"$({_PARAMETER}{name})" for name in spec.parameters)
        arguments = quote_arguments((self.number, *row)) if spec.parameters else self.number
        say(
            "The script beside this file; its first argument is the number of the job"
            + (", that of its row in params.csv." if spec.parameters else "."),
            "executable = job.sh",
            f"arguments = {arguments}",
        )
        say(
            "The number of the submission: each has outputs of its own.",
            'environment = "WINGSPAN_SUBMISSION=$(Cluster)"',
        )
        say(
            "What HTCondor tells about the jobs, and what they print. Streamed: it can be read while they run.",
            f"log = {spec.name}.log",
            f"output = logs/$(Cluster).{self.number}.out",
            f"error = logs/$(Cluster).{self.number}.err",
            "stream_output = true",
            "stream_error = true",
        )
        self._transfer(text)
        resource_lines(text, spec.resources, self._disk())
        requirement_lines(
            text,
            [*spec.urls, *self.environment.carried[-1:]],
            spec.environment.machine_requirements if spec.environment else None,
        )
        job = JobDescription(
            name=spec.name,
            executable="job.sh",
            resources=attrs.evolve(spec.resources, disk=self._disk()),
            count=len(spec.rows),
            submit=checkpoint_commands(spec),
        )
        profile_lines(text, job, spec.profile, spec.switches)
        self._queue(text)
        return str(text)

    def _queue(self, text: Reasoned) -> None:
        spec, say = self.spec, text.say
        if spec.parameters:
            some = most_at_once(spec.profile, len(spec.rows))
            few = (
                f" The site takes {some} jobs of a submission: submit again with rows = {some}:{2 * some}, and so on."
                if some < len(spec.rows)
                else ""
            )
            say(
                f"One job for each line of params.csv; a slice as Python has them leaves some out. {_PARAMETER}: a name alone may be a "
                f"submit command.{few}",
                f"rows = :{some if few else ''}",
                f"queue {', '.join(_PARAMETER + name for name in spec.parameters)} from [$(rows)] params.csv",
            )
        else:
            say("One job.", "queue")

    def _transfer(self, text: Reasoned) -> None:
        spec, say = self.spec, text.say
        inputs = [
            *(["inputs/"] if spec.inputs else []),
            *spec.urls,
            *(url for url, _, _ in spec.placed),
        ]
        say(
            "Files go to the job and come back. The slash after inputs: what is in it, with its folders, not the folder itself.",
            "should_transfer_files = YES",
            *self.environment.transfer_lines(inputs),
        )
        say(
            "job.sh moves what is to come back into one folder, so that a missing file is an error it can name; named here, "
            "HTCondor would hold the job.",
            "when_to_transfer_output = ON_EXIT",
            f"transfer_output_files = outputs-$(Cluster)-{self.number}",
        )
        if remaps := rendered_remaps(spec, self.number, lambda name: f"$({_PARAMETER}{name})"):
            say(
                "Of what lies in that folder, these go to an address, by HTCondor's transfer plugins.",
                f"transfer_output_remaps = {remaps}",
            )
        if spec.checkpoint:
            say(
                f"The command exits with {spec.checkpoint_exit_code} when it has written a checkpoint; job.sh puts it into this "
                "folder, which HTCondor keeps; the command is started again with it, here or elsewhere.",
                *(f"{name} = {value}" for name, value in checkpoint_commands(spec).items()),
            )

    @property
    def number(self) -> str:
        """HTCondor's macro for the number of a job: its row's (some may be left out), or the process's."""
        return "$(Row)" if self.spec.parameters else "$(Process)"

    def _disk(self) -> int:
        """Bytes of disk: what was asked for, else the installed environment, the inputs, and some more."""
        spec = self.spec
        if spec.resources.disk is not None:
            return spec.resources.disk
        size = self.environment.size
        if not size and spec.environment is not None:
            size = int(spec.environment.needs.get("installed_bytes") or 0)
        return size + self.input_bytes + url_bytes(spec.urls) + OWN_DISK

    # -- around it -------------------------------------------------------------------------------------------

    def _submit_script(self) -> str:
        return submit_script(self.main, why="Submits the jobs.")

    def _readme(self) -> str:
        spec, main = self.spec, self.main
        rows = [
            (
                main,
                "what is asked of "
                + ("HTCondor" if self.target == "htcondor" else "Slurm")
                + ", each line with its reason",
            ),
            ("job.sh", "what a job executes: it prepares, runs the command, gathers the outputs"),
            ("submit.sh", "submits"),
            ("interact.sh", "a shell with the same files and resources"),
            ("shell.sh", "what interact.sh starts on the machine"),
        ]
        if spec.inputs:
            rows.append(("inputs/", "what the command reads, as it was when this was written"))
        if self.environment:
            rows.append(("enter.sh", "starts a command in the environment"))
        rows += self.environment.described()
        if spec.parameters and self.target == "htcondor":
            rows.append(("params.csv", f"one job a line: {', '.join(spec.parameters)}"))
        table = "\n".join(f"| `{name}` | {what} |" for name, what in rows)
        parts = f"`sh submit.sh --array=0-999`, `WINGSPAN_FIRST=1000 sbatch --array=0-999 {main}`, and so on"
        outputs = ", ".join(f"`{path}`" for path in spec.outputs) or "nothing: no outputs were declared"
        return (
            f"# {spec.name}\n\n"
            f"    {one_line(spec.command)}\n\n"
            f"Submit with `sh submit.sh`. It needs {'condor_submit' if self.target == 'htcondor' else 'sbatch'} and nothing else; "
            "everything may be edited.\n\n"
            f"| file | what it is |\n| --- | --- |\n{table}\n\n"
            "What comes back, in a folder for each job, `outputs-SUBMISSION-JOB/` (the number of the submission, and that of the job, "
            f"which begin with 0): {outputs}.\n"
            "`.wingspan-outcome` in it says how the command ended. What it prints is in `logs/`.\n"
            + self._sizes()
            + (long_array(len(spec.rows), parts) if self.target == "slurm" else "")
        )

    def _sizes(self) -> str:
        unknown = [url for url in self.spec.urls if not url.startswith("file://")]
        if not unknown or self.target != "htcondor" or self.spec.resources.disk is not None:
            return ""
        return (
            f"`request_disk` has no room for {', '.join(unknown)}: how large that is was not asked. Add it.\n"
        )


def _sbatch_script(spec: RunSpec) -> str:
    """The sbatch script of `spec`; it executes ``job.sh`` beside it."""
    lines = sbatch_options(
        name=spec.name,
        title=one_line(spec.command),
        resources=spec.resources,
        count=len(spec.rows) if len(spec.rows) > 1 else None,
        count_why="One task for each row of the sweep; the table is in job.sh.",
        gpus_why="GPUs. Slurm knows neither capability nor driver: job.sh looks at the device before it begins.",
        requeue_why="It goes on from its checkpoint when it is put back into the queue."
        if spec.checkpoint
        else None,
        profile=spec.profile,
    )
    lines += [
        "",
        "set -eu",
        "# The folder with inputs and job.sh must be on a file system that the nodes see.",
        'cd "$SLURM_SUBMIT_DIR"',
        "# The number of the submission: each has outputs of its own.",
        "WINGSPAN_SUBMISSION=${SLURM_ARRAY_JOB_ID:-${SLURM_JOB_ID:-}}",
        "export WINGSPAN_SUBMISSION",
    ]
    if long_array(len(spec.rows), ""):
        lines += [
            "# Arrays have a limit: the sweep goes in parts, each with the number of its first row (README.md).",
            'exec sh ./job.sh "$((SLURM_ARRAY_TASK_ID + ${WINGSPAN_FIRST:-0}))"',
        ]
    else:
        lines.append('exec sh ./job.sh "${SLURM_ARRAY_TASK_ID:-0}"')
    return "\n".join(lines) + "\n"
