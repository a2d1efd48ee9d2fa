"""The job's script: a pure function of a `RunSpec`. One file of POSIX shell that a person can read, keep and edit.

It runs twice: the outer part prepares, checks and collects; it starts itself (``--inside``) in the environment for the commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence

from wingspan._words import counted
from wingspan.runs._gather import CHECKPOINT_FOLDER, gathering
from wingspan.runs._spec import RunSpec, Step
from wingspan.runs._words import inside_quotes, path_word, word

__all__ = ["EXIT_GPU", "EXIT_NO_CHECKPOINT", "job_script"]

#: The GPU is not one that the environment can use.
EXIT_GPU = 117
#: The command said that it has a checkpoint, and has none.
EXIT_NO_CHECKPOINT = 118


def _step(step: Step, parameters: Sequence[str], last: bool) -> str:
    lines = []
    if step.task:
        lines.append(f"# task {step.task}")
    # A value becomes part of the line, as Pixi has it: also where it stands inside of quotes.
    words = step.words if step.line is None else ("sh", "-c", step.line)
    command = " ".join(word(one, parameters) for one in words)
    setup = []
    if step.cwd:
        setup.append(f"mkdir -p {shlex.quote(step.cwd)} && cd {shlex.quote(step.cwd)}")
    # A variable that the job has already wins over the task's: so it is with Pixi.
    setup += [
        f'[ -n "${{{name}+set}}" ] || export {name}="{inside_quotes(value, parameters)}"'
        for name, value in step.env.items()
    ]
    body = [*setup, f"exec {command}"]
    if not last:  # the last one takes the place of this shell: it gets the signals
        margin = "" if "\n" in command else "    "  # a line's beginning may be inside of quotes
        body = ["(", *(margin + line for line in body), ")"]
    return "\n".join([*lines, *body])


def _rows(spec: RunSpec) -> str:
    """Which job has which values, as a table for the shell."""
    lines = ["case $wingspan_number in"]
    for number, row in enumerate(spec.rows):
        values = "; ".join(
            f"{name}={shlex.quote(value)}" for name, value in zip(spec.parameters, row, strict=True)
        )
        lines.append(f"{number}) {values} ;;")
    lines += ['*) echo "wingspan-run: there is no job $wingspan_number" >&2; exit 2 ;;', "esac"]
    return "\n".join(lines)


_PREFLIGHT = """\
# ---- Is the GPU one that the environment can use? Found out now, and not after an hour. --------------------------------
preflight() {{
    command -v nvidia-smi >/dev/null 2>&1 || {{
        echo "wingspan-run: this job asked for {gpus_text}, and $(hostname) has no nvidia-smi:" \\
            "no NVIDIA driver is installed, or the container was started without it (apptainer: --nv)" >&2
        return 1
    }}
    wingspan_query=name,compute_cap,driver_version,uuid,index,memory.total
    # Drivers before 510 do not tell the capability: it is not judged then.
    wingspan_devices=$(nvidia-smi --query-gpu="$wingspan_query" --format=csv,noheader 2>/dev/null ||
        nvidia-smi --query-gpu="name,pstate${{wingspan_query#name,compute_cap}}" --format=csv,noheader 2>&1) || {{
        echo "wingspan-run: the NVIDIA driver of $(hostname) does not answer: $wingspan_devices" >&2
        return 1
    }}
    # The highest CUDA runtime that the driver supports stands in nvidia-smi's heading.
    wingspan_runtime=$(nvidia-smi 2>/dev/null | sed -n 's/.*CUDA Version: *\\([0-9.]*\\).*/\\1/p' | head -n 1)
    # nvidia-smi lists what the machine has; the devices that this job was given stand in CUDA_VISIBLE_DEVICES.
    printf '%s\\n' "$wingspan_devices" | awk -F', *' -v host="$(hostname)" -v runtime="$wingspan_runtime" \\
        -v visible="${{CUDA_VISIBLE_DEVICES:-}}" -v wanted={gpus} \\
        -v lowest={lowest} -v highest={highest} -v cuda={runtime} -v memory={memory} '
        function number(version, part) {{ split(version, part, "."); return part[1] * 1000 + part[2] }}
        function bad(what) {{ why = why "wingspan-run: " $1 " on " host " " what "\\n" }}
        BEGIN {{ count = split(visible, given, ",") }}
        {{
            why = ""
            known = ($2 ~ /^[0-9]+\\.[0-9]+$/)
            if (known && lowest != "" && number($2) < number(lowest))
                bad("has compute capability " $2 "; the environment was compiled for " lowest " and higher")
            if (known && highest != "" && number($2) > number(highest))
                bad("has compute capability " $2 "; the environment was compiled for " highest " at most")
            if (cuda != "" && runtime != "" && number(runtime) < number(cuda))
                bad("has the driver " $3 ", which supports CUDA up to " runtime "; the environment needs " cuda)
            if (memory != "" && $6 + 0 > 0 && $6 + 0 < memory + 0)
                bad("has " $6 " of memory; " memory " MiB are asked for")
            mine = 0
            for (i = 1; i <= count; i++)
                if (given[i] == $5 || (length(given[i]) > 4 && index($4, given[i]) == 1)) mine = 1
            listed++
            if (why == "") good++
            else said = said why
            if (mine) {{
                own++
                if (why == "") own_good++
                else own_said = own_said why
            }}
        }}
        END {{
            if (own) {{ listed = own; good = own_good; said = own_said }}
            else if (count) wanted = 1  # parts of a device have names of their own (MIG)
            if (good >= wanted) exit 0
            printf "%s", said
            if (listed < wanted)
                printf "wingspan-run: this job asked for %d GPU%s, and %s %d on %s\\n", wanted, \\
                    (wanted == 1 ? "" : "s"), (listed == 1 ? "there is" : "there are"), listed, host
            exit 1
        }}' >&2
}}
preflight || finish {code}
"""


def _preflight(spec: RunSpec) -> str:
    resources = spec.resources

    def text(value: object) -> str:
        return shlex.quote("" if value is None else str(value))

    return _PREFLIGHT.format(
        gpus=resources.gpus,
        gpus_text=counted(resources.gpus, "GPU"),
        lowest=text(resources.gpus_minimum_capability),
        highest=text(resources.gpus_maximum_capability),
        runtime=text(resources.gpus_minimum_runtime),
        memory=text(resources.gpus_minimum_memory and resources.gpus_minimum_memory >> 20),
        code=EXIT_GPU,
    )


_SHARED = """\
# ---- A folder of its own on this machine; inputs are copied, outputs go back when the job is done. ----------------------
wingspan_folder={folder}
# The variables may be those of another machine.
wingspan_scratch=/tmp
for wingspan_place in "${{TMPDIR:-}}" "${{SLURM_TMPDIR:-}}"; do
    if [ -d "$wingspan_place" ] && [ -w "$wingspan_place" ]; then wingspan_scratch=$wingspan_place; fi
