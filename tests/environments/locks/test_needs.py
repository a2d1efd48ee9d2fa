"""What a machine must have, derived from real locks and from packages made on the spot."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rattler

from wingspan.environments import Needs, Workspace, derive_needs, load_environment
from wingspan.environments.capabilities import (
    ArchList,
    cuda_floor,
    official_wheel,
    parse_arch_list,
    table_row,
)
from wingspan.environments.cuda import cuda_of_build, find_cuda

GOLDEN = Path(__file__).parents[2] / "data" / "locks" / "needs.json"

SCRIPT = "etc/conda/activate.d/libtorch_activate.sh"


def test_needs_of_all_real_locks_are_the_reviewed_ones(locks: Path) -> None:
    """Every environment on every platform of the five real locks needs what was reviewed and committed."""
    derived: dict[str, Any] = {}
    for folder in sorted(locks.iterdir()):
        workspace = Workspace.open(folder)
        for name in workspace.environments:
            for platform in workspace.platforms(name):
                needs = derive_needs(workspace.load(name, platform.name))
                derived[f"{folder.name} {name} {platform.label}"] = needs.to_json()
    golden = json.loads(GOLDEN.read_text(encoding="utf-8"))
    assert derived.keys() == golden.keys()
    for key in golden:
        assert derived[key] == golden[key], key


def test_needs_json_has_the_documented_keys(locks: Path) -> None:
    """The keys of the JSON are the documented ones, in this order."""
    needs = derive_needs(load_environment(locks / "CHTC__templates-GPUs"))
    assert list(needs.to_json()) == [
        "platform",
        "glibc_min",
        "microarch_min",
        "cuda_runtime_min",
        "gpu_capability_min",
        "gpu_capability_max",
        "download_bytes",
        "installed_bytes",
        "python",
        "warnings",
    ]
    assert json.loads(json.dumps(needs.to_json())) == needs.to_json()


def test_cuda_runtime_is_asked_by_major(locks: Path) -> None:
    """CUDA 12.9 in the lock runs on every 12.x driver, so 12.0 is asked for."""
    env = load_environment(locks / "CHTC__templates-GPUs")
    assert find_cuda(env).version == "12.9"
    assert derive_needs(env).cuda_runtime_min == "12.0"


def test_strict_mode_asks_for_the_minor_version(locks: Path) -> None:
    """Code that compiles PTX at run time needs a driver as new as the toolkit."""
    env = load_environment(locks / "CHTC__templates-GPUs")
    assert derive_needs(env, strict_ptx=True).cuda_runtime_min == "12.9"


def test_cpu_build_on_a_cuda_platform_is_named_with_its_build(locks: Path) -> None:
    """A platform that promises CUDA and a CPU build of PyTorch give a warning with the build string."""
    env = load_environment(locks / "prefix-dev__pixi--multi-machine", gpus=True)
    assert env.platform.label == "cuda-linux-64"
    needs = derive_needs(env)
    assert needs.cuda_runtime_min is None
    assert any("cpu_mkl_py314_hf472749_104" in w and "CUDA 12" in w for w in needs.warnings)


def test_cpu_build_without_a_cuda_platform_is_no_warning_until_gpus_are_asked_for(locks: Path) -> None:
    """On a plain platform a CPU build is what was meant, unless GPUs are asked for."""
    env = load_environment(locks / "prefix-dev__pixi--multi-machine")
    assert not any("CPU build" in w for w in derive_needs(env).warnings)
    warnings = derive_needs(env, gpus=True).warnings
    assert any("GPUs are asked for, but pytorch" in w for w in warnings)
    assert any("nothing in environment" in w for w in warnings)


def test_system_requirements_of_an_old_lock_promise_cuda(real: Callable[[str], Path]) -> None:
    """Locks before version 7 list no virtual packages: the manifest's system-requirements stand in."""
    folder = real("nvidia-gpu-ml-library-test")
    assert load_environment(folder, "gpu").platform.virtual_package("__cuda") == "12"
    assert load_environment(folder, "gpu-jax").platform.virtual_package("__cuda") == "12.6"
    assert load_environment(folder, "cpu").platform.virtual_package("__cuda") is None
    manifest = folder / "pixi.toml"
    manifest.write_text(
        manifest.read_text().replace(
            "[feature.cpu.dep", '[feature.cpu.system-requirements]\ncuda = "12"\n\n[feature.cpu.dep'
        )
    )
    warnings = derive_needs(load_environment(folder, "cpu")).warnings
    assert any("cpu_mkl_py313_h58dab0e_103" in w for w in warnings)


