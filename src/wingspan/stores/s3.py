"""An S3 bucket, or a prefix in one, as a store; through s3fs (fsspec)."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime, timezone
from functools import cached_property
from typing import Any, BinaryIO

from wingspan.stores.base import Entry, Leftover
from wingspan.stores.errors import NOT_THERE, ObjectNotFound, StoreFull, StoreReadOnly, StoreUnavailable

__all__ = ["S3Backend"]

#: Bytes of one part of a multipart upload. S3 allows 10,000 parts: 640 GB.
_PART_SIZE = 64 << 20


class S3Backend:
    """Objects under ``s3://bucket/prefix``.

    An upload in parts appears when it is completed, and is refused then if the name has come to be taken
    (``If-None-Match``, which Amazon's S3 and most others honour; one that does not would put the same content
    in place again).

    Args:
        url: ``s3://bucket`` or ``s3://bucket/prefix``.
        endpoint_url: Of a server that is not Amazon's.
        options: Further arguments of ``s3fs.S3FileSystem``. Credentials come from where the AWS tools look
            for them.
    """

    def __init__(
        self, url: str, *, endpoint_url: str | None = None, options: dict[str, Any] | None = None
    ) -> None:
        self.url: str = url.rstrip("/")
        self._root = self.url.removeprefix("s3://")
        self._endpoint = endpoint_url
        self._options = options or {}

    @cached_property
    def _fs(self) -> Any:
        try:
            import s3fs  # type: ignore[import-untyped,unused-ignore]
        except ImportError:
            raise StoreUnavailable(
                f"{self.url}: the library for S3 is not installed", hint="pip install 'wingspan[s3]'"
            ) from None
        return s3fs.S3FileSystem(endpoint_url=self._endpoint, use_listings_cache=False, **self._options)

    def _path(self, name: str) -> str:
        return f"{self._root}/{name}"

    @contextlib.contextmanager
    def _translated(self, name: str = "") -> Iterator[None]:
        # botocore is there whenever s3fs is
        from botocore.exceptions import BotoCoreError, ClientError  # type: ignore[import-untyped,unused-ignore]

        try:
            yield
        except FileNotFoundError as error:
            raise ObjectNotFound(
                f"no {name or 'such bucket'} in {self.url}: {error}", hint=NOT_THERE
            ) from error
        except PermissionError as error:
            raise StoreReadOnly(
                f"{self.url}: the server refuses: {error}",
                hint="check the credentials (AWS_PROFILE, AWS_ACCESS_KEY_ID, ~/.aws) and the bucket's policy",
            ) from error
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in {"PreconditionFailed", "412", "ConditionalRequestConflict"}:
                raise FileExistsError(name) from error
            if code in {"QuotaExceeded", "XMinioStorageFull", "InsufficientStorage", "507"}:
                raise StoreFull(f"{self.url} is full: {error}", hint="ask for a larger quota") from error
            raise StoreUnavailable(
                f"{self.url}: {error}", hint="check the endpoint and the credentials"
            ) from error
        except (BotoCoreError, ConnectionError, TimeoutError) as error:
            raise StoreUnavailable(
                f"{self.url} does not answer: {error}", hint="check the endpoint and the credentials"
            ) from error
        except OSError as error:
            # s3fs turns a refused precondition into an OSError and keeps the server's answer as its cause
            cause = error.__cause__
            if isinstance(cause, ClientError) and "Precondition" in str(cause):
                raise FileExistsError(name) from error
            raise

    def check_writable(self) -> None:
        self.size(".wingspan")  # says whether anybody answers; what may be written only an upload tells

    def size(self, name: str) -> int | None:
        fs = self._fs
        try:
            with self._translated(name):
                return int(fs.info(self._path(name), refresh=True)["size"])
        except ObjectNotFound:
            return None

    @contextlib.contextmanager
    def open(self, name: str) -> Iterator[BinaryIO]:
        fs = self._fs
        with self._translated(name), fs.open(self._path(name), "rb", block_size=_PART_SIZE) as stream:
            yield stream

    def make_folder(self) -> None:
        """A bucket has none: a prefix is there with its first object."""

    def put(self, name: str, pieces: Iterator[bytes], size: int, *, replace: bool = False) -> None:
        fs = self._fs
        with self._translated(name):
            stream = fs.open(self._path(name), "wb" if replace else "xb", block_size=_PART_SIZE)
            try:
                for piece in pieces:
                    stream.write(piece)
            except BaseException:
                stream.discard()
                stream.closed = True  # or its finalizer would complete what was just given up
                raise
            try:
                stream.close()
            except BaseException:
                stream.closed = True
                raise

    def put_small(self, name: str, content: bytes) -> None:
        fs = self._fs
        with self._translated(name):
            fs.pipe_file(self._path(name), content)

    def read_small(self, names: list[str]) -> dict[str, bytes]:
        if not names:
            return {}
        fs = self._fs
        with self._translated():
            found = fs.cat([self._path(name) for name in names], on_error="omit")
        return {path.rsplit("/", 1)[1]: content for path, content in found.items()}

    def entries(self) -> list[Entry]:
        fs = self._fs
        try:
            with self._translated():
                listed = fs.ls(self._root, detail=True, refresh=True)
        except ObjectNotFound:
            return []  # a prefix under which nothing lies yet
        return [
            Entry(
                name=entry["name"].rsplit("/", 1)[1],
                size=int(entry["size"] or 0),
                modified=entry.get("LastModified"),
            )
            for entry in listed
            if entry["type"] == "file" and "/" in entry["name"]
        ]

    def remove(self, name: str) -> None:
        fs = self._fs
        with contextlib.suppress(ObjectNotFound), self._translated(name):
            fs.rm_file(self._path(name))

    def leftovers(self) -> list[Leftover]:
        """Uploads in parts that were begun and neither completed nor given up; they cost what an object
        costs.
        """
        bucket, _, prefix = self._root.partition("/")
        prefix = f"{prefix}/" if prefix else ""
        fs = self._fs
        with self._translated():
            answer = fs.call_s3("list_multipart_uploads", Bucket=bucket, Prefix=prefix)
        return [
            Leftover(
                name=upload["Key"].removeprefix(prefix),
                size=0,
                modified=_aware(upload.get("Initiated")),
                handle=(bucket, upload["Key"], upload["UploadId"]),
            )
            for upload in answer.get("Uploads", [])
            if "/" not in upload["Key"].removeprefix(prefix)
        ]

    def discard(self, leftover: Leftover) -> None:
        handle = leftover.handle
        assert isinstance(handle, tuple)
        bucket, key, upload = handle
        fs = self._fs
        with contextlib.suppress(ObjectNotFound), self._translated(leftover.name):
            fs.call_s3("abort_multipart_upload", Bucket=bucket, Key=key, UploadId=upload)


def _aware(when: datetime | None) -> datetime | None:
    return when if when is None or when.tzinfo else when.replace(tzinfo=timezone.utc)
