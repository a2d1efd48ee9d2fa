"""Rules about what condor_submit refuses: lines and values that it cannot read, and commands that contradict
each other.

Where HTCondor is on this machine its own parser has the last word on these (`_asked`).
"""

from __future__ import annotations

import functools
import graphlib
import re
import signal
from collections.abc import Iterator

from wingspan.lint._rule import Hit
from wingspan.lint._rules_submit import MANUAL, SUBMIT
from wingspan.lint._submit_file import Command, SubmitFile, exists, split_list
from wingspan.lint._values import (
    arguments_fault,
    environment_fault,
    evaluates_to_number,
    expression_fault,
    is_size,
)
from wingspan.lint._vocabulary import BOOLEANS, EXPRESSIONS, INTEGERS, is_command

__all__: list[str] = []

_TRIED = "tried with condor_submit -dry-run of HTCondor 25.14"
_refuses = functools.partial(SUBMIT.rule, refuses=True)


def _effective(submit: SubmitFile) -> Iterator[tuple[Command, str]]:
    """The commands that count, with the values that condor_submit will see.

    Values that only it can know are left out.
    """
    variables = {name for queue in submit.queues for name in queue.variables}
    last = {(each.key, each.custom): each for each in submit.commands if not each.segment}
    for each in last.values():
        if each.branch or (each.key in variables and not each.custom):
            continue
        adds = not each.custom and f"$({each.key}" in each.value.lower()  # to what it was before
        value = submit.expanded(f"$({each.key})" if adds else each.value)
        if "$" not in value and not submit.is_template:
            yield each, value.strip()


def _value(submit: SubmitFile, key: str) -> str | None:
    """What a command will be; None: it is not there, or cannot be known."""
    return next((value for each, value in _effective(submit) if each.key == key and not each.custom), None)


@SUBMIT.rule(
    "refused",
    hint="correct it: condor_submit -dry-run - FILE shows what it makes of the file",
    why="condor_submit refuses the file.",
    source="HTCondor's own condor_submit -dry-run, where it is on this machine",
)
def refused(submit: SubmitFile) -> Iterator[Hit]:
    if submit.answer is not None and submit.answer.refused:
        yield Hit(submit.answer.line, f"condor_submit refuses the file: {submit.answer.why}")


@_refuses(
    "syntax",
    hint="write name = value, or begin the line with #",
    why="condor_submit refuses the file: a line is neither name = value nor a statement that it knows, or something has no end.",
    source=_TRIED,
)
def syntax(submit: SubmitFile) -> Iterator[Hit]:
    if submit.is_template:
        return
    for fault in submit.faults:
        yield Hit(fault.line, f"HTCondor cannot read it: {fault.what[:100]}")


@_refuses(
    "behind-queue",
    hint="put it above the queue statement; of several queue statements make one: queue … from (…)",
    why="The queue statement ends the file: HTCondor 25 refuses what stands behind it, a second queue statement too.",
    source=_TRIED
    + "; https://htcondor.readthedocs.io/en/latest/auto-redirect.html?category=example&tag=convert-multi-queue-statements",
)
def behind_queue(submit: SubmitFile) -> Iterator[Hit]:
    if submit.behind and not submit.includes and not submit.is_template:
        yield Hit(
            submit.behind, f"this line stands behind the queue statement of line {submit.queues[0].line}"
        )


@_refuses(
    "bad-queue",
    hint="write: queue 10, or queue name from list.txt, or queue name in (a, b)",
    why="condor_submit refuses a queue statement whose number, list or file it cannot read.",
    source=MANUAL,
)
def bad_queue(submit: SubmitFile) -> Iterator[Hit]:
    if submit.is_template:
        return
    for queue in submit.queues[:1]:
        if queue.wrong is not None:
            yield Hit(queue.line, f"queue {queue.rest[:100]}: {queue.wrong[:100]} is not allowed there")
        count = submit.expanded(queue.count)
        if count and "$" not in count:
            number = re.fullmatch(r"-?\d+", count)
            if number is None and not (
                re.match(r"[\d(+]", count) and evaluates_to_number(count, boolean=False)
            ):
                yield Hit(queue.line, f"queue {queue.rest[:100]}: {count[:100]} is not a number of jobs")
            elif number is not None and not 0 <= int(count[:20]) < 2**31 - 1:
                yield Hit(queue.line, f"queue {count[:100]}: the number is out of range")
        named = queue.file and queue.file[0] not in "/-$" and "$" not in queue.file and not queue.uses_command
        if named and not exists(submit.base / queue.file):
            yield Hit(
                queue.line,
                f"queue … from {queue.file[:200]}: there is no such file",
                "correct the name, or make the file; a comment has a line of its own",
            )