def test_cudnn_raises_the_capability(locks: Path) -> None:
    """cuDNN 9.11 and later segfaults on GPUs before Turing, whatever PyTorch was compiled for."""
    new = derive_needs(load_environment(locks / "UW-Madison-DSI__pixi-docker-chtc"))
    assert new.gpu_capability_min == "7.5"
    assert any("cuDNN 9.11" in w for w in new.warnings)
    old = derive_needs(load_environment(locks / "CHTC__templates-GPUs"))
    assert old.gpu_capability_min == "5.0"


def test_unknown_gpu_code_is_said_to_be_unknown(locks: Path) -> None:
    """No row for jaxlib: only CUDA's own floor is asked for, and the warning says so with the build."""
    needs = derive_needs(load_environment(locks / "matthewfeickert__nvidia-gpu-ml-library-test", "gpu-jax"))
    assert any("cuda129py313h2550629_201" in w and "unknown" in w for w in needs.warnings)


def test_a_measured_size_is_no_estimate(locks: Path) -> None:
    """What was installed once is known: no estimate, and no warning of one."""
    env = load_environment(locks / "prefix-dev__pixi--lightgbm")
    assert any("installed size is an estimate" in w for w in derive_needs(env, caches=[]).warnings)
    needs = derive_needs(env, caches=[], measured=12345)
    assert needs.installed_bytes == 12345
    assert needs.download_bytes == derive_needs(env, caches=[]).download_bytes
    assert not any("size" in w for w in needs.warnings)


def test_unknown_glibc_is_said_to_be_unknown(locks: Path) -> None:
    """Conda packages of 2024 do not state their glibc: None and a warning, not a guess."""
    needs = derive_needs(load_environment(locks / "prefix-dev__pixi--lightgbm"))
    assert needs.glibc_min is None
    assert any("glibc" in w for w in needs.warnings)


def _torch_channel(
    channel: Any, *, archs: str | None, suffix: str = ".conda", version: str = "2.11.0"
) -> None:
    files = {"lib/libtorch.so": b"\0" * 5000}
    if archs is not None:
        files[SCRIPT] = f'#!/bin/bash\nexport CF_TORCH_CUDA_ARCH_LIST="{archs}"\n'.encode()
    channel.add(
        "libtorch", version, "cuda129_mkl_habc_300", files, depends=("__glibc >=2.28,<3.0.a0",), suffix=suffix
    )
    channel.add("cuda-version", "12.9", "h4f385c5_3", {}, constrains=("__cuda >=12",))


@pytest.mark.parametrize("suffix", [".conda", ".tar.bz2"])
def test_arch_list_is_read_from_the_package_of_a_local_channel(
    channel: Any, tmp_path: Path, suffix: str
) -> None:
    """libtorch's own activation script beats every table, in both archive formats."""
    _torch_channel(channel, archs="8.0;9.0", suffix=suffix)
    needs = derive_needs(load_environment(channel.lock(tmp_path / "pixi.lock")))
    assert needs.gpu_capability_min == "8.0"
    assert needs.gpu_capability_max == "9.9"
    assert any("no PTX" in w for w in needs.warnings)


def test_arch_list_with_ptx_has_no_maximum(channel: Any, tmp_path: Path) -> None:
    """PTX runs on any later GPU."""
    _torch_channel(channel, archs="7.5;8.0;12.0+PTX")
    needs = derive_needs(load_environment(channel.lock(tmp_path / "pixi.lock")))
    assert (needs.gpu_capability_min, needs.gpu_capability_max) == ("7.5", None)


