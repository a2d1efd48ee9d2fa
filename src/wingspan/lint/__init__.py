"""Faults of job files: submit descriptions, the scripts they execute, and sbatch scripts.

::

    from wingspan.lint import lint

    for finding in lint([Path("train.sub")]):
        print(finding.file, finding.line, finding.rule, finding.message)

Every rule is a small function in one of the ``_rules_*`` modules, and says why it is a fault and where that
is written.
"""

from __future__ import annotations

from wingspan.lint._check import lint
from wingspan.lint._errors import LintError, LintWarning
from wingspan.lint._rule import RULES, Finding, Rule

__all__ = ["RULES", "Finding", "LintError", "LintWarning", "Rule", "lint"]
