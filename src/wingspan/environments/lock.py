"""Pixi locks (versions 1 and 4 to 7), read with py-rattler and never written.

A lock's *platform* is a name since version 7, not a subdir: one environment may be locked for ``linux-64``
and for ``p2``, which is linux-64 with ``__cuda=12``. py-rattler answers environments and platforms in another
order in each process, so everything is sorted here.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import attrs

from wingspan.environments.errors import (
    LockDamaged,
    LockNotFound,
    LockTooNew,
    RattlerMissing,
    UnknownEnvironment,
    UnknownPlatform,
)

if TYPE_CHECKING:
    import rattler

    from wingspan.environments.portability import Problem

__all__ = ["Form", "Lock", "LockedEnvironment", "LockedPackage", "LockedPlatform", "normalize"]

#: How a package is given: a conda archive, a conda package to be built from source, a wheel, an sdist, a
#: source folder (editable installs are such), or a version-control address. Only "conda" and "wheel" travel.
Form = Literal["conda", "conda-source", "wheel", "sdist", "directory", "vcs"]

_DIGEST_FORMAT = 1  # of LockedEnvironment.digest: raise it when what is digested changes


def normalize(name: str) -> str:
    """The name as PyPI compares it (PEP 503).

    >>> normalize("Ruamel.Yaml_clib")
    'ruamel-yaml-clib'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


