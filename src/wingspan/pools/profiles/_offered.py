"""A profile that a site offers: looked at before it is taken."""

from __future__ import annotations

import hashlib

import attrs

from wingspan.pools.profiles._handed_out import fetch_offer, keep_offer
from wingspan.pools.profiles._load import profile_on_top
from wingspan.pools.profiles._model import Profile
from wingspan.settings import Settings

__all__ = ["Offer", "fetch_profile"]


@attrs.frozen(kw_only=True)
class Offer:
    """A profile that was fetched, and is not kept yet.

    Attributes:
        profile: What it says.
        url: Where it is from.
        data: The file.
    """

    profile: Profile
    url: str
    data: bytes
    _settings: Settings

    @property
    def sha256(self) -> str:
        """Of the file, hexadecimal."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def address(self) -> str:
        """What names this very profile for one map or run."""
        return f"{self.url}#sha256={self.sha256}"

    def keep(self) -> None:
        """Have it among the profiles from now on, without any network.

        Raises:
            SettingsError: The data folder cannot be written.
        """
        keep_offer(self.profile.name, self.url, self.data, self._settings)


def fetch_profile(url: str, settings: Settings, *, digest: str | None = None) -> Offer:
    """The profile that a site hands out at an address.

    Args:
        url: ``https://…``, with or without ``#sha256=…``.
        settings: Hold the profiles that it may extend, and say where it would be kept.
        digest: What its SHA-256 has to be; None: whatever is there is taken.

    Raises:
        SettingsError: It cannot be fetched or read, or is another one.
    """
    name, table, data = fetch_offer(url, digest)
    address = url.partition("#")[0]
    found = profile_on_top(name, table, address, settings)
    return Offer(profile=found, url=address, data=data, settings=settings)