def test_arch_list_is_unknown_for_a_build_from_another_channel(channel: Any, tmp_path: Path) -> None:
    """The table is conda-forge's: a libtorch of the same name from elsewhere is unknown."""
    _torch_channel(channel, archs=None)
    needs = derive_needs(load_environment(channel.lock(tmp_path / "pixi.lock")))
    assert needs.gpu_capability_min == "5.0"  # CUDA 12's own floor
    assert any("libtorch 2.11.0" in w and "unknown" in w for w in needs.warnings)


def test_arch_list_is_read_from_an_extracted_package_in_a_cache(channel: Any, tmp_path: Path) -> None:
    """A package that Pixi has extracted on this machine tells its arch list and its true size."""
    _torch_channel(channel, archs=None)
    lock = channel.lock(tmp_path / "pixi.lock")
    for archive in channel.root.rglob("*.conda"):
        archive.unlink()
    extracted = tmp_path / "rattler-cache" / "pkgs" / "libtorch-2.11.0-cuda129_mkl_habc_300"
    (extracted / "info").mkdir(parents=True)
    (extracted / "info" / "paths.json").write_text(
        json.dumps({"paths": [{"_path": SCRIPT, "size_in_bytes": 1234, "path_type": "hardlink"}]})
    )
    (extracted / SCRIPT).parent.mkdir(parents=True)
    (extracted / SCRIPT).write_text('export CF_TORCH_CUDA_ARCH_LIST="8.6+PTX"')
    env = load_environment(lock)
    needs = derive_needs(env)
    assert needs.gpu_capability_min == "8.6"
    other = env.package("cuda-version")
    assert other is not None
    assert other.size is not None
    assert needs.installed_bytes == 1234 + round(other.size * 2.4)


def test_what_bundles_have_fetched_is_known(channel: Any, tmp_path: Path) -> None:
    """An archive in Wingspan's own cache, under its digest, tells its true size."""
    archive = channel.add("a", "1.0", "0", {"bin/a": b"x" * 4321})
    lock = channel.lock(tmp_path / "pixi.lock")
    package = load_environment(lock).package("a")
    assert package is not None
    assert package.sha256 is not None
    kept = tmp_path / "wingspan-cache" / "environments" / "archives" / package.sha256
    kept.mkdir(parents=True)
    archive.rename(kept / archive.name)
    assert derive_needs(load_environment(lock)).installed_bytes == 4321


def test_installed_size_is_exact_for_packages_of_a_local_channel(channel: Any, tmp_path: Path) -> None:
    """Real sizes come from the packages' own file lists; then nothing is an estimate."""
    channel.add("a", "1.0", "0", {"bin/a": b"x" * 100, "lib/a": b"y" * 900})
    channel.add("b", "1.0", "0", {"bin/b": b"x" * 7}, suffix=".tar.bz2")
    env = load_environment(channel.lock(tmp_path / "pixi.lock"))
    needs = derive_needs(env)
    assert needs.installed_bytes == 1007
    assert needs.download_bytes == sum(f.stat().st_size for f in channel.root.glob("*/a*")) + sum(
        f.stat().st_size for f in channel.root.glob("*/b*")
    )
    assert not any("estimate" in w for w in needs.warnings)


def test_an_archive_of_another_size_is_not_believed(channel: Any, tmp_path: Path) -> None:
    """A file of the right name and another size than the lock says is not the package."""
    archive = channel.add("a", "1.0", "0", {"bin/a": b"x" * 100})
    lock = channel.lock(tmp_path / "pixi.lock")
    archive.write_bytes(archive.read_bytes() + b"more")
    assert any("estimate" in w for w in derive_needs(load_environment(lock)).warnings)


def test_cuda_version_alone_asks_nothing_of_gpus(channel: Any, tmp_path: Path) -> None:
    """A pinned cuda-version beside packages without CUDA is no need, and is said."""
    channel.add("cuda-version", "12.9", "h4f385c5_3", {}, constrains=("__cuda >=12",))
    channel.add("a", "1.0", "0", {})
    needs = derive_needs(load_environment(channel.lock(tmp_path / "pixi.lock")))
    assert needs.cuda_runtime_min is None
    assert any("nothing is asked of GPUs" in w for w in needs.warnings)


