"""Rules for submit descriptions as such: lines that are lost, words that nobody knows, what is missing."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Iterator

from wingspan.lint._rule import Hit, RuleTable
from wingspan.lint._submit_file import Command, SubmitFile
from wingspan.lint._vocabulary import COMMANDS, OTHER_NAMES, VALUES

__all__ = ["SUBMIT"]

SUBMIT: RuleTable[SubmitFile] = RuleTable()

_MANUAL = "https://htcondor.readthedocs.io/en/latest/man-pages/condor_submit.html"
#: Variables of HTCondor that differ from job to job.
_PER_JOB = re.compile(
    r"\$\((process|procid|step|row|item|itemindex)\b|\$\$|\$(?!env\()[a-z]+\(", re.IGNORECASE
)


def _lost(submit: SubmitFile) -> Iterator[tuple[Command, Command]]:
    """Pairs of commands of one name of which the first is lost."""
    last: dict[tuple[str, bool], Command] = {}
    for command in submit.commands:
        key = (command.key, command.custom)
        before = last.get(key)
        if (
            before is not None
            and before.segment == command.segment
            # in an if-block that the other is not in, it may be a default and what overrides it
            and command.branch == before.branch[: len(command.branch)]
            and not re.search(rf"\$\({re.escape(command.key)}[):]", command.value, re.IGNORECASE)
        ):
            yield before, command
        last[key] = command


@SUBMIT.rule(
    "two-requirements",
    hint="join both with &&, in one line",
    why="Of two lines with one name HTCondor keeps the last and says nothing: the first requirement is lost.",
    source=f"{_MANUAL} (requirements); found in five published templates",
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
    source=_MANUAL,
)
def lost_line(submit: SubmitFile) -> Iterator[Hit]:
    for before, after in _lost(submit):
        known = after.key in COMMANDS or after.custom
        if known and after.key != "requirements" and before.value != after.value:
            yield Hit(before.line, f"{before.written} is set again in line {after.line}; this line is lost")


@SUBMIT.rule(
    "doubled-name",
    hint="write the name once",
    why="All after the first = is the value: the name becomes part of its first entry.",
    source="found in a published template",
)
def doubled_name(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.commands:
        if re.match(rf"{re.escape(command.key)}\s*=(?!=)", command.value, re.IGNORECASE):
            yield Hit(command.line, f"{command.written} = {command.written} = …: the name is there twice")


@SUBMIT.rule(
    "unknown-command",
    hint="correct the name",
    why="HTCondor takes a name that it does not know for a variable of yours, and ignores it.",
    source=_MANUAL,
)
def unknown_command(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.commands:
        if command.custom or command.key in COMMANDS | OTHER_NAMES.keys() | submit.referenced:
            continue
        # Only what is nearly a command: other names may be a site's own.
        near = difflib.get_close_matches(command.key, COMMANDS, n=1, cutoff=0.86)
        if near:
            yield Hit(
                command.line, f"{command.written} is not a submit command, and is ignored", f"write {near[0]}"
            )


@SUBMIT.rule(
    "undocumented-value",
    hint="use a value that the manual has",
    why="What HTCondor does with a value that the manual does not have may change, or be nothing.",
    source=_MANUAL,
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
    why="A site's policy compares these exactly; with another value the job waits, or is treated as the "
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
        if command.value.lower() not in {"true", "false", "undefined", "error"}:
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
    why="Without a queue statement condor_submit submits nothing.",
    source=_MANUAL,
)
def no_queue(submit: SubmitFile) -> Iterator[Hit]:
    if not submit.queues and not submit.includes:
        yield Hit(max(len(submit.lines) - (submit.lines[-1:] == [""]), 1), "there is no queue statement")


@SUBMIT.rule(
    "no-request",
    hint="ask for what the job needs",
    why="Without it the pool's default is taken, which is one core, and too little memory or disk for most "
    "work.",
    source="https://htcondor.readthedocs.io/en/latest/users-manual/submitting-a-job.html",
)
def no_request(submit: SubmitFile) -> Iterator[Hit]:
    universe = submit.last("universe")
    on_this_machine = universe is not None and universe.value.lower() in {"local", "scheduler"}
    if not submit.queues or submit.includes or on_this_machine:
        return
    missing = [
        name for name in ("request_cpus", "request_memory", "request_disk") if submit.last(name) is None
    ]
    if missing:
        yield Hit(submit.queues[0][0], f"nothing says {', '.join(missing)}")


@SUBMIT.rule(
    "small-unit",
    hint="write the unit",
    why="A plain number is MiB in request_memory and gpus_minimum_memory, KiB in request_disk.",
    source=_MANUAL,
)
def small_unit(submit: SubmitFile) -> Iterator[Hit]:
    for key, unit, least in (
        ("request_memory", "MiB", 128),
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
    for segment, (_, rest) in enumerate(submit.queues):
        if not rest or re.fullmatch(r"[01]", rest):
            continue
        variables = re.findall(r"[a-z_]\w*", re.split(r"\b(?:in|from|matching)\b", rest.lower())[0])
        for key in ("output", "error"):
            before = [command for command in submit.of(key) if command.segment <= segment]
            for command in before:
                if command.segment == before[-1].segment and _is_shared(submit, command.value, variables):
                    yield Hit(
                        command.line, f"all jobs of the cluster write {command.written} to {command.value}"
                    )


def _is_shared(submit: SubmitFile, value: str, variables: list[str]) -> bool:
    """Whether a file has one name, in one folder, for all jobs of a queue statement with these variables."""
    base = submit.last("initialdir")
    path = submit.expanded(value)
    if base is not None and not path.startswith("/"):
        path = f"{submit.expanded(base.value)}/{path}"
    used = {name.lower() for name in re.findall(r"\$\((\w+)", path)}
    return bool(value) and value != "/dev/null" and not _PER_JOB.search(path) and not used & set(variables)


@SUBMIT.rule(
    "no-log",
    hint="add: log = $(Cluster).log",
    why="Without the event log nobody can tell later why a job waited, was held or ended.",
    source="https://htcondor.readthedocs.io/en/latest/users-manual/managing-a-job.html",
)
def no_log(submit: SubmitFile) -> Iterator[Hit]:
    if submit.queues and submit.last("log") is None and not submit.includes:
        yield Hit(submit.queues[0][0], "there is no event log")


@SUBMIT.rule(
    "log-overwritten",
    hint="give the log a name of its own: log = $(Cluster).log",
    why="When the job has ended, its output is written over the events that are in the log.",
    source="tried with HTCondor 25.14; found in published submit files",
)
def log_overwritten(submit: SubmitFile) -> Iterator[Hit]:
    for log in submit.of("log"):
        for other in submit.of("output", "error"):
            if other.segment == log.segment and other.value == log.value != "":
                yield Hit(log.line, f"{log.written} and {other.written} (line {other.line}) are one file")


@SUBMIT.rule(
    "getenv",
    hint='name the variables that the job needs: environment = "NAME=value", or getenv = NAME',
    why="The whole environment of the shell that submits goes along: paths of this machine, and secrets.",
    source=f"{_MANUAL} (getenv)",
)
def getenv(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.of("getenv"):
        if command.value.lower() == "true":
            yield Hit(command.line, "the whole environment of the submitting shell is sent along")


@SUBMIT.rule(
    "checkpoint-files",
    hint="add: transfer_checkpoint_files = …",
    why="Without transfer_checkpoint_files the output is what is kept at each checkpoint: all that transfer_output_files names "
    "must be there already, and nothing else is kept.",
    source=f"{_MANUAL} (transfer_checkpoint_files)",
)
def checkpoint_files(submit: SubmitFile) -> Iterator[Hit]:
    code = submit.last("checkpoint_exit_code")
    if code is None or submit.last("transfer_output_files") is None or submit.includes:
        return
    if submit.last("transfer_checkpoint_files") is None:
        yield Hit(
            code.line, "checkpoint_exit_code and transfer_output_files without transfer_checkpoint_files"
        )


@SUBMIT.rule(
    "syntax",
    hint="correct it: condor_submit -dry-run - FILE shows what it makes of the file",
    why="condor_submit refuses the file.",
    source="HTCondor's own parser (htcondor2.Submit)",
)
def syntax(submit: SubmitFile) -> Iterator[Hit]:
    from wingspan.pools.personal.activation import import_bindings

    body = "\n".join(submit.lines)
    if submit.includes:
        return  # the parser would do what the file says, and nothing of the file may be executed here
    try:
        htcondor2 = import_bindings()
    except ImportError:
        return
    try:
        htcondor2.Submit(body)
    except (ValueError, TypeError, RuntimeError, htcondor2.HTCondorException) as error:
        words = str(error)
        found = re.search(r"[Ll]ine (\d+)", words)
        yield Hit(int(found[1]) if found else 1, f"HTCondor cannot read it: {words.strip()}")