@attrs.frozen(kw_only=True)
class LockedPackage:
    """One package of a locked environment.

    Attributes:
        name: The name, as its ecosystem normalizes it.
        version: Version as written; empty where the lock has none (source trees).
        build: conda build string, e.g. ``cuda129_mkl_h0d04637_301``; empty for PyPI packages.
        kind: ``"conda"`` or ``"pypi"``.
        form: How it is given; only ``"conda"`` and ``"wheel"`` can be carried.
        location: URL or path as the lock has it; see `resolve`.
        subdir: ``linux-64``, ``noarch``, …; empty for PyPI packages.
        file_name: Name of the archive; empty for sources.
        sha256: Hex digest, or None if the lock has none.
        md5: Hex digest, or None. Some channels (nvidia, old pytorch) publish only this.
        size: Bytes of the archive, or None: locks have no sizes of PyPI packages.
        depends: conda: match specs. PyPI: requirement strings.
        constrains: conda: match specs that hold *if* that package is there (``__cuda >=12``).
        requires_python: PyPI: the specifier, or None.
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
    requires_python: str | None = attrs.field(default=None, repr=False)
    record: rattler.RepoDataRecord | None = attrs.field(default=None, eq=False, repr=False)

    @property
    def digest(self) -> str:
        """``sha256:…``, else ``md5:…``, else ``location:…``: what tells this build from others."""
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


@attrs.frozen(kw_only=True)
class LockedPlatform:
    """A platform of a lock.

    Attributes:
        name: Name in the lock (``p2``).
        subdir: ``linux-64``.
        label: Name in the manifest (``cuda-linux-64``) where it gives one, else `name`.
        virtual_packages: ``("__cuda=12", "__glibc=2.28", …)``, sorted: what the lock was solved for; where
            the lock lists none (before version 7), what the manifest's ``[system-requirements]`` say.
    """

    name: str
    subdir: str
    label: str = attrs.field(default=attrs.Factory(lambda self: self.name, takes_self=True))
    virtual_packages: tuple[str, ...] = ()

    def virtual_package(self, name: str) -> str | None:
        """The version of a virtual package, or None.

        >>> p2 = LockedPlatform(name="p2", subdir="linux-64", virtual_packages=("__cuda=12",))
        >>> p2.virtual_package("__cuda")
        '12'
        """
        for entry in self.virtual_packages:
            key, _, version = entry.partition("=")
            if key == name:
                return version.partition("=")[0]
        return None

    def __str__(self) -> str:
        if self.label == self.name == self.subdir:
            return self.name
        parts = [self.subdir] if self.label != self.subdir else []
        if (cuda := self.virtual_package("__cuda")) is not None:
            parts.append(f"__cuda={cuda}")
        if self.name != self.label:
            parts.append(f"{self.name} in the lock")
        return f"{self.label} ({', '.join(parts)})" if parts else self.label


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

    @cached_property
    def digest(self) -> str:
        """Identity, 64 hex digits: sha256 over the sorted package set and the subdir.

        Equal for a version 6 and a version 7 lock of the same environment, and whatever its name is.
        """
        packages = sorted([p.kind, p.name, p.version, p.build, p.subdir, p.digest] for p in self.packages)
        document = {"format": _DIGEST_FORMAT, "subdir": self.platform.subdir, "packages": packages}
        text = json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def python(self) -> str | None:
        """``"3.12"``, or None if there is no Python in it."""
        package = self.package("python")
        if package is None or package.kind != "conda":
            return None
        return ".".join(package.version.split(".")[:2])

    @property
    def conda_packages(self) -> tuple[LockedPackage, ...]:
        return tuple(p for p in self.packages if p.kind == "conda")

    @property
    def pypi_packages(self) -> tuple[LockedPackage, ...]:
        return tuple(p for p in self.packages if p.kind == "pypi")

    @property
    def download_bytes(self) -> int:
        """Sum of the archive sizes that the lock has (none for PyPI packages)."""
        return sum(p.size or 0 for p in self.packages)

    def package(self, name: str) -> LockedPackage | None:
        """The package of that name, conda before PyPI, or None."""
        return next((p for p in self.packages if p.name == name), None)

    def problems(self) -> tuple[Problem, ...]:
        """What keeps packages of it from being carried, or is worth a warning, package by package."""
        from wingspan.environments.portability import find_problems

        return find_problems(self)

    def check_portable(self, *, strict: bool = True) -> None:
        """Refuse what cannot be carried: sources, editable installs, sdists; if `strict`, missing hashes.

        Raises:
            UnsupportedPackages: Names each such package and what to do about it.
        """
        from wingspan.environments.portability import refuse_problems

        refuse_problems(self, strict=strict)


class Lock:
    """A lock file, parsed once.

    Args:
        path: The ``pixi.lock``.

    Raises:
        LockNotFound, LockDamaged, LockTooNew, RattlerMissing
    """

    def __init__(self, path: Path) -> None:
        self.path = path.absolute()
        try:
            import rattler
        except ImportError as error:
            raise RattlerMissing(
                f"py-rattler, which reads {path.name}, cannot be imported: {error}",
                hint="pip install 'wingspan[environments]'",
            ) from None
        try:
            self.text = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise LockNotFound(
                f"there is no lock {self.path}", hint=f"make it: cd {self.path.parent} && pixi lock"
            ) from None
        except IsADirectoryError:
            raise LockNotFound(
                f"{self.path} is a folder, not a lock", hint="name the pixi.lock file"
            ) from None
        except UnicodeDecodeError as error:
            raise self._damaged(f"it is not text ({error.reason} at byte {error.start})") from None
        with self._parsing():
            self._lock = rattler.LockFile.from_path(self.path)
            self._environments = dict(self._lock.environments())

    @property
    def version(self) -> int | None:
        """Format version: 4, 5, 6, 7."""
        found = re.match(r"(?:\s*#[^\n]*\n)*version:\s*(\d+)\s*$", self.text, re.MULTILINE)
        return int(found.group(1)) if found else None

    @property
    def environments(self) -> tuple[str, ...]:
        """Names, ``default`` first."""
        return tuple(sorted(self._environments, key=lambda name: (name != "default", name)))

    def platforms(self, environment: str) -> tuple[LockedPlatform, ...]:
        """The platforms that `environment` is locked for, by name."""
        with self._parsing():
            found = [
                LockedPlatform(
                    name=p.name, subdir=str(p.subdir), virtual_packages=tuple(sorted(p.virtual_packages))
                )
                for p in self._environment(environment).platforms()
            ]
        return tuple(sorted(found, key=lambda p: p.name))

    def channels(self, environment: str) -> tuple[str, ...]:
        """Channel URLs of `environment`, in order of priority."""
        with self._parsing():
            return tuple(str(c).rstrip("/") for c in self._environment(environment).channels())

    def packages(self, environment: str, platform: str) -> tuple[LockedPackage, ...]:
        """The packages of `environment` on the platform that the lock calls `platform`, by (kind, name)."""
        locked = self._environment(environment)
        with self._parsing():
            chosen = next((p for p in locked.platforms() if p.name == platform), None)
            if chosen is not None:
                found = [_convert(package) for package in locked.packages(chosen) or ()]
                return tuple(sorted(found, key=lambda p: (p.kind, p.name, p.version, p.location)))
        raise UnknownPlatform(f"{self.path}: environment {environment!r} is not locked for {platform!r}")

    def _environment(self, name: str) -> rattler.Environment:
        try:
            return self._environments[name]
        except KeyError:
            raise UnknownEnvironment(
                f"{self.path} has no environment {name!r}", hint=f"it has: {', '.join(self.environments)}"
            ) from None

    @contextlib.contextmanager
    def _parsing(self) -> Iterator[None]:
        """Turn what py-rattler raises into an error that says which file and what to do."""
        try:
            yield
        except (KeyboardInterrupt, SystemExit, MemoryError, GeneratorExit, UnknownEnvironment):
            raise
        except BaseException as error:  # noqa: BLE001 - a panic in Rust arrives as a BaseException
            reason = str(error) or type(error).__name__
            if "newer lockfile format" in reason or "newer lock-file" in reason:
                raise self._too_new(reason) from None
            raise self._damaged(reason) from None

    def _too_new(self, reason: str) -> LockTooNew:
        import importlib.metadata

        ours = importlib.metadata.version("py-rattler")
        return LockTooNew(
            f"{self.path} is of a lock version that py-rattler {ours} cannot read: {reason}",
            hint="pip install --upgrade py-rattler (or write the lock with the Pixi of your colleagues)",
        )

    def _damaged(self, reason: str) -> LockDamaged:
        return LockDamaged(
            f"{self.path} cannot be read as a Pixi lock: {reason}",
            hint="it may be cut or hold a merge conflict: git checkout pixi.lock, or make it anew: pixi lock",
        )


def _convert(package: Any) -> LockedPackage:
    """py-rattler's package as ours."""
    import rattler

    sha256, md5 = _hashes(package)
    if isinstance(package, rattler.PypiLockedPackage):
        location = package.location
        form, file_name = _pypi_form(location)
        return LockedPackage(
            name=normalize(package.name),
            version="" if package.version == "<dynamic>" else package.version,
            kind="pypi",
            form=form,
            location=location,
            file_name=file_name,
            sha256=sha256,
            md5=md5,
            depends=tuple(package.requires_dist),
            requires_python=package.requires_python,
        )
    record = package.package_record
    facts: dict[str, Any] = {}
    if record is not None:
        facts = {
            "version": str(record.version),
            "build": str(record.build),
            "subdir": record.subdir,
            "size": record.size,
            "depends": tuple(record.depends),
            "constrains": tuple(record.constrains),
        }
    if isinstance(package, rattler.CondaLockedBinaryPackage):
        repodata = package.repo_data_record()
        return LockedPackage(
            name=package.name,
            form="conda",
            location=repodata.url or package.location,
            file_name=repodata.file_name,
            sha256=sha256,
            md5=md5,
            record=repodata,
            **facts,
        )
    facts.setdefault("version", str(package.version or ""))
    return LockedPackage(name=package.name, form="conda-source", location=package.location, **facts)


