"""A run as an sbatch script: a pure function, with a comment for each thing it asks for."""

from __future__ import annotations

from wingspan._version import __version__
from wingspan.runs._spec import RunSpec

__all__ = ["DEFAULT_MEMORY", "DEFAULT_TIME", "clock", "mebibytes", "one_line", "sbatch_script"]

#: What is written where nobody said anything; the comment in the file says so.
DEFAULT_MEMORY = 2 << 30
DEFAULT_TIME = 3600


def sbatch_script(spec: RunSpec) -> str:
    """The sbatch script of `spec`; it executes ``job.sh`` beside it."""
    resources = spec.resources
    array = len(spec.rows) > 1
    which = "%A_%a" if array else "%j"
    lines = [
        "#!/bin/sh",
        f"# {spec.name}: {one_line(spec.command)}",
        f"# Written by Wingspan {__version__}; plain Slurm from here on. Submit it with: sh submit.sh",
        "#",
        "# What squeue shows.",
        f"#SBATCH --job-name={spec.name}",
        "# What the job prints, in a file of its own.",
        f"#SBATCH --output=logs/{which}.out",
        f"#SBATCH --error=logs/{which}.err",
        "# What it needs of a node; it is ended if it takes more memory or time."
        + (
            ""
            if resources.memory and resources.time_limit
            else " Where nobody said: 2 GB and an hour, which are guesses."
        ),
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        f"#SBATCH --cpus-per-task={resources.cpus}",
        f"#SBATCH --mem={mebibytes(resources.memory or DEFAULT_MEMORY)}M",
        f"#SBATCH --time={clock(resources.time_limit or DEFAULT_TIME)}",
    ]
    if array:
        lines += [
            "# One task for each row of the sweep; the table is in job.sh.",
            f"#SBATCH --array=0-{len(spec.rows) - 1}",
        ]
    if resources.gpus:
        lines += [
            "# GPUs. Slurm knows neither capability nor driver: job.sh looks at the device before it begins.",
            f"#SBATCH --gpus-per-node={resources.gpus}",
        ]
    if spec.checkpoint:
        lines += [
            "# It goes on from its checkpoint when it is put back into the queue.",
            "#SBATCH --requeue",
        ]
    lines += _profile(spec)
    lines += [
        "",
        "# The folder with inputs and job.sh must be on a file system that the nodes see.",
        'cd "$SLURM_SUBMIT_DIR"',
        'exec sh ./job.sh "${SLURM_ARRAY_TASK_ID:-0}"',
        "",
    ]
    return "\n".join(lines)


def _profile(spec: RunSpec) -> list[str]:
    if spec.profile is None:
        return []
    from wingspan.pools.profiles import load_profile

    profile = load_profile(spec.profile)
    options = [f"#SBATCH --{name}={value}" for name, value in profile.sbatch.items()]
    constraint = profile.slurm_constraint(spec.resources)
    if constraint:
        options.append(f"#SBATCH --constraint={constraint}")
    return [f"# What {profile.title or profile.name} wants.", *options] if options else []


def mebibytes(size: int) -> int:
    return -(-size // (1 << 20))


def clock(seconds: int) -> str:
    """Seconds as Slurm writes them.

    >>> clock(3661), clock(90000)
    ('01:01:01', '1-01:00:00')
    """
    days, rest = divmod(seconds, 86400)
    clock = f"{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{days}-{clock}" if days else clock


def one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 110 else line[:109] + "…"
