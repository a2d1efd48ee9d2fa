"""pandas, which only tables need: it is imported when one is asked for."""

from __future__ import annotations

import importlib
from typing import Any

from wingspan.errors import WingspanError

__all__ = ["pandas"]


def pandas() -> Any:
    """The module.

    Raises:
        WingspanError: It is not installed.
    """
    try:
        return importlib.import_module("pandas")
    except ImportError as error:
        raise WingspanError(
            f"a table needs pandas, which cannot be imported here: {error}",
            hint="pip install pandas, or pixi add pandas; m.runtimes, m.memory and m.errors are there without it",
        ) from error
