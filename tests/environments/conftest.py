"""A real channel, workspaces locked against it, and bundles of them; what is slow to make is made once."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import platformdirs
import pytest

from wingspan.environments.bundles.kinds import oci

TOOLS = Path(__file__).resolve().parents[2] / "tools"
_ZMQ = "pyzmq>=26,<28"
#: The root conftest.py removes it at the end.
SHARED = "shared-by-processes"

_WRITE = """
import json, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import local_channel
request = json.loads(sys.argv[2])
pypi = {name: [Path(p) for p in paths] for name, paths in request["pypi"].items()}
local_channel.write_workspace(
    Path(request["folder"]), Path(request["channel"]), request["environments"], pypi=pypi, name=request["name"]
)
sys.stdout.flush()
os._exit(0)
"""


def _write_workspace(
    folder: Path,
    channel: Path,
    environments: dict[str, Sequence[str]],
    *,
    pypi: dict[str, Sequence[Path]] | None = None,
    name: str = "local",
) -> Path:
    """A Pixi workspace solved and locked by py-rattler, in a process of its own (it may crash one that
    lives on).
    """
    request = {
        "folder": str(folder),
        "channel": str(channel),
        "environments": environments,
        "pypi": {key: [str(p) for p in paths] for key, paths in (pypi or {}).items()},
        "name": name,
    }
    subprocess.run([sys.executable, "-c", _WRITE, str(TOOLS), json.dumps(request)], check=True)
    return folder


@pytest.fixture(scope="session")
def write_workspace() -> Callable[..., Path]:
    """The function that writes workspaces: (folder, channel, {environment: specs}, pypi={environment:
    wheels}).
    """
    return _write_workspace


def _once(name: str) -> Path:
    folder = Path(platformdirs.user_cache_dir("wingspan-tests"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder / name


def _kept(parent: Path, name: str, origin: bytes) -> Path:
    """A folder for what is made of `origin`; those of other origins go when nobody has used them for three
    days.
    """
    folder = parent / f"{name}-{hashlib.sha256(origin).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    os.utime(folder)
    for other in parent.glob(f"{name}-*"):
        with contextlib.suppress(OSError):  # another session removes it as well
            if time.time() - other.stat().st_mtime > 3 * 24 * 3600:
                shutil.rmtree(other)
    return folder


@pytest.fixture(scope="session")
def kept_folder() -> Callable[[str, bytes], Path]:
    """Answers a folder of the user's cache for the channel of this name that is made of what is given as
    bytes; it may be empty still.
    """
    return lambda name, origin: _kept(_once("channels"), name, origin)


@pytest.fixture(scope="session")
def local_channel() -> Path:
    """The channel that tools/local_channel.py builds: CPython, NumPy, SciPy, scikit-learn, prefix-probe; and
    PyZMQ, which has compiled modules and libraries of its own as NumPy has, and a twentieth of its size.
    """
    made = _once("channel")
    tool = [sys.executable, str(TOOLS / "local_channel.py")]
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        subprocess.run([*tool, "channel", str(made)], check=True)
        channel = _kept(_once("channels"), "channel", (made / "made-by.json").read_bytes() + _ZMQ.encode())
        if not (channel / "noarch").is_dir():
            with tempfile.TemporaryDirectory(prefix=".channel-", dir=channel.parent) as name:
                new = shutil.copytree(made, Path(name, "channel"))
                subprocess.run([*tool, "add", str(new), _ZMQ], check=True)
                new.replace(channel)
    return channel


@pytest.fixture(scope="session")
def wheels() -> Path:
    """A folder of wheels from PyPI: a pure one, and one with a console script."""
    path = _once("wheels")
    with path.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if len(list(path.glob("*.whl"))) < 2:
            command = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(path)]
            subprocess.run([*command, "six==1.17.0", "tabulate==0.9.0"], check=True)
    return path


@pytest.fixture(scope="session")
def public_folder() -> Iterator[Path]:
    """A folder that every user of the machine may enter: pytest's own is closed to others."""
    folder = Path(tempfile.mkdtemp(prefix="wingspan-tests-", dir="/tmp"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for what all of xdist's processes use in this session."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / SHARED
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def session_cache(shared_folder: Path) -> Path:
    """A cache for the session: bundles are built anew, each once; what was fetched, linked, compiled and
    compressed before is used again. Tests leave the bundles in it as they are.
    """
    cache = shared_folder / "cache"
    (cache / "environments").mkdir(parents=True, exist_ok=True)
    # The names of layers do not tell which code has written them.
    links = {"layers": _kept(_once("cache"), "layers", Path(oci.__file__).read_bytes())}
    for name in ("packages", "bytecode", "blobs", "shares", "bases", "images"):
        links[name] = _once("cache") / name
        links[name].mkdir(parents=True, exist_ok=True)
    for name, kept in links.items():
        with contextlib.suppress(FileExistsError):  # another process has made it
            (cache / "environments" / name).symlink_to(kept)
    return cache


@pytest.fixture
def bundle_cache(session_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Use the session's cache."""
    monkeypatch.setenv("WINGSPAN_CACHE_DIR", str(session_cache))
    return session_cache


@pytest.fixture
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the test's own."""
    cache = tmp_path / "cache"
    monkeypatch.setenv("WINGSPAN_CACHE_DIR", str(cache))
    return cache


@pytest.fixture(scope="session")
def local_workspace(local_channel: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Environments: ``default`` (PyZMQ), ``numpy``, ``large`` (SciPy), ``small`` (no Python), ``wheels``
    (conda Python with PyPI packages).
    """
    return _write_workspace(
        tmp_path_factory.mktemp("workspace"),
        local_channel,
        {
            "default": ["python 3.11.*", "pyzmq", "cloudpickle", "prefix-probe"],
            "numpy": ["python 3.11.*", "numpy", "cloudpickle", "prefix-probe"],
            "large": ["python 3.11.*", "scipy", "cloudpickle", "prefix-probe"],
            "small": ["prefix-probe", "libzlib"],
            "wheels": ["python 3.11.*", "prefix-probe"],
        },
        pypi={"wheels": sorted(wheels.glob("*.whl"))},
    )


_OWN = {
    "pyproject.toml": """
[project]
name = "My-Package"
version = "1.2.0"
dependencies = ["cloudpickle>=3"]
scripts = { mytool = "mypackage.cli:main" }
entry-points."mypackage.plugins" = { one = "mypackage:VALUE" }

[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"
""",
    "src/mypackage/__init__.py": "VALUE = 1\n",
    "src/mypackage/data.txt": "data\n",
    "src/mypackage/cli.py": """
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import cloudpickle
import mypackage


def main():
    points = [point.load() for point in entry_points(group="mypackage.plugins")]
    data = Path(mypackage.__file__).with_name("data.txt").read_text().strip()
    print(version("my-package"), mypackage.VALUE, points, data, cloudpickle.__file__.startswith(sys.prefix), *sys.argv[1:])
    return 3
""",
    "src/mypackage/notes.secret": "ignored\n",
    ".gitignore": "*.secret\n",
}


@pytest.fixture
def own_workspace(local_workspace: Path, tmp_path: Path) -> Path:
    """A workspace, in git, whose environment has the workspace's own package, editable, as Pixi locks it."""
    folder = tmp_path / "own"
    for name, text in _OWN.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    subprocess.run(["git", "init", "-q", str(folder)], check=True)
    manifest = (local_workspace / "pixi.toml").read_text()
    declared = '\n[pypi-dependencies]\nmy-package = { path = ".", editable = true }\n'
    (folder / "pixi.toml").write_text(manifest + declared)
    lock = (local_workspace / "pixi.lock").read_text()
    head, middle, packages = lock.partition("\npackages:\n")
    before, default, after = head.partition("\n  default:\n")
    default += after.replace("      linux-64:\n", "      linux-64:\n      - pypi: ./\n", 1)
    locked = "- pypi: ./\n  name: my-package\n  version: 1.2.0\n  requires_dist:\n  - cloudpickle>=3\n"
    (folder / "pixi.lock").write_text(before + default + middle + locked + packages)
    return folder


@pytest.fixture(scope="session")
def as_ordinary_user() -> Callable[[Sequence[str]], list[str]]:
    """Makes a command that somebody who is not root executes."""

    def wrap(command: Sequence[str]) -> list[str]:
        if os.geteuid() != 0:
            return list(command)
        return [
            shutil.which("setpriv") or "setpriv",
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            *command,
        ]

    return wrap
