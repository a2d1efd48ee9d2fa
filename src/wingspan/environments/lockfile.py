"""Pixi locks (versions 1 and 4 to 7), read with py-rattler and never written.

py-rattler answers environments and platforms in another order in each process, so everything is sorted here.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan.environments.errors import (
    LockDamaged,
    LockError,
    LockNotFound,
    LockTooNew,
    RattlerMissing,
    UnknownEnvironment,
    UnknownPlatform,
)
from wingspan.environments.lock import Form, LockedPackage, LockedPlatform, check_word, normalize
from wingspan.worker import trust

if TYPE_CHECKING:
    import rattler

__all__ = ["Lock"]

#: Brackets within brackets. py-rattler reads 128, after a time that grows with the square of what there are.
_MOST_NESTED = 200


class Lock:
    """A lock file, parsed once.

    Args:
        path: The ``pixi.lock``.

    Raises:
        LockNotFound, LockDamaged, LockTooNew, RattlerMissing
    """

    def __init__(self, path: Path) -> None:
        self.path: Path = path.absolute()
        try:
            import rattler
        except ImportError as error:
            raise RattlerMissing(
                f"py-rattler, which reads {path.name}, cannot be imported: {error}",
                hint="pip install 'wingspan[environments]'",
            ) from None
        try:
            self.text: str = self.path.read_text(encoding="utf-8")
        except FileNotFoundError:
            raise LockNotFound(
                f"there is no lock {self.path}", hint=f"make it: cd {self.path.parent} && pixi lock"
            ) from None
        except IsADirectoryError:
            raise LockNotFound(
                f"{self.path} is a folder, not a lock", hint="name the pixi.lock file"
            ) from None
        except OSError as error:
            raise LockError(
                f"{self.path} cannot be read: {error.strerror}", hint="check its permissions"
            ) from None
        except UnicodeDecodeError as error:
            raise self._damaged(f"it is not text ({error.reason} at byte {error.start})") from None
        if _nested(self.text) > _MOST_NESTED:
            raise self._damaged(f"more than {_MOST_NESTED} brackets stand within each other")
        with self._parsing():
            self._lock = rattler.LockFile.from_path(self.path)
            self._environments = dict(self._lock.environments())
            for name in self._environments:
                check_word(name, "environment")

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
                found = [
                    self._checked(
                        self._with_facts(_convert(package, self.path.parent), environment, platform)
                    )
                    for package in locked.packages(chosen) or ()
                ]
                return tuple(sorted(found, key=lambda p: (p.kind, p.name, p.version, p.location)))
        raise UnknownPlatform(f"{self.path}: environment {environment!r} is not locked for {platform!r}")

    def _environment(self, name: str) -> rattler.Environment:
        try:
            return self._environments[name]
        except KeyError:
            raise UnknownEnvironment(
                f"{self.path} has no environment {name!r}", hint=f"it has: {', '.join(self.environments)}"
            ) from None

    def _with_facts(self, package: LockedPackage, environment: str, platform: str) -> LockedPackage:
        """A source package with the lock's own entry. py-rattler has no facts for packages without a
        version.
        """
        if package.form != "conda-source" or package.version:
            return package
        facts = self._sources.get((environment, platform, package.name))
        if not facts:
            return package
        extras = facts.get("extra_depends") or {}
        return attrs.evolve(
            package,
            version=str(facts.get("version") or ""),
            build=str(facts.get("build") or ""),
            subdir=str(facts.get("subdir") or ""),
            depends=_texts(facts.get("depends")),
            constrains=_texts(facts.get("constrains")),
            extra_depends=tuple(spec for specs in extras.values() for spec in _texts(specs)),
        )

    def _checked(self, package: LockedPackage) -> LockedPackage:
        """`package`, if its names in the lock are safe as names of files."""
        label = f"{package.name}-{package.version}-{package.build}"
        record = package.record
        place = getattr(record, "python_site_packages_path", None) if record is not None else None
        try:
            trust.check_name(label)
            for name in (package.file_name, package.subdir):
                if name:
                    trust.check_name(name)
            if place:
                trust.check_path(place)
        except trust.BadName as error:
            raise self._damaged(
                f"the package {label!r:.200} (file {package.file_name!r:.200}) has a name that leads elsewhere: {error}"
            ) from None
        return package

    @cached_property
    def _sources(self) -> dict[tuple[str, str, str], Mapping[str, Any]]:
        """The entries of source packages (version 7) by environment, platform and name."""
        import yaml

        loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        document = yaml.load(self.text, loader)  # noqa: S506 - both are safe loaders
        entries = {
            entry["conda_source"]: entry
            for entry in document.get("packages") or ()
            if "conda_source" in entry
        }
        found: dict[tuple[str, str, str], Mapping[str, Any]] = {}
        for name, environment in document["environments"].items():
            for platform, packages in (environment.get("packages") or {}).items():
                for package in packages:
                    selector = package.get("conda_source")
                    if selector is not None:
                        key = name, platform, re.split(r"[\[\s@]", selector, maxsplit=1)[0]
                        found[key] = entries.get(selector, {})
        return found

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
            hint="pip install --upgrade py-rattler (or write the lock with an older Pixi)",
        )

    def _damaged(self, reason: str) -> LockDamaged:
        return LockDamaged(
            f"{self.path} cannot be read as a Pixi lock: {reason}",
            hint="it may be cut or hold a merge conflict: git checkout pixi.lock, or make it anew: pixi lock",
        )


def _nested(text: str) -> int:
    """How many brackets are open at once, at most.

    >>> _nested("{a: [1, [2]], b: [3]}")
    3
    """
    depth = most = 0
    for bracket in re.findall(r"[\[\]{}]", text):
        depth = depth + 1 if bracket in "[{" else max(depth - 1, 0)
        most = max(most, depth)
    return most


def _texts(found: Iterable[object] | None) -> tuple[str, ...]:
    return tuple(map(str, found or ()))


def _convert(package: Any, folder: Path) -> LockedPackage:
    """py-rattler's package as ours; `folder` is the one that the lock lies in."""
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
            "extra_depends": tuple(s for specs in (record.extra_depends or {}).values() for s in specs),
        }
    if isinstance(package, rattler.CondaLockedBinaryPackage):
        location = package.location
        if "://" in location or Path(location).is_absolute():
            repodata = package.repo_data_record()
            location, file_name = repodata.url or location, repodata.file_name
        else:  # an archive in the workspace; py-rattler makes no record of a relative path
            path = folder / location
            file_name = path.name
            repodata = rattler.RepoDataRecord(record, file_name, path.as_uri(), path.parent.as_uri())
        return LockedPackage(
            name=package.name,
            form="conda",
            location=location,
            file_name=file_name,
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
    """The form of a package at a PyPI location, and the name of its archive.

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
