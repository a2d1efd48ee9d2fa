"""Rules for the ``#SBATCH`` lines of batch scripts."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from wingspan.lint._rule import Hit, RuleTable
from wingspan.lint._sbatch_options import NAMES, Sbatch, parse_options, value_fault
from wingspan.lint._script import Script
from wingspan.lint._submit_file import exists, is_template

__all__ = ["SBATCH", "not_read"]

SBATCH: RuleTable[Script] = RuleTable()

_MANUAL = "https://slurm.schedmd.com/sbatch.html"


def _read(script: Script) -> Iterator[Sbatch]:
    """What sbatch reads, and understands."""
    return (option for option in script.sbatch if option.effective and option.fault is None)


@SBATCH.rule(
    "sbatch-refused",
    hint="correct its name: sbatch --help lists the options",
    why="sbatch refuses the script: it reads these lines as its command line, and knows no such option there.",
    source="https://slurm.schedmd.com/sbatch.html; tried with sbatch --test-only of Slurm 22.05",
    refuses=True,
)
def refused(script: Script) -> Iterator[Hit]:
    if is_template(script.header):
        return
    before = None
    for option in script.sbatch:
        if option.effective and option.fault is not None:
            hint = None
            if option.fault == "it is no option" and before is not None and before.line == option.line:
                hint = f"write --{before.name}={before.value}{option.name}, or put the words into quotes"
            elif option.fault == "there is no such option":
                near = difflib.get_close_matches(option.name[:40], NAMES, n=1, cutoff=0.6)
                hint = f"write --{near[0]}" if near else None
            yield Hit(option.line, f"{_shown(option)}: {option.fault}", hint)
        before = option


def _shown(option: Sbatch) -> str:
    word = (
        option.name
        if option.name.startswith("-") or option.fault == "it is no option"
        else f"--{option.name}"
    )
    return word[:100]


@SBATCH.rule(
    "sbatch-bad-value",
    hint="write a value of the form that the manual has",
    why="sbatch refuses a value that it cannot read.",
    source="https://slurm.schedmd.com/sbatch.html; tried with sbatch --test-only of Slurm 22.05",
    refuses=True,
)
def bad_value(script: Script) -> Iterator[Hit]:
    if is_template(script.header):
        return
    for option in _read(script):
        hint = value_fault(option)
        if hint is not None:
            yield Hit(option.line, f"--{option.name}={option.value[:100]}: sbatch cannot read it", hint)


@SBATCH.rule(
    "sbatch-contradiction",
    hint="keep one of them",
    why="sbatch refuses options that exclude each other.",
    source=_MANUAL,
    refuses=True,
)
def contradiction(script: Script) -> Iterator[Hit]:
    said = {option.name: option for option in _read(script)}
    memory = [said[name] for name in ("mem", "mem-per-cpu", "mem-per-gpu") if name in said]
    memory.sort(key=lambda option: option.line)
    if len(memory) > 1:
        yield Hit(
            memory[-1].line,
            f"--{memory[-1].name} and --{memory[0].name} (line {memory[0].line}) exclude each other",
        )
    counted = {"gpus", "ntasks", "ntasks-per-node", "ntasks-per-gpu", "nodes"} & said.keys()
    if "gpus-per-task" in said and not counted:
        yield Hit(said["gpus-per-task"].line, "--gpus-per-task without --ntasks", "add: #SBATCH --ntasks=1")


@SBATCH.rule(
    "sbatch-not-read",
    hint="begin the line with #SBATCH, without a blank before or within it; write ## to switch the line off",
    why="sbatch reads only lines that begin with #SBATCH: what is written otherwise is a comment.",
    source=_MANUAL,
)
def not_read(script: Script) -> Iterator[Hit]:
    said = frozenset(option.name for option in _read(script))
    meant = [(number, match, line) for number, line in _lines_above(script) if (match := _meant(line))]
    # If options show that lines were switched off by a blank, the other lines are meant, too.
    is_habit = any(match[1] and _set_elsewhere(line[match.end(2) :], said) for _, match, line in meant)
    for number, match, line in meant:
        if not (match[1] and is_habit) and not _set_elsewhere(line[match.end(2) :], said):
            yield Hit(number, f"{line.strip()[:60]} is a comment for sbatch")


def _lines_above(script: Script) -> Iterator[tuple[int, str]]:
    """Lines above the first command, with their numbers."""
    end = script.code[0].line if script.code else len(script.lines) + 1
    yield from enumerate(script.lines[: end - 1], 1)


def _meant(line: str) -> re.Match[str] | None:
    """Whether a comment looks like an option of sbatch that is written otherwise."""
    match = _MISSPELT.match(line)
    if match is None or line.startswith("#SBATCH"):
        return None
    blank, word = match[1], match[2]
    # the command sbatch, in a comment that says how the script is submitted, is in small letters
    if (blank and not word.isupper()) or (word.upper() != "SBATCH" and not word.isupper()):
        return None
    near = word.upper() == "SBATCH" or difflib.SequenceMatcher(None, word, "SBATCH").ratio() > 0.75
    return match if near else None


def _set_elsewhere(rest: str, said: frozenset[str]) -> bool:
    """Whether each option of a line that is not read has another value in one that is: then it is switched
    off.
    """
    options = [one.name for one in parse_options(0, rest, effective=False) if one.fault is None]
    return bool(options) and said.issuperset(options)


_MISSPELT = re.compile(r"[ \t]{0,20}#([ \t]{0,20})([A-Za-z]{5,8})[ \t]{1,20}-{1,2}[A-Za-z]")


@SBATCH.rule(
    "sbatch-minutes",
    hint="write hours as --time=24:00:00, days as --time=1-0",
    why="A plain number is in minutes: the job is ended after that many.",
    source=_MANUAL,
)
def minutes(script: Script) -> Iterator[Hit]:
    for option in _read(script):
        if option.name == "time" and option.value in _HOURS:
            yield Hit(option.line, f"--time={option.value} means {option.value} minutes")


#: Numbers that people have in mind as hours or days.
_HOURS = frozenset("1 2 3 4 6 8 12 24 36 48 72 96 168".split())


@SBATCH.rule(
    "sbatch-no-such-output-folder",
    hint="make the folder before you submit",
    why="Slurm makes no folders for --output and --error: the job ends at once, and no message says why.",
    source=_MANUAL,
)
def no_such_output_folder(script: Script) -> Iterator[Hit]:
    if is_template(script.header) or any(option.name == "chdir" for option in script.sbatch):
        return
    told: set[str] = set()
    bases = [script.path.parent, *list(script.path.parent.absolute().parents)[:2]]
    for option in _read(script):
        folder = option.value.rpartition("/")[0]
        if option.name not in {"output", "error"} or not folder or re.search(r"^[/~]|[$%<{]", folder):
            continue
        if folder not in told and not any(exists(base / folder) for base in bases):
            yield Hit(option.line, f"the folder {folder[:200]}, for --{option.name}, is not there")
        told.add(folder)


@SBATCH.rule(
    "sbatch-too-late",
    hint="move it above the first command",
    why="sbatch stops reading options at the first line that is neither a comment nor empty.",
    source=_MANUAL,
)
def too_late(script: Script) -> Iterator[Hit]:
    for option in script.sbatch:
        if not option.effective and option.fault is None and not is_template(script.header):
            yield Hit(option.line, f"--{option.name} stands after the first command, and is ignored")


@SBATCH.rule(
    "sbatch-twice",
    hint="keep one of them",
    why="Of two options with one name sbatch takes the last.",
    source=_MANUAL,
)
def twice(script: Script) -> Iterator[Hit]:
    last = {option.name: option for option in _read(script)}
    last.pop("mail-type", None)  # of these, all count
    for option in _read(script):
        after = last.get(option.name)
        if after is not None and after is not option and after.value != option.value:
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
        yield Hit(
            gres[0].line,
            f"GPUs are asked for twice: by --gres=gpu, and by --{others[0].name} in line {others[0].line}",
        )


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
