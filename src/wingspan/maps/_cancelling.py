"""Cancelling single components of a map.

A round of the kind `rounds.CANCEL` names them. Nobody does such a round: workers that see it leave its
components out and end those that they are at, and readers of the map count them as cancelled. The round
is all that is written, whole and by one rename. So there is nothing that a process could leave half done, and
all agree, however late they read it. What was finished before a worker saw the round counts.
"""

from __future__ import annotations

from collections.abc import Sequence

from wingspan._words import notice
from wingspan.maps._components import CANCELLED, OUTPUT
from wingspan.maps._errors import MapError
from wingspan.maps._folder import MapFolder
from wingspan.maps._keeper import Keeper
from wingspan.worker import rounds

__all__ = ["cancel_components"]

_DEAF = (
    "workers that have begun cannot be told (chirp is switched off): they do these components all the same, and what "
    "they finish counts"
)


def cancel_components(folder: MapFolder, keeper: Keeper, components: Sequence[int]) -> tuple[int, ...]:
    """Cancel those of `components` that are not finished. Returns their numbers.

    Raises:
        MapError: The map's workers are too old: they would execute the components of such a round.
    """
    if not folder.info.cancels:
        raise MapError(
            f"the map {folder.info.tag!r} was made by an older Wingspan, whose workers cannot cancel single components",
            hint="m.cancel() ends all its workers; m.rerun([…]) does what is wanted",
        )
    while True:
        keeper.refresh()
        results = keeper.results
        chosen = [
            component
            for component in components
            if results.state[component] not in (OUTPUT, CANCELLED) and not keeper.final_error(component)
        ]
        # Another process may publish a round at the same moment: then the next number is tried.
        if not chosen or keeper.publish(rounds.CANCEL, chosen):
            if chosen and keeper.state.has_deaf_workers:
                notice(_DEAF)
            return tuple(component for component in components if results.state[component] == CANCELLED)
