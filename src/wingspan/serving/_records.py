"""What has become of what was asked for, written down for an asker whose connection broke before the answer.

A record is under a lock while the request is carried out. So whoever asks for the outcome learns of it when
it is over, or writes down that the request is given up: then it is not carried out later either.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

from wingspan._files import lock
from wingspan.settings import load_settings, private_folder
from wingspan.worker import trust

__all__ = ["Record"]

#: Seconds for which the process is waited for that carries the request out: it may build an environment.
_PATIENCE = 3600.0
#: How long a record is kept if the laptop that asked does not come back (s).
_KEPT_SECONDS = 86400.0


@attrs.frozen
class Record:
    """The record of one request.

    Attributes:
        path: Its file.
    """

    path: Path

    @classmethod
    def named(cls, name: str) -> Record:
        """The record with this name; those that nobody has asked for in a day are removed.

        Raises:
            ValueError: It is no name of a file.
        """
        folder = private_folder(load_settings().data_dir, "arrived")
        _forget_old(folder)
        return cls(folder / f"{trust.check_name(name)}.json")

    def locked(self) -> contextlib.AbstractContextManager[bool]:
        """Within the block, no other process reads or writes it. Its value says whether that could be had."""
        return lock(self.path.with_suffix(".lock"), patience=_PATIENCE)

    def read(self) -> dict[str, Any]:
        """What is written there; nothing: {}."""
        try:
            told: dict[str, Any] = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return {}
        return told

    def write(self, told: Mapping[str, Any]) -> None:
        """Write it anew."""
        trust.write_whole(str(self.path), json.dumps(told).encode())

    def forget(self) -> None:
        """The asker knows: the record goes."""
        for path in (self.path, self.path.with_suffix(".lock")):
            path.unlink(missing_ok=True)


def _forget_old(folder: Path) -> None:
    for path in folder.iterdir():
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_mtime < time.time() - _KEPT_SECONDS:
                path.unlink()
