"""What cannot be done is said before anything is submitted, with words that name it."""

from __future__ import annotations

import json
import time
import warnings
from pathlib import Path

import pytest

import wingspan
from _waiting import until
from wingspan.environments.errors import UnknownTask
from wingspan.errors import SettingsError, SubmitError
from wingspan.pools.profiles import WalltimeNotAllowed
from wingspan.progress import NoProgress
from wingspan.runs import (
    CommandNotFound,
    InputMissing,
    InvalidName,
    InvalidRun,
    InvalidSweep,
    InvalidTask,
    NoSuchMachine,
    RunDamaged,
    RunNotFound,
    RunWarning,
    TaskCycle,
    load_run,
    remove_run,
    run_names,
)
from wingspan.runs._render import render
from wingspan.runs._spec import relative_path

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
absolute = { cmd = "true", cwd = "/tmp/x" }
outside = { cmd = "true", cwd = "../up" }
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
        ("choosy", {"sweep": {"what": ["x", "z"]}}, InvalidTask, "'z'"),
        ("absolute", {}, InvalidTask, "cwd = '/tmp/x'"),
        ("outside", {}, InvalidTask, r"cwd = '\.\./up'"),
    ],
)
def test_tasks_that_cannot_be_run(manifest: Path, task: str, options: dict, error: type, words: str) -> None:
    """An unknown task, one in a cycle, one without what it needs: the message names it, and nothing is
    left.
    """
    with pytest.raises(error, match=words):
        wingspan.run(task, pool="local", **options)
    assert run_names() == ()


def test_an_unknown_task_names_the_nearest(manifest: Path) -> None:
    """The hint of an unknown task has the one that was probably meant."""
    with pytest.raises(UnknownTask) as caught:
        wingspan.run("god", pool="local")
    assert "good" in str(caught.value.hint)


def test_a_command_given_as_a_task_is_told_how(manifest: Path, tmp_path: Path) -> None:
    """A program's name, or a whole line, in the place of a task: the hint says how commands are given,
    also without a workspace.
    """
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
        (["true"], {"memory": "0.5"}, InvalidRun, "less than 1 MB"),
        (["true"], {"disk": "1XB"}, InvalidRun, "is no size"),
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
        (["true"], {"inputs": ["https://example.org/a,b"]}, InvalidRun, "comma"),
        (["true"], {"inputs": ["https://example.org/a b"]}, InvalidRun, "blank"),
        (["true"], {"inputs": ["https://example.org/a\n"]}, InvalidRun, "blank"),
        (["true"], {"inputs": ["~nobody-has-this-name/x"]}, InputMissing, "~nobody-has-this-name/x"),
        (["true"], {"inputs": ["/"]}, InvalidRun, "all of this machine"),
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


def test_an_absolute_path_does_not_lead_out_of_the_runs_folder(folders: Path) -> None:
    """``$PWD/../x.txt`` is outside of the folder here, and goes flat into the job's; nothing is written
    beside the inputs.
    """
    (folders.parent / "x.txt").write_text("x")
    (folders / "sub").mkdir()
    (folders / "sub/y.txt").write_text("y")
    given = [f"{folders}/../x.txt", f"{folders}/sub/../sub/y.txt"]
    run = wingspan.run(["true"], inputs=given, pool="local")
    assert [place for _, place in run.spec.inputs] == ["x.txt", "sub/y.txt"]
    assert (run.path / "inputs/x.txt").read_text() == "x"


def test_an_input_that_vanishes_while_it_is_copied(folders: Path) -> None:
    """It is named, nothing is submitted, and nothing is left."""
    with (folders / "large").open("wb") as file:
        file.truncate(65 << 20)  # so much that progress is told
    (folders / "small").touch()

    class Vanishing(NoProgress):
        def start(self, description: str, total: float | None = None) -> int:
            (folders / "small").unlink()
            return 0

    with pytest.raises(InputMissing, match="small vanished"):
        wingspan.run(["true"], inputs=["large", "small"], pool="local", progress=Vanishing())
    assert run_names() == ()


@pytest.mark.parametrize(
    ("link", "target", "error", "words"),
    [
        ("in/again", ".", InvalidRun, "in/again is a link to .*, a folder that contains it"),
        ("in/deep/up", "..", InvalidRun, "in/deep/up is a link to .*, a folder that contains it"),
        ("in/itself", "itself", InputMissing, "in/itself is a link to itself, which is not there"),
        ("in/dangling", "nowhere", InputMissing, "in/dangling is a link to nowhere, which is not there"),
    ],
)
def test_a_link_that_leads_nowhere_is_named(
    folders: Path, link: str, target: str, error: type, words: str
) -> None:
    """A link in a folder that cannot be copied is what the message is about: no disk is full, and nothing
    vanished.
    """
    (folders / "in/deep").mkdir(parents=True)
    (folders / link).symlink_to(target)
    with pytest.raises(error, match=words):
        wingspan.run(["true"], inputs=["in"], pool="local")
    assert run_names() == ()


