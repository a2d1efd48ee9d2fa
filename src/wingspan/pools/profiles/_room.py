"""How much room a person has left where files are kept, asked for in the way that a profile names."""

from __future__ import annotations

import getpass
import os
import re
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs

from wingspan._words import sized
from wingspan.pools.profiles._limits import Quota, QuotaExceeded
from wingspan.pools.profiles._load import chosen_profile
from wingspan.pools.profiles._model import Profile

__all__ = ["Room", "check_disk", "look_for_room", "room_of", "rooms"]

#: Seconds that a program may take to tell a quota, and for which its answer holds.
_PATIENCE, _FRESH = 10.0, 30.0
#: Programs are asked only where more than this is to be written (bytes): many maps are small, and each would
#: wait for them.
WORTH_ASKING = 64 << 20
_MANY = 1000


@attrs.frozen(kw_only=True)
class Room:
    """What is left in a folder.

    Attributes:
        name: Name of the quota, or of the folder.
        folder: Where.
        limit: Bytes that one may have there; None: nobody says.
        used: Bytes that one has; None: nobody says.
        items_limit, items_used: The same for files and folders.
        free: Bytes that can still be written: the least of what the quota and the file system say; None:
            nobody says.
        asked: Who told: ``get_quotas``, ``quota``, …; ``"the profile"`` where only it says a limit.
    """

    name: str
    folder: str
    limit: int | None = None
    used: int | None = None
    items_limit: int | None = None
    items_used: int | None = None
    free: int | None = None
    asked: str = "statvfs"

    def text(self) -> str:
        """For people.

        >>> Room(name="home", folder="/home/b", limit=40 << 30, used=30 << 30, free=10 << 30, asked="quota").text()
        '10.7 GB left of 42.9 GB (quota)'
        """  # noqa: W505
        if self.limit is None:
            return f"{sized(self.free)} left on the disk" if self.free is not None else "nobody tells"
        if self.used is None:
            disk = f"; {sized(self.free)} left on the disk" if self.free is not None else ""
            return f"{sized(self.limit)} by the site's rules, nobody tells how much is used{disk}"
        told = f"{sized(max(0, self.limit - self.used))} left of {sized(self.limit)}"
        if self.items_limit and self.items_used is not None:
            told += f", {max(0, self.items_limit - self.items_used):,} of {self.items_limit:,} items"
        return f"{told} ({self.asked})"


@attrs.frozen
class _Answer:
    """What a program says: bytes and items, used and allowed; 0 allowed: no limit."""

    used: int
    limit: int
    items_used: int = 0
    items_limit: int = 0


def rooms(site: Profile) -> Iterator[Room]:
    """What is left by each quota of the profile, for this person on this machine. Asks programs."""
    names = _names()
    for quota in site.quotas.values():
        folder = quota.place(names)
        if folder == names["home"] or os.path.isdir(folder):  # noqa: PTH112 - a text
            yield room_of(quota, folder)


def room_of(quota: Quota, folder: str) -> Room:
    """What is left by this quota in `folder`. Its program is not asked again within half a minute."""
    known = _known.get((quota.ask, folder))
    if known is None or time.monotonic() - known[0] > _FRESH:
        asks = _ASKS.get(quota.ask)
        known = time.monotonic(), asks(folder) if asks else None
        _known[quota.ask, folder] = known
    answer, disk = known[1], _disk_free(folder)
    if answer is None or not (answer.limit or answer.items_limit):
        return Room(
            name=quota.name,
            folder=folder,
            limit=quota.size,
            items_limit=quota.items,
            free=disk,
            asked="statvfs" if quota.size is None else "the profile",
        )
    left = [disk] if disk is not None else []
    if answer.limit:
        left.append(max(0, answer.limit - answer.used))
    return Room(
        name=quota.name,
        folder=folder,
        limit=answer.limit or None,
        used=answer.used,
        items_limit=answer.items_limit or None,
        items_used=answer.items_used,
        free=min(left, default=None),
        asked=quota.ask,
    )


def check_disk(site: Profile, folder: Path, size: int, what: str, *, items: int = 1) -> None:
    """See that there is room for what is about to be written.

    Args:
        site: Says which quotas there are.
        folder: Where it would be written.
        size: Bytes.
        what: What it is, for the message: ``"the inputs of the map"``.
        items: Files and folders.

    Raises:
        QuotaExceeded: There is not; the message says by how much.
    """
    free = _disk_free(str(folder))
    if free is not None and size > free:
        raise QuotaExceeded(
            f"{what} would take {sized(size)}, and the disk of {folder} has {sized(free)} left: "
            f"{sized(size - free)} too little",
            hint=_HINT,
        )
    if size < WORTH_ASKING and items <= _MANY:
        return
    names, here = _names(), os.path.realpath(folder)
    for quota in site.quotas.values():
        place = quota.place(names)
        if quota.ask == "statvfs" or not Path(here).is_relative_to(os.path.realpath(place)):
            continue
        room = room_of(quota, place)
        page = f"; {site.page}" if site.page else ""
        if room.limit is not None and size > room.limit - (room.used or 0):
            raise QuotaExceeded(
                f"{what} would take {sized(size)}, and the quota of {place} is {sized(room.limit)}"
                + (f", of which {sized(room.used)} are used" if room.used else "")
                + f": {sized(size - room.limit + (room.used or 0))} too little",
                hint=_HINT + page,
            )
        if room.items_limit and room.items_used is not None and room.items_used + items > room.items_limit:
            raise QuotaExceeded(
                f"{what} would be {items:,} more in {place}, where {room.items_used:,} of {room.items_limit:,} items are "
                f"there: {room.items_used + items - room.items_limit:,} too many",
                hint=_HINT + page,
            )


