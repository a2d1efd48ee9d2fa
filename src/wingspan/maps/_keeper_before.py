"""What the keeper of a chain's map knows of the maps before it."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Sequence
from pathlib import Path
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
        """If it has not begun, it will never begin."""
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
        damaged. Where several maps take inputs from the same one, they share its keeper."""
        chain = self.folder.info.chain or {"maps": ()}
        found = []
        for name in dict.fromkeys(chain["maps"]):
            if name not in self._shared:
                with contextlib.suppress(MapError):
                    keeper = self._shared[name] = type(self)(MapFolder(self.folder.path.parent / name))
                    keeper._shared = self._shared
            if name in self._shared:
                found.append(self._shared[name])
        return found

    @functools.cached_property
    def _shared(self) -> dict[str, Any]:
        """Keepers of all earlier maps of the chain, by the names of their folders."""
        return {}

    def stages(self, *, look: bool = True) -> dict[str, tuple[int, int, int]]:
        """How far the maps before this one are, the first of the chain first: by tag the numbers of their
        components, of those with an output, and of those that have failed.

        Args:
            look: Look at them; False: answer what is known since the last look.
        """
        found: dict[str, tuple[int, int, int]] = {}
        self._walk(found, set(), look=look)
        return found

    def _walk(self, found: dict[str, tuple[int, int, int]], seen: set[Path], *, look: bool) -> None:
        for one in self.before:
            if one.folder.path in seen:
                continue
            seen.add(one.folder.path)
            with contextlib.suppress(MapError):
                if look:
                    one.refresh()
                one._walk(found, seen, look=look)
                results = one.results
                failed = len(results.failed)
                completed = results.finished - failed - len(results.cancelled)
                found[one.folder.info.tag] = results.n, completed, failed

    def _jobs_before(self, kind: str) -> tuple[Submission, ...]:
        found: dict[str, Submission] = {}
        for one in self.before:
            with contextlib.suppress(MapError):
                one.refresh()
                live = {job.cluster for job in one.state.jobs.live() if job.pool == kind}
                found.update((entry.cluster, entry) for entry in one.state.entries if entry.cluster in live)
        return tuple(found.values())
