"""Maps and runs that are being sent here.

Their files are written to a folder that is put in place when all are there.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wingspan.maps._received import received
from wingspan.pools import Pool
from wingspan.progress import Progress
from wingspan.runs._received import received_run
from wingspan.serving._files import folder_of
from wingspan.settings import private_folder
from wingspan.worker import trust
from wingspan.worker.transports import write_all

__all__ = ["Arriving"]


class Arriving:
    """What one connection sends."""

    def __init__(self) -> None:
        self._new: Path | None = None

    def new(self, what: Mapping[str, Any]) -> None:
        """A map or run begins to arrive; one that was not begun is forgotten."""
        self.forget()
        place = folder_of(what)
        private_folder(place.parent.parent, place.parent.name)
        self._new = place.with_name(f".new-{place.name}")
        shutil.rmtree(self._new, ignore_errors=True)
        trust.make_folder(str(self._new))

    def put(self, what: Mapping[str, Any], data: bytes) -> None:
        """A piece of a file: of what arrives, or of a map that is here and gets another function."""
        place = folder_of(what)
        if self._new is not None and self._new.name == f".new-{place.name}":
            place = self._new
        elif not what["name"].startswith("functions/"):
            raise ValueError(f"{what['name']} is not a file that a map can be given later")
        path = place / trust.check_path(what["name"])
        for folder in [*path.relative_to(place).parents][-2::-1]:
            if not (place / folder).is_dir():
                trust.make_folder(str(place / folder))
        mode = trust.PROGRAM if what.get("program") else trust.FILE
        flags = os.O_WRONLY | os.O_CREAT | (0 if what["at"] else os.O_TRUNC)
        descriptor = trust.open_file(str(path), flags, mode)
        try:
            os.lseek(descriptor, int(what["at"]), os.SEEK_SET)
            write_all(descriptor, data)
            os.utime(descriptor, ns=(what["written"], what["written"]))
        finally:
            os.close(descriptor)

    def begin(self, what: Mapping[str, Any], pool: Pool, progress: Progress) -> None:
        """All is there: put it in place, and submit its jobs.

        Raises:
            WingspanError: It cannot be; nothing is left of it.
        """
        if self._new is None or self._new.name != f".new-{what['id']}":
            raise ValueError(f"nothing of {what['id']} has arrived")
        try:
            if what["kind"] == "runs":
                received_run(self._new, pool, progress)
                return
            for name in ("results", "workers", "rounds/0/claims", "rounds/0/takes"):
                trust.make_folder(str(self._new / name))
            received(self._new, pool, progress)
        finally:
            self.forget()

    def forget(self) -> None:
        """Remove what has arrived and was not begun."""
        if self._new is not None:
            shutil.rmtree(self._new, ignore_errors=True)
        self._new = None
