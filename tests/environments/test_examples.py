"""examples/digits: its lock is its manifest's, and each of its routes ends with a trained network."""

from __future__ import annotations

import contextlib
import fcntl
import gzip
import io
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import platformdirs
import pytest

from _engines import place_for_containers
from wingspan.environments import Workspace
from wingspan.environments.bundles.kinds.install import PIXI_VERSION
from wingspan.environments.needs import derive_needs
from wingspan.pools.personal import PersonalPool
from wingspan.runs import load_run, load_runs

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import standin_pixi

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "digits"
SCRIPTS = EXAMPLE / "routes"


@pytest.fixture(scope="module")
def torch_wheels() -> list[Path]:
    """PyTorch for CPUs and what it needs, from PyPI; skips where PyPI has only the one with CUDA (900 MB).

    They are kept in the user's cache.
    """
    version = "2.13.0+cpu"
    kept = platformdirs.user_cache_path("wingspan-tests", ensure_exists=True) / f"torch-{version}"
    with Path(f"{kept}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not kept.is_dir():
            with tempfile.TemporaryDirectory(prefix=".torch-", dir=kept.parent) as new:
                _download_torch(version, Path(new, "whole"), Path(new, "kept"))
                Path(new, "kept").rename(kept)
    return sorted(kept.glob("*.whl"))


def _download_torch(version: str, whole: Path, folder: Path) -> None:
    """Download wheels of PyTorch and what it needs into `folder`, that of PyTorch by way of `whole`."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--only-binary", ":all:", "--no-deps", "-d"]
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run([*pip, str(whole), f"torch=={version}"], check=True, capture_output=True)
    if not list(whole.glob("torch-*")):
        pytest.skip("there is no CPU build of PyTorch to be had from the package index of this machine")
    names = "filelock typing-extensions setuptools<82 sympy mpmath networkx jinja2 markupsafe fsspec"
    subprocess.run([*pip, str(folder), *names.split()], check=True)
    for wheel in whole.iterdir():
        _without_what_compilers_need(wheel, folder / wheel.name)


def _without_what_compilers_need(torch: Path, slim: Path) -> None:
    """Write the wheel of PyTorch without its headers and its own tests: a quarter of its size, four of five
    of its files, and nothing that a network is trained with.
    """
    unused = ("torch/include/", "torch/test/", "torch/bin/test_", "torch/bin/protoc")
    with zipfile.ZipFile(torch) as whole, zipfile.ZipFile(slim, "w") as rest:
        for member in whole.infolist():
            if member.filename.startswith(unused):
                continue
            content = whole.read(member)
            if member.filename.endswith(".dist-info/RECORD"):
                lines = content.decode().splitlines(keepends=True)
                content = "".join(line for line in lines if not line.startswith(unused)).encode()
            # Not compressed: every route unpacks it anew.
            rest.writestr(member, content, zipfile.ZIP_STORED)


@pytest.fixture(scope="module")
def digits(
    write_workspace: Callable[..., Path],
    local_channel: Path,
    torch_wheels: list[Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> Path:
    """The example as it is, but locked against a channel that can be reached from here: conda-forge may
    not be.
    """
    folder = write_workspace(
        tmp_path_factory.mktemp("example") / "digits",
        local_channel,
        {"default": ["python 3.11.*", "numpy"]},
        pypi={"default": torch_wheels},
    )
    for name in ("train.py", "predict.py", "digits.csv.gz"):
        shutil.copy(EXAMPLE / name, folder)
    shutil.copytree(SCRIPTS, folder / "routes")
    with (folder / "pixi.toml").open("a") as manifest:
        manifest.write("\n[tasks]" + (EXAMPLE / "pixi.toml").read_text().partition("[tasks]")[2])
    return folder


@pytest.fixture(scope="module")
def machine(apptainer: str) -> Iterator[PersonalPool]:
    """A personal pool on a machine that has everything the routes start environments with."""
    folder = Path(tempfile.mkdtemp(prefix="pool-", dir=place_for_containers()))
    standin_pixi.write(folder / "bin/pixi", PIXI_VERSION)  # the real one cannot be had here
    path = f"{folder}/bin:{Path(apptainer).parent}:/usr/local/bin:/usr/bin:/bin"
    variables = f'"PATH={path} WINGSPAN_NODE_CACHE={folder}/node"'
    pool = PersonalPool(folder, cpus=2, settings={"STARTER_JOB_ENVIRONMENT": variables})
    try:
        pool.start()
        yield pool
    finally:
        pool.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def data(
    tmp_path: Path, machine: PersonalPool, bundle_cache: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A data folder of the test's own whose personal pool is that machine's."""
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "personal-pool").symlink_to(machine.directory)
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(folder))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("WINGSPAN_POOL", raising=False)
    yield folder
    for run in load_runs():
        run.remove(force=True)


