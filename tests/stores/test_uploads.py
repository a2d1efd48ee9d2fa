"""Uploads that go wrong: killed, at once, on a full disk, refused, on a network that is not there."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import tempfile
import textwrap
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from wingspan.stores import (
    ContentName,
    Store,
    StoreError,
    StoreFull,
    StoreReadOnly,
    StoreUnavailable,
    open_store,
)
from wingspan.stores.s3 import S3Backend
from wingspan.stores.webdav import WebdavBackend

from .webdav_server import WebdavServer, serve_webdav

_UPLOAD_AND_STALL = """
import sys, time
from wingspan.stores.folder import FolderBackend
from wingspan.stores.s3 import S3Backend
from wingspan.stores.webdav import WebdavBackend

def pieces():
    # S3 sends a part when 64 MiB have come together; the others send at once
    for _ in range(70):
        yield b"x" * (1 << 20)
    print("in the middle", flush=True)
    time.sleep(600)

backend = {backend}
backend.put("env-00000000.tar", pieces(), 600 << 20)
"""


def start_stalled_upload(backend: str) -> subprocess.Popen[str]:
    """A process in the middle of an upload."""
    process = subprocess.Popen(
        [sys.executable, "-c", _UPLOAD_AND_STALL.format(backend=backend)], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "in the middle\n"
    return process


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def test_an_upload_killed_in_the_middle_leaves_no_object(tmp_path: Path) -> None:
    """kill -9 leaves nothing under the name; the part counts as left over only once its writer is dead."""
    folder = tmp_path / "store"
    folder.mkdir()
    process = start_stalled_upload(f"FolderBackend(__import__('pathlib').Path({str(folder)!r}))")
    backend = open_store(folder).backend
    try:
        assert backend.leftovers() == [], "a living upload's part was taken for a leftover"
        assert list(folder.iterdir()), "the upload has begun"
    finally:
        kill(process)
    assert backend.size("env-00000000.tar") is None
    assert backend.entries() == []
    [leftover] = backend.leftovers()
    assert leftover.size == 70 << 20
    backend.discard(leftover)
    assert list(folder.iterdir()) == []


def test_an_upload_to_s3_killed_in_the_middle_leaves_no_object(s3: S3Backend, s3_server: str) -> None:
    """kill -9 during an upload in parts leaves no object; its parts are found and can be given up."""
    kill(start_stalled_upload(f"S3Backend({s3.url!r}, endpoint_url={s3_server!r})"))
    assert s3.size("env-00000000.tar") is None
    assert s3.entries() == []
    [leftover] = s3.leftovers()
    assert leftover.name == "env-00000000.tar"
    s3.discard(leftover)
    assert s3.leftovers() == []


def test_an_upload_to_webdav_killed_in_the_middle_leaves_no_object(webdav: WebdavServer) -> None:
    """kill -9 during a PUT leaves nothing under the name, whatever the server makes of the half request."""
    kill(start_stalled_upload(f"WebdavBackend({webdav.url!r})"))
    backend = WebdavBackend(webdav.url)
    assert backend.size("env-00000000.tar") is None
    assert backend.entries() == []


def test_two_uploaders_at_once(store: Store, bundle: Path) -> None:
    """Two publications of one file at the same time end in one whole object, and neither fails."""
    barrier = threading.Barrier(2)
    results: list[object] = []

    def publish() -> None:
        barrier.wait()
        try:
            results.append(store.publish(bundle))
        except Exception as error:
            results.append(error)

    threads = [threading.Thread(target=publish) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    names = {getattr(result, "name", result) for result in results}
    digest = hashlib.sha256(bundle.read_bytes()).hexdigest()
    assert names == {ContentName.of("mnist", digest, "squashfs")}, results
    assert len(store.objects()) == 1
    assert store.digest_of(store.objects()[0].name) == digest


def test_many_processes_publish_into_one_folder(tmp_path: Path, bundle: Path) -> None:
    """Of four processes that publish the same file exactly one uploads it, and all end well."""
    folder = tmp_path / "store"
    folder.mkdir()
    program = textwrap.dedent(
        """
        import sys
        from pathlib import Path
        from wingspan.stores import open_store
        sys.stdin.readline()
        print(open_store(sys.argv[1]).publish(Path(sys.argv[2])).uploaded)
        """
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", program, str(folder), str(bundle)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    answers = [process.communicate()[0].strip() for process in processes]
    assert sorted(answers) == ["False", "False", "False", "True"]
    assert len(list(folder.iterdir())) == 2


def test_a_quota_in_the_middle_of_an_upload(tmp_path: Path, bundle: Path) -> None:
    """When the file system refuses further bytes, the error says so and not a byte is left in the store."""
    folder = tmp_path / "store"
    folder.mkdir()
    program = textwrap.dedent(
        """
        import resource, signal, sys
        from pathlib import Path
        from wingspan.stores import StoreFull, open_store
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
        try:
            open_store(sys.argv[1]).publish(Path(sys.argv[2]))
        except StoreFull as error:
            print(error)
        """
    )
    answer = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(bundle)], capture_output=True, text=True, check=True
    )
    assert f"{folder} is full" in answer.stdout
    assert "store prune" in answer.stdout
    assert list(folder.iterdir()) == []


def test_a_disk_without_room_is_noticed_before_writing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file larger than what is free is refused with both figures, before a byte is written."""
    import shutil

    store = open_store(tmp_path)
    free = shutil.disk_usage(tmp_path).free
    with pytest.raises(StoreFull, match=r"has [\d,]+\.\d MB free; .* needs [\d,]+\.\d MB"):
        store.backend.put("env-00000000.tar", iter([]), 2 * free + (1 << 40))
    assert list(tmp_path.iterdir()) == []


