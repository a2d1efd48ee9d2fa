"""Real servers on loopback: WebDAV (wsgidav on cheroot) and S3 (moto's), each in a thread of its own."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from wingspan.stores import Store, open_store
from wingspan.stores.base import Store as BaseStore
from wingspan.stores.s3 import S3Backend

from .webdav_server import WebdavServer, serve_webdav


@pytest.fixture(autouse=True)
def _no_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Nothing of the machine's own: no tokens, no proxies, no AWS configuration."""
    home = tmp_path_factory.mktemp("home")
    for variable in (
        "BEARER_TOKEN BEARER_TOKEN_FILE AWS_PROFILE AWS_ENDPOINT_URL http_proxy https_proxy all_proxy "
        "HTTP_PROXY HTTPS_PROXY ALL_PROXY AWS_SESSION_TOKEN"
    ).split():
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(home))
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture(scope="session")
def webdav_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WebdavServer]:
    with serve_webdav(tmp_path_factory.mktemp("served")) as server:
        yield server


@pytest.fixture
def webdav(webdav_server: WebdavServer, request: pytest.FixtureRequest) -> WebdavServer:
    """An empty folder on the real server."""
    import hashlib

    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]
    folder = webdav_server.folder / name
    folder.mkdir()
    return WebdavServer(f"{webdav_server.url}/{name}", folder)


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(s3_server: str, request: pytest.FixtureRequest) -> S3Backend:
    """An empty bucket on the real server."""
    import hashlib
    import urllib.request

    bucket = f"bucket-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:20]}"
    with urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{bucket}", method="PUT")) as answer:
        assert answer.status == 200
    return S3Backend(f"s3://{bucket}/envs", endpoint_url=s3_server)


@pytest.fixture(params=["folder", "webdav", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """An empty store of each kind that can be written to."""
    if request.param == "folder":
        folder = tmp_path / "store"
        folder.mkdir()
        return open_store(folder)
    if request.param == "webdav":
        return open_store(request.getfixturevalue("webdav").url)
    backend = request.getfixturevalue("s3")
    return BaseStore(backend=backend, job_url=backend.url)


@pytest.fixture
def refused_port() -> Iterator[int]:
    """A port where nobody listens, and nobody can: it is taken for as long as the test runs."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield int(taken.getsockname()[1])


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A file of three megabytes and a bit, so that every upload has several pieces."""
    import random

    path = tmp_path / "mnist.squashfs"
    path.write_bytes(b"hsqs" + random.Random(7).randbytes(3 * (1 << 20) + 17))
    return path
