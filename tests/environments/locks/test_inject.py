"""Wheels of one's own that are added to a locked environment."""

from __future__ import annotations

import os
import random
import re
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

from wingspan.environments import Environment, LockedEnvironment, load_environment
from wingspan.environments.archives import LocalPackage, installed_size, search_member
from wingspan.environments.bundles.own.layer import Contents, wheel_contents
from wingspan.environments.bundles.packages.wheels import read_wheel
from wingspan.environments.errors import InvalidWheel
from wingspan.environments.inject import inject_wheels
from wingspan.errors import EnvironmentWarning, WingspanError

SHA = "0" * 64
CONDA = "https://conda.anaconda.org/conda-forge/linux-64"
LOCK = f"""\
version: 6
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    indexes:
    - https://pypi.org/simple
    packages:
      linux-64:
      - conda: {CONDA}/python-3.11.9-h0_0.conda
      - conda: {CONDA}/odd-2024a-h0_0.conda
      - pypi: https://files.pythonhosted.org/packages/a/numpy-2.1.0-cp311-cp311-manylinux_2_17_x86_64.whl
      - pypi: ./local
  bare:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    packages:
      linux-64:
      - conda: {CONDA}/odd-2024a-h0_0.conda
packages:
- conda: {CONDA}/python-3.11.9-h0_0.conda
  sha256: {SHA}
  size: 1
- conda: {CONDA}/odd-2024a-h0_0.conda
  sha256: {SHA}
  size: 1
- pypi: https://files.pythonhosted.org/packages/a/numpy-2.1.0-cp311-cp311-manylinux_2_17_x86_64.whl
  name: numpy
  version: 2.1.0
  sha256: {SHA}
- pypi: ./local
  name: local
  version: 0.1.0
  editable: true
"""


@pytest.fixture
def env(write_workspace: Callable[..., Path]) -> LockedEnvironment:
    """Python 3.11 with NumPy, a package in a folder, and one with a version that PyPI does not know."""
    return load_environment(write_workspace(None, LOCK))


def _wheel(
    folder: Path,
    name: str = "mine",
    *,
    tags: str = "py3-none-any",
    asks: tuple[str, ...] = (),
    metadata: str | None = None,
) -> Path:
    path = folder / f"{name}-1.0-{tags}.whl"
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n"
    text += "".join(f"Requires-Dist: {one}\n" for one in asks)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", "")
        archive.writestr(f"{name}-1.0.dist-info/METADATA", text if metadata is None else metadata)
    return path


def test_a_wheel_changes_the_identity(env: LockedEnvironment, tmp_path: Path) -> None:
    """It is a package like those of the lock, in place of one in a folder; none at all changes nothing."""
    assert inject_wheels(env, []) is env
    more = inject_wheels(env, [_wheel(tmp_path), _wheel(tmp_path, "local")])
    added = {one.name: one for one in more.packages if one.injected}
    assert set(added) == {"mine", "local"}
    assert added["mine"].sha256 is not None
    assert [one.form for one in more.packages if one.name == "local"] == ["wheel"]
    assert more.digest != env.digest
    named = Environment(env.lock_path.parent, inject=[tmp_path / "mine-1.0-py3-none-any.whl"])
    assert named.load().package("mine") == added["mine"]


def test_what_it_asks_for_and_does_not_get_is_told(env: LockedEnvironment, tmp_path: Path) -> None:
    """A package that the lock does not have, or has in another version, is a warning; what is for other
    systems, and what nobody understands, is not.
    """
    asks = (
        "numpy>=2.2",
        "tqdm",
        "numpy>=2",
        "odd>=2000",
        "pywin32 ; sys_platform == 'win32'",
        "x ; extra == 'y'",
        "???",
    )
    with pytest.warns(EnvironmentWarning) as told:
        inject_wheels(env, [_wheel(tmp_path, asks=asks)])
    wanted = [str(one.message).partition("asks for ")[2].partition(", which")[0] for one in told]
    assert wanted == ["numpy>=2.2 (the lock has 2.1.0)", "tqdm"]


@pytest.mark.parametrize(
    "tags", ["cp311-cp311-linux_x86_64", "cp39-abi3-manylinux2014_x86_64", "py2.py3-none-any"]
)
def test_wheels_for_its_python_and_platform(tags: str, env: LockedEnvironment, tmp_path: Path) -> None:
    """What an installer in the environment would take is taken."""
    assert inject_wheels(env, [_wheel(tmp_path, tags=tags)]).package("mine") is not None


