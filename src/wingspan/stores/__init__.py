"""Where bundles are published, under names that say their content.

A store is a folder, a site's ``/staging``, an S3 bucket, a WebDAV server, or (to read from) a Pelican
federation::

    from wingspan.stores import open_store

    published = open_store("/staging/b/bbadger/envs").publish(Path("mnist.sif"))
    published.job_url       # osdf:///chtc/staging/b/bbadger/envs/mnist-b8dd14a4.sif

Names are imported when they are used: most maps and runs publish nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan._lazy import lazy_names

if TYPE_CHECKING:
    from wingspan.stores.base import Store, StoredObject
    from wingspan.stores.errors import (
        InvalidContentName,
        ObjectExists,
        ObjectNotFound,
        SourceChanged,
        SourceDamaged,
        StoreDamaged,
        StoreError,
        StoreFull,
        StoreReadOnly,
        StoreUnavailable,
    )
    from wingspan.stores.limits import SizeLimits
    from wingspan.stores.locations import (
        StoreSettings,
        configured_stores,
        mount_requirement,
        open_store,
        staging_folder,
    )
    from wingspan.stores.names import ContentName, content_name, file_digest
    from wingspan.stores.placement import Placement, Route, choose_route, place
    from wingspan.stores.pruning import PruneReport, kept_digests, mentioned_digests, prune

_HOME = {
    "ContentName": ".names",
    "InvalidContentName": ".errors",
    "ObjectExists": ".errors",
    "ObjectNotFound": ".errors",
    "Placement": ".placement",
    "PruneReport": ".pruning",
    "Route": ".placement",
    "SizeLimits": ".limits",
    "SourceChanged": ".errors",
    "SourceDamaged": ".errors",
    "Store": ".base",
    "StoreDamaged": ".errors",
    "StoreError": ".errors",
    "StoreFull": ".errors",
    "StoreReadOnly": ".errors",
    "StoreSettings": ".locations",
    "StoreUnavailable": ".errors",
    "StoredObject": ".base",
    "choose_route": ".placement",
    "configured_stores": ".locations",
    "content_name": ".names",
    "file_digest": ".names",
    "kept_digests": ".pruning",
    "mentioned_digests": ".pruning",
    "mount_requirement": ".locations",
    "open_store": ".locations",
    "place": ".placement",
    "prune": ".pruning",
    "staging_folder": ".locations",
}

__all__ = [
    "ContentName",
    "InvalidContentName",
    "ObjectExists",
    "ObjectNotFound",
    "Placement",
    "PruneReport",
    "Route",
    "SizeLimits",
    "SourceChanged",
    "SourceDamaged",
    "Store",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreSettings",
    "StoreUnavailable",
    "StoredObject",
    "choose_route",
    "configured_stores",
    "content_name",
    "file_digest",
    "kept_digests",
    "mentioned_digests",
    "mount_requirement",
    "open_store",
    "place",
    "prune",
    "staging_folder",
]

if not TYPE_CHECKING:  # a checker would take any name for one that is there
    __getattr__ = lazy_names(globals(), _HOME)


def __dir__() -> list[str]:
    return sorted(__all__)
