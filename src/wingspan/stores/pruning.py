"""Removing from a store what nothing needs any more."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Callable, Collection, Iterable
from datetime import datetime, timedelta, timezone
from pathlib import Path

import attrs

from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import Settings
from wingspan.stores.base import Leftover, Store, StoredObject

__all__ = ["GRACE", "LEFTOVER_AGE", "PruneReport", "digests_in", "kept_digests", "mentioned_digests", "prune"]

#: What was published, or found again by a publication, more recently than this stays: its publisher
#: may be about to submit, on another machine too.
GRACE = timedelta(days=7)
#: An upload that has written nothing for so long is dead, also where nothing else tells.
LEFTOVER_AGE = timedelta(days=1)

#: Full digests, and content-hashed names (whose eight digits stand after a dash and before a dot).
_MENTION = re.compile(rb"(?<![0-9a-f])([0-9a-f]{64})(?![0-9a-f])|-([0-9a-f]{8})\.[A-Za-z]")
#: Descriptions are small; results and claims are not descriptions.
_LARGEST = 4 << 20
_SUFFIXES = frozenset({"", ".json", ".sub", ".sh", ".toml", ".log", ".ad"})


@attrs.frozen(kw_only=True)
class PruneReport:
    """What `prune` did, or would do.

    Attributes:
        removed: Objects removed.
        needed: Objects kept because a queued map or run needs them.
        recent: Objects kept because they were used lately.
        leftovers: What died uploads had left, removed.
        dry_run: Nothing was removed in truth.
    """

    removed: tuple[StoredObject, ...]
    needed: tuple[StoredObject, ...]
    recent: tuple[StoredObject, ...]
    leftovers: tuple[Leftover, ...]
    dry_run: bool

    @property
    def freed(self) -> int:
        """Bytes freed."""
        return sum(each.size for each in self.removed) + sum(each.size for each in self.leftovers)


def prune(
    store: Store,
    needed: Collection[str] | Callable[[], Collection[str]],
    *,
    older_than: timedelta = GRACE,
    dry_run: bool = False,
    now: datetime | None = None,
    progress: Progress = NO_PROGRESS,
) -> PruneReport:
    """Remove what is neither needed nor recent, and what died uploads left.

    Args:
        store: The store.
        needed: SHA-256 digests (all 64 digits, or the 8 of a name) of what queued maps and runs need, and ids
            of maps, whose values are kept. A function is asked after the listing, and again before each
            removal, so that a map that was submitted meanwhile counts.
        older_than: Keep what was used more recently.
        dry_run: Only tell.
        now: The time to count from; by default the clock's.
        progress: Told of each object.

    Raises:
        StoreReadOnly, StoreUnavailable: What their names say.
    """
    now = now or datetime.now(timezone.utc)

    def ask() -> Collection[str]:
        return needed() if callable(needed) else needed

    removed, kept, recent = [], [], []
    objects = store.objects()
    wanted = ask() if objects else ()
    task = progress.start("pruning", len(objects))
    for each in objects:
        if _is_needed(each, wanted):
            kept.append(each)
        elif _is_recent(each.last_used, now, older_than):
            recent.append(each)
        elif not dry_run and _is_needed(each, ask()):  # by what was submitted since
            kept.append(each)
        else:
            if not dry_run:
                store.remove(each.name)
            removed.append(each)
        progress.advance(task)
    progress.finish(task)
    leftovers = [
        each for each in store.backend.leftovers() if not _is_recent(each.modified, now, LEFTOVER_AGE)
    ]
    for leftover in () if dry_run else leftovers:
        store.backend.discard(leftover)
    return PruneReport(
        removed=tuple(removed),
        needed=tuple(kept),
        recent=tuple(recent),
        leftovers=tuple(leftovers),
        dry_run=dry_run,
    )


def _is_needed(each: StoredObject, wanted: Collection[str]) -> bool:
    short = each.name.short  # the first eight digits of a full digest are enough to keep something
    if each.name.kind == "value" and each.name.name.partition(".")[0] in wanted:  # of a map that is there
        return True
    return short in wanted or any(digest.startswith(short) for digest in wanted)


def _is_recent(when: datetime | None, now: datetime, age: timedelta) -> bool:
    return when is not None and now - when < age


def mentioned_digests(folders: Iterable[Path], *, skip: Collection[str] = ()) -> set[str]:
    """Digests, and 8-digit prefixes in content-hashed names, that the descriptions in `folders` speak of.

    The careful answer to "what may still be needed": whatever a kept map or run names anywhere in its own
    files. Files larger than 4 MiB, and folders whose names are in `skip`, hold data and are not read.
    """
    found: set[str] = set()
    for folder in folders:
        for parent, names, files in os.walk(folder):
            names[:] = [name for name in names if name not in skip]
            for file in files:
                path = Path(parent, file)
                try:
                    if path.suffix not in _SUFFIXES or path.stat().st_size > _LARGEST:
                        continue
                    content = path.read_bytes()
                except OSError:  # removed meanwhile, with the map
                    continue
                found |= digests_in(content)
    return found


def digests_in(content: bytes) -> set[str]:
    """Digests, and 8-digit prefixes in content-hashed names, in a text.

    >>> digests_in(b"osdf:///chtc/staging/b/bbadger/mnist-b8dd14a4.sif")
    {'b8dd14a4'}
    """
    return {(full or short).decode() for full, short in _MENTION.findall(content)}


def kept_digests(settings: Settings) -> set[str]:
    """What the maps and runs kept on this access point speak of: queued ones, and those that could be done
    again.

    Other access points' maps are not seen from here; for them there is `GRACE`.
    """
    # the rooms' folders as the design fixes them; their results, claims and inputs are data
    folders = [settings.data_dir / "maps", settings.data_dir / "runs"]
    found = mentioned_digests(folders, skip={"results", "claims", "blocks", "inputs", "outputs"})
    with contextlib.suppress(OSError):  # values of a map bear its name
        found |= set(os.listdir(folders[0]))
    return found
