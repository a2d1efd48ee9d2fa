"""Runs in a locked environment: tasks, commands, and the files that people own."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import wingspan
from wingspan.environments.errors import LockOutdated
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool
from wingspan.runs import CommandNotFound, Run, load_runs
from wingspan.runs._interactive import open_shell
from wingspan.runs._render import render
from wingspan.runs.lint import lint

EXAMPLE = Path(__file__).resolve().parents[2] / "examples" / "digits"

_TASKS = """
[tasks]
prepare = { cmd = "mkdir -p data && python src/make.py > data/x.txt", inputs = ["src/make.py"] }
absent = "no-such-program --version"

[tasks.train]
cmd = "python train.py {{ lr }} $OUT"
cwd = "src"
depends-on = ["prepare"]
env = { OUT = "out.txt" }
args = [{ arg = "lr", default = "0.1" }]
inputs = ["train.py"]
outputs = ["out.txt"]

[tasks.report]
cmd = "cat data/x.txt src/out.txt > report.txt"
depends-on = [{ task = "train", args = ["0.7"] }]
outputs = ["report.txt"]

[tool.wingspan.tasks.train]
memory = "300MB"
"""


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
    """The local workspace with tasks; the working folder."""
    folder = tmp_path / "workspace"
    shutil.copytree(local_workspace, folder)
    (folder / "src").mkdir()
    with (folder / "pixi.toml").open("a") as manifest:
        manifest.write(_TASKS)
    (folder / "src/make.py").write_text("import sys; print('made by', sys.prefix)\n")
    (folder / "src/train.py").write_text(
        "import sys, scipy, pathlib; assert '/opt/wingspan' in scipy.__file__\n"
        "pathlib.Path(sys.argv[2]).write_text(f'lr {sys.argv[1]}\\n')\n"
    )
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(params=["local", pytest.param("personal", marks=pytest.mark.htcondor)])
def pool(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each test that asks for it runs on both pools."""
    if request.param == "personal":
        import wingspan.pools._select as select

        engine, real = PersonalHTCondorPool(request.getfixturevalue("personal_pool")), select._make
        monkeypatch.setattr(
            select, "_make", lambda kind, data: engine if kind == "personal" else real(kind, data)
        )
    return str(request.param)


def _done(run: Run) -> Run:
    run.wait(120)
    run.check()
    return run


def test_a_task_runs_after_those_it_depends_on(workspace: Path, pool: str) -> None:
    """Dependencies first, in the environment, with their folders, variables and arguments; all their outputs come back."""
    run = _done(wingspan.run("report", pool=pool))
    texts = {name: path.read_text() for name, path in run.outputs().items()}
    assert texts == {
        "src/out.txt": "lr 0.7\n",
        "report.txt": "made by /opt/wingspan/environment\nlr 0.7\n",
    }