@_refuses(
    "no-executable",
    hint="add: executable = …",
    why="condor_submit refuses a description without an executable.",
    source=MANUAL,
)
def no_executable(submit: SubmitFile) -> Iterator[Hit]:
    of_others = submit.last("shell") or submit.of(
        "container_image", "docker_image", "gce_image", "azure_image", "ec2_ami_id"
    )
    said = submit.last("executable")
    if (
        submit.includes
        or submit.is_build_job
        or of_others
        or (said is not None and said.value)
        or submit.universe == "vm"
    ):
        return
    if submit.queues or submit.commands:
        line = said.line if said is not None else submit.queues[0].line if submit.queues else 1
        yield Hit(line, "nothing says which executable")


@_refuses(
    "unreadable-value",
    hint='write an expression of HTCondor: numbers, "texts", names, &&, ||, ==; a comment has a line of its own',
    why="condor_submit refuses what it cannot read as an expression, a number or a truth value.",
    source="https://htcondor.readthedocs.io/en/latest/classads/classad-mechanism.html; " + _TRIED,
)
def unreadable_value(submit: SubmitFile) -> Iterator[Hit]:
    gpus = submit.last("request_gpus")
    for command, value in _effective(submit):
        if not value or command.written.startswith("-"):
            continue
        fault, hint = None, None
        about_gpus = command.key.startswith("gpus_") or command.key == "require_gpus"
        if (
            command.custom
            or command.key in EXPRESSIONS
            or (command.key.startswith("request_") and is_command(command.key))
        ):
            sized = (
                command.key in {"request_memory", "request_disk", "gpus_minimum_memory"}
                or "retry_request" in command.key
            )
            if about_gpus and not (gpus and gpus.value) and not command.custom:
                continue
            if not (sized and is_size(value)):
                fault = expression_fault(value)
            if fault and value.startswith("="):
                hint = f"write {command.written} = {value.lstrip('= ')}"
            elif fault and sized and re.match(r"\d", value):
                hint = "write the unit as KB, MB, GB or TB"
            elif fault and command.custom and "quote" not in fault and "comment" not in fault:
                hint = f'write {command.written} = "{value[:200]}"'
        elif command.key in INTEGERS and not evaluates_to_number(value, boolean=False):
            fault, hint = "it is no number", "write a number"
        elif command.key in BOOLEANS and not evaluates_to_number(value, boolean=True):
            fault, hint = "it is neither true nor false", "write true or false, without quotes"
        if fault:
            yield Hit(command.line, f"{command.written} = {value[:200]}: {fault}", hint)


@_refuses(
    "unreadable-arguments",
    hint="begin and end with a double quote, and quote words within by single ones: arguments = \"-n 'a b'\"; "
    "a double quote itself is written twice",
    why="condor_submit refuses arguments or an environment whose quotes it cannot match.",
    source=f"{MANUAL} (arguments, environment)",
)
def unreadable_arguments(submit: SubmitFile) -> Iterator[Hit]:
    for command, value in _effective(submit):
        if command.custom:
            continue
        if command.key in {"arguments", "tool_daemon_arguments", "java_vm_arguments"}:
            fault = arguments_fault(value)
        elif command.key == "environment":
            fault = environment_fault(value)
        elif command.key in {"arguments2", "environment2"} and value:
            fault = "it must begin with a double quote" if value[0] != '"' else arguments_fault(value)
        else:
            continue
        if fault:
            is_environment = command.key.startswith("environment")
            hint = "write: environment = \"A=1 B='two words'\"" if is_environment else None
            yield Hit(command.line, f"{command.written} = {value[:200]}: {fault[:100]}", hint)


_UNIVERSES = frozenset("container docker grid java local parallel scheduler vanilla vm mpi".split())
_GRIDS = frozenset("condor batch arc ec2 gce azure pbs lsf sge nqs slurm".split())