def _hashes(package: Any) -> tuple[str | None, str | None]:
    """(sha256, md5) in hex. py-rattler 0.28 raises AttributeError where the lock has no hash at all."""
    try:
        hashes = package.hashes
        sha256, md5 = hashes.sha256, hashes.md5
    except AttributeError:
        return None, None
    return (sha256.hex() if sha256 else None), (md5.hex() if md5 else None)


def _pypi_form(location: str) -> tuple[Form, str]:
    """What a PyPI location is, and the name of its archive.

    >>> _pypi_form("https://h/p/numpy-2.0.0-cp312-cp312-manylinux2014_x86_64.whl#sha256=ab")
    ('wheel', 'numpy-2.0.0-cp312-cp312-manylinux2014_x86_64.whl')
    >>> _pypi_form("git+https://github.com/a/b.git@c7c13f1"), _pypi_form("./src")
    (('vcs', ''), ('directory', ''))
    """
    from urllib.parse import unquote

    if re.match(r"(git|hg|svn|bzr)\+", location):
        return "vcs", ""
    file_name = unquote(re.split(r"[?#]", location, maxsplit=1)[0].rstrip("/").rpartition("/")[2])
    if file_name.endswith(".whl"):
        return "wheel", file_name
    if file_name.endswith((".tar.gz", ".zip", ".tar.bz2", ".tar.xz", ".tar.zst", ".tgz", ".tar")):
        return "sdist", file_name
    return "directory", ""