def test_a_task_of_a_folder_below(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder below the workspace the same task is found; paths are the workspace's; [tool.wingspan] is heeded."""
    monkeypatch.chdir(workspace / "src")
    run = _done(wingspan.run("train", arguments=["3"], pool="local"))
    assert run.outputs()["src/out.txt"].read_text() == "lr 3\n"
    assert run.spec.resources.memory == 300 << 20


def test_a_sweep_gives_a_task_its_arguments(workspace: Path, pool: str) -> None:
    """A parameter that is an argument of the task is passed as that."""
    run = _done(wingspan.run("train", sweep={"lr": ["5", "6"]}, pool=pool))
    assert [run.outputs(n)["src/out.txt"].read_text() for n in range(2)] == ["lr 5\n", "lr 6\n"]


def test_a_command_in_an_environment(workspace: Path, pool: str) -> None:
    """Any command runs in the environment that is named; its Python is that of the bundle."""
    run = _done(
        wingspan.run(["python", "-c", "import sys; print(sys.prefix)"], environment="default", pool=pool)
    )
    assert run.stdout() == "/opt/wingspan/environment\n"


def test_a_command_that_the_environment_lacks(workspace: Path) -> None:
    """It is found out before anything is submitted, for commands and for tasks."""
    for command, environment in ((["pithon", "x"], "default"), ("absent", None)):
        with pytest.raises(CommandNotFound, match=r"pithon|no-such-program"):
            wingspan.run(command, environment=environment, pool="local")
    assert load_runs() == []


def test_a_lock_that_is_outdated(workspace: Path) -> None:
    """A manifest that asks for more than its lock has is refused."""
    manifest = workspace / "pixi.toml"
    manifest.write_text(
        manifest.read_text().replace("[dependencies]\n", '[dependencies]\nnew-thing = "*"\n', 1)
    )
    with pytest.raises(LockOutdated):
        wingspan.run("train", pool="local")


def test_the_run_keeps_its_bundle(workspace: Path) -> None:
    """When the cache is gone the run can still be done again."""
    run = _done(wingspan.run("train", pool="local"))
    bundle = next(run.path.glob("*.squashfs"))
    assert bundle.stat().st_nlink > 1
    shutil.rmtree(run.path / "outputs-0")
    assert run.rerun([0]) == [0]
    assert str(bundle) in (run.path / "job.sh").read_text()
    _done(run)


@pytest.mark.parametrize(
    "kind",
    [
        "squashfs",
        "pack",
        pytest.param("sif", marks=pytest.mark.apptainer),
    ],
)
def test_each_kind_of_bundle_runs_the_task(
    workspace: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """The same task, whichever way the environment travels. (An `install` bundle fetches Pixi and packages from the network.)"""
    if kind == "sif":
        request.getfixturevalue("apptainer_on_path")
    (workspace / "src/train.py").write_text(
        "import sys, scipy, pathlib; pathlib.Path(sys.argv[2]).write_text(scipy.__file__ + '\\n')\n"
    )
    environment = wingspan.Environment(workspace, kind=kind)
    run = _done(wingspan.run("train", environment=environment, pool="local"))
    assert "site-packages/scipy" in run.outputs()["src/out.txt"].read_text()


@pytest.mark.htcondor
def test_rendered_files_carry_the_environment(
    workspace: Path, personal_pool: PersonalPool, tmp_path_factory
) -> None:
    """Plain condor_submit, in a folder that was moved elsewhere, runs the task in the bundle; our lint finds nothing."""
    folder = tmp_path_factory.mktemp("rendered")
    render("htcondor", folder / "made", "report", name="digits")
    assert lint([folder / "made"]) == []
    moved = (folder / "made").rename(folder / "moved")
    environment = {**os.environ, **personal_pool.environment()}
    subprocess.run(["sh", "./moved/submit.sh"], cwd=folder, env=environment, check=True, capture_output=True)
    waited = ["condor_wait", "-wait", "120", "digits.log"]
    subprocess.run(waited, cwd=moved, env=environment, check=True, capture_output=True)
    assert "lr 0.7" in (moved / "outputs-0/report.txt").read_text(), (moved / "logs/0.err").read_text()


class _OtherMachines(PersonalHTCondorPool):
    """A pool that does not see this machine's files, as a site's does not: everything has to be sent."""

    shares_files = False


@pytest.mark.htcondor
def test_everything_is_sent_where_no_files_are_shared(
    workspace: Path, personal_pool: PersonalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starter, bundle and inputs reach the job by file transfer alone; nothing of the job names a path of this machine."""
    import wingspan.runs._run as module

    engine = _OtherMachines(personal_pool)
    monkeypatch.setattr(module, "get_pool", lambda kind: engine)
    run = _done(wingspan.run("report", pool=engine))
    assert run.outputs()["src/out.txt"].read_text() == "lr 0.7\n"
    script = (run.path / "job.sh").read_text()
    assert str(workspace) not in script
    assert str(run.path) not in script


def test_interactive_has_files_and_environment(workspace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The shell is in a folder with the inputs, in the environment; its exit code is the shell's, and nothing is left."""
    script = "ls src; command -v python; pwd; exit 5"
    shell = open_shell("train", pool="local", shell=["sh", "-c", script])
    assert shell() == 5
    printed = capfd.readouterr().out.split("\n")
    assert printed[:3] == ["make.py", "train.py", "/opt/wingspan/environment/bin/python"]
    assert not Path(printed[3]).exists()


@pytest.fixture(scope="module")
def torch_wheels(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """PyTorch for CPUs and what it needs, from PyPI; skips where PyPI has only the one with CUDA (900 MB)."""
    folder = tmp_path_factory.mktemp("torch")
    pip = [sys.executable, "-m", "pip", "download", "-q", "-d", str(folder), "--only-binary", ":all:"]
    with contextlib.suppress(subprocess.CalledProcessError):
        subprocess.run([*pip, "--no-deps", "torch==2.13.0+cpu"], check=True, capture_output=True)
    if not list(folder.glob("torch-*")):
        pytest.skip("there is no CPU build of PyTorch to be had from the package index of this machine")
    names = [
        "filelock",
        "typing-extensions",
        "setuptools<82",
        "sympy",
        "mpmath",
        "networkx",
        "jinja2",
        "markupsafe",
        "fsspec",
    ]
    subprocess.run([*pip, "--no-deps", *names], check=True)
    return sorted(folder.glob("*.whl"))


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_example_trains_and_its_model_predicts(
    write_workspace: Callable[..., Path],
    local_channel: Path,
    torch_wheels: list[Path],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """examples/digits, with its own tasks: mnist_cnn.pt comes back, loads again in another run, and is right most of the time."""
    folder = write_workspace(
        tmp_path / "digits",
        local_channel,
        {"default": ["python 3.11.*", "scikit-learn"]},
        pypi={"default": torch_wheels},
    )
    for script in ("train.py", "predict.py"):
        shutil.copy(EXAMPLE / script, folder)
    tasks = (EXAMPLE / "pixi.toml").read_text().partition("[tasks]")
    with (folder / "pixi.toml").open("a") as manifest:
        manifest.write("\n[tasks]" + tasks[2])
    monkeypatch.chdir(folder)
    run = wingspan.run("train", arguments=["3"], pool="local")
    run.wait(600)
    run.check()
    run.fetch()
    assert (folder / "mnist_cnn.pt").stat().st_size > 100_000
    again = wingspan.run("predict", pool="local")
    again.wait(300)
    again.check()
    assert float(again.stdout().split()[-1]) > 0.9
