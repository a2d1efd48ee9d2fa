"""A WebDAV folder as a store (``https://``, ``http://``); through webdav4, an fsspec file system."""

from __future__ import annotations

import contextlib
import io
import os
import re
import secrets
import weakref
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from wingspan._urls import secrets_of, without_secrets
from wingspan.errors import SettingsError
from wingspan.stores.base import Entry, Leftover
from wingspan.stores.errors import NOT_THERE, ObjectNotFound, StoreFull, StoreReadOnly, StoreUnavailable
from wingspan.worker import trust

__all__ = ["WebdavBackend", "bearer_token"]

#: Seconds without a byte before the server counts as gone: a server that checksums an upload answers late.
_TIMEOUT = 120.0
_PART = re.compile(r"(?P<name>.+)\.[0-9a-f]{8}\.part")


def bearer_token() -> str | None:
    """The token of this session; None if there is none."""
    found = bearer_token_place()
    return None if found is None else found[1]


def bearer_token_place() -> tuple[str, str] | None:
    """Where the token of this session is, and the token; None if there is none.

    It is looked for where WLCG's bearer token discovery says it is.

    That is ``BEARER_TOKEN``, then the file ``BEARER_TOKEN_FILE``, then ``$XDG_RUNTIME_DIR/bt_u<uid>``, then
    ``/tmp/bt_u<uid>`` (https://zenodo.org/record/3937438).
    """
    if token := os.environ.get("BEARER_TOKEN", "").strip():
        return "BEARER_TOKEN", token
    named = os.environ.get("BEARER_TOKEN_FILE")
    places = [named]
    for folder in (os.environ.get("XDG_RUNTIME_DIR"), "/tmp"):  # noqa: S108  the place is the standard's
        places.append(f"{folder}/bt_u{os.getuid()}" if folder else None)
    for place in places:
        if place:
            # In a folder that anybody may write to: a plain file of ours, no link, and it is looked at when
            # it is open.
            opener = None if place == named else trust.opener
            with (
                contextlib.suppress(OSError, UnicodeDecodeError),
                open(place, encoding="utf-8", opener=opener) as file,
            ):
                if token := file.read(1 << 20).strip():
                    return place, token
    return None


def _is_this_machine(url: str) -> bool:
    """Nobody else is on the way: an address of the loopback interface."""
    return urlsplit(url).hostname in ("localhost", "127.0.0.1", "::1")


