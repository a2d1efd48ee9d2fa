"""Pickles that may be large: the function's on its way to the map's folder, outputs and inputs on their way back."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Iterable
from typing import IO, Any

import attrs

from wingspan.maps._errors import MapError
from wingspan.settings import load_settings
from wingspan.worker.streams import Gathering, Stream

__all__ = ["Pickled", "PickledFunction"]

#: A function's pickle that is larger waits on the disk for its map.
_IN_MEMORY = 1 << 20


@attrs.frozen
class Pickled:
    """A pickle to be read.

    Attributes:
        holds_code: There is code in it: only the Python that wrote it may read it.
        pieces: Its bytes: a list of one, or an iterator that reads piece by piece.
    """

    holds_code: bool
    pieces: Iterable[bytes | memoryview]

    def load(self) -> Any:
        """The object."""
        if isinstance(self.pieces, list):
            return pickle.loads(self.pieces[0])  # noqa: S301 - of a signed record, or an input that its owner wrote
        return pickle.load(Stream(self.pieces))  # noqa: S301 - the same, each piece


class PickledFunction(Gathering):
    """What a function is pickled to. It is not known yet where its map will lie, nor whether there will be one."""

    def __init__(self) -> None:
        super().__init__(self._spool, _IN_MEMORY)
        self._file: IO[bytes] | None = None

    def _spool(self, data: memoryview) -> None:
        try:
            if self._file is None:
                import tempfile

                folder = load_settings().data_dir
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
                self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as this object
            self._file.write(data)
        except OSError as error:
            raise MapError(
                f"the function, of more than {self.length >> 20} MiB, cannot be written: {error}",
                hint="free some space, or set WINGSPAN_DATA_DIR to a folder with more of it; nothing was submitted",
            ) from error

    def write_to(self, file: IO[bytes]) -> None:
        """Write the whole pickle to an open file."""
        if self._file is None:
            file.write(self.kept())
            return
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, _IN_MEMORY)

    def content(self) -> bytes:
        """All of it."""
        if self._file is None:
            return self.kept()
        self._file.seek(0)
        return self._file.read()
