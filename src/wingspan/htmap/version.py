"""Which HTMap this is like."""

from __future__ import annotations

import wingspan

__all__ = ["version", "version_info"]

#: The last release of HTMap: programs that ask for a version get this one.
__version__ = "0.6.1"


def version() -> str:
    """The version as a sentence."""
    return f"HTMap version {__version__} (wingspan.htmap of Wingspan {wingspan.__version__})"


def version_info() -> tuple[int, int, int, str | None, int | None]:
    """The version as numbers, for comparing: ``(0, 6, 1, None, None)``."""
    return 0, 6, 1, None, None
