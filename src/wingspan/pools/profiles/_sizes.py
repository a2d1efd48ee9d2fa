"""Files that are too large to go through a site's access point."""

from __future__ import annotations

from pathlib import Path

import attrs

from wingspan._shell import quoted
from wingspan._words import sized
from wingspan.pools.profiles._model import Profile

__all__ = ["LargeFile", "large_file"]


@attrs.frozen
class LargeFile:
    """A file that is larger than a site wants to come through its access point.

    Attributes:
        said: What is wrong.
        hint: What to do.
        is_refused: The profile of a site says so. Else nobody says what the site wants, and it is only a
            general limit.
    """

    said: str
    hint: str
    is_refused: bool


def large_file(site: Profile, path: Path, size: int, named: str) -> LargeFile | None:
    """What to say of an input file of `size` bytes; None: the site takes it.

    Args:
        site: The rules of the site.
        path: The file.
        size: Bytes.
        named: How a file that lies elsewhere is named, such as ``"--input file:///…"``.
    """
    if size <= site.limits.transfer:
        return None
    said = f"the input {path} has {sized(size)}, which would go through the access point for each job"
    if site.name == "generic":
        hint = f"where the site has a place for large files, name it there: {named}"
        return LargeFile(said, hint, is_refused=False)
    import getpass  # here, as few files are so large

    user = getpass.getuser()
    staging = site.staging_folder(user)
    put = f"put it into {staging}, and"
    if site.transfer_host is not None:  # which alone writes there
        put = f"scp {quoted(str(path))} {user}@{site.transfer_host}:{staging}/; then"
    return LargeFile(
        f"{said}; {site.title or site.name} wants at most {sized(site.limits.transfer)} to come that way",
        (f"{put} name it there: " if staging else "put it where jobs can fetch it: ")
        + named
        + (f"; {site.page}" if site.page else ""),
        is_refused=True,
    )
