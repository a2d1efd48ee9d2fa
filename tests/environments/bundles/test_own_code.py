"""The workspace's own package: a thin layer beside the bundle of the locked ones, put on top of it by the
worker.
"""

from __future__ import annotations

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs
import pytest

from _waiting import until
from wingspan.environments import Environment, load_environment
from wingspan.environments.bundles import Bundle, build_bundle, starter_command
from wingspan.environments.bundles.own.project import read_project
from wingspan.environments.errors import UnsupportedPackages
from wingspan.errors import EnvironmentWarning

sys.path.insert(0, str(Path(__file__).parents[3] / "tools"))

import standin_pixi

AsUser = Callable[[Sequence[str]], list[str]]
#: What the program of the own package prints, and its exit code.
SAID = "1.2.0 1 [1] data True a b\n"
ENDED = 3


def _names(layer: Path) -> set[str]:
    with tarfile.open(layer) as tar:
        return set(tar.getnames())


def _start(
    bundle: Bundle, folder: Path, *, user: AsUser = list, path: str = "/usr/bin:/bin", **options: object
) -> subprocess.CompletedProcess[str]:
    """The package's program in `bundle`, as a job starts it: all files lie in its folder."""
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    start = starter_command(bundle, ["mytool", "a", "b"], **options)  # type: ignore[arg-type]
    for file in (start.executable, *start.input_files):
        shutil.copy(file, folder)
        (folder / file.name).chmod(0o755)
    return subprocess.run(
        user(["sh", f"./{start.executable.name}", *start.arguments]),
        cwd=folder,
        env={"PATH": path, "HOME": "/tmp", "TMPDIR": str(folder)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_only_the_layer_is_made_anew(bundle_cache: Path, own_workspace: Path) -> None:
    """Changing a source file makes another thin layer beside the same bundle; the same files make the
    same one; what git ignores, and a link that leads out, stay here.
    """
    (own_workspace / "src/mypackage/out").symlink_to("/etc/hostname")
    env = load_environment(own_workspace)
    with pytest.warns(EnvironmentWarning, match="leads out"):
        first = build_bundle(env, "squashfs")
    (own_workspace / "src/mypackage/out").unlink()
    (layer,) = first.layers
    assert layer.size < 2_000
    files = {name.removeprefix("site/") for name in _names(layer.path)}
    info = "My_Package-1.2.0.dist-info"
    written = {f"{info}/{name}" for name in ("METADATA", "INSTALLER", "RECORD", "entry_points.txt")}
    own = {f"mypackage/{name}" for name in ("__init__.py", "cli.py", "data.txt")}
    assert files == {"bin/mytool", *own, *written}
    (own_workspace / "src/mypackage/__init__.py").write_text("VALUE = 2\n")
    second = build_bundle(env, "squashfs")
    assert second.sha256 == first.sha256
    assert second.layers[0].sha256 != layer.sha256
    (own_workspace / "src/mypackage/__init__.py").write_text("VALUE = 1\n")
    assert build_bundle(env, "squashfs").layers == first.layers


def test_without_git_what_tools_make_stays_here(bundle_cache: Path, own_workspace: Path) -> None:
    """In a folder that is no git repository all files travel, but for byte code and what tools put there."""
    shutil.rmtree(own_workspace / ".git")
    cached = own_workspace / "src/mypackage/__pycache__/x.cpython-311.pyc"
    cached.parent.mkdir()
    cached.touch()
    (layer,) = build_bundle(load_environment(own_workspace), "squashfs").layers
    names = {Path(name).name for name in _names(layer.path)}
    assert "notes.secret" in names
    assert cached.name not in names


def test_a_source_package_of_pixi(bundle_cache: Path, own_workspace: Path) -> None:
    """A package that Pixi builds with pixi-build-python goes into the same layer, and one with compiled
    files is refused.
    """
    editable = build_bundle(load_environment(own_workspace), "squashfs").layers
    lock, manifest = own_workspace / "pixi.lock", own_workspace / "pixi.toml"
    name = "conda_source: my-package[1b3cf1c1] @ ."
    text = lock.read_text().replace("- pypi: ./\n  name: my-package\n", f"- {name}\n  subdir: noarch\n")
    lock.write_text(
        text.replace("- pypi: ./\n", f"- {name}\n").replace("  requires_dist:\n  - cloudpickle>=3\n", "")
    )
    declared = manifest.read_text().replace(
        '\n[pypi-dependencies]\nmy-package = { path = ".", editable = true }\n', ""
    )
    manifest.write_text(declared + '\n[package.build]\nbackend = { name = "pixi-build-python" }\n')
    env = load_environment(own_workspace, check_lock=False)
    assert [one.form for one in env.packages if one.name == "my-package"] == ["conda-source"]
    assert build_bundle(env, "squashfs").layers == editable
    manifest.write_text(declared + '\n[package.build]\nbackend = { name = "pixi-build-cmake" }\n')
    with pytest.raises(UnsupportedPackages, match="pixi-build-cmake"):
        build_bundle(env, "squashfs")


@pytest.mark.parametrize("method", ["fuse", "unpack"])
def test_the_worker_puts_it_on_top(
    method: str,
    bundle_cache: Path,
    own_workspace: Path,
    public_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
    as_ordinary_user: AsUser,
) -> None:
    """Import, data, entry points, programs and metadata of the own package work, in a mounted environment as
    in an unpacked one, for an ordinary user; when the program has ended, nothing of it is left.
    """
    folder = public_folder / f"own-{method}"
    bundle = build_bundle(load_environment(own_workspace), "squashfs")
    done = _start(bundle, folder, user=as_ordinary_user, method=method)
    assert (done.stdout, done.returncode) == (SAID, ENDED), done.stderr
    until(lambda: not list(folder.glob(".wingspan*")), "the folder of the job's code is removed")


@pytest.mark.parametrize("kind", ["pack", "install"])
def test_other_kinds_take_it(kind: str, bundle_cache: Path, own_workspace: Path, tmp_path: Path) -> None:
    """A pack, and an installer (which leaves the own package out), get the layer on top as well."""
    (tmp_path / "bin").mkdir()
    standin_pixi.write(tmp_path / "bin/pixi")
    bundle = build_bundle(load_environment(own_workspace), kind, executable=kind == "pack")
    done = _start(bundle, tmp_path / "job", path=f"{tmp_path}/bin:/usr/bin:/bin")
    assert (done.stdout, done.returncode) == (SAID, ENDED), done.stderr


@pytest.mark.parametrize("how", ["damaged", "leads out"])
def test_a_layer_is_checked_first(how: str, bundle_cache: Path, own_workspace: Path, tmp_path: Path) -> None:
    """A layer that is another file is refused before anything in it runs; so is one with a name that leads
    out of its folder, whatever its digest.
    """
    bundle = build_bundle(load_environment(own_workspace), "squashfs")
    layer = tmp_path / "layer.tar.gz"
    with tarfile.open(layer, "w:gz") as tar:
        member = tarfile.TarInfo("site/../../escaped")
        member.size = 1
        tar.addfile(member, io.BytesIO(b"x"))
    digest = hashlib.sha256(layer.read_bytes()).hexdigest() if how == "leads out" else "0" * 64
    bundle = attrs.evolve(bundle, layers=(attrs.evolve(bundle.layers[0], path=layer, sha256=digest),))
    done = _start(bundle, tmp_path / "job")
    assert (done.stdout, done.returncode) == ("", 121)
    assert "nothing in it was run" in done.stderr


_PLAIN = '[project]\nname = "p"\nversion = "1"\n'
#: pyproject.toml, the files beside it, and which modules the project has.
_LAYOUTS: Mapping[str, tuple[str, tuple[str, ...], tuple[tuple[str, str], ...]]] = {
    "src": (_PLAIN, ("src/p/__init__.py", "tests/test_p.py"), (("src/p", "p"),)),
    "flat": (_PLAIN, ("p/__init__.py", "docs/conf.py"), (("p", "p"),)),
    "module": (_PLAIN, ("p.py", "setup.py"), (("p.py", "p.py"),)),
    "another name": (_PLAIN, ("src/q/__init__.py", "src/r.py"), (("src/q", "q"), ("src/r.py", "r.py"))),
    "the only package": (_PLAIN, ("q/__init__.py", "tests/__init__.py"), (("q", "q"),)),
    "hatchling": (
        _PLAIN
        + '[build-system]\nbuild-backend = "hatchling.build"\n[tool.hatch.build.targets.wheel]\npackages = ["lib/q"]\n',
        ("lib/q/__init__.py", "p/__init__.py"),
        (("lib/q", "q"),),
    ),
    "setuptools": (
        _PLAIN + '[tool.setuptools.packages.find]\nwhere = ["lib"]\n',
        ("lib/q/__init__.py", "p/__init__.py"),
        (("lib/q", "q"),),
    ),
    "setuptools, listed": (
        _PLAIN + '[tool.setuptools]\npackages = ["q", "q.r"]\npackage-dir = { "" = "lib" }\n',
        ("lib/q/__init__.py", "lib/q/r/__init__.py"),
        (("lib/q", "q"),),
    ),
    "uv": (
        _PLAIN + '[build-system]\nbuild-backend = "uv_build"\n[tool.uv.build-backend]\nmodule-name = "q.r"\n',
        ("src/q/r/__init__.py",),
        (("src/q/r", "q/r"),),
    ),
    "poetry": (
        '[tool.poetry]\nname = "p"\nversion = "1"\npackages = [{ include = "q", from = "lib" }]\n'
        '[build-system]\nbuild-backend = "poetry.core.masonry.api"\n',
        ("lib/q/__init__.py",),
        (("lib/q", "q"),),
    ),
    "flit": (
        _PLAIN + '[build-system]\nbuild-backend = "flit_core.buildapi"\n[tool.flit.module]\nname = "q"\n',
        ("q.py",),
        (("q.py", "q.py"),),
    ),
}


@pytest.mark.parametrize("layout", _LAYOUTS)
def test_modules_are_found(layout: str, tmp_path: Path) -> None:
    """Modules are where the build backend is told, else in the usual places."""
    text, files, modules = _LAYOUTS[layout]
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "pyproject.toml").write_text(text)
    project = read_project(tmp_path, "p", "")
    assert (project.modules, project.version) == (modules, "1")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ('[build-system]\nbuild-backend = "maturin"\n', "built by maturin"),
        (_PLAIN, "not to be seen"),
        ("[project", "cannot be read"),
        (_PLAIN + '[tool.hatch.build.targets.wheel]\npackages = ["../q"]\n', "not in its folder"),
        (_PLAIN + '[tool.hatch.build.targets.wheel]\npackages = ["q"]\n', "it has no q"),
        (_PLAIN + '[tool.hatch.build.targets.wheel]\nforce-include = { a = "b" }\n', "force-include"),
        (_PLAIN + '[tool.pixi.package.build]\nbackend = { name = "pixi-build-rust" }\n', "pixi-build-rust"),
    ],
)
def test_what_must_be_built_is_refused(text: str, why: str, tmp_path: Path) -> None:
    """A project whose files a build makes, or whose modules nobody names, is refused with the reason."""
    (tmp_path / "pyproject.toml").write_text(text)
    with pytest.raises(UnsupportedPackages, match=why):
        read_project(tmp_path, "p", "")


