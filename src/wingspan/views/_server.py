"""The faces on a page: a small server for one person, on loopback, with a token.

It sends what changes as it changes.
"""

from __future__ import annotations

import contextlib
import hmac
import http.cookies
import http.server
import json
import logging
import queue
import secrets
import threading
import urllib.parse
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from wingspan.errors import WingspanError
from wingspan.views._cells import LAYERS
from wingspan.views._live import Live
from wingspan.views._model import Cells, View, entry_of
from wingspan.views._pace import CHART_APART
from wingspan.views._static import static_text

__all__ = ["Dashboard"]

_log = logging.getLogger("wingspan")

#: Seconds between two lines on a quiet connection: a browser that is gone is noticed then.
_QUIET = 15.0
#: What a browser may ask for at most, bytes.
_MOST_ASKED = 1 << 16
#: Nothing from elsewhere is loaded, nothing that is shown is executed, and no other page may frame this one.
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; connect-src 'self'; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)

#: All maps and runs by name, in the order in which they are shown.
Listing = Callable[[], Mapping[str, Live]]


class Dashboard:
    """Serves all maps and runs of this person, until `close`.

    Args:
        listing: Called whenever somebody asks what there is.
        port: 0: one that is free.

    Attributes:
        url: Its address, with the token.

    Raises:
        OSError: The port is in use.
    """

    def __init__(self, listing: Listing, port: int = 0) -> None:
        self._listing = listing
        self._sources: dict[str, Live] = {}
        self._lock = threading.Lock()
        self.token = secrets.token_urlsafe(24)
        self.cookie = f"wingspan-{secrets.token_hex(4)}"  # two of them on one host must not share it
        dashboard = self

        class Handler(_Handler):
            def __init__(self, *arguments: Any) -> None:
                self.dashboard = dashboard
                super().__init__(*arguments)

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"http://127.0.0.1:{self.port}/?token={self.token}"

    def serve(self) -> None:
        """Answer until `close` is called by another thread, or Ctrl-C comes."""
        self._server.serve_forever(poll_interval=0.2)

    def close(self) -> None:
        """Answer no more."""
        self._server.shutdown()
        self._server.server_close()

    def list(self) -> list[dict[str, Any]]:
        """All maps and runs, each as far as it can be read."""
        with self._lock:
            sources = self._sources = dict(self._listing())
        told = []
        for name, one in sources.items():
            try:
                view = one.view()
            except WingspanError as error:
                told.append({"id": name, "name": name.partition(" ")[2], "damaged": error.message})
            else:
                told.append(entry_of(name, view))
        return told

    def find(self, name: str) -> Live:
        """What is shown under that name.

        Raises:
            KeyError: There is nothing of that name.
        """
        with self._lock:
            found = self._sources.get(name)
        if found is None:
            self.list()
            with self._lock:
                found = self._sources[name]
        return found


#: Of a grid so many bytes at a time are sent again, where one of them has changed.
_STRETCH = 64


def cells_as_json(cells: Cells, before: Cells | None = None) -> dict[str, Any]:
    """For the page: the bytes in base64.

    Args:
        cells: The grid.
        before: What the page has already: of a grid of the same form only what differs is sent.
    """
    import base64

    about = attrs.asdict(cells)
    data = about.pop("data")
    if before is None or len(before.data) != len(data):
        return {**about, "data": base64.b64encode(data).decode()}
    return {
        **about,
        "changed": [
            [at, base64.b64encode(data[at : at + _STRETCH]).decode()]
            for at in range(0, len(data), _STRETCH)
            if data[at : at + _STRETCH] != before.data[at : at + _STRETCH]
        ],
    }


class _Told:
    """What a page has been told, so that only what is new is sent."""

    def __init__(self) -> None:
        self._groups: dict[str, Any] | None = None
        self._cells: Cells | None = None
        self._charted = 0.0

    def what_is_new(self, view: View, cells: Cells | None) -> dict[str, Any]:
        """The view without the parts that are as they were, and the grid if it has changed."""
        new, groups = view.now_to_json(), view.groups_to_json()
        if groups != self._groups:
            self._groups = groups
            new.update(groups)
        if view.is_done or view.now - self._charted >= CHART_APART:
            self._charted = view.now
            new["history"] = view.history
        told: dict[str, Any] = {"view": new}
        if cells is not None and cells != self._cells:
            told["cells"] = cells_as_json(cells, self._cells)
            self._cells = cells
        return told


def _wanted(query: Mapping[str, Sequence[str]]) -> tuple[int, int, str]:
    """Which grid is asked for: first component, the one behind the last, layer.

    Raises:
        KeyError, ValueError: It is not said, or there is no such layer.
    """
    layer = query["layer"][0]
    if layer not in LAYERS:
        raise ValueError(layer)
    return int(query["first"][0]), int(query["stop"][0]), layer


