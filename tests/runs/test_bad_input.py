"""What cannot be done is said before anything is submitted, with words that name it."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

import wingspan
from wingspan.environments.errors import UnknownTask
from wingspan.errors import SettingsError, SubmitError
from wingspan.pools.profiles import WalltimeNotAllowed
from wingspan.runs import (
    CommandNotFound,
    InputMissing,
    InvalidName,
    InvalidRun,
    InvalidSweep,
    InvalidTask,
    NoSuchMachine,
    RunNotFound,
    RunWarning,
    TaskCycle,
    load_run,
    run_names,
)
from wingspan.runs._render import render

_MANIFEST = """
[workspace]
name = "w"
channels = []
platforms = ["linux-64"]
[tasks]
good = "true"
a = { depends-on = ["b"], cmd = "true" }
b = { depends-on = ["c"], cmd = "true" }
c = { depends-on = ["a"], cmd = "true" }
wants = { cmd = "echo {{ what }}", args = ["what"] }
choosy = { cmd = "echo {{ what }}", args = [{ arg = "what", default = "x", choices = ["x", "y"] }] }
clever = { cmd = "{% if x %}true{% endif %}" }
filtered = { cmd = "echo {{ what | upper }}", args = ["what"] }
empty = { depends-on = [] }
hungry = { cmd = "true", inputs = ["nothing/*.csv"] }
"""


@pytest.fixture
def manifest(folders: Path) -> Path:
    """A workspace whose tasks are of no use."""
    (folders / "pixi.toml").write_text(_MANIFEST)
    return folders


@pytest.mark.parametrize(
    ("task", "options", "error", "words"),
    [
        ("god", {}, UnknownTask, "'god'"),
        ("a", {}, TaskCycle, "a → b → c → a"),
        ("wants", {}, InvalidTask, "'what'"),
        ("wants", {"arguments": ["1", "2"]}, InvalidTask, "takes 1"),
        ("wants", {"arguments": ["1"], "sweep": {"what": [2, 3]}}, InvalidTask, "'what'.*twice"),
        ("choosy", {"arguments": ["z"]}, InvalidTask, "'z'"),
        ("clever", {}, InvalidTask, "template statement"),
        ("filtered", {"arguments": ["x"]}, InvalidTask, "upper"),
        ("empty", {}, InvalidTask, "no command"),
        ("hungry", {}, InputMissing, "nothing/"),
    ],
)
def test_tasks_that_cannot_be_run(manifest: Path, task: str, options: dict, error: type, words: str) -> None:
    """An unknown task, one in a cycle, one without what it needs: the message names it, and nothing is left."""
    with pytest.raises(error, match=words):
        wingspan.run(task, pool="local", **options)
    assert run_names() == ()


def test_an_unknown_task_names_the_nearest(manifest: Path) -> None:
    """The hint of an unknown task has the one that was probably meant."""
    with pytest.raises(UnknownTask) as caught:
        wingspan.run("god", pool="local")
    assert "good" in str(caught.value.hint)


def test_a_command_given_as_a_task_is_told_how(manifest: Path, tmp_path: Path) -> None:
    """A program's name, or a whole line, in the place of a task: the hint says how commands are given, also without a workspace."""
    for line, workspace in (
        ("echo", manifest),
        ("python train.py", manifest),
        ("echo", tmp_path / "nowhere"),
    ):
        workspace.mkdir(exist_ok=True)
        with pytest.raises(wingspan.WingspanError) as caught:
            wingspan.run(line, workspace=workspace, pool="local")
        assert f"wingspan run -- {line}" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("command", "options", "error", "words"),
    [
        ([], {}, InvalidRun, "no command"),
        (["true"], {"inputs": ["nowhere.csv"]}, InputMissing, "nowhere.csv"),
        (["true"], {"inputs": ["../work"]}, InvalidRun, "below"),
        (["true"], {"outputs": ["/etc/passwd"]}, InvalidRun, "below"),
        (["true"], {"outputs": ["a/../../b"]}, InvalidRun, "below"),
        (["true"], {"outputs": ["**/x"]}, InvalidRun, r"\*\*"),
        (["true"], {"name": "a/b"}, InvalidName, "a/b"),
        (["true"], {"name": ".hidden"}, InvalidName, "hidden"),
        (["true"], {"cpus": 0}, InvalidRun, "cpus"),
        (["true"], {"memory": "much"}, InvalidRun, "much"),
        (["true"], {"memory": "4096"}, InvalidRun, "no unit"),
        (["true"], {"memory": 4096}, InvalidRun, "less than 1 MB"),
        (["true"], {"variables": {"A-B": "1"}}, InvalidRun, "A-B"),
        (["true"], {"kind": "pack"}, InvalidRun, "none is named"),
        (["echo", "{a}"], {"sweep": {"a": 3}}, InvalidSweep, "no values"),
        (["echo", "{a}"], {"sweep": ["a"]}, InvalidSweep, "names no parameters"),
        (["true"], {"inputs": "nowhere.csv"}, InputMissing, "nowhere.csv"),
        (["true"], {"outputs": "/etc/passwd"}, InvalidRun, "/etc/passwd"),
        (["true"], {"time": "soon"}, InvalidRun, "soon"),
        (["true"], {"time": "90"}, InvalidRun, "no unit"),
        (["true"], {"cpus": 100000}, NoSuchMachine, "100000 cores"),
        (["no-such-program-anywhere"], {}, CommandNotFound, "no-such-program"),
        (["./script.sh"], {}, CommandNotFound, "--input script.sh|does not go along"),
        (["true"], {"inputs": ["https://example.org/x"]}, InvalidRun, "URL"),
        (["true"], {"profile": "chtc", "time": "30 d", "gpus": 1}, WalltimeNotAllowed, "30 d"),
        (["true"], {"profile": "chtc", "switches": ["want_osppol"]}, SettingsError, "want_osppol"),
        (["true"], {"checkpoint_exit_code": 300, "checkpoint": ["x"]}, InvalidRun, "300"),
        (["true"], {"switches": ["want_ospool"]}, InvalidRun, "want_ospool"),
    ],
)
def test_runs_that_cannot_be(command: list[str], options: dict, error: type, words: str) -> None:
    """Each kind of bad input is its own error, and leaves no run behind."""
    with pytest.raises(error, match=words):
        wingspan.run(command, pool="local", **options)
    assert run_names() == ()


