"""One package of a locked environment."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    import rattler

__all__ = ["Form", "LockedPackage"]

#: The forms of a package: a conda archive, a conda package to be built from source, a wheel, an sdist, a
#: source folder (also for editable installs), or a version-control address. Only "conda" and "wheel" can be
#: carried.
Form = Literal["conda", "conda-source", "wheel", "sdist", "directory", "vcs"]


@attrs.frozen(kw_only=True)
class LockedPackage:
    """One package of a locked environment.

    Attributes:
        name: The name, as its ecosystem normalizes it.
        version: The version as written; empty if the lock has none (source trees).
        build: conda build string, e.g. ``cuda129_mkl_h0d04637_301``; empty for PyPI packages.
        kind: ``"conda"`` or ``"pypi"``.
        form: Its form; only ``"conda"`` and ``"wheel"`` can be carried.
        location: URL or path as the lock has it; see `resolve`.
        subdir: ``linux-64``, ``noarch``, …; empty for PyPI packages.
        file_name: Name of the archive; empty for sources.
        sha256: Hex digest, or None if the lock has none.
        md5: Hex digest, or None. Some channels (nvidia, old pytorch) publish only this.
        size: Bytes of the archive, or None: locks have no sizes of PyPI packages.
        depends: conda: match specs. PyPI: requirement strings.
        constrains: conda: match specs that hold *if* that package is there (``__cuda >=12``).
        extra_depends: conda: match specs of all its extras, whether they are asked for or not.
        requires_python: PyPI: the specifier, or None.
        injected: The lock does not have it: it is a wheel that somebody adds (`inject_wheels`).
        record: conda: the lock's record, as `rattler.install` wants it; None for sources and PyPI packages.
    """

    name: str
    version: str
    build: str = ""
    kind: Literal["conda", "pypi"] = "conda"
    form: Form = "conda"
    location: str
    subdir: str = ""
    file_name: str = ""
    sha256: str | None = None
    md5: str | None = None
    size: int | None = None
    depends: tuple[str, ...] = attrs.field(default=(), repr=False)
    constrains: tuple[str, ...] = attrs.field(default=(), repr=False)
    extra_depends: tuple[str, ...] = attrs.field(default=(), repr=False)
    requires_python: str | None = attrs.field(default=None, repr=False)
    injected: bool = False
    record: rattler.RepoDataRecord | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def digest(self) -> str:
        """What distinguishes this build from others: ``sha256:…``, else ``md5:…``, else ``location:…``."""
        if self.sha256:
            return f"sha256:{self.sha256}"
        return f"md5:{self.md5}" if self.md5 else f"location:{self.location}"

    def resolve(self, folder: Path) -> str:
        """The URL or absolute path of the archive or source; `folder` is the one the lock lies in.

        >>> LockedPackage(name="a", version="1", location="./a-1-py3-none-any.whl").resolve(Path("/w"))
        '/w/a-1-py3-none-any.whl'
        """
        location = self.location.removeprefix("direct+")
        if re.match(r"[a-zA-Z][a-zA-Z0-9+.-]*://", location):
            return location
        return str(folder.absolute().joinpath(location))

    def __str__(self) -> str:
        return " ".join(part for part in (self.name, self.version, self.build) if part)