class _Handler(http.server.BaseHTTPRequestHandler):
    dashboard: Dashboard
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "wingspan", ""
    timeout = 60

    def log_message(self, format: str, *args: Any) -> None:
        _log.debug("dashboard: " + format, *args)

    def handle(self) -> None:
        """Answer one connection. A browser that breaks it off is none of the person's concern."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    # -- who asks --------------------------------------------------------------------------------------------

    def _is_known(self, query: Mapping[str, Sequence[str]]) -> bool:
        """The token is in the address or in the cookie, and the host is named as loopback, whatever DNS says
        of other names.
        """
        host = (self.headers.get("Host") or "").rsplit(":", 1)[0]
        if host not in ("127.0.0.1", "localhost"):
            return False
        cookies = http.cookies.SimpleCookie()
        try:
            cookies.load(self.headers.get("Cookie") or "")
        except http.cookies.CookieError:
            cookies = http.cookies.SimpleCookie()
        morsel = cookies.get(self.dashboard.cookie)
        given = [*query.get("token", ()), *([morsel.value] if morsel is not None else [])]
        return any(hmac.compare_digest(one.encode(), self.dashboard.token.encode()) for one in given)

    def _answer(self, status: int, kind: str, body: bytes, **headers: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self._common()
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def _common(self) -> None:
        self.send_header("Content-Security-Policy", _POLICY)
        self.send_header("X-Content-Type-Options", "nosniff")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")

    def _json(self, value: Any, status: int = 200) -> None:
        self._answer(status, "application/json", json.dumps(value).encode())

    # -- what is asked ---------------------------------------------------------------------------------------

    def do_GET(self) -> None:
        path, _, after = self.path.partition("?")
        query = urllib.parse.parse_qs(after.partition("#")[0])
        if not self._is_known(query):
            self._answer(
                403, "text/plain; charset=utf-8", b"open the address that wingspan dashboard prints\n"
            )
            return
        try:
            self._get(path, query)
        except (KeyError, IndexError, ValueError):
            self._json({"said": "there is no such thing"}, 404)
        except WingspanError as error:
            self._json({"said": error.message}, 409)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _get(self, path: str, query: Mapping[str, Sequence[str]]) -> None:
        if path == "/":
            # The page takes the token out of its address, where it would be seen and kept in the history. The
            # browser is not sent on to another address: it comes from a file, and would not send the cookie.
            cookie = f"{self.dashboard.cookie}={self.dashboard.token}; HttpOnly; SameSite=Strict; Path=/"
            page = static_text("page.html").encode()
            self._answer(200, "text/html; charset=utf-8", page, Set_Cookie=cookie)
        elif path in ("/view.js", "/list.js", "/page.js"):
            self._answer(200, "text/javascript; charset=utf-8", static_text(path[1:]).encode())
        elif path in ("/view.css", "/list.css", "/page.css"):
            self._answer(200, "text/css; charset=utf-8", static_text(path[1:]).encode())
        elif path == "/list":
            self._json(self.dashboard.list())
        elif path == "/detail":
            self._json(self.dashboard.find(query["of"][0]).detail(int(query["number"][0])).to_json())
        elif path == "/cells":
            self._json(cells_as_json(self.dashboard.find(query["of"][0]).cells(*_wanted(query))))
        elif path == "/events":
            wanted = _wanted(query) if "layer" in query else None
            self._events(self.dashboard.find(query["of"][0]), wanted)
        else:
            raise KeyError(path)

    def _events(self, of: Live, wanted: tuple[int, int, str] | None) -> None:
        """Server-sent events (WHATWG HTML standard, "Server-sent events"): each view as it changes, with the
        grid that is `wanted`.
        """
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self._common()
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        # Only the newest counts: a browser that reads slowly misses some.
        views: queue.Queue[View] = queue.Queue(maxsize=1)

        def seen(view: View) -> None:
            while True:
                try:
                    views.put_nowait(view)
                    return
                except queue.Full:
                    try:
                        views.get_nowait()
                    except queue.Empty:
                        continue

        end = of.watch(seen)
        told = _Told()
        try:
            while True:
                try:
                    view, cells = views.get(timeout=_QUIET), None
                    if wanted is not None:
                        with contextlib.suppress(WingspanError):  # it is gone: the grid stays as it was
                            cells = of.cells(*wanted)
                    line = f"data: {json.dumps(told.what_is_new(view, cells))}\n\n"
                except queue.Empty:
                    line = ": still here\n\n"
                self.wfile.write(line.encode())
                self.wfile.flush()
        except OSError:
            pass
        finally:
            end()

    def do_POST(self) -> None:
        # A cookie of SameSite=Strict, and a header that forms of other pages cannot set.
        if not self._is_known({}) or self.headers.get("X-Wingspan") != "1":
            self.close_connection = True  # what follows is not read, and is no request
            self._answer(403, "text/plain; charset=utf-8", b"not allowed\n")
            return
        try:
            length = int(self.headers.get("Content-Length") or 0)
            if not 0 < length <= _MOST_ASKED:
                raise ValueError("too long")
            asked = json.loads(self.rfile.read(length))
            of = self.dashboard.find(str(asked["of"]))
            action = asked["action"]
            if action not in of.view().actions:
                self._json({"said": "that cannot be done now"}, 409)
                return
            self._json({"said": of.act(action)})
        except (KeyError, ValueError, TypeError, RecursionError):
            self.close_connection = True  # some of what was sent may be left
            self._json({"said": "there is no such thing"}, 404)
        except WingspanError as error:
            self._json({"said": error.message}, 409)
