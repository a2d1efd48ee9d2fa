"""Reading locks: five real ones, small ones of every version, and broken ones."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rattler
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.environments import LockedEnvironment, LockedPackage, Workspace, load_environment
from wingspan.environments.errors import (
    LockDamaged,
    LockError,
    LockNotFound,
    LockTooNew,
    UnknownEnvironment,
    UnsupportedPackages,
)
from wingspan.environments.lockfile import Lock

#: From the survey of these files: conda packages, PyPI packages, megabytes.
SURVEYED = {
    ("CHTC__templates-GPUs", "default", "linux-64"): (120, 0, 3965),
    ("UW-Madison-DSI__pixi-docker-chtc", "default", "linux-64"): (119, 0, 4001),
    ("UW-Madison-DSI__pixi-docker-chtc", "gpu", "linux-64"): (119, 0, 4001),
    ("UW-Madison-DSI__pixi-docker-chtc", "pack", "linux-64"): (7, 0, 9),
    ("matthewfeickert__nvidia-gpu-ml-library-test", "cpu", "linux-64"): (85, 0, 361),
    ("matthewfeickert__nvidia-gpu-ml-library-test", "cpu-jax", "linux-64"): (43, 0, 165),
    ("matthewfeickert__nvidia-gpu-ml-library-test", "default", "linux-64"): (22, 0, 45),
    ("matthewfeickert__nvidia-gpu-ml-library-test", "gpu", "linux-64"): (120, 0, 4001),
    ("matthewfeickert__nvidia-gpu-ml-library-test", "gpu-jax", "linux-64"): (72, 0, 2166),
    ("matthewfeickert__nvidia-gpu-ml-library-test", "inference", "linux-64"): (200, 0, 4239),
    ("prefix-dev__pixi--lightgbm", "default", "linux-64"): (41, 0, 107),
    ("prefix-dev__pixi--multi-machine", "default", "p2"): (133, 0, 406),
}


@pytest.mark.parametrize(("folder", "name", "platform"), SURVEYED)
def test_real_locks_hold_what_was_surveyed(locks: Path, folder: str, name: str, platform: str) -> None:
    """Package counts and sizes of the real locks are those that people counted in them."""
    env = load_environment(locks / folder, name, platform)
    megabytes = round(env.download_bytes / 1e6)
    assert (len(env.conda_packages), len(env.pypi_packages), megabytes) == SURVEYED[folder, name, platform]
    assert all(p.sha256 and p.size and p.record is not None for p in env.conda_packages)
    assert env.packages == tuple(sorted(env.packages, key=lambda p: (p.kind, p.name)))


@pytest.mark.parametrize(
    ("folder", "version"), [("lightgbm", 5), ("templates-GPUs", 6), ("library-test", 6), ("multi-machine", 7)]
)
def test_lock_version_is_read(real: Callable[[str], Path], folder: str, version: int) -> None:
    """The format version is that of the file."""
    assert Lock(real(folder) / "pixi.lock").version == version


def test_identity_does_not_depend_on_the_lock_version(locks: Path, tmp_path: Path) -> None:
    """A version 5 or 6 lock, rewritten as version 7 by rattler, has the same identities."""
    for folder in sorted(locks.iterdir()):
        old = Lock(folder / "pixi.lock")
        path = tmp_path / "pixi.lock"
        rattler.LockFile.from_path(folder / "pixi.lock").to_path(path)
        new = Lock(path)
        assert new.version == 7
        assert old.environments == new.environments
        for name in old.environments:
            assert [p.name for p in old.platforms(name)] == [p.name for p in new.platforms(name)]
            for platform in old.platforms(name):
                before = Workspace(None, old.path).load(name, platform.name)
                after = Workspace(None, new.path).load(name, platform.name)
                assert before.digest == after.digest, (folder.name, name, platform.name)


def test_identity_depends_on_every_package(locks: Path) -> None:
    """Another build, another archive or one package less is another environment; another name is not."""
    import attrs

    env = load_environment(locks / "UW-Madison-DSI__pixi-docker-chtc", "pack")
    first, *rest = env.packages

    def with_packages(*packages: LockedPackage) -> LockedEnvironment:
        return attrs.evolve(env, packages=packages)

    assert with_packages(*rest).digest != env.digest
    assert with_packages(attrs.evolve(first, build="0"), *rest).digest != env.digest
    assert with_packages(attrs.evolve(first, sha256="0" * 64), *rest).digest != env.digest
    assert with_packages(*reversed(env.packages)).digest == env.digest
    assert attrs.evolve(env, name="other").digest == env.digest


def test_identity_is_the_known_one(locks: Path) -> None:
    """Identities are stable: bundles in stores are named by them."""
    env = load_environment(locks / "CHTC__templates-GPUs")
    assert env.digest == "434139d755d723086bd6409a00fbdce83c15e4658e44145aec989f499347d9c8"


def test_answers_do_not_depend_on_the_process(locks: Path) -> None:
    """rattler orders environments and platforms anew in each process; we do not."""
    program = (
        "import sys; from wingspan.environments import Workspace\n"
        "w = Workspace.open(sys.argv[1])\n"
        "for e in w.lock.environments:\n"
        "    for p in w.lock.platforms(e):\n"
        "        print(e, p, [str(x) for x in w.lock.packages(e, p.name)])\n"
    )
    outputs = set()
    for seed in "012":
        done = subprocess.run(
            [sys.executable, "-c", program, str(locks / "matthewfeickert__nvidia-gpu-ml-library-test")],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        )
        outputs.add(hashlib.sha256(done.stdout.encode()).hexdigest())
    assert len(outputs) == 1


def test_reading_never_writes(real: Callable[[str], Path]) -> None:
    """Nothing in the workspace is changed or added by reading everything in it."""
    folder = real("multi-machine")

    def state() -> list[tuple[str, int, bytes]]:
        return [(f.name, f.stat().st_mtime_ns, f.read_bytes()) for f in sorted(folder.rglob("*"))]

    before = state()
    workspace = Workspace.open(folder)
    for name in workspace.environments:
        for platform in workspace.platforms(name):
            workspace.mismatches(workspace.load(name, platform.name))
    assert state() == before


BZIP2 = "https://conda.anaconda.org/conda-forge/linux-64/bzip2-1.0.8-hd590300_5.conda"
SHA = "242c0c324507ee172c0e0dd2045814e746bb303d1eb78870d182ceb0abc726a8"
V4 = f"""\
version: 4
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    packages:
      linux-64:
      - conda: {BZIP2}
      - pypi: https://files.pythonhosted.org/packages/a/six-1.16.0-py2.py3-none-any.whl
