"""Workspaces: which manifest, lock, environment and platform, and whether the lock is up to date."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import rattler

from wingspan.environments import Environment, Workspace, load_environment
from wingspan.environments.errors import (
    LockError,
    LockOutdated,
    ManifestError,
    ManifestInvalid,
    ManifestNotFound,
    UnknownEnvironment,
    UnknownPlatform,
    UnknownTask,
)
from wingspan.environments.lock import LockedPlatform
from wingspan.environments.manifest import selects
from wingspan.environments.manifest_reader import read_manifest
from wingspan.environments.platforms import choose_platform

# -- opening ---------------------------------------------------------------------------------------------


def test_a_folder_below_the_workspace_will_do(real: Callable[[str], Path]) -> None:
    """As with Pixi, the manifest is looked for in the parents."""
    folder = real("lightgbm")
    below = folder / "a" / "b"
    below.mkdir(parents=True)
    workspace = Workspace.open(below)
    assert workspace.root == folder
    assert workspace.name == "lightgbm"


@pytest.mark.parametrize("name", ["", "pixi.toml", "pixi.lock"])
def test_folder_manifest_and_lock_name_the_same_workspace(real: Callable[[str], Path], name: str) -> None:
    """Any of the three opens manifest and lock together."""
    folder = real("lightgbm")
    env = load_environment(folder / name, platform="linux-64")
    assert (env.workspace, env.manifest_path) == ("lightgbm", folder / "pixi.toml")


def test_a_lock_alone_will_do(real: Callable[[str], Path]) -> None:
    """Without a manifest the workspace is named by its folder, and nothing is compared."""
    folder = real("lightgbm")
    (folder / "pixi.toml").unlink()
    env = load_environment(folder)
    assert env.workspace == folder.name
    assert env.manifest_path is None
    assert env.platform.name in {"linux-64"}


def test_an_old_lock_kept_under_another_name_is_not_compared(real: Callable[[str], Path]) -> None:
    """Only pixi.lock belongs to the manifest beside it."""
    folder = real("lightgbm")
    shutil.copyfile(folder / "pixi.lock", folder / "old.lock")
    (folder / "pixi.toml").write_text((folder / "pixi.toml").read_text().replace("4.1.0.*", "5.*"))
    assert load_environment(folder / "old.lock", platform="linux-64").manifest_path is None
    with pytest.raises(LockOutdated):
        load_environment(folder)


def test_pixi_toml_comes_before_pyproject_toml(real: Callable[[str], Path]) -> None:
    """With both in a folder Pixi takes pixi.toml; so do we. A pyproject.toml without Pixi is none."""
    folder = real("lightgbm")
    (folder / "pyproject.toml").write_text(
        '[project]\nname = "other"\n[tool.pixi.workspace]\nname = "other"\n'
    )
    assert Workspace.open(folder).name == "lightgbm"
    (folder / "pixi.toml").unlink()
    assert Workspace.open(folder).name == "other"
    (folder / "pyproject.toml").write_text('[project]\nname = "other"\n')
    assert Workspace.open(folder).manifest is None


def test_a_package_in_a_workspace_is_no_workspace(real: Callable[[str], Path]) -> None:
    """A pixi.toml that only describes a package belongs to the workspace above it."""
    folder = real("lightgbm")
    member = folder / "packages" / "a"
    member.mkdir(parents=True)
    (member / "pixi.toml").write_text('[package]\nname = "a"\nversion = "1"\n')
    assert Workspace.open(member).root == folder


@pytest.mark.parametrize("name", ["", "missing", "missing.toml", "missing.lock"])
def test_no_workspace_is_an_error_that_says_what_to_name(tmp_path: Path, name: str) -> None:
    """Neither manifest nor lock: the error names the place."""
    with pytest.raises(ManifestNotFound, match=str(tmp_path)) as caught:
        Workspace.open(tmp_path / name).environments
    assert caught.value.hint
    assert isinstance(caught.value, FileNotFoundError)


def test_the_value_class_travels_and_loads(real: Callable[[str], Path]) -> None:
    """`Environment` is a plain value: it compares, pickles, and loads what it names."""
    folder = real("multi-machine")
    one = Environment(str(folder), "default", "cuda-linux-64")
    assert one == pickle.loads(pickle.dumps(one)) == Environment(folder, platform="cuda-linux-64")
    assert one.load().platform.name == "p2"
    (folder / "pixi.toml").write_text((folder / "pixi.toml").read_text().replace(">=2.10.0,<3", ">=3"))
    with pytest.raises(LockOutdated):
        one.load()
    assert Environment(folder, frozen=True).load().platform.name == "linux-64"


def test_jobs_execute_on_linux_only(locks: Path) -> None:
    """A platform that no worker has is refused at once, and not when its packages have been fetched."""
    folder = locks / "prefix-dev__pixi--multi-machine"
    for platform in ("osx-arm64", "cuda-win-64"):
        with pytest.raises(UnknownPlatform, match="workers are Linux machines") as caught:
            Environment(folder, platform=platform).load()
        assert "cuda-linux-64 or linux-64" in str(caught.value.hint)


# -- selection -------------------------------------------------------------------------------------------


def test_an_unknown_environment_names_the_nearest(locks: Path) -> None:
    """A slip of the hand is answered with what was meant."""
    with pytest.raises(UnknownEnvironment, match="gpuu") as caught:
        load_environment(locks / "matthewfeickert__nvidia-gpu-ml-library-test", "gpuu")
    assert "'gpu'" in str(caught.value.hint)
    assert isinstance(caught.value, LookupError)


def test_an_unknown_platform_names_the_nearest(locks: Path) -> None:
    """So is an unknown platform, with the manifest's names."""
    with pytest.raises(UnknownPlatform, match="cuda-linux") as caught:
        load_environment(locks / "prefix-dev__pixi--multi-machine", platform="cuda-linux")
    assert "'cuda-linux-64'" in str(caught.value.hint)
    assert "osx-arm64" in str(caught.value.hint)


