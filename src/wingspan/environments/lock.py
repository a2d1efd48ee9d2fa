"""Pixi locks (versions 1 and 4 to 7), read with py-rattler and never written.

Versions 2 and 3 are readable in principle; nobody could show us one. A lock's *platform* is a name since version 7, not a
subdir: one environment may be locked for ``linux-64`` and for ``p2`` = linux-64 with ``__cuda=12``.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Literal

import attrs

if TYPE_CHECKING:
    import rattler

__all__ = ["LockedEnvironment", "LockedPackage", "LockedPlatform"]

#: How a package is given: a conda archive, a conda package to be built from source, a wheel, an sdist, a source folder
#: (editable installs are such), or a version-control address.
Form = Literal["conda", "conda-source", "wheel", "sdist", "directory", "git"]


@attrs.frozen(kw_only=True)
class LockedPackage:
    """One package of a locked environment.

    Attributes:
        name: Normalized name.
        version: Version as written; empty where the lock has none (source trees).
        build: conda build string, e.g. ``cuda129_mkl_h0d04637_301``; empty for PyPI packages.
        kind: ``"conda"`` or ``"pypi"``.
        form: How it is given; only ``"conda"`` and ``"wheel"`` can be carried.
        location: URL or path as the lock has it (relative paths are relative to the lock's folder).
        subdir: ``linux-64``, ``noarch``…; empty for PyPI packages.
        file_name: Name of the archive; empty for sources.
        sha256: Hex digest, or None if the lock has none.
        md5: Hex digest, or None. Some channels (nvidia, old pytorch) publish only this.
        size: Bytes of the archive, or None: locks have no sizes of PyPI packages.
        depends: conda: match specs. PyPI: requirement strings.
        constrains: conda: match specs that hold *if* that package is there (``__cuda >=12``).
        requires_python: PyPI: the specifier; else None.
        record: conda: the record of the lock for `rattler.install`; else None.
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
    depends: tuple[str, ...] = ()
    constrains: tuple[str, ...] = ()
    requires_python: str | None = None
    record: rattler.RepoDataRecord | None = attrs.field(default=None, eq=False, repr=False)

    def resolve(self, folder: Path) -> str:
        """The URL or absolute path of the archive; `folder` is the lock's."""
        raise NotImplementedError


@attrs.frozen(kw_only=True)
class LockedPlatform:
    """A platform of a lock.

    Attributes:
        name: Name in the lock (``p2``).
        label: Name in the manifest (``cuda-linux-64``) where it gives one, else `name`.
        subdir: ``linux-64``.
        virtual_packages: ``("__cuda=12", "__glibc=2.28", …)``, sorted; empty where the lock lists none.
    """

    name: str
    subdir: str
    label: str = ""
    virtual_packages: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class LockedEnvironment:
    """What a lock holds for one (environment, platform).

    Attributes:
        workspace: The workspace's name (of the manifest, else of its folder).
        name: The environment's name.
        platform: The platform it was selected for.
        channels: Channel URLs, in order of priority.
        packages: Sorted by (kind, name).
        lock_path: The lock it was read from.
        manifest_path: The manifest beside it, or None if there is none.
    """

    workspace: str
    name: str
    platform: LockedPlatform
    channels: tuple[str, ...] = ()
    packages: tuple[LockedPackage, ...] = attrs.field(default=(), repr=False)
    lock_path: Path
    manifest_path: Path | None = None

    @property
    def digest(self) -> str:
        """Identity, 64 hex digits: sha256 of the sorted package set; the same for a version 6 and a version 7 lock of it."""
        raise NotImplementedError

    @property
    def python(self) -> str | None:
        """``"3.12"``, or None if there is no Python in it."""
        raise NotImplementedError

    @property
    def conda_packages(self) -> tuple[LockedPackage, ...]:
        return tuple(p for p in self.packages if p.kind == "conda")

    @property
    def pypi_packages(self) -> tuple[LockedPackage, ...]:
        return tuple(p for p in self.packages if p.kind == "pypi")

    def package(self, name: str) -> LockedPackage | None:
        """The package of that name, conda before PyPI, or None."""
        raise NotImplementedError

    def check_portable(self, *, strict: bool = True) -> None:
        """Refuse what cannot be carried: source and editable packages, sdists, and (if `strict`) missing hashes.

        Raises:
            UnsupportedPackages: Names each such package and what to do about it.
        """
        raise NotImplementedError
