"""Send only what is new of a bundle that shares most of its content with a published one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from wingspan.environments.bundles.manifest import Bundle, Delta
    from wingspan.stores import Placement, SizeLimits, Store

__all__ = ["delta_to_published"]


def delta_to_published(
    bundle: Bundle, store: Store, limits: SizeLimits, *, progress: Progress = NO_PROGRESS
) -> tuple[Delta, Placement] | None:
    """The difference of `bundle` to the one in `store` that has most of it, and where machines fetch that.

    None where the bundle itself is there, or no other one has half of it. The difference is small enough for
    the scheduler to send it.

    Raises:
        StoreUnavailable: The store does not answer.
        DiskFull: No room for the difference.
    """
    from wingspan.environments.bundles.delta import bases_of, make_delta
    from wingspan.stores import Route, choose_route, place
    from wingspan.stores.names import ContentName

    if (
        bundle.kind != "squashfs"
        or store.find(ContentName.parse(bundle.path.name), bundle.sha256) is not None
    ):
        return None
    for base in bases_of(bundle):
        if choose_route(bundle.size - base.shared, limits) is not Route.TRANSFER:
            return None
        published = store.find(ContentName.parse(base.path.name), base.sha256)
        if published is None:
            continue
        task = progress.start("Taking what is new", bundle.size - base.shared)
        delta = make_delta(bundle, base)
        progress.finish(task)
        return delta, place(base.size, store=store, published=published, limits=limits)
    return None
