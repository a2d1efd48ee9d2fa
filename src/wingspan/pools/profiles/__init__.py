"""Site profiles: what a site wants in submit descriptions beyond HTCondor's own rules. Data in TOML, never
code.

The shipped profiles lie beside this file, each table with its source and date; sites hand out others at an
address; ``[profile.NAME]`` tables in the user's config.toml add to them or make new ones::

    from wingspan.pools.profiles import load_profile

    load_profile("chtc").apply(job, switches=["want_ospool"])
"""

from __future__ import annotations

from wingspan.pools.profiles._handed_out import remove_profile
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
from wingspan.pools.profiles._offered import Offer, fetch_profile
from wingspan.pools.profiles._queue import check_room, submittable
from wingspan.pools.profiles._room import Room, check_disk, look_for_room, rooms
from wingspan.pools.profiles._said import effects
from wingspan.pools.profiles._sizes import LargeFile, large_file

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
    "profiles",
    "remove_profile",
    "rooms",
    "submittable",
]
