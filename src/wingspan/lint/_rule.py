"""What a rule and a finding are, and the table of all rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import attrs

__all__ = ["RULES", "Finding", "Hit", "Rule", "RuleTable"]

_T = TypeVar("_T")


@attrs.frozen(kw_only=True)
class Finding:
    """A fault in a file.

    Attributes:
        file: The file, as it was named.
        line: Number of the line, from 1.
        rule: Id of the rule.
        message: What is wrong there.
        hint: What to write instead.
    """

    file: str
    line: int
    rule: str
    message: str
    hint: str


@attrs.frozen
class Hit:
    """What the function of a rule yields: the line, what is wrong, and what to write instead of the rule's
    own hint.
    """

    line: int
    message: str
    hint: str | None = None


@attrs.frozen(kw_only=True)
class Rule(Generic[_T]):
    """A kind of fault.

    Attributes:
        id: Its name, as findings and ``# wingspan: ignore=`` comments bear it.
        hint: What to write instead.
        why: What goes wrong otherwise.
        source: Where that is written: a manual page or guide, or the kind of file in which the fault was
            found.
        check: Finds it.
        refuses: Whether HTCondor refuses a file with it, so that its own parser, where there is one, has the
            last word.
    """

    id: str
    hint: str
    why: str
    source: str
    check: Callable[[_T], Iterator[Hit]]
    refuses: bool = False


#: All rules, by id; filled where they are defined.
RULES: dict[str, Rule[object]] = {}


class RuleTable(Generic[_T]):
    """The rules for one kind of file."""

    def __init__(self) -> None:
        self.rules: list[Rule[_T]] = []

    def rule(
        self, id: str, *, hint: str, why: str, source: str, refuses: bool = False
    ) -> Callable[[Callable[[_T], Iterator[Hit]]], Callable[[_T], Iterator[Hit]]]:
        """Make a rule of the function below."""

        def made(check: Callable[[_T], Iterator[Hit]]) -> Callable[[_T], Iterator[Hit]]:
            assert id not in RULES, f"two rules are called {id}"
            rule = Rule(id=id, hint=hint, why=why, source=source, check=check, refuses=refuses)
            self.rules.append(rule)
            RULES[id] = rule  # type: ignore[assignment]  # shown, never checked, through this table
            return check

        return made