def test_platforms_have_the_names_of_the_manifest(locks: Path) -> None:
    """The lock's p1, p2, p3 are told by their contents, and stand in the manifest's order."""
    workspace = Workspace.open(locks / "prefix-dev__pixi--multi-machine")
    assert [(p.label, p.name) for p in workspace.platforms()] == [
        ("cuda-win-64", "p1"),
        ("win-64", "win-64"),
        ("cuda-linux-64", "p2"),
        ("linux-64", "linux-64"),
        ("osx-arm64-osx-13-5", "p3"),
    ]


@pytest.mark.parametrize(("gpus", "name"), [(True, "p2"), (False, "linux-64")])
def test_gpus_choose_between_platforms_of_one_subdir(locks: Path, gpus: bool, name: str) -> None:
    """With GPUs the platform with __cuda is taken, without them the plain one; never just the first."""
    env = load_environment(locks / "prefix-dev__pixi--multi-machine", gpus=gpus)
    assert (env.platform.name, env.platform.subdir) == (name, "linux-64")


@pytest.mark.parametrize("name", ["p2", "cuda-linux-64"])
def test_a_platform_is_named_by_manifest_or_lock(locks: Path, name: str) -> None:
    """Both names of a platform select it."""
    assert load_environment(locks / "prefix-dev__pixi--multi-machine", platform=name).platform.name == "p2"


def _platforms(*entries: str) -> list[LockedPlatform]:
    found = []
    for entry in entries:
        name, subdir, *virtual = entry.split()
        found.append(LockedPlatform(name=name, subdir=subdir, virtual_packages=tuple(virtual)))
    return found


def test_the_only_platform_is_taken_even_if_it_does_not_fit() -> None:
    """With one Linux platform there is nothing to choose; needs will tell what it lacks."""
    (only,) = _platforms("p1 linux-64 __cuda=12")
    assert choose_platform([only]) is only
    (plain,) = _platforms("linux-64 linux-64")
    assert choose_platform([plain], gpus=True) is plain


def test_a_manifest_orders_what_a_lock_does_not() -> None:
    """Of two CUDA platforms the manifest's first is taken; a lock alone has no order: one must be named."""
    both = _platforms("p1 linux-64 __cuda=12", "p2 linux-64 __cuda=13")
    assert choose_platform(both, gpus=True).name == "p1"
    assert choose_platform(both[::-1], gpus=True).name == "p2"
    with pytest.raises(UnknownPlatform, match=r"p1 .*p2"):
        choose_platform(both, gpus=True, ordered=False)


