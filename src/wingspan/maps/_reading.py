"""Reading the pickles of a map: with the session's own classes and modules, and with the map's where it has
none."""

from __future__ import annotations

import pickle
import sys
from typing import TYPE_CHECKING, Any

from wingspan.maps._errors import WrongInterpreter
from wingspan.worker import compatibility, own, rounds

if TYPE_CHECKING:
    from wingspan.maps._folder import MapFolder
    from wingspan.maps._pickled import Pickled

__all__ = ["read_value"]


def read_value(folder: MapFolder, pickled: Pickled, what: str) -> Any:
    """Unpickle a value that somebody has asked for.

    Args:
        folder: Its map; the value was signed with the map's key.
        pickled: The pickle.
        what: Its name in messages.

    Raises:
        WrongInterpreter: It holds code of another Python version.
        Exception: Whatever unpickling raises.
    """
    if pickled.holds_code:
        written = folder.info.interpreter
        incompatibility = compatibility.incompatibility(written, {**written, **compatibility.this_python()})
        if incompatibility:
            raise WrongInterpreter(
                f"{what} of map {folder.info.tag!r} holds code, and {incompatibility.replace('this worker', 'this session')}",
                hint=f"read it with Python {written['python']}, or return plain data",
            )
    try:
        return pickled.load()
    except ModuleNotFoundError as error:
        if not isinstance(pickled.pieces, list) or not _provide(folder, error.name):
            raise
        return pickled.load()


def _provide(folder: MapFolder, module: str | None) -> bool:
    """Make the own modules that travel with the map importable, after all others; False if `module` is none
    of them."""
    top = (module or "").partition(".")[0]
    if top not in folder.info.own_modules:
        return False
    with (folder.path / rounds.FUNCTION).open("rb") as file:
        file.readline()
        modules = pickle.load(file)  # noqa: S301 - plain bytes, of a file that only its owner writes
    if modules is None:
        return False
    unpacked = own.unpack(modules)
    if top not in unpacked["modules"] or any(
        isinstance(finder, own.Finder) and finder.key == str(folder.path) for finder in sys.meta_path
    ):
        return False
    sys.meta_path.append(own.Finder(unpacked, unpacked["roots"], key=str(folder.path)))
    return True
