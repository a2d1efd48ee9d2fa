"""What HTCondor's own condor_submit says to a submit description, where there is one on this machine.

``condor_submit -dry-run`` makes the job's ClassAd and speaks with no pool. Of some lines it would execute
commands or read other files, so it is asked only about a file that has none of them, with an empty
environment and configuration, and for a short time.
"""

from __future__ import annotations

import math
import os
import re
import shutil
import subprocess
from collections import Counter
from functools import lru_cache

from wingspan.lint._macros import BUILT_IN
from wingspan.lint._submit_file import Answer, Command, SubmitFile, split_list
from wingspan.lint._vocabulary import is_command

__all__ = ["ask"]

#: Files that are larger, once their variables are replaced, are judged by our own rules alone.
_LARGEST = 200_000
_SECONDS = 10
#: Variables within variables.
_DEEPEST = 50
#: Starts a program that gets 1 GiB and two seconds of a processor.
_LIMITED = 'ulimit -c 0; ulimit -t 2; ulimit -v 1048576 2>/dev/null; exec "$@"'
#: Lines that may be or become a queue statement.
_MAY_QUEUE = re.compile(
    r"[^a-z#]*(?:(?:queue|iter(?:a(?:te?)?)?)(?:[\s\\]|$)|(?:q(?:u(?:eu?)?)?|i(?:te?)?)\s*\\)", re.IGNORECASE
)
_NAMED = re.compile(r"\$\$?\w{0,40}\[?\({1,3}\s*([\w.+]+)")
_NAMES = re.compile(r"\$\$?\(?\[?\(([\w.+]+)(:?)")
_ENVIRONMENT = re.compile(r"\$ENV\((\w+)", re.IGNORECASE)
#: What a file says of the machine it is submitted from, not of itself.
_OF_THE_MACHINE = re.compile(
    r"proxy|x509|scitoken|credential|oauth|CREDD_HOST|DOCKER_CONFIG|docker cred", re.IGNORECASE
)
_ON_LINE = re.compile(r"on Line (\d+) of ")
_EXPRESSION = re.compile(r"Parse error in expression:\s*(\w+) = ?(.*)", re.DOTALL)
_SETTING = re.compile(r"^(\w+)\s?=")
#: Whose files condor_submit would measure, however many there are, and whether an entry is of any other
#: interest to it.
_MEASURED = (
    "transfer_input_files",
    "public_input_files",
    "transfer_common_input",
    "jar_files",
    "tool_daemon_cmd",
    "input",
)
#: What condor_submit calls attributes, where that is not the command without its underscores.
_ATTRIBUTES = {"onexitremove": "on_exit_remove", "isnoopjob": "noop_job", "leavejobinqueue": "leave_in_queue"}


@lru_cache(maxsize=8)
def _program(path: str | None) -> str | None:
    """HTCondor's condor_submit: the one on PATH, else that of the personal pool. None is obtained."""
    from wingspan.pools.personal.installation import cached

    found = shutil.which("condor_submit", path=path)
    if found is not None:
        return found
    personal = cached()
    return None if personal is None else shutil.which("condor_submit", path=str(personal.bin))


def ask(submit: SubmitFile) -> Answer | None:
    """Ask condor_submit about a file; None: it is not here, or may not be asked, or its answer depends on
    more than the file.
    """
    if os.name != "posix" or not _may_be_asked(submit):
        return None
    program = _program(os.environ.get("PATH"))
    if program is None:
        return None
    unknown = _unknown(submit)
    said = _run(program, submit, unknown)
    if said is None:
        return None
    code, out, err = said
    if code == 0 or "would exceed -maxjobs" in err:
        return Answer(refused=False)
    return _understood(submit, out, err, unknown)


