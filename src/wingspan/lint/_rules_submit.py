"""Rules for submit descriptions as such: lines that are lost, words that nobody knows, what is missing."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterable, Iterator

from wingspan.lint._macros import BUILT_IN
from wingspan.lint._rule import Hit, RuleTable
from wingspan.lint._submit_file import Command, SubmitFile
from wingspan.lint._vocabulary import COMMANDS, OTHER_NAMES, VALUES, is_command

__all__ = ["MANUAL", "PER_JOB_NAMES", "SUBMIT", "is_cern"]

SUBMIT: RuleTable[SubmitFile] = RuleTable()

MANUAL = "https://htcondor.readthedocs.io/en/latest/man-pages/condor_submit.html"
#: Variables of HTCondor that differ from job to job.
_PER_JOB = re.compile(
    r"\$\((process|procid|step|row|item|itemindex)\b|\$\$|\$(?!env\()[a-z]+\(", re.IGNORECASE
)


def _lost(submit: SubmitFile) -> Iterator[tuple[Command, Command]]:
    """Pairs of commands of one name: the second replaces the first, which is lost."""
    last: dict[tuple[str, bool], Command] = {}
    for command in () if submit.is_template else submit.commands:
        key = (command.key, command.custom)
        before = last.get(key)
        if (
            before is not None
            and before.segment == command.segment
            # in an if-block that the other is not in, it may be a default and what overrides it
            and command.branch == before.branch[: len(command.branch)]
            and f"$({command.key}" not in command.value.lower()
        ):
            yield before, command
        last[key] = command


@SUBMIT.rule(
    "two-requirements",
    hint="join both with &&, in one line",
    why="Of two lines with one name HTCondor keeps the last and says nothing: the first requirement is lost.",
    source=f"{MANUAL} (requirements); found in five published templates",
)
def two_requirements(submit: SubmitFile) -> Iterator[Hit]:
    for before, after in _lost(submit):
        if after.key == "requirements" and not after.custom:
            yield Hit(
                before.line,
                f"this requirements line is lost: line {after.line} sets requirements again",
                f"write one line: requirements = ({before.value}) && ({after.value})",
            )


@SUBMIT.rule(
    "lost-line",
    hint="keep one of them",
    why="Of two lines with one name HTCondor keeps the last and says nothing.",
    source=MANUAL,
)
def lost_line(submit: SubmitFile) -> Iterator[Hit]:
    for before, after in _lost(submit):
        known = after.key in COMMANDS or after.custom
        if known and after.key != "requirements" and before.value != after.value:
            yield Hit(before.line, f"{before.written} is set again in line {after.line}; this line is lost")


@SUBMIT.rule(
    "doubled-name",
    hint="write the name once",
    why="Everything after the first = is the value: the repeated name becomes part of the first entry.",
    source="found in a published template",
)
def doubled_name(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.commands:
        name, equals, rest = command.value.partition("=")
        if equals and name.strip().lower() == command.key and not rest.startswith("="):
            yield Hit(command.line, f"{command.written} = {command.written} = …: the name is there twice")


#: How many names of a file are compared with the known ones.
_COMPARED = 100
_FEW = 20


def _near(name: str, names: Iterable[str], cutoff: float) -> str | None:
    """The name that may be meant."""
    found = difflib.get_close_matches(name, names, n=1, cutoff=cutoff) if len(name) < 60 else []
    return found[0] if found else None


def _variables(submit: SubmitFile) -> Iterator[Command]:
    """The lines that set a variable of the user's, which is no command of HTCondor's: for each name the
    first.
    """
    seen: set[str] = set()
    for command in submit.commands:
        if not command.custom and not is_command(command.key) and command.key not in seen:
            seen.add(command.key)
            yield command


@SUBMIT.rule(
    "unknown-command",
    hint="correct the name",
    why="HTCondor takes a name that it does not know for a variable of yours, and ignores it.",
    source=MANUAL,
)
def unknown_command(submit: SubmitFile) -> Iterator[Hit]:
    for command, near in _unused(submit):
        if near is not None:
            yield Hit(
                command.line, f"{command.written} is not a submit command, and is ignored", f"write {near}"
            )


def _unused(submit: SubmitFile) -> Iterator[tuple[Command, str | None]]:
    """Variables that nothing uses, with the command that may be meant."""
    if submit.includes or submit.is_template:
        return
    unused = [command for command in _variables(submit) if command.key not in submit.referenced]
    for number, command in enumerate(unused):
        yield command, _near(command.key, COMMANDS, 0.86) if number < _COMPARED else None


@SUBMIT.rule(
    "unused-variable",
    hint="remove it, or use it as $(name); an attribute of the job is written with a +",
    why="HTCondor takes a name that it does not know for a variable of yours: a variable that no line uses has no effect.",
    source="condor_submit warns of it",
)
def unused_variable(submit: SubmitFile) -> Iterator[Hit]:
    for command, near in _unused(submit):
        if near is None:
            hint = f"write +{command.written}" if command.key in _ATTRIBUTES else None
            yield Hit(command.line, f"nothing uses {command.written}, which is not a submit command", hint)
    if submit.includes or submit.is_template:
        return
    for queue in submit.queues[:1]:
        for name in queue.variables:
            if (
                name not in {"item", "_"}
                and "." not in name
                and name not in submit.referenced
                and not is_command(name)
            ):
                yield Hit(
                    queue.line,
                    f"the queue statement sets {name}, and nothing uses it",
                    f"write $({name}) where it is meant",
                )


#: Attributes of jobs that sites ask for.
_ATTRIBUTES = frozenset(
    "jobflavour maxruntime wantgpulab gpujoblength jobdurationcategory singularityimage wantflocking wantglidein".split()
)


@SUBMIT.rule(
    "undefined-variable",
    hint="correct the name",
    why="HTCondor puts nothing in the place of a variable that it does not know.",
    source=MANUAL,
)
def undefined_variable(submit: SubmitFile) -> Iterator[Hit]:
    if submit.includes or submit.is_template:
        return
    known = {each.key for each in submit.commands} | {
        name for queue in submit.queues for name in queue.variables
    }
    mine = [each for each in sorted(known) if not is_command(each)][:1000] + sorted(PER_JOB_NAMES)
    told: set[str] = set()
    for command in submit.commands[:2000]:
        for name, default in _USED.findall(command.value[:10_000]):
            low = name.lower()
            if default or low in known or low in told or low in BUILT_IN or is_command(low):
                continue
            if len(told) >= _FEW:
                return
            told.add(low)
            near = _near(low, mine, 0.75)
            if near is not None:
                yield Hit(command.line, f"$({name}) is set nowhere", f"write $({near})")


_USED = re.compile(r"(?<!\$)\$\(([A-Za-z_]\w*)(:?)")
#: Variables of HTCondor's own that people use.
PER_JOB_NAMES = frozenset(["process", "cluster", "procid", "clusterid", "item", "row", "step"])


@SUBMIT.rule(
    "undocumented-value",
    hint="use a value that the manual has",
    why="The manual does not list this value: HTCondor may ignore it, and another version may treat it otherwise.",
    source=MANUAL,
)
def undocumented_value(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.commands:
        values = None if command.custom else VALUES.get(command.key)
        if values is None or command.has_macros or not command.value:
            continue
        if command.value.strip('"').lower() not in {value.lower() for value in values}:
            hint = "documented: " + ", ".join(values)
            if command.key == "docker_pull_policy":
                hint = "documented is only always; leave the line out to use what the machine has already"
            yield Hit(command.line, f"{command.written} = {command.value} is not documented", hint)


@SUBMIT.rule(
    "site-value",
    hint="use one of the site's values",
    why="The site's policy compares this text exactly: with another value the job waits, or gets the site's "
    "default.",
    source="the site's guide, as in its profile (docs/profiles.md)",
)
def site_value(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.commands:
        if not command.custom or not command.value.startswith('"') or command.has_macros:
            continue
        site, values = _site_values().get(command.key, ("", ()))
        if values and command.value.strip('"') not in values:
            yield Hit(
                command.line,
                f"{command.value} is none of the values of {command.written.lstrip('+')} at {site}",
                f"they are: {', '.join(values)}",
            )


@functools.cache
def _site_values() -> dict[str, tuple[str, tuple[str, ...]]]:
    """Attributes (lower case) by which sites are told the time, with the site's name and the values it
    knows.
    """
    from wingspan.pools.profiles import profiles

    return {
        rules.walltime.attribute.lower(): (
            profile.name,
            tuple(each.value for each in rules.walltime.classes),
        )
        for profile in profiles().values()
        for rules in (profile.every, profile.cpu, profile.gpu)
        if rules.walltime is not None
    }


@SUBMIT.rule(
    "unquoted-string",
    hint="put the text in double quotes",
    why="In a job attribute a bare word is the name of another attribute; its value is then undefined.",
    source="https://htcondor.readthedocs.io/en/latest/classads/classad-mechanism.html",
)
def unquoted_string(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.commands:
        if not command.custom or not re.fullmatch(r"[A-Za-z][\w-]*", command.value):
            continue
        placeholder = command.value.isupper() and submit.has_placeholders
        if not placeholder and command.value.lower() not in {"true", "false", "undefined", "error"}:
            yield Hit(
                command.line,
                f"{command.written} = {command.value}: a bare word is the name of an attribute, not a text",
                f'write {command.written} = "{command.value}"',
            )


@SUBMIT.rule(
    "quoted-boolean",
    hint="write true or false without quotes",
    why='"true" is a text; a site\'s policy that asks for true does not see it.',
    source="https://htcondor.readthedocs.io/en/latest/classads/classad-mechanism.html",
)
def quoted_boolean(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.commands:
        if command.custom and command.value.lower() in {'"true"', '"false"'}:
            yield Hit(command.line, f"{command.written} = {command.value} is a text, not a truth value")


@SUBMIT.rule(
    "no-queue",
    hint="end the file with: queue",
    why="From a file without a queue statement HTCondor before 25 submits no job, and hardly says so.",
    source=MANUAL,
)
def no_queue(submit: SubmitFile) -> Iterator[Hit]:
    if not submit.queues and not submit.includes and not submit.is_template:
        yield Hit(max(len(submit.lines) - (submit.lines[-1:] == [""]), 1), "there is no queue statement")


@SUBMIT.rule(
    "no-request",
    hint="ask for what the job needs",
    why="The pool then gives its default: one core, and too little memory or disk for most work.",
    source="https://htcondor.readthedocs.io/en/latest/users-manual/submitting-a-job.html",
)
def no_request(submit: SubmitFile) -> Iterator[Hit]:
    if not submit.queues or submit.includes or submit.universe in _ELSEWHERE or is_cern(submit):
        return
    variables = submit.queues[0].variables
    missing = [
        name
        for name in ("request_cpus", "request_memory", "request_disk")
        if submit.last(name) is None
        and submit.attribute(name.replace("_", "")) is None
        and name not in variables
    ]
    # one core is what a pool gives, and what most jobs use
    if missing and missing != ["request_cpus"]:
        yield Hit(submit.queues[0].line, f"nothing says {', '.join(missing)}")


#: Universes whose jobs are matched with no slot of the pool.
_ELSEWHERE = frozenset(["local", "scheduler", "grid", "1", "7", "9", "12"])


def is_cern(submit: SubmitFile) -> bool:
    """Whether the file is for CERN's batch service, which gives memory and disk with each core."""
    marks = ("jobflavour", "maxruntime")
    return any(submit.custom(mark) or submit.of(mark) for mark in marks)


