"""What a workspace adds to the activation, and what of the caller's variables stays outside: the same for
maps, runs and shells.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE
from wingspan import EnvironmentWarning
from wingspan.environments import load_environment
from wingspan.environments.bundles import build_bundle, unpack_bundle
from wingspan.runs import load_runs

_ACTIVATION = """
[activation]
scripts = ["never.sh"]
env = { GREETING = "$FROM_SCRIPT and $(touch hacked) `touch hacked`", LAST = "manifest", QUOTED = 'a "b" \\ c' }

[target.linux.activation]
scripts = ["setup/first.sh", "setup/second.bash", "setup/windows.bat", "setup/missing.sh"]
env = { LINUX = "yes" }

[target.win.activation]
env = { WINDOWS = "yes" }
"""
_FIRST = 'export FROM_SCRIPT="from $CONDA_PREFIX with $#" LAST=script\n[ -n "$PIXI_PROJECT_ROOT" ] && cd /\n'
_SECOND = "declare -a list=(a b); export LIST=${list[1]} PROJECT=$PIXI_PROJECT_NAME/$PIXI_ENVIRONMENT_NAME; set -eu\n"
NAMES = ("GREETING", "LAST", "QUOTED", "LINUX", "LIST", "PROJECT")


def expected(prefix: str) -> dict[str, str]:
    return {
        "GREETING": f"from {prefix} with 0 and $(touch hacked) `touch hacked`",
        "LAST": "manifest",
        "QUOTED": 'a "b" \\ c',
        "LINUX": "yes",
        "LIST": "b",
        "PROJECT": "local/default",
    }


SHOW = "import os, sys; print({n: os.environ.get(n) for n in sys.argv[1:]})"
LEFT_OUT = "ignore:.*activation script setup/(windows.bat|missing.sh) is left out:wingspan.EnvironmentWarning"


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, bundle_cache: Path) -> Iterator[None]:
    """Each test has its own data, and leaves no run behind."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))
    monkeypatch.delenv("WINGSPAN_POOL", raising=False)
    yield
    for run in load_runs():
        run.remove(force=True)