done
wingspan_scratch=$(mktemp -d "$wingspan_scratch/wingspan-run.XXXXXX")
trap 'rm -rf "$wingspan_scratch"' EXIT
if [ -d "$wingspan_folder/inputs" ]; then cp -R "$wingspan_folder/inputs/." "$wingspan_scratch/"; fi
cd "$wingspan_scratch"
"""

_KEEP_CHECKPOINT = """\
# ---- Checkpoints: one folder holds them with their paths, which HTCondor alone would not keep ----------------------------
wingspan_kept_checkpoint={folder}
if [ -d "$wingspan_kept_checkpoint" ]; then cp -R "$wingspan_kept_checkpoint/." .; fi
keep_checkpoint() {{
    rm -rf "$wingspan_kept_checkpoint.new"
    mkdir -p "$wingspan_kept_checkpoint.new"
    set -- {paths}
    for wingspan_path; do
        [ -e "$wingspan_path" ] || {{
            echo "wingspan-run: the command says that it has a checkpoint, and $wingspan_path was not written" >&2
            finish {missing_code}
        }}
        copy "./$wingspan_path" "$wingspan_kept_checkpoint.new" || {{
            echo "wingspan-run: the checkpoint $wingspan_path cannot be kept whole" >&2
            finish {missing_code}
        }}
    done
    rm -rf "$wingspan_kept_checkpoint"
    mv "$wingspan_kept_checkpoint.new" "$wingspan_kept_checkpoint"
}}
"""


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
        start: Words that start a command inside the environment; they end before the command. One that begins with a double
            quote is shell already. Empty: no environment.
        shared: The run's folder (a word of shell), on a file system that the job sees: inputs are copied from it and outputs
            into it. None: HTCondor moves files.
        row_arguments: The values of the sweep follow the number as arguments; otherwise the script has a table of them.
        gpu_check: Check the GPU; None: when one is asked for.
        path: Where programs are looked for (``PATH``); None: where the job's machine looks.
        by_submission: The variable ``WINGSPAN_SUBMISSION`` has the number of the submission, and outputs are told apart by it.
    """
    parameters = spec.parameters
    parts = [
        "#!/bin/sh",
        f"# {spec.name}: {_one_line(spec.command)}",
        "# Written by Wingspan; needs nothing of it where it runs. Usage: job.sh NUMBER",
        "set -eu  # a failure in here is the job's failure",
        "",
        "# The script's own variables are called so: those of a sweep go by any other name.",
        "wingspan_number=${1:-0}",
        *(
            [
                "# Outputs of several submissions do not get into each other's way.",
                "wingspan_job=${WINGSPAN_SUBMISSION:+$WINGSPAN_SUBMISSION-}$wingspan_number",
            ]
            if by_submission
            else ["wingspan_job=$wingspan_number"]
        ),
        "case $0 in /*) wingspan_self=$0 ;; *) wingspan_self=$PWD/$0 ;; esac",
    ]
    if path is not None:
        parts += [
            "# Programs are those that whoever made the run has.",
            f"PATH={shlex.quote(path)}",
            "export PATH",
        ]
    if parameters:
        parts.append("\n# ---- The parameters of this job " + "-" * 80)
        if row_arguments:
            parts += [f"{name}=${{{place}}}" for place, name in enumerate(parameters, 2)]
        else:
            parts.append(_rows(spec))
        parts.append("export " + " ".join(parameters))
    parts += [
        "",
        "# ---- The commands, inside the environment " + "-" * 70,
        'if [ "${WINGSPAN_INSIDE:-}" = yes ]; then',
        "unset WINGSPAN_INSIDE WINGSPAN_SUBMISSION",
        *(f"export {name}={shlex.quote(value)}" for name, value in spec.variables.items()),
        "# Programs that write to HOME fill a quota, or fail where there is none: the job's folder is its home.",
        *(
            f'export {name}="$PWD"'
            for name in ("HOME", "PIXI_PROJECT_ROOT", "INIT_CWD")
            if name not in spec.variables
        ),
        *(_step(step, parameters, step is spec.steps[-1]) for step in spec.steps),
        "fi",
    ]
    parts.append("")
    if shared is not None:
        parts.append(_SHARED.format(folder=shared))
    destination = (
        '"$wingspan_folder/.outputs-$wingspan_job.$$"' if shared is not None else '"outputs-$wingspan_job"'
    )
    parts += [
        f"wingspan_outputs={destination}",
        'mkdir -p "$wingspan_outputs"',
        "",
        gathering(spec, shared=shared is not None),
    ]
    if spec.checkpoint:
        parts.append(
            _KEEP_CHECKPOINT.format(
                folder='"$wingspan_folder/checkpoint-$wingspan_job"'
                if shared is not None
                else CHECKPOINT_FOLDER,
                paths=" ".join(path_word(path, parameters) for path in spec.checkpoint),
                missing_code=EXIT_NO_CHECKPOINT,
            )
        )
    if gpu_check if gpu_check is not None else (spec.resources.gpus > 0 and spec.preflight):
        parts.append(_preflight(spec))
    parts.append(_run(spec, start, shared is not None))
    return "\n".join(parts).replace("\n\n\n", "\n\n")