def test_a_server_whose_disk_is_full(tmp_path: Path, bundle: Path) -> None:
    """If the server cannot keep the file, publishing fails and nothing can be found under the name."""
    folder = tmp_path / "served"
    folder.mkdir()
    with subprocess.Popen(
        [sys.executable, str(Path(__file__).with_name("webdav_server.py")), str(folder), str(1 << 20)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as server:
        assert server.stdout is not None
        url = server.stdout.readline().strip()
        with pytest.raises(StoreError, match=url):
            open_store(url).publish(bundle)
        assert open_store(url).objects() == []


def test_a_folder_that_cannot_be_written() -> None:
    """A folder of somebody else is named as read-only (root, who may write everywhere, becomes nobody for
    it).
    """
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o555)
        root = os.geteuid() == 0
        if root:
            os.seteuid(65534)
        try:
            with pytest.raises(StoreReadOnly, match="cannot be written"):
                open_store(name).backend.put("env-00000000.tar", iter([b"x"]), 1)
        finally:
            if root:
                os.seteuid(0)


def test_a_folder_that_is_not_there(tmp_path: Path, bundle: Path) -> None:
    """A missing folder is not made silently: a mistyped path would take gigabytes to the wrong place."""
    with pytest.raises(StoreUnavailable, match="is not a folder"):
        open_store(tmp_path / "mistyped").publish(bundle)


def test_a_server_that_does_not_answer(refused_port: int, bundle: Path) -> None:
    """Nobody at the address is a ConnectionError that names it."""
    with pytest.raises(StoreUnavailable, match=f"127.0.0.1:{refused_port}"):
        open_store(f"http://127.0.0.1:{refused_port}").publish(bundle)


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [(200, {}, b"<html>log in</html>"), (207, {}, b"<multistatus"), (302, {"Location": "/round"}, b"")],
    ids=["page", "cut", "circle"],
)  # fmt: skip
def test_a_server_that_speaks_something_else(
    status: int, headers: dict[str, str], body: bytes, bundle: Path
) -> None:
    """A page to log in at, half an answer, and addresses that lead in a circle are told with the address."""

    class Other(BaseHTTPRequestHandler):
        def do_PROPFIND(self) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": str(len(body)), **headers}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

        do_OPTIONS = do_PROPFIND

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Other) as server:
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        address = f"127.0.0.1:{server.server_port}"
        for asked in (
            lambda: open_store(f"http://{address}").objects(),
            lambda: open_store(f"http://{address}").publish(bundle),
        ):
            with pytest.raises(StoreUnavailable, match=address):
                asked()
        server.shutdown()


def test_an_s3_server_that_does_not_answer(refused_port: int) -> None:
    """Nobody at the S3 endpoint is a ConnectionError that names the bucket."""
    backend = S3Backend(
        "s3://bucket/envs",
        endpoint_url=f"http://127.0.0.1:{refused_port}",
        options={"config_kwargs": {"retries": {"max_attempts": 1}, "connect_timeout": 2}},
    )
    with pytest.raises(StoreUnavailable, match="s3://bucket/envs"):
        backend.entries()


def test_a_bucket_that_is_not_there(s3_server: str) -> None:
    """Publishing into a bucket that does not exist names the bucket."""
    backend = S3Backend("s3://no-such-bucket/envs", endpoint_url=s3_server)
    with pytest.raises(StoreError, match="no-such-bucket"):
        backend.put_small("a", b"b")


def test_wrong_password(tmp_path: Path, bundle: Path) -> None:
    """A refused password is told as such, with where to look; the right one works."""
    with serve_webdav(tmp_path, {"ada": "lovelace"}) as server:
        right = WebdavBackend(server.url, username="ada", password="lovelace")
        wrong = WebdavBackend(server.url, username="ada", password="byron")
        with pytest.raises(StoreReadOnly, match="401"):
            wrong.put("env-00000000.tar", iter([b"x"]), 1)
        right.put("env-00000000.tar", iter([b"x"]), 1)
        assert right.size("env-00000000.tar") == 1


def test_a_folder_of_the_server_that_is_not_there(webdav: WebdavServer, bundle: Path) -> None:
    """A path that is no folder on the server is an error that names it and says how to make it."""
    store = open_store(f"{webdav.url}/missing")
    for ask in (lambda: store.publish(bundle), store.objects):
        with pytest.raises(StoreError, match="missing") as caught:
            ask()
        assert "MKCOL" in caught.value.hint