@SUBMIT.rule(
    "small-unit",
    hint="write the unit",
    why="A plain number is MiB in request_memory and gpus_minimum_memory, KiB in request_disk.",
    source=MANUAL,
)
def small_unit(submit: SubmitFile) -> Iterator[Hit]:
    for key, unit, least in (
        ("request_memory", "MiB", 257),
        ("request_disk", "KiB", 10_240),
        ("gpus_minimum_memory", "MiB", 128),
    ):
        for command in submit.of(key):
            if re.fullmatch(r"\d+(\.\d+)?", command.value) and float(command.value) < least:
                yield Hit(
                    command.line,
                    f"{command.written} = {command.value} means {command.value} {unit}",
                    f"write {command.value}GB if that is meant",
                )


@SUBMIT.rule(
    "one-file-for-all",
    hint="put $(Process) into the name",
    why="The jobs of a cluster write over each other's file.",
    source="https://htcondor.readthedocs.io/en/latest/users-manual/submitting-a-job.html",
)
def one_file_for_all(submit: SubmitFile) -> Iterator[Hit]:
    for segment, queue in enumerate(submit.queues[:10]):
        if queue.is_one or (
            queue.count in {"", "1"}
            and queue.mode != "from"
            and len(queue.items) == 1
            and _is_one(queue.items[0])
        ):
            continue
        for key in ("output", "error"):
            before = [command for command in submit.of(key)[:1000] if command.segment <= segment]
            for command in before:
                if command.segment == before[-1].segment and _is_shared(submit, command, queue.variables):
                    yield Hit(
                        command.line, f"all jobs of the cluster write {command.written} to {command.value}"
                    )


