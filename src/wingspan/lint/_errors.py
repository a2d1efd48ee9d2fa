"""What keeps lint from reading a file."""

from __future__ import annotations

from wingspan.errors import WingspanError

__all__ = ["LintError", "LintWarning"]


class LintError(WingspanError, ValueError):
    """A file that cannot be read, or whose kind cannot be told."""

    exit_code = 2


class LintWarning(UserWarning):
    """A file in a folder that is left out."""
