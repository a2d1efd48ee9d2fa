"""JupyterLab's page, in a real browser: it says which pool maps run on."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from _browser import browser, page
from _jupyter import Server
from wingspan.pools.personal import PersonalPool

__all__ = ["browser", "page"]

Serve = Callable[..., Server]


def test_status_bar_says_which_pool_it_is(serve: Serve, own_pool: PersonalPool, page: Any) -> None:
    """Below a path prefix, too: the status bar names the pool once it is ready, and tells more when one
    points at it.
    """
    server = serve("--", "--ServerApp.base_url=/user/me/").wait_until_up()
    page.goto(f"{server.url}lab?token={server.token}")
    item = page.locator("#jp-main-statusbar #wingspan-pool")
    item.get_by_text("Pool: personal").wait_for()
    assert "Maps run on the personal pool on this machine: HTCondor" in item.get_attribute("title")
    assert item.get_attribute("role") == "status"


def test_only_who_is_logged_in_learns_of_the_pool(serve: Serve) -> None:
    """The page's question is answered with the token, and without it refused; hostile text of a setting
    stays text.
    """
    hostile = "<img src=x onerror=alert(1)>"
    server = serve(environment={"CONDOR_CONFIG": f"/nonexistent/{hostile}"}).wait_until_up()
    server.says("There is no pool")
    status, body = server.get("wingspan/pool")
    assert status == 200
    assert json.loads(body)["short"] == "Pool: none"
    assert hostile in json.loads(body)["text"]
    assert server.get("wingspan/pool", token=False)[0] == 403
