"""Tell those who wait for a map when it, or a map before it in a chain, cannot go on."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan.maps._errors import ComponentHeld, ComponentRemoved, MapDamaged, MapRemoved

if TYPE_CHECKING:
    from wingspan.maps._keeper import Keeper

__all__ = ["LOOK_BEFORE_SECONDS", "attend_earlier", "check_it_can_go_on"]

#: How often those who wait for a chain's map look after the maps before it (s).
LOOK_BEFORE_SECONDS = 2.0


def check_it_can_go_on(keeper: Keeper) -> None:
    """See that some job of a map may still do something.

    Raises:
        ComponentHeld: All that are left are held.
        ComponentRemoved: All were removed from the queue.
        MapRemoved: The map itself is being removed.
    """
    tag = keeper.folder.info.tag
    following = keeper._begins_later()
    if following is not None and following.refusal is not None:
        raise ComponentRemoved(
            f"the map {tag!r} has not begun: {following.refusal}",
            hint=f"once that is mended, m.rerun() or wingspan rerun {tag} begins it",
        )
    held, live = keeper.jobs.held, keeper.jobs.live()
    if held and not keeper.jobs.can_progress and len(live) == len(held):
        job = held[0]
        code = f" (code {job.code})" if job.code is not None else ""
        raise ComponentHeld(
            (
                f"the only worker of map {tag!r} that is left is held"
                if len(held) == 1
                else f"all {len(held):,} workers of map {tag!r} that are left are held"
            )
            + f": {job.reason}{code}",
            hint=f"m.release() or wingspan release {tag} lets them try again once the reason is gone",
        )
    removed = keeper.removed
    if removed and not keeper.finished:
        if keeper.is_going:
            raise MapRemoved(
                f"the map {tag!r} is being removed",
                hint=f"make it again; if its removal was interrupted, wingspan remove {tag} completes it",
            )
        reason = f": {removed[0].reason}" if removed[0].reason else ""
        raise ComponentRemoved(
            f"the workers of map {tag!r} were removed from the queue{reason}",
            hint=f"m.rerun() or wingspan rerun {tag} does what is missing; what is finished is kept",
        )


def attend_earlier(keeper: Keeper, holds_ok: bool, seen: set[Path] | None = None) -> None:
    """Look after the maps whose outputs a map waits for, as if somebody waited for them, too.

    Args:
        keeper: The map's.
        holds_ok: That all jobs of one of them are held is no error.
        seen: Folders of maps that were looked after already.

    Raises:
        ComponentHeld, ComponentRemoved, WorkersCannotStart: One of them does not go on, as things are.
    """
    seen = set() if seen is None else seen
    for one in keeper.before:
        if one.folder.path in seen:
            continue
        seen.add(one.folder.path)
        with contextlib.suppress(MapRemoved, MapDamaged):  # the workers make errors of their components of it
            one.refresh()
            if not one.finished:
                one.reconcile()
                if not holds_ok:
                    check_it_can_go_on(one)
                attend_earlier(one, holds_ok, seen)
