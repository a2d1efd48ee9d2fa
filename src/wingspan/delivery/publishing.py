"""Publishing bundles and other large files by the rules of the site: from which machine, if there is room."""

from __future__ import annotations

import getpass
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan.errors import OnAccessPoint
from wingspan.pools.site_hosts import fits_this_machine
from wingspan.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from wingspan.pools.profiles import Profile
    from wingspan.stores import Store, StoredObject
    from wingspan.stores.names import ContentName

__all__ = ["check_writes_here", "publish_bundle"]


def publish_bundle(
    store: Store,
    path: Path,
    *,
    name: str | None = None,
    kind: str | None = None,
    digest: str | None = None,
    verify: bool = True,
    progress: Progress = NO_PROGRESS,
) -> StoredObject:
    """`Store.publish`, by the rules of the site whose machine this is.

    Args:
        store, path, name, kind, digest, verify, progress: As for `wingspan.stores.Store.publish`.

    Raises:
        OnAccessPoint: The site wants files to get into this folder through another machine.
        QuotaExceeded: There is no room for it.
        Others as `wingspan.stores.Store.publish`.
    """
    if store.folder is not None and path.is_file():
        from wingspan.pools.profiles import find_profile
        from wingspan.stores.names import content_name, file_digest

        site = find_profile()
        digest = digest or file_digest(path, progress)
        target = content_name(path, digest, name=name, kind=kind)
        if not (store.folder / str(target)).exists():
            _check(site, store.folder, path, target)
    return store.publish(path, name=name, kind=kind, digest=digest, verify=verify, progress=progress)


def _check(site: Profile, folder: Path, path: Path, target: ContentName) -> None:
    """See that the site lets this machine write the bundle there."""
    from wingspan.pools.profiles import check_disk

    if (host := _other_host(site, folder)) is not None:
        raise OnAccessPoint(
            f"{site.title or site.name} wants files to get into {folder} through {host}, not through this access point",
            hint=f"scp {path} {getpass.getuser()}@{host}:{folder / str(target)}; then do the same again: what lies "
            "there is found",
        )
    check_disk(site, folder, path.stat().st_size, f"the file {path.name}", items=2)


def check_writes_here(store: Store) -> None:
    """See that the site lets this machine write files into a store.

    Raises:
        OnAccessPoint: It wants them to get there through another machine.
    """
    from wingspan.pools.profiles import find_profile

    site = find_profile()
    if store.folder is not None and (host := _other_host(site, store.folder)) is not None:
        raise OnAccessPoint(
            f"{site.title or site.name} wants files to get into {store.folder} through {host}, not through this access point",
            hint="name another store, or leave it out",
        )


def _other_host(site: Profile, folder: Path) -> str | None:
    """The machine through which alone files get into `folder`; None: this one may write there."""
    host = site.transfer_host
    if not host or not site.is_access_point() or not _is_staging(site, folder):
        return None
    return None if fits_this_machine([host]) else host


def _is_staging(site: Profile, folder: Path) -> bool:
    """The folder belongs to the site's place for large files, be it somebody else's part of it."""
    root = (site.staging or "").partition("{")[0].rstrip("/")
    return bool(root) and folder.is_relative_to(root)
