"""Runs in a locked environment: tasks, commands, and the files that people own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _rendered import errors_of, output_of
from _waiting import PATIENCE
from wingspan.environments.commands import programs_of
from wingspan.environments.errors import LockOutdated
from wingspan.lint import lint
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool
from wingspan.runs import CommandNotFound, Run, RunExists, load_runs
from wingspan.runs._interactive import open_shell
from wingspan.runs._render import render
from wingspan.runs._request import RunRequest

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

[tasks.copy]
cmd = "cat src/{{ which }}.py > {{ which }}.txt"
args = ["which"]
inputs = ["src/{{ which }}.py"]
outputs = ["{{ which }}.txt"]

[tasks.digest]
cmd = "cat parts/*.txt > all.txt"
depends-on = ["split"]
inputs = ["parts/*.txt"]
outputs = ["all.txt"]

[tasks.split]
cmd = "mkdir -p parts && echo one > parts/1.txt && echo two > parts/2.txt"
outputs = ["parts/?.txt"]

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
        "import sys, zmq, pathlib; assert '/opt/wingspan' in zmq.__file__\n"
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
    run.wait(PATIENCE)
    run.check()
    return run


def test_a_task_runs_after_those_it_depends_on(workspace: Path, pool: str) -> None:
    """Dependencies first, in the environment, with their folders, variables and arguments; all their
    outputs come back.
    """
    run = _done(wingspan.run("report", pool=pool))
    texts = {name: path.read_text() for name, path in run.outputs().items()}
    assert texts == {
        "src/out.txt": "lr 0.7\n",
        "report.txt": "made by /opt/wingspan/environment\nlr 0.7\n",
    }


def test_arguments_that_look_like_options_go_after_dashes(workspace: Path) -> None:
    """wingspan run TASK -- --flag: everything after the task is the task's, as with Pixi."""
    with (workspace / "pixi.toml").open("a") as manifest:
        manifest.write('\n[tasks.show]\ncmd = "echo got"\n')
    done = subprocess.run(
        [
            sys.executable,
            "-m",
            "wingspan",
            "run",
            "-p",
            "local",
            "-qf",
            "show",
            "a b",
            "--",
            "--verbose",
            "-x",
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, "got a b --verbose -x\n"), done.stderr


def test_inputs_that_a_dependency_makes_need_not_be_there(workspace: Path) -> None:
    """What a task reads and one that it depends on writes is not looked for here; what is here of it is
    stale, and stays here.
    """
    run = _done(wingspan.run("digest", pool="local"))
    assert run.outputs()["all.txt"].read_text() == "one\ntwo\n"
    (workspace / "parts").mkdir()
    (workspace / "parts/1.txt").write_text("stale")
    (workspace / "parts/own.txt").write_text("mine\n")
    again = _done(wingspan.run("digest", pool="local"))
    assert [place for _, place in again.spec.inputs] == ["parts/own.txt"]
    assert again.outputs()["all.txt"].read_text() == "one\ntwo\nmine\n"


def test_a_task_of_a_folder_below(workspace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From a folder below the workspace the same task is found; paths are the workspace's;
    [tool.wingspan] is heeded.
    """
    monkeypatch.chdir(workspace / "src")
    run = _done(wingspan.run("train", arguments=["3"], pool="local"))
    assert run.outputs()["src/out.txt"].read_text() == "lr 3\n"
    assert run.spec.resources.memory == 300 << 20
    # What is named on the command line is where whoever types it is, or in the workspace, and keeps its
    # place.
    (workspace / "src/here.txt").touch()
    (workspace / "above.txt").touch()
    given = ["here.txt", "../above.txt", "src/make.py"]
    again = _done(wingspan.run("train", inputs=given, pool="local"))
    assert [place for _, place in again.spec.inputs] == [
        "src/here.txt",
        "above.txt",
        "src/make.py",
        "src/train.py",
    ]


def test_a_sweep_gives_a_task_its_arguments(workspace: Path, pool: str) -> None:
    """A parameter that is an argument of the task is passed as that."""
    run = _done(wingspan.run("train", sweep={"lr": ["5", "6"]}, pool=pool))
    assert [run.outputs(n)["src/out.txt"].read_text() for n in range(2)] == ["lr 5\n", "lr 6\n"]


def test_a_sweep_gives_a_task_its_inputs_and_outputs(workspace: Path, pool: str) -> None:
    """Where they name an argument of the task they are those of the job's row; the inputs of all rows go
    along.
    """
    run = _done(wingspan.run("copy", sweep={"which": ["make", "train"]}, pool=pool))
    run.check()
    assert [list(run.outputs(number)) for number in range(2)] == [["make.txt"], ["train.txt"]]
    assert [place for _, place in run.spec.inputs] == ["src/make.py", "src/train.py"]


def test_a_command_in_an_environment(workspace: Path, pool: str) -> None:
    """Any command runs in the environment that is named; its Python is that of the bundle."""
    run = _done(
        wingspan.run(["python", "-c", "import sys; print(sys.prefix)"], environment="default", pool=pool)
    )
    assert run.stdout() == "/opt/wingspan/environment\n"


@pytest.mark.parametrize("kind", ["pack", "sif", "oci", "install"])
def test_a_command_that_is_in_none_of_the_packages(workspace: Path, kind: str) -> None:
    """Bundles that are not looked into: the packages' own lists tell.

    What a shell knows by itself is no program that lacks.
    """
    with pytest.raises(CommandNotFound, match="'no-such-program'"):
        wingspan.run("absent", kind=kind, pool="local")
    assert load_runs() == []
    if kind == "pack":
        command = ["sh", "-c", "exit 0"]
        for words in (["prefix-probe"], ["type", "sh"], command):
            wingspan.run(words, environment="small", kind=kind, pool="local")


def test_the_programs_of_packages(workspace: Path) -> None:
    """Those of conda packages, and the console scripts of wheels."""
    found = programs_of(wingspan.Environment(workspace, "wheels").load())
    assert found is not None
    assert {"python", "python3.11", "prefix-probe", "tabulate"} <= found
    assert "no-such-program" not in found


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
    with pytest.raises(LockOutdated, match="new-thing") as caught:
        wingspan.run("train", pool="local")
    assert "--frozen" in str(caught.value.hint)
    _done(wingspan.run("train", pool="local", frozen=True)).check()


def test_a_run_of_another_environment_is_another_run(workspace: Path) -> None:
    """exist_ok compares package sets: the same command in another environment is not taken up."""
    command = ["sh", "-c", "true"]
    first = _done(wingspan.run(command, name="same", environment="default", pool="local"))
    again = wingspan.run(command, name="same", environment="default", pool="local", exist_ok=True)
    assert (again.name, again.path) == (first.name, first.path)
    with pytest.raises(RunExists, match="what differs is the environment"):
        wingspan.run(command, name="same", environment="small", pool="local", exist_ok=True)


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
        "oci",
        pytest.param("sif", marks=pytest.mark.apptainer),
    ],
)
def test_each_kind_of_bundle_runs_the_task(
    workspace: Path, kind: str, request: pytest.FixtureRequest
) -> None:
    """The same task, whichever way the environment travels. (An `install` bundle fetches Pixi and
    packages from the network.)
    """
    if kind == "sif":
        request.getfixturevalue("apptainer_on_path")
    (workspace / "src/train.py").write_text(
        "import sys, zmq, pathlib; pathlib.Path(sys.argv[2]).write_text(zmq.__file__ + '\\n')\n"
    )
    environment = wingspan.Environment(workspace, kind=kind)
    run = _done(wingspan.run("train", environment=environment, pool="local"))
    assert "site-packages/zmq" in run.outputs()["src/out.txt"].read_text()


@pytest.mark.htcondor
def test_rendered_files_carry_the_environment(
    workspace: Path, personal_pool: PersonalPool, tmp_path_factory
) -> None:
    """Plain condor_submit, in a folder that was moved elsewhere, runs the task in the bundle; our lint
    finds nothing.
    """
    folder = tmp_path_factory.mktemp("rendered")
    render("htcondor", folder / "made", "report", name="digits")
    assert lint([folder / "made"]) == []
    moved = (folder / "made").rename(folder / "moved")
    environment = {**os.environ, **personal_pool.environment()}
    subprocess.run(["sh", "./moved/submit.sh"], cwd=folder, env=environment, check=True, capture_output=True)
    waited = ["condor_wait", "-wait", f"{PATIENCE:.0f}", "digits.log"]
    subprocess.run(waited, cwd=moved, env=environment, check=True, capture_output=True)
    assert "lr 0.7" in output_of(moved, 0, "report.txt").read_text(), errors_of(moved)


class _OtherMachines(PersonalHTCondorPool):
    """A pool that does not see this machine's files, as a site's does not: everything has to be sent."""

    shares_files = False


@pytest.mark.htcondor
def test_everything_is_sent_where_no_files_are_shared(
    workspace: Path, personal_pool: PersonalPool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Starter, bundle and inputs reach the job by file transfer alone; nothing of the job names a path of
    this machine.
    """
    import wingspan.runs._run as module

    engine = _OtherMachines(personal_pool)
    monkeypatch.setattr(module, "get_pool", lambda kind: engine)
    run = _done(wingspan.run("report", pool=engine))
    assert run.outputs()["src/out.txt"].read_text() == "lr 0.7\n"
    script = (run.path / "job.sh").read_text()
    assert str(workspace) not in script
    assert str(run.path) not in script


def test_interactive_has_files_and_environment(workspace: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """The shell is in a folder with the inputs, in the environment; its exit code is the shell's, and
    nothing is left.
    """
    script = "ls src; command -v python; pwd; exit 5"
    shell = open_shell(RunRequest(command="train"), pool="local", shell=["sh", "-c", script])
    assert shell() == 5
    printed = capfd.readouterr().out.split("\n")
    assert printed[:3] == ["make.py", "train.py", "/opt/wingspan/environment/bin/python"]
    assert not Path(printed[3]).exists()