packages:
- kind: conda
  name: bzip2
  version: 1.0.8
  build: hd590300_5
  build_number: 5
  subdir: linux-64
  url: {BZIP2}
  sha256: {SHA}
  md5: 69b8b6202a07720f448be700e300ccf4
  depends:
  - libgcc-ng >=12
  size: 254228
- kind: pypi
  name: six
  version: 1.16.0
  url: https://files.pythonhosted.org/packages/a/six-1.16.0-py2.py3-none-any.whl
  sha256: {SHA}
  requires_python: '>=2.7'
"""
V1 = f"""\
version: 1
metadata:
  content_hash:
    linux-64: {SHA}
  channels:
  - url: https://conda.anaconda.org/conda-forge/
    used_env_vars: []
  platforms:
  - linux-64
  sources: []
package:
- name: bzip2
  version: 1.0.8
  manager: conda
  platform: linux-64
  dependencies:
    libgcc-ng: '>=12'
  url: {BZIP2}
  hash:
    md5: 69b8b6202a07720f448be700e300ccf4
    sha256: {SHA}
  optional: false
  category: main
  build: hd590300_5
  subdir: linux-64
  build_number: 5
  size: 254228
"""


@pytest.mark.parametrize("version", [1, 2, 3, 4])
def test_old_versions_are_read(write_workspace: Callable[..., Path], version: int) -> None:
    """Locks of before version 5 give the same facts."""
    text = V4 if version == 4 else V1.replace("version: 1\n", f"version: {version}\n", 1)
    env = load_environment(write_workspace(None, text))
    package = env.package("bzip2")
    assert package is not None
    assert (package.version, package.build, package.size, package.sha256) == (
        "1.0.8",
        "hd590300_5",
        254228,
        SHA,
    )
    assert package.depends == ("libgcc-ng >=12",)
    if version == 4:
        six = env.package("six")
        assert six is not None
        assert (six.kind, six.form, six.version, six.requires_python) == ("pypi", "wheel", "1.16.0", ">=2.7")


FORMS = f"""\
version: 6
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    indexes:
    - https://pypi.org/simple
    packages:
      linux-64:
      - conda: {BZIP2}
      - conda: https://conda.anaconda.org/nvidia/linux-64/weak-1.0-0.tar.bz2
      - conda: https://conda.anaconda.org/nvidia/linux-64/nohash-1.0-0.tar.bz2
      - conda: src/foo
      - pypi: https://files.pythonhosted.org/packages/a/sdist_pkg-1.0.tar.gz
      - pypi: ./local
      - pypi: git+https://github.com/a/b.git@c7c13f18a5af4c64c649881b2fe8dbd72a519c32
      - pypi: ./wheels/x_y-1.0-py3-none-any.whl
      - pypi: https://files.pythonhosted.org/packages/a/good-1.0-py3-none-any.whl
