"""What apt must not do for us, whatever a machine's own settings allow, and what its two drivers tell it."""

from __future__ import annotations

import os

__all__ = ["STRICT", "private_settings"]

#: No indexes and no packages that nobody has signed.
STRICT = {
    "APT::Get::AllowUnauthenticated": "false",
    "APT::Update::Error-Mode": "any",
    "Acquire::AllowInsecureRepositories": "false",
    "Acquire::AllowWeakRepositories": "false",
    "Acquire::AllowDowngradeToInsecureRepositories": "false",
}


def private_settings() -> dict[str, str]:
    """Settings for an apt whose state lies in a folder of this user's own."""
    settings = {
        **STRICT,
        "Acquire::Languages": "none",
        # Containers' settings turn this off, and each command would read the whole index again.
        "Dir::Cache::pkgcache": "pkgcache.bin",
    }
    if os.geteuid() == 0:  # apt's own user cannot enter the folder
        settings["APT::Sandbox::User"] = "root"
    return settings
