"""Tags: the names of maps, each a small file ``tags/<tag>`` that holds the map's id."""

from __future__ import annotations

import fnmatch
import os
import re
from collections.abc import Sequence
from pathlib import Path

from wingspan.maps._errors import InvalidTag, TagDamaged, TagExists, TagNotFound
from wingspan.settings import private_folder
from wingspan.worker.transports import FileTransport

__all__ = ["check_tag", "find_tag", "list_tags", "new_tag", "read_tag", "remove_tag", "write_tag"]

MAX_LENGTH = 128
#: The name of a map's folder has this form, and no other.
_MAP_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{8}")
#: Other characters are allowed on every file system, and no shell needs them quoted.
FORBIDDEN = frozenset("/\\<>:\"|?*[]!'`$&;(){} \t\r\n\0")

_ADJECTIVES = """
    able amber ample arctic avid azure bold brave bright brisk calm candid clear clever cool coral crisp
    deft dusky eager early even fair fast fine fleet fond frank free fresh gentle glad golden grand green
    hale happy hardy ideal jade jolly keen kind large light lively loyal lucid lunar merry mild misty
    modest neat nimble noble novel olive open pale patient plain polar proud pure quick quiet rapid rare
    ready regal ripe rosy round royal sage sandy serene sharp shy silent silver sleek smart snowy solar
    solid steady still stout sunny sure swift tall tame tidy topaz true upper vast vivid warm wary wild
    wise witty young zesty
""".split()
_BIRDS = """
    albatross avocet bittern bunting buzzard condor coot cormorant crane curlew dipper dove drake dunlin
    eagle egret eider falcon finch flicker fulmar gannet godwit goose grebe grouse gull harrier hawk heron
    hobby hoopoe ibis jackdaw jay kestrel kingfisher kite kiwi knot lapwing lark loon magpie mallard
    martin merlin murre nightjar oriole osprey owl pelican petrel pigeon pipit plover puffin quail raven
    redstart robin rook ruff sandpiper serin shrike siskin skua skylark snipe sparrow starling stilt stint
    stork swallow swan swift tanager teal tern thrush tit toucan turnstone vireo vulture wagtail warbler
    wigeon wren wryneck
""".split()


def check_tag(tag: str) -> str:
    """See that `tag` is a name that a map can have, and return it.

    Raises:
        InvalidTag: It is empty or too long, begins with a dot or a dash, or has characters that file names or
            shells cannot take.
    """
    if not isinstance(tag, str):
        raise InvalidTag(f"a tag is a string, not {type(tag).__name__}", hint='for example tag="first"')
    if not tag:
        raise InvalidTag("the tag is empty", hint="leave tag out to get one made up")
    if tag[0] in ".-":
        raise InvalidTag(f"the tag {tag!r} begins with {tag[0]!r}", hint="begin with a letter or a digit")
    bad = [character for character in tag if character in FORBIDDEN or not character.isprintable()]
    if bad:
        raise InvalidTag(
            f"the tag {tag!r} has the character {bad[0]!r}",
            hint="use letters, digits, dot, dash and underscore",
        )
    # After the test for printable characters: others cannot always be encoded.
    if len(tag.encode()) > MAX_LENGTH:
        raise InvalidTag(
            f"the tag {tag[:20]!r}… has {len(tag.encode())} bytes",
            hint=f"a tag has at most {MAX_LENGTH} bytes",
        )
    return tag


def _pick(words: Sequence[str]) -> str:
    # Not with the module random: it takes long to import, and a user's seed would decide about our names.
    return words[int.from_bytes(os.urandom(4), "little") % len(words)]


def new_tag(folder: Path) -> str:
    """A tag that nobody has taken, easy to say and to type."""
    for size in range(2, 5):
        for _ in range(50):
            words = [*(_pick(_ADJECTIVES) for _ in range(size - 1)), _pick(_BIRDS)]
            tag = "-".join(words)
            if not (folder / tag).exists():
                return tag
    raise TagExists("no free tag was found", hint="give one: tag=…")


def write_tag(folder: Path, tag: str, map_id: str) -> None:
    """Give the map its tag, whole and only if nobody has it.

    Raises:
        TagExists: Another map has it.
    """
    private_folder(folder.parent, folder.name)
    if not FileTransport(str(folder)).create_whole(tag, map_id.encode()):
        raise TagExists(
            f"there is a map with the tag {tag!r} already",
            hint=f"exist_ok=True takes it up again if function and inputs are the same; wingspan.load({tag!r}) opens it, "
            f"wingspan.remove({tag!r}) removes it and its results; or choose another tag",
        )


def find_tag(folder: Path, tag: str) -> str:
    """The id of the map that has `tag`.

    Raises:
        TagNotFound: None has.
    """
    check_tag(tag)
    try:
        map_id = read_tag(folder / tag)
        if map_id is None:
            raise TagDamaged(
                f"the file of the tag {tag!r} does not name a map",
                hint=f"wingspan.remove({tag!r}) removes the tag and nothing else; the map itself lies under its date in the maps folder",
            )
        return map_id
    except FileNotFoundError:
        import difflib

        if (folder.parent / "runs" / tag / "run.json").exists():
            raise TagNotFound(
                f"{tag!r} is a run, not a map",
                hint=f"wingspan.load_run({tag!r}) opens it; wingspan status {tag} and logs {tag} show how it fares",
            ) from None
        near = difflib.get_close_matches(tag, list_tags(folder), n=1)
        raise TagNotFound(
            f"no map has the tag {tag!r}",
            hint=f"did you mean {near[0]!r}?" if near else "wingspan maps lists them",
        ) from None


def read_tag(path: Path) -> str | None:
    """The map's id in a tag's file; None if it is damaged (the machine died while the file was written)."""
    text = path.read_text(encoding="ascii", errors="replace").strip()
    return text if _MAP_ID.fullmatch(text) else None


def list_tags(folder: Path, pattern: str | None = None) -> tuple[str, ...]:
    """All tags, sorted; with `pattern` (``*``, ``?``, ``[…]``; case matters) those that match.

    Other files that somebody has put into the folder are no tags.
    """
    try:
        names = [path.name for path in folder.iterdir()]
    except FileNotFoundError:
        return ()
    return tuple(
        sorted(
            name
            for name in names
            if _is_tag(name) and (pattern is None or fnmatch.fnmatchcase(name, pattern))
        )
    )


def _is_tag(name: str) -> bool:
    try:
        return bool(check_tag(name))
    except InvalidTag:
        return False


def remove_tag(folder: Path, tag: str, map_id: str) -> None:
    """Remove the tag, if it still is this map's."""
    path = folder / tag
    try:
        if read_tag(path) == map_id:
            path.unlink()
    except FileNotFoundError:
        pass