@pytest.fixture
def workspace(local_workspace: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The local workspace with an activation of its own; the working folder."""
    folder = tmp_path / "workspace"
    shutil.copytree(local_workspace, folder)
    with (folder / "pixi.toml").open("a") as manifest:
        manifest.write(_ACTIVATION)
    (folder / "setup").mkdir()
    (folder / "setup/first.sh").write_text(_FIRST)
    (folder / "setup/second.bash").write_text(_SECOND)
    (folder / "setup/windows.bat").write_text("set X=1\n")
    monkeypatch.chdir(folder)
    return folder


def found(number: int) -> dict[str, str | None]:
    import os

    names = "GREETING LAST QUOTED LINUX LIST PROJECT WINDOWS".split()
    return {name: os.environ.get(name) for name in names}


@pytest.mark.filterwarnings(LEFT_OUT)
def test_a_workspaces_activation_is_in_force_in_maps(workspace: Path) -> None:
    """Scripts and variables of the lock's platform, after those of packages; scripts see no arguments."""
    m = wingspan.map(found, range(1), pool="local", options=wingspan.Options(environment="default"))
    assert m[0] == {**expected("/opt/wingspan/environment"), "WINDOWS": None}
    assert list(workspace.rglob("hacked")) == []


@pytest.mark.filterwarnings(LEFT_OUT)
@pytest.mark.parametrize("kind", ["squashfs", "pack"])
def test_a_workspaces_activation_is_in_force_in_runs(workspace: Path, kind: str) -> None:
    """In runs too, whatever the bundle."""
    environment = wingspan.Environment(workspace, kind=kind)
    run = wingspan.run(["python", "-c", SHOW, *NAMES, "CONDA_PREFIX"], environment=environment, pool="local")
    run.wait(PATIENCE)
    run.check()
    said = eval(run.stdout(0))
    prefix = said.pop("CONDA_PREFIX")
    assert said == expected(prefix)


@pytest.mark.filterwarnings(LEFT_OUT)
@pytest.mark.parametrize("kind", ["squashfs", "oci"])
def test_a_workspaces_activation_is_in_force_in_a_shell(workspace: Path, kind: str) -> None:
    """`env enter` has what jobs have."""
    bundle = build_bundle(load_environment(workspace), kind)
    words = [sys.executable, "-m", "wingspan", "env", "enter"]
    words += ["--method", "unpack"] if kind == "oci" else []
    done = subprocess.run(
        [*words, str(bundle.path), "python", "-c", SHOW, *NAMES, "CONDA_PREFIX"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = eval(done.stdout)
    prefix = said.pop("CONDA_PREFIX")
    assert said == expected(prefix)


@pytest.mark.filterwarnings(LEFT_OUT)
@pytest.mark.parametrize("by", ["unpack", "script"])
def test_a_workspaces_activation_is_in_force_where_a_pack_is_unpacked(
    workspace: Path, tmp_path: Path, by: str
) -> None:
    """`env unpack` and a pack that unpacks itself write the same activation."""
    bundle = build_bundle(load_environment(workspace), "pack", executable=True)
    if by == "unpack":
        unpack_bundle(bundle, tmp_path / "out")
    else:
        subprocess.run(
            ["bash", bundle.path, "-o", tmp_path / "out"], check=True, env={"PATH": "/usr/bin:/bin"}
        )
    script = f'. {tmp_path}/out/activate.sh; python -c "$1" {" ".join(NAMES)}'
    done = subprocess.run(["bash", "-c", script, "bash", SHOW], capture_output=True, text=True, check=False)
    wanted = expected(f"{tmp_path}/out/env")
    wanted["PROJECT"] = "local/default"
    wanted["GREETING"] = wanted["GREETING"].replace("with 0", "with 1")  # this shell's own argument
    assert eval(done.stdout) == wanted, done.stderr


def test_scripts_that_are_left_out_are_told(workspace: Path) -> None:
    """As Pixi warns: one that is not there, and one that no shell of Linux runs."""
    with pytest.warns(EnvironmentWarning) as told:
        build_bundle(load_environment(workspace), "squashfs")
    said = sorted(str(warning.message).partition("script ")[2] for warning in told)
    assert said == [
        "setup/missing.sh is left out: No such file or directory",
        "setup/windows.bat is left out: only .sh and .bash are run on Linux",
    ]


@pytest.mark.filterwarnings(LEFT_OUT)
def test_another_activation_is_another_bundle(workspace: Path) -> None:
    """A script that changed is in the next bundle."""
    first = build_bundle(load_environment(workspace), "squashfs")
    assert build_bundle(load_environment(workspace), "squashfs").sha256 == first.sha256
    (workspace / "setup/first.sh").write_text(f"{_FIRST}# changed\n")
    assert build_bundle(load_environment(workspace), "squashfs").sha256 != first.sha256


@pytest.mark.filterwarnings(LEFT_OUT)
def test_an_activation_script_that_ends_the_shell_ends_the_job(workspace: Path) -> None:
    """The job fails with the reason, instead of ending well without having begun."""
    (workspace / "setup/first.sh").write_text("exit 0\n")
    run = wingspan.run(["python", "-c", "print(1)"], environment="default", pool="local")
    run.wait(PATIENCE)
    assert "an activation script of the environment ended its shell" in run.stderr(0)
    with pytest.raises(wingspan.WingspanError):
        run.check()


@pytest.fixture
def outer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with modules of the environment's names, where the caller's Python looks for its own."""
    folder = tmp_path / "outer"
    folder.mkdir()
    for name in ("colorsys", "zmq"):
        (folder / f"{name}.py").write_text("raise SystemExit('the outer one')\n")
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.setenv("PYTHONUSERBASE", str(folder))
    return folder


def modules(number: int) -> tuple[str, str]:
    import colorsys

    import zmq

    return colorsys.__file__, zmq.__file__


@pytest.mark.parametrize("how", ["map", "run", "enter"])
def test_the_callers_python_path_stays_outside(
    how: str, local_workspace: Path, outer: Path, tmp_path: Path
) -> None:
    """Modules are the environment's, whatever PYTHONPATH the caller has: in maps, in runs, and in shells."""
    environment = wingspan.Environment(local_workspace)
    look = "import colorsys, zmq; print(colorsys.__file__, zmq.__file__)"
    if how == "map":
        options = wingspan.Options(environment=environment)
        where = " ".join(wingspan.map(modules, range(1), pool="local", options=options)[0])
    elif how == "run":
        run = wingspan.run(["python", "-c", look], environment=environment, pool="local")
        run.wait(PATIENCE)
        run.check()
        where = run.stdout(0)
    else:
        bundle = build_bundle(load_environment(local_workspace), "squashfs")
        words = [
            sys.executable,
            "-I",
            "-m",
            "wingspan",
            "env",
            "enter",
            "--keep-environment",
            str(bundle.path),
        ]
        where = subprocess.check_output([*words, "python", "-c", look], text=True, env=dict(os.environ))
    assert [path.startswith("/opt/wingspan/environment/lib/") for path in where.split()] == [True, True]


def test_a_python_path_that_a_run_sets_is_in_force(local_workspace: Path, outer: Path) -> None:
    """What is asked for by name for the job itself is no leak."""
    environment = wingspan.Environment(local_workspace)
    run = wingspan.run(
        ["python", "-c", "import os; print(os.environ['PYTHONPATH'])"],
        environment=environment,
        variables={"PYTHONPATH": "lib"},
        pool="local",
    )
    run.wait(PATIENCE)
    assert run.stdout(0) == "lib\n"