def look_for_room(folder: Path, profile: str | None, what: str) -> Callable[[int, int], None]:
    """A function that takes bytes and a number of files, and sees that `folder` has room for them; see
    `check_disk`.

    Args:
        folder: Where they would be written.
        profile: Name of the site's profile; None: that of this machine.
        what: What they are, for the message.
    """

    def look(size: int, items: int) -> None:
        # A few small files: not worth reading profiles.
        if size >= WORTH_ASKING or items > _MANY:
            check_disk(chosen_profile(profile), folder, size, what, items=items)

    return look


_HINT = "make room (wingspan clean, wingspan rm), or keep maps and bundles elsewhere: WINGSPAN_DATA_DIR, WINGSPAN_CACHE_DIR"
_known: dict[tuple[str, str], tuple[float, _Answer | None]] = {}


def _names() -> dict[str, str]:
    user = getpass.getuser()
    host = socket.gethostname().split(".")[0]
    return {"home": os.path.expanduser("~"), "user": user, "letter": user[:1], "host": host}  # noqa: PTH111


def _disk_free(folder: str) -> int | None:
    """Bytes that this user may still write to the file system of the folder, or of the next one above that is
    there.
    """
    path = Path(folder)
    for place in (path, *path.parents):
        try:
            found = os.statvfs(place)
        except FileNotFoundError:
            continue
        except OSError:
            return None
        return found.f_bavail * found.f_frsize
    return None


def _lines(*command: str) -> list[list[str]]:
    """The words of each line that a program prints; none where it is not there, or says nothing."""
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    # quota(1) ends with 1 when a quota is exceeded, and tells it all the same.
    return [line.split() for line in done.stdout.decode("utf-8", "replace").splitlines()]


def _number(text: str) -> int | None:
    """A count of KiB or files, as quota(1) and lfs write it: with a star when it is too much, in brackets
    when it is only known in part.

    >>> _number("123*"), _number("[7]"), _number("-"), _number("none")
    (123, 7, None, None)
    """
    found = re.fullmatch(r"\[?(\d+)\]?\*?", text)
    return int(found[1]) if found else None


def _of_numbers(words: list[str]) -> _Answer | None:
    """Used KiB, soft and hard limit, grace, and the same for files; the hard limit counts where there is
    one.
    """
    values = [_number(word) for word in words]
    if len(values) < 8 or values[0] is None:
        return None
    used, soft, hard, _, files, soft_files, hard_files = (value or 0 for value in values[:7])
    return _Answer(used << 10, (hard or soft) << 10, files, hard_files or soft_files)


def _quota(folder: str) -> _Answer | None:
    """quota(1): the file system that is mounted nearest above the folder."""
    real, nearest, answer = os.path.realpath(folder), "", None
    for words in _lines("quota", "--no-wrap", "--raw-grace", "--show-mntpoint", "--hide-device"):
        if not words or not words[0].startswith("/") or len(words) < 9:
            continue
        place = words[0].rstrip("/")
        if (real == place or real.startswith(f"{place}/")) and len(place) >= len(nearest):
            nearest, answer = place, _of_numbers(words[1:])
    return answer


def _lfs(folder: str) -> _Answer | None:
    """Lustre: one file system, whose name may stand in a line of its own."""
    words = [word for line in _lines("lfs", "quota", "-q", "-u", getpass.getuser(), folder) for word in line]
    return _of_numbers(words[1:])


def _get_quotas(folder: str) -> _Answer | None:
    """CHTC's program: GiB with digits behind the point, and N/A for no limit."""
    for words in _lines("get_quotas"):
        if len(words) != 5 or words[0].rstrip("/") != folder.rstrip("/"):
            continue
        try:
            used, limit, files, most = (0.0 if word == "N/A" else float(word) for word in words[1:])
            return _Answer(int(used * (1 << 30)), int(limit * (1 << 30)), int(files), int(most))
        except (ValueError, OverflowError):  # no numbers, or none that a program can mean
            continue
    return None


def _fs(folder: str) -> _Answer | None:
    """AFS: volume, quota and use in KiB."""
    for words in _lines("fs", "listquota", "-path", folder):
        numbers = [_number(word) for word in words[1:3]]
        if len(numbers) == 2 and numbers[1] is not None:
            return _Answer(numbers[1] << 10, (numbers[0] or 0) << 10)
    return None


_ASKS: dict[str, Callable[[str], _Answer | None]] = {
    "quota": _quota,
    "lfs": _lfs,
    "get_quotas": _get_quotas,
    "fs": _fs,
}
