"""Reading through a Pelican federation. The federation is a fake (a director that redirects to one real
WebDAV server as its cache): the OSDF itself cannot be had by the tests. pelicanfs is the real one."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from wingspan.stores import ContentName, Store, StoreDamaged, StoreReadOnly, StoreUnavailable, open_store
from wingspan.stores.osdf import PelicanBackend

from .webdav_server import serve_webdav

pytestmark = pytest.mark.skipif(sys.version_info < (3, 11), reason="pelicanfs needs Python 3.11")


class FakeFederation:
    """What a client sees of a federation: a director, and one cache that also lists collections."""

    def __init__(self, cache: str) -> None:
        class Director(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(307)
                self.send_header("Location", cache + self.path)
                self.send_header("Link", f'<{cache}{self.path}>; rel="duplicate"; pri=1; depth=2')
                self.send_header(
                    "X-Pelican-Namespace", f"namespace=/chtc, require-token=false, collections-url={cache}"
                )
                self.send_header("Content-Length", "0")
                self.end_headers()

            do_PROPFIND = do_GET

            def log_message(self, format: str, *args: object) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Director)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/"

    def stop(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    """The origin's folder: at CHTC, /staging/b/bbadger."""
    folder = tmp_path / "origin" / "chtc" / "staging" / "b" / "bbadger"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def osdf(tmp_path: Path, staging: Path) -> Iterator[Store]:
    """osdf:///chtc/staging/b/bbadger of the fake federation."""
    with serve_webdav(tmp_path / "origin") as cache:
        federation = FakeFederation(cache.url)
        store = open_store("osdf:///chtc/staging/b/bbadger")
        assert isinstance(store.backend, PelicanBackend)
        store.backend._fs.director_url = federation.url
        yield store
        federation.stop()


def test_what_was_published_to_the_origin_is_read_through_the_federation(
    staging: Path, osdf: Store, bundle: Path, tmp_path: Path
) -> None:
    """An object published to the origin's folder is found, listed, read and checked under its osdf://
    address.
    """
    published = open_store(staging).publish(bundle)
    assert published.digest is not None
    assert [str(each.name) for each in osdf.objects()] == [str(published.name)]
    found = osdf.find(published.name, published.digest)
    assert found is not None
    assert found.size == published.size
    assert found.url == f"osdf:///chtc/staging/b/bbadger/{published.name}"
    osdf.fetch(published.name, tmp_path / "copy")
    assert (tmp_path / "copy").read_bytes() == bundle.read_bytes()


def test_stale_content_in_a_cache_is_noticed(
    staging: Path, osdf: Store, bundle: Path, tmp_path: Path
) -> None:
    """A cache that serves another content under the name is found out by the digest."""
    published = open_store(staging).publish(bundle)
    (staging / str(published.name)).write_bytes(b"what was there last year")
    with pytest.raises(StoreDamaged):
        osdf.fetch(published.name, tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_what_is_not_there(osdf: Store) -> None:
    """An object that the federation does not have is None, not an error."""
    assert osdf.find(ContentName.parse("env-00000000.sif"), 64 * "0") is None


def test_publishing_through_caches_is_refused(osdf: Store, bundle: Path) -> None:
    """Nothing is published through caches; the error says where the origin is."""
    with pytest.raises(StoreReadOnly, match="/staging/<letter>/<user>"):
        osdf.publish(bundle)


def test_publishing_to_a_federation_asks_nobody(bundle: Path, refused_port: int) -> None:
    """That it is for reading is said before the file is read or the network is used."""
    with pytest.raises(StoreReadOnly, match="for reading"):
        open_store(f"pelican://127.0.0.1:{refused_port}/chtc").publish(bundle)


def test_a_federation_that_does_not_answer(refused_port: int) -> None:
    """A federation that cannot be reached is a ConnectionError that names the address."""
    with pytest.raises(StoreUnavailable, match=f"pelican://127.0.0.1:{refused_port}/chtc"):
        open_store(f"pelican://127.0.0.1:{refused_port}/chtc").objects()