def test_a_version_that_the_backend_knows(tmp_path: Path) -> None:
    """A dynamic version is that of the lock, of the package that Pixi has installed here, or of the module;
    else 0, and a warning says so.
    """
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "p"\ndynamic = ["version"]\n')
    (tmp_path / "p.py").touch()
    unknown = read_project(tmp_path, "p", "")
    assert (unknown.version, len(unknown.warnings)) == ("0", 1)
    assert read_project(tmp_path, "p", "3.0").version == "3.0"
    (tmp_path / "site/p-2.5.dist-info").mkdir(parents=True)
    assert read_project(tmp_path, "p", "", [tmp_path / "site"]).version == "2.5"
    (tmp_path / "p.py").write_text('__version__ = "1.5"\n')
    assert read_project(tmp_path, "p", "").version == "1.5"


def test_too_much_for_a_layer(bundle_cache: Path, own_workspace: Path) -> None:
    """Data in the package's folder that no thin layer takes are refused, and the message says what to do."""
    with (own_workspace / "src/mypackage/large.bin").open("wb") as file:
        os.truncate(file.fileno(), 65 << 20)
    with pytest.raises(UnsupportedPackages, match="64 MiB") as refused:
        build_bundle(load_environment(own_workspace), "squashfs")
    assert ".gitignore" in (refused.value.hint or "")


