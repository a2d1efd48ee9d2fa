"""Rules about what condor_submit accepts, and understands otherwise than its author."""

from __future__ import annotations

import re
from collections.abc import Iterator

from wingspan.lint._rule import Hit
from wingspan.lint._rules_submit import MANUAL, PER_JOB_NAMES, SUBMIT
from wingspan.lint._submit_file import SubmitFile

__all__: list[str] = []

#: Commands whose value is taken as it stands.
_PLAIN = frozenset(
    "log output error input executable initialdir transfer_input_files transfer_output_files batch_name notify_user".split()
)


@SUBMIT.rule(
    "comment-in-value",
    hint="give the comment a line of its own",
    why="HTCondor knows comments only on lines of their own: what stands behind a value is part of it.",
    source=MANUAL,
)
def comment_in_value(submit: SubmitFile) -> Iterator[Hit]:
    for command, match in submit.found(_COMMENT, *_PLAIN):
        yield Hit(command.line, f"{match[0].strip()} is part of {command.written}")


_COMMENT = re.compile(r"\s#.*")


_SHELLS = frozenset(["sh", "bash", "dash", "zsh", "ksh", "csh", "tcsh", "env"])
_REDIRECTION = re.compile(
    r"(?:^|(?<=\s))(?:\d?>>?(?:&\d)?|&>>?)(?=\s|$|[\w./$])|(?:^|(?<=\s))(?:<|\||\|\||&&)(?=\s|$)"
)


def _is_shell(submit: SubmitFile) -> bool:
    executable = submit.last("executable")
    name = executable.value.rsplit("/", maxsplit=1)[-1] if executable is not None else ""
    return name.strip('"') in _SHELLS