def test_an_input_from_outside_is_told_how(folders: Path) -> None:
    """A relative path that leads out of the folder: the hint has the absolute one, which can be given."""
    (folders.parent / "x.txt").write_text("x")
    with pytest.raises(InvalidRun) as caught:
        wingspan.run(["true"], inputs=["../x.txt"], pool="local")
    assert f"--input {folders.parent.resolve() / 'x.txt'}" in str(caught.value.hint)


@pytest.mark.htcondor
def test_more_memory_than_there_is(use_personal_pool) -> None:
    """What no machine has is refused at once, in words and with the option of the command line; nothing is left."""
    with pytest.raises(SubmitError, match="9,000 TB of memory") as caught:
        wingspan.run(["true"], memory="9000TB", pool="personal")
    assert "--memory" in str(caught.value.hint)
    assert run_names() == ()


def test_two_inputs_for_one_place(folders: Path) -> None:
    """Two files that would get the same name in the job are refused, rather than one silently lost."""
    for name in ("a", "b"):
        (folders.parent / name).mkdir()
        (folders.parent / name / "x.txt").write_text(name)
    with pytest.raises(InvalidRun, match=r"x\.txt"):
        wingspan.run(
            ["true"], inputs=[str(folders.parent / "a/x.txt"), str(folders.parent / "b/x.txt")], pool="local"
        )


@pytest.mark.htcondor
def test_gpus_that_no_machine_has(use_personal_pool) -> None:
    """A request for GPUs in a pool without any is refused at once; the job would wait for ever."""
    with pytest.raises(NoSuchMachine, match="GPU"):
        wingspan.run(["true"], gpus=1, pool="personal")
    assert run_names() == ()


def test_a_file_that_is_here_and_not_sent_is_mentioned(folders: Path) -> None:
    """A word of the command that is a file here, and does not go along, is a warning; one that is sent is none."""
    (folders / "train.py").write_text("")
    (folders / "data").mkdir()
    with pytest.warns(RunWarning, match=r"train\.py is here") as told:
        run = wingspan.run(["echo", "train.py", "data/x", "data"], inputs=["data"], pool="local")
    assert len(told) == len(run.spec.warnings) == 1
    assert told[0].filename == __file__
    (folders / "res").mkdir()
    wingspan.run(["mkdir", "-p", "res"], outputs=["res/o.txt"], pool="local")  # no warning: the job makes it
    with pytest.warns(RunWarning, match=r"train\.py is here"):
        render("slurm", folders / "made", ["echo", "train.py"])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(RunWarning):
            wingspan.run(["echo", "train.py"], pool="local", name="not-made")
    assert "not-made" not in run_names()


def test_the_command_line_tells_what_one_should_know(folders: Path, wingspan_cli) -> None:
    """Notes on standard error, of run and of render, without Python's own words around them."""
    (folders / "train.py").write_text("")
    note = "Note: train.py is here and does not go along; --input train.py sends it\n"
    for words in (["run", "-q", "-p", "local"], ["render", "htcondor", "made"]):
        done = wingspan_cli(*words, "--", "echo", "train.py")
        assert (done.returncode, done.stderr) == (0, note)


def test_an_unknown_run_names_the_nearest() -> None:
    """The hint of an unknown run has the one that was probably meant."""
    wingspan.run(["true"], name="training", pool="local")
    with pytest.raises(RunNotFound) as caught:
        load_run("trainin")
    assert "training" in str(caught.value.hint)


def test_the_command_line_says_it_in_words(wingspan_cli, folders: Path) -> None:
    """Errors on the command line are a message and a hint with an exit code, never a traceback."""
    (folders / "pixi.toml").write_text(_MANIFEST)
    for words, code, expected in (
        (["run", "god", "-p", "local"], 1, "no task 'god'"),
        (["run"], 2, "Give a TASK"),
        (["run", "task", "--verbose"], 2, "goes after --: -- --verbose"),
        (["run", "sh", "--", "true"], 1, "wingspan run -- sh"),
        (["run", "--sweep", "lr", "-p", "local", "--", "echo", "{lr}"], 2, "--sweep lr=0.1,0.01"),
        (["logs", "nobody"], 1, "no run has the name"),
        (["fetch", "nobody"], 1, "no run has the name"),
    ):
        done = wingspan_cli(*words)
        assert (done.returncode, expected in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr
