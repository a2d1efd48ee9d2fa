"""Files of maps and runs, by the names that requests give them."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wingspan._data_folder import maps_root, runs_root
from wingspan.pools.ssh_frames import PIECE
from wingspan.worker import trust

__all__ = ["folder_of", "listed", "piece_of", "place_of"]


def folder_of(what: Mapping[str, Any]) -> Path:
    """The folder of the map or run that a request names.

    Raises:
        ValueError: It names none.
    """
    kind, name = what["kind"], what["id"]
    if kind not in ("maps", "runs") or "/" in trust.check_path(name) or name.startswith("."):
        raise ValueError(f"{kind}/{name} names no map and no run")
    return (maps_root() if kind == "maps" else runs_root()) / str(name)


def place_of(what: Mapping[str, Any]) -> Path:
    """The file or folder that a request names in its map or run."""
    return folder_of(what) / trust.check_path(what["name"])


def listed(what: Mapping[str, Any]) -> list[tuple[str, int, int, int]]:
    """Plain files at or below a place: name, bytes, when written (ns), mode.

    Raises:
        OSError: The map or run is not there, or a folder of it cannot be read. A list that lacks what is
            there would have the other side remove its copies.
    """
    folder, place = folder_of(what), place_of(what)
    (folder / ("map.json" if what["kind"] == "maps" else "run.json")).stat()
    found = []
    paths = (
        [place]
        if place.is_file()
        else [Path(a, n) for a, _, names in os.walk(place, onerror=_tell) for n in names]
    )
    for path in sorted(paths):
        status = path.lstat()
        if stat.S_ISREG(status.st_mode):
            name = path.relative_to(folder).as_posix()
            found.append((name, status.st_size, status.st_mtime_ns, stat.S_IMODE(status.st_mode)))
    return found


def _tell(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def piece_of(what: Mapping[str, Any]) -> bytes:
    """A piece of a file."""
    descriptor = trust.open_file(str(place_of(what)))
    try:
        return os.pread(descriptor, PIECE, int(what["at"]))
    finally:
        os.close(descriptor)
