"""Ads of HTCondor: jobs and machines."""

from __future__ import annotations

import contextlib
from typing import Any

__all__ = ["value"]


def value(ad: Any, name: str) -> float:
    """A number of an ad, its expressions evaluated; 0 where there is none."""
    found = ad.get(name)
    if not isinstance(found, int | float):
        with contextlib.suppress(Exception):  # the classad library's own errors, of which there are several
            found = ad.eval(name)
    return float(found) if isinstance(found, int | float) and not isinstance(found, bool) else 0.0