packages:
- conda: {BZIP2}
  sha256: {SHA}
  size: 254228
- conda: https://conda.anaconda.org/nvidia/linux-64/weak-1.0-0.tar.bz2
  md5: 2540b74d304f71d3e89c81209db4db85
- conda: https://conda.anaconda.org/nvidia/linux-64/nohash-1.0-0.tar.bz2
- conda: src/foo
  name: foo
  version: 0.1.0
  build: h123_0
  subdir: linux-64
- pypi: https://files.pythonhosted.org/packages/a/sdist_pkg-1.0.tar.gz
  name: sdist-pkg
  version: '1.0'
  sha256: {SHA}
- pypi: ./local
  name: local
  version: 0.1.0
  editable: true
- pypi: git+https://github.com/a/b.git@c7c13f18a5af4c64c649881b2fe8dbd72a519c32
  name: b
  version: 0.1.0
- pypi: ./wheels/x_y-1.0-py3-none-any.whl
  name: x-y
  version: '1.0'
- pypi: https://files.pythonhosted.org/packages/a/good-1.0-py3-none-any.whl
  name: good
  version: '1.0'
  sha256: {SHA}
"""


def test_every_package_that_cannot_travel_is_named_with_a_remedy(
    write_workspace: Callable[..., Path],
) -> None:
    """Sources, sdists and missing hashes are refused one by one; a folder (an editable install) is in no
    bundle either.
    """
    env = load_environment(write_workspace(None, FORMS))
    severity = {p.package.name: p.severity for p in env.problems()}
    assert severity == {
        "b": "refused",
        "foo": "refused",
        "local": "code",
        "nohash": "unverified",
        "sdist-pkg": "refused",
        "weak": "weak",
        "x-y": "unverified",
    }
    with pytest.raises(UnsupportedPackages) as caught:
        env.check_portable()
    lines = [line for line in caught.value.message.splitlines() if line.startswith("  - ")]
    assert len(lines) == 6
    for name, what in [
        ("foo", "conda source"),
        ("sdist-pkg", "sdist"),
        ("local", "editable"),
        ("nohash", "hash"),
    ]:
        (line,) = [line for line in lines if line.startswith(f"  - {name} ")]
        assert what in line
        assert ": " in line
    with pytest.raises(UnsupportedPackages) as caught:
        env.check_portable(strict=False)
    assert "nohash" not in str(caught.value)


def test_packages_can_be_left_out(write_workspace: Callable[..., Path]) -> None:
    """Less the packages that cannot travel, the rest can; it is another environment."""
    env = load_environment(write_workspace(None, FORMS))
    rest = env.without(*(p.package.name for p in env.problems() if p.severity != "weak"))
    rest.check_portable()
    assert [p.name for p in rest.packages] == ["bzip2", "weak", "good"]
    assert rest.digest != env.digest
    with pytest.raises(LookupError, match="nothing"):
        env.without("nothing")


def test_locations_are_resolved_against_the_lock(write_workspace: Callable[..., Path]) -> None:
    """Relative paths become absolute, addresses stay, and uv's direct+ is taken off."""
    env = load_environment(write_workspace(None, FORMS))
    wheel = env.package("x-y")
    assert wheel is not None
    assert wheel.file_name == "x_y-1.0-py3-none-any.whl"
    assert wheel.resolve(env.lock_path.parent) == str(env.lock_path.parent / "wheels" / wheel.file_name)
    direct = LockedPackage(
        name="a", version="1", kind="pypi", location="direct+https://h/a-1-py3-none-any.whl"
    )
    assert direct.resolve(Path("/w")) == "https://h/a-1-py3-none-any.whl"


def test_python_is_major_and_minor(locks: Path) -> None:
    """3.13.10 is 3.13; without a Python there is none."""
    assert load_environment(locks / "CHTC__templates-GPUs").python == "3.13"
    assert load_environment(locks / "UW-Madison-DSI__pixi-docker-chtc", "pack").python is None


