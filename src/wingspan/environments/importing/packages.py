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

    @property
    def of_python(self) -> bool:
        """Whether it is a library of Python: it depends on it, and most go by the name that they have on
        PyPI. (conda-forge's ``tzdata`` is none, and PyPI's has its data for Python.)
        """
        depends = self.facts.get("depends", ())
        return self.name != "python" and any(str(one).split(" ")[0] == "python" for one in depends)


@attrs.frozen
class PypiPackage:
    """A wheel, or a project of one's own that is a folder.

    Attributes:
        name: Of the project.
        version: Of it; None of a folder that does not say.
        location: The wheel's address or path; of a project its folder.
        sha256: Of the wheel, in hexadecimal.
        editable: It is a folder.
        facts: What else the lock keeps: ``requires_dist``, ``requires_python``.
    """

    name: str
    version: str | None
    location: str
    sha256: str | None = None
    editable: bool = False
    facts: Mapping[str, Any] = attrs.field(factory=dict, hash=False)

    @classmethod
    def project(cls, name: str, version: str | None, folder: Path) -> PypiPackage:
        """A project of one's own."""
        return cls(name, version, str(folder), editable=True)
