"""Functions applied to many inputs."""

from wingspan.maps import _errors
from wingspan.maps._api import MapBuilder, build_map, clean, load, load_maps, map, remove, starmap, tags
from wingspan.maps._errors import *  # noqa: F403 - the module lists what is public
from wingspan.maps._map import Map
from wingspan.maps._options import Options
from wingspan.maps._results import Measures
from wingspan.maps._status import ComponentStatus, Hold, MapStatus

__all__ = [
    "ComponentStatus",
    "Hold",
    "Map",
    "MapBuilder",
    "MapStatus",
    "Measures",
    "Options",
    "build_map",
    "clean",
    "load",
    "load_maps",
    "map",
    "remove",
    "starmap",
    "tags",
]
__all__ += _errors.__all__