class _Pieces(io.RawIOBase):
    """An iterator of pieces as the readable file that the HTTP library wants."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces, self._rest = pieces, b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = next(self._pieces, b"")
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class WebdavBackend:
    """Files in a WebDAV folder.

    An upload goes to a ``.part`` name and is moved into place with ``Overwrite: F``, which the server refuses
    if the name has come to be taken.

    Args:
        url: The folder.
        username, password: For basic authentication.
        token: Sent as a bearer token; instead of a user and password.
        options: Further arguments of httpx's client, such as ``verify``.
    """

    def __init__(
        self,
        url: str,
        *,
        username: str | None = None,
        password: str | None = None,
        token: str | None = None,
        options: dict[str, Any] | None = None,
    ) -> None:
        self.url: str = without_secrets(url.rstrip("/"))
        user, secret = secrets_of(url)
        username, password = username or user, password or secret
        if (token or username) and not self.url.startswith("https://") and not _is_this_machine(self.url):
            raise SettingsError(
                f"a token or password would be sent in the clear to {self.url}",
                hint="use its https:// address",
            )
        self._auth = (username, password or "") if username else None
        self._token = token
        self._options = options or {}

    @cached_property
    def _fs(self) -> Any:
        try:
            from webdav4.fsspec import WebdavFileSystem
        except ImportError:
            raise StoreUnavailable(
                f"{self.url}: the library for WebDAV is not installed", hint="pip install 'wingspan[stores]'"
            ) from None
        headers = {"Authorization": f"Bearer {self._token}"} if self._token else {}
        fs = WebdavFileSystem(
            self.url,
            auth=self._auth,
            headers=headers,
            timeout=_TIMEOUT,
            skip_instance_cache=True,
            **self._options,
        )
        weakref.finalize(self, fs.client.http.close)
        return fs

    @contextlib.contextmanager
    def _translated(self, name: str = "") -> Iterator[None]:
        import httpx
        from webdav4.client import (
            ForbiddenOperation,
            HTTPError,
            InsufficientStorage,
            ResourceAlreadyExists,
            ResourceNotFound,
        )

        where = f"{self.url}/{name}" if name else self.url
        status = None
        try:
            yield
        except ResourceAlreadyExists as error:
            raise FileExistsError(name) from error
        except (ResourceNotFound, FileNotFoundError) as error:
            raise (
                ObjectNotFound(f"{where} is not there", hint=NOT_THERE) if name else self._no_folder()
            ) from error
        except InsufficientStorage as error:
            raise self._full(error) from error
        except ForbiddenOperation as error:
            raise StoreReadOnly(
                f"{where}: the server refuses: {error}", hint="check who may write there"
            ) from error
        except (HTTPError, httpx.HTTPStatusError) as error:
            response = error.response
            status = response.status_code
            if status in {httpx.codes.INSUFFICIENT_STORAGE, httpx.codes.REQUEST_ENTITY_TOO_LARGE}:
                raise self._full(error) from error
            if status in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN, httpx.codes.METHOD_NOT_ALLOWED}:
                raise StoreReadOnly(
                    f"{where}: the server answers {status} {response.reason_phrase}",
                    hint="check user, password or token ([store.NAME] in config.toml); it must speak WebDAV",
                ) from error
            if status in {httpx.codes.NOT_FOUND, httpx.codes.CONFLICT}:
                raise self._no_folder() from error
            raise StoreUnavailable(
                f"{where}: the server answers {status} {response.reason_phrase}",
                hint="try again later; if it stays so, ask who keeps the server",
            ) from error
        except httpx.RequestError as error:  # also an answer that leads in a circle
            raise StoreUnavailable(
                f"{self.url} does not answer: {error}", hint="check the address and the network"
            ) from error

    @contextlib.contextmanager
    def _described(self, name: str = "") -> Iterator[None]:
        """As `_translated`, where the server is asked what is there: a page to log in at is no answer."""
        with self._translated(name):
            try:
                yield
            except (ValueError, SyntaxError) as error:  # the parser of XML raises a SyntaxError
                raise StoreUnavailable(
                    f"{self.url}: the server answers something else than WebDAV: {error}",
                    hint="check the address: a page to log in at, or a proxy, may answer in its place",
                ) from error

    def _no_folder(self) -> StoreUnavailable:
        return StoreUnavailable(
            f"{self.url} is not a folder there",
            hint=f"make the folder (curl -X MKCOL {self.url}, with your user or token), or mend the address",
        )

    def _full(self, error: Exception) -> StoreFull:
        return StoreFull(
            f"{self.url} has no room: {error}", hint=f"make room: wingspan store prune {self.url}"
        )

    def check_writable(self) -> None:
        """The folder itself: an upload into one that is not there fails only at its end."""
        fs = self._fs
        with self._described():
            fs.info("")

    def size(self, name: str) -> int | None:
        fs = self._fs
        try:
            with self._described(name):
                return int(fs.info(name)["size"])
        except ObjectNotFound:
            return None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        fs = self._fs
        with self._translated(name), fs.open(name, "rb") as stream:
            yield stream

    def make_folder(self) -> None:
        fs = self._fs
        with self._described():
            if fs.client.exists(""):
                return
        parent, _, name = self.url.rpartition("/")
        if not urlsplit(parent).netloc:
            raise self._no_folder()
        above = WebdavBackend(parent, token=self._token, options=self._options)
        above._auth = self._auth
        above.make_folder()
        with above._translated(name), contextlib.suppress(FileExistsError):
            above._fs.client.mkdir(unquote(name))

    def put(self, name: str, pieces: Iterator[bytes], size: int, *, replace: bool = False) -> None:
        fs = self._fs
        part = f"{name}.{secrets.token_hex(4)}.part"
        try:
            with self._translated(name):
                fs.client.upload_fileobj(
                    io.BufferedReader(_Pieces(pieces), 1 << 20), part, overwrite=True, size=size
                )
                fs.client.move(part, name, overwrite=replace)
        except BaseException:
            with contextlib.suppress(Exception):  # the first error is the one to tell
                fs.client.remove(part)
            raise

    def put_small(self, name: str, content: bytes) -> None:
        fs = self._fs
        part = f"{name}.{secrets.token_hex(4)}.part"
        with self._translated(name):
            fs.client.upload_fileobj(io.BytesIO(content), part, overwrite=True, size=len(content))
            fs.client.move(part, name, overwrite=True)

    def read_small(self, names: list[str]) -> dict[str, bytes]:
        found = {}
        for name in names:
            with contextlib.suppress(ObjectNotFound), self.open(name) as stream:
                found[name] = stream.read()
        return found

    def _files(self) -> list[Entry]:
        fs = self._fs
        with self._described():
            listed = fs.ls("", detail=True)
        return [
            Entry(
                name=entry["name"].rstrip("/").rsplit("/", 1)[-1],
                size=int(entry.get("size") or 0),
                modified=_aware(entry.get("modified")),
            )
            for entry in listed
            if entry["type"] == "file"
        ]

    def entries(self) -> list[Entry]:
        return [entry for entry in self._files() if not _PART.fullmatch(entry.name)]

    def remove(self, name: str) -> None:
        fs = self._fs
        with contextlib.suppress(ObjectNotFound), self._translated(name):
            fs.client.remove(name)

    def leftovers(self) -> list[Leftover]:
        """Parts; the server cannot say whether their writers live, so `prune` goes by their age."""
        return [
            Leftover(name=entry.name, size=entry.size, modified=entry.modified, handle=entry.name)
            for entry in self._files()
            if _PART.fullmatch(entry.name)
        ]

    def discard(self, leftover: Leftover) -> None:
        self.remove(str(leftover.handle))


def _aware(when: datetime | None) -> datetime | None:
    return when if when is None or when.tzinfo else when.replace(tzinfo=timezone.utc)
