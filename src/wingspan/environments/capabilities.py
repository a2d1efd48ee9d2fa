"""NVIDIA compute capabilities and CUDA versions: what builds of packages were compiled for.

Every row names its source. A build without a row is *unknown*, and callers must say so: the row of a
neighbouring version proves nothing.

How code runs (CUDA C++ Programming Guide, "Application Compatibility"): a cubin for X.y runs on X.z with
z >= y; PTX for P runs on anything >= P; nothing runs below the lowest entry.
"""

from __future__ import annotations

import re

import attrs

__all__ = [
    "ArchList",
    "cuda_floor",
    "cudnn_floor",
    "driver_floor",
    "official_wheel",
    "parse_arch_list",
    "table_row",
]


@attrs.frozen(order=True)
class _Capability:
    major: int
    minor: int

    @classmethod
    def parse(cls, text: str) -> _Capability:
        found = re.fullmatch(r"(?:sm_|compute_)?(\d+)[.]?(\d)[a-z]?", text)
        if not found:
            raise ValueError(f"{text!r} is no compute capability")
        return cls(int(found.group(1)), int(found.group(2)))

    def __str__(self) -> str:
        return f"{self.major}.{self.minor}"


@attrs.frozen
class ArchList:
    """What a build was compiled for.

    Attributes:
        cubins: Sorted.
        ptx: The capabilities for which it carries PTX.
        source: Where this comes from.
    """

    cubins: tuple[_Capability, ...]
    ptx: tuple[_Capability, ...]
    source: str

    @property
    def minimum(self) -> str:
        """The lowest capability that it runs on.

        >>> parse_arch_list("7.0;7.5;8.0;12.0", "a test").minimum
        '7.0'
        """
        return str(min(self.cubins + self.ptx))

    @property
    def maximum(self) -> str | None:
        """The highest capability that it runs on; None: it carries PTX, so there is no bound.

        >>> parse_arch_list("5.0;8.6;9.0", "a test").maximum
        '9.9'
        >>> parse_arch_list("5.0;9.0+PTX", "a test").maximum is None
        True
        """
        return None if self.ptx else f"{max(self.cubins).major}.9"


def parse_arch_list(text: str, source: str) -> ArchList:
    """Read a ``TORCH_CUDA_ARCH_LIST`` (``8.0;9.0+PTX``) or a ``HERMETIC_CUDA_COMPUTE_CAPABILITIES``.

    >>> [str(c) for c in parse_arch_list("sm_60,sm_100,compute_120", "a test").ptx]
    ['12.0']

    Raises:
        ValueError: Something in it is no compute capability.
    """
    cubins: list[_Capability] = []
    ptx: list[_Capability] = []
    for entry in re.split(r"[;,\s]+", text.strip()):
        number, plus, _ = entry.partition("+")
        capability = _Capability.parse(number)
        if not entry.startswith("compute_"):
            cubins.append(capability)
        if plus or entry.startswith("compute_"):
            ptx.append(capability)
    return ArchList(tuple(sorted(cubins)), tuple(sorted(ptx)), source)


@attrs.frozen(kw_only=True)
class _Row:
    """One row.

    `versions` is a half-open range of major.minor; `cuda` names the CUDA versions of the builds that the row
    covers.
    """

    versions: tuple[tuple[int, int], tuple[int, int]]
    cuda: frozenset[str]
    subdirs: frozenset[str] = frozenset({"linux-64"})
    archs: str
    source: str


def _cuda(*versions: str) -> frozenset[str]:
    return frozenset(versions)


_FEEDSTOCK = "conda-forge/pytorch-cpu-feedstock, recipe/build.sh, branch of PyTorch"
_WHEELS = "pytorch/pytorch, .ci/manywheel/build_cuda.sh, tag"

#: conda-forge's libtorch. From 2.10 on the package states it itself (recipe commit d1514ecd, in
#: etc/conda/activate.d/libtorch_activate.sh); the rows then serve where the package is not on this machine.
_CONDA_FORGE_LIBTORCH = (
    _Row(
        versions=((2, 4), (2, 5)),
        cuda=_cuda("11.8"),
        archs="3.5;5.0;6.0;6.1;7.0;7.5;8.0;8.6;8.9+PTX",
        source=f"{_FEEDSTOCK} 2.4",
    ),
    _Row(
        versions=((2, 4), (2, 5)),
        cuda=_cuda("12.0"),
        archs="5.0;6.0;6.1;7.0;7.5;8.0;8.6;8.9;9.0+PTX",
        source=f"{_FEEDSTOCK} 2.4",
    ),
    _Row(
        versions=((2, 5), (2, 7)),
        cuda=_cuda("12.6"),
        archs="5.0;6.0;6.1;7.0;7.5;8.0;8.6;8.9;9.0+PTX",
        source=f"{_FEEDSTOCK} 2.5 and 2.6 (commit d1637f93)",
    ),
    _Row(
        versions=((2, 7), (2, 14)),
        cuda=_cuda("12.8", "12.9"),
        archs="5.0;6.0;7.0;7.5;8.0;8.6;9.0;10.0;12.0+PTX",
        source=f"{_FEEDSTOCK} 2.7 to 2.13",
    ),
    _Row(
        versions=((2, 10), (2, 14)),
        cuda=_cuda("13.0"),
        archs="7.5;8.0;8.6;9.0;10.0;11.0;12.0+PTX",
        source=f"{_FEEDSTOCK} 2.10 to 2.13",
    ),
    _Row(
        versions=((2, 10), (2, 14)),
        cuda=_cuda("13.0"),
        subdirs=frozenset({"linux-aarch64"}),
        archs="7.5;8.0;8.6;8.7;9.0;10.0;11.0;12.0+PTX",
        source=f"{_FEEDSTOCK} 2.10 to 2.13",
    ),
)

