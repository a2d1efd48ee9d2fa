"""The head of an sbatch script, with a comment for each thing it asks for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from types import MappingProxyType

from wingspan._shell import quoted
from wingspan._version import __version__
from wingspan.jobs import Resources
from wingspan.pools.text import DEFAULT_MEMORY, DEFAULT_TIME, clock, mebibytes

__all__ = ["long_array", "sbatch_options"]

#: Tasks that an array may have where a site says nothing (MaxArraySize in slurm.conf's manual).
_MOST_TASKS = 1001
#: Values that need no quotes.
_PLAIN = re.compile(r"""[^\s"'\\#]+""")


def long_array(count: int, parts: str) -> str:
    """What a README says of arrays that Slurm may refuse: how to submit `parts`; nothing of short ones."""
    if count <= _MOST_TASKS:
        return ""
    return (
        f"Slurm takes arrays of up to `MaxArraySize` tasks (`scontrol show config` has it; {_MOST_TASKS:,} where a site says nothing). "
        f"{count:,} go in parts: {parts}.\n"
    )


def sbatch_options(
    *,
    name: str,
    title: str,
    resources: Resources,
    count: int | None,
    count_why: str,
    gpus_why: str,
    requeue_why: str | None,
    profile: str | None,
    own: Mapping[str, str | bool] = MappingProxyType({}),
) -> list[str]:
    """The lines from ``#!/bin/sh`` to the last ``#SBATCH``.

    Args:
        name: What squeue shows.
        title: What it is, for the first line.
        resources: What a job needs.
        count: Tasks of the array; None: no array.
        count_why, gpus_why, requeue_why: Reasons for these lines; without a reason to requeue it is not asked
            for.
        profile: Site profile.
        own: Options of sbatch that the user names.

    Raises:
        SettingsError: There is no such profile, or no GPU of it is good enough.
    """
    which = "%j" if count is None else "%A_%a"
    said = resources.memory and resources.time_limit
    lines = [
        "#!/bin/sh",
        f"# {name}: {title}",
        f"# Written by Wingspan {__version__}; plain Slurm from here on. Submit it with: sh submit.sh",
        "#",
        "# What squeue shows.",
        f"#SBATCH --job-name={name}",
        "# What the job prints, in a file of its own.",
        f"#SBATCH --output=logs/{which}.out",
        f"#SBATCH --error=logs/{which}.err",
        "# What it needs of a node; it is ended if it takes more memory or time."
        + ("" if said else " Where nobody said: 2 GB and an hour, which are guesses."),
        "#SBATCH --nodes=1",
        "#SBATCH --ntasks=1",
        f"#SBATCH --cpus-per-task={resources.cpus}",
        f"#SBATCH --mem={mebibytes(resources.memory or DEFAULT_MEMORY)}M",
        f"#SBATCH --time={clock(resources.time_limit or DEFAULT_TIME)}",
    ]
    if count is not None:
        lines += [f"# {count_why}", f"#SBATCH --array=0-{count - 1}"]
    if resources.gpus:
        lines += [f"# {gpus_why}", f"#SBATCH --gpus-per-node={resources.gpus}"]
    if requeue_why is not None:
        lines += [
            f"# {requeue_why} What it printed before stays.",
            "#SBATCH --requeue",
            "#SBATCH --open-mode=append",
        ]
    return [*lines, *_further_options(profile, resources, own)]


def _further_options(name: str | None, resources: Resources, own: Mapping[str, str | bool]) -> list[str]:
    from wingspan.pools.profiles import chosen_profile

    profile = chosen_profile(name)
    options = profile.sbatch_options(resources, own)
    asked = [_line(each, value) for each, value in options.items() if each in own]
    wanted = [_line(each, value) for each, value in options.items() if each not in own]
    return [
        *(["# What its user asks for beside that.", *asked] if asked else []),
        *([f"# What {profile.title or profile.name} wants.", *wanted] if wanted else []),
    ]


def _line(name: str, value: str | bool) -> str:
    """An option as sbatch reads it from a script, where words are quoted as in a shell."""
    if value is True:
        return f"#SBATCH --{name}"
    return f"#SBATCH --{name}={value if _PLAIN.fullmatch(str(value)) else quoted(str(value))}"
