"""A real WebDAV server on loopback: in a thread, or (run as a program) alone in a process that lives until
its input ends.
"""

from __future__ import annotations

import contextlib
import resource
import signal
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import attrs


@attrs.frozen
class WebdavServer:
    """A running WebDAV server: its address, and the folder that it serves."""

    url: str
    folder: Path


@contextlib.contextmanager
def serve_webdav(folder: Path, users: dict[str, str] | None = None) -> Iterator[WebdavServer]:
    """Serve `folder` by WebDAV on a free port of loopback."""
    from cheroot.wsgi import Server
    from wsgidav.wsgidav_app import WsgiDAVApp

    app = WsgiDAVApp(
        {
            "provider_mapping": {"/": str(folder)},
            "simple_dc": {
                "user_mapping": {
                    "*": {name: {"password": word} for name, word in users.items()} if users else True
                }
            },
            "verbose": 1,
            "logging": {"enable": False},
            "lock_storage": True,
            "property_manager": True,
        }
    )
    server = Server(("127.0.0.1", 0), app, numthreads=4)
    server.prepare()
    thread = threading.Thread(target=server.serve, daemon=True)
    thread.start()
    try:
        yield WebdavServer(f"http://127.0.0.1:{server.bind_addr[1]}", folder)
    finally:
        server.stop()
        thread.join()


if __name__ == "__main__":
    # webdav_server.py FOLDER BYTES: no file may grow beyond so many bytes, as on a full disk
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
    with serve_webdav(Path(sys.argv[1])) as server:
        print(server.url, flush=True)
        sys.stdin.read()
