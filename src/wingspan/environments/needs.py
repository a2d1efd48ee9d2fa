"""What a machine must have to run a locked environment.

It is derived from facts; warnings name what is unknown.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TypedDict, cast

import attrs

from wingspan._words import counted
from wingspan.environments.archives import (
    find_local,
    installed_size,
    package_caches,
    read_member,
    search_member,
)
from wingspan.environments.capabilities import (
    ArchList,
    cuda_floor,
    cudnn_floor,
    official_wheel,
    parse_arch_list,
    table_row,
)
from wingspan.environments.cuda import CudaUse, cpu_build, cuda_of_build, find_cuda
from wingspan.environments.lock import LockedEnvironment, LockedPackage
from wingspan.environments.microarch import needed_microarch
from wingspan.environments.specs import required_name, version_numbers, virtual_bounds

__all__ = ["EXPANSION", "Needs", "NeedsFacts", "derive_needs"]

#: Installed bytes per archive byte, for packages that are not on this machine. Measured: 974 MB from 413 MB
#: of archives.
EXPANSION = 2.4
#: How many packages a warning names; of a lock from PyPI it could name hundreds.
_NAMED = 6

#: Packages with GPU code that follow libtorch's list, or compile theirs at run time.
_FOLLOW_TORCH = frozenset(
    {"pytorch", "libtorch", "pytorch-gpu", "torch", "torchvision", "torchaudio", "triton", "pytorch-cuda"}
)

#: PyTorch keeps the flags that it was compiled with: "sm_70 sm_75 compute_90". Any byte may stand before
#: them.
_COMPILED_FOR = re.compile(rb"sm_\d{2,3}[af]?(?: (?:sm|compute)_\d{2,3}[af]?)+")

_LEGACY_MANYLINUX = {"manylinux1": (2, 5), "manylinux2010": (2, 12), "manylinux2014": (2, 17)}


class NeedsFacts(TypedDict, total=False):
    """`Needs` as files have them; one of another version may lack keys, or have more."""

    platform: str
    glibc_min: str | None
    microarch_min: str | None
    cuda_runtime_min: str | None
    gpu_capability_min: str | None
    gpu_capability_max: str | None
    download_bytes: int
    installed_bytes: int
    python: str | None
    warnings: list[str]


@attrs.frozen(kw_only=True)
class Needs:
    """What a machine must have. None means: nothing is needed, or it is unknown and a warning says so.

    Attributes:
        platform: Subdir: ``"linux-64"``.
        glibc_min: ``"2.28"``.
        microarch_min: ``"x86_64-v3"``: the ``Microarch`` of HTCondor's machines.
        cuda_runtime_min: ``"12.0"``: HTCondor's ``gpus_minimum_runtime``.
        gpu_capability_min: ``"7.5"``: ``gpus_minimum_capability``.
        gpu_capability_max: ``"9.9"``: ``gpus_maximum_capability``; None: later GPUs run it from PTX.
        download_bytes: Sum of the archive sizes, as far as they are known.
        installed_bytes: Bytes of the installed files: exact for packages that are on this machine, estimated
            for others.
        python: ``"3.12"``.
        warnings: One sentence for each thing that a person should know.
    """

    platform: str
    glibc_min: str | None = None
    microarch_min: str | None = None
    cuda_runtime_min: str | None = None
    gpu_capability_min: str | None = None
    gpu_capability_max: str | None = None
    download_bytes: int = 0
    installed_bytes: int = 0
    python: str | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> NeedsFacts:
        """The attributes under their names; `warnings` as a list."""
        return cast("NeedsFacts", {**attrs.asdict(self), "warnings": list(self.warnings)})


def derive_needs(
    env: LockedEnvironment,
    *,
    strict_ptx: bool = False,
    gpus: bool = False,
    caches: Iterable[Path] | None = None,
    installed: bool = True,
    measured: int | None = None,
) -> Needs:
    """Derive the needs from the lock, and from the package archives that are on this machine.

    The CUDA runtime is asked for by major: any driver that runs CUDA 12.0 runs what was built with 12.9
    (NVIDIA's minor-version compatibility).

    Args:
        env: The environment.
        strict_ptx: Ask for the toolkit's minor version (12.9) too. Code that compiles PTX at run time needs
            this.
        gpus: Whether GPUs are asked for. A CPU build is then worth a warning even if the platform promises no
            CUDA.
        caches: Folders with package archives or extracted packages; None: `package_caches`.
        installed: Whether to look into the archives for the installed size. Otherwise it is an estimate.
        measured: Bytes that the environment had when it was installed. Nothing is estimated or looked for
            then.
    """
    derivation = _Derivation(
        env, package_caches() if caches is None else tuple(caches), installed=installed, measured=measured
    )
    return derivation.needs(strict_ptx=strict_ptx, gpus=gpus)


class _Derivation:
    def __init__(
        self, env: LockedEnvironment, caches: tuple[Path, ...], *, installed: bool, measured: int | None
    ) -> None:
        self.env = env
        self.installed = installed
        self.measured = measured
        self.caches = caches
        self.local = {p: find_local(p, env.lock_path.parent, caches) for p in env.packages}
        self.warnings: list[str] = []

    def needs(self, *, strict_ptx: bool, gpus: bool) -> Needs:
        env = self.env
        cuda = find_cuda(env)
        runtime = self.cuda_runtime(cuda, strict_ptx=strict_ptx)
        self.warn_of_cpu_builds(gpus=gpus)
        lowest, highest = self.capabilities(cuda) if runtime else (None, None)
        if gpus and not runtime:
            self.warnings.append(
                f"GPUs are asked for, but nothing in environment {env.name!r} on {env.platform.label} "
                "uses CUDA"
            )
        glibc, processor = self.glibc(), needed_microarch(env)
        self.warnings += processor.warnings
        download, installed = self.sizes()
        self.warn_of_other_conditions()
        self.warn_of_problems()
        return Needs(
            platform=env.platform.subdir,
            glibc_min=glibc,
            microarch_min=processor.level,
            cuda_runtime_min=runtime,
            gpu_capability_min=lowest,
            gpu_capability_max=highest,
            download_bytes=download,
            installed_bytes=installed,
            python=env.python,
            warnings=tuple(self.warnings),
        )

    def cuda_runtime(self, cuda: CudaUse, *, strict_ptx: bool) -> str | None:
        if len(cuda.majors) > 1:
            majors = " and ".join(map(str, cuda.majors))
            self.warnings.append(f"packages for CUDA {majors} are mixed; the highest is asked for")
        if not cuda.users:
            if cuda.major is not None:
                self.warnings.append(
                    f"{cuda.evidence} is there, but no package is built for CUDA: nothing is asked of GPUs"
                )
            return None
        asked = cuda.floor
        if cuda.major is not None:
            by_major = (cuda.major, cuda.minor or 0) if strict_ptx else (cuda.major, 0)
            if asked is not None and asked > by_major:
                rule = f"CUDA {by_major[0]}.{by_major[1]}, which is what CUDA {cuda.version or cuda.major} itself needs"
                self.warnings.append(
                    f"{cuda.floor_of} asks for a driver of CUDA {asked[0]}.{asked[1]} or later: machines whose driver "
                    f"has less are left out, though they have {rule}"
                )
            asked = by_major if asked is None else max(asked, by_major)
            if strict_ptx and cuda.minor is None:
                self.warnings.append(
                    f"the lock names CUDA {cuda.major} without a minor version ({cuda.evidence}): "
                    "the strict rule asks for the major only"
                )
        if asked is None:
            names = ", ".join(str(p) for p in cuda.users)
            self.warnings.append(f"{names}: built for CUDA, but the lock does not say which: set it yourself")
            return None
        return f"{asked[0]}.{asked[1]}"

    def warn_of_cpu_builds(self, *, gpus: bool) -> None:
        promised = self.env.platform.virtual_package("__cuda")
        if promised is None and not gpus:
            return
        why = (
            "GPUs are asked for"
            if promised is None
            else f"{self.env.platform.label} promises CUDA {promised}"
        )
        for package in cpu_build(self.env):
            build = package.build or package.version
            remedy = (
                'ask for pytorch-gpu, or for pytorch with build = "*cuda*"'
                if package.name == "pytorch"
                else f'ask for {package.name} with build = "*cuda*"'
                if package.kind == "conda"
                else "take it from an index with CUDA wheels"
            )
            self.warnings.append(
                f"{why}, but {package.name} {package.version} is a CPU build ({build}): "
                f"it uses no GPU; {remedy}"
            )

    def capabilities(self, cuda: CudaUse) -> tuple[str | None, str | None]:
        lowest: list[str] = []
        highest: list[str] = []
        if cuda.major is not None and (floor := cuda_floor(cuda.major)):
            lowest.append(floor)
        for name in ("cudnn", "libcudnn", f"nvidia-cudnn-cu{cuda.major}"):
            package = self.env.package(name)
            known = cudnn_floor(package.version) if package else None
            if package and known:
                lowest.append(known[0])
                if known[0] != cuda_floor(cuda.major or 0):
                    self.warnings.append(f"{package} needs compute capability {known[0]}: {known[1]}")
                break
        for bound in virtual_bounds(self.env.packages, "__cuda_arch", self.env.platform):
            if bound.version:
                major, minor = (*bound.version, 0)[:2]
                lowest.append(f"{major}.{minor}")
        # What the platform was declared to have: the lock was solved for it.
        if declared := version_numbers(self.env.platform.virtual_package("__cuda_arch") or ""):
            lowest.append(".".join(map(str, (*declared, 0)[:2])))
        torch = self.torch()
        archs = self.arch_list(torch, cuda) if torch is not None else None
        if archs is not None:
            lowest.append(archs.minimum)
            if archs.maximum is not None:
                highest.append(archs.maximum)
                self.warnings.append(
                    f"{torch} carries no PTX: it does not run on compute capabilities above {archs.maximum}"
                )
        for package in self.unknown_gpu_code(None if archs else torch, cuda):
            self.warnings.append(
                f"{package}: for which compute capabilities it was compiled is unknown here; only what CUDA "
                "itself needs is asked for: if it needs more, set gpus_minimum_capability yourself"
            )
        return max(lowest, key=_version, default=None), min(highest, key=_version, default=None)

    def torch(self) -> LockedPackage | None:
        """The package that holds PyTorch's GPU code."""
        for name in ("libtorch", "pytorch", "torch"):
            package = self.env.package(name)
            if package is not None:
                return None if package in cpu_build(self.env) or package.build.startswith("cpu") else package
        return None

    def arch_list(self, torch: LockedPackage, cuda: CudaUse) -> ArchList | None:
        """The capabilities from the package itself if it is on this machine, else from the table."""
        if torch.kind == "conda":
            script = "etc/conda/activate.d/libtorch_activate.sh"
            place = self.local[torch]
            text = read_member(place, script) if place else None
            if text and (stated := re.search(r'CF_TORCH_CUDA_ARCH_LIST="([^"]+)"', text)):
                return parse_arch_list(stated.group(1), f"{torch.file_name}: {script}")
        if (compiled := self.compiled_arch_list(torch)) is not None:
            return compiled
        built = cuda_of_build(torch.build) if torch.kind == "conda" else None
        if local := re.search(r"\+cu(\d{2})(\d)\b", torch.version):
            built = (int(local.group(1)), int(local.group(2)))
        version = f"{built[0]}.{built[1]}" if built and built[1] is not None else cuda.version
        if version is None or (torch.kind == "conda" and "/conda-forge/" not in torch.location):
            return None
        table = table_row if torch.kind == "conda" else official_wheel
        return table(torch.version, version, self.env.platform.subdir)

    def compiled_arch_list(self, torch: LockedPackage) -> ArchList | None:
        """What ``torch.cuda.get_arch_list()`` would answer: a string in libtorch_python,
        read without a GPU."""
        for package in (torch, self.env.package("pytorch")):
            place = self.local.get(package) if package else None
            text = search_member(place, "/libtorch_python.so", _COMPILED_FOR) if package and place else None
            if package and text:
                return parse_arch_list(text, f"{package.file_name}: libtorch_python.so")
        return None

    def unknown_gpu_code(self, torch: LockedPackage | None, cuda: CudaUse) -> Iterator[LockedPackage]:
        """Packages with GPU code of their own whose capabilities are unknown.

        `torch` is given if it is one of them.
        """
        if torch is not None:
            yield torch
        for package in cuda.users:
            if package.name not in _FOLLOW_TORCH and (
                cuda_of_build(package.build) or any(required_name(d) == "__cuda" for d in package.depends)
            ):
                yield package

    def glibc(self) -> str | None:
        if not self.env.platform.subdir.startswith("linux"):
            return None
        bounds = virtual_bounds(self.env.packages, "__glibc", self.env.platform)
        found = [bound.version for bound in bounds if bound.version]
        for package in self.env.packages:
            if package.form == "wheel" and (needed := _wheel_glibc(package.file_name)):
                found.append(needed)
        if not found:
            self.warnings.append(
                "no package says which glibc it needs (older conda packages do not): unknown"
            )
            return None
        return ".".join(map(str, max(found)))

    def sizes(self) -> tuple[int, int]:
        """(download, installed) in bytes."""
        download = installed = estimated = 0
        unknown: list[str] = []
        for package in self.env.packages:
            place = self.local[package]
            size = package.size
            if size is None and place is not None and not place.extracted:
                size = place.path.stat().st_size
            exact = installed_size(place) if place and self.installed and self.measured is None else None
            if size is None and exact is None and package.form in {"conda", "wheel"}:
                unknown.append(package.name)
            download += size or 0
            if exact is None:
                estimated += 1 if size else 0
                installed += round((size or 0) * EXPANSION)
            else:
                installed += exact
        if self.measured is not None:
            return download, self.measured
        if estimated:
            self.warnings.append(
                f"the installed size is an estimate ({EXPANSION} × the archive) for {estimated} of "
                f"{len(self.env.packages)} packages, which are not on this machine"
            )
        if unknown:
            named = ", ".join(unknown[:_NAMED])
            more = f" and {counted(len(unknown) - _NAMED, 'other')}" if len(unknown) > _NAMED else ""
            self.warnings.append(f"the lock has no size of {named}{more}: not counted")
        return download, installed

    def warn_of_other_conditions(self) -> None:
        """Virtual packages that packages of the lock ask for, and that nothing is asked of machines for."""
        for spec, package in _other_conditions(self.env):
            name = required_name(spec)
            if name == "__linux":
                what = "nothing is asked of machines for that version of the kernel"
            elif name == "__glibc":
                what = "nothing is asked of machines for a glibc that is older than that"
            elif name in _ELSEWHERE:
                what = f"no machine of {self.env.platform.subdir} has that"
            else:
                what = "it is not known here which machines have that, and nothing is asked of them for it"
            asks = "depends on" if spec in package.depends else "allows only"
            self.warnings.append(f"{package} {asks} {spec}: {what}")

    def warn_of_problems(self) -> None:
        weak = []
        for problem in self.env.problems():
            if problem.severity == "weak":
                weak.append(problem.package.name)
            elif problem.severity != "code":
                self.warnings.append(str(problem))
        if weak:
            self.warnings.append(f"locked with an md5 only, and checked by it: {', '.join(weak)}")


#: Virtual packages that become needs, or that each Linux has; and those of other systems.
_KNOWN = frozenset({"__glibc", "__cuda", "__cuda_arch", "__archspec", "__unix"})
_ELSEWHERE = frozenset({"__win", "__osx", "__musl"})
#: An upper bound that machines exceed: of glibc below 3, which there will hardly be, and of the kernel.
_OLDER = re.compile(r"__glibc.*<=?\s*[0-2]\.|__linux.*<")
#: The kernel that RHEL 8 has, as has every machine that is still looked after.
_KERNEL = (4, 18)


def _other_conditions(env: LockedEnvironment) -> Iterator[tuple[str, LockedPackage]]:
    """Each other virtual package that a package depends on, and the first such package. Each machine has a
    kernel and a glibc, of which constraints count, too, and of which no need says "older than".
    """
    found: dict[str, LockedPackage] = {}
    for package in env.packages if env.platform.subdir.startswith("linux") else ():
        for spec in (*package.depends, *package.constrains) if package.kind == "conda" else ():
            name = required_name(spec)
            if not name.startswith("__") or (name in _KNOWN and name != "__glibc"):
                continue
            for bound in virtual_bounds([package], name, env.platform):
                older = _OLDER.search(bound.spec) is not None
                if name == "__glibc":
                    counts = older
                elif name == "__linux":
                    counts = older or (bound.version or ()) > _KERNEL
                else:
                    counts = bound.field == "depends"
                if counts:
                    found.setdefault(bound.spec, package)
    yield from found.items()


def _version(text: str) -> tuple[int, ...]:
    return tuple(int(part) for part in text.rstrip(".").split("."))


def _wheel_glibc(file_name: str) -> tuple[int, ...] | None:
    """The lowest glibc that one of a wheel's tags allows (PEP 600); None if it needs none.

    >>> _wheel_glibc("numpy-2.0.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl")
    (2, 17)
    >>> _wheel_glibc("attrs-25.1-py3-none-any.whl") is None
    True
    """
    tags = file_name.removesuffix(".whl").rpartition("-")[2].split(".")
    found = []
    for tag in tags:
        if stated := re.match(r"manylinux_(\d+)_(\d+)_", tag):
            found.append((int(stated.group(1)), int(stated.group(2))))
        elif tag.partition("_")[0] in _LEGACY_MANYLINUX:
            found.append(_LEGACY_MANYLINUX[tag.partition("_")[0]])
    return min(found, default=None)