def test_an_ambiguous_subdir_is_refused() -> None:
    """A subdir that two platforms have names neither."""
    with pytest.raises(UnknownPlatform, match=r"p1 .*p2"):
        choose_platform(_platforms("p1 linux-64 __cuda=12", "p2 linux-64"), "linux-64")
    assert choose_platform(_platforms("p1 linux-64 __cuda=12", "p2 osx-64"), "linux-64").name == "p1"


def test_an_environment_without_linux_is_refused() -> None:
    """Workers are Linux machines."""
    with pytest.raises(UnknownPlatform, match="Linux"):
        choose_platform(_platforms("win-64 win-64", "osx-arm64 osx-arm64"))


# -- is the lock up to date ------------------------------------------------------------------------------


def test_the_real_locks_are_up_to_date(locks: Path) -> None:
    """No environment of the five workspaces is called outdated."""
    checked = 0
    for folder in sorted(locks.iterdir()):
        workspace = Workspace.open(folder)
        for name in workspace.environments:
            for platform in workspace.platforms(name):
                assert workspace.mismatches(workspace.load(name, platform.name, check_lock=False)) == ()
                checked += 1
    assert checked == 27


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            'pytorch = ">=2.10.0,<3"',
            'pytorch = ">=2.11"',
            r"pytorch: .*>=2.11.* 2.10.0 cpu_mkl_py314_hf472749_104",
        ),
        ('pytorch = ">=2.10.0,<3"', 'pytorch = { version = "*", build = "cuda*" }', r"pytorch: .*cuda\*"),
        ("[dependencies]", '[dependencies]\nnumba = "*"', "numba: .* does not have it"),
        ('polars = ">=1.41.1,<2"\n', "", "polars: the manifest asks for it no more"),
        (
            "[dependencies]",
            '[constraints]\nnumpy = "<1"\n\n[dependencies]',
            "numpy: the manifest allows numpy <1",
        ),
        (
            "[dependencies]",
            '[pypi-dependencies]\nrequests-toolbelt = "*"\n\n[dependencies]',
            "requests-toolbelt",
        ),
        ('["conda-forge"]', '["conda-forge", "bioconda"]', "channel bioconda"),
        (
            'name = "cuda-linux-64", platform = "linux-64", cuda = "12"',
            'name = "cuda-linux-64", platform = "linux-64", cuda = "13"',
            "declares __cuda=13, the lock was solved for __cuda=12",
        ),
        (
            "[target.cuda-linux-64.tasks]",
            '[target.cuda-linux-64.dependencies]\nnccl = "*"\n\n[target.cuda-linux-64.tasks]',
            "nccl",
        ),
    ],
)
def test_a_changed_manifest_makes_the_lock_outdated(
    real: Callable[[str], Path], old: str, new: str, message: str
) -> None:
    """What changed is named, with what the lock has; reading it anyway must be asked for."""
    folder = real("multi-machine")
    manifest = folder / "pixi.toml"
    text = manifest.read_text()
    assert old in text
    manifest.write_text(text.replace(old, new, 1))
    with pytest.raises(LockOutdated, match=message) as caught:
        load_environment(folder, gpus=True)
    assert "pixi lock" in str(caught.value.hint)
    assert load_environment(folder, gpus=True, check_lock=False).package("pytorch")


def test_development_dependencies_are_left_to_pixi(real: Callable[[str], Path]) -> None:
    """With a [dev] table packages are locked that the manifest does not name: these are no leftovers."""
    folder = real("multi-machine")
    manifest = folder / "pixi.toml"
    text = manifest.read_text().replace('polars = ">=1.41.1,<2"\n', "")
    manifest.write_text(text + '\n[dev]\nmy-package = { path = "src/my-package" }\n')
    assert load_environment(folder).package("polars")


def test_a_change_for_another_platform_does_not_matter(real: Callable[[str], Path]) -> None:
    """What is asked for on macOS only is no reason to refuse Linux."""
    folder = real("multi-machine")
    manifest = folder / "pixi.toml"
    manifest.write_text(manifest.read_text().replace("mlx = ", "mlx2 = "))
    assert load_environment(folder).package("pytorch")
    with pytest.raises(LockOutdated, match="mlx2"):
        load_environment(folder, platform="p3")