@pytest.mark.parametrize(
    ("tags", "name", "why"),
    [
        ("cp312-cp312-linux_x86_64", "mine", "has Python 3.11"),
        ("py3-none-win_amd64", "mine", "linux-64"),
        ("py3-none-musllinux_1_2_x86_64", "mine", "linux-64"),
        ("py3-none-any", "numpy", "a second numpy"),
    ],
)
def test_wheels_that_do_not_fit(
    tags: str, name: str, why: str, env: LockedEnvironment, tmp_path: Path
) -> None:
    """A wheel for another Python or platform, and a second version of a locked package, are refused."""
    with pytest.raises(InvalidWheel, match=why):
        inject_wheels(env, [_wheel(tmp_path, name, tags=tags)])


def test_files_that_are_no_wheels(env: LockedEnvironment, tmp_path: Path) -> None:
    """A damaged file, one under another name, one without metadata, and one that is not there are refused
    and named; so is a second wheel of one package.
    """
    good, broken = _wheel(tmp_path), tmp_path / "broken-1.0-py3-none-any.whl"
    broken.write_text("no wheel")
    renamed = Path(shutil.copy(good, tmp_path / "other-1.0-py3-none-any.whl"))
    empty = _wheel(tmp_path, "empty", metadata="")
    with zipfile.ZipFile(tmp_path / "bare-1.0-py3-none-any.whl", "w"):
        pass
    absent, odd = tmp_path / "absent-1.0-py3-none-any.whl", tmp_path / "x.zip"
    for path in (broken, renamed, empty, tmp_path / "bare-1.0-py3-none-any.whl", absent, odd):
        with pytest.raises(InvalidWheel, match=path.name):
            inject_wheels(env, [path])
    twice = [good, shutil.copy(good, tmp_path / "mine-1.0-1-py3-none-any.whl")]
    with pytest.raises(InvalidWheel, match="second wheel"):
        inject_wheels(env, twice)


def test_an_environment_without_python(env: LockedEnvironment, tmp_path: Path) -> None:
    """There is nothing that would import it."""
    with pytest.raises(InvalidWheel, match="has no Python"):
        inject_wheels(load_environment(env.lock_path, "bare"), [_wheel(tmp_path)])


def _damaged(data: bytes, chance: random.Random) -> bytes:
    """The same with some other bytes, mostly where a zip has its lists, or cut."""
    changed = bytearray(data)
    if chance.random() < 0.15:
        return data[: chance.randrange(len(data))]
    for _ in range(chance.choice((1, 1, 2, 5))):
        low = chance.choice((0, len(data) // 2))
        changed[chance.randrange(low, len(data))] = chance.randrange(256)
    return bytes(changed)


#: More for a long run: WINGSPAN_EXAMPLES=100000, and WINGSPAN_SEED for other ones.
@pytest.mark.parametrize("compression", [zipfile.ZIP_DEFLATED, zipfile.ZIP_LZMA])
@pytest.mark.parametrize("seed", [int(os.environ.get("WINGSPAN_SEED", "1"))])
def test_a_damaged_wheel_is_one_sentence(
    env: LockedEnvironment, tmp_path: Path, seed: int, compression: int
) -> None:
    """Whatever is wrong with it: it is refused by name where it is asked for, and tells no facts."""
    path = _wheel(tmp_path)
    with zipfile.ZipFile(path, "a", compression) as archive:
        archive.writestr("mine/a.py", "print('hello', 1 + 1)\n" * 20)
        archive.writestr("mine-1.0.dist-info/entry_points.txt", "[console_scripts]\nmine = mine:main\n")
    data, chance = path.read_bytes(), random.Random(seed)
    refused: list[str] = []
    for _ in range(int(os.environ.get("WINGSPAN_EXAMPLES", "150"))):
        path.write_bytes(_damaged(data, chance))
        for read in (
            lambda: inject_wheels(env, [path]),
            lambda: wheel_contents(path, Contents()),
            lambda: read_wheel(path),
        ):
            try:
                read()
            except WingspanError as error:
                refused.append(error.message)
        package = LocalPackage(path)
        installed_size(package)
        search_member(package, "a.py", re.compile(b"nothing"))
    assert refused
    assert all(path.name in message for message in refused)
