"""From what happened to a job to the times that it ran."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

__all__ = ["Ran", "times_it_ran"]


@attrs.frozen
class Ran:
    """One time that a job ran, or waits to run.

    Attributes:
        submitted: Since when it waited, Unix time.
        started: Unix time, or None: it has not run yet.
        ended: Unix time, or None: it has not ended.
        host: Where, as far as its pool said.
        state: What it is, or was at the end of that time.
    """

    submitted: float
    started: float | None = None
    ended: float | None = None
    host: str | None = None
    state: str = "idle"


def times_it_ran(submitted: float, events: Iterable[tuple[float, str, str | None]]) -> list[Ran]:
    """The times that a job ran: one for each time that it was begun; the last one may have no end.

    Args:
        submitted: Unix time.
        events: ``(Unix time, state, host)``, in any order.

    >>> times_it_ran(0, [(1, "running", "a"), (3, "idle", None), (5, "running", "b"), (6, "completed", None)])
    [Ran(submitted=0, started=1, ended=3, host='a', state='idle'), Ran(submitted=3, started=5, ended=6, host='b', state='completed')]
    >>> times_it_ran(0, [])
    [Ran(submitted=0, started=None, ended=None, host=None, state='idle')]
    """  # noqa: W505
    times: list[Ran] = []
    waiting, state = submitted, "idle"
    for time, state, host in sorted(events, key=lambda event: event[0]):
        is_open = bool(times) and times[-1].ended is None
        if state == "running":
            if not is_open:
                times.append(Ran(waiting, time, None, host, state))
        elif is_open and state != "suspended":
            times[-1] = attrs.evolve(times[-1], ended=time, state=state)
        if state == "idle":
            waiting = time
    return times or [Ran(submitted, state=state)]
