"""Where the machines of a site's pool get a bundle: by size, as the site asks for it."""

from __future__ import annotations

from pathlib import Path

from wingspan.pools.profiles import find_profile
from wingspan.progress import NO_PROGRESS, Progress
from wingspan.settings import load_settings
from wingspan.stores import Placement, Route, choose_route, configured_stores, open_store, place

__all__ = ["source_of_bundle"]


def source_of_bundle(
    path: Path, size: int, sha256: str | None = None, *, progress: Progress = NO_PROGRESS
) -> Placement:
    """How a bundle gets to the jobs: small ones with HTCondor's own transfer, larger ones from the store that is configured.

    The sizes are those of the site's profile (``transfer_limit``, ``url_limit``). Where no store is configured, or several are, the bundle
    goes through the access point, and `Placement.warning` says so.

    Args:
        path: The bundle on the access point; its name says its content.
        size: Bytes.
        sha256: Its digest, if known.
        progress: Hears of the upload.

    Raises:
        SettingsError: A profile or store of the configuration file cannot be read.
        StoreError: The store cannot be written.
    """
    settings = load_settings()
    limits = find_profile(settings).limits
    stores = configured_stores(settings)
    if choose_route(size, limits) is Route.TRANSFER or len(stores) != 1:
        return place(size, local=path, limits=limits)
    store = open_store(next(iter(stores)), settings)
    published = store.publish(path, digest=sha256, progress=progress)
    return place(size, local=path, store=store, published=published, limits=limits)