def test_the_lock_is_that_of_the_manifest() -> None:
    """`pixi.lock` has what `pixi.toml` asks for, and the CUDA of `gpu`."""
    workspace = Workspace.open(EXAMPLE)
    for name, torch in (("default", "pytorch"), ("gpu", "pytorch-gpu")):
        environment = workspace.load(name, gpus=name == "gpu")
        assert workspace.mismatches(environment) == ()
        assert torch in {package.name for package in environment.packages}
    assert derive_needs(workspace.load("gpu", gpus=True)).cuda_runtime_min == "12.0"


def test_every_route_has_a_line_in_the_readme() -> None:
    """The scripts are those of the table."""
    text = (EXAMPLE / "README.md").read_text()
    assert len(list(SCRIPTS.iterdir())) == 5
    for script in SCRIPTS.iterdir():
        assert f"| `{script.name}` |" in text


@pytest.mark.slow
@pytest.mark.htcondor
@pytest.mark.timeout(900)
@pytest.mark.parametrize("route", ["squashfs", "pack", "apptainer", "install", "oci"])
def test_one_command_ends_with_a_network_that_predicts(
    route: str, digits: Path, data: Path, apptainer_on_path: str, tmp_path: Path
) -> None:
    """The script of each route leaves mnist_cnn.pt, whole, of a network that is right most of the time; it
    loads again in another run.
    """
    folder = shutil.copytree(digits, tmp_path / "digits")
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    trained = subprocess.run(
        ["sh", str(folder / "routes" / f"{route}.sh"), "3", "--name", "trained", "--pool", "personal"],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
    )
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "epoch 3: " in trained.stdout
    assert float(trained.stdout.partition("epoch 3: ")[2].split("test accuracy ")[1].split()[0]) > 0.9
    assert (folder / "mnist_cnn.pt").stat().st_size > 100_000
    with zipfile.ZipFile(folder / "mnist_cnn.pt") as network:
        assert network.testzip() is None
    assert load_run("trained").status().state == "completed"
    if route != "squashfs":  # that run is in the usual bundle, whatever the first was in
        return
    predicted = subprocess.run(
        [*(sys.executable, "-m", "wingspan", "run", "predict", "--pool", "personal", "--follow", "-q")],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert predicted.returncode == 0, predicted.stdout + predicted.stderr
    assert float(predicted.stdout.split()[-1]) > 0.9


def _idx(array: Sequence[Sequence[int]]) -> bytes:
    """Rows of bytes as MNIST's files have them: images of 28 x 28 pixels, or, of one byte each, labels."""
    images = len(array[0]) > 1
    shape = (len(array), 28, 28) if images else (len(array),)
    return struct.pack(f">HBB{len(shape)}I", 0, 8, len(shape), *shape) + b"".join(map(bytes, array))


@pytest.mark.slow
@pytest.mark.htcondor
@pytest.mark.timeout(900)
def test_mnist_is_what_it_trains_on_where_it_is_given(
    digits: Path, data: Path, apptainer_on_path: str, tmp_path: Path
) -> None:
    """With MNIST_data.tar.gz as an input the same script reads MNIST's files, gzipped or not, and learns
    from them.
    """
    folder = shutil.copytree(digits, tmp_path / "digits")
    with tarfile.open(folder / "MNIST_data.tar.gz", "w:gz") as tar:
        for name, count in (("train", 400), ("t10k", 100)):
            labels = [[number % 10] for number in range(count)]
            # A digit is a bright line in its own place: quickly learnt.
            images = [[255 * (place // 28 // 2 == label + 1) for place in range(784)] for (label,) in labels]
            for member, content in (
                (f"MNIST/raw/{name}-images-idx3-ubyte.gz", gzip.compress(_idx(images))),
                (f"MNIST/raw/{name}-labels-idx1-ubyte", _idx(labels)),
            ):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    trained = subprocess.run(
        [
            *(sys.executable, "-m", "wingspan", "run", "train", "3", "--input", "MNIST_data.tar.gz"),
            *("--pool", "personal", "--follow", "--fetch", "-q"),
        ],
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert trained.returncode == 0, trained.stdout + trained.stderr
    assert "400 images of 28 pixels" in trained.stdout
    assert float(trained.stdout.partition("epoch 3: ")[2].split("test accuracy ")[1].split()[0]) > 0.5
    assert (folder / "mnist_cnn.pt").stat().st_size > 1_000_000
