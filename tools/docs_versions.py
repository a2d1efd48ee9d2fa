"""Build the documentation of every release, and of this tree, beside each other: `make site`.

    python tools/docs_versions.py [FOLDER]

FOLDER (build/site) gets a folder for each version tag of git (v0.2.0 → 0.2.0), "dev" for this tree, a page
that leads to the newest release, and versions.js, which all of them read: so the pages of an old release also
link to later ones. A release whose folder is there is not built again. Everything works from the disk and
from any web server.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from packaging.version import InvalidVersion, Version

ROOT = Path(__file__).resolve().parent.parent
#: What adds the links to other versions to each page; old releases do not have it.
SCRIPT = "_static/versions.js"


def releases(root: Path) -> list[Version]:
    """The versions that git has tags for, the newest first."""
    tags = subprocess.run(
        ["git", "-C", str(root), "tag", "--list", "v*"], capture_output=True, text=True, check=True
    ).stdout
    found = []
    for tag in tags.split():
        try:
            found.append(Version(tag.removeprefix("v")))
        except InvalidVersion:
            continue
    return sorted(found, reverse=True)


def build(tree: Path, target: Path, script: Path) -> None:
    """Build the site of one tree.

    Raises:
        subprocess.CalledProcessError: Sphinx did not make it.
    """
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".building-") as folder:
        made = Path(folder) / "site"
        words = ["-m", "sphinx", "-q", "-E", "-b", "html", str(tree / "docs"), str(made)]
        subprocess.run([sys.executable, *words], cwd=tree, check=True)
        shutil.copy(script, made / SCRIPT)
        for page in made.rglob("*.html"):
            root = "../" * (len(page.relative_to(made).parts) - 1)
            line, text = f'<script src="{root}{SCRIPT}"></script>', page.read_text(encoding="utf-8")
            page.write_text(text.replace("</head>", f"{line}</head>", 1), encoding="utf-8")
        shutil.rmtree(made / ".doctrees", ignore_errors=True)
        shutil.rmtree(target, ignore_errors=True)
        made.rename(target)


def build_all(root: Path, site: Path) -> list[str]:
    """Build what is missing; the versions that the site has now, in the order in which it lists them."""
    site.mkdir(parents=True, exist_ok=True)
    script = root / "docs" / SCRIPT
    known = releases(root)
    for version in known:
        if (site / str(version)).is_dir():
            continue
        with tempfile.TemporaryDirectory() as folder:
            tree = Path(folder) / "tree"
            git = ["git", "-C", str(root), "worktree"]
            subprocess.run([*git, "add", "--quiet", "--detach", str(tree), f"v{version}"], check=True)
            try:
                build(tree, site / str(version), script)
            finally:
                subprocess.run([*git, "remove", "--force", str(tree)], check=True)
    build(root, site / "dev", script)
    versions = ["dev", *map(str, known)]
    (site / "versions.js").write_text(f"wingspanVersions({json.dumps(versions)});\n", encoding="utf-8")
    newest = next((str(version) for version in known if not version.is_prerelease), "dev")
    (site / "index.html").write_text(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Wingspan</title>'
        f'<meta http-equiv="refresh" content="0; url={newest}/index.html"><a href="{newest}/index.html">Wingspan {newest}</a></html>\n',
        encoding="utf-8",
    )
    return versions


if __name__ == "__main__":
    place = Path(sys.argv[1]) if sys.argv[1:] else ROOT / "build/site"
    print(f"{place}/index.html: {', '.join(build_all(ROOT, place.absolute()))}")
