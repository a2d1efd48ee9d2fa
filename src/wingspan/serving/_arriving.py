"""Maps and runs that are being sent here.

Their files are written to a folder that is put in place when all are there. A connection may break before the
other end has heard what became of that. Then it asks, through another connection, and sends all again if
nothing was begun. So that nothing is begun twice, the outcome is written down, and an attempt that was said
not to have been begun will not be begun later either: its process may still be there, and know nothing of
this.
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
from wingspan.serving._errors import told as error_told
from wingspan.serving._files import folder_of
from wingspan.serving._records import Record
from wingspan.settings import private_folder
from wingspan.worker import trust
from wingspan.worker.transports import write_all

__all__ = ["Arriving", "outcome"]


def _record(what: Mapping[str, Any]) -> Record:
    place = folder_of(what)
    return Record.named(f"{place.parent.name}-{place.name}")


def outcome(what: Mapping[str, Any]) -> dict[str, Any]:
    """What has become of a map or run that was sent: whether it was begun, or the error that there was.

    If it was not begun, no attempt up to this one will be.

    Args:
        what: The request; ``attempt`` counts how often it was sent, from 0.
    """
    record, place = _record(what), folder_of(what)
    with record.locked():
        told = record.read()
        if "begun" not in told and "error" not in told:
            is_there = any((place / name).is_file() for name in ("map.json", "run.json"))
            told = {"begun": is_there, "ended": what["attempt"]}
            if not is_there:
                record.write({"ended": what["attempt"]})
        return told


class Arriving:
    """What one connection sends."""

    def __init__(self) -> None:
        self._new: Path | None = None
        #: What was told of this record has been heard when another message comes.
        self._told: Record | None = None

    def new(self, what: Mapping[str, Any]) -> None:
        """A map or run begins to arrive; one that was not begun is forgotten."""
        self.forget()
        place = folder_of(what)
        private_folder(place.parent.parent, place.parent.name)
        self._new = place.with_name(_new_name(what))
        shutil.rmtree(self._new, ignore_errors=True)
        trust.make_folder(str(self._new))

    def put(self, what: Mapping[str, Any], data: bytes) -> None:
        """A piece of a file: of what arrives, or of a map that is here and gets another function."""
        place = folder_of(what)
        if self._new is not None and self._new.name.partition("+")[0] == f".new-{place.name}":
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
        if self._new is None or self._new.name != _new_name(what):
            raise ValueError(f"nothing of {what['id']} has arrived")
        record = _record(what)
        try:
            with record.locked() as held:
                if not held or record.read().get("ended", -1) >= what["attempt"]:
                    raise ValueError("this attempt was given up")
                told: dict[str, Any] = {}
                try:
                    self._begin(what["kind"], pool, progress)
                    told = {"begun": True}
                except Exception as error:
                    told = {"error": error_told(error)}
                    raise
                finally:
                    if told:
                        record.write(told)
        finally:
            self._told = record
            self.forget()

    def heard(self) -> None:
        """Another message has come: the other end knows what became of what it has sent."""
        if self._told is not None:
            self._told.forget()
            self._told = None

    def _begin(self, kind: str, pool: Pool, progress: Progress) -> None:
        assert self._new is not None
        if kind == "runs":
            received_run(self._new, pool, progress)
            return
        for name in ("results", "workers", "rounds/0/claims", "rounds/0/takes"):
            trust.make_folder(str(self._new / name))
        received(self._new, pool, progress)

    def forget(self) -> None:
        """Remove what has arrived and was not begun."""
        if self._new is not None:
            shutil.rmtree(self._new, ignore_errors=True)
        self._new = None


def _new_name(what: Mapping[str, Any]) -> str:
    """The folder for what arrives: each attempt has its own."""
    return f".new-{folder_of(what).name}+{int(what['attempt'])}"
