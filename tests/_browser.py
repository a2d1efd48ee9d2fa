"""A real browser for tests: pages of Wingspan's, and JupyterLab."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from _waiting import PATIENCE

#: Rules of axe-core that are no concern of a part of a page that others own.
NOT_OURS = ("page-has-heading-one", "region", "landmark-one-main")


def find_browser() -> str | None:
    """Chromium's program."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next((found for name in names if (found := shutil.which(name))), None)


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """A headless Chromium; ``tools/engines/chromium.py`` obtains it."""
    playwright = pytest.importorskip("playwright.sync_api")
    program = find_browser()
    if program is None:
        pytest.skip("no Chromium: python tools/engines/chromium.py")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser: Any) -> Iterator[Any]:
    """A new page; an error in a script of it, or a dialog, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    opened = context.new_page()
    opened.set_default_timeout(PATIENCE * 1000)
    faults: list[str] = []
    opened.on("pageerror", lambda error: None if _is_notebook_s(error) else faults.append(str(error)))
    opened.on("dialog", lambda dialog: (faults.append(f"a dialog: {dialog.message}"), dialog.dismiss()))
    yield opened
    context.close()
    assert faults == [], faults


def _is_notebook_s(error: Any) -> bool:
    """Notebook 7.6 itself complains of a setting while it loads: no line of ours is in that error's stack."""
    stack = error.stack or ""
    return "/static/notebook/" in stack and "blob:" not in stack


def violations(page: Any, within: str | None = None) -> list[str]:
    """What axe-core finds wrong for people who cannot see, or use the keyboard alone."""
    axe = pytest.importorskip("axe_playwright_python")
    page.evaluate((Path(axe.__file__).parent / "axe.min.js").read_text())
    # All rules are applied to every element. What they approve of is not described: on large pages that takes
    # longer than the rules, and sending it here as long again.
    found = page.evaluate(
        "([within, rules]) => axe.run(within ? { include: [[within]] } : document, "
        "{ resultTypes: ['violations'], "
        "rules: Object.fromEntries(rules.map((rule) => [rule, { enabled: false }])) })"
        ".then((found) => found.violations.map("
        "({ id, help, nodes }) => ({ id, help, nodes: nodes.map(({ html }) => html) })))",
        [within, list(NOT_OURS) if within else []],
    )
    return [f"{one['id']}: {one['help']}: {html[:200]}" for one in found for html in one["nodes"]]


def picture(shown: Any, name: str) -> None:
    """Keep a picture for the docs, where ``make pictures`` asks for it."""
    folder = os.environ.get("WINGSPAN_PICTURES")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        shown.screenshot(path=str(Path(folder) / f"{name}.png"))