@_refuses(
    "bad-universe",
    hint="documented: vanilla, container, docker, grid, java, local, parallel, scheduler, vm",
    why="condor_submit refuses a universe that it does not know, or that lacks what it needs.",
    source=MANUAL,
)
def bad_universe(submit: SubmitFile) -> Iterator[Hit]:
    command, said = submit.last("universe"), _value(submit, "universe")
    if command is None or not said or submit.includes:
        return
    said = said.lower()
    if said not in _UNIVERSES and not re.fullmatch(r"\d+", said):
        yield Hit(command.line, f"universe = {said[:100]}: there is no such universe")
    needs = {
        "container": ("container_image", "docker_image"),
        "docker": ("docker_image", "container_image"),
        "parallel": ("machine_count",),
        "mpi": ("machine_count",),
        "grid": ("grid_resource",),
        "java": ("arguments", "arguments2"),
        "vm": ("vm_memory",),
    }.get(said, ())
    variables = {name for queue in submit.queues for name in queue.variables}
    if needs and not any(each.value for each in submit.of(*needs)) and not variables & set(needs):
        yield Hit(command.line, f"universe = {said} without {needs[0]}", f"add: {needs[0]} = …")
    resource = _value(submit, "grid_resource")
    if said == "grid" and resource and resource.split()[0].lower() not in _GRIDS:
        yield Hit(
            submit.of("grid_resource")[-1].line,
            f"grid_resource = {resource[:100]}: HTCondor knows no grid of that type",
            "it begins with condor, batch, arc, ec2, gce or azure",
        )


_SHOULD = frozenset(["yes", "no", "if_needed", "true", "false", "always", "never", "auto"])
_WHEN = frozenset(["on_exit", "on_exit_or_evict", "on_success", "never", "always"])


@_refuses(
    "bad-value",
    hint="use a value that the manual has",
    why="condor_submit refuses a value that is none of those that the command has.",
    source=MANUAL,
)
def bad_value(submit: SubmitFile) -> Iterator[Hit]:
    for command, value in _effective(submit):
        if command.custom or not value:
            continue
        low = value.lower()
        if command.key == "should_transfer_files" and low not in _SHOULD:
            yield Hit(
                command.line,
                f"should_transfer_files = {value[:100]}: there is no such value",
                "write YES, NO or IF_NEEDED",
            )
        elif command.key == "when_to_transfer_output" and low not in _WHEN:
            hint = "write ON_EXIT, ON_EXIT_OR_EVICT or ON_SUCCESS"
            yield Hit(command.line, f"when_to_transfer_output = {value[:100]}: there is no such value", hint)
        elif command.key == "notification" and low not in {"never", "always", "complete", "start", "error"}:
            hint = "write Never, Always, Complete, Start or Error"
            yield Hit(command.line, f"notification = {value[:100]}: there is no such value", hint)
        elif command.key in {"kill_sig", "remove_kill_sig", "hold_kill_sig"}:
            if not value.isdigit() and value.upper() not in signal.Signals.__members__:
                yield Hit(
                    command.line, f"{command.written} = {value[:100]}: no such signal", "such as SIGTERM"
                )
        elif command.key == "image_size" and not re.fullmatch(
            r"[1-9]\d*(\.\d+)?\s*[KMGTP]?B?", value, re.IGNORECASE
        ):
            yield Hit(command.line, f"image_size = {value[:100]}: that is no size", "write a size: 100 MB")
        elif command.key == "cuda_version" and not re.fullmatch(r"\d+(\.\d+)?", value):
            yield Hit(
                command.line, f"cuda_version = {value[:100]}: that is no version", "write a version: 12.4"
            )
        elif command.key in {"accounting_group", "accounting_group_user"} and re.search(r"\s", value):
            yield Hit(command.line, f"{command.written} = {value[:100]}: it has a blank", "write one name")
        elif command.key == "use_scitokens" and low not in {"true", "false", "auto"}:
            yield Hit(
                command.line,
                f"use_scitokens = {value[:100]}: there is no such value",
                "write true, false or auto",
            )


