"""A store: what every place has in common, over a small `Backend` for each kind of place."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import BinaryIO, Protocol

import attrs

from wingspan.progress import NO_PROGRESS, Progress
from wingspan.stores.errors import (
    InvalidContentName,
    ObjectExists,
    ObjectNotFound,
    SourceChanged,
    SourceDamaged,
    StoreDamaged,
)
from wingspan.stores.names import (
    SIDECAR_SUFFIX,
    ContentName,
    chunks,
    content_name,
    file_digest,
    read_sidecar,
    sidecar,
)

__all__ = ["Backend", "Entry", "Leftover", "Store", "StoredObject", "fingerprint", "pieces_of"]


@attrs.frozen(kw_only=True)
class Entry:
    """A file as a backend lists it: `size` in bytes, `modified` an aware time if the place tells one."""

    name: str
    size: int
    modified: datetime | None = None


@attrs.frozen(kw_only=True)
class Leftover:
    """What an upload that died left behind: `handle` is for `Backend.discard` only."""

    name: str
    size: int
    modified: datetime | None
    handle: object


class Backend(Protocol):
    """The few things a kind of place must be able to do. Names are plain file names within the store."""

    @property
    def url(self) -> str:
        """The place, as people write it."""
        ...

    def size(self, name: str) -> int | None:
        """Bytes of `name`; None if it is not there."""
        ...

    def check_writable(self) -> None:
        """Raise an error if it can be told at once that nothing can be put there. No error is no promise.

        Asked before a large file is read for its digest.
        """
        ...

    def open(self, name: str) -> contextlib.AbstractContextManager[BinaryIO]:
        """Open for reading. Raises ObjectNotFound."""
        ...

    def make_folder(self) -> None:
        """Make the place itself, if it is not there and the kind of place has folders."""
        ...

    def put(self, name: str, pieces: Iterator[bytes], size: int, *, replace: bool = False) -> None:
        """Put a file in place, whole or not at all: an exception from `pieces` must leave under `name` what
        was there before.

        Raises FileExistsError if `name` has come to be there meanwhile, unless it is to be replaced.
        """
        ...

    def put_small(self, name: str, content: bytes) -> None:
        """Put or replace a small file, whole."""
        ...

    def read_small(self, names: list[str]) -> dict[str, bytes]:
        """Contents of those of `names` that are there and can be read."""
        ...

    def entries(self) -> list[Entry]:
        """All finished files."""
        ...

    def remove(self, name: str) -> None:
        """Remove a file; it is no error if it is not there."""
        ...

    def leftovers(self) -> list[Leftover]:
        """What died uploads left, and nothing that a living one is writing, as far as the place can tell."""
        ...

    def discard(self, leftover: Leftover) -> None:
        """Remove a leftover."""
        ...


@attrs.frozen(kw_only=True)
class StoredObject:
    """An object in a store.

    Attributes:
        name: Its content-hashed name.
        size: Bytes.
        digest: Full SHA-256, from beside the object; None if nothing trustworthy lies there (an upload that
            died).
        url: Where it is, for people and for us.
        job_url: What a job puts into ``transfer_input_files``; a path where the access point reads the file
            itself.
        last_used: When it was last published or found again by a publication.
        uploaded: This very publication brought it there.
    """

    name: ContentName
    size: int
    digest: str | None
    url: str
    job_url: str
    last_used: datetime | None = None
    uploaded: bool = False

    @property
    def job_attributes(self) -> dict[str, str]:
        """What a job description says of it (`JobDescription.custom`): its name, and the full digest to check
        it by.
        """
        described = {"WingspanBundle": str(self.name)}
        return described if self.digest is None else {**described, "WingspanBundleSHA256": self.digest}


def _join(base: str, name: str) -> str:
    return f"{base.rstrip('/')}/{name}"


@attrs.frozen(kw_only=True)
class Store:
    """A place for bundles.

    Attributes:
        backend: How to read and write there.
        job_url: The same place as jobs see it.
        folder: Where this machine has it mounted, if it is a folder.
        requirement: ClassAd expression that holds on machines which have `folder` mounted too.
    """

    backend: Backend
    job_url: str
    folder: Path | None = None
    requirement: str | None = None

    @property
    def url(self) -> str:
        """The place, as people write it."""
        return self.backend.url

    def _object(
        self,
        name: ContentName,
        size: int,
        digest: str | None,
        used: datetime | None = None,
        uploaded: bool = False,
    ) -> StoredObject:
        text = str(name)
        return StoredObject(
            name=name,
            size=size,
            digest=digest,
            url=_join(self.url, text),
            job_url=_join(self.job_url, text),
            last_used=used,
            uploaded=uploaded,
        )

    def find(self, name: ContentName, digest: str) -> StoredObject | None:
        """The object, if it is there whole by what the store itself says: name, and the full digest beside
        it.

        Reads no content: two small requests. `publish` is what checks the content.
        """
        size = self.backend.size(str(name))
        if size is None:
            return None
        beside = self.backend.read_small([name.sidecar]).get(name.sidecar, b"")
        return self._object(name, size, digest) if read_sidecar(beside) == digest else None

    def digest_of(self, name: ContentName, progress: Progress = NO_PROGRESS) -> str:
        """SHA-256 of what the store gives back when it is read.

        Raises:
            ObjectNotFound: It is not there.
        """
        digest = hashlib.sha256()
        task = progress.start(f"checking {name}", self.backend.size(str(name)))
        with self.backend.open(str(name)) as stream:
            for piece in chunks(stream):
                digest.update(piece)
                progress.advance(task, len(piece))
        progress.finish(task)
        return digest.hexdigest()

    def publish(
        self,
        path: Path,
        *,
        name: str | None = None,
        kind: str | None = None,
        digest: str | None = None,
        verify: bool = True,
        progress: Progress = NO_PROGRESS,
    ) -> StoredObject:
        """Put a file into the store under its content-hashed name.

        What is there already is read back and left as it is; what is new is put in place whole or not at all,
        never over something else, and read back. The digest beside the object is written last: it says
        "complete".

        Args:
            path: The file.
            name: What it is, for people; by default its file name without suffix and without a content hash.
            kind: Suffix; by default the file's.
            digest: Its SHA-256 if known already, which saves reading it once. It is not taken on trust.
            verify: Read back what the store holds. Without, its size and the digest beside it must do.
            progress: Told of bytes read, sent and checked.

        Raises:
            ObjectNotFound: No such file.
            InvalidContentName: No name can be made of it.
            ObjectExists: Something else lies under the name.
            SourceDamaged: The file is not what the digest beside it or the digits in its name say.
            SourceChanged: The file changed while it was read; nothing was published.
            StoreDamaged: The store gave back something else than it was given; that was removed again.
            StoreFull, StoreReadOnly, StoreUnavailable: What their names say.
        """
        try:
            before = fingerprint(path)
        except FileNotFoundError:
            raise ObjectNotFound(
                f"{path} is not a file", hint="build it first: wingspan env bundle"
            ) from None
        self.backend.check_writable()
        unchecked = digest if digest is not None and not verify else None
        if digest is None:
            digest = file_digest(path, progress)
        _refuse_damaged(path, digest, renamed=name is not None)
        size = before[0]
        target = content_name(path, digest, name=name, kind=kind)
        present = self.backend.size(str(target))
        uploaded = False
        if present is None:
            try:
                self.backend.put(str(target), pieces_of(path, before, unchecked, progress), size)
                uploaded = True
            except FileExistsError as error:
                if isinstance(error, ObjectExists):
                    raise
        if verify or not uploaded:
            self._check(target, size, digest, uploaded=uploaded, verify=verify, progress=progress)
        # Also when it was there: the time of this small file is when the object was last wanted, for `prune`.
        self.backend.put_small(target.sidecar, sidecar(target, digest))
        return self._object(target, size, digest, uploaded=uploaded)

    def _check(
        self,
        target: ContentName,
        size: int,
        digest: str,
        *,
        uploaded: bool,
        verify: bool,
        progress: Progress,
    ) -> None:
        present = self.backend.size(str(target))
        if present == size and (not verify and self.find(target, digest)):
            return
        if present == size and self.digest_of(target, progress) == digest:
            return
        where = _join(self.url, str(target))
        if uploaded:
            self.backend.remove(str(target))
            raise StoreDamaged(
                f"{where} came back different from what was sent, and was removed again",
                hint="publish again; if it happens twice, the disk or the server alters data",
            )
        raise ObjectExists(
            f"{where} is there with another content ({present} bytes; ours has {size} and SHA-256 {digest})",
            hint="it is damaged or not ours: look at it and remove it, or publish under another name",
        )

    def fetch(
        self, name: ContentName, target: Path, *, digest: str | None = None, progress: Progress = NO_PROGRESS
    ) -> None:
        """Copy an object to the file `target`, checked; `target` appears whole or not at all.

        Args:
            name: The object.
            target: The file to make.
            digest: Full SHA-256 it must have; by default the one beside it, and at least the name's 8 digits.
            progress: Told of bytes.

        Raises:
            ObjectNotFound: It is not there.
            StoreDamaged: What came is not what its digest says; nothing was left at `target`.
        """
        import tempfile

        size = self.backend.size(str(name))
        if size is None:
            raise ObjectNotFound(
                f"no {name} in {self.url}", hint=f"list what is there: wingspan store ls {self.url}"
            )
        if digest is None:
            digest = read_sidecar(self.backend.read_small([name.sidecar]).get(name.sidecar, b""))
        seen = hashlib.sha256()
        task = progress.start(f"fetching {name}", size)
        with tempfile.NamedTemporaryFile(dir=target.parent, prefix=f".{target.name}.", delete=False) as part:
            try:
                with self.backend.open(str(name)) as stream:
                    for piece in chunks(stream):
                        seen.update(piece)
                        part.write(piece)
                        progress.advance(task, len(piece))
                part.flush()
                got = seen.hexdigest()
                if not got.startswith(name.short) or (digest is not None and got != digest):
                    raise StoreDamaged(
                        f"{_join(self.url, str(name))} has SHA-256 {got}, not {digest or name.short + '…'}",
                        hint="it was cut or altered: publish it again under a new build",
                    )
                Path(part.name).replace(target)
            except BaseException:
                Path(part.name).unlink(missing_ok=True)
                raise
        progress.finish(task)

    def objects(self) -> list[StoredObject]:
        """The objects in the store, by name. Other people's files, whose names contain no digest, are passed
        over.
        """
        entries = {entry.name: entry for entry in self.backend.entries()}
        found: list[tuple[ContentName, Entry]] = []
        for entry in entries.values():
            if not entry.name.endswith(SIDECAR_SUFFIX):
                with contextlib.suppress(InvalidContentName):
                    found.append((ContentName.parse(entry.name), entry))
        beside = self.backend.read_small([name.sidecar for name, _ in found if name.sidecar in entries])
        objects = []
        for name, entry in sorted(found, key=lambda pair: pair[1].name):
            digest = read_sidecar(beside.get(name.sidecar, b""))
            if digest is not None and not digest.startswith(name.short):
                digest = None
            used = entries[name.sidecar].modified if name.sidecar in entries else entry.modified
            objects.append(self._object(name, entry.size, digest, used))
        return objects

    def remove(self, name: ContentName) -> None:
        """Remove an object; its digest first, so that a half-removed object counts as incomplete, not as
        good.
        """
        self.backend.remove(name.sidecar)
        self.backend.remove(str(name))


def fingerprint(path: Path) -> tuple[int, int, int]:
    """Size in bytes, time of last change in nanoseconds and inode: other ones mean another content."""
    status = path.stat()
    return status.st_size, status.st_mtime_ns, status.st_ino


def _refuse_damaged(path: Path, digest: str, *, renamed: bool) -> None:
    """A bundle that was cut or altered must not get a new name that is right for what it has become."""
    wanted: str | None = None
    with contextlib.suppress(OSError):
        wanted = read_sidecar(path.with_name(path.name + SIDECAR_SUFFIX).read_bytes())
    if wanted is not None and wanted != digest:
        raise SourceDamaged(
            f"{path} is damaged or another file: its SHA-256 is {digest}, {path.name}{SIDECAR_SUFFIX} says {wanted}",
            hint="build it again (wingspan env bundle); nothing was published",
        )
    if wanted is not None or renamed:
        return
    with contextlib.suppress(InvalidContentName):
        short = ContentName.parse(path.name).short
        if not digest.startswith(short):
            raise SourceDamaged(
                f"{path} is damaged or another file: its SHA-256 is {digest}, its name says {short}…",
                hint="build it again (wingspan env bundle); if these digits are no digest, say its name: --name",
            )


def pieces_of(
    path: Path, before: tuple[int, int, int], digest: str | None, progress: Progress
) -> Iterator[bytes]:
    """The file's pieces; raises at the end, before the backend commits, if the file is not what it was.

    Hashing again while sending would cost as much as the sending, so it is done only if nothing is read back
    (`digest`).
    """
    seen = hashlib.sha256()
    with path.open("rb") as stream:
        task = progress.start(f"sending {path.name}", before[0])
        for piece in chunks(stream):
            if digest is not None:
                seen.update(piece)
            yield piece
            progress.advance(task, len(piece))
        progress.finish(task)
    if fingerprint(path) != before or (digest is not None and seen.hexdigest() != digest):
        raise SourceChanged(
            f"{path} changed while it was being published; nothing was published",
            hint="wait until whatever writes it has finished, and publish again",
        )
