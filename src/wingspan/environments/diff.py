"""What changed between two locked environments."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs

from wingspan.environments.lock import LockedEnvironment, LockedPackage
from wingspan.environments.needs import derive_needs

__all__ = ["EnvironmentDiff", "diff_environments"]


@attrs.frozen(kw_only=True)
class EnvironmentDiff:
    """From `old` to `new`.

    Attributes:
        added, removed: Packages, by (kind, name).
        changed: Pairs of a package that is another build, version or archive now.
        needs: The needs that changed, without sizes and warnings: ``{"glibc_min": ("2.17", "2.28")}``.
        download_bytes: How much more is to be downloaded (negative: less).
    """

    old: LockedEnvironment
    new: LockedEnvironment
    added: tuple[LockedPackage, ...] = ()
    removed: tuple[LockedPackage, ...] = ()
    changed: tuple[tuple[LockedPackage, LockedPackage], ...] = ()
    needs: dict[str, tuple[str | None, str | None]] = attrs.field(factory=dict)
    download_bytes: int = 0

    @property
    def same(self) -> bool:
        """Whether both environments are the same, byte by byte."""
        return self.old.digest == self.new.digest

    def to_json(self) -> dict[str, Any]:
        """Package names with versions and builds, for programs."""

        def brief(p: LockedPackage) -> dict[str, Any]:
            return {
                "name": p.name,
                "kind": p.kind,
                "version": p.version,
                "build": p.build,
                "digest": p.digest,
            }

        return {
            "old": {"lock": str(self.old.lock_path), "digest": self.old.digest},
            "new": {"lock": str(self.new.lock_path), "digest": self.new.digest},
            "same": self.same,
            "added": [brief(p) for p in self.added],
            "removed": [brief(p) for p in self.removed],
            "changed": [{"old": brief(a), "new": brief(b)} for a, b in self.changed],
            "needs": {key: {"old": a, "new": b} for key, (a, b) in self.needs.items()},
            "download_bytes": self.download_bytes,
        }


def diff_environments(old: LockedEnvironment, new: LockedEnvironment) -> EnvironmentDiff:
    """Compare two environments, of one workspace or of two."""
    before = {(p.kind, p.name): p for p in old.packages}
    after = {(p.kind, p.name): p for p in new.packages}
    needs_before: Mapping[str, Any] = derive_needs(old).to_json()
    needs_after: Mapping[str, Any] = derive_needs(new).to_json()
    counted = {"download_bytes", "installed_bytes", "warnings"}
    return EnvironmentDiff(
        old=old,
        new=new,
        added=tuple(after[key] for key in sorted(after.keys() - before.keys())),
        removed=tuple(before[key] for key in sorted(before.keys() - after.keys())),
        changed=tuple(
            (before[key], after[key])
            for key in sorted(before.keys() & after.keys())
            if _identity(before[key]) != _identity(after[key])
        ),
        needs={
            key: (needs_before[key], needs_after[key])
            for key in needs_before
            if key not in counted and needs_before[key] != needs_after[key]
        },
        download_bytes=new.download_bytes - old.download_bytes,
    )


def _identity(package: LockedPackage) -> tuple[str, ...]:
    return package.version, package.build, package.subdir, package.digest
