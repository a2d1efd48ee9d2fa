"""How a bundle gets to a job, by its size, as sites ask for it."""

from __future__ import annotations

import enum
from pathlib import Path

import attrs

from wingspan.stores.base import Store, StoredObject
from wingspan.stores.errors import StoreError
from wingspan.stores.limits import SizeLimits

__all__ = ["Placement", "Route", "choose_route", "place"]


class Route(str, enum.Enum):
    """A way from the access point to the job."""

    #: HTCondor's own file transfer, from the access point's disk.
    TRANSFER = "transfer"
    #: The job's machine fetches a URL (``osdf://``, ``https://``, ``s3://``), through caches where there are
    #: some.
    URL = "url"
    #: The job's machine reads a file system that it has mounted; only some machines have.
    FILESYSTEM = "filesystem"


@attrs.frozen(kw_only=True)
class Placement:
    """What a job description has to say to get a bundle.

    Attributes:
        route: The way chosen.
        source: The entry of ``transfer_input_files``.
        requirements: ClassAd expression to be joined to the job's, or None.
        reason: Why this way, for people.
        warning: What the site will not like, if no better way was open.
    """

    route: Route
    source: str
    requirements: str | None = None
    reason: str = ""
    warning: str | None = None


def choose_route(size: int, limits: SizeLimits | None = None) -> Route:
    """The way that a site asks for at this `size` in bytes.

    >>> choose_route(400 * 10**6).value, choose_route(4 * 10**9).value, choose_route(40 * 10**9).value
    ('transfer', 'url', 'filesystem')
    """
    limits = limits or SizeLimits()
    if size < limits.transfer:
        return Route.TRANSFER
    return Route.URL if size <= limits.url else Route.FILESYSTEM


def _gb(size: int) -> str:
    return f"{size / 1e9:.1f} GB" if size >= 10**8 else f"{size / 1e6:.1f} MB"


def place(
    size: int,
    *,
    local: Path | None = None,
    store: Store | None = None,
    published: StoredObject | None = None,
    route: Route | None = None,
    limits: SizeLimits | None = None,
) -> Placement:
    """Choose how a bundle of `size` bytes gets to the jobs.

    Args:
        size: Bytes.
        local: The bundle on the access point.
        store: Where it is published.
        published: What `Store.publish` or `Store.find` answered.
        route: The user's choice; None: by size.
        limits: The site's.

    Raises:
        StoreError: The user's choice cannot be had, or there is neither a file nor a published object.
    """
    wanted = route or choose_route(size, limits)
    offered = _offers(local, store, published, asked_for=route)
    if wanted in offered:
        why = "asked for" if route else f"{_gb(size)}: sites ask for this way at this size"
        return attrs.evolve(offered[wanted], reason=why)
    if route is not None:
        raise StoreError(
            f"the bundle cannot be sent by {route.value}: "
            + ("it is not published" if published is None else f"{published.url} does not offer that"),
            hint="publish it to a store that does (wingspan env publish), or leave the choice open",
        )
    if published is not None and Route.URL in offered:
        return attrs.evolve(
            offered[Route.URL],
            reason=f"the only way that {published.url} offers",
            warning=f"{_gb(size)} is more than is wanted by URL" if wanted is Route.FILESYSTEM else None,
        )
    if Route.TRANSFER in offered:
        return attrs.evolve(
            offered[Route.TRANSFER],
            reason="not published where a URL leads to",
            warning=f"{_gb(size)} goes through the access point for every machine: publish it to a store",
        )
    raise StoreError(
        "there is neither a bundle on this machine nor a published one", hint="wingspan env bundle"
    )


def _offers(
    local: Path | None, store: Store | None, published: StoredObject | None, *, asked_for: Route | None
) -> dict[Route, Placement]:
    """The ways that are open.

    The mounted file system is one if it is known which machines have it, or if the user asks for it.
    """
    found = {}
    here = local
    if published is not None and store is not None and store.folder is not None:
        mounted = store.folder / str(published.name)
        here = local or mounted
        if store.requirement is not None or asked_for is not None:
            found[Route.FILESYSTEM] = Placement(
                route=Route.FILESYSTEM,
                source=mounted.as_uri(),
                requirements=store.requirement,
                warning=None
                if store.requirement
                else f"nothing says which machines have {store.folder}: set requirement = … in [store.NAME]",
            )
    if published is not None and "://" in published.job_url:
        found[Route.URL] = Placement(route=Route.URL, source=published.job_url)
    if here is not None:
        found[Route.TRANSFER] = Placement(route=Route.TRANSFER, source=str(here))
    return found
