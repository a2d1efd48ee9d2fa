"""Bundles that come as the difference to another one, and packages that alone are installed for an image."""

from __future__ import annotations

import os
import shutil
import subprocess
import uuid
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

import attrs
import pytest

from wingspan.environments import Environment, load_environment
from wingspan.environments.bundles import Bundle, build_bundle, starter_command
from wingspan.environments.bundles.delta import apply_delta, bases_of, make_delta
from wingspan.environments.bundles.errors import BundleDamaged
from wingspan.environments.bundles.kinds import partial, writers
from wingspan.environments.bundles.manifest import Delta
from wingspan.environments.bundles.storage import hash_file

AsUser = Callable[[Sequence[str]], list[str]]


@pytest.fixture
def two(
    bundle_cache: Path,
    local_channel: Path,
    write_workspace: Callable[..., Path],
    tmp_path_factory: pytest.TempPathFactory,
) -> tuple[Bundle, Bundle]:
    """Bundles of two environments that differ in one small package; the second one has its delta."""
    found = []
    for version in ("1.0", "2.0"):
        folder = tmp_path_factory.mktemp("workspace")
        specs = ["python 3.11.*", "pyzmq", f"prefix-probe =={version}"]
        write_workspace(folder, local_channel, {"default": specs}, name="delta")
        found.append(build_bundle(load_environment(folder), "squashfs"))
    first, second = found
    base = next(base for base in bases_of(second) if base.sha256 == first.sha256)
    return first, attrs.evolve(second, delta=make_delta(second, base))


def _delta(bundle: Bundle) -> Delta:
    assert bundle.delta is not None
    return bundle.delta


def _start(
    first: Bundle, second: Bundle, folder: Path, *, user: AsUser = list, **options: object
) -> subprocess.CompletedProcess[str]:
    """A program in the second bundle, as a job starts it that got the first one and the delta."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    start = starter_command(second, ["prefix-probe"], **options)  # type: ignore[arg-type]
    for file in (first.path, start.executable, *start.input_files):
        if file != second.path:
            shutil.copy(file, folder)
            (folder / file.name).chmod(0o755)
    return subprocess.run(
        user(["sh", f"./{start.executable.name}", *start.arguments]),
        cwd=folder,
        env={"PATH": os.environ["PATH"], "HOME": "/tmp", "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_delta_has_only_what_is_new(two: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    """It is a small part of the bundle, the same two bundles give the same one, and with its base it gives
    the very bundle. A cut base gives an error.
    """
    first, second = two
    delta = _delta(second)
    assert delta.size < second.size / 20
    assert make_delta(second, bases_of(second)[0]).size <= delta.size
    again = next(make_delta(second, base) for base in bases_of(second) if base.path == first.path)
    assert again.sha256 == delta.sha256
    apply_delta(delta.path, first.path, tmp_path / "made")
    assert hash_file(tmp_path / "made") == second.sha256
    cut = tmp_path / "cut"
    cut.write_bytes(first.path.read_bytes()[:100_000])
    with pytest.raises(BundleDamaged, match="cut"):
        apply_delta(delta.path, cut, tmp_path / "made")
    with pytest.raises(BundleDamaged, match="no delta"):
        apply_delta(cut, cut, tmp_path / "made")


@pytest.mark.parametrize("method", ["kernel", "fuse", "apptainer", "unpack"])
def test_workers_put_it_together(
    method: str,
    two: tuple[Bundle, Bundle],
    public_folder: Path,
    as_ordinary_user: AsUser,
    request: pytest.FixtureRequest,
) -> None:
    """Whatever makes a bundle available takes one that was put together, and nothing is left of it."""
    if method == "kernel" and os.geteuid() != 0:
        pytest.skip("the kernel mounts images for root only")
    if method == "apptainer":
        request.getfixturevalue("apptainer_on_path")
    user: AsUser = list if method == "kernel" else as_ordinary_user
    folder = public_folder / f"delta-{method}"
    done = _start(*two, folder, user=user, method=method)
    assert (done.returncode, done.stdout) == (0, "/opt/wingspan/environment\n"), done.stderr
    assert f"{two[1].path.name} was put together from {two[0].path.name}" in done.stderr
    assert not list(folder.glob(".wingspan-*"))


@pytest.mark.parametrize("what", ["delta", "base", "no base"])
def test_nothing_runs_of_what_is_damaged(what: str, two: tuple[Bundle, Bundle], tmp_path: Path) -> None:
    """A delta that is another file, a base with another byte, and one that is missing are told, and end the
    job with 121.
    """
    first, second = two
    if what == "delta":
        second = attrs.evolve(second, delta=attrs.evolve(_delta(second), sha256="0" * 64))
    elif what == "base":
        content = bytearray(first.path.read_bytes())
        content[len(content) // 2] ^= 1
        (tmp_path / first.path.name).write_bytes(content)
        first = attrs.evolve(first, path=tmp_path / first.path.name)
    else:
        second = attrs.evolve(second, delta=attrs.evolve(_delta(second), base="absent.squashfs"))
    done = _start(first, second, tmp_path / "job")
    assert (done.returncode, done.stdout) == (121, ""), done.stderr


def _wheel(folder: Path) -> Path:
    """A wheel that no cache knows."""
    info = "fresh-1.0.dist-info"
    path = folder / "fresh-1.0-py3-none-any.whl"
    files = {
        "fresh.py": f"MARK = {uuid.uuid4().hex!r}\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: fresh\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": "[console_scripts]\nfresh = fresh:main\n",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": "".join(f"{name},,\n" for name in files)}.items():
            archive.writestr(name, text)
    return path


def test_only_new_packages_are_installed(
    bundle_cache: Path, local_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where one package is new, only that one is installed, beside Python; the image has the same bytes as
    one for which everything was installed.
    """
    known = build_bundle(load_environment(local_workspace, "numpy"), "squashfs")
    installed: list[list[str]] = []
    real = partial.link_environment

    def link(archives, folder, **options):  # type: ignore[no-untyped-def]
        installed.append([archive.package.name for archive in archives])
        return real(archives, folder, **options)

    monkeypatch.setattr(partial, "link_environment", link)
    env = Environment(local_workspace, "numpy", inject=_wheel(tmp_path)).load()
    quick = build_bundle(env, "squashfs")
    (names,) = installed
    assert {"fresh", "python"} <= set(names)
    assert not {"numpy", "cloudpickle", "prefix-probe"} & set(names)
    assert bases_of(quick)[0].shared > 0.9 * known.size
    for entry in (bundle_cache / "environments/bundles").glob("*.json"):
        if quick.sha256 in entry.read_text():
            entry.unlink()
    monkeypatch.setattr(writers, "compose", lambda *_, **__: None)
    monkeypatch.setattr(writers, "install_missing", lambda _: False)
    assert build_bundle(env, "squashfs").sha256 == quick.sha256