def test_a_cut_lock_is_damaged_wherever_it_is_cut(real: Callable[[str], Path]) -> None:
    """A lock that lost its end is refused, and the message names the file and a remedy."""
    path = real("templates-GPUs") / "pixi.lock"
    whole = path.read_bytes()
    for length in (0, 5, 100, 3000, 30000, len(whole) * 3 // 4):
        path.write_bytes(whole[:length])
        with pytest.raises(LockDamaged) as caught:
            load_environment(path)
        assert str(path) in caught.value.message
        assert caught.value.hint is not None


@pytest.mark.parametrize(
    "text", ["hello\n", "{}", "[1, 2]", "version: six\n", "<<<<<<< HEAD\nversion: 6\n=======\n"]
)
def test_what_is_no_lock_is_damaged(write_workspace: Callable[..., Path], text: str) -> None:
    """Text that is no lock, and a lock with a merge conflict, are refused with the file's name."""
    with pytest.raises(LockDamaged, match=r"pixi\.lock"):
        load_environment(write_workspace(None, text))


@pytest.mark.parametrize("brackets", ["[]", ("{a: ", "}")])
def test_a_lock_of_brackets_within_brackets_is_refused_at_once(
    write_workspace: Callable[..., Path], brackets: tuple[str, str]
) -> None:
    """The time that its reader takes grows with the square of how deep they lie: a minute at 600 kB."""
    text = f"version: 6\npackages: {brackets[0] * 100_000}{brackets[1] * 100_000}\n"
    with pytest.raises(LockDamaged, match="stand within each other"):
        load_environment(write_workspace(None, text))


def test_binary_rubbish_is_damaged(tmp_path: Path) -> None:
    """Bytes that are no text are refused."""
    path = tmp_path / "pixi.lock"
    path.write_bytes(bytes(range(256)))
    with pytest.raises(LockDamaged, match="not text"):
        Lock(path)


def test_a_lock_of_the_future_says_what_to_upgrade(real: Callable[[str], Path]) -> None:
    """A version that py-rattler does not know is told from a damaged file."""
    path = real("templates-GPUs") / "pixi.lock"
    path.write_text(path.read_text().replace("version: 6", "version: 99", 1))
    with pytest.raises(LockTooNew, match="99") as caught:
        load_environment(path)
    assert "py-rattler" in str(caught.value.hint)


def test_a_missing_lock_says_how_to_make_it(real: Callable[[str], Path]) -> None:
    """A manifest without a lock: pixi lock."""
    folder = real("lightgbm")
    (folder / "pixi.lock").unlink()
    with pytest.raises(LockNotFound, match=r"pixi\.lock") as caught:
        load_environment(folder)
    assert "pixi lock" in str(caught.value.hint)
    assert isinstance(caught.value, FileNotFoundError)


def test_an_unknown_environment_of_a_bare_lock_lists_what_there_is(locks: Path) -> None:
    """The reader itself names the environments it has."""
    lock = Lock(locks / "UW-Madison-DSI__pixi-docker-chtc" / "pixi.lock")
    with pytest.raises(UnknownEnvironment, match="default, gpu, pack"):
        lock.platforms("gpuu")


@settings(max_examples=60)
@given(data=st.data())
def test_an_altered_lock_is_read_or_refused(data: st.DataObject, locks: Path, tmp_path: Path) -> None:
    """Whatever is altered in a lock: it is read, or refused by an error of ours."""
    whole = bytearray((locks / "UW-Madison-DSI__pixi-docker-chtc" / "pixi.lock").read_bytes()[:6000])
    whole += b"packages: []\n"
    at = data.draw(st.integers(0, len(whole) - 1))
    whole[at : at + data.draw(st.integers(0, 3))] = data.draw(st.binary(max_size=3))
    path = tmp_path / "pixi.lock"
    path.write_bytes(whole)
    with contextlib.suppress(LockError):
        lock = Lock(path)
        for name in lock.environments:
            for platform in lock.platforms(name):
                lock.packages(name, platform.name)


def test_locked_environments_compare_by_value(locks: Path) -> None:
    """Two readings of one lock are equal, though rattler's records are other objects."""
    first, second = (load_environment(locks / "UW-Madison-DSI__pixi-docker-chtc", "pack") for _ in range(2))
    assert first == second
    assert hash(first) == hash(second)


def test_a_lock_made_by_rattler_from_a_local_channel_is_read(channel: Any, tmp_path: Path) -> None:
    """Packages of a file:// channel keep their address, digest and size."""
    archive = channel.add("a", "1.0", "0", {"bin/a": b"x"})
    env = load_environment(channel.lock(tmp_path / "pixi.lock"))
    package = env.package("a")
    assert package is not None
    assert package.sha256 == hashlib.sha256(archive.read_bytes()).hexdigest()
    assert package.size == archive.stat().st_size
    assert package.resolve(tmp_path).endswith("linux-64/a-1.0-0.conda")
