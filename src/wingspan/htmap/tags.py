"""Tags: the names of maps."""

from __future__ import annotations

from pathlib import Path

import wingspan
from wingspan.htmap.exceptions import TagAlreadyExists, translated
from wingspan.htmap.settings import follow_htmap_dir
from wingspan.maps._folder import maps_root
from wingspan.maps._tags import check_tag

__all__ = [
    "get_tags",
    "map_dir_path",
    "maps_dir_path",
    "raise_if_tag_already_exists",
    "raise_if_tag_is_invalid",
    "tag_to_map_dir",
]


def maps_dir_path() -> Path:
    """The folder of the folders of maps."""
    follow_htmap_dir()
    return maps_root()


def map_dir_path(uid: object) -> Path:
    """The folder of a map, by the name of that folder."""
    return maps_dir_path() / str(uid)


def tag_to_map_dir(tag: str) -> Path:
    """The folder of a map, by its tag.

    Raises:
        TagNotFound: No map has it.
    """
    follow_htmap_dir()
    with translated(tag):
        return Path(wingspan.load(tag).path)


def get_tags(pattern: str | None = None) -> tuple[str, ...]:
    """The tags of all maps; with a `pattern` (``*``, ``?``, ``[…]``; case matters) those that match."""
    follow_htmap_dir()
    return wingspan.tags(pattern)


def raise_if_tag_is_invalid(tag: str) -> None:
    """See that `tag` can name a map.

    Raises:
        InvalidTag: It cannot.
    """
    with translated(tag):
        check_tag(tag)


def raise_if_tag_already_exists(tag: str) -> None:
    """See that no map has this tag.

    Raises:
        TagAlreadyExists: One has.
    """
    if tag in get_tags():
        raise TagAlreadyExists(f"there is a map with the tag {tag!r} already", hint="choose another tag")
