"""What rendered files of maps and runs have in common: the environment, scripts, and a reason for each line.

`wingspan.runs` and `wingspan.maps` put the files together. Whoever uses them needs ``condor_submit`` or
``sbatch``, and no Wingspan.
"""

from __future__ import annotations

from wingspan.delivery.render._environment import RenderedEnvironment
from wingspan.delivery.render._folder import (
    SHELL_IN_ENVIRONMENT,
    FolderInUse,
    Target,
    check_empty,
    interact_script,
    new_folder,
    put,
    shell_script,
    ssh_command,
    submit_script,
)
from wingspan.delivery.render._htcondor import (
    most_at_once,
    profile_lines,
    requirement_lines,
    resource_lines,
    site_profile,
)
from wingspan.delivery.render._slurm import long_array, sbatch_options
from wingspan.pools.text import DEFAULT_MEMORY, DEFAULT_TIME, Reasoned, clock, mebibytes, one_line

__all__ = [
    "DEFAULT_MEMORY",
    "DEFAULT_TIME",
    "SHELL_IN_ENVIRONMENT",
    "FolderInUse",
    "Reasoned",
    "RenderedEnvironment",
    "Target",
    "check_empty",
    "clock",
    "interact_script",
    "long_array",
    "mebibytes",
    "most_at_once",
    "new_folder",
    "one_line",
    "profile_lines",
    "put",
    "requirement_lines",
    "resource_lines",
    "sbatch_options",
    "shell_script",
    "site_profile",
    "ssh_command",
    "submit_script",
]