def test_a_new_environment_or_platform_makes_the_lock_outdated(real: Callable[[str], Path]) -> None:
    """Both are in the manifest and not in the lock."""
    folder = real("lightgbm")
    manifest = folder / "pixi.toml"
    text = manifest.read_text()
    manifest.write_text(
        text + '\n[feature.test.dependencies]\npytest = "*"\n[environments]\ntest = ["test"]\n'
    )
    with pytest.raises(LockOutdated, match="'test'"):
        load_environment(folder, "test")
    manifest.write_text(text.replace('"linux-64"', '"linux-64", "linux-aarch64"'))
    with pytest.raises(LockOutdated, match="linux-aarch64"):
        load_environment(folder, platform="linux-aarch64")


def test_a_conda_package_stands_in_for_a_pypi_one(real: Callable[[str], Path]) -> None:
    """A PyPI requirement that a conda package provides is satisfied: the lock has its package URL."""
    folder = real("multi-machine")
    manifest = folder / "pixi.toml"
    lock = folder / "pixi.lock"
    manifest.write_text(manifest.read_text() + '\n[pypi-dependencies]\ntorch = "*"\nMatplotlib-Base = "*"\n')
    with pytest.raises(LockOutdated, match="torch"):
        load_environment(folder)
    address = "linux-64/pytorch-2.10.0-cpu_mkl_py314_hf472749_104.conda\n  sha256"
    text = lock.read_text()
    assert address in text
    for provided, satisfied in [("torchvision", False), ("torch", True)]:
        purls = f"  purls:\n  - pkg:pypi/{provided}\n"
        lock.write_text(text.replace(address, address.replace("  sha256", f"{purls}  sha256")))
        assert (
            Workspace.open(folder).mismatches(load_environment(folder, check_lock=False)) == ()
        ) == satisfied


PYPI_LOCK = """\
version: 6
environments:
  default:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.12.3-hab00c5b_0_cpython.conda
      - pypi: https://files.pythonhosted.org/packages/a/my_pkg-1.5-py3-none-any.whl
  test:
    channels:
    - url: https://conda.anaconda.org/conda-forge/
    packages:
      linux-64:
      - conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.12.3-hab00c5b_0_cpython.conda
      - pypi: https://files.pythonhosted.org/packages/a/my_pkg-1.5-py3-none-any.whl
packages:
- conda: https://conda.anaconda.org/conda-forge/linux-64/python-3.12.3-hab00c5b_0_cpython.conda
  md5: 2540b74d304f71d3e89c81209db4db84
- pypi: https://files.pythonhosted.org/packages/a/my_pkg-1.5-py3-none-any.whl
  name: my-pkg
  version: '1.5'
  sha256: c865d2e9b8b5c8fd6c2e6e0a9f6e7d3d4bd2a9b4a11f2e7a3d3d3c1f5a2b3c4d
"""

PYPROJECT = """\
[project]
name = "analysis"
requires-python = ">=3.11"
dependencies = ["My_Pkg>=1.0", "tomli; python_version < '3.11'"]

[project.optional-dependencies]
extra = ["my-pkg{extra}"]

[dependency-groups]
test = [{{ include-group = "base" }}]
base = ["my-pkg{group}"]

[tool.pixi.workspace]
channels = ["conda-forge"]
platforms = ["linux-64"]

[tool.pixi.environments]
test = {{ features = ["test", "extra"] }}
"""


def test_a_pyproject_is_a_manifest(write_workspace: Callable[..., Path]) -> None:
    """requires-python, dependencies, extras and dependency groups count as Pixi counts them."""
    folder = write_workspace(PYPROJECT.format(extra="<2", group="!=1.4"), PYPI_LOCK, name="pyproject.toml")
    env = load_environment(folder, "test")
    assert env.workspace == "analysis"
    assert [p.name for p in env.pypi_packages] == ["my-pkg"]


