"""What the keeper of a chain's map knows of the maps before it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from wingspan.jobs import Submission
from wingspan.maps._errors import MapError
from wingspan.maps._folder import MapFolder
from wingspan.maps._keeper_growth import Grows

if TYPE_CHECKING:
    from wingspan.pools.following import Following

__all__ = ["Follows"]


class Follows(Grows):
    """The part of a `wingspan.maps._keeper.Keeper` that knows which maps its map takes its inputs from."""

    def __init__(self, folder: MapFolder) -> None:
        raise NotImplementedError

    def refresh(self) -> bool:
        """Take in new records and events; True if there were any."""
        raise NotImplementedError

    def _begins_later(self) -> Following | None:
        """What the map follows, if its workers were not submitted yet."""
        following = self._following
        return None if following is None or self.state.entries else following

    @property
    def begins_later(self) -> bool:
        """It follows others, which are not done yet."""
        following = self._begins_later()
        return following is not None and following.is_waiting

    def stop_following(self, reason: str) -> None:
        """It begins no more, if it has not begun."""
        following = self._begins_later()
        if following is not None:
            following.stop(reason)

    @functools.cached_property
    def _following(self) -> Following | None:
        if not (self.folder.path / "follow").is_dir():
            return None  # the usual case needs no further modules
        from wingspan.pools.following import Following

        return Following.of(self.folder.path)

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

    def stages(self) -> dict[str, tuple[int, int, int]]:
        """How far the maps before this one are, the first of the chain first: by tag the numbers of their
        components, of those with an output, and of those that have failed.
        """
        found: dict[str, tuple[int, int, int]] = {}
        for one in self.before:
            with contextlib.suppress(MapError):
                one.refresh()
                found.update(one.stages())
                results = one.results
                failed = len(results.failed)
                completed = results.finished - failed - len(results.cancelled)
                found[one.folder.info.tag] = results.n, completed, failed
        return found

    def _jobs_before(self, kind: str) -> tuple[Submission, ...]:
        found: dict[str, Submission] = {}
        for one in self.before:
            with contextlib.suppress(MapError):
                one.refresh()
                live = {job.cluster for job in one.state.jobs.live() if job.pool == kind}
                found.update((entry.cluster, entry) for entry in one.state.entries if entry.cluster in live)
        return tuple(found.values())