#: PyTorch's own wheels for x86_64. cu126 has no PTX and nothing newer than Hopper. The
#: rows of 2.7.1 with 12.6 and of 2.9.1 with 12.8 were compared with the wheels of PyPI:
#: the flags in their libtorch_python.so are these.
_TORCH_WHEELS = (
    _Row(
        versions=((2, 6), (2, 11)),
        cuda=_cuda("12.6"),
        archs="5.0;6.0;7.0;7.5;8.0;8.6;9.0",
        source=f"{_WHEELS}s v2.6.0, v2.7.0, v2.10.0",
    ),
    _Row(
        versions=((2, 7), (2, 8)),
        cuda=_cuda("12.8"),
        archs="7.5;8.0;8.6;9.0;10.0;12.0+PTX",
        source=f"{_WHEELS}s v2.7.0, v2.7.1",
    ),
    _Row(
        versions=((2, 8), (2, 11)),
        cuda=_cuda("12.8"),
        archs="7.0;7.5;8.0;8.6;9.0;10.0;12.0",
        source=f"{_WHEELS}s v2.8.0 to v2.10.0",
    ),
    _Row(
        versions=((2, 8), (2, 11)),
        cuda=_cuda("12.9"),
        archs="7.0;7.5;8.0;8.6;9.0;10.0;12.0+PTX",
        source=f"{_WHEELS}s v2.8.0 to v2.10.0",
    ),
    _Row(
        versions=((2, 9), (2, 11)),
        cuda=_cuda("13.0"),
        archs="7.5;8.0;8.6;9.0;10.0;12.0+PTX",
        source=f"{_WHEELS}s v2.9.0 to v2.10.0",
    ),
)


def table_row(version: str, cuda: str, subdir: str) -> ArchList | None:
    """What conda-forge's libtorch of `version`, built with CUDA `cuda`, was compiled for; None: unknown.

    >>> table_row("2.9.1", "12.9", "linux-64").minimum
    '5.0'
    >>> table_row("1.0", "12.9", "linux-64") is None
    True
    """
    return _find(_CONDA_FORGE_LIBTORCH, version, cuda, subdir)


def official_wheel(version: str, cuda: str, subdir: str) -> ArchList | None:
    """What PyTorch's own wheel was compiled for; None: unknown.

    >>> official_wheel("2.8.0+cu126", "12.6", "linux-64").maximum
    '9.9'
    """
    return _find(_TORCH_WHEELS, version, cuda, subdir)


def _find(rows: tuple[_Row, ...], version: str, cuda: str, subdir: str) -> ArchList | None:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    if numbers is None:
        return None
    key = (int(numbers.group(1)), int(numbers.group(2)))
    for row in rows:
        low, high = row.versions
        if low <= key < high and cuda in row.cuda and subdir in row.subdirs:
            return parse_arch_list(row.archs, row.source)
    return None


#: CUDA major → (lowest capability its libraries know, lowest NVIDIA driver on Linux x86_64, sources).
#: Capabilities: release notes of CUDA 12.0 (Kepler removed) and 13.0 (Maxwell, Pascal, Volta removed).
#: Drivers: CUDA release notes, "minor version compatibility".
_CUDA_MAJORS = {11: ("3.5", "450.80.02"), 12: ("5.0", "525.60.13"), 13: ("7.5", "580.65.06")}


def cuda_floor(major: int) -> str | None:
    """The lowest compute capability that a CUDA major knows at all; None: unknown.

    >>> cuda_floor(13)
    '7.5'
    """
    return _CUDA_MAJORS[major][0] if major in _CUDA_MAJORS else None


#: The driver that came with each CUDA on Linux x86_64. It runs PTX that the toolkit's compiler wrote
#: (CUDA release notes, table "CUDA Toolkit and Corresponding Driver Versions", row of the first release).
_PAIRED_DRIVERS = {
    (11, 1): "455.23",
    (11, 2): "460.27.03",
    (11, 3): "465.19.01",
    (11, 4): "470.42.01",
    (11, 5): "495.29.05",
    (11, 6): "510.39.01",
    (11, 7): "515.43.04",
    (11, 8): "520.61.05",
    (12, 1): "530.30.02",
    (12, 2): "535.54.03",
    (12, 3): "545.23.06",
    (12, 4): "550.54.14",
    (12, 5): "555.42.02",
    (12, 6): "560.28.03",
    (12, 8): "570.26",
    (12, 9): "575.51.03",
    (13, 1): "590.44.01",
    (13, 2): "595.45.04",
    (13, 3): "610.43.02",
}


def driver_floor(runtime: str) -> str | None:
    """The lowest NVIDIA driver on Linux x86_64 whose CUDA runtime is at least `runtime`; None: unknown.

    >>> driver_floor("12.0"), driver_floor("12.9")
    ('525.60.13', '575.51.03')
    """
    major, _, minor = runtime.partition(".")
    if int(minor or 0) == 0:
        return _CUDA_MAJORS[int(major)][1] if int(major) in _CUDA_MAJORS else None
    return _PAIRED_DRIVERS.get((int(major), int(minor)))


def cudnn_floor(version: str) -> tuple[str, str] | None:
    """(lowest capability, source) of a cuDNN, or None if it sets no limit of its own.

    >>> cudnn_floor("9.12.0.46")[0]
    '7.5'
    """
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:2])
    if numbers >= (9, 11):
        return "7.5", "cuDNN 9.11 dropped code for GPUs before Turing (conda-forge/cudnn-feedstock issue 124)"
    return None
