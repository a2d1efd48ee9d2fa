"""Which CUDA an environment was built for. It hides in many places of a lock; each finding names its own."""

from __future__ import annotations

import re
from collections.abc import Iterator

import attrs

from wingspan.environments.lock import LockedEnvironment, LockedPackage

__all__ = ["CudaUse", "cpu_build", "cuda_of_build", "find_cuda"]

#: Packages that come in a CPU and a CUDA build of one name: conda, then PyPI.
_TWO_BUILDS = ("pytorch", "jaxlib", "tensorflow", "torch")


@attrs.frozen(kw_only=True)
class CudaUse:
    """What an environment has to do with CUDA.

    Attributes:
        major: CUDA major of the toolkit that it was built for (the highest, if there are several), or None.
        minor: Its minor, where the lock says it; else None.
        majors: All majors found: more than one is a mixture that seldom works.
        floor: The highest ``__cuda >=X`` that a package demands: ``(12, 0)``, or None.
        users: Packages that are built for CUDA or belong to it.
        evidence: Where the version was seen.
    """

    major: int | None = None
    minor: int | None = None
    majors: tuple[int, ...] = ()
    floor: tuple[int, int] | None = None
    users: tuple[LockedPackage, ...] = attrs.field(default=(), repr=False)
    evidence: str = ""

    @property
    def version(self) -> str | None:
        """``"12.9"``, or None if the minor is unknown."""
        return None if self.major is None or self.minor is None else f"{self.major}.{self.minor}"


def find_cuda(env: LockedEnvironment) -> CudaUse:
    """Look through the packages of `env`."""
    found: list[tuple[int, int | None, str]] = []
    users: list[LockedPackage] = []
    floor: tuple[int, int] | None = None
    for package in env.packages:
        versions = list(_versions(package))
        found += [(major, minor, str(package)) for major, minor in versions]
        if (versions and package.name != "cuda-version") or any(
            re.match(r"__cuda\b", d) for d in package.depends
        ):
            users.append(package)
        for spec in (*package.depends, *package.constrains):
            bound = re.match(r"__cuda\s*>=\s*(\d+)(?:\.(\d+))?", spec)
            if bound:
                asked = (int(bound.group(1)), int(bound.group(2) or 0))
                floor = asked if floor is None else max(floor, asked)
    if not found:
        return CudaUse(floor=floor, users=tuple(users))
    major = max(m for m, _, _ in found)
    # Of several minors the highest counts: libraries of 12.8 beside a runtime of 12.9 were made for that.
    best = max((f for f in found if f[0] == major), key=lambda f: -1 if f[1] is None else f[1])
    return CudaUse(
        major=major,
        minor=best[1],
        majors=tuple(sorted({m for m, _, _ in found})),
        floor=floor,
        users=tuple(users),
        evidence=best[2],
    )


def _versions(package: LockedPackage) -> Iterator[tuple[int, int | None]]:
    """(major, minor) of the CUDA that one package speaks of; minor None: it names the major only."""
    if package.kind == "conda":
        if package.name in {"cuda-version", "cudatoolkit", "pytorch-cuda", "cuda-runtime", "cuda-toolkit"}:
            yield _major_minor(package.version)
        elif (version := cuda_of_build(package.build)) is not None:
            yield version
        else:
            # CUDA's own libraries say which one they belong to: "cuda-version >=12.9,<12.10.0a0".
            for spec in package.depends:
                if bound := re.match(r"cuda-version\s*>=\s*(\d+)(?:\.(\d+))?", spec):
                    yield int(bound.group(1)), None
        return
    if local := re.search(r"\+cu(\d{2,3})\b", package.version):
        yield int(local.group(1)[:2]), int(local.group(1)[2:] or 0)
    elif re.fullmatch(r"nvidia-cuda-runtime(-cu\d+)?", package.name):
        yield _major_minor(package.version)
    elif named := re.search(r"-cu(?:da)?(\d{2})x?(?:-|$)", package.name):
        yield int(named.group(1)), None


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