def _may_be_asked(submit: SubmitFile) -> bool:
    """Whether nothing is executed, and nothing read but what the file plainly names."""
    if submit.includes or submit.is_template or "\0" in submit.text or len(submit.text) > _LARGEST:
        return False
    for number, line in enumerate(submit.lines):
        if _MAY_QUEUE.match(line) and not _is_plain_queue(submit, number):
            return False
    return _whole_size(submit) <= _LARGEST and all(
        _is_ordinary(submit, queue.file) for queue in submit.queues if queue.file
    )


def _is_plain_queue(submit: SubmitFile, number: int) -> bool:
    """Whether what may be a queue statement in line `number` and those that continue it names no command, and
    has no variables but
    for numbers.
    """
    for line in submit.lines[number : number + 50]:
        macros = re.findall(r"\$[^\s]*", line)
        if "|" in line or not all(re.fullmatch(r"\d{0,9}", submit.expanded(each)) for each in macros):
            return False
        if not line.rstrip().endswith("\\"):
            return True
    return False


def _whole_size(submit: SubmitFile) -> float:
    """How long all values together can become at most, with their variables replaced: condor_submit has
    no limit of its own.
    """
    longest = max((len(item) for queue in submit.queues for item in queue.items), default=0) + 1000
    own = dict.fromkeys((name for queue in submit.queues for name in queue.variables), longest)
    # length of the text itself, and how often each other variable is in it
    values: dict[str, list[tuple[int, Counter[str]]]] = {}
    for each in submit.commands:
        names = Counter(name.lower() for name in _NAMED.findall(each.value))
        size, before = len(each.value), names.pop(each.key, 0)
        if before and each.key in values:
            earlier = max(values[each.key], key=lambda value: value[0])
            size += before * earlier[0]
            names.update({name: before * count for name, count in earlier[1].items()})
        if size > _LARGEST or sum(names.values()) > _LARGEST:
            return math.inf
        values.setdefault(each.key, []).append((size, names))
    known: dict[str, float] = {}

    def bound(name: str, depth: int) -> float:
        if name in own:
            return own[name]
        if name not in known:
            known[name] = math.inf  # where it leads back to itself
            if depth < _DEEPEST:
                known[name] = max((whole(one, depth + 1) for one in values.get(name, ())), default=100)
        return known[name]

    def whole(value: tuple[int, Counter[str]], depth: int) -> float:
        return min(value[0] + sum(count * bound(name, depth) for name, count in value[1].items()), math.inf)

    return sum(bound(name, 0) for name in values)


def _is_ordinary(submit: SubmitFile, name: str) -> bool:
    path = submit.base / name
    try:
        return not path.exists() or (path.is_file() and path.stat().st_size <= _LARGEST)
    except (OSError, ValueError):
        return False


def _unknown(submit: SubmitFile) -> frozenset[str]:
    """Variables that nothing in the file sets: whoever submits it may do so (``condor_submit x=1 FILE``,
    or a DAG).
    """
    names = {name.lower() for name, default in _NAMES.findall(submit.text) if not default}
    set_here = {each.key for each in submit.commands} | {
        name for queue in submit.queues for name in queue.variables
    }
    return frozenset(
        name for name in names - set_here - BUILT_IN if re.fullmatch(r"\w+", name) and not is_command(name)
    )


def _replaced(submit: SubmitFile) -> list[str]:
    """Lines that keep condor_submit from measuring the files that a job takes along, which may be a whole
    disk.
    """
    lines = []
    for key in _MEASURED:
        command = submit.last(key)
        if command is None or not command.value or all("://" in entry for entry in split_list(command.value)):
            continue
        lines += ["-append", f"{command.written} = wingspan-measures-nothing"]
    image = submit.last("container_image")
    if image is not None and "://" not in image.value:
        sif = "wingspan-measures-nothing.sif"
        lines += ["-append", f"{image.written} = {sif}"] if image.value else []
    return lines


