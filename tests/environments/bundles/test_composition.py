"""Environments that are put together from packages installed before: the same bytes as when they are
installed.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import json
import marshal
import os
import shutil
import struct
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from _byte_code import lend_byte_code
from wingspan.environments import load_environment
from wingspan.environments.bundles import build_bundle, unpack_bundle

_BUILD = """
import sys
from wingspan.environments import load_environment
from wingspan.environments.bundles import build_bundle
print(build_bundle(load_environment(sys.argv[1], sys.argv[2], "linux-64"), "squashfs").sha256)
"""

TOOLS = Path(__file__).resolve().parents[3] / "tools"
WriteWorkspace = Callable[..., Path]


class Steps:
    """Hears what is done."""

    def __init__(self) -> None:
        self.begun: list[str] = []

    def start(self, description: str, total: float | None = None) -> int:
        self.begun.append(description)
        return 0

    def advance(self, task: int, amount: float = 1) -> None: ...

    def finish(self, task: int) -> None: ...


@pytest.fixture
def empty_cache(empty_cache: Path, session_cache: Path) -> Path:
    """A cache of the test's own, with nothing in it but the byte code of Python's own library."""
    lend_byte_code(empty_cache, session_cache)
    return empty_cache


def built(workspace: Path, environment: str) -> tuple[str, bool]:
    """(digest of the bundle, whether packages were installed for it)."""
    steps = Steps()
    env = load_environment(workspace, environment, "linux-64")
    bundle = build_bundle(env, "squashfs", progress=steps)
    assert hashlib.sha256(bundle.path.read_bytes()).hexdigest() == bundle.sha256
    return bundle.sha256, "Linking packages" in steps.begun


def built_from_nothing(workspace: Path, environment: str, cache: Path) -> str:
    """Digest of the bundle that another process builds with an empty cache (as empty as `empty_cache`)."""
    lend_byte_code(cache, Path(os.environ["WINGSPAN_CACHE_DIR"]))
    return subprocess.run(
        [sys.executable, "-c", _BUILD, str(workspace), environment],
        env={**os.environ, "WINGSPAN_CACHE_DIR": str(cache)},
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def forget(cache: Path, *names: str) -> None:
    """Remove parts of a cache."""
    for name in names:
        shutil.rmtree(cache / "environments" / name)


@pytest.mark.slow
def test_the_same_bytes_as_installed(local_workspace: Path, empty_cache: Path) -> None:
    """Built again, nothing is installed, and the bundle is the same; also when what was kept is damaged
    or gone.
    """
    first, installed = built(local_workspace, "wheels")
    assert installed
    shares = empty_cache / "environments/shares"
    forget(empty_cache, "bundles")
    assert built(local_workspace, "wheels") == (first, False)
    forget(empty_cache, "bundles", "blobs")
    assert built(local_workspace, "wheels") == (first, True)
    forget(empty_cache, "bundles", "shares")
    assert built(local_workspace, "wheels") == (first, True)
    for share in shares.iterdir():
        content = bytearray(share.read_bytes())
        content[len(content) // 2] ^= 1
        share.write_bytes(content)
    forget(empty_cache, "bundles")
    assert built(local_workspace, "wheels") == (first, True)
    blob = max((empty_cache / "environments/blobs").iterdir(), key=lambda path: path.stat().st_size)
    with blob.open("r+b") as file:
        file.seek(1000)
        byte = file.read(1)
        file.seek(1000)
        file.write(bytes([byte[0] ^ 1]))
    forget(empty_cache, "bundles")
    assert built(local_workspace, "wheels") == (first, True)
    forget(empty_cache, "bundles")
    assert built(local_workspace, "wheels") == (first, False)


@pytest.mark.slow
def test_packages_of_two_environments(
    local_channel: Path, wheels: Path, write_workspace: WriteWorkspace, tmp_path: Path, empty_cache: Path
) -> None:
    """Packages that came with different environments make a third one without being installed again."""
    six, tabulate = (next(wheels.glob(f"{name}-*.whl")) for name in ("six", "tabulate"))
    workspace = write_workspace(
        tmp_path / "w",
        local_channel,
        {
            "one": ["python 3.11.*", "prefix-probe"],
            "two": ["python 3.11.*", "cloudpickle"],
            "both": ["python 3.11.*", "cloudpickle", "prefix-probe"],
        },
        pypi={"one": [six], "two": [tabulate], "both": [six, tabulate]},
    )
    assert built(workspace, "one")[1]
    assert built(workspace, "two")[1]
    digest, installed = built(workspace, "both")
    assert not installed
    assert built_from_nothing(workspace, "both", tmp_path / "elsewhere") == digest


def test_what_the_lock_says_is_inside(
    local_workspace: Path, local_channel: Path, tmp_path: Path, empty_cache: Path
) -> None:
    """A lock that has the same package from another place gets its own records, not those kept of the
    first.
    """
    built(local_workspace, "small")
    shutil.copytree(local_channel, tmp_path / "channel")
    workspace = shutil.copytree(local_workspace, tmp_path / "w")
    for name in ("pixi.lock", "pixi.toml"):
        path = workspace / name
        path.write_text(path.read_text().replace(str(local_channel), str(tmp_path / "channel")))
    digest, installed = built(workspace, "small")
    assert installed
    assert built_from_nothing(workspace, "small", tmp_path / "elsewhere") == digest


def wheel(folder: Path, name: str, files: dict[str, bytes], *, said: str | None = None) -> Path:
    """A wheel with these files; `said`: how it spells its own name inside."""
    name, file_name = said or name, name
    info = f"{name}-1.0.dist-info"
    files = {
        **files,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    rows = []
    for path, content in files.items():
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        rows.append(f"{path},sha256={digest},{len(content)}\n")
    target = folder / f"{file_name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(target, "w") as archive:
        for path, content in files.items():
            archive.writestr(path, content)
        archive.writestr(f"{info}/RECORD", "".join([*rows, f"{info}/RECORD,,\n"]))
    return target


@pytest.mark.slow
def test_two_wheels_want_the_same_file(
    local_channel: Path, write_workspace: WriteWorkspace, tmp_path: Path, empty_cache: Path
) -> None:
    """The last by name has its way, every time; what was compiled or kept of both is not taken for either
    alone.
    """
    wheels = {
        name: wheel(tmp_path, name, {"shared.py": f"x = {name!r}\n".encode(), f"{name}.py": b""})
        for name in ("one", "two")
    }
    names = {"both": ["one", "two"], "one": ["one"], "two": ["two"]}
    workspace = write_workspace(
        tmp_path / "w",
        local_channel,
        {environment: ["python 3.11.*"] for environment in names},
        pypi={environment: [wheels[name] for name in those] for environment, those in names.items()},
    )
    for environment in names:
        digest, installed = built(workspace, environment)
        assert installed
        assert built_from_nothing(workspace, environment, tmp_path / f"elsewhere-{environment}") == digest
        env = load_environment(workspace, environment, "linux-64")
        prefix = unpack_bundle(build_bundle(env, "squashfs"), tmp_path / environment)
        assert (prefix / "lib/python3.11/site-packages/__pycache__/shared.cpython-311.pyc").is_file()
        said = subprocess.check_output(
            [prefix / "bin/python", "-c", "import shared; print(shared.x)"], text=True
        )
        assert said.strip() == ("one" if environment == "one" else "two")
    forget(empty_cache, "bundles")
    assert built(workspace, "both")[1]


@pytest.mark.slow
def test_a_packages_own_tests_are_not_compiled(
    local_channel: Path, write_workspace: WriteWorkspace, tmp_path: Path, empty_cache: Path
) -> None:
    """Nobody imports them in a job: they are in the bundle, and can be imported, without byte code that
    had to be made.
    """
    files = {"pkg/__init__.py": b"", "pkg/tests/__init__.py": b"", "pkg/tests/test_it.py": b"x = 1\n"}
    workspace = write_workspace(
        tmp_path / "w",
        local_channel,
        {"default": ["python 3.11.*"]},
        pypi={"default": [wheel(tmp_path, "pkg", files)]},
    )
    env = load_environment(workspace, "default", "linux-64")
    prefix = unpack_bundle(build_bundle(env, "squashfs"), tmp_path / "unpacked")
    package = prefix / "lib/python3.11/site-packages/pkg"
    assert [path.relative_to(package).as_posix() for path in package.rglob("*.pyc")] == [
        "__pycache__/__init__.cpython-311.pyc"
    ]
    said = subprocess.check_output(
        [prefix / "bin/python", "-B", "-c", "import pkg.tests.test_it as t; print(t.x)"], text=True
    )
    assert said == "1\n"


_PACKAGES = """
import os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conda_package, local_channel
channel, source = Path(sys.argv[2]), Path(sys.argv[3])
for package in sorted(source.iterdir()):
    conda_package.write_package(package, channel, name=package.name, version="1.0", build="h0_0")
