"""HTMap's interface, on Wingspan: HTMap programs run unchanged with ``import wingspan.htmap as htmap``.

Where a program says ``import htmap`` and is to stay as it is: ``python -m wingspan.htmap program.py``, or
`install` before it is imported. Maps are Wingspan's: both interfaces see all of them.

>>> import wingspan.htmap as htmap
>>> htmap.settings["WINGSPAN.POOL"] = "local"
>>> m = htmap.map(lambda x: 2 * x, range(3), tag="doubled-again")
>>> list(m), m.get(2), len(m)
([0, 2, 4], 4, 3)
>>> m.remove()
"""

from __future__ import annotations

import logging

from wingspan.htmap import exceptions as exceptions
from wingspan.htmap.checkpointing import checkpoint
from wingspan.htmap.delivery import (
    Transplant,
    register_delivery_method,
    transplant_info,
    transplants,
)
from wingspan.htmap.errors import ComponentError
from wingspan.htmap.holds import ComponentHold
from wingspan.htmap.installing import install
from wingspan.htmap.management import (
    clean,
    load,
    load_maps,
    remove,
    status,
    status_csv,
    status_json,
)
from wingspan.htmap.mapped import MappedFunction, mapped
from wingspan.htmap.mapping import MapBuilder, build_map, map, starmap
from wingspan.htmap.maps import Map
from wingspan.htmap.options import MapOptions
from wingspan.htmap.settings import BASE_SETTINGS, USER_SETTINGS, Settings, settings
from wingspan.htmap.state import ComponentStatus
from wingspan.htmap.streams import MapOutputFiles, MapStdErr, MapStdOut
from wingspan.htmap.tags import get_tags
from wingspan.htmap.transfer import TransferPath, transfer_output_files
from wingspan.htmap.version import __version__, version, version_info

__all__ = [
    "BASE_SETTINGS",
    "USER_SETTINGS",
    "ComponentError",
    "ComponentHold",
    "ComponentStatus",
    "Map",
    "MapBuilder",
    "MapOptions",
    "MapOutputFiles",
    "MapStdErr",
    "MapStdOut",
    "MappedFunction",
    "Settings",
    "TransferPath",
    "Transplant",
    "__version__",
    "build_map",
    "checkpoint",
    "clean",
    "exceptions",
    "get_tags",
    "install",
    "load",
    "load_maps",
    "map",
    "mapped",
    "register_delivery_method",
    "remove",
    "settings",
    "starmap",
    "status",
    "status_csv",
    "status_json",
    "transfer_output_files",
    "transplant_info",
    "transplants",
    "version",
    "version_info",
]

logging.getLogger("htmap").addHandler(logging.NullHandler())
