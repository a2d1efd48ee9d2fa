"""What the page of a Jupyter server asks Wingspan: which pool maps run on.

A server extension that `server` turns on.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from jupyter_server.base.handlers import APIHandler
from jupyter_server.utils import url_path_join
from tornado.web import authenticated

from wingspan.notebooks.attendant import NOTE

__all__ = ["PoolHandler"]

_STARTING = {"ready": False, "short": "Pool: starting …", "text": "The pool is starting."}


class PoolHandler(APIHandler):  # type: ignore[misc]
    """Answers what the attendant has written, to those who are logged in."""

    @authenticated  # type: ignore[untyped-decorator]
    def get(self) -> None:
        """The pool, as JSON."""
        try:
            told = json.loads(Path(os.environ[NOTE]).read_text(encoding="utf-8"))
        except (OSError, KeyError, ValueError):
            told = _STARTING
        self.finish(json.dumps(told))


def _jupyter_server_extension_points() -> list[dict[str, str]]:
    return [{"module": "wingspan.notebooks.page"}]


def _load_jupyter_server_extension(server: Any) -> None:
    path = url_path_join(server.web_app.settings["base_url"], "wingspan/pool")
    server.web_app.add_handlers(".*$", [(path, PoolHandler)])