@SUBMIT.rule(
    "shell-in-arguments",
    hint="write it in the script, or use output = … and error = …",
    why="No shell reads the arguments: > and | are handed to the program like any other word.",
    source=MANUAL + " (arguments)",
)
def shell_in_arguments(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.of("arguments"):
        bare = _quoted_out(command.value)
        match = None if _is_shell(submit) else _REDIRECTION.search(bare)
        if match is not None:
            yield Hit(command.line, f"{match[0].strip()} in the arguments is no redirection")


def _quoted_out(value: str) -> str:
    """Arguments without what is in single quotes.

    These mean something only where a double quote begins the arguments.
    """
    return re.sub(r"'[^']*'", "''", value) if value.startswith('"') else value


_BARE = re.compile(r"(?<![\\$])\$([A-Za-z_]\w*)(?![\w(])")


@SUBMIT.rule(
    "bare-variable",
    hint="write $(name); a variable of the shell is for the script",
    why="HTCondor replaces $(name), with brackets; $name stays as it is written, since no shell reads the file.",
    source=MANUAL,
)
def bare_variable(submit: SubmitFile) -> Iterator[Hit]:
    mine = {name for queue in submit.queues for name in queue.variables} | {
        each.key for each in submit.commands if not each.custom
    }
    for command in submit.commands:
        if command.custom or (command.key not in _PLAIN and command.key not in {"arguments", "environment"}):
            continue
        if command.key == "arguments" and _is_shell(submit):
            continue
        for match in _BARE.finditer(_quoted_out(command.value)):
            name = match[1].lower()
            known = name in mine or name in PER_JOB_NAMES
            if known or command.key not in {"arguments", "environment"} or match[1].isupper():
                hint = f"write $({match[1]})" if known else None
                yield Hit(command.line, f"${match[1]} in {command.written} is not replaced", hint)
                break


#: Attributes of machines that are texts.
_TEXTS = (
    "arch|opsys|opsysandver|opsysname|opsysshortname|opsyslongname|opsyslegacy|machine|name|filesystemdomain|uiddomain"
    "|cudadevicename|gpus_devicename|devicename|glidein_site|glidein_resourcename|osgvo_os_string"
)
_UNQUOTED = re.compile(
    rf"(?<![\w.])(?:target\.)?(?P<name>{_TEXTS})\s*(?P<operator>==|!=|=\?=|=!=)\s*(?P<value>'[^']*'|[A-Za-z_][\w.-]*)(?![\w(.])",
    re.IGNORECASE,
)


@SUBMIT.rule(
    "unquoted-comparison",
    hint="put the text in double quotes",
    why="A bare word, or one in single quotes, is the name of an attribute; what is compared with one that is not there matches nothing.",
    source="https://htcondor.readthedocs.io/en/latest/classads/classad-mechanism.html",
)
def unquoted_comparison(submit: SubmitFile) -> Iterator[Hit]:
    for command in submit.of("requirements", "require_gpus"):
        for match in _UNQUOTED.finditer(command.value[:20_000]):
            value = match["value"]
            if value[0] == "'" or _is_no_attribute(submit, match["name"].lower(), value.lower()):
                text = value.strip("'")
                yield Hit(
                    command.line,
                    f"{match['name']} {match['operator']} {value} compares with an attribute, not with a text",
                    f'write {match["name"]} {match["operator"]} "{text}"',
                )


def _is_no_attribute(submit: SubmitFile, name: str, value: str) -> bool:
    """Whether a bare word is hardly the name of an attribute.

    Some attributes of jobs are made to be compared with those of machines.
    """
    if value in {"undefined", "error", "true", "false"} or submit.custom(value):
        return False
    if re.match(r"my\.|target\.|machineattr|last|remote|desired|wanted|required", value):
        return False
    return "." in value or "-" in value or name not in {"machine", "name"}


@SUBMIT.rule(
    "text-with-text",
    hint="write the name of an attribute without quotes",
    why="What is in quotes is a text: comparing two texts gives the same answer for every machine.",
    source="https://htcondor.readthedocs.io/en/latest/classads/classad-mechanism.html; found in a published submit file",
)
def text_with_text(submit: SubmitFile) -> Iterator[Hit]:
    for command, match in submit.found(_TWO_TEXTS, "requirements", "require_gpus", "rank"):
        if "$" not in match[0]:
            hint = f"write {match[1]} {match[2]} {match[3]}" if match[1].isidentifier() else None
            yield Hit(command.line, f"{match[0]} compares a text with a text", hint)


_TWO_TEXTS = re.compile(r'(?<!\\)"([^"\\]*)"\s*(==|!=|=\?=|=!=)\s*("[^"\\]*")')


@SUBMIT.rule(
    "quoted-number",
    hint="write the number without quotes",
    why="A number in quotes is a text: a site's policy that compares it as a number does not see it.",
    source="https://batchdocs.web.cern.ch/local/submit.html",
)
def quoted_number(submit: SubmitFile) -> Iterator[Hit]:
    for name in (
        "MaxRuntime",
        "RequestRuntime",
        "RequestCpus",
        "RequestMemory",
        "RequestDisk",
        "RequestGPUs",
    ):
        for command in submit.custom(name):
            if re.fullmatch(r'"\d+(\.\d+)?"', command.value):
                yield Hit(command.line, f"{command.written} = {command.value} is a text, not a number")


@SUBMIT.rule(
    "joined-environment",
    hint='write: environment = "A=1 B=2"',
    why="Without double quotes around the whole value, ; separates variables, and a blank is part of a value.",
    source=MANUAL + " (environment)",
)
def joined_environment(submit: SubmitFile) -> Iterator[Hit]:
    for command, match in submit.found(_SECOND, "environment"):
        if not command.value.startswith('"'):
            yield Hit(command.line, f"{match[2]} is part of the value of {match[1]}")


_SECOND = re.compile(r"^([A-Za-z_]\w*)=[^;\s]*\s+([A-Za-z_]\w*)=")


@SUBMIT.rule(
    "mail-for-all",
    hint="leave it out, or write notification = Error",
    why="A mail is sent whenever a job of the cluster is evicted, checkpoints or ends.",
    source=MANUAL + " (notification)",
)
def mail_for_all(submit: SubmitFile) -> Iterator[Hit]:
    for command, _ in submit.found(_ALWAYS, "notification"):
        yield Hit(command.line, "notification = always sends many mails for each job")


_ALWAYS = re.compile(r"^always$", re.IGNORECASE)


@SUBMIT.rule(
    "old-system",
    hint="ask for one that there is, such as (OpSysMajorVer >= 9), or bring it as container_image",
    why="Enterprise Linux 7 and its kin had their last update in June 2024: pools have no such machines any more, and the job waits for ever.",
    source="https://www.redhat.com/en/topics/linux/centos-linux-eol",
)
def old_system(submit: SubmitFile) -> Iterator[Hit]:
    for command, match in submit.found(_EL7, "requirements"):
        if "||" not in command.value:
            yield Hit(command.line, f"{match[0]} asks for machines that no longer exist")


_EL7 = re.compile(
    r"(?<![\w.])(?:target\.)?(?:opsysmajorver\s*(?:==|=\?=)\s*[67](?![\d.])|"
    r"(?:opsysandver|osgvo_os_string|opsysshortname|opsyslongname)\s*(?:==|=\?=)\s*"
    r'"(?:CentOS|RHEL|RedHat|SL|Scientific|AlmaLinux|EL)[A-Za-z ]*[67](?:\.\d+)?")',
    re.IGNORECASE,
)
