"""Wingspan: Python functions and commands on HTCondor pools, Slurm clusters and this machine, in the
environment you have.

>>> import wingspan
>>> m = wingspan.map(lambda x: 2 * x, range(10), pool="local")
>>> list(m)
[0, 2, 4, 6, 8, 10, 12, 14, 16, 18]
>>> m.remove()
"""

from __future__ import annotations

from wingspan._lazy import lazy_names
from wingspan._version import __version__ as __version__

# The same as `typing.TYPE_CHECKING`; importing `typing` would cost more than everything else here.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from wingspan import htmap as htmap
    from wingspan import pool as pool
    from wingspan.environments import Environment as Environment
    from wingspan.errors import EnvironmentWarning as EnvironmentWarning
    from wingspan.errors import OnAccessPoint as OnAccessPoint
    from wingspan.errors import PoolError as PoolError
    from wingspan.errors import PoolUnavailable as PoolUnavailable
    from wingspan.errors import SettingsError as SettingsError
    from wingspan.errors import SubmitError as SubmitError
    from wingspan.errors import UnknownOption as UnknownOption
    from wingspan.errors import WingspanError as WingspanError
    from wingspan.maps import ComponentCancelled as ComponentCancelled
    from wingspan.maps import ComponentError as ComponentError
    from wingspan.maps import ComponentErrors as ComponentErrors
    from wingspan.maps import ComponentHeld as ComponentHeld
    from wingspan.maps import ComponentProgress as ComponentProgress
    from wingspan.maps import ComponentRemoved as ComponentRemoved
    from wingspan.maps import ComponentStatus as ComponentStatus
    from wingspan.maps import ComponentTimeout as ComponentTimeout
    from wingspan.maps import EmptyMap as EmptyMap
    from wingspan.maps import Executor as Executor
    from wingspan.maps import ExecutorBroken as ExecutorBroken
    from wingspan.maps import Hold as Hold
    from wingspan.maps import InvalidInputs as InvalidInputs
    from wingspan.maps import InvalidTag as InvalidTag
    from wingspan.maps import Map as Map
    from wingspan.maps import MapBuilder as MapBuilder
    from wingspan.maps import MapDamaged as MapDamaged
    from wingspan.maps import MapError as MapError
    from wingspan.maps import Mapped as Mapped
    from wingspan.maps import MapRemoved as MapRemoved
    from wingspan.maps import MapStatus as MapStatus
    from wingspan.maps import MapTimeout as MapTimeout
    from wingspan.maps import Measures as Measures
    from wingspan.maps import NotPicklable as NotPicklable
    from wingspan.maps import Options as Options
    from wingspan.maps import OutputNotReady as OutputNotReady
    from wingspan.maps import PythonsDiffer as PythonsDiffer
    from wingspan.maps import RemoteTraceback as RemoteTraceback
    from wingspan.maps import TagDamaged as TagDamaged
    from wingspan.maps import TagError as TagError
    from wingspan.maps import TagExists as TagExists
    from wingspan.maps import TagNotFound as TagNotFound
    from wingspan.maps import WorkersCannotStart as WorkersCannotStart
    from wingspan.maps import WrongInterpreter as WrongInterpreter
    from wingspan.maps import build_map as build_map
    from wingspan.maps import clean as clean
    from wingspan.maps import load as load
    from wingspan.maps import load_maps as load_maps
    from wingspan.maps import map as map
    from wingspan.maps import mapped as mapped
    from wingspan.maps import memo as memo
    from wingspan.maps import reduce as reduce
    from wingspan.maps import remove as remove
    from wingspan.maps import starmap as starmap
    from wingspan.maps import tags as tags
    from wingspan.notebooks import dashboard as dashboard
    from wingspan.pools.rehearsal import Rehearsal as Rehearsal
    from wingspan.pools.rehearsal import RehearsalFailed as RehearsalFailed
    from wingspan.runs import Run as Run
    from wingspan.runs import load_run as load_run
    from wingspan.runs import run as run
    from wingspan.settings import configure as configure
    from wingspan.worker.inside import Component as Component
    from wingspan.worker.inside import component as component
    from wingspan.worker.loaded import once as once
    from wingspan.worker.transfer_path import TransferPath as TransferPath

_ERRORS = (
    "EnvironmentWarning",
    "OnAccessPoint",
    "PoolError",
    "PoolUnavailable",
    "SettingsError",
    "SubmitError",
    "UnknownOption",
    "WingspanError",
)
_MAPS = (
    "ComponentCancelled",
    "ComponentError",
    "ComponentErrors",
    "ComponentHeld",
    "ComponentProgress",
    "ComponentRemoved",
    "ComponentStatus",
    "ComponentTimeout",
    "EmptyMap",
    "Executor",
    "ExecutorBroken",
    "Hold",
    "InvalidInputs",
    "InvalidTag",
    "Map",
    "MapBuilder",
    "MapDamaged",
    "MapError",
    "MapRemoved",
    "MapStatus",
    "MapTimeout",
    "Mapped",
    "Measures",
    "NotPicklable",
    "Options",
    "OutputNotReady",
    "PythonsDiffer",
    "RemoteTraceback",
    "TagDamaged",
    "TagError",
    "TagExists",
    "TagNotFound",
    "WorkersCannotStart",
    "WrongInterpreter",
    "build_map",
    "clean",
    "load",
    "load_maps",
    "map",
    "mapped",
    "memo",
    "reduce",
    "remove",
    "starmap",
    "tags",
)
#: Public name -> module that has it. Imported when first used: ``import wingspan`` costs next to nothing.
_HOMES = {
    **dict.fromkeys(_ERRORS, "wingspan.errors"),
    **dict.fromkeys(_MAPS, "wingspan.maps"),
    **dict.fromkeys(("Run", "load_run", "run"), "wingspan.runs"),
    **dict.fromkeys(("Rehearsal", "RehearsalFailed"), "wingspan.pools.rehearsal"),
    "configure": "wingspan.settings",
    **dict.fromkeys(("Component", "component"), "wingspan.worker.inside"),
    "once": "wingspan.worker.loaded",
    "dashboard": "wingspan.notebooks",
    "Environment": "wingspan.environments",
    "TransferPath": "wingspan.worker.transfer_path",
    **dict.fromkeys(("htmap", "pool"), "wingspan"),  # modules of its own
}

__all__ = sorted([*_HOMES, "__version__"])  # noqa: PLE0605 - strings, all of them

if not TYPE_CHECKING:  # a checker would take any name for one that is there
    __getattr__ = lazy_names(globals(), _HOMES)


def load_ipython_extension(shell: object) -> None:
    """Offer the magics of ``%load_ext wingspan`` to a notebook; IPython calls it."""
    from wingspan.notebooks.magic import WingspanMagics

    shell.register_magics(WingspanMagics)  # type: ignore[attr-defined]


def __dir__() -> list[str]:
    return __all__