def _run(spec: RunSpec, start: Sequence[str], shared: bool) -> str:
    words = " ".join(word if word.startswith('"') else shlex.quote(word) for word in start)
    again_here = shared and bool(spec.checkpoint)  # HTCondor itself starts a job again
    inside = f'env WINGSPAN_INSIDE=yes {words + " " if words else ""}sh "$wingspan_self" "$@"'
    stopping = "wingspan_stopping=yes; " if again_here else ""
    lines = [
        "# ---- The work " + "-" * 98,
        "wingspan_child=",
        "# HTCondor and Slurm tell this process to end: the command hears of it too.",
        *(["wingspan_stopping="] if again_here else []),
        f"trap '{stopping}"
        '[ -z "$wingspan_child" ] || kill -TERM "$wingspan_child" 2>/dev/null || :\' TERM INT',
    ]
    body = [
        "wingspan_code=0",
        f"{inside} </dev/null &",
        "wingspan_child=$!",
        'wait "$wingspan_child" || wingspan_code=$?',
        "# A signal ends the waiting, not the command.",
        'while kill -0 "$wingspan_child" 2>/dev/null; do wingspan_code=0; wait "$wingspan_child" || wingspan_code=$?; done',
    ]
    if spec.checkpoint:
        code = spec.checkpoint_exit_code
        # The command has a checkpoint and wants to be started again from it.
        body += [f'[ "$wingspan_code" -ne {code} ] || keep_checkpoint']
        if shared:
            again = f'[ "$wingspan_code" -eq {code} ] || break'
            stop = f'[ -z "$wingspan_stopping" ] || exit {code}'
            body = ["while :; do", *(f"    {line}" for line in (*body, again, stop)), "done"]
        else:
            # HTCondor keeps the folder and starts the job again.
            body += [f'[ "$wingspan_code" -ne {code} ] || exit {code}']
    return "\n".join([*lines, *body, 'finish "$wingspan_code"', ""])


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 110 else line[:109] + "…"
