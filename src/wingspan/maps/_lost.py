"""Which components are lost with the workers that had claimed them. No file is read here."""

from __future__ import annotations

from collections.abc import Iterator

from wingspan.maps._components import Components
from wingspan.maps._jobs import Jobs
from wingspan.maps._keeper_events import ClaimsRead
from wingspan.pools import JobState

__all__ = ["lost_components", "why_lost"]


def lost_components(known: Components, read: ClaimsRead) -> Iterator[int]:
    """Unfinished components that `read.owners` have claimed; where these are None, that anybody has.

    Only the newest round of a component counts: claims in older ones mean nothing any more.
    """
    if read.owners is None:
        # What nobody has claimed is still on offer where it stands.
        claimed = _claimed(known, read)
        return (component for component in known.unfinished() if component in claimed)
    return (
        component
        for number, plan in sorted(known.plans.items())
        for block, owner in read.claims.get(number, {}).items()
        if owner in read.owners
        for first, stop in plan.components(block)
        for component in range(first, stop)
        if not known.state[component] and not known.in_newer_round(component, number)
    )


def _claimed(known: Components, read: ClaimsRead) -> set[int]:
    """Components in claimed blocks of their newest round."""
    claimed: set[int] = set()
    for number, plan in sorted(known.plans.items()):
        for first, stop in plan.ranges:
            claimed.difference_update(range(first, stop))
        if number in read.folded:
            for first, stop in plan.ranges:
                claimed.update(range(first, stop))
        for block in read.claims.get(number, {}):
            for first, stop in plan.components(block):
                claimed.update(range(first, stop))
    return claimed


def why_lost(jobs: Jobs, times: int) -> str:
    """The text of the error of a component that has lost so many workers; schedulers may have said why."""
    told = [
        job.reason
        for job in jobs.by_worker.values()
        if job.state is JobState.COMPLETED and job.code is None and job.signal is None and job.reason
    ]
    why = f": {told[-1]}" if told else " without a word: killed, or its machine went down"
    return f"its worker was lost {times} times{why}"
