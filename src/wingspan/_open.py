"""How many files this process keeps open is decided for all its maps and runs together: a session may
have thousands of them.
"""

from __future__ import annotations

import resource
import threading
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

__all__ = ["OpenFiles"]


class OpenFiles:
    """What is open, the one that was used longest ago first.

    Opening one more than there may be closes the first of them.

    Args:
        most: So many may be open, but no more than an eighth of what the process may have open
            (``ulimit -n``).
        close: ``close(owner, name)`` closes one, and answers false if it is in use this moment.
    """

    def __init__(self, most: int, close: Callable[[Any, int], bool]) -> None:
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        self._most = most if limit == resource.RLIM_INFINITY else max(8, min(most, limit // 8))
        self._close = close
        self._open: OrderedDict[tuple[int, int], weakref.ref[Any]] = OrderedDict()
        self._lock = threading.Lock()

    def use(self, owner: Any, name: int = 0) -> None:
        """`owner` is about to open, or uses, a file that it calls `name`."""
        doomed = []
        with self._lock:
            key = (id(owner), name)
            self._open.pop(key, None)
            self._open[key] = weakref.ref(owner)
            for other in list(self._open)[: max(0, len(self._open) - self._most)]:
                doomed.append((other, self._open.pop(other)))
        for (number, other_name), reference in doomed:
            found = reference()
            if found is not None and not self._close(found, other_name):
                with self._lock:  # it is in use: it is looked at again when the next file is opened
                    self._open.setdefault((number, other_name), reference)

    def forget(self, owner: Any, name: int = 0) -> None:
        """It is closed."""
        with self._lock:
            self._open.pop((id(owner), name), None)
