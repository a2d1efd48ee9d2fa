"""Errors in the form that messages have."""

from __future__ import annotations

import sys
import traceback
from typing import Any

from wingspan.errors import WingspanError

__all__ = ["told"]


def told(error: Exception) -> dict[str, Any]:
    """The error, for the other end to raise."""
    if isinstance(error, WingspanError):
        cls = type(error)
        return {"type": cls.__name__, "module": cls.__module__, "message": error.message, "hint": error.hint}
    traceback.print_exception(error, file=sys.stderr)
    return {
        "type": "PoolError",
        "module": "wingspan.errors",
        "message": f"the access point failed: {type(error).__name__}: {error}",
        "hint": None,
    }