def _wheel(
    folder: Path, version: str = "3.0", *, tags: str = "py3-none-any", name: str = "my_package"
) -> Path:
    """A wheel with a module, a program, a script, and what it asks for."""
    info = f"{name}-{version}.dist-info"
    files = {
        "mypackage/__init__.py": f"VALUE = {version}\n",
        "mypackage/cli.py": "import sys, mypackage\ndef main():\n    print(mypackage.VALUE, *sys.argv[1:])\n    return 3\n",
        f"{name}-{version}.data/scripts/say": "#!python\nprint('said')\n",
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
        "Requires-Dist: pyzmq>=26\nRequires-Dist: tqdm\nRequires-Dist: pywin32 ; sys_platform == 'win32'\n",
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: {tags}\n",
        f"{info}/entry_points.txt": "[console_scripts]\nmytool = mypackage.cli:main\n",
    }
    record = "".join(f"{path},,\n" for path in (*files, f"{info}/RECORD"))
    path = folder / f"{name}-{version}-{tags}.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for member, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(member, text)
    return path


@pytest.mark.parametrize("kind", ["squashfs", "pack", "install"])
def test_a_wheel_of_ones_own(kind: str, bundle_cache: Path, own_workspace: Path, tmp_path: Path) -> None:
    """An injected wheel is installed like a locked one, in place of the package in the folder; what it
    asks for and does not get is a warning. It changes the bundle; an installer gets it as a thin layer.
    """
    (tmp_path / "bin").mkdir()
    standin_pixi.write(tmp_path / "bin/pixi")
    with pytest.warns(EnvironmentWarning, match="tqdm") as told:
        env = Environment(own_workspace, inject=_wheel(tmp_path)).load()
    assert len(told) == 1
    bundle = build_bundle(env, kind, executable=kind == "pack")
    assert len(bundle.layers) == (kind == "install")
    done = _start(bundle, tmp_path / "job", path=f"{tmp_path}/bin:/usr/bin:/bin")
    assert (done.stdout, done.returncode) == ("3.0 a b\n", ENDED), done.stderr
    start = starter_command(bundle, ["say"], shared=True)
    if kind == "install":
        said = subprocess.run(
            ["sh", str(start.executable), *start.arguments],
            env={"PATH": f"{tmp_path}/bin:/usr/bin:/bin"},
            capture_output=True,
            text=True,
            check=False,
        )
        assert said.stdout == "said\n", said.stderr
    else:
        assert bundle.environment_digest != load_environment(own_workspace).digest
