"""Warnings name the line of the user's program, however deep in Wingspan they come from."""

from __future__ import annotations

import contextlib
import os
import sys
import warnings

__all__ = ["warn"]

_OURS = (os.path.dirname(__file__) + os.sep, contextlib.__file__)  # noqa: PTH120 - no Path is needed otherwise


def warn(text: str, category: type[Warning]) -> None:
    """`warnings.warn`, for the nearest line that is not Wingspan's."""
    level, frame = 1, sys._getframe()
    while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
        level, frame = level + 1, frame.f_back
    warnings.warn(text, category, stacklevel=level)
