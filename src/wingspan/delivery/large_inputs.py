"""Input files that are too large for a site's access point go to the configured store, once, under a name
that says their content; jobs fetch them from there.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from wingspan.progress import NO_PROGRESS, Progress

if TYPE_CHECKING:
    from wingspan.pools._base import Pool

__all__ = ["Placed", "place_large", "same_content"]

#: Suffix of a file that has none.
_KIND = "data"


@attrs.frozen
class Placed:
    """A file in a store.

    Attributes:
        url: What jobs fetch it by.
        size: Bytes.
    """

    url: str
    size: int

    @property
    def name(self) -> str:
        """Under which HTCondor puts it into a job's folder."""
        return self.url.rpartition("/")[2]


def place_large(
    path: Path, pool: Pool, profile: str | None, progress: Progress = NO_PROGRESS
) -> Placed | None:
    """Put an input file into the store, if it is larger than the site wants to come through its access point.

    Args:
        path: The file.
        pool: Where the jobs run.
        profile: The site's profile; None: that of this machine.
        progress: Hears of the upload.

    Returns:
        Where jobs fetch it. None: it is not so large, the pool's machines see this one's files, or there is
        not exactly one store that has addresses for jobs.

    Raises:
        StoreError: The store has no room, does not answer, or cannot be written.
        OnAccessPoint: The site wants files to get there through another machine; the hint has the command.
    """
    if pool.shares_files or not pool.fetches_urls or pool.elsewhere:
        return None
    try:
        size = path.stat().st_size if path.is_file() else 0
    except OSError:
        return None
    if size <= 10**6:  # no site's limit: most maps and runs import nothing of the following
        return None
    from wingspan.delivery.publishing import publish_bundle
    from wingspan.pools.profiles import chosen_profile
    from wingspan.settings import load_settings
    from wingspan.stores import Route, configured_stores, content_name, file_digest, open_store, place

    site, settings = chosen_profile(profile), load_settings()
    stores = configured_stores(settings)
    if size <= site.limits.transfer or len(stores) != 1:
        return None
    store = open_store(next(iter(stores)), settings)
    if "://" not in store.job_url:
        return None
    digest = file_digest(path, progress)
    stem, kind = _parts(path)
    name = content_name(path, digest, name=stem, kind=kind)
    published = store.find(name, digest) or publish_bundle(
        store, path, name=stem, kind=kind, digest=digest, progress=progress
    )
    placed = place(size, store=store, published=published, limits=site.limits)
    return None if placed.route is Route.TRANSFER else Placed(placed.source, size)


def _parts(path: Path) -> tuple[str, str]:
    """Name and suffix of a file as a store can have them.

    >>> _parts(Path("my data.tar.gz")), _parts(Path(".hidden")), _parts(Path("model"))
    (('my-data.tar', 'gz'), ('hidden', 'data'), ('model', 'data'))
    """
    suffix = path.suffix.lstrip(".")
    kind = suffix if re.fullmatch(r"[A-Za-z][A-Za-z0-9]{0,15}", suffix) else _KIND
    stem = re.sub(r"[^A-Za-z0-9._+-]+", "-", path.stem if kind == suffix else path.name).strip("-._+")
    return stem[:150] or "file", kind


def same_content(path: Path, url: str) -> bool:
    """Whether the file `path` is what lies in the store under `url`, as far as the digits in its name say."""
    from wingspan.stores import InvalidContentName, ObjectNotFound, file_digest
    from wingspan.stores.names import ContentName

    try:
        return file_digest(path).startswith(ContentName.parse(url.rpartition("/")[2]).short)
    except (InvalidContentName, ObjectNotFound):
        return False
