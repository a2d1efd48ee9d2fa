"""Packages as a lock of Pixi names them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs

__all__ = ["CondaPackage", "PypiPackage"]


@attrs.frozen
class CondaPackage:
    """A conda package.

    Attributes:
        name: Of the package.
        version: Of the package.
        build: Its build string.
        url: Where it is.
        channel: The channel's address.
        facts: What else the lock keeps: ``sha256``, ``md5``, ``depends``, ``constrains``, ``size``, …
    """

    name: str
    version: str
    build: str
    url: str
    channel: str
    facts: Mapping[str, Any]


@attrs.frozen
class PypiPackage:
    """A wheel, or a project of one's own that is a folder.

    Attributes:
        name: Of the project.
        version: Of it; None of a folder that does not say.
        location: The wheel's address or path; of a project its folder.
        sha256: Of the wheel, in hexadecimal.
        editable: It is a folder.
    """

    name: str
    version: str | None
    location: str
    sha256: str | None = None
    editable: bool = False

    @classmethod
    def project(cls, name: str, version: str | None, folder: Path) -> PypiPackage:
        """A project of one's own."""
        return cls(name, version, str(folder), editable=True)
