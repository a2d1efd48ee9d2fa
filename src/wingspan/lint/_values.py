"""Whether condor_submit can read a value: expressions, numbers, arguments, environments."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

__all__ = ["arguments_fault", "environment_fault", "evaluates_to_number", "expression_fault", "is_size"]

#: Sizes as request_memory and its kin take them; a second one may follow.
_SIZE = re.compile(r"\d+(?:\.\d+)?\s*[KMGTP]?B?(?:\s*,.*)?", re.IGNORECASE)
#: What is longer, or nested deeper, is not given to HTCondor's parser within this process: it calls itself
#: for each level.
_LONGEST = 10_000
_DEEPEST = 100
#: What can be evaluated without calling a function.
_ARITHMETIC = re.compile(r'[\w\s.+\-*/%<>=!&|?:"()]*')
_CALL = re.compile(r"[A-Za-z_]\w*\s*\(")


@lru_cache(maxsize=1)
def _classad() -> Any:
    """HTCondor's module ``classad2``, or None where there is none."""
    try:
        import classad2
    except (ImportError, OSError):
        return None
    return classad2


def _is_deep(text: str) -> bool:
    depth = run = 0
    for character in text:
        if character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        run = run + 1 if character in "!-+~?" else 0 if not character.isspace() else run
        if depth > _DEEPEST or run > _DEEPEST:
            return True
    return text.count("?") > _DEEPEST


@lru_cache(maxsize=4096)
def expression_fault(text: str) -> str | None:
    """Why a text is no ClassAd expression, if it is none and that can be told here.

    >>> expression_fault('OpSys == "LINUX"'), expression_fault("(a")
    (None, 'a bracket is not closed')
    """
    if len(text) > _LONGEST or _is_deep(text):
        return None
    classad = _classad()
    if classad is None:
        return None
    if text.rstrip().endswith(";"):
        return "there is no ; in expressions"  # classad2 takes it for the end
    try:
        classad.ExprTree(text)
    except (classad.ClassAdException, ValueError):
        return _reason(text)
    # classad2 takes a bracket too many for the end
    return _reason(text) if _depth(_without_texts(text)) < 0 else None


def is_size(text: str) -> bool:
    """Whether it is a number of bytes as request_memory takes it.

    >>> is_size("4 GB"), is_size("4GB, 8GB"), is_size("4GiB")
    (True, True, False)
    """
    return _SIZE.fullmatch(text) is not None


#: What people write instead of an operator, and what is meant.
_WORDS = (
    (re.compile(r"(?<![=!<>?])=(?![=?!])"), "= sets; == compares"),
    (re.compile(r"\band\b", re.IGNORECASE), "and is written &&"),
    (re.compile(r"\bor\b", re.IGNORECASE), "or is written ||"),
    (re.compile(r"\bnot\b", re.IGNORECASE), "not is written !"),
    (re.compile(r"[“”„‘’]"), "typographic quotes are no quotes"),
    (re.compile(r"#"), "a comment has a line of its own"),
    (re.compile(r"\d[KMGTP]i?B?\b", re.IGNORECASE), "numbers in expressions have no units"),
    (re.compile(r"==="), "=?= compares without conversion"),
    (re.compile(r"<>"), "unequal is written !="),
    (re.compile(r";"), "there is no ; in expressions"),
)


def _reason(text: str) -> str:
    bare = _without_texts(text)
    if bare.count('"') % 2:
        return "a quote is not closed"
    for pattern, words in _WORDS:
        if pattern.search(bare):
            return words
    depth = _depth(bare)
    if depth < 0:
        return "a bracket is closed that was not opened"
    return "a bracket is not closed" if depth else "it is no expression"


def _without_texts(text: str) -> str:
    return re.sub(r'"(?:[^"\\]|\\.)*"', '""', text)


def _depth(bare: str) -> int:
    """How many brackets are open at the end; -1: one is closed that was not opened."""
    depth = 0
    for character in bare:
        depth += (character in "([{") - (character in ")]}")
        if depth < 0:
            return -1
    return depth


@lru_cache(maxsize=1024)
def evaluates_to_number(text: str, *, boolean: bool) -> bool:
    """Whether condor_submit gets a number (or with `boolean` true or false) of a text; True where that cannot
    be told.

    >>> evaluates_to_number("3", boolean=False), evaluates_to_number("yes", boolean=True)
    (True, False)
    """
    if len(text) > 200 or not _ARITHMETIC.fullmatch(text) or _CALL.search(text):
        return len(text) > 200 or expression_fault(text) is None
    classad = _classad()
    if classad is None:
        words = ("true", "false") if boolean else ()
        return text.lower() in words or re.fullmatch(r"[A-Za-z_]\w*", text) is None
    try:
        value = classad.ExprTree(text).eval()
    except (classad.ClassAdException, ValueError, TypeError, RuntimeError):
        return False
    return type(value) in {bool, int, float}  # what is undefined is a number of another kind


def arguments_fault(value: str) -> str | None:
    """Why condor_submit refuses arguments, if it does.

    >>> arguments_fault('--name "a b"')
    'a double quote within arguments that do not begin with one'
    >>> arguments_fault("\\"--name 'a b'\\"") is None
    True
    """
    if not value.startswith('"'):
        bare = value.replace('\\"', "")
        return "a double quote within arguments that do not begin with one" if '"' in bare else None
    inner, fault = _inside_quotes(value)
    if inner is None:
        return fault
    return "a single quote is not closed" if inner.count("'") % 2 else None


def _inside_quotes(value: str) -> tuple[str | None, str | None]:
    """What is between the double quotes around a value, with doubled ones made single; or what is wrong."""
    at = 1
    while True:
        end = value.find('"', at)
        if end < 0:
            return None, "the double quote at the beginning is not closed"
        if value[end + 1 : end + 2] != '"':
            break
        at = end + 2
    if value[end + 1 :].strip():
        return None, "something stands behind the closing double quote"
    return value[1:end].replace('""', '"'), None


def environment_fault(value: str) -> str | None:
    """Why condor_submit refuses an environment, if it does.

    >>> environment_fault('"A=1 B"'), environment_fault("A=1;B=2")
    ('B has no =', None)
    """
    if value.startswith('"'):
        inner, fault = _inside_quotes(value)
        if inner is None:
            return fault
        if inner.count("'") % 2:
            return "a single quote is not closed"
        parts = re.findall(r"(?:[^\s']|'[^']*')+", inner)
    else:
        parts = [part.strip() for part in value.split(";")]
    for part in parts:
        if part and "=" not in part:
            return f"{part} has no ="
        if part.startswith("="):
            return f"{part} has no name"
    return None