def test_links_that_lead_somewhere_go_along(folders: Path) -> None:
    """Two links to one folder are two copies of it."""
    (folders / "in/data").mkdir(parents=True)
    (folders / "in/data/x").write_text("x")
    for name in ("one", "two"):
        (folders / "in" / name).symlink_to("data")
    run = wingspan.run(["true"], inputs=["in"], pool="local")
    assert [(run.path / "inputs/in" / name / "x").read_text() for name in ("one", "two")] == ["x", "x"]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[tool]\nwingspan = 3", "tool.wingspan = 3"),
        ("[tool.wingspan]\ntasks = 3", "tool.wingspan.tasks = 3"),
        ("[tool.wingspan.tasks]\ngood = 3", "tool.wingspan.tasks.good = 3"),
        ("[tool.wingspan]\ninputs = 3", "inputs = 3"),
        ("[tool.wingspan]\noutputs = [3]", r"outputs = \[3\]"),
        ("[tool.wingspan]\nswitches = 3", "switches = 3"),
        ("[tool.wingspan]\ncheckpoint = 4", "checkpoint = 4"),
        ("[tool.wingspan]\ngpus = true", "gpus = True"),
        ("[tool.wingspan.tasks.good]\nprofile = 4", "profile = 4"),
        ("[tool.wingspan", "pixi.toml"),
    ],
)
def test_a_manifest_that_cannot_be_read(folders: Path, text: str, words: str) -> None:
    """What is wrong with [tool.wingspan], or that it is no TOML, is said with the file's name."""
    (folders / "pixi.toml").write_text(f"{_MANIFEST}\n{text}\n")
    with pytest.raises(wingspan.WingspanError, match=words) as caught:
        wingspan.run("good", pool="local")
    assert str(folders / "pixi.toml") in str(caught.value)


def test_a_manifest_that_is_no_toml_is_named_for_a_command(folders: Path) -> None:
    """A command may have its inputs from [tool.wingspan]: a manifest that cannot be read is not passed
    over.
    """
    (folders / "pixi.toml").write_text("[tool.wingspan")
    with pytest.raises(wingspan.WingspanError, match=r"pixi\.toml"):
        wingspan.run(["true"], pool="local")


@pytest.mark.parametrize("key", ["pool", "created"])
def test_a_run_whose_file_lacks_something_is_damaged(wingspan_cli, key: str) -> None:
    """runs, status and rm of a run.json that somebody edited say so, and rm removes it."""
    run = wingspan.run(["true"], name="mine", pool="local")
    run.wait()
    facts = json.loads((run.path / "run.json").read_text())
    del facts[key]
    (run.path / "run.json").write_text(json.dumps(facts))
    assert json.loads(wingspan_cli("runs", "--json").stdout)[0]["state"] == "damaged"
    shown = wingspan_cli("status", "mine")
    assert (shown.returncode, f"run.json cannot be read: '{key}'" in shown.stderr) == (1, True)
    assert wingspan_cli("rm", "mine").returncode == 0
    assert run_names() == ()


def test_a_damaged_run_is_removed_with_its_jobs(pool: str, folders: Path) -> None:
    """A run whose run.json is a folder says so; rm takes its jobs out of the queue, which its other files
    name.
    """
    beats = folders / "beats"
    run = wingspan.run(
        ["sh", "-c", f"while :; do echo x >> {beats}; sleep 0.1; done"], name="mine", pool=pool
    )
    until(beats.exists, "the job runs")
    (run.path / "run.json").unlink()
    (run.path / "run.json").mkdir()
    with pytest.raises(RunDamaged, match=r"run\.json"):
        load_run("mine")
    remove_run("mine")
    assert run_names() == ()

    def size() -> int:
        return beats.stat().st_size

    def is_silent() -> bool:
        before = size()
        time.sleep(1.0)
        return size() == before

    until(is_silent, "the job has ended")


def test_what_another_wingspan_says_of_a_run_is_kept() -> None:
    """A run.json with a key that nobody knows here, and without one that came later, is read; `Run.info`
    has the first.
    """
    run = wingspan.run(["true"], name="mine", pool="local")
    run.wait()
    facts = json.loads((run.path / "run.json").read_text())
    assert run.info == facts
    del facts["python"]
    facts["mood"] = "good"
    (run.path / "run.json").write_text(json.dumps(facts))
    again = wingspan.load_run("mine")
    assert again.info == facts
    assert again.pool == "local"


@pytest.mark.htcondor
def test_more_memory_than_there_is(use_personal_pool) -> None:
    """What no machine has is refused at once, in words and with the option of the command line; nothing
    is left.
    """
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
    """A word of the command that is a file here, and does not go along, is a warning; one that is sent is
    none.
    """
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
        (["run", "task", "--sweep", "x=1,2", "--verbose"], 2, "wingspan run task --sweep x=1,2 -- --verbose"),
        (["run", "sh", "--", "true"], 1, "wingspan run -- sh"),
        (["run", "--sweep", "lr", "-p", "local", "--", "echo", "{lr}"], 2, "--sweep lr=0.1,0.01"),
        (["logs", "nobody"], 1, "no run has the name"),
        (["fetch", "nobody"], 1, "no run has the name"),
    ):
        done = wingspan_cli(*words)
        assert (done.returncode, expected in done.stderr) == (code, True), done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.parametrize("name", ["C:\\x", "\\x", "\\\\host\\x", "a:/x"])
def test_a_path_of_windows_is_refused_before_htcondor_holds_the_job(name: str) -> None:
    """HTCondor writes no file whose name is an absolute path for Windows; other names pass."""
    with pytest.raises(InvalidRun, match="absolute path of Windows"):
        relative_path(name, "input")
    assert relative_path("D:x", "input") == "D:x"
    assert relative_path("a\\b:c", "input") == "a\\b:c"
