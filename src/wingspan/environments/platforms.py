"""Choose one of a lock's platforms.

The first of a subdir is never good enough: it may be the one without CUDA.
"""

from __future__ import annotations

import platform as machine
import re
import sys
from collections.abc import Iterable

import attrs

from wingspan.environments.errors import UnknownPlatform, nearest
from wingspan.environments.lock import LockedPlatform
from wingspan.environments.manifest import PlatformSpec

__all__ = ["choose_platform", "label_platforms", "native_subdir", "same_version"]


def label_platforms(
    locked: Iterable[LockedPlatform],
    declared: Iterable[PlatformSpec],
    system_requirements: dict[str, str] | None = None,
) -> tuple[LockedPlatform, ...]:
    """Give the platforms of a lock the names that the manifest has for them.

    A lock calls platforms with declared virtual packages ``p1``, ``p2``, …; they are recognized by their
    contents. If the lock lists no virtual packages (before version 7), the manifest's
    ``[system-requirements]`` count. The order is that of the manifest, then that of the lock.
    """
    specs = list(declared)
    platforms = list(locked)
    positions = {p.name: _position(p, specs) for p in platforms}
    free = [i for i in range(len(specs)) if i not in positions.values()]
    found: list[tuple[int, LockedPlatform]] = []
    for platform in platforms:
        position = positions[platform.name]
        if (
            position is None
        ):  # the only one left of its subdir on both sides: virtual packages came from elsewhere
            alike = [p for p in platforms if p.subdir == platform.subdir and positions[p.name] is None]
            left = [i for i in free if specs[i].subdir == platform.subdir]
            position = left[0] if len(left) == len(alike) == 1 else None
        label = platform.name if position is None else specs[position].name
        virtual = platform.virtual_packages
        if not virtual and system_requirements and platform.subdir.startswith("linux"):
            virtual = tuple(sorted(f"{k}={v}" for k, v in system_requirements.items() if k != "__osx"))
        rank = len(specs) if position is None else position
        found.append((rank, attrs.evolve(platform, label=label, virtual_packages=virtual)))
    return tuple(platform for _, platform in sorted(found, key=lambda pair: (pair[0], pair[1].name)))


def _position(platform: LockedPlatform, specs: list[PlatformSpec]) -> int | None:
    """Index of the manifest's entry for a lock's platform.

    If two fit, the one with more virtual packages is chosen.
    """
    fitting = [i for i, spec in enumerate(specs) if _describes(spec, platform)]
    return max(fitting, key=lambda i: len(specs[i].virtual_packages), default=None)


def _describes(spec: PlatformSpec, platform: LockedPlatform) -> bool:
    if spec.subdir != platform.subdir:
        return False
    if not spec.virtual_packages:
        return platform.name in {spec.name, spec.subdir}
    return all(
        same_version(platform.virtual_package(name), version)
        for name, version in spec.virtual_packages.items()
    )


def same_version(locked: str | None, declared: str) -> bool:
    """Whether two versions are equal; ``12`` and ``12.0`` are."""
    return locked is not None and re.sub(r"(\.0)+$", "", locked) == re.sub(r"(\.0)+$", "", declared)


def choose_platform(
    platforms: Iterable[LockedPlatform],
    name: str | None = None,
    *,
    gpus: bool = False,
    where: str = "the lock",
    ordered: bool = True,
) -> LockedPlatform:
    """The platform that is meant.

    Args:
        platforms: Those that the environment is locked for.
        name: Name in the manifest or in the lock, or a subdir that only one platform has.
            None: the Linux platform of this machine's architecture (linux-64 on a machine that is not Linux),
            or the only Linux one; of several, one with ``__cuda`` if `gpus`, else one without.
        gpus: Whether GPUs are wanted.
        where: What to call the lock and environment in an error.
        ordered: Whether `platforms` stand in order of preference, as a manifest's do; a lock's do not.

    Raises:
        UnknownPlatform: There is none, or `name` fits several.
    """
    known = list(platforms)
    names = [p.label for p in known]
    if name is not None:
        for exact in ([p for p in known if p.label == name], [p for p in known if p.name == name]):
            if len(exact) == 1:
                return exact[0]
        of_subdir = [p for p in known if p.subdir == name]
        if len(of_subdir) == 1:
            return of_subdir[0]
        if of_subdir:
            raise UnknownPlatform(
                f"{where}: {name!r} may be any of {', '.join(map(str, of_subdir))}", hint="name one of these"
            )
        raise UnknownPlatform(f"{where} is not locked for platform {name!r}", hint=nearest(name, names))
    linux = [p for p in known if p.subdir.startswith("linux-")]
    if not linux:
        raise UnknownPlatform(
            f"{where} is not locked for any Linux platform, and workers are Linux machines",
            hint=f"pixi workspace platform add linux-64 (it has: {', '.join(names) or 'none'})",
        )
    subdirs = {p.subdir for p in linux}
    subdir = subdirs.pop() if len(subdirs) == 1 else native_subdir()
    candidates = [p for p in linux if p.subdir == subdir]
    if not candidates:
        raise UnknownPlatform(
            f"{where} has no platform of this machine's architecture ({subdir})",
            hint=f"name the one of your workers: {', '.join(names)}",
        )
    fitting = [p for p in candidates if (p.virtual_package("__cuda") is not None) == gpus]
    chosen = fitting or candidates
    if len(chosen) > 1 and not ordered:
        raise UnknownPlatform(
            f"{where}: any of {', '.join(map(str, chosen))} may be meant", hint="name one of these"
        )
    return chosen[0]


def native_subdir() -> str:
    """The subdir of Linux machines like this one. Jobs execute there unless another platform is named."""
    if not sys.platform.startswith("linux"):
        return "linux-64"
    architecture = machine.machine()
    return {"x86_64": "linux-64", "amd64": "linux-64"}.get(architecture.lower(), f"linux-{architecture}")
