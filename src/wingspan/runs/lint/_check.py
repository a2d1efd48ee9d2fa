"""Reading files, telling what they are, applying the rules."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import wingspan.runs.lint._rules_files
import wingspan.runs.lint._rules_gpu  # noqa: F401  both add to the table of _rules_submit
from wingspan.runs.lint._errors import LintError
from wingspan.runs.lint._rule import Finding, RuleTable
from wingspan.runs.lint._rules_sbatch import SBATCH
from wingspan.runs.lint._rules_shell import SHELL
from wingspan.runs.lint._rules_submit import SUBMIT
from wingspan.runs.lint._script import parse_script
from wingspan.runs.lint._submit_file import parse_submit

__all__ = ["Kind", "kind_of", "lint"]

Kind = Literal["submit", "shell"]
_T = TypeVar("_T")

_SUBMIT_SUFFIXES = frozenset({".sub", ".submit", ".jdl", ".condor", ".cmd"})
_SHELL_SUFFIXES = frozenset({".sh", ".bash", ".sbatch", ".slurm", ".slurmjob"})
_IGNORE = re.compile(r"#\s*wingspan:\s*ignore=([\w,-]+)")
#: Job files are small; what is larger is data.
_LARGEST = 4 << 20


def kind_of(path: Path, text: str) -> Kind | None:
    """What a file is, by its suffix, else by its content; None: neither.

    >>> kind_of(Path("train.sub"), ""), kind_of(Path("train"), "#!/bin/bash"), kind_of(Path("a"), "queue")
    ('submit', 'shell', 'submit')
    """
    if path.suffix in _SUBMIT_SUFFIXES:
        return "submit"
    if path.suffix in _SHELL_SUFFIXES or re.match(r"#!.*\b(ba|da|z|k)?sh\b", text):
        return "shell"
    if re.search(r"^\s*queue\b(?!\s*=)", text, re.MULTILINE | re.IGNORECASE):
        return "submit"
    return None


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > _LARGEST:
            raise LintError(f"{path} is too large for a job file", hint="name submit files and scripts only")
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        raise LintError(f"{path} is not there", hint="check the name") from None
    except OSError as error:
        raise LintError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise LintError(f"{path} is not text", hint="name submit files and scripts only") from None


def _apply(table: RuleTable[_T], parsed: _T, file: str) -> Iterator[Finding]:
    for rule in table.rules:
        for hit in rule.check(parsed):
            yield Finding(
                file=file, line=hit.line, rule=rule.id, message=hit.message, hint=hit.hint or rule.hint
            )


def _ignored(lines: list[str], finding: Finding) -> bool:
    """Whether the line itself, or a comment line right above it, says to ignore the rule."""
    for index in (finding.line - 1, finding.line - 2):
        if 0 <= index < len(lines) and (match := _IGNORE.search(lines[index])):
            alone = lines[index].lstrip().startswith("#")
            if (index == finding.line - 1 or alone) and {finding.rule, "all"} & set(match[1].split(",")):
                return True
    return False


def _is_job_file(path: Path) -> bool:
    """Whether a file found in a folder is small enough; a self-extracting environment is a .sh too."""
    return path.is_file() and path.stat().st_size <= _LARGEST


def _files(paths: Iterable[Path]) -> Iterator[Path]:
    """The paths, with folders replaced by the job files in them."""
    for path in paths:
        if path.is_dir():
            suffixes = _SUBMIT_SUFFIXES | _SHELL_SUFFIXES
            inside = sorted(
                each for each in path.rglob("*") if each.suffix in suffixes and _is_job_file(each)
            )
            if not inside:
                raise LintError(f"there is no submit file and no script in {path}", hint="name the files")
            yield from inside
        else:
            yield path


def lint(paths: Iterable[Path], *, kind: Kind | None = None) -> list[Finding]:
    """Look for faults in job files.

    A submit description is also held against the script that it executes, if that is found. A line (or the
    comment line above it) with ``# wingspan: ignore=RULE`` is not complained of for that rule.

    Args:
        paths: Files; folders stand for the submit files and scripts in them.
        kind: What they are; by default told from suffix and content.

    Returns:
        Findings, in the order of the files and of their lines. Empty: none.

    Raises:
        LintError: A file that cannot be read, or is neither a submit description nor a shell script.
    """
    findings: list[Finding] = []
    for path in _files(paths):
        text = _read(path)
        what = kind or kind_of(path, text)
        if what is None:
            raise LintError(
                f"{path} is neither a submit file nor a shell script, as far as can be told",
                hint="say what it is: --as submit, or --as shell",
            )
        if what == "submit":
            submit = parse_submit(path, text)
            lines, found = submit.lines, list(_apply(SUBMIT, submit, str(path)))
        else:
            script = parse_script(path, text)
            lines, found = script.lines, list(_apply(SHELL, script, str(path)))
            if script.sbatch:
                found += _apply(SBATCH, script, str(path))
        found = [each for each in dict.fromkeys(found) if not _ignored(lines, each)]
        findings += sorted(found, key=lambda each: (each.line, each.rule))
    return findings
