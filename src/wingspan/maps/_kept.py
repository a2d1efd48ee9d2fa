"""Checkpoints that components go on from (`wingspan.component().checkpoint`), on the access point."""

from __future__ import annotations

import contextlib
import shutil

from wingspan.maps._components import OUTPUT, Components
from wingspan.maps._folder import MapFolder
from wingspan.worker import checkpoints

__all__ = ["forget_checkpoints"]


def forget_checkpoints(folder: MapFolder, components: Components) -> None:
    """Remove the checkpoints of components that have an output: their worker may have died before it did.

    A component that is done again begins afresh then.
    """
    for name in folder.transport.names(checkpoints.FOLDER):
        if name.isdigit() and int(name) < components.n and components.state[int(name)] == OUTPUT:
            shutil.rmtree(folder.path / checkpoints.FOLDER / name, ignore_errors=True)
    with contextlib.suppress(OSError):
        (folder.path / checkpoints.FOLDER).rmdir()  # if it is empty
