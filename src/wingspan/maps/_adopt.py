"""Find workers again whose submitter died after the scheduler had taken them, and before they were
written down.
"""

from __future__ import annotations

import contextlib
from typing import Any

import attrs

from wingspan.errors import PoolError
from wingspan.maps._folder import MapFolder
from wingspan.pools import get_pool
from wingspan.worker.parts import needs_of_worker

__all__ = ["NOTE", "adopt", "note_of"]

#: What the scheduler keeps with the workers' jobs, before the number of the first one and how many they are.
NOTE = "wingspan workers "


def note_of(first: int, count: int) -> str:
    """What is kept with these jobs."""
    return f"{NOTE}{first} {count}"


def adopt(folder: MapFolder, *, ask: bool) -> bool:
    """Write down workers of the map that nobody has written down. Returns whether there were any.

    A submitter reserves the numbers of workers before it submits them, and writes down to which pool. Numbers
    that are reserved, and that no submission has, are looked for there.

    Args:
        folder: The map's.
        ask: Ask the scheduler, too.
    """
    missing = folder.open_reservations()
    found = False
    for kind, place in sorted(set(missing.values()), key=str):
        with contextlib.suppress(PoolError):
            for submission, note in get_pool(kind, place).find(folder.path, ask=ask):
                words = note.removeprefix(NOTE).split(" ") if note.startswith(NOTE) else []
                if len(words) == 2 and all(map(str.isdigit, words)) and int(words[0]) in missing:
                    first, count = map(int, words)
                    known = _needs_of(folder, first)
                    taken = attrs.evolve(submission, count=count)
                    folder.submissions.add(taken, first=first, place=place, needs=known)
                    found = True
    return found


def _needs_of(folder: MapFolder, first: int) -> Any:
    """What these workers need beyond the map's options, as a line of ``submissions`` has it."""
    needs = needs_of_worker(folder.transport, folder.key, first)
    return "all" if needs is None else needs or None
