"""Finding and removing maps that were made before."""

from __future__ import annotations

import contextlib
import shutil
import time
from pathlib import Path

from wingspan._files import lock
from wingspan._words import counted, notice
from wingspan.errors import PoolError, PoolUnavailable, WingspanError
from wingspan.maps._done import is_read
from wingspan.maps._errors import MapError, MapRemoved, TagDamaged, TagExists, TagNotFound
from wingspan.maps._external import is_owned
from wingspan.maps._folder import (
    MapFolder,
    is_aftermath,
    maps_root,
    remove_map_folder,
    tags_root,
)
from wingspan.maps._map import Map, load_folder
from wingspan.maps._tags import find_tag, list_tags, read_tag, remove_tag, write_tag
from wingspan.pools.submissions import remove_jobs

__all__ = ["clean", "load", "load_folder", "load_maps", "remove", "tags"]

#: A folder that is being made for longer than this was left behind by a crash (s).
_STALE = 24 * 3600.0


def load(tag: str) -> Map:
    """The map with this tag, in whatever session it was made.

    Raises:
        TagNotFound: There is none.
        MapDamaged: A file is missing in its folder.
    """
    map_id = find_tag(tags_root(), tag)
    path = maps_root() / map_id
    if not path.is_dir():
        remove_tag(tags_root(), tag, map_id)
        raise TagNotFound(
            f"the map with the tag {tag!r} was removed", hint="wingspan maps lists those there are"
        )
    folder = MapFolder(path)
    if folder.info.also:  # another process retags it, or has died while it did
        with contextlib.suppress(OSError), lock(path / "lock") as alone:
            if alone:
                folder.settle_tags()
    return Map(folder)


def tags(pattern: str | None = None) -> tuple[str, ...]:
    """Tags of all maps, sorted; with a shell `pattern` (``*``, ``?``, ``[…]``) those that match."""
    return list_tags(tags_root(), pattern)


def load_maps(pattern: str | None = None) -> tuple[Map, ...]:
    """All maps whose tag matches, by tag. Damaged ones are left out, with a notice for each."""
    found = []
    for tag in tags(pattern):
        try:
            found.append(load(tag))
        except (TagNotFound, MapRemoved):
            continue  # another process removes it at this moment
        except MapError as error:
            notice(f"the map {tag!r} is left out: {error.message}")
    return tuple(found)


def remove(tag: str, *, missing_ok: bool = False, force: bool = False) -> None:
    """Remove a map: its jobs, its results and its tag. A damaged map can be removed too.

    Args:
        tag: Its tag.
        missing_ok: Do nothing if there is none.
        force: Remove the data even where the scheduler does not answer.

    Raises:
        TagNotFound: There is none, and `missing_ok` is false.
        PoolError: The scheduler does not answer; nothing is removed then.
        DiskError: The list of its jobs cannot be read; nothing is removed then.
    """
    try:
        found = load(tag)
    except TagNotFound:
        if not missing_ok:
            raise
        return
    except TagDamaged:
        (tags_root() / tag).unlink(missing_ok=True)
        return
    except MapError:
        _remove_damaged(tag, force)
        return
    found.remove(force=force)


def _remove_damaged(tag: str, force: bool) -> None:
    """Remove a map of which map.json or key cannot be read; its jobs are known from a file of their own."""
    map_id = find_tag(tags_root(), tag)
    path = maps_root() / map_id
    remove_jobs(path, "its map was removed", force=force)
    remove_map_folder(path, tag)


def _needed_by_chains() -> set[str]:
    """Ids of maps whose outputs later maps have still to take, and of those that something follows."""
    from wingspan._data_folder import folders
    from wingspan.pools.following import followed_by_others

    needed = {path.name for path in followed_by_others(folders())}
    for tag in tags():
        with contextlib.suppress(WingspanError):
            found = load(tag)
            chain = found._folder.info.chain
            if chain:
                found._keeper.refresh()
                if not found._keeper.finished:
                    needed.update(chain["maps"])
    return needed


def _is_at_rest(found: Map, consumed: bool) -> bool:
    """Nobody named it, or (`consumed`) somebody has read all its outputs; and no job works on it, and no
    executor.

    A map that has never had a job may be being made at this moment, or wait for external workers: it is not
    at rest.
    """
    if not found.is_transient and not (consumed and is_read(found._folder)):
        return False
    found._keeper.refresh()
    keeper = found._keeper
    if keeper.results.is_open or keeper.begins_later:
        return False
    if keeper.finished:
        return True
    begun = keeper.jobs.by_worker or time.time() - found.created.timestamp() > _STALE
    return bool(begun) and not (keeper.jobs.live() or keeper.external() or is_owned(found.path))


def clean(*, all: bool = False, consumed: bool = False) -> tuple[str, ...]:
    """Remove maps that nobody named and that have no jobs (with `all`: every map), and what crashes left
    behind.

    Maps that an executor has, and those whose outputs a chain has still to take, stay.

    Args:
        all: Remove every map.
        consumed: Remove also those complete ones with a name whose outputs were all read, by iterating over
            them, since they were computed last.

    Returns:
        The tags of the removed maps.

    Raises:
        PoolUnavailable: The scheduler of some maps does not answer. These stay; all others are removed.
    """
    removed: list[str] = []
    kept: dict[str, PoolError] = {}
    needed = set() if all else _needed_by_chains()
    for tag in tags():
        try:
            found = load(tag)
            doomed = all or (found.path.name not in needed and _is_at_rest(found, consumed))
        except TagNotFound:
            continue
        except WingspanError:
            doomed = all
        if doomed:
            try:
                remove(tag, missing_ok=True)
            except PoolError as error:
                kept[tag] = error
            else:
                removed.append(tag)
    root = maps_root()
    named = set()
    for tag in tags():
        with contextlib.suppress(FileNotFoundError):  # another process removes it
            named.add(read_tag(tags_root() / tag))
    for path in root.iterdir() if root.exists() else ():
        left_behind = path.name.startswith(".new-") or path.name not in named
        try:
            stale = left_behind and time.time() - path.stat().st_mtime > _STALE
        except FileNotFoundError:
            continue  # another process removes it
        is_new = path.name.startswith(".new-")  # as long as it is being made it may be empty
        gone = path.name.startswith(".removed-") or (left_behind and not is_new and is_aftermath(path))
        if gone or (stale and not _is_named_again(path)):
            shutil.rmtree(path, ignore_errors=True)
    if kept:
        first = next(iter(kept.values()))
        names = ", ".join(list(kept)[:5]) + (f" and {len(kept) - 5} more" if len(kept) > 5 else "")
        raise PoolUnavailable(
            f"{counted(len(removed), 'map')} removed, but not {names}: {first.message}",
            hint=f"{first.hint}; wingspan rm --force TAG removes a map without asking its scheduler",
        ) from first
    return tuple(removed)


def _is_named_again(path: Path) -> bool:
    """Give a map back a lost tag that a person had chosen, if it has results. True if that was done."""
    try:
        info = MapFolder(path).info
        if info.transient or not any(entry.stat().st_size for entry in (path / "results").iterdir()):
            return False
        try:
            write_tag(tags_root(), info.tag, path.name)
        except TagExists:
            write_tag(tags_root(), f"{info.tag[:100]}-{path.name}", path.name)
    except (MapError, OSError):
        return False
    return True