def test_an_explicit_driver_demand_counts(channel: Any, tmp_path: Path) -> None:
    """A package that depends on a newer __cuda than its major's first raises the floor."""
    channel.add("a", "1.0", "cuda128_0", {}, depends=("__cuda >=12.6",))
    needs = derive_needs(load_environment(channel.lock(tmp_path / "pixi.lock")))
    assert needs.cuda_runtime_min == "12.6"


def test_cuda_of_no_stated_version_is_said_to_be_unknown(channel: Any, tmp_path: Path) -> None:
    """A package that needs a GPU and does not say which CUDA gives a warning, not a number."""
    channel.add("a", "1.0", "h0_0", {}, depends=("__cuda",))
    needs = derive_needs(load_environment(channel.lock(tmp_path / "pixi.lock")))
    assert needs.cuda_runtime_min is None
    assert any("does not say which" in w for w in needs.warnings)


def test_mixed_cuda_majors_are_named(channel: Any, tmp_path: Path) -> None:
    """Packages for CUDA 11 and 12 in one environment are worth a warning."""
    channel.add("a", "1.0", "cuda118_0", {})
    channel.add("b", "1.0", "cuda129_0", {})
    needs = derive_needs(load_environment(channel.lock(tmp_path / "pixi.lock")))
    assert needs.cuda_runtime_min == "12.0"
    assert any("CUDA 11 and 12 are mixed" in w for w in needs.warnings)


def _wheel_needs(write: Callable[[str, str], Path], torch: str, cu: str, **options: Any) -> Needs:
    return derive_needs(load_environment(write(torch, cu)), **options)


def test_wheels_tell_glibc_cuda_and_capabilities(wheels_workspace: Callable[[str, str], Path]) -> None:
    """PyTorch's own cu126 wheel ends at Hopper, since it carries no PTX; manylinux tags tell the glibc."""
    needs = _wheel_needs(wheels_workspace, "2.7.1+cu126", "cu126")
    assert needs.glibc_min == "2.28"
    assert needs.cuda_runtime_min == "12.0"
    assert (needs.gpu_capability_min, needs.gpu_capability_max) == ("5.0", "9.9")
    assert any("has no size of numpy, torch" in w for w in needs.warnings)
    assert any("md5 only" in w and "python" in w for w in needs.warnings)


@pytest.mark.parametrize(
    "padding", [b"", b"word", b"\0" * (1 << 22), b"\0" * ((1 << 22) - 5), b"\0" * ((1 << 22) - 11)]
)
def test_a_wheel_on_this_machine_tells_what_it_was_compiled_for(
    wheels_workspace: Callable[[str, str], Path], padding: bytes
) -> None:
    """PyTorch keeps its compiler flags as a string: a wheel at hand beats the table, wherever the string
    lies.
    """
    flags = padding + b"sm_80 sm_90 compute_90\0more"
    wheel = "wheels/torch-9.0.0+cu126-cp312-cp312-manylinux_2_28_x86_64.whl"
    folder = wheels_workspace("9.0.0+cu126", "cu126")
    lock = (folder / "pixi.lock").read_text()
    address = "https://download.pytorch.org/whl/cu126/torch-9.0.0+cu126-cp312-cp312-manylinux_2_28_x86_64.whl"
    assert address in lock
    (folder / "pixi.lock").write_text(lock.replace(address, f"./{wheel}"))
    (folder / "wheels").mkdir()
    with zipfile.ZipFile(folder / wheel, "w") as archive:
        archive.writestr("torch/lib/libtorch_python.so", flags)
    needs = derive_needs(load_environment(folder))
    assert (needs.gpu_capability_min, needs.gpu_capability_max) == ("8.0", None)
    assert not any("unknown" in w for w in needs.warnings)