@_refuses(
    "contradiction",
    hint="keep one of them",
    why="condor_submit refuses commands that contradict each other.",
    source=MANUAL,
)
def contradiction(submit: SubmitFile) -> Iterator[Hit]:
    values = {each.key: (each, value) for each, value in _effective(submit) if not each.custom and value}
    should = values["should_transfer_files"][1].lower() if "should_transfer_files" in values else ""
    when = values["when_to_transfer_output"][1].lower() if "when_to_transfer_output" in values else ""
    if should in {"no", "false", "never"}:
        for key in ("transfer_input_files", "transfer_output_files"):
            if key in values:
                yield Hit(values[key][0].line, f"should_transfer_files = NO contradicts {key}")
        if when:
            yield Hit(
                values["when_to_transfer_output"][0].line,
                f"should_transfer_files = NO contradicts when_to_transfer_output = {when}",
            )
    if should == "if_needed" and when == "on_exit_or_evict":
        yield Hit(
            values["when_to_transfer_output"][0].line,
            "should_transfer_files = IF_NEEDED contradicts when_to_transfer_output = ON_EXIT_OR_EVICT",
            "write should_transfer_files = YES",
        )
    for one, other in (
        ("docker_image", "container_image"),
        ("output_destination", "output_directory"),
        ("concurrency_limits", "concurrency_limits_expr"),
    ):
        if one in values and other in values:
            yield Hit(values[other][0].line, f"{one} and {other} exclude each other")
    if submit.universe == "docker" and "container_image" in values:
        hint = "write universe = container"
        yield Hit(values["container_image"][0].line, "universe = docker does not allow container_image", hint)
    for one in ("arguments", "environment"):
        if one in values and f"{one}2" in values and f"allow_{one}_v1" not in values:
            yield Hit(values[f"{one}2"][0].line, f"{one} and {one}2 exclude each other")
    requirements = values.get("requirements")
    if requirements and re.search(r"(?<![\w.])(my\.)?requirements(?![\w.])", requirements[1], re.IGNORECASE):
        yield Hit(
            requirements[0].line,
            "requirements refers to itself",
            "write $(requirements) for what it was before",
        )


@SUBMIT.rule(
    "url-without-key",
    hint="add aws_access_key_id_file and aws_secret_access_key_file (or s3_…, gs_…)",
    why="condor_submit refuses s3:// and gs:// addresses without the files that hold their keys.",
    source=f"{MANUAL} (aws_access_key_id_file)",
)
def url_without_key(submit: SubmitFile) -> Iterator[Hit]:
    kinds = ("aws", "s3", "gs")
    if submit.includes or submit.of(*(f"{kind}_access_key_id_file" for kind in kinds)):
        return
    for command, value in _effective(submit):
        is_list = command.key == "transfer_input_files" and not command.custom
        if is_list and any(entry.startswith(("s3://", "gs://")) for entry in split_list(value)):
            yield Hit(command.line, "nothing says which files hold the keys of this address")


@_refuses(
    "no-such-folder",
    hint="make the folder, or correct its name",
    why="condor_submit refuses an initialdir that is not there.",
    source=f"{MANUAL} (initialdir)",
)
def no_such_folder(submit: SubmitFile) -> Iterator[Hit]:
    for command, value in _effective(submit):
        # an absolute one is of the machine that submits, which need not be this one
        ours = command.key == "initialdir" and not command.custom and value and not value.startswith("/")
        if ours and not exists(submit.base / value):
            yield Hit(command.line, f"initialdir = {value[:200]}: there is no such folder")


@SUBMIT.rule(
    "endless-variable",
    hint="give one of them a value of its own",
    why="condor_submit does not end: it goes on replacing variables that lead back to themselves.",
    source=_TRIED,
)
def endless_variable(submit: SubmitFile) -> Iterator[Hit]:
    leads_to: dict[str, set[str]] = {}
    wanted: list[str] = []
    lines = {}
    for each in submit.commands:
        names = {name.lower() for name in _VARIABLE.findall(each.value)}
        if each.custom or is_command(each.key):
            wanted += names
        if each.custom or each.branch:
            continue
        adds = each.key in names  # to what it was before
        names.discard(each.key)
        leads_to[each.key] = names | leads_to.get(each.key, set()) if adds else names
        lines[each.key] = each.line
    reached: dict[str, set[str]] = {}
    while wanted:
        name = wanted.pop()
        if name in leads_to and name not in reached:
            reached[name] = leads_to[name]
            wanted += leads_to[name]
    try:
        graphlib.TopologicalSorter(reached).prepare()
    except graphlib.CycleError as error:
        names_in_turn = sorted(set(error.args[1]), key=lambda name: lines[name])
        shown = ", ".join(names_in_turn[:5])
        yield Hit(lines[names_in_turn[0]], f"{shown} stand for each other for ever")


_VARIABLE = re.compile(r"\$\(([\w.]+)")
