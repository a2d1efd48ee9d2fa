"""Pickles that may be large: that of the function, which is written, and those of inputs and outputs, which
are read."""

from __future__ import annotations

import pickle
import shutil
import sys
import weakref
from collections.abc import Iterable, Iterator
from typing import IO, TYPE_CHECKING, Any

import attrs

from wingspan.maps._carried import FileNotes
from wingspan.maps._errors import MapError, PythonsDiffer
from wingspan.settings import load_settings, private_folder
from wingspan.worker import rebuild
from wingspan.worker.pickling import PROTOCOL, Dumper
from wingspan.worker.streams import Gathering, Stream

if TYPE_CHECKING:
    from wingspan.maps._own import OwnCode
    from wingspan.maps._stored import StoredValues

_registered = sys.modules[rebuild.NAME]
if not _registered.on_worker[0]:
    # A session reads what lies in a store with the store's own library, and its credentials.

    def _fetch(*reference: Any) -> Any:
        from wingspan.maps._stored import fetch_value

        return fetch_value(*reference)

    _registered.stores[0] = _fetch

__all__ = ["Pickled", "PickledFunction", "check_pythons"]

#: A larger pickle of a function is kept on disk until the map's folder is there (bytes).
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

    @property
    def is_large(self) -> bool:
        """It is read piece by piece, as it takes memory."""
        return not isinstance(self.pieces, list)

    def load(self) -> Any:
        """The object."""
        if isinstance(self.pieces, list):
            return rebuild.loads(self.pieces[0])  # of a signed record, or an input that its owner wrote
        return rebuild.load(Stream(self.pieces))  # the same, each piece


class PickledFunction(Gathering):
    """The pickle of a function.

    It is made before it is known where the map will be, and whether there will be one.
    """

    def __init__(self, own: OwnCode) -> None:
        super().__init__(self._spool, _IN_MEMORY)
        #: What it needs of the user's own modules; inputs that `input_dumper` pickles add to it.
        self.own = own
        #: Files that travel with it, or with inputs that `input_dumper` pickles.
        self.files = FileNotes()
        self._file: IO[bytes] | None = None

    def _spool(self, data: memoryview) -> None:
        try:
            if self._file is None:
                import tempfile

                folder = load_settings().data_dir
                private_folder(folder)
                self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - as long as this object
                weakref.finalize(self, self._file.close)
            self._file.write(data)
        except OSError as error:
            raise MapError(
                f"the function, of more than {self.length >> 20} MiB, cannot be written: {error}",
                hint="free some space, or set WINGSPAN_DATA_DIR to a folder with more of it; nothing was submitted",
            ) from error

    def input_dumper(self) -> Dumper:
        """Pickles inputs of this function."""
        return Dumper(by_value=self.own.by_value, on_own=self.own.saw, on_file=self.files.reduced)

    def write_to(self, file: IO[bytes], values: StoredValues | None = None) -> None:
        """Write the own modules that are needed, and the whole pickle, to an open file.

        A large pickle goes to the store of `values`, and its reference is written.
        """
        file.write(self._before())
        if values is not None and self.length > values.above:
            spool = values.spool
            spool.begin()
            for piece in self._pieces():
                spool.write(piece)
            spool.holds_code = self.holds_code
            file.write(values.publish())
            return
        if self._file is None:
            file.write(self.kept())
            return
        self._file.seek(0)
        shutil.copyfileobj(self._file, file, _IN_MEMORY)

    def _pieces(self) -> Iterator[bytes]:
        if self._file is None:
            yield self.kept()
            return
        self._file.seek(0)
        while piece := self._file.read(_IN_MEMORY):
            yield piece

    def content(self) -> bytes:
        """All of it, as `write_to` writes it."""
        if self._file is None:
            return self._before() + self.kept()
        self._file.seek(0)
        return self._before() + self._file.read()

    def _before(self) -> bytes:
        from wingspan.worker import own

        return pickle.dumps(own.pack(self.own.pack()), PROTOCOL)


def check_pythons(name: str, python: str | None, holds_code: bool) -> None:
    """See that the environment `name`, which has `python`, can read what is pickled here, before anything is
    submitted.

    Raises:
        PythonsDiffer: The function, or an input, travels by value, and the environment has another Python.
    """
    here = f"{sys.version_info[0]}.{sys.version_info[1]}"
    if holds_code and python != here:
        raise PythonsDiffer(
            f"this is Python {here} and the environment {name!r} has Python {python}: "
            "the function travels as bytecode, which only its own version reads",
            hint=f"make the map from inside the environment (pixi run -e {name} python …), or use a function "
            "that a module of the environment has (from mypackage import f), which travels by name",
        )
