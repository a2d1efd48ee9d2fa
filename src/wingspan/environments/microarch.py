"""Which level of x86-64 processors an environment needs: x86-64-v1 to v4.

Conda and Pixi say it by ``__archspec``, whose build is the name of a microarchitecture. HTCondor's machines
say it by ``Microarch``, which is a level.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from wingspan.environments.lock import LockedEnvironment, LockedPackage
from wingspan.environments.specs import condition_holds, required_name

__all__ = ["Microarch", "level_of", "needed_microarch"]

#: Names of archspec by the level that such a processor has at least (its microarchitectures.json).
_LEVELS = {
    1: "x86_64 nocona core2 k10",
    2: "x86_64_v2 nehalem westmere sandybridge ivybridge bulldozer piledriver steamroller",
    3: "x86_64_v3 haswell broadwell skylake mic_knl cannonlake excavator zen zen2 zen3",
    4: "x86_64_v4 skylake_avx512 cascadelake icelake sapphirerapids zen4 zen5",
}
_LEVEL_OF = {name: level for level, names in _LEVELS.items() for name in names.split()}
#: conda-forge's package that a build for a level depends on; its version is the level.
_META = "_x86_64-microarch-level"


@attrs.frozen(kw_only=True)
class Microarch:
    """What is known of the processor that an environment needs.

    Attributes:
        level: ``"x86_64-v3"``, as HTCondor's machines have it; None: any will do.
        warnings: What could not be read.
    """

    level: str | None = None
    warnings: tuple[str, ...] = ()


def level_of(name: str) -> int | None:
    """The level that a processor of this name has at least; None: the name is not known here.

    >>> level_of("x86_64_v3"), level_of("zen4"), level_of("m1")
    (3, 4, None)
    """
    return _LEVEL_OF.get(name)


def needed_microarch(env: LockedEnvironment) -> Microarch:
    """The level that packages of a lock ask for, or that its platform was declared to have."""
    if env.platform.subdir != "linux-64":
        return Microarch()
    wanted, unknown = [1], []
    for who, names in _stated(env):
        levels = [level for name in names if (level := level_of(name)) is not None]
        if levels:
            wanted.append(min(levels))  # any of them will do
        elif names:
            unknown.append(
                f"{who} asks for a processor {' or '.join(names)}, of which is not known here what it needs at least: nothing is "
                "asked of machines for it"
            )
    highest = max(wanted)
    return Microarch(level=f"x86_64-v{highest}" if highest > 1 else None, warnings=tuple(unknown))


def _stated(env: LockedEnvironment) -> Iterator[tuple[str, list[str]]]:
    """Who asks for a processor, and the names of those that it accepts."""
    if (declared := env.platform.virtual_package("__archspec")) is not None:
        yield f"the platform {env.platform.label}", [declared]
    for package in env.packages:
        if package.kind != "conda":
            continue
        if package.name == _META and package.version.isdigit():
            yield str(package), [f"x86_64_v{package.version}" if package.version != "1" else "x86_64"]
            continue
        # Each machine has a processor, so that a constraint is as good as a dependency.
        for spec in (*package.depends, *package.constrains):
            if required_name(spec) == "__archspec":
                yield str(package), _accepted(package, spec, env)


def _accepted(package: LockedPackage, spec: str, env: LockedEnvironment) -> list[str]:
    """Names in the build of ``__archspec 1.* ^(x86_64_v3|haswell)$`` and its like; none: any."""
    plain, _, condition = spec.partition("; if ")
    if condition and condition_holds(condition, env.platform, {}) is False:
        return []
    build = re.search(r"build\s*=\s*['\"]?([^'\"\]]+)", plain)
    text = build[1] if build else " ".join(re.split(r"[\s=]+", plain.strip())[2:])
    return re.findall(r"[a-z][a-z0-9_]+", text)
