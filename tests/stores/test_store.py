"""What every store does alike, on a real folder, a real WebDAV server and a real S3 server."""

from __future__ import annotations

import hashlib
import io
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import attrs
import pytest

from wingspan.stores import (
    ContentName,
    InvalidContentName,
    ObjectExists,
    ObjectNotFound,
    SourceChanged,
    SourceDamaged,
    Store,
    StoreDamaged,
    file_digest,
)
from wingspan.stores.webdav import WebdavBackend


def digest_of(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_publish_gives_a_name_made_of_the_content(store: Store, bundle: Path) -> None:
    """The object is named by the first eight digits of its SHA-256 and found with the full digest."""
    published = store.publish(bundle)
    digest = digest_of(bundle)
    assert str(published.name) == f"mnist-{digest[:8]}.squashfs"
    assert (published.digest, published.size, published.uploaded) == (digest, bundle.stat().st_size, True)
    assert published.url == f"{store.url}/{published.name}"
    assert published.job_attributes == {
        "WingspanBundle": str(published.name),
        "WingspanBundleSHA256": digest,
    }
    found = store.find(published.name, digest)
    assert found is not None
    assert found.digest == digest
    assert store.digest_of(published.name) == digest


def test_publishing_again_skips_what_is_there(store: Store, bundle: Path) -> None:
    """A second publication of the same content uploads nothing and says so."""
    first = store.publish(bundle)
    again = store.publish(bundle)
    assert (first.uploaded, again.uploaded) == (True, False)
    assert again.name == first.name
    assert len(store.objects()) == 1


def test_the_content_is_read_back(store: Store, bundle: Path, tmp_path: Path) -> None:
    """fetch brings the same bytes, and only whole."""
    published = store.publish(bundle)
    target = tmp_path / "copy"
    store.fetch(published.name, target)
    assert target.read_bytes() == bundle.read_bytes()


def test_another_content_under_the_name_is_not_overwritten(store: Store, bundle: Path) -> None:
    """A damaged or foreign object under the name is left as it is, and named in the error."""
    digest = digest_of(bundle)
    name = ContentName.of("mnist", digest, "squashfs")
    store.backend.put(str(name), iter([b"something else"]), 14)
    with pytest.raises(ObjectExists, match=str(name)):
        store.publish(bundle)
    with store.backend.open(str(name)) as stream:
        assert stream.read() == b"something else"


def test_put_refuses_a_name_that_is_taken(store: Store) -> None:
    """The place itself refuses to replace, so two uploaders cannot overwrite each other."""
    store.backend.put("a-00000000.tar", iter([b"first"]), 5)
    with pytest.raises(FileExistsError):
        store.backend.put("a-00000000.tar", iter([b"other"]), 5)
    with store.backend.open("a-00000000.tar") as stream:
        assert stream.read() == b"first"
    assert store.backend.leftovers() == []


def test_a_failing_source_leaves_nothing(store: Store) -> None:
    """If the source fails in the middle, nothing lies under the name; folder and S3 keep no part either.

    A WebDAV server may still be busy with the broken request when asked to remove the part: `prune` does.
    """

    def failing() -> Iterator[bytes]:
        yield b"x" * (1 << 20)
        raise RuntimeError("the disk died")

    with pytest.raises(RuntimeError, match="the disk died"):
        store.backend.put("a-00000000.tar", failing(), 2 << 20)
    assert store.backend.size("a-00000000.tar") is None
    assert store.backend.entries() == []
    if not isinstance(store.backend, WebdavBackend):
        assert store.backend.leftovers() == []


def test_a_source_that_changes_is_not_published(
    store: Store, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file that is written to between hashing and sending is refused before anything is in place."""
    import wingspan.stores.base as base

    def hash_then_change(path: Path, progress: Any = None) -> str:
        digest = file_digest(path)
        with path.open("r+b") as stream:
            stream.write(b"changed")
        return digest

    monkeypatch.setattr(base, "file_digest", hash_then_change)
    with pytest.raises(SourceChanged, match=r"mnist\.squashfs"):
        store.publish(bundle)
    assert store.backend.entries() == []


@pytest.mark.parametrize("verify", [True, False])
def test_a_wrong_digest_is_not_taken_on_trust(store: Store, bundle: Path, verify: bool) -> None:
    """A caller who says the wrong digest gets an error, and no object that lies about its content stays."""
    with pytest.raises((SourceChanged, StoreDamaged)):
        store.publish(bundle, digest="0" * 64, verify=verify)
    assert store.backend.entries() == []


def test_a_known_digest_saves_a_reading(store: Store, bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the right digest the file is not hashed beforehand, and published as without."""
    import wingspan.stores.base as base

    digest = digest_of(bundle)
    monkeypatch.setattr(base, "file_digest", None)
    assert store.publish(bundle, digest=digest).digest == digest
    assert store.digest_of(ContentName.of("mnist", digest, "squashfs")) == digest


def test_what_comes_back_different_is_removed(
    store: Store, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """If the store gives back other bytes than it was sent, publish fails and leaves nothing to be used."""

    @attrs.frozen
    class FlippingABit:
        """The real backend, with one bit of what is read back flipped."""

        real: Any

        def __getattr__(self, name: str) -> Any:
            return getattr(self.real, name)

        @contextmanager
        def open(self, name: str) -> Iterator[BinaryIO]:
            with self.real.open(name) as stream:
                content = bytearray(stream.read())
            content[1000] ^= 1
            yield io.BytesIO(bytes(content))

    broken = attrs.evolve(store, backend=FlippingABit(store.backend))
    with pytest.raises(StoreDamaged, match="came back different"):
        broken.publish(bundle)
    assert store.backend.entries() == []


def test_an_upload_without_its_digest_is_completed(store: Store, bundle: Path) -> None:
    """An uploader killed between object and digest leaves it incomplete; the next publication mends that."""
    published = store.publish(bundle)
    store.backend.remove(published.name.sidecar)
    assert store.find(published.name, digest_of(bundle)) is None
    assert [each.digest for each in store.objects()] == [None]
    assert not store.publish(bundle).uploaded
    assert store.find(published.name, digest_of(bundle)) is not None


def test_without_verification_a_short_object_is_still_noticed(store: Store, bundle: Path) -> None:
    """Skipping the read-back still compares size and digest file."""
    digest = digest_of(bundle)
    store.backend.put(f"mnist-{digest[:8]}.squashfs", iter([b"cut"]), 3)
    with pytest.raises(ObjectExists):
        store.publish(bundle, verify=False)


def test_fetch_refuses_an_altered_object(store: Store, bundle: Path, tmp_path: Path) -> None:
    """One altered byte in the store is an error that names the object, and no file appears."""
    published = store.publish(bundle)
    altered = bytearray(bundle.read_bytes())
    altered[-1] ^= 1
    store.backend.remove(str(published.name))
    store.backend.put(str(published.name), iter([bytes(altered)]), len(altered))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(StoreDamaged, match=str(published.name)):
        store.fetch(published.name, tmp_path / "copy")
    assert sorted(tmp_path.iterdir()) == before


def test_fetch_of_nothing(store: Store, tmp_path: Path) -> None:
    """An object that is not there is a FileNotFoundError that says where it was looked for."""
    with pytest.raises(ObjectNotFound, match=r"no mnist-00000000\.sif in "):
        store.fetch(ContentName.parse("mnist-00000000.sif"), tmp_path / "copy")


def test_objects_pass_over_other_files(store: Store, bundle: Path) -> None:
    """Files whose names say no content are neither listed nor touched."""
    store.backend.put_small("README.md", b"hello")
    published = store.publish(bundle, name="gpu", kind="sif")
    assert [str(each.name) for each in store.objects()] == [str(published.name)]
    assert store.objects()[0].last_used is not None


def test_remove_takes_object_and_digest(store: Store, bundle: Path) -> None:
    """Removing an object leaves nothing of it; removing it twice is no error."""
    published = store.publish(bundle)
    store.remove(published.name)
    store.remove(published.name)
    assert store.backend.entries() == []


def test_an_empty_file_can_be_published(store: Store, tmp_path: Path) -> None:
    """Even nothing at all has a digest, and is published under it."""
    (tmp_path / "empty.tar").write_bytes(b"")
    published = store.publish(tmp_path / "empty.tar")
    assert str(published.name) == "empty-e3b0c442.tar"
    assert store.digest_of(published.name) == hashlib.sha256(b"").hexdigest()


def test_sha256sum_checks_what_is_published(tmp_path: Path, bundle: Path) -> None:
    """The digest file is one that sha256sum -c accepts, and refuses after a change."""
    from wingspan.stores import open_store

    folder = tmp_path / "store"
    folder.mkdir()
    published = open_store(folder).publish(bundle)
    check = ["sha256sum", "--status", "-c", published.name.sidecar]
    assert subprocess.run(check, cwd=folder, check=False).returncode == 0
    (folder / str(published.name)).write_bytes(b"altered")
    assert subprocess.run(check, cwd=folder, check=False).returncode == 1


@pytest.mark.parametrize(
    "text", ["mnist.sif", "mnist-b8dd14a.sif", "-b8dd14a4.sif", "a/../b-b8dd14a4.sif", "a-B8DD14A4.sif"]
)
def test_names_that_are_not_content_names(text: str) -> None:
    """Anything but <name>-<8 hex digits>.<kind> is refused, paths first of all."""
    with pytest.raises(InvalidContentName):
        ContentName.parse(text)


def test_a_file_without_suffix_needs_a_kind(store: Store, tmp_path: Path) -> None:
    """A file that does not say what it is cannot be published without --kind."""
    (tmp_path / "image").write_bytes(b"x")
    with pytest.raises(InvalidContentName, match="no suffix"):
        store.publish(tmp_path / "image")
    assert str(store.publish(tmp_path / "image", kind="sif").name) == "image-2d711642.sif"


def test_a_damaged_bundle_gets_no_new_name(store: Store, tmp_path: Path, bundle: Path) -> None:
    """A bundle that is not what its name or the digest beside it says is refused, not published as
    something else.
    """
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    named = tmp_path / f"mnist-{digest[:8]}.squashfs"
    named.write_bytes(bundle.read_bytes()[:-1] + b"?")
    with pytest.raises(SourceDamaged, match=digest[:8]):
        store.publish(named)
    beside = tmp_path / "mnist.squashfs"
    beside.write_bytes(named.read_bytes())
    (tmp_path / "mnist.squashfs.sha256").write_text(f"{digest}  mnist.squashfs\n")
    with pytest.raises(SourceDamaged, match=digest):
        store.publish(beside, name="other")
    assert store.backend.entries() == []
    dated = tmp_path / "mnist-20261121.squashfs"
    dated.write_bytes(b"x")
    assert store.publish(dated, name="mnist").uploaded


def test_publishing_what_is_not_there(store: Store, tmp_path: Path) -> None:
    """A path that is no file is a FileNotFoundError naming it."""
    with pytest.raises(ObjectNotFound, match="nothing-here"):
        store.publish(tmp_path / "nothing-here.sif")
