"""Maps and runs that are being sent here.

Their files are written to a folder that is put in place when all are there. A connection may break before the
other end has heard what became of that. Then it asks, through another connection, and sends all again if
nothing was begun. So that nothing is begun twice, the outcome is written down, and an attempt that was said
not to have been begun will not be begun later either: its process may still be there, and know nothing of
this.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from wingspan._files import lock
from wingspan.maps._received import received
from wingspan.pools import Pool
from wingspan.progress import Progress
from wingspan.runs._received import received_run
from wingspan.serving._errors import told as error_told
from wingspan.serving._files import folder_of
from wingspan.settings import load_settings, private_folder
from wingspan.worker import trust
from wingspan.worker.transports import write_all

__all__ = ["Arriving", "outcome"]


#: Seconds for which the process is waited for that begins the map or run: it may build an environment.
_BEGINS_SECONDS = 3600.0
#: So long it is kept what has become of something whose sender was not heard of again (s).
_KEPT_SECONDS = 86400.0


def _record(what: Mapping[str, Any]) -> Path:
    """Where it is written down what has become of a map or run that was sent."""
    place = folder_of(what)
    return private_folder(load_settings().data_dir, "arrived") / f"{place.parent.name}-{place.name}.json"


def _read(record: Path) -> dict[str, Any]:
    try:
        told: dict[str, Any] = json.loads(record.read_bytes())
    except FileNotFoundError:
        return {}
    return told


def outcome(what: Mapping[str, Any]) -> dict[str, Any]:
    """What has become of a map or run that was sent: whether it was begun, or the error that there was.

    If it was not begun, no attempt up to this one will be.

    Args:
        what: The request; ``attempt`` counts how often it was sent, from 0.
    """
    record, place = _record(what), folder_of(what)
    with lock(record.with_suffix(".lock"), patience=_BEGINS_SECONDS):
        told = _read(record)
        if "begun" not in told and "error" not in told:
            is_there = any((place / name).is_file() for name in ("map.json", "run.json"))
            told = {"begun": is_there, "ended": what["attempt"]}
            if not is_there:
                trust.write_whole(str(record), json.dumps({"ended": what["attempt"]}).encode())
        return told


class Arriving:
    """What one connection sends."""

    def __init__(self) -> None:
        self._new: Path | None = None
        #: What was told of this record has been heard when another message comes.
        self._told: Path | None = None

    def new(self, what: Mapping[str, Any]) -> None:
        """A map or run begins to arrive; one that was not begun is forgotten."""
        self.forget()
        _forget_old(_record(what).parent)
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
            with lock(record.with_suffix(".lock"), patience=_BEGINS_SECONDS) as held:
                if not held or _read(record).get("ended", -1) >= what["attempt"]:
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
                        trust.write_whole(str(record), json.dumps(told).encode())
        finally:
            self._told = record
            self.forget()

    def heard(self) -> None:
        """Another message has come: the other end knows what became of what it has sent."""
        if self._told is not None:
            for path in (self._told, self._told.with_suffix(".lock")):
                path.unlink(missing_ok=True)
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


def _forget_old(folder: Path) -> None:
    """Remove records that nobody has asked for."""
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _KEPT_SECONDS:
                path.unlink()


def _new_name(what: Mapping[str, Any]) -> str:
    """The folder for what arrives: each attempt has its own."""
    return f".new-{folder_of(what).name}+{int(what['attempt'])}"
