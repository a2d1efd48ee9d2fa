"""What was done to a map's jobs on purpose.

A process that sees a stopped job looks here before it takes the job for lost.

The file ``actions`` in the map's folder has a line for each action: what was done, and to which clusters. The
line is written before it is done.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterable, Mapping, Set
from pathlib import Path
from typing import Any

from wingspan._files import JsonLog

__all__ = ["COMPLETE", "REMOVAL", "ActionLog"]

#: The action that takes jobs of a complete map out of the queue: nobody wanted the map to stop.
COMPLETE = "complete"
#: The action that takes jobs out of the queue because the map itself is removed.
REMOVAL = "removal"


class ActionLog:
    """The file ``actions`` of one map."""

    def __init__(self, folder: Path) -> None:
        self._log = JsonLog(folder / "actions")
        self._read: list[dict[str, Any]] | None = None
        self._clusters: dict[str, set[str]] = {}
        self._last: dict[str, set[str]] = {}

    def note(self, action: str, clusters: Iterable[str]) -> None:
        """Write down what is about to be done. Where that is not possible it is done all the same."""
        entry = {"action": action, "clusters": sorted(clusters), "time": time.time()}
        with contextlib.suppress(OSError):
            self._log.append(entry)

    def read(self) -> tuple[Mapping[str, Set[str]], Mapping[str, Set[str]]]:
        """Clusters by action: of all times, and of the last time.

        What could not be noted is missing.
        """
        entries = self._log.entries()
        if entries is not self._read:
            self._read = entries
            self._clusters, self._last = {}, {}
            for entry in entries:
                with contextlib.suppress(ValueError, KeyError, TypeError):
                    self._last[entry["action"]] = set(entry["clusters"])
                    self._clusters.setdefault(entry["action"], set()).update(entry["clusters"])
        return self._clusters, self._last