@pytest.mark.parametrize(
    ("extra", "group", "message"), [("<1.5", "", "<1.5"), ("", ">=2", ">=2")], ids=["extra", "group"]
)
def test_a_pyproject_that_changed_makes_the_lock_outdated(
    write_workspace: Callable[..., Path], extra: str, group: str, message: str
) -> None:
    """A requirement of an extra or a group that the lock does not satisfy is named."""
    folder = write_workspace(PYPROJECT.format(extra=extra, group=group), PYPI_LOCK, name="pyproject.toml")
    assert load_environment(folder)
    with pytest.raises(LockOutdated, match=f"my-pkg.*{message}"):
        load_environment(folder, "test")


@pytest.mark.parametrize(
    ("asked", "outdated"),
    [
        ('"*"', False),
        ('">=2"', True),
        ('{ path = "." }', False),
        ('{ git = "https://example.com/a.git" }', True),
        ('{ url = "https://example.com/my_pkg-1.5-py3-none-any.whl" }', False),
    ],
)
def test_where_a_pypi_package_comes_from_is_compared(
    write_workspace: Callable[..., Path], asked: str, outdated: bool
) -> None:
    """A wheel in the lock is no git checkout; a path or an address may be a wheel."""
    manifest = (
        '[workspace]\nname = "a"\nchannels = ["conda-forge"]\nplatforms = ["linux-64"]\n'
        f'[dependencies]\npython = "*"\n[pypi-dependencies]\nmy-pkg = {asked}\n'
    )
    folder = write_workspace(manifest, PYPI_LOCK)
    if outdated:
        with pytest.raises(LockOutdated, match="my-pkg"):
            load_environment(folder)
    else:
        assert load_environment(folder)


def test_a_source_folder_in_the_lock_is_no_release(write_workspace: Callable[..., Path]) -> None:
    """The manifest asked for a path once, and asks for a release now."""
    manifest = (
        '[workspace]\nname = "a"\nchannels = ["conda-forge"]\nplatforms = ["linux-64"]\n'
        '[dependencies]\npython = "*"\n[pypi-dependencies]\nmy-pkg = "*"\n'
    )
    lock = PYPI_LOCK.replace("https://files.pythonhosted.org/packages/a/my_pkg-1.5-py3-none-any.whl", "./src")
    with pytest.raises(LockOutdated, match=r"\./src"):
        load_environment(write_workspace(manifest, lock))


def test_what_cannot_be_opened_is_an_error_of_ours(real: Callable[[str], Path]) -> None:
    """Folders in place of the files: an error that names them, no traceback."""
    folder = real("lightgbm")
    (folder / "pixi.lock").unlink()
    (folder / "pixi.lock").mkdir()
    with pytest.raises(LockError, match="folder"):
        load_environment(folder)
    (folder / "pixi.toml").unlink()
    (folder / "pixi.toml").mkdir()
    with pytest.raises(ManifestError, match="cannot be read"):
        read_manifest(folder / "pixi.toml")


def test_requires_python_is_compared(write_workspace: Callable[..., Path]) -> None:
    """The project's Python requirement is a dependency on python."""
    text = PYPROJECT.format(extra="", group="").replace(">=3.11", ">=3.13")
    with pytest.raises(LockOutdated, match="python"):
        load_environment(write_workspace(text, PYPI_LOCK, name="pyproject.toml"))


# -- manifests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[workspace\n", "line 1"),
        ("[tool]\n", r"no \[workspace\]"),
        pytest.param(
            ".".join(20_000 * ["a"]) + " = 1\n", "more than 100 levels deep", id="thousands of parts"
        ),
        ('[workspace]\nname = "a"\n[environments]\ntest = ["tset"]\n', "no feature 'tset'"),
        (
            '[workspace]\nplatforms = [{ name = "a", platform = "linux-64", cuda = { arch = "8.6" } }]\n',
            "driver",
        ),
        ("[workspace]\ndependencies = 1\n[dependencies]\n[tasks]\na = 3\n", "task 'a'"),
    ],
)
def test_a_manifest_that_cannot_be_used_says_where(tmp_path: Path, text: str, message: str) -> None:
    """The error names the file and what is wrong in it."""
    (tmp_path / "pixi.toml").write_text(text)
    with pytest.raises(ManifestInvalid, match=message) as caught:
        read_manifest(tmp_path / "pixi.toml")
    assert str(tmp_path) in caught.value.message


