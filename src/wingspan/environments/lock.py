"""What a lock holds for one environment on one platform.

A lock's *platform* is a name since version 7, not a subdir: one environment may be locked for ``linux-64``
and for ``p2``, which is linux-64 with ``__cuda=12``.
"""

from __future__ import annotations

import hashlib
import json
import re
from functools import cached_property
from pathlib import Path

import attrs

from wingspan.environments.locked_package import Form, LockedPackage
from wingspan.environments.portability import Problem, find_problems, refuse_problems

__all__ = ["Form", "LockedEnvironment", "LockedPackage", "LockedPlatform", "normalize"]

_DIGEST_FORMAT = 1  # of LockedEnvironment.digest: raise it when the digested content changes


def normalize(name: str) -> str:
    """The name as PyPI compares it (PEP 503).

    >>> normalize("Ruamel.Yaml_clib")
    'ruamel-yaml-clib'
    """
    return re.sub(r"[-_.]+", "-", name).lower()


#: The characters of names of environments and platforms, and of virtual packages with their versions: all
#: these appear in scripts.
_WORD = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._=*!+-]{0,200}")


def check_word(text: str, what: str) -> str:
    """`text`, if it is safe in a script and in a file's name.

    Raises:
        ValueError: It is not safe.
    """
    if not _WORD.fullmatch(text):
        raise ValueError(f"{what} {text!r:.200} has characters that no {what} has")
    return text


@attrs.frozen(kw_only=True)
class LockedPlatform:
    """A platform of a lock.

    Attributes:
        name: Name in the lock (``p2``).
        subdir: ``linux-64``.
        label: Name in the manifest (``cuda-linux-64``) where it gives one, else `name`.
        virtual_packages: ``("__cuda=12", "__glibc=2.28", …)``, sorted: what the lock was solved for. Locks
            before version 7 list none; then the manifest's ``[system-requirements]`` count.
    """

    name: str
    subdir: str
    label: str = attrs.field(default=attrs.Factory(lambda self: self.name, takes_self=True))
    virtual_packages: tuple[str, ...] = ()

    def __attrs_post_init__(self) -> None:
        for text in (self.name, self.subdir):
            check_word(text, "platform")
        for text in self.virtual_packages:
            check_word(text, "virtual package")

    def virtual_package(self, name: str) -> str | None:
        """The version of a virtual package, or None. Of ``__archspec`` it is the name of the processor, which is
        the build in a lock and the version in a manifest.

        >>> p2 = LockedPlatform(name="p2", subdir="linux-64", virtual_packages=("__archspec=0=zen3", "__cuda=12"))
        >>> p2.virtual_package("__cuda"), p2.virtual_package("__archspec")
        ('12', 'zen3')
        """  # noqa: W505
        for entry in self.virtual_packages:
            key, _, version = entry.partition("=")
            if key == name:
                return version.rpartition("=")[2] if name == "__archspec" else version.partition("=")[0]
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
        """The identity: SHA-256 over the sorted package set and the subdir, 64 hex digits.

        It is equal for a version 6 and a version 7 lock of the same environment, and does not depend on the
        environment's name.
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
        """The packages that come from conda channels."""
        return tuple(p for p in self.packages if p.kind == "conda")

    @property
    def pypi_packages(self) -> tuple[LockedPackage, ...]:
        """The packages that come from PyPI."""
        return tuple(p for p in self.packages if p.kind == "pypi")

    @property
    def download_bytes(self) -> int:
        """Sum of the archive sizes that the lock has (none for PyPI packages)."""
        return sum(p.size or 0 for p in self.packages)

    def package(self, name: str) -> LockedPackage | None:
        """The package of that name, conda before PyPI, or None."""
        return next((p for p in self.packages if p.name == name), None)

    def without(self, *names: str) -> LockedEnvironment:
        """The same environment without some packages, for example those that a person ships as input files.

        Raises:
            LookupError: It has no package of one of the names.
        """
        for name in names:
            if self.package(name) is None:
                raise LookupError(f"environment {self.name!r} of {self.lock_path} has no package {name!r}")
        return attrs.evolve(self, packages=tuple(p for p in self.packages if p.name not in names))

    def problems(self) -> tuple[Problem, ...]:
        """For each package: why it cannot be carried, or what is worth a warning."""
        return find_problems(self.packages)

    def check_portable(self, *, strict: bool = True) -> None:
        """Refuse packages that cannot be carried: sources, editable installs, sdists; if `strict`, also those
        without a hash.

        Raises:
            UnsupportedPackages: Names each such package and what to do about it.
        """
        where = f"{self.lock_path}: environment {self.name!r} on {self.platform}"
        refuse_problems(self.packages, where, strict=strict)
