"""What the wheel has beside the package's own files: the pages that `wingspan help` shows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


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
