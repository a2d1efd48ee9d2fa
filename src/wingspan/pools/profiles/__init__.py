"""Site profiles: what a site wants in submit descriptions beyond HTCondor's own rules. Data in TOML, never
code.

The shipped profiles lie beside this file, each line with its source; ``[profile.NAME]`` tables in the user's
config.toml add to them or make new ones::

    from wingspan.pools.profiles import load_profile

    load_profile("chtc").apply(job, switches=["want_ospool"])
"""

from __future__ import annotations

from wingspan.pools.profiles._load import find_profile, load_profile, profiles
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
from wingspan.pools.profiles._sizes import LargeFile, large_file

__all__ = [
    "DiskNotAllowed",
    "FolderNotAllowed",
    "JobRules",
    "LargeFile",
    "Profile",
    "SlurmGpu",
    "Switch",
    "WalltimeClass",
    "WalltimeClasses",
    "WalltimeNotAllowed",
    "find_profile",
    "large_file",
    "load_profile",
    "profiles",
]
