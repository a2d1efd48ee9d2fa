"""Site profiles: what a site wants in submit descriptions beyond HTCondor's own rules. Data in TOML, never
code.

The shipped profiles lie beside this file, each table with its source and date; sites hand out others at an
address; ``[profile.NAME]`` tables in the user's config.toml add to them or make new ones::

    from wingspan.pools.profiles import load_profile

    load_profile("chtc").apply(job, switches=["want_ospool"])
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan._lazy import lazy_names
from wingspan.pools.profiles._limits import (
    AccountingMissing,
    AccountingRules,
    QueueRules,
    Quota,
    QuotaExceeded,
    TooManyJobs,
)
from wingspan.pools.profiles._load import chosen_profile, find_profile, load_profile, profiles
from wingspan.pools.profiles._model import (
    DiskNotAllowed,
    FolderNotAllowed,
    JobRules,
    Profile,
    SlurmGpu,
    Switch,
    WalltimeClass,
    WalltimeClasses,
    WalltimeNotAllowed,
)
from wingspan.pools.profiles._queue import check_room, submittable
from wingspan.pools.profiles._sizes import LargeFile, large_file

if TYPE_CHECKING:
    from wingspan.pools.profiles._handed_out import needs_network, remove_profile
    from wingspan.pools.profiles._offered import Offer, fetch_profile
    from wingspan.pools.profiles._room import Room, check_disk, look_for_room, rooms
    from wingspan.pools.profiles._said import effects

#: What most maps and runs do not need.
_HOME = {
    "Offer": "._offered",
    "Room": "._room",
    "check_disk": "._room",
    "effects": "._said",
    "fetch_profile": "._offered",
    "look_for_room": "._room",
    "needs_network": "._handed_out",
    "remove_profile": "._handed_out",
    "rooms": "._room",
}

__all__ = [
    "AccountingMissing",
    "AccountingRules",
    "DiskNotAllowed",
    "FolderNotAllowed",
    "JobRules",
    "LargeFile",
    "Offer",
    "Profile",
    "QueueRules",
    "Quota",
    "QuotaExceeded",
    "Room",
    "SlurmGpu",
    "Switch",
    "TooManyJobs",
    "WalltimeClass",
    "WalltimeClasses",
    "WalltimeNotAllowed",
    "check_disk",
    "check_room",
    "chosen_profile",
    "effects",
    "fetch_profile",
    "find_profile",
    "large_file",
    "load_profile",
    "look_for_room",
    "needs_network",
    "profiles",
    "remove_profile",
    "rooms",
    "submittable",
]

if not TYPE_CHECKING:  # a checker would take any name for one that is there
    __getattr__ = lazy_names(globals(), _HOME)
