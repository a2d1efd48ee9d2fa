"""Reading files, telling what they are, applying the rules."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal, TypeVar

import wingspan.lint._rules_files
import wingspan.lint._rules_gpu  # noqa: F401  both add to the table of _rules_submit
from wingspan.lint._errors import LintError, LintWarning
from wingspan.lint._rule import Finding, RuleTable
from wingspan.lint._rules_sbatch import SBATCH
from wingspan.lint._rules_shell import SHELL
from wingspan.lint._rules_submit import SUBMIT
from wingspan.lint._script import parse_script
from wingspan.lint._submit_file import LARGEST, parse_submit

__all__ = ["Kind", "kind_of", "lint"]

Kind = Literal["submit", "shell"]
_T = TypeVar("_T")

_SUBMIT_SUFFIXES = frozenset({".sub", ".submit", ".jdl", ".condor", ".cmd"})
_SHELL_SUFFIXES = frozenset({".sh", ".bash", ".sbatch", ".slurm", ".slurmjob"})
#: What version control and tools keep for themselves.
_SKIPPED = frozenset({".git", ".pixi", "__pycache__", ".mypy_cache", ".ruff_cache", ".pytest_cache"})
_IGNORE = re.compile(r"#\s*wingspan:\s*ignore=([\w,-]+)")
#: What is in the folder of an environment: the scripts there are not the user's.
_ENVIRONMENT = ("pyvenv.cfg", "conda-meta")
_SHELL = re.compile(r"#!.*\b(ba|da|z|k)?sh\b")


def kind_of(path: Path, text: str) -> Kind | None:
    """What a file is, by its first line, its suffix, else its content; None: neither.

    >>> kind_of(Path("train.sub"), ""), kind_of(Path("train.sub"), "#!/bin/bash"), kind_of(Path("a"), "queue")
    ('submit', 'shell', 'submit')
    """
    queue = re.search(r"^\s*queue\b(?!\s*=)", text, re.MULTILINE | re.IGNORECASE)
    if queue and re.search(r"^executable\s+=", text, re.MULTILINE | re.IGNORECASE) and text[:2] != "#!":
        return "submit"
    if path.suffix in _SHELL_SUFFIXES or _SHELL.match(text):
        return "shell"
    if path.suffix == ".cmd" and re.match(r"\s*(@|::|rem\b)", text, re.IGNORECASE):
        return None  # a batch file of Windows
    if path.suffix in _SUBMIT_SUFFIXES:
        return "submit"
    return "submit" if queue else None


def _read(path: Path) -> str:
    try:
        if path.stat().st_size > LARGEST:
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


def _job_files(folder: Path) -> list[Path]:
    """What is a job file by its name, and small enough; a self-extracting environment is a .sh too."""
    found: list[Path] = []
    for here, folders, names in os.walk(folder):
        folders[:] = [
            name
            for name in folders
            if name not in _SKIPPED and not any((Path(here) / name / mark).exists() for mark in _ENVIRONMENT)
        ]
        found += [
            path
            for path in (Path(here) / name for name in names)
            if path.suffix in _SUBMIT_SUFFIXES | _SHELL_SUFFIXES
            and path.is_file()
            and path.stat().st_size <= LARGEST
        ]
    return sorted(found)


def _texts(paths: Iterable[Path]) -> Iterator[tuple[Path, str]]:
    """The paths, with folders replaced by the job files in them, and what they say."""
    for path in paths:
        if not path.is_dir():
            yield path, _read(path)
            continue
        inside = _job_files(path)
        if not inside:
            raise LintError(f"there is no submit file and no script in {path}", hint="name the files")
        for each in inside:
            try:
                text = _read(each)
            except LintError as error:
                warnings.warn(f"left out: {error}", LintWarning, stacklevel=3)
                continue
            if kind_of(each, text) is not None:
                yield each, text


def lint(paths: Iterable[Path], *, kind: Kind | None = None) -> list[Finding]:
    """Look for faults in job files.

    A submit description is also held against the script that it executes, if that is found. A line (or the
    comment line above it) with ``# wingspan: ignore=RULE`` is not complained of for that rule.

    Args:
        paths: Files; folders stand for the submit files and scripts in them, but for what version control and tools keep, and environments.
        kind: What they are; by default told from suffix and content.

    Returns:
        Findings, in the order of the files and of their lines. Empty: none.

    Raises:
        LintError: A file that cannot be read, or is neither a submit description nor a shell script.

    Warns:
        LintWarning: A file in a folder that cannot be read; it is left out.
    """
    findings: list[Finding] = []
    for path, text in _texts(paths):
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
            lines, found = script.lines, []
            if _SHELL.match(text) or not text.startswith("#!"):  # sbatch takes scripts in any language
                found += _apply(SHELL, script, str(path))
            if script.sbatch:
                found += _apply(SBATCH, script, str(path))
        found = [each for each in dict.fromkeys(found) if not _ignored(lines, each)]
        findings += sorted(found, key=lambda each: (each.line, each.rule))
    return findings
