"""What can go wrong with a store."""

from __future__ import annotations

from wingspan.errors import WingspanError

__all__ = [
    "NOT_THERE",
    "InvalidContentName",
    "ObjectExists",
    "ObjectNotFound",
    "SourceChanged",
    "SourceDamaged",
    "StoreDamaged",
    "StoreError",
    "StoreFull",
    "StoreReadOnly",
    "StoreUnavailable",
]


#: What to do about `ObjectNotFound`.
NOT_THERE = "wingspan store ls says what is there"


class StoreError(WingspanError):
    """A store cannot be used as asked."""


class InvalidContentName(StoreError, ValueError):
    """A name that is not ``<name>-<first 8 of the SHA-256>.<kind>``, or a part that cannot become one."""


class StoreUnavailable(StoreError, ConnectionError):
    """The store does not answer, refuses us, or its library is not installed."""


class StoreReadOnly(StoreError, PermissionError):
    """Nothing can be published there."""


class StoreFull(StoreError, OSError):
    """The store has no room, or the quota is used up. Nothing was left behind."""


class ObjectExists(StoreError, FileExistsError):
    """Something else already lies under the name; it was left as it is."""


class ObjectNotFound(StoreError, FileNotFoundError):
    """No object of that name in the store."""


class StoreDamaged(StoreError):
    """What the store gives back is not what its digest says."""


class SourceDamaged(StoreError, ValueError):
    """The file to be published is not what its name, or the digest beside it, says. Nothing was published."""


class SourceChanged(StoreError):
    """The file to be published changed while it was being read."""