def _is_one(items: str) -> bool:
    return re.search(r"[\s,*?$]", items) is None


def _is_shared(submit: SubmitFile, command: Command, variables: tuple[str, ...]) -> bool:
    """Whether a file has one name, in one folder, for all jobs of a queue statement with these variables."""
    base = submit.last("initialdir")
    path = submit.expanded(command.value)
    # a variable of the queue statement may be the command itself
    names = {OTHER_NAMES.get(name, name) for name in variables}
    if command.key in names or ("initialdir" in names and not path.startswith("/")):
        return False
    if base is not None and not path.startswith("/"):
        path = f"{submit.expanded(base.value)}/{path}"
    used = {name.lower() for name in re.findall(r"\$\w*\((\w+)", path)}
    return (
        bool(command.value)
        and path != "/dev/null"
        and not _PER_JOB.search(path)
        and not re.search(r"\{\w*\}", path)  # a program puts a name there first
        and not used & set(variables)
    )


@SUBMIT.rule(
    "no-log",
    hint="add: log = $(Cluster).log",
    why="Without the event log nobody can tell later why a job waited, was held or ended.",
    source="https://htcondor.readthedocs.io/en/latest/users-manual/managing-a-job.html",
)
def no_log(submit: SubmitFile) -> Iterator[Hit]:
    if submit.queues and submit.last("log") is None and not submit.includes:
        yield Hit(submit.queues[0].line, "there is no event log")