def test_an_extracted_pytorch_tells_what_libtorch_was_compiled_for(channel: Any, tmp_path: Path) -> None:
    """Before 2.10 libtorch has no list of its own, but an extracted pytorch has the flags."""
    _torch_channel(channel, archs=None, version="2.9.0")
    channel.add("pytorch", "2.9.0", "cuda129_mkl_py313_habc_300", {"lib/libtorch_python.so": b"x"})
    lock = channel.lock(tmp_path / "pixi.lock")
    for archive in channel.root.rglob("*.conda"):
        archive.unlink()
    extracted = tmp_path / "rattler-cache" / "pkgs" / "pytorch-2.9.0-cuda129_mkl_py313_habc_300"
    (extracted / "info").mkdir(parents=True)
    (extracted / "lib").mkdir()
    (extracted / "lib" / "libtorch_python.so").write_bytes(b"\0sm_86 sm_90 sm_100\0")
    listing = {"paths": [{"_path": "lib/libtorch_python.so", "size_in_bytes": 20, "path_type": "hardlink"}]}
    (extracted / "info" / "paths.json").write_text(json.dumps(listing))
    needs = derive_needs(load_environment(lock))
    assert (needs.gpu_capability_min, needs.gpu_capability_max) == ("8.6", "10.9")


def test_a_cpu_wheel_is_a_cpu_build(wheels_workspace: Callable[[str, str], Path]) -> None:
    """torch +cpu asks nothing of GPUs, and is named when GPUs are asked for."""
    needs = _wheel_needs(wheels_workspace, "2.7.1+cpu", "cpu", gpus=True)
    assert needs.cuda_runtime_min is None
    assert any("2.7.1+cpu" in w for w in needs.warnings)


def test_a_wheel_of_an_unknown_release_is_unknown(wheels_workspace: Callable[[str, str], Path]) -> None:
    """No row, no number: only CUDA's own floor and a warning."""
    needs = _wheel_needs(wheels_workspace, "9.0.0+cu126", "cu126")
    assert (needs.gpu_capability_min, needs.gpu_capability_max) == ("5.0", None)
    assert any("torch 9.0.0+cu126" in w and "unknown" in w for w in needs.warnings)


@pytest.mark.parametrize(
    ("build", "cuda"),
    [
        ("cuda129_mkl_h9562ed8_304", (12, 9)),
        ("cuda129py313h2550629_201", (12, 9)),
        ("py3.10_cuda11.8_cudnn8.7.0_0", (11, 8)),
        ("py310_cu118", (11, 8)),
        ("cuda_py313_h6be0d2c_2", None),
        ("cpu_mkl_py314_hf472749_104", None),
        ("hbcb9cd8_0", None),
        ("h123cuda_0", None),
    ],
)
def test_cuda_in_build_strings(build: str, cuda: tuple[int, int] | None) -> None:
    """The CUDA version is read from the forms that build strings have, and from nothing else."""
    assert cuda_of_build(build) == cuda


def test_table_rows_are_found_by_version_cuda_and_architecture() -> None:
    """Neighbouring versions, other CUDAs and other architectures are unknown."""
    row = table_row("2.10.0", "13.0", "linux-64")
    assert isinstance(row, ArchList)
    assert (row.minimum, row.maximum) == ("7.5", None)
    assert row.source
    arm = table_row("2.10.0", "13.0", "linux-aarch64")
    assert arm is not None
    assert arm.cubins != row.cubins
    assert table_row("2.10.0", "12.4", "linux-64") is None
    assert table_row("2.99.0", "13.0", "linux-64") is None
    assert table_row("2.9.0", "12.9", "linux-aarch64") is None
    assert official_wheel("2.8.0", "12.8", "linux-64").maximum == "12.9"  # type: ignore[union-attr]
    assert official_wheel("2.7.0", "12.8", "linux-64").maximum is None  # type: ignore[union-attr]
    assert cuda_floor(99) is None


def test_an_arch_list_that_makes_no_sense_is_refused() -> None:
    """Something that is no compute capability is an error, not a zero."""
    with pytest.raises(ValueError, match="no compute capability"):
        parse_arch_list("8.0;Hopper", "a test")


def test_version_seven_platform_without_cuda_builds_needs_none(channel: Any, tmp_path: Path) -> None:
    """Virtual packages of the platform are a promise about machines, not a need."""
    channel.add("a", "1.0", "0", {})
    platform = rattler.LockPlatform("p1", rattler.Subdir("linux-64"), ["__cuda=12", "__glibc=2.28"])
    env = load_environment(channel.lock(tmp_path / "pixi.lock", platform), gpus=True)
    assert env.platform.virtual_package("__cuda") == "12"
    assert derive_needs(env).cuda_runtime_min is None
