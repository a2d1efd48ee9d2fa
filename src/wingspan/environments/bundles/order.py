"""A kind's writer gets an order and returns a product."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.environments.activation import Activated
from wingspan.environments.bundles.manifest import Manifest
from wingspan.environments.lock import LockedEnvironment
from wingspan.progress import Progress

if TYPE_CHECKING:
    from wingspan.environments.bundles.packages.fetch import Archive

__all__ = ["Order", "Product"]


@attrs.frozen(kw_only=True)
class Product:
    """The product: what a kind's writer made in the build folder.

    Attributes:
        path: The bundle.
        suffix: Its final suffix.
        mode: Its final mode.
        sha256: The bundle's digest, if the writer knows it.
        sources: Text files for people who build themselves: suffix to text.
        parts: Name, place and bytes of each part that is a package's compressed content, and that other
            bundles have as well.
    """

    path: Path
    suffix: str
    mode: int = 0o644
    sha256: str | None = None
    sources: dict[str, str] = attrs.field(factory=dict)
    parts: tuple[tuple[str, int, int], ...] = ()


@attrs.frozen(kw_only=True)
class Order:
    """The order for a kind's writer."""

    env: LockedEnvironment
    activated: Activated
    archives: list[Archive]
    manifest: Manifest
    work: Path
    progress: Progress
    options: dict[str, Any]
