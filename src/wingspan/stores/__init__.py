"""Where bundles are published, under names that say their content.

A store is a folder, a site's ``/staging``, an S3 bucket, a WebDAV server, or (to read from) a Pelican
federation::

    from wingspan.stores import open_store

    published = open_store("/staging/b/bbadger/envs").publish(Path("mnist.sif"))
    published.job_url       # osdf:///chtc/staging/b/bbadger/envs/mnist-b8dd14a4.sif
"""

from __future__ import annotations

from wingspan.stores.base import Store, StoredObject
from wingspan.stores.errors import (
    InvalidContentName,
    ObjectExists,
    ObjectNotFound,
    SourceChanged,
    StoreDamaged,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
)
from wingspan.stores.locations import StoreSettings, configured_stores, open_store, staging_folder
from wingspan.stores.names import ContentName, content_name, file_digest
from wingspan.stores.placement import Placement, Route, SizeLimits, choose_route, place
from wingspan.stores.pruning import PruneReport, kept_digests, mentioned_digests, prune

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
    "open_store",
    "place",
    "prune",
    "staging_folder",
]
