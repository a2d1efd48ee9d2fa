"""The documentation site as `make docs` makes it: everybody can use it, and no link of it is broken."""

from __future__ import annotations

import html
import re
import runpy
import subprocess
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import wingspan
from _browser import browser, violations
from _waiting import PATIENCE
from wingspan.cli._main import COMMANDS

__all__ = ["browser"]

ROOT = Path(__file__).resolve().parent.parent
#: One of each sort: the front page, code and wide tables, what is made of the package.
PAGES = ["index", "bundles", "reference/options"]


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site: the one that `make docs` has left where nothing has changed since, else made here."""
    made = ROOT / "build/docs"
    sources = [*(ROOT / "docs").rglob("*.*"), *(ROOT / "src").rglob("*.py"), ROOT / "CHANGELOG.md"]
    newest = max(path.stat().st_mtime for path in sources)
    if (made / "search.html").is_file() and (made / "search.html").stat().st_mtime > newest:
        return made
    pytest.importorskip("sphinx_llms_txt")
    target = tmp_path_factory.mktemp("site")
    words = ["sphinx-build", "-q", "-E", "-W", "-b", "html", str(ROOT / "docs"), str(target)]
    command = [str(Path(sys.executable).parent / words[0]), *words[1:]]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture(scope="module")
def opened(browser: Any) -> Iterator[Any]:
    """One page of the browser, for all."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(PATIENCE * 1000)
    yield page
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_everybody_can_use_the_site(site: Path, opened: Any, name: str) -> None:
    """axe-core finds nothing, in light on a screen and in dark on a telephone; none is wider than that."""
    for scheme, width in (("light", 1280), ("dark", 380)):
        opened.emulate_media(color_scheme=scheme)
        opened.set_viewport_size({"width": width, "height": 900})
        opened.goto((site / f"{name}.html").as_uri())
        assert violations(opened) == []
        assert opened.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_search_finds_pages_without_a_server(site: Path, opened: Any) -> None:
    """What a reader types is found in the folder on the disk, and the page that is about it is named."""
    opened.goto((site / "search.html").as_uri() + "?q=squashfs")
    opened.wait_for_selector("#search-results li")
    assert "Bundles" in opened.locator("#search-results").inner_text()


def test_no_link_of_the_site_is_broken(site: Path) -> None:
    """Every link, picture, style and script of a page leads to a file of the site, and to a place in it."""
    texts = {path: path.read_text(encoding="utf-8") for path in site.rglob("*.html")}
    places = {path: set(re.findall(r'\sid="([^"]+)"', text)) for path, text in texts.items()}
    lost = []
    for page, text in texts.items():
        for link in set(re.findall(r'\s(?:href|src)="([^"]+)"', text)):
            parts = urllib.parse.urlsplit(html.unescape(link))
            if parts.scheme or parts.netloc:
                continue
            file = (page.parent / urllib.parse.unquote(parts.path)).resolve() if parts.path else page
            place = urllib.parse.unquote(parts.fragment)
            if not file.is_file() or (place and file in places and place not in places[file]):
                lost.append(f"{page.relative_to(site)}: {link}")
    assert lost == []
    assert len(texts) > 50


def test_programs_read_the_whole_reference(site: Path) -> None:
    """The one page of plain text has what comes from the package, too: names, commands, programs."""
    text = (site / "llms-full.txt").read_text(encoding="utf-8")
    names = [name for name in wingspan.__all__ if not name.startswith("__")]
    assert [name for name in names if f"wingspan.{name}" not in text] == []
    assert [name for name in COMMANDS if not re.search(rf"^   wingspan {name}\b", text, re.MULTILINE)] == []
    assert "<!-- options -->" not in text
    assert "def " in text[text.index("# A gallery") : text.index("# Maps\n")]


_CONF = 'project = html_title = "Birds"\nhtml_theme = "furo"\nextensions = ["myst_parser"]\nhtml_show_sourcelink = False\n'


def _git(folder: Path, *words: str) -> None:
    who = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(folder), *who, *words], check=True, capture_output=True)


def test_releases_stand_beside_each_other(tmp_path: Path, opened: Any) -> None:
    """`make site`: the first page leads to the newest release, and each page to the other versions, from a
    folder on the disk; a release that is there is not built again.
    """
    tool = runpy.run_path(str(ROOT / "tools/docs_versions.py"))
    script, build_all = tool["SCRIPT"], tool["build_all"]
    project, site = tmp_path / "project", tmp_path / "site"
    (project / "docs/_static").mkdir(parents=True)
    (project / "docs/conf.py").write_text(_CONF)
    (project / "docs" / script).write_text((ROOT / "docs" / script).read_text())
    _git(project.parent, "init", "--quiet", str(project))
    for version in ("0.9.0", "0.10.0", "1.0.0rc1"):
        (project / "docs/index.md").write_text(f"# Birds {version}\n")
        _git(project, "add", "--all")
        _git(project, "commit", "--quiet", "--message", version)
        _git(project, "tag", f"v{version}")
    assert build_all(project, site) == ["dev", "1.0.0rc1", "0.10.0", "0.9.0"]
    opened.set_viewport_size({"width": 1280, "height": 900})  # on a telephone the list is behind a button
    opened.goto((site / "index.html").as_uri())
    opened.wait_for_selector("nav[aria-label=Versions] a")
    assert opened.locator("h1").first.inner_text().startswith("Birds 0.10.0")
    opened.locator("nav[aria-label=Versions] a", has_text="0.9.0").click()
    opened.wait_for_url("**/0.9.0/index.html")
    assert opened.locator("nav[aria-label=Versions] [aria-current]").inner_text() == "0.9.0"
    assert violations(opened) == []
    kept = (site / "0.9.0").stat().st_ino
    build_all(project, site)
    assert (site / "0.9.0").stat().st_ino == kept
    assert [path for path in site.iterdir() if path.name.startswith(".")] == []