MANIFEST = """\
[project]
name = "tasks"
channels = [{ channel = "second", priority = 1 }, "third", { channel = "first", priority = 2 }]
platforms = ["linux-64", "osx-arm64", { name = "gpu-linux", platform = "linux-64", cuda = "12.0" }]

[activation]
scripts = ["all.sh"]
env = { A = "1", B = "1" }

[target.linux-64.activation]
scripts = ["linux.sh"]
env = { B = "2" }

[tasks]
plain = "echo {{ who }}"
words = { cmd = ["python", "-m", "x"], cwd = "src", env = { N = 1 }, clean-env = true, description = "words" }
alias = ["plain", { task = "greet", args = ["you", { loud = "yes" }], environment = "test" }]
greet = { cmd = "echo", args = ["who", { arg = "loud", default = "no", choices = ["yes", "no"] }] }
_hidden = "true"

[tasks.files]
cmd = "make"
inputs = ["*.c"]
outputs = "a.out"
depends-on = "plain"
default-environment = "test"


[target.unix.tasks]
plain = "echo unix"

[target."gpu-*".tasks]
plain = "echo gpu"

[feature.test.tasks]
plain = "echo test"
extra = "true"

[feature.only]
platforms = ["gpu-linux"]
channels = ["own"]
dependencies = { a = "1.*", b = { version = ">=2", build = "cuda*" }, c = { path = "src/c" } }
target.linux.dependencies = { a = "2.*" }

[environments]
test = ["test"]
only = { features = ["only"], no-default-feature = true }
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Any:
    """The manifest above."""
    (tmp_path / "pixi.toml").write_text(MANIFEST)
    return read_manifest(tmp_path / "pixi.toml")


def test_both_toml_readers_agree(locks: Path, manifest: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Python 3.10 has no tomllib: tomlkit reads the same manifests."""
    paths = [manifest.path, *sorted(locks.glob("*/pixi.toml"))]
    before = [read_manifest(path) for path in paths]
    monkeypatch.setattr("sys.version_info", (3, 10, 0))
    assert [read_manifest(path) for path in paths] == before
    manifest.path.write_text("[workspace\n")
    with pytest.raises(ManifestInvalid, match="line 1"):
        read_manifest(manifest.path)


def test_a_specification_that_cannot_be_read_is_left_to_pixi(real: Callable[[str], Path]) -> None:
    """What cannot be compared is not called a mismatch."""
    folder = real("lightgbm")
    (folder / "pixi.toml").write_text((folder / "pixi.toml").read_text().replace("4.1.0.*", ">=x,,<"))
    assert load_environment(folder).package("lightgbm")


LINUX = LockedPlatform(name="linux-64", subdir="linux-64")
OSX = LockedPlatform(name="osx-arm64", subdir="osx-arm64")
GPU = LockedPlatform(name="p1", label="gpu-linux", subdir="linux-64")
WINDOWS = LockedPlatform(name="win-64", subdir="win-64")


def test_tasks_are_read_in_all_their_forms(manifest: Any) -> None:
    """A line, words, an alias, arguments, folders, variables, inputs and outputs."""
    tasks = manifest.tasks("default")
    assert list(tasks) == sorted(["plain", "words", "alias", "greet", "files", "_hidden"])
    assert tasks["words"].cmd == ("python", "-m", "x")
    assert (tasks["words"].cwd, dict(tasks["words"].env), tasks["words"].clean_env) == (
        "src",
        {"N": "1"},
        True,
    )
    first, second = tasks["alias"].depends_on
    assert (first.task, second.task, second.args, dict(second.named_args), second.environment) == (
        "plain",
        "greet",
        ("you",),
        {"loud": "yes"},
        "test",
    )
    assert tasks["alias"].cmd is None
    assert [(a.name, a.default, a.choices) for a in tasks["greet"].args] == [
        ("who", None, ()),
        ("loud", "no", ("yes", "no")),
    ]
    assert (tasks["files"].inputs, tasks["files"].outputs) == (("*.c",), ("a.out",))
    assert tasks["files"].depends_on[0].task == "plain"
    assert tasks["files"].default_environment == "test"
    assert tasks["_hidden"].hidden


