"""Reading files, telling what they are, applying the rules."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal, TypeVar

import wingspan.lint._rules_files
import wingspan.lint._rules_gpu
import wingspan.lint._rules_images
import wingspan.lint._rules_refused
import wingspan.lint._rules_silent  # noqa: F401  these add to the table of _rules_submit
from wingspan._warn import warn
from wingspan.lint._asked import ask
from wingspan.lint._errors import LintError, LintWarning
from wingspan.lint._rule import RULES, Finding, RuleTable
from wingspan.lint._rules_sbatch import SBATCH, not_read
from wingspan.lint._rules_shell import SHELL
from wingspan.lint._rules_submit import SUBMIT
from wingspan.lint._script import Script, parse_script
from wingspan.lint._submit_file import LARGEST, SubmitFile, parse_submit

__all__ = ["Kind", "kind_of", "lint"]

Kind = Literal["submit", "shell"]
_T = TypeVar("_T")

_SUBMIT_SUFFIXES = frozenset({".sub", ".submit", ".jdl", ".condor", ".cmd"})
_SHELL_SUFFIXES = frozenset({".sh", ".bash", ".sbatch", ".slurm", ".slurmjob"})
#: What version control and tools keep for themselves.
_SKIPPED = frozenset(
    {".git", ".pixi", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache", "node_modules"}
)
_IGNORE = re.compile(r"#[ \t]{0,20}wingspan:[ \t]{0,20}ignore=([\w,-]+)")
#: What is in the folder of an environment: the scripts there are not the user's.
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
_SHELL = re.compile(r"#!.{0,200}?\b(ba|da|z|k)?sh\b")
_QUEUE = re.compile(r"^[ \t]*queue(?=\s|$)(?![ \t]*=)", re.MULTILINE | re.IGNORECASE)
_EXECUTABLE = re.compile(r"^[ \t]*executable[ \t]*=", re.MULTILINE | re.IGNORECASE)
#: A line of a submit description.
_COMMAND = re.compile(r"[ \t]*(\+?[\w.]+[ \t]*@?=|(if|elif|else|endif|include|use)\b)", re.IGNORECASE)
#: A script without options of its own that submits others is executed where it is started: what is a fault on
#: workers, or of the file that HTCondor starts, is none in it.
_SUBMITS = re.compile(r"(?:^|[;&|(`]|\b(?:do|then|else|exec)[ \t])[ \t]*(?:sbatch|condor_submit(?:_dag)?)\s")
_OF_WORKERS = frozenset(
    {
        "unlocked-environment",
        "goes-on-after-failure",
        "not-waited-for",
        "home-in-job",
        "no-shebang",
    }
)
#: sbatch reads options until the first command: far down there are none.
_BEGINNING = 16_384
#: Findings of one rule in one file, and letters of a message: more would not be read.
_MOST = 100
_LONGEST = 500


def kind_of(path: Path, text: str) -> Kind | None:
    """What a file is, by its first line, its suffix, else its content; None: neither.

    >>> kind_of(Path("train.sub"), ""), kind_of(Path("train.sub"), "#!/bin/bash"), kind_of(Path("a"), "queue")
    ('submit', 'shell', 'submit')
    """
    queue = _QUEUE.search(text)
    named = path.suffix in _SUBMIT_SUFFIXES
    described = queue is not None and (named or _mostly_commands(text[: queue.start()]))
    if described and _EXECUTABLE.search(text) and (text[:2] != "#!" or named):
        return "submit"
    if path.suffix in _SHELL_SUFFIXES or _SHELL.match(text) or _is_sbatch(text[:_BEGINNING]):
        return "shell"
    if path.suffix == ".cmd" and re.match(r"\s*(@|::|rem\b)", text[:_BEGINNING], re.IGNORECASE):
        return None  # a batch file of Windows
    return "submit" if named or described else None


def _mostly_commands(text: str) -> bool:
    """Whether at least half of the lines could be those of a submit description: programs that write one have
    it in them, too.
    """
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    return 2 * sum(_COMMAND.match(line) is not None for line in lines) >= len(lines)


def _is_sbatch(beginning: str) -> bool:
    """Whether a script, in whatever language, has options of sbatch."""
    return beginning.startswith("#!") and "\n#SBATCH " in beginning


def _is_sbatch_file(path: Path, script: Script) -> bool:
    """Whether it is meant for sbatch, though no line is an option as it must be written."""
    return path.suffix in {".sbatch", ".slurm", ".slurmjob"} or any(not_read(script))


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
            raise LintError(f"{path} is too large for a job file", hint="name submit files and scripts only")
        text = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise LintError(f"{path} is not there", hint="check the name") from None
    except OSError as error:
        raise LintError(
            f"{path} cannot be read: {error.strerror}", hint="name a file that you can read"
        ) from None
    except UnicodeDecodeError:
        raise LintError(f"{path} is not text", hint="name submit files and scripts only") from None
    if "\0" in text:
        raise LintError(f"{path} is not text", hint="name submit files and scripts only")
    return text


def _apply(table: RuleTable[_T], parsed: _T, file: str) -> Iterator[Finding]:
    for rule in table.rules:
        for hit in islice(rule.check(parsed), _MOST):
            yield Finding(
                file=file,
                line=hit.line,
                rule=rule.id,
                message=_short(hit.message),
                hint=_short(hit.hint or rule.hint),
            )


def _short(text: str) -> str:
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _of_submit(submit: SubmitFile, *, own_rules: bool) -> list[Finding]:
    """Findings in a submit description; where HTCondor's parser was asked, it has the last word on what
    it refuses.
    """
    if not own_rules:
        submit.answer = ask(submit)
    found = list(_apply(SUBMIT, submit, str(submit.path)))
    ours = [each for each in found if RULES[each.rule].refuses]
    if submit.answer is not None and not submit.answer.refused:
        return [each for each in found if each not in ours]
    named = bool(ours) or any(each.rule == "url-without-key" for each in found)
    return [each for each in found if each.rule != "refused" or not named]


def _of_shell(script: Script) -> Iterator[Finding]:
    found = _apply(SHELL, script, str(script.path))
    if script.sbatch or not any(script.found(_SUBMITS)):
        return found
    return (each for each in found if each.rule not in _OF_WORKERS)


def _ignored(lines: list[str], finding: Finding, said: dict[int, frozenset[str]]) -> bool:
    """Whether the line itself, or a comment line right above it, says to ignore the rule."""
    for index in (finding.line - 1, finding.line - 2):
        if not 0 <= index < len(lines):
            continue
        if index not in said:
            match = _IGNORE.search(lines[index])
            said[index] = frozenset(match[1].split(",")) if match else frozenset()
        alone = index == finding.line - 1 or lines[index].lstrip().startswith("#")
        if alone and {finding.rule, "all"} & said[index]:
            return True
    return False


def _job_files(folder: Path) -> list[Path]:
    """What is a job file by its name or its first lines, and small enough; a self-extracting environment
    is a .sh too.
    """
    found: list[Path] = []
    for here, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED and not any((Path(here) / name / mark).exists() for mark in _ENVIRONMENT)
        ]
        found += [path for path in (Path(here) / name for name in names) if _is_job_file(path)]
    return sorted(found)


def _is_job_file(path: Path) -> bool:
    try:
        if not path.is_file() or path.stat().st_size > LARGEST:
            return False
        if path.suffix in _SUBMIT_SUFFIXES | _SHELL_SUFFIXES:
            return True
        with path.open("rb") as stream:
            if stream.read(2) != b"#!":
                return False
            return _is_sbatch("#!" + stream.read(_BEGINNING).decode("utf-8", "replace"))
    except OSError:
        return False


def _wanted(folder: Path, files: dict[Path, str]) -> Iterator[Path]:
    """Of the files of a folder: submit files, sbatch scripts, and the scripts that those submit files
    execute.
    """
    executed: set[Path] = set()
    for path, text in files.items():
        if kind_of(path, text) == "submit":
            script = parse_submit(path, text).script
            executed |= {script.resolve()} if script is not None else set()
    for path, text in files.items():
        kind = kind_of(path, text)
        # other things are called .submit or .cmd too
        described = kind == "submit" and (_QUEUE.search(text) or _EXECUTABLE.search(text))
        if described or (kind == "shell" and (path.resolve() in executed or _has_options(path, text))):
            yield path


def _has_options(path: Path, text: str) -> bool:
    """Whether it is an sbatch script itself, and does not only write one."""
    return "#SBATCH" in text and bool(parse_script(path, text).sbatch)


def _texts(paths: Iterable[Path], *, scripts: bool) -> Iterator[tuple[Path, str]]:
    """The paths, with folders replaced by the job files in them, and what they say."""
    for path in paths:
        if not path.is_dir():
            yield path, _read(path)
            continue
        inside = _job_files(path)
        if not inside:
            raise LintError(f"there is no submit file and no script in {path}", hint="name the files")
        files: dict[Path, str] = {}
        for each in inside:
            try:
                text = _read(each)
            except LintError as error:
                warn(f"left out: {error}", LintWarning)
                continue
            if kind_of(each, text) is not None:
                files[each] = text
        for each in files if scripts else _wanted(path, files):
            yield each, files[each]


def lint(
    paths: Iterable[Path], *, kind: Kind | None = None, scripts: bool = False, own_rules: bool = False
) -> list[Finding]:
    """Look for faults in job files.

    A submit description is also held against the script that it executes, if that is found, and shown to
    HTCondor's own ``condor_submit -dry-run``, if there is one on this machine and the file has no line at
    which that would execute or read something else. A line (or the comment line above it) with
    ``# wingspan: ignore=RULE`` is not complained of for that rule.

    Args:
        paths: Files; folders stand for the submit files, the scripts that these execute and the sbatch
            scripts in them, but for what version control and tools keep, and environments.
        kind: What they are; by default told from suffix and content.
        scripts: Of folders take all shell scripts.
        own_rules: Do not ask condor_submit.

    Returns:
        Findings, in the order of the files and of their lines. Empty: none. Of one rule in one file there are
        at most 100.

    Raises:
        LintError: A file that cannot be read, or is neither a submit description nor a shell script.

    Warns:
        LintWarning: A file in a folder that cannot be read; it is left out.
    """
    findings: list[Finding] = []
    for path, text in _texts(paths, scripts=scripts):
        what = kind or kind_of(path, text)
        if what is None:
            hint = "say what it is: --as submit, or --as shell"
            if path.suffix == ".dag":
                hint = "it describes a DAG: name the submit files of its jobs instead"
            raise LintError(
                f"{path} is neither a submit file nor a shell script, as far as can be told", hint=hint
            )
        if what == "submit":
            submit = parse_submit(path, text)
            lines, found = submit.lines, _of_submit(submit, own_rules=own_rules)
        else:
            script = parse_script(path, text)
            lines, found = script.lines, []
            if _SHELL.match(text) or not text.startswith("#!"):  # sbatch takes scripts in any language
                found += _of_shell(script)
            if script.sbatch or _is_sbatch_file(path, script):
                found += _apply(SBATCH, script, str(path))
        said: dict[int, frozenset[str]] = {}
        found = [each for each in dict.fromkeys(found) if not _ignored(lines, each, said)]
        findings += sorted(found, key=lambda each: (each.line, each.rule))
    return findings