local_channel.index(channel)
os._exit(0)
"""


def write_channel(folder: Path) -> Path:
    """A channel of the packages that are folders in ``source``."""
    subprocess.run(
        [sys.executable, "-c", _PACKAGES, TOOLS, folder / "channel", folder / "source"], check=True
    )
    return folder / "channel"


def test_a_binary_that_begins_as_text(
    write_workspace: WriteWorkspace, tmp_path: Path, empty_cache: Path
) -> None:
    """It is moved as a binary only: the same is written of it whether it was installed or put together."""
    sys.path.insert(0, str(TOOLS))
    from conda_package import PLACEHOLDER

    program = tmp_path / "source/one/bin/program"
    program.parent.mkdir(parents=True)
    program.write_bytes(f"#!/bin/sh\n# {PLACEHOLDER}\n".encode() + b"#" * 5000 + b"\n\0")
    workspace = write_workspace(tmp_path / "w", write_channel(tmp_path), {"default": ["one"]})
    first, _ = built(workspace, "default")
    forget(empty_cache, "bundles")
    assert built(workspace, "default") == (first, False)


def test_two_conda_packages_want_the_same_file(
    write_workspace: WriteWorkspace, tmp_path: Path, empty_cache: Path
) -> None:
    """One gives way, always the same, and nothing of that is taken for an environment that has one of
    them.
    """
    files = {
        "share/same.txt": None,
        "share/empty.txt": "",
        "share/d/own": None,
        "lib/python3.11/same.py": None,
    }
    for package in ("one", "two"):
        for name, content in files.items():
            path = tmp_path / "source" / package / (name if name != "share/d/own" else f"share/d/{package}")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(f"x = {package!r}\n" if content is None else content)
    channel = write_channel(tmp_path)
    names = {"both": ["one", "two"], "one": ["one"], "two": ["two"]}
    workspace = write_workspace(tmp_path / "w", channel, names)
    digest, _ = built(workspace, "both")
    others = {built_from_nothing(workspace, "both", tmp_path / f"again-{number}") for number in range(4)}
    assert others == {digest}
    for environment in ("one", "two"):
        digest, installed = built(workspace, environment)
        assert installed
        assert built_from_nothing(workspace, environment, tmp_path / f"elsewhere-{environment}") == digest
        env = load_environment(workspace, environment, "linux-64")
        prefix = unpack_bundle(build_bundle(env, "squashfs"), tmp_path / environment)
        assert environment in (prefix / "share/same.txt").read_text()


@pytest.mark.slow
def test_a_wheel_that_spells_its_name_otherwise(
    local_channel: Path, write_workspace: WriteWorkspace, tmp_path: Path, empty_cache: Path
) -> None:
    """Wheels like ruamel_yaml-1.whl with ruamel.yaml-1.dist-info are compiled, kept, and have their
    programs and data.
    """
    files = {
        "dotty.py": b"def main():\n    print('here')\n",
        "dotty_data/large": bytes(9_000_000),
        "dot.ty-1.0.dist-info/entry_points.txt": b"[console_scripts]\ndotty = dotty:main\n",
        "dot.ty-1.0.data/data/share/dotty.txt": b"data",
        "dotty_vendor/other-2.0.dist-info/WHEEL": b"",
        "dotty_vendor/other-2.0.dist-info/RECORD": b"",
    }
    workspace = write_workspace(
        tmp_path / "w",
        local_channel,
        {"default": ["python 3.11.*"]},
        pypi={"default": [wheel(tmp_path, "dot_ty", files, said="dot.ty")]},
    )
    first, _ = built(workspace, "default")
    forget(empty_cache, "bundles")
    assert built(workspace, "default") == (first, False)
    env = load_environment(workspace, "default", "linux-64")
    image = unpack_bundle(build_bundle(env, "squashfs"), tmp_path / "image")
    assert (image / "lib/python3.11/site-packages/__pycache__/dotty.cpython-311.pyc").is_file()
    pack = build_bundle(env, "pack", executable=True)
    subprocess.run(["bash", pack.path, "-o", tmp_path / "pack"], check=True, env={"PATH": "/usr/bin:/bin"})
    for prefix in (image, tmp_path / "pack/env"):
        assert (prefix / "share/dotty.txt").read_bytes() == b"data"
        assert subprocess.check_output([prefix / "bin/dotty"], text=True) == "here\n"
    base = tmp_path / "base"
    base.mkdir()
    with tarfile.open(build_bundle(env, "oci", base=base).path) as archive:
        description = json.loads(archive.extractfile("manifest.json").read())[0]  # type: ignore[union-attr]
        config = json.loads(archive.extractfile(description["Config"]).read())  # type: ignore[union-attr]
    assert "dot-ty 1.0 (PyPI)" in {layer["created_by"] for layer in config["history"]}


#: What tools/conda_package.py gives every file.
_TIME = 315_532_800


def _byte_code(source: str, time: int, size: int) -> bytes:
    """A ``.pyc`` as compilers write it beside a source of that time and size (PEP 552)."""
    code = marshal.dumps(compile(source, "module.py", "exec"))
    return importlib.util.MAGIC_NUMBER + bytes(4) + struct.pack("<LL", time, size) + code


@pytest.mark.skipif(
    sys.version_info[:2] != (3, 11), reason="the channel's Python is 3.11: byte code of another would not do"
)
def test_byte_code_of_the_package_itself(
    write_workspace: WriteWorkspace, local_channel: Path, tmp_path: Path, empty_cache: Path
) -> None:
    """What a package brings is taken where Python would take it for that of its source; if not, the
    source is compiled.
    """
    site = tmp_path / "source/one/lib/python3.11/site-packages"
    (site / "__pycache__").mkdir(parents=True)
    source, brought = "x = 'compiled'\n", "x = 'brought'\n"
    for name, time, size in (
        ("good", _TIME, len(source)),
        ("older", _TIME - 1, len(source)),
        ("longer", _TIME, len(source) + 1),
    ):
        (site / f"{name}.py").write_text(source)
        (site / f"__pycache__/{name}.cpython-311.pyc").write_bytes(_byte_code(brought, time, size))
    (site / "cut.py").write_text(source)
    (site / "__pycache__/cut.cpython-311.pyc").write_bytes(_byte_code(brought, _TIME, len(source))[:9])
    shutil.copytree(local_channel, tmp_path / "channel")
    workspace = write_workspace(
        tmp_path / "w", write_channel(tmp_path), {"default": ["python 3.11.*", "one"]}
    )
    digest, _ = built(workspace, "default")
    prefix = unpack_bundle(
        build_bundle(load_environment(workspace, "default", "linux-64"), "squashfs"), tmp_path / "unpacked"
    )
    program = "import good, older, longer, cut; print(good.x, older.x, longer.x, cut.x)"
    said = subprocess.check_output([prefix / "bin/python", "-c", program], text=True)
    assert said.split() == ["brought", "compiled", "compiled", "compiled"]
    for name in ("good", "older", "longer", "cut"):
        header = (prefix / f"lib/python3.11/site-packages/__pycache__/{name}.cpython-311.pyc").read_bytes()[
            :16
        ]
        assert int.from_bytes(header[4:8], "little") == 0b01, name
        assert header[8:] == importlib.util.source_hash(source.encode())
    assert built_from_nothing(workspace, "default", tmp_path / "elsewhere") == digest
