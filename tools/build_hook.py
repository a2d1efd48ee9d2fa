"""What a wheel has beside the package's own files: the pages that `wingspan help` shows; and the README as
an index shows it.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface
from hatchling.metadata.plugin.interface import MetadataHookInterface


class Pages(BuildHookInterface):
    """Puts the pages of docs/ into the wheel. An editable installation reads them where they are."""

    PLUGIN_NAME = "custom"

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the pages, before the wheel is built."""
        if self.target_name == "wheel" and version == "standard":
            docs = Path(self.root) / "docs"
            pages = [page for page in sorted(docs.rglob("*.md")) if page.parent.name != "reference"]
            build_data["force_include"].update(
                {str(page): f"wingspan/_docs/{page.relative_to(docs)}" for page in pages}
            )


class Readme(MetadataHookInterface):
    """Lets the README's links lead somewhere from an index, too: there is no folder beside it."""

    PLUGIN_NAME = "custom"

    def update(self, metadata: dict[str, Any]) -> None:
        """Take the README as the description; its links are whole once the project has an address."""
        text = (Path(self.root) / "README.md").read_text(encoding="utf-8")
        urls = metadata.get("urls", {})
        if "Source" in urls:
            text = with_whole_addresses(text, urls, metadata["version"])
        metadata["readme"] = {"content-type": "text/markdown", "text": text}


def with_whole_addresses(text: str, urls: dict[str, str], version: str) -> str:
    """Markdown whose links to files beside it lead to the site, or to the repository at this version.

    Args:
        text: The README.
        urls: ``[project.urls]``; a documentation that ends with a slash is a site of its own.
        version: Of the package.
    """
    site = urls["Documentation"] if urls["Documentation"].endswith("/") else None

    def whole(link: re.Match[str]) -> str:
        picture, path = link[1].startswith("!"), link[2]
        if site and path.startswith("docs/") and path.endswith(".md"):
            address = site + path.removeprefix("docs/").removesuffix(".md") + ".html"
        else:
            address = f"{urls['Source']}/{'raw' if picture else 'blob'}/v{version}/{path}"
        return f"{link[1]}({address}{link[3]})"

    return re.sub(r"(!?\[[^\]]*\])\((?![a-z]+:|#)([^)#]+)((?:#[^)]*)?)\)", whole, text)
