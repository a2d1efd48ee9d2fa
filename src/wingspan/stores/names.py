"""Content-hashed names: ``<name>-<first 8 of the SHA-256>.<kind>``.

Pelican's caches, and people's, treat an object as immutable: a new content under an old name would be served
stale or mixed. So the name says the content. Eight hexadecimal digits are enough for a name and too few for a
check; the full digest lies beside the object in ``<object>.sha256``, in the format of ``sha256sum``.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import attrs

from wingspan.progress import NO_PROGRESS, Progress
from wingspan.stores.errors import InvalidContentName, ObjectNotFound

__all__ = [
    "CHUNK",
    "SIDECAR_SUFFIX",
    "ContentName",
    "chunks",
    "content_name",
    "file_digest",
    "read_sidecar",
    "sidecar",
]

#: Bytes read at a time: large enough that the loop costs nothing beside SHA-256.
CHUNK = 1 << 20
SIDECAR_SUFFIX = ".sha256"

_NAME = r"[A-Za-z0-9][A-Za-z0-9._+-]{0,150}"
_KIND = r"[A-Za-z][A-Za-z0-9]{0,15}(?:\.[A-Za-z0-9]{1,8})?"
_CONTENT_NAME = re.compile(rf"(?P<name>{_NAME})-(?P<short>[0-9a-f]{{8}})\.(?P<kind>{_KIND})")
#: Suffixes of two parts that are one kind.
_DOUBLE = (".oci.tar", ".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")


@attrs.frozen
class ContentName:
    """A name that says its content.

    Attributes:
        name: What it is, for people.
        short: The first 8 hexadecimal digits of the SHA-256 of the content.
        kind: The suffix: ``sif``, ``squashfs``, ``tar``, ``sh``, ``oci.tar``.

    >>> str(ContentName("mnist", "b8dd14a4", "sif"))
    'mnist-b8dd14a4.sif'
    >>> ContentName.parse("mnist-gpu-b8dd14a4.oci.tar")
    ContentName(name='mnist-gpu', short='b8dd14a4', kind='oci.tar')
    """

    name: str
    short: str
    kind: str

    def __attrs_post_init__(self) -> None:
        if not _CONTENT_NAME.fullmatch(str(self)):
            raise InvalidContentName(
                f"{str(self)!r} cannot be the name of a stored object",
                hint="a name is of letters, digits and . _ + - (at most 151); a kind is a suffix such as sif",
            )

    def __str__(self) -> str:
        return f"{self.name}-{self.short}.{self.kind}"

    @property
    def sidecar(self) -> str:
        """Name of the file beside it that holds the full digest."""
        return f"{self}{SIDECAR_SUFFIX}"

    @classmethod
    def of(cls, name: str, digest: str, kind: str) -> ContentName:
        """The name of the content with SHA-256 `digest` (64 hexadecimal digits).

        Raises:
            InvalidContentName: A part cannot stand in a file name or URL.
        """
        return cls(name, digest[:8], kind.lstrip("."))

    @classmethod
    def parse(cls, text: str) -> ContentName:
        """Read a name back.

        Raises:
            InvalidContentName: It is not of the form ``<name>-<8 hex digits>.<kind>``.
        """
        match = _CONTENT_NAME.fullmatch(text)
        if match is None:
            raise InvalidContentName(
                f"{text!r} is not a content-hashed name", hint="they look like mnist-b8dd14a4.sif"
            )
        return cls(match["name"], match["short"], match["kind"])


def content_name(path: Path, digest: str, *, name: str | None = None, kind: str | None = None) -> ContentName:
    """The name under which `path`, whose content has `digest`, is published.

    A file that already bears a content-hashed name keeps its plain name, so publishing twice does not stack
    hashes.

    >>> str(content_name(Path("out/env.sif"), "b8dd14a4" + 56 * "0"))
    'env-b8dd14a4.sif'
    >>> str(content_name(Path("env-00000000.sif"), "b8dd14a4" + 56 * "0", name="mnist"))
    'mnist-b8dd14a4.sif'

    Raises:
        InvalidContentName: The file has no suffix and no `kind` was given, or a part cannot stand in a name.
    """
    stem, suffix = path.name, ""
    for double in _DOUBLE:
        if stem.endswith(double):
            stem, suffix = stem[: -len(double)], double
            break
    else:
        stem, suffix = path.stem, path.suffix
    kind = kind or suffix.lstrip(".")
    if not kind:
        raise InvalidContentName(
            f"{path.name} has no suffix that says what it is",
            hint="say it: kind='sif' (--kind sif on the command line)",
        )
    stem = re.sub(r"-[0-9a-f]{8}$", "", stem) or stem
    return ContentName.of(name or stem, digest, kind)


def chunks(stream: BinaryIO) -> Iterator[bytes]:
    """`stream`, a piece at a time."""
    while piece := stream.read(CHUNK):
        yield piece


def file_digest(path: Path, progress: Progress = NO_PROGRESS) -> str:
    """SHA-256 of a file, as 64 hexadecimal digits.

    Raises:
        ObjectNotFound: No such file, or it is a folder.
    """
    try:
        stream = path.open("rb")
    except (FileNotFoundError, IsADirectoryError):
        raise ObjectNotFound(f"{path} is not a file", hint="build it first: wingspan env bundle") from None
    digest = hashlib.sha256()
    with stream:
        task = progress.start(f"reading {path.name}", path.stat().st_size)
        for piece in chunks(stream):
            digest.update(piece)
            progress.advance(task, len(piece))
        progress.finish(task)
    return digest.hexdigest()


def sidecar(name: ContentName, digest: str) -> bytes:
    """The content of the file beside an object: ``sha256sum -c`` checks the object with it."""
    return f"{digest}  {name}\n".encode()


def read_sidecar(content: bytes) -> str | None:
    """The digest in a sidecar; None if it is cut or something else."""
    match = re.match(rb"([0-9a-f]{64}) [ *]\S", content)
    return match[1].decode() if match else None
