"""Error records for components that are given up, as every worker that had them was lost."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence

from wingspan.maps._folder import MapFolder
from wingspan.worker import failure, formats

__all__ = ["write_losses"]


def write_losses(folder: MapFolder, number: int, components: Sequence[int], reason: str) -> None:
    """Write an error for each of `components`, in a results file of their own.

    Args:
        folder: The map's.
        number: The newest round.
        components: Their numbers.
        reason: What the error says.
    """
    name = f"c{os.getpid()}.{time.time_ns()}"
    payload = failure.dumps(failure.crash("lost", reason))
    now = time.time()
    headers = [
        formats.RECORD.pack(formats.ERROR, 0, 1, number, component, now, 0.0, 0.0, 0, len(payload))
        for component in components
    ]
    data = formats.frame(folder.key, name, 0, headers, [payload] * len(headers))
    folder.transport.write_whole("results/" + name, data)
