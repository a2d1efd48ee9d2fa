"""Which CUDA an environment was built for.

Many places of a lock can say it, and each finding names its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from wingspan.environments.lock import LockedEnvironment, LockedPackage
from wingspan.environments.specs import lower_bound, required_name, virtual_bounds

__all__ = ["CudaUse", "cpu_build", "cuda_of_build", "find_cuda"]

#: Packages that come in a CPU and a CUDA build of one name: conda, then PyPI.
_TWO_BUILDS = ("pytorch", "jaxlib", "tensorflow", "torch")


@attrs.frozen(kw_only=True)
class CudaUse:
    """How an environment uses CUDA.

    Attributes:
        major: CUDA major of the toolkit that it was built for (the highest, if there are several), or None.
        minor: Its minor, where the lock says it; else None.
        majors: All majors that were found. A mixture of several seldom works.
        floor: The highest ``__cuda >=X`` that a package demands: ``(12, 0)``, or None.
        floor_of: The package that demands it, and how: ``"torchvision 0.21.0 …: __cuda >=12.4"``; empty if
            none does.
        users: Packages that are built for CUDA or belong to it.
        evidence: Where the version was seen.
    """

    major: int | None = None
    minor: int | None = None
    majors: tuple[int, ...] = ()
    floor: tuple[int, int] | None = None
    floor_of: str = ""
    users: tuple[LockedPackage, ...] = attrs.field(default=(), repr=False)
    evidence: str = ""

    @property
    def version(self) -> str | None:
        """``"12.9"``, or None if the minor is unknown."""
        return None if self.major is None or self.minor is None else f"{self.major}.{self.minor}"


def find_cuda(env: LockedEnvironment) -> CudaUse:
    """Find out which CUDA the packages of `env` use."""
    found: list[tuple[int, int | None, str]] = []
    users: list[LockedPackage] = []
    bounds = list(virtual_bounds(env.packages, "__cuda", env.platform))
    asking = {bound.package.name for bound in bounds if bound.field == "depends"}
    locked = env.package("cuda-version")
    for package in env.packages:
        versions = list(_versions(package, locked))
        found += [(major, minor, str(package)) for major, minor in versions]
        if (versions and package is not locked) or (package.kind == "conda" and package.name in asking):
            users.append(package)
    floor, floor_of = None, ""
    for bound in bounds:
        asked = (*bound.version, 0, 0)[:2] if bound.version else None
        if asked is not None and (floor is None or asked > floor):
            floor, floor_of = (asked[0], asked[1]), f"{bound.package} ({bound.field}: {bound.spec})"
    if not found:
        return CudaUse(floor=floor, floor_of=floor_of, users=tuple(users))
    major = max(m for m, _, _ in found)
    # Of several minors the highest counts: libraries of 12.8 are made to run beside a runtime of 12.9.
    best = max((f for f in found if f[0] == major), key=lambda f: -1 if f[1] is None else f[1])
    return CudaUse(
        major=major,
        minor=best[1],
        majors=tuple(sorted({m for m, _, _ in found})),
        floor=floor,
        floor_of=floor_of,
        users=tuple(users),
        evidence=best[2],
    )


def _versions(package: LockedPackage, locked: LockedPackage | None) -> Iterator[tuple[int, int | None]]:
    """(major, minor) of the CUDA that one package names; minor is None if it names the major only.

    `locked` is the environment's ``cuda-version``, if it has one.
    """
    if package.kind == "conda":
        if package.name in {"cuda-version", "cudatoolkit", "pytorch-cuda", "cuda-runtime", "cuda-toolkit"}:
            yield _major_minor(package.version)
        elif (version := cuda_of_build(package.build)) is not None:
            yield version
        else:
            # CUDA's own libraries say which one they belong to: "cuda-version >=12.9,<12.10.0a0". A range of
            # several majors does not say which. If cuda-version is locked, it decides.
            for spec in package.depends:
                major = _only_major(spec) if required_name(spec) == "cuda-version" else None
                if major is not None:
                    yield (_major_minor(locked.version)[0] if locked else major), None
        return
    if local := re.search(r"\+cu(\d{2,3})\b", package.version):
        yield int(local.group(1)[:2]), int(local.group(1)[2:] or 0)
    elif re.fullmatch(r"nvidia-cuda-runtime(-cu\d+)?", package.name):
        yield _major_minor(package.version)
    elif named := re.search(r"-cu(?:da)?(\d{2})x?(?:-|$)", package.name):
        yield int(named.group(1)), None


def _only_major(spec: str) -> int | None:
    """The only CUDA major that a match spec allows; None if it allows several.

    >>> _only_major("cuda-version >=12.9,<12.10.0a0"), _only_major("cuda-version 12.*")
    (12, 12)
    >>> _only_major("cuda-version >=12.0,<14") is _only_major("cuda-version >=12") is None
    True
    """
    text = re.split(r"[;\[]", spec, maxsplit=1)[0].partition("cuda-version")[2].strip()
    low = lower_bound(text)
    if not low:
        return None
    below = [re.match(r"\s*(<=?)\s*(\d+)(?:\.(\d+))?", part) for part in text.split(",")]
    highest = [
        int(found[2]) - (1 if found[1] == "<" and not int(found[3] or 0) else 0) for found in below if found
    ]
    exact = re.match(r"(?:==?|~=)?\s*\d", text)  # 12.9.*, ==12.9, ~=12.9
    return low[0] if (highest and min(highest) == low[0]) or (exact and "|" not in text) else None


def _major_minor(version: str) -> tuple[int, int | None]:
    numbers = [int(part) for part in re.findall(r"\d+", version)[:2]]
    return numbers[0], numbers[1] if len(numbers) > 1 else None


def cuda_of_build(build: str) -> tuple[int, int | None] | None:
    """The CUDA that a conda build string names.

    >>> cuda_of_build("cuda129_mkl_py313_h1e53aa0_304"), cuda_of_build("py3.10_cuda11.8_cudnn8.7.0_0")
    ((12, 9), (11, 8))
    >>> cuda_of_build("cpu_mkl_py314_hf472749_104") is None
    True
    """
    if dotted := re.search(r"(?:^|[_.])cuda_?(\d{2})\.(\d+)", build):
        return int(dotted.group(1)), int(dotted.group(2))
    if plain := re.search(r"(?:^|[_.])cu(?:da)?_?(\d{2})(\d)?(?!\d)", build):
        return int(plain.group(1)), int(plain.group(2)) if plain.group(2) else None
    return None


def cpu_build(env: LockedEnvironment) -> tuple[LockedPackage, ...]:
    """Packages that exist for CUDA too, and are locked as their CPU build."""
    return tuple(
        package
        for package in env.packages
        if package.name in _TWO_BUILDS
        and (
            re.match(r"cpu(_|$)", package.build)
            or "_cpu_" in package.build
            or package.version.endswith("+cpu")
        )
    )
