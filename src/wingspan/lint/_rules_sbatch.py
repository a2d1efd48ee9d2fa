"""Rules for the ``#SBATCH`` lines of batch scripts."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wingspan.lint._rule import Hit, RuleTable
from wingspan.lint._script import Script

__all__ = ["SBATCH"]

SBATCH: RuleTable[Script] = RuleTable()

_MANUAL = "https://slurm.schedmd.com/sbatch.html"


@SBATCH.rule(
    "sbatch-too-late",
    hint="move it above the first command",
    why="sbatch stops reading options at the first line that is neither a comment nor empty.",
    source=_MANUAL,
)
def too_late(script: Script) -> Iterator[Hit]:
    for option in script.sbatch:
        if not option.effective:
            yield Hit(option.line, f"--{option.name} stands after the first command, and is ignored")


@SBATCH.rule(
    "sbatch-twice",
    hint="keep one of them",
    why="Of two options with one name sbatch takes the last.",
    source=_MANUAL,
)
def twice(script: Script) -> Iterator[Hit]:
    last = {option.name: option for option in script.sbatch if option.effective}
    last.pop("mail-type", None)  # of these, all count
    for option in script.sbatch:
        after = last.get(option.name)
        if option.effective and after is not None and after is not option and after.value != option.value:
            yield Hit(option.line, f"--{option.name} is set again in line {after.line}; this line is lost")


@SBATCH.rule(
    "sbatch-variable",
    hint="write the value, use sbatch's own %u %j %a %x, or give the option on sbatch's command line",
    why="No shell reads these lines: a variable, or ~, stays as it is written.",
    source=_MANUAL,
)
def variable(script: Script) -> Iterator[Hit]:
    for option in script.sbatch:
        match = re.search(r"\$\{?[A-Za-z_]\w*|^~(?=/|$)", option.value)
        if match:
            yield Hit(option.line, f"{match[0]} in --{option.name} is not replaced")


@SBATCH.rule(
    "sbatch-no-time",
    hint="add: #SBATCH --time=HH:MM:SS",
    why="Without it the partition's limit is taken, and the job cannot be fitted into a gap.",
    source=_MANUAL,
)
def no_time(script: Script) -> Iterator[Hit]:
    if script.sbatch and not any(option.name == "time" for option in script.sbatch):
        yield Hit(script.sbatch[0].line, "nothing says how long the job may take")


@SBATCH.rule(
    "sbatch-no-memory",
    hint="add: #SBATCH --mem=4G",
    why="Without it the cluster's default is taken: a whole node's memory, or very little.",
    source=_MANUAL,
)
def no_memory(script: Script) -> Iterator[Hit]:
    names = {option.name for option in script.sbatch}
    if script.sbatch and not names & {"mem", "mem-per-cpu", "mem-per-gpu", "exclusive"}:
        yield Hit(script.sbatch[0].line, "nothing says how much memory the job needs")


@SBATCH.rule(
    "sbatch-gpus-twice",
    hint="keep one way of asking for GPUs",
    why="--gres=gpu and the --gpus options are two ways to say one thing, and contradict each other.",
    source=_MANUAL,
)
def gpus_twice(script: Script) -> Iterator[Hit]:
    gres = [option for option in script.sbatch if option.name == "gres" and option.value.startswith("gpu")]
    others = [option for option in script.sbatch if option.name in {"gpus", "gpus-per-node", "gpus-per-task"}]
    if gres and others:
        yield Hit(gres[0].line, f"--gres=gpu and --{others[0].name} (line {others[0].line})")


@SBATCH.rule(
    "sbatch-one-file-for-all",
    hint="put %A_%a into the name",
    why="The tasks of an array write over each other's file.",
    source=_MANUAL,
)
def one_file_for_all(script: Script) -> Iterator[Hit]:
    said = {option.name: option.value for option in script.sbatch}
    if said.get("array", "0").isdigit() or said.get("open-mode") == "append":
        return
    for option in script.sbatch:
        one_name = not re.search(r"%\d*[ajJ]", option.value) and option.value != "/dev/null"
        if option.name in {"output", "error"} and one_name:
            yield Hit(option.line, f"all tasks of the array write --{option.name} to {option.value}")


@SBATCH.rule(
    "sbatch-memory-unit",
    hint="write the unit: --mem=4G",
    why="A plain number is in megabytes.",
    source=_MANUAL,
)
def memory_unit(script: Script) -> Iterator[Hit]:
    for option in script.sbatch:
        # 0 means all the memory of the node
        few = re.fullmatch(r"[1-9]\d?", option.value)
        if few and option.name in {"mem", "mem-per-cpu", "mem-per-gpu"}:
            yield Hit(option.line, f"--{option.name}={option.value} means {option.value} MB")