@pytest.mark.parametrize(
    ("environment", "platform", "command"),
    [
        ("default", WINDOWS, "echo {{ who }}"),
        ("default", OSX, "echo unix"),
        ("default", LINUX, "echo unix"),
        ("default", GPU, "echo gpu"),
        ("test", GPU, "echo test"),
    ],
)
def test_targets_and_features_choose_the_task(
    manifest: Any, environment: str, platform: LockedPlatform, command: str
) -> None:
    """Later targets win over earlier ones, wildcards count, and a named feature wins over the default one."""
    assert manifest.tasks(environment, platform)["plain"].cmd == command


def test_features_decide_platforms_channels_and_dependencies(manifest: Any) -> None:
    """An environment has the platforms all its features allow, their channels, and its targets' versions."""
    assert [p.name for p in manifest.platforms_of("only")] == ["gpu-linux"]
    assert [p.name for p in manifest.platforms_of("default")] == ["linux-64", "osx-arm64", "gpu-linux"]
    assert manifest.channels_of("only") == ("own",)
    assert manifest.channels_of("default") == ("first", "second", "third")
    assert [str(d) for d in manifest.conda_dependencies("only", GPU)] == [
        "a 2.*",
        "b >=2 cuda*",
        "c from a path",
    ]
    assert str(manifest.conda_dependencies("only", OSX)[0]) == "a 1.*"


def test_activation_adds_variables_and_replaces_scripts(manifest: Any) -> None:
    """A target's scripts replace those for all platforms; its variables join them."""
    linux = manifest.activation("default", LINUX)
    assert (linux.scripts, dict(linux.env)) == (("linux.sh",), {"A": "1", "B": "2"})
    osx = manifest.activation("default", OSX)
    assert (osx.scripts, dict(osx.env)) == (("all.sh",), {"A": "1", "B": "1"})


def test_question_marks_and_brackets_are_no_wildcards() -> None:
    """Pixi's only wildcard is the star."""
    assert not selects("gpu-linu?", GPU)
    assert not selects("gpu-[l]*", GPU)
    assert selects("*linux", GPU)


def test_an_unknown_task_says_where_it_is(locks: Path) -> None:
    """A task of another environment is named with it; a slip with the nearest."""
    workspace = Workspace.open(locks / "matthewfeickert__nvidia-gpu-ml-library-test")
    assert workspace.task("train-gpu", "inference").cmd
    with pytest.raises(UnknownTask, match="train-gpu") as caught:
        workspace.task("train-gpu", "cpu")
    assert "gpu, inference" in str(caught.value.hint)
    with pytest.raises(UnknownTask) as caught:
        workspace.task("train-cp", "cpu")
    assert "'train-cpu'" in str(caught.value.hint)


def test_the_platform_with_cuda_is_found_wherever_it_stands(channel: Any, tmp_path: Path) -> None:
    """In a lock without a manifest, too, GPUs choose the platform with __cuda, whatever its name."""
    channel.add("a", "1.0", "0", {})
    linux = rattler.Subdir("linux-64")
    lock = channel.lock(
        tmp_path / "pixi.lock",
        rattler.LockPlatform("linux-64", linux, ["__glibc=2.28"]),
        rattler.LockPlatform("a1", linux, ["__cuda=12"]),
    )
    assert load_environment(lock, gpus=True).platform.name == "a1"
    assert load_environment(lock).platform.name == "linux-64"


def test_tasks_of_a_target(write_workspace: Callable[..., Path]) -> None:
    """What [target.…tasks] has for Linux, where jobs execute, are tasks; those of other systems are not."""
    folder = write_workspace(
        '[workspace]\nname = "w"\nchannels = []\nplatforms = ["linux-64", "linux-aarch64", "win-64"]\n'
        '[tasks]\nboth = "echo all"\n'
        '[target.linux.tasks]\nlin = "echo linux"\nboth = "echo linux"\n[target.win-64.tasks]\nwin = "echo windows"\n',
        None,
    )
    tasks = Workspace.open(folder).tasks()
    assert {name: task.cmd for name, task in tasks.items()} == {"both": "echo linux", "lin": "echo linux"}
