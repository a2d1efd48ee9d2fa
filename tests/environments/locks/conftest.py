"""Real locks, and packages small enough to make on the spot."""

from __future__ import annotations

import asyncio
import bz2
import hashlib
import io
import json
import lzma
import shutil
import tarfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import rattler
import zstandard

LOCKS = Path(__file__).parents[2] / "data" / "locks"


@pytest.fixture(autouse=True)
def own_folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package cache of this machine has a say in what a test sees."""
    for name in ("DATA", "CACHE", "CONFIG"):
        monkeypatch.setenv(f"WINGSPAN_{name}_DIR", str(tmp_path / f"wingspan-{name.lower()}"))
    monkeypatch.setenv("RATTLER_CACHE_DIR", str(tmp_path / "rattler-cache"))
    monkeypatch.delenv("PIXI_CACHE_DIR", raising=False)


@pytest.fixture(scope="session")
def locks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the five real workspaces; for reading only."""
    folder = tmp_path_factory.mktemp("locks")
    for packed in sorted(LOCKS.glob("*/pixi.lock.xz")):
        workspace = folder / packed.parent.name
        workspace.mkdir()
        (workspace / "pixi.lock").write_bytes(lzma.decompress(packed.read_bytes()))
        shutil.copyfile(packed.parent / "pixi.toml", workspace / "pixi.toml")
    return folder


@pytest.fixture
def real(locks: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of one real workspace, to be changed; named by the end of its folder's name."""

    def copy(name: str) -> Path:
        (source,) = locks.glob(f"*{name}")
        return Path(shutil.copytree(source, tmp_path / source.name))

    return copy


#: PyTorch's and NumPy's own wheels beside conda-forge's Python.
WHEELS = """\
version: 6
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    indexes:
    - https://pypi.org/simple
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.12.3-hab00c5b_0_cpython.conda
      - pypi: https://download.pytorch.org/whl/{cu}/torch-{torch}-cp312-cp312-manylinux_2_28_x86_64.whl
      - pypi: https://files.pythonhosted.org/packages/a/numpy-2.0.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
packages:
- conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.12.3-hab00c5b_0_cpython.conda
  md5: 2540b74d304f71d3e89c81209db4db84
  depends:
  - __glibc >=2.17,<3.0.a0
  size: 31991381
- pypi: https://download.pytorch.org/whl/{cu}/torch-{torch}-cp312-cp312-manylinux_2_28_x86_64.whl
  name: torch
  version: {torch}
  sha256: c865d2e9b8b5c8fd6c2e6e0a9f6e7d3d4bd2a9b4a11f2e7a3d3d3c1f5a2b3c4d
- pypi: https://files.pythonhosted.org/packages/a/numpy-2.0.0-cp312-cp312-manylinux_2_17_x86_64.manylinux2014_x86_64.whl
  name: numpy
  version: 2.0.0
  sha256: c865d2e9b8b5c8fd6c2e6e0a9f6e7d3d4bd2a9b4a11f2e7a3d3d3c1f5a2b3c4d
"""


@pytest.fixture
def wheels_workspace(write_workspace: Callable[..., Path]) -> Callable[[str, str], Path]:
    """Writes a lock with a PyTorch wheel of this version, from this index; answers the folder."""

    def write(torch: str, cu: str) -> Path:
        return write_workspace(None, WHEELS.format(torch=torch, cu=cu))

    return write


@pytest.fixture
def write_workspace(tmp_path: Path) -> Callable[..., Path]:
    """Writes a manifest and the text of a lock; answers the folder."""

    def write(manifest: str | None, lock: str | None, *, name: str = "pixi.toml") -> Path:
        folder = tmp_path / "workspace"
        folder.mkdir(exist_ok=True)
        if manifest is not None:
            (folder / name).write_text(manifest)
        if lock is not None:
            (folder / "pixi.lock").write_text(lock)
        return folder

    return write


def _tar(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


async def _record(archive: Path) -> rattler.RepoDataRecord:
    return await rattler.RepoDataRecord.from_package_archive(archive)


class Channel:
    """A conda channel in a folder. Packages are made here, and locked by rattler itself."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def add(
        self,
        name: str,
        version: str,
        build: str,
        files: Mapping[str, bytes],
        *,
        depends: tuple[str, ...] = (),
        constrains: tuple[str, ...] = (),
        subdir: str = "linux-64",
        suffix: str = ".conda",
    ) -> Path:
        index = {
            "name": name,
            "version": version,
            "build": build,
            "build_number": 0,
            "subdir": subdir,
            "depends": list(depends),
            "constrains": list(constrains),
        }
        paths = [
            {
                "_path": path,
                "path_type": "hardlink",
                "sha256": hashlib.sha256(content).hexdigest(),
                "size_in_bytes": len(content),
            }
            for path, content in files.items()
        ]
        info = {
            "info/index.json": json.dumps(index).encode(),
            "info/paths.json": json.dumps({"paths": paths, "paths_version": 1}).encode(),
            "info/files": "\n".join(files).encode(),
        }
        stem = f"{name}-{version}-{build}"
        path = self.root / subdir / f"{stem}{suffix}"
        path.parent.mkdir(parents=True, exist_ok=True)
        if suffix == ".tar.bz2":
            path.write_bytes(bz2.compress(_tar({**info, **files})))
            return path
        pack = zstandard.ZstdCompressor().compress
        with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr("metadata.json", '{"conda_pkg_format_version": 2}')
            archive.writestr(f"pkg-{stem}.tar.zst", pack(_tar(files)))
            archive.writestr(f"info-{stem}.tar.zst", pack(_tar(info)))
        return path

    def lock(self, path: Path, *platforms: rattler.LockPlatform) -> Path:
        """Lock every package of the channel for every platform."""
        platforms = platforms or (rattler.LockPlatform("linux-64"),)
        lock = rattler.LockFile(list(platforms))
        lock.set_channels("default", [rattler.LockChannel(self.root.as_uri())])
        for archive in sorted([*self.root.glob("*/*.conda"), *self.root.glob("*/*.tar.bz2")]):
            record = asyncio.run(_record(archive))
            for platform in platforms:
                lock.add_conda_package("default", platform, record)
        lock.to_path(path)
        return path


@pytest.fixture
def channel(tmp_path: Path) -> Channel:
    """An empty channel."""
    root = tmp_path / "channel"
    root.mkdir()
    return Channel(root)
