"""The Open Science Data Federation, and any Pelican federation, to read from; through pelicanfs (fsspec)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, BinaryIO
from urllib.parse import urlsplit

from wingspan._urls import without_secrets
from wingspan.stores.base import Entry, Leftover
from wingspan.stores.errors import NOT_THERE, ObjectNotFound, StoreReadOnly, StoreUnavailable

__all__ = ["PelicanBackend"]

_OSDF = "pelican://osg-htc.org"


class PelicanBackend:
    """Objects under ``osdf:///…`` or ``pelican://federation/…``, read through the federation's caches.

    Publishing goes another way: a cache may keep serving what it has seen, so an object is put at its origin
        (at CHTC the
    folder ``/staging``), under a name that has never been used.

    Args:
        url: ``osdf:///namespace/folder`` or ``pelican://host/namespace/folder``.
        token: Bearer token, where the namespace is not public.
        options: Further arguments of ``pelicanfs.PelicanFileSystem``, such as ``direct_reads``.
    """

    def __init__(self, url: str, *, token: str | None = None, options: dict[str, Any] | None = None) -> None:
        self.url: str = without_secrets(url.rstrip("/"))
        parts = urlsplit(self.url)
        self._federation = _OSDF if parts.scheme == "osdf" else f"pelican://{parts.netloc}"
        self._root = parts.path
        self._token = token
        self._options = options or {}

    @cached_property
    def _fs(self) -> Any:
        try:
            from pelicanfs import PelicanFileSystem
        except ImportError:
            raise StoreUnavailable(
                f"{self.url}: the library for osdf:// is not installed",
                hint="pip install 'wingspan[osdf]' (it needs Python 3.11 or newer)",
            ) from None
        options = dict(self._options)
        if self._token:
            options["headers"] = {"Authorization": f"Bearer {self._token}", **options.get("headers", {})}
        return PelicanFileSystem(self._federation, skip_instance_cache=True, **options)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _translated(self, name: str = "") -> Iterator[None]:
        import aiohttp
        from pelicanfs.exceptions import PelicanException

        try:
            yield
        except FileNotFoundError as error:
            raise ObjectNotFound(f"{self.url}/{name} is not there", hint=NOT_THERE) from error
        except (PelicanException, aiohttp.ClientError, TimeoutError) as error:
            if getattr(error, "status", None) == 404:
                raise ObjectNotFound(f"{self.url}/{name} is not there", hint=NOT_THERE) from error
            raise StoreUnavailable(
                f"{self.url}/{name} cannot be read: {error or type(error).__name__}",
                hint="check the address; where the namespace is not public, put a token in BEARER_TOKEN",
            ) from error

    def check_writable(self) -> None:
        raise self._refuse()

    def size(self, name: str) -> int | None:
        fs = self._fs
        try:
            with self._translated(name):
                size = fs.info(self._path(name)).get("size")
        except ObjectNotFound:
            return None
        return None if size is None else int(size)

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        fs = self._fs
        with self._translated(name), fs.open(self._path(name), "rb") as stream:
            yield stream

    def read_small(self, names: list[str]) -> dict[str, bytes]:
        fs = self._fs
        found = {}
        for name in names:
            with contextlib.suppress(ObjectNotFound), self._translated(name):
                found[name] = bytes(fs.cat_file(self._path(name)))
        return found

    def entries(self) -> list[Entry]:
        fs = self._fs
        with self._translated():
            listed = fs.ls(self._root, detail=True)
        return [
            Entry(
                name=entry["name"].rstrip("/").rsplit("/", 1)[-1],
                size=int(entry.get("size") or 0),
                modified=_aware(entry.get("modified")),
            )
            for entry in listed
            if entry["type"] == "file"
        ]

    def _refuse(self) -> StoreReadOnly:
        return StoreReadOnly(
            f"{self.url} is for reading: caches would keep serving what was there before",
            hint="publish at its origin: at CHTC, wingspan env publish FILE --to /staging/<letter>/<user>",
        )

    def make_folder(self) -> None:
        raise self._refuse()

    def put(self, name: str, pieces: Iterator[bytes], size: int, *, replace: bool = False) -> None:
        raise self._refuse()

    def put_small(self, name: str, content: bytes) -> None:
        raise self._refuse()

    def remove(self, name: str) -> None:
        raise self._refuse()

    def leftovers(self) -> list[Leftover]:
        return []

    def discard(self, leftover: Leftover) -> None:
        raise self._refuse()


def _aware(when: object) -> datetime | None:
    if not isinstance(when, datetime):
        return None
    return when if when.tzinfo else when.replace(tzinfo=timezone.utc)