def _run(program: str, submit: SubmitFile, unknown: frozenset[str]) -> tuple[int, str, str] | None:
    """Exit status, output and errors of the dry run."""
    text = submit.text
    jobs = max(1, min(200, 2_000_000 // (len(text) + 1)))
    environment = {
        "PATH": "/usr/bin:/bin",
        "HOME": "/ENV_HOME",
        "CONDOR_CONFIG": "/dev/null",
        "_CONDOR_NO_DNS": "true",
        "_CONDOR_DEFAULT_DOMAIN_NAME": "localdomain",
        "_CONDOR_NETWORK_INTERFACE": "127.0.0.1",
    }
    for name in _ENVIRONMENT.findall(text):
        if not name.upper().startswith(("_", "LD_", "CONDOR")):
            environment.setdefault(name, f"ENV_{name}")
    command = [
        program,
        "-dry-run",
        os.devnull,
        "-maxjobs",
        str(jobs),
        *(f"{name}=1" for name in sorted(unknown)[:50]),
    ]
    try:
        done = subprocess.run(
            ["/bin/sh", "-c", _LIMITED, "sh", *command, *_replaced(submit), "/dev/stdin"],
            input=text if text.endswith("\n") else text + "\n",
            cwd=submit.base,
            env=environment,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=_SECONDS,
            check=False,
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return None
    return (done.returncode, done.stdout, done.stderr) if done.returncode in {0, 1} else None


def _understood(submit: SubmitFile, out: str, err: str, unknown: frozenset[str]) -> Answer | None:
    errors = re.split(r"^ERROR:? ?|^WARNING: ", err, flags=re.MULTILINE)
    first = next((each for each in errors if each.strip()), "")
    # of the reasons only the first is the cause; some end with what the file says, over many lines
    why = " ".join(first.split())[:300]
    if not why or _OF_THE_MACHINE.search(why) or "ENV_" in why:
        return None
    if "No 'executable' parameter" in why and submit.is_build_job:
        return None
    on_line = _ON_LINE.search(err)
    if on_line is not None:
        line = min(int(on_line[1]), len(submit.lines))
        words = re.sub(r"^on Line \d+ of \S+: ?|Submit:-1:Error \S+ Line \d+:? ?", "", why).strip()
        if not words:
            words = f"it cannot read: {submit.lines[line - 1].strip()[:100]}"
        depends = submit.lines[line - 1]
    else:
        command = _meant(submit, why)
        line, words = (command.line, why) if command is not None else (1, why)
        depends = submit.expanded(command.value) if command is not None else ""
        if "expression" in why and command is not None:
            words = f"it cannot read the expression {command.value[:200]}"
    if (
        re.search(r"executable|directory", why)
        and (command := _meant(submit, why))
        and submit.expanded(command.value).startswith("/")
    ):
        return None  # of the machine that submits, which need not be this one
    if any(name.lower() in unknown for name, _ in _NAMES.findall(depends)):
        return None
    return Answer(True, line, words.rstrip(". "))


def _meant(submit: SubmitFile, why: str) -> Command | None:
    """The command of which a message speaks, as far as can be told: by its name, its attribute's name, or
    its value.
    """
    expression = _EXPRESSION.search(why)
    names = [expression[1]] if expression else []
    names += [match[1] for match in [_SETTING.match(why)] if match]
    names += re.findall(r"\b\w+\b", why)
    by_name: dict[str, Command] = {}
    for each in submit.commands:
        by_name[each.key.replace("_", "")] = each
        by_name[each.written.lstrip("+-").lower().replace("_", "")] = each
    for name in names:
        found = by_name.get(_ATTRIBUTES.get(name.lower(), name.lower()).replace("_", ""))
        if found is not None:
            return found
    for word, key in (
        ("executable", "executable"),
        ("directory", "initialdir"),
        ("rguments", "arguments"),
        ("double-quote", "arguments"),
    ):
        if word in why and (found := submit.last(key)) is not None:
            return found
    return next((each for each in submit.commands if each.value and each.value in why), None)
