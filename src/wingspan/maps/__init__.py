"""Functions applied to many inputs. Names are imported when they are used: workers start meanwhile."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan._lazy import lazy_names

if TYPE_CHECKING:
    from wingspan.maps._again import Rerun
    from wingspan.maps._api import MapBuilder, build_map, map, reduce, starmap
    from wingspan.maps._code import FunctionVersion
    from wingspan.maps._components import ComponentProgress, Measures
    from wingspan.maps._errors import (
        ComponentCancelled,
        ComponentError,
        ComponentErrors,
        ComponentHeld,
        ComponentRemoved,
        ComponentTimeout,
        EmptyMap,
        InvalidInputs,
        InvalidTag,
        MapDamaged,
        MapError,
        MapRemoved,
        MapTimeout,
        NotPicklable,
        OutputNotReady,
        PythonsDiffer,
        RemoteTraceback,
        TagDamaged,
        TagError,
        TagExists,
        TagNotFound,
        WorkersCannotStart,
        WrongInterpreter,
    )
    from wingspan.maps._executor import Executor, ExecutorBroken
    from wingspan.maps._find import clean, load, load_maps, remove, tags
    from wingspan.maps._map import Map
    from wingspan.maps._mapped import Mapped, mapped, memo
    from wingspan.maps._options import Options
    from wingspan.maps._provenance import Provenance
    from wingspan.maps._reproduce import Reproduction
    from wingspan.maps._status import ComponentStatus, Hold, MapStatus

__all__ = [
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
    "FunctionVersion",
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
    "Provenance",
    "PythonsDiffer",
    "RemoteTraceback",
    "Reproduction",
    "Rerun",
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
]

_HOMES = {
    **dict.fromkeys(__all__, "._errors"),
    **dict.fromkeys(("MapBuilder", "build_map", "map", "reduce", "starmap"), "._api"),
    **dict.fromkeys(("clean", "load", "load_maps", "remove", "tags"), "._find"),
    **dict.fromkeys(("ComponentStatus", "Hold", "MapStatus"), "._status"),
    "Executor": "._executor",
    "ExecutorBroken": "._executor",
    "FunctionVersion": "._code",
    "Map": "._map",
    "Mapped": "._mapped",
    "mapped": "._mapped",
    **dict.fromkeys(("ComponentProgress", "Measures"), "._components"),
    "memo": "._mapped",
    "Options": "._options",
    "Provenance": "._provenance",
    "Reproduction": "._reproduce",
    "Rerun": "._again",
}

if not TYPE_CHECKING:  # a checker would take any name for one that is there
    __getattr__ = lazy_names(globals(), _HOMES)
