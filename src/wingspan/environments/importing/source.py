"""What an environment is imported from."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal

import attrs

from wingspan.environments.errors import ManifestInvalid, ManifestNotFound

__all__ = ["Source", "recognize"]

SourceKind = Literal["requirements", "uv", "script", "conda", "conda-lock", "active"]

_SCRIPT = re.compile(r"^# /// script\s*$", re.MULTILINE)
_KNOWN = (
    "requirements.txt, requirements.in, uv.lock, environment.yml, conda-lock.yml, or a script with "
    "`# /// script` (PEP 723)"
)


@attrs.frozen
class Source:
    """What an environment is imported from.

    Attributes:
        kind: Which form it has.
        path: The file; of what is active, its prefix.
    """

    kind: SourceKind
    path: Path

    @property
    def folder(self) -> Path:
        """Where people would look for the workspace: beside the file."""
        return Path.cwd() if self.kind == "active" else self.path.parent


def recognize(path: Path) -> Source:
    """Tell the form of a file; a folder stands for the first known file in it.

    Raises:
        ManifestNotFound: There is no such file, or nothing known in the folder.
        ManifestInvalid: The file has none of the known forms.
    """
    if path.is_dir():
        names = ("uv.lock", "conda-lock.yml", "environment.yml", "environment.yaml", "requirements.txt")
        found = next((path / name for name in names if (path / name).is_file()), None)
        if found is None:
            raise ManifestNotFound(f"{path} has nothing to import", hint=f"name a file: {_KNOWN}")
        path = found
    if not path.is_file():
        raise ManifestNotFound(f"{path} is not there", hint=f"name a file: {_KNOWN}")
    path = path.absolute()
    if path.name == "uv.lock":
        return Source("uv", path)
    if path.suffix in (".yml", ".yaml"):
        locked = "conda-lock" in path.name
        return Source("conda-lock" if locked else "conda", path)
    if path.suffix in (".txt", ".in"):
        return Source("requirements", path)
    if path.suffix == ".py":
        if _SCRIPT.search(path.read_text(encoding="utf-8", errors="replace")):
            return Source("script", path)
        raise ManifestInvalid(
            f"{path} does not say what it needs", hint="uv add --script FILE PACKAGE writes that at its top"
        )
    raise ManifestInvalid(f"{path} is nothing that an environment can be made of", hint=f"name {_KNOWN}")