@SUBMIT.rule(
    "log-overwritten",
    hint="give the log a name of its own: log = $(Cluster).log",
    why="When the job has ended, its output is written over the events that are in the log.",
    source="tried with HTCondor 25.14; found in published submit files",
)
def log_overwritten(submit: SubmitFile) -> Iterator[Hit]:
    for log in submit.of("log"):
        for other in submit.of("output", "error"):
            same = other.segment == log.segment and other.value == log.value
            if same and log.value not in {"", "/dev/null", "NUL"}:
                yield Hit(log.line, f"{log.written} and {other.written} (line {other.line}) are one file")


@SUBMIT.rule(
    "getenv",
    hint='name the variables that the job needs: environment = "NAME=value", or getenv = NAME',
    why="The whole environment of the shell that submits goes along: paths of this machine, and secrets.",
    source=f"{MANUAL} (getenv)",
)
def getenv(submit: SubmitFile) -> Iterator[Hit]:
    if submit.universe in {"local", "scheduler", "7", "12"}:
        return  # the job runs here, where the environment is
    for command in submit.of("getenv"):
        if command.value.lower() == "true":
            yield Hit(command.line, "the whole environment of the submitting shell is sent along")


@SUBMIT.rule(
    "checkpoint-files",
    hint="add: transfer_checkpoint_files = …",
    why="Without transfer_checkpoint_files HTCondor keeps the output files at each checkpoint: all files of transfer_output_files "
    "must be there by then, and nothing else is kept.",
    source=f"{MANUAL} (transfer_checkpoint_files)",
)
def checkpoint_files(submit: SubmitFile) -> Iterator[Hit]:
    code = submit.last("checkpoint_exit_code")
    if code is None or submit.last("transfer_output_files") is None or submit.includes:
        return
    if submit.last("transfer_checkpoint_files") is None:
        yield Hit(
            code.line, "checkpoint_exit_code and transfer_output_files without transfer_checkpoint_files"
        )
