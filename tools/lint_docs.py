"""Write the tables of rules in docs/lint.md anew: python tools/lint_docs.py."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import wingspan.lint  # fills the tables
from wingspan.lint._rule import RuleTable
from wingspan.lint._rules_sbatch import SBATCH
from wingspan.lint._rules_shell import SHELL
from wingspan.lint._rules_submit import SUBMIT

PAGE = Path(__file__).parents[1] / "docs" / "lint.md"
HEADING = "## The rules\n"
TABLES: tuple[tuple[str, RuleTable[Any]], ...] = (
    ("Submit descriptions", SUBMIT),
    ("Scripts", SHELL),
    ("sbatch scripts (beside the rules for scripts)", SBATCH),
)


def page(before: str) -> str:
    """The page with its tables as the program has the rules now."""
    text = before[: before.index(HEADING)] + HEADING
    for title, table in TABLES:
        text += f"\n### {title}\n\n| rule | why it is a fault |\n| --- | --- |\n"
        for rule in table.rules:
            text += "| `{}` | {} |\n".format(rule.id, rule.why.replace("|", r"\|"))
    return text


if __name__ == "__main__":
    assert wingspan.lint.RULES
    PAGE.write_text(page(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
