"""How many cores this process may use."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextvars import ContextVar

__all__ = ["limited_cores", "usable_cores"]

_limit: ContextVar[int | None] = ContextVar("_limit", default=None)


@contextlib.contextmanager
def limited_cores(count: int) -> Iterator[None]:
    """Within the block, `usable_cores` answers `count` at most: for work on a machine that others share.

    >>> with limited_cores(1):
    ...     usable_cores()
    1
    """
    token = _limit.set(count)
    try:
        yield
    finally:
        _limit.reset(token)


def usable_cores() -> int:
    """The cores that this process may run on (sched_getaffinity(2)); all of the machine's where that cannot
    be asked.

    >>> usable_cores() >= 1
    True
    """
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    limit = _limit.get()
    return cores if limit is None else min(cores, limit)
