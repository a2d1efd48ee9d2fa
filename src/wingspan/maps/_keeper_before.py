"""What the keeper of a chain's map knows of the maps before it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import Any

from wingspan.jobs import Submission
from wingspan.maps._errors import MapError
from wingspan.maps._folder import MapFolder
from wingspan.maps._keeper_growth import Grows

__all__ = ["Follows"]


class Follows(Grows):
    """The part of a `wingspan.maps._keeper.Keeper` that knows which maps its map takes its inputs from."""

    def __init__(self, folder: MapFolder) -> None:
        raise NotImplementedError

    def refresh(self) -> bool:
        """Take in new records and events; True if there were any."""
        raise NotImplementedError

    @functools.cached_property
    def before(self) -> Sequence[Any]:
        """Keepers of the maps that this one takes its inputs from, but for those that are gone, or
        damaged."""
        chain = self.folder.info.chain or {"maps": ()}
        found = []
        for name in dict.fromkeys(chain["maps"]):
            with contextlib.suppress(MapError):
                found.append(type(self)(MapFolder(self.folder.path.parent / name)))
        return found

    def _jobs_before(self, kind: str) -> tuple[Submission, ...]:
        found: dict[str, Submission] = {}
        for one in self.before:
            with contextlib.suppress(MapError):
                one.refresh()
                live = {job.cluster for job in one.state.jobs.live() if job.pool == kind}
                found.update((entry.cluster, entry) for entry in one.state.entries if entry.cluster in live)
        return tuple(found.values())
