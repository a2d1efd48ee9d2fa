"""What apt must not do for us, whatever a machine's own settings allow."""

from __future__ import annotations

__all__ = ["STRICT"]

#: No indexes and no packages that nobody has signed.
STRICT = {
    "APT::Get::AllowUnauthenticated": "false",
    "APT::Update::Error-Mode": "any",
    "Acquire::AllowInsecureRepositories": "false",
    "Acquire::AllowWeakRepositories": "false",
    "Acquire::AllowDowngradeToInsecureRepositories": "false",
}
