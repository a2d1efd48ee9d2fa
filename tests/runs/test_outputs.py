"""Outputs: what comes back of links, patterns and folders that were named twice."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

import wingspan
from _waiting import until
from wingspan.runs import Run


def _texts(run: Run) -> dict[str, str]:
    return {name: path.read_text() for name, path in run.outputs().items()}


@pytest.mark.parametrize("outputs", [["latest.pt"], ["epoch-9.pt", "latest.pt"], ["*.pt"]])
def test_a_link_comes_back_as_what_it_leads_to(pool: str, done, outputs: list[str]) -> None:
    """A file that an output is a link to comes back under its name, whatever else is an output too."""
    run = done(
        wingspan.run(
            ["sh", "-c", "echo nine >epoch-9.pt; ln -s epoch-9.pt latest.pt"], outputs=outputs, pool=pool
        )
    )
    run.check()
    both = {"epoch-9.pt": "nine\n", "latest.pt": "nine\n"}
    assert _texts(run) == (both if outputs != ["latest.pt"] else {"latest.pt": "nine\n"})
    assert not any(path.is_symlink() for path in run.outputs().values())


def test_links_in_a_folder_come_back_as_files_and_folders(pool: str, done) -> None:
    """Links to folders are copied, those in a circle or to nothing are left out: HTCondor would hold the
    job for some of them.
    """
    script = (
        "mkdir -p logs/run-1/files other; echo log >logs/run-1/files/a.txt; echo hidden >logs/.x; echo far >other/far.txt; "
        "ln -s run-1 logs/latest-run; ln -s ../other logs/other; ln -s . logs/run-1/around; ln -s .. logs/up; "
        "ln -s ../logs other/back; ln -s nowhere logs/dangling"
    )
    run = done(wingspan.run(["sh", "-c", script], outputs=["logs"], pool=pool))
    run.check()
    texts = _texts(run)
    assert {name: text for name, text in texts.items() if "/back/" not in name} == {
        "logs/run-1/files/a.txt": "log\n",
        "logs/latest-run/files/a.txt": "log\n",
        "logs/other/far.txt": "far\n",
        "logs/.x": "hidden\n",
    }
    assert not any(path.is_symlink() for path in run._outputs(0).rglob("*"))
    assert len(texts) < 20  # around the circle of the two folders once at most
    assert "logs/up leads around in a circle" in run.stderr()


def test_a_link_to_nothing_is_no_output(pool: str, done) -> None:
    """It is missing, as if it were not there."""
    run = done(wingspan.run(["ln", "-s", "nowhere", "model.pt"], outputs=["model.pt"], pool=pool))
    assert run.status().jobs[0].missing == ("model.pt",)


def test_a_link_as_a_checkpoint_is_kept(folders: Path, pool: str, done) -> None:
    """What a checkpoint is a link to is there after an eviction: nothing is begun anew."""
    gate, diary = folders / "gate", folders / "diary"
    script = f"""
    if [ ! -e latest ]; then echo anew >>'{diary}'; mkdir state; echo one >state/1; ln -s state/1 latest; exit 85; fi
    cat latest >>'{diary}'
    while [ ! -e '{gate}' ]; do sleep 0.05; done
    """
    run = wingspan.run(["sh", "-c", script], checkpoint=["latest"], pool=pool)
    until(lambda: diary.exists() and diary.read_text() == "anew\none\n", "the start from the checkpoint")
    run.vacate()
    until(lambda: diary.read_text() != "anew\none\n", "the start after the eviction")
    gate.touch()
    done(run).check()
    assert diary.read_text() == "anew\none\none\n"


@pytest.mark.parametrize(
    ("outputs", "expected"), [(["*"], {"b.txt", "out/c.txt", "-d"}), (["out*"], {"out/c.txt"})]
)
def test_a_pattern_means_what_the_command_has_written(
    folders: Path, pool: str, done, outputs: list[str], expected: set[str]
) -> None:
    """Neither inputs, nor the job's script, nor the folder of its outputs are what ``*`` means."""
    (folders / "out-input.txt").touch()
    script = "mkdir out; touch b.txt out/c.txt ./-d"
    run = done(wingspan.run(["sh", "-c", script], inputs=["out-input.txt"], outputs=outputs, pool=pool))
    run.check()
    assert set(run.outputs()) == expected


def test_a_pattern_means_what_was_written_before_a_checkpoint(pool: str, done) -> None:
    """A command that is begun again from its checkpoint, where its files still are, gets all of them back."""
    script = "if [ -e state ]; then touch second.csv; else touch first.csv state; exit 85; fi"
    run = done(wingspan.run(["sh", "-c", script], outputs=["*.csv"], checkpoint=["state"], pool=pool))
    run.check()
    assert set(run.outputs()) == {"first.csv", "second.csv"}


def test_a_pipe_is_no_output(pool: str, done) -> None:
    """What cannot come back counts as missing, and the job is not held for it."""
    run = done(wingspan.run(["mkfifo", "pipe"], outputs=["pipe"], pool=pool))
    assert run.status().jobs[0].missing == ("pipe",)


def test_a_pattern_means_inputs_that_the_command_changes(folders: Path, pool: str, done) -> None:
    """One that stays as it was is no output; named in full it is."""
    for name in ("a.csv", "b.csv"):
        (folders / name).write_text("old\n")
    options = {"inputs": ["a.csv", "b.csv"], "pool": pool}
    changed = done(wingspan.run(["sh", "-c", "echo new >>a.csv"], outputs=["*.csv"], **options))
    assert _texts(changed) == {"a.csv": "old\nnew\n"}
    nothing = done(wingspan.run(["true"], outputs=["*.csv"], **options))
    assert nothing.status().jobs[0].missing == ("*.csv",)
    assert _texts(done(wingspan.run(["true"], outputs=["b.csv"], **options))) == {"b.csv": "old\n"}


@pytest.mark.parametrize(
    "outputs",
    [
        ["results/a.csv", "results"],
        ["results", "results/a.csv"],
        ["results/deep/*", "*/a.csv", "results/deep", "res*"],
    ],
)
def test_a_folder_and_something_in_it(pool: str, done, outputs: list[str]) -> None:
    """Both named, in any order: everything comes back once, with its path."""
    script = "mkdir -p results/deep; for name in a.csv .hidden deep/b.csv; do echo $name >results/$name; done"
    run = done(wingspan.run(["sh", "-c", script], outputs=outputs, pool=pool))
    run.check()
    assert set(run.outputs()) == {"results/a.csv", "results/.hidden", "results/deep/b.csv"}
    assert run.status().jobs[0].left == ()


#: A file that nobody can read to its end.
_UNREADABLE = "/proc/self/mem"


@pytest.mark.parametrize("code", [0, 7])
def test_what_cannot_be_read_loses_nothing_else(pool: str, done, code: int) -> None:
    """All else comes back, what is behind the link is named, and the command's own code stays if it has
    failed.
    """
    script = f"mkdir -p out/deep; echo m >out/model.pt; echo n >out/deep/n; ln -s {_UNREADABLE} out/link; exit {code}"
    run = done(wingspan.run(["sh", "-c", script], outputs=["out"], pool=pool))
    job = run.status().jobs[0]
    assert (job.code, job.missing) == (code or 120, ("out/link",))
    assert _texts(run) == {"out/model.pt": "m\n", "out/deep/n": "n\n"}
    assert "out/link does not come back whole" in run.stderr()


def test_names_and_rights_lose_nothing(pool: str, done) -> None:
    """Folders that nobody may read or write, and names with a newline, come back as everything else."""
    script = (
        "mkdir shut fast; echo a >shut/a; echo b >fast/b; echo c >'line\nbreak'; echo d >hidden; mkdir 'end\n'; echo e >'end\n/e'; "
        "chmod 0 shut hidden; chmod 555 fast; rm -r .wingspan-there outputs-* || :; exit 0"
    )
    run = done(wingspan.run(["sh", "-c", script], outputs=["shut", "*s*", "*i*", "end*"], pool=pool))
    run.check()
    expected = {"shut/a": "a\n", "fast/b": "b\n", "line\nbreak": "c\n", "hidden": "d\n", "end\n/e": "e\n"}
    assert {name: text for name, text in _texts(run).items() if name != "job.sh"} == expected
    assert run.status().jobs[0].left == ()


def test_a_checkpoint_that_cannot_be_kept_ends_the_job(pool: str, done) -> None:
    """With its own exit code; the outputs are there."""
    script = f"echo log >log; ln -s {_UNREADABLE} state; exit 85"
    run = done(wingspan.run(["sh", "-c", script], outputs=["log"], checkpoint=["state"], pool=pool))
    assert (run.status().jobs[0].code, _texts(run)) == (118, {"log": "log\n"})
    assert "the checkpoint state cannot be kept whole" in run.stderr()


@pytest.mark.parametrize("pattern", ["res*", "*", "results/*"])
def test_a_pattern_means_a_folder_of_inputs_that_the_command_changes(
    folders: Path, pool: str, done, pattern: str
) -> None:
    """It comes back if anything in it is new or changed; named by no output, it is told of; unchanged,
    neither.
    """
    (folders / "results").mkdir()
    (folders / "results/old.csv").write_text("old\n")
    (folders / "data").mkdir()
    (folders / "data/x").touch()
    options = {"inputs": ["results", "data"], "pool": pool}
    for script in (
        "echo new >results/new.csv",
        "echo new >results/old.csv",
        "touch one; mv one results/old.csv",
    ):
        run = done(wingspan.run(["sh", "-c", script], outputs=[pattern], **options))
        run.check()
        name = script.split()[-1].strip(">")
        assert name in run.outputs()
        assert set(run.outputs()) <= {name, "results/old.csv"}
        assert run.status().jobs[0].left == ()
    nothing = done(wingspan.run(["true"], outputs=[pattern], **options))
    assert nothing.status().jobs[0].missing == (pattern,)
    left = done(wingspan.run(["sh", "-c", "touch results/new.csv x"], outputs=["x"], **options))
    assert left.status().jobs[0].left == ("results",)


def test_a_pattern_does_not_mean_htcondors_folders(use_personal_pool: object, folders: Path, done) -> None:
    """What a program leaves in the tmp and var that HTCondor makes is no output; what it writes into the
    input var is.
    """
    script = "for folder in tmp var _condor_x .condor_x; do mkdir -p $folder; touch $folder/x; done; touch y"
    made = Path("make")
    made.write_text(f"#!/bin/sh\n{script}\n")
    run = wingspan.run(["sh", "make"], inputs=["make"], outputs=["*"], pool="local")
    assert set(done(run).outputs()) == {"tmp/x", "var/x", "y"}  # of its own
    text = (run.path / "job.sh").read_text()
    # As HTCondor does with MOUNT_UNDER_SCRATCH: they are there, and empty.
    there = text.replace("[ -e .wingspan-there ] ||", "mkdir -p tmp var/tmp\n[ -e .wingspan-there ] ||", 1)
    (run.path / "job.sh").write_text(there)
    subprocess.run(["sh", str(run.path / "job.sh"), "0"], check=True)
    assert set(run.outputs()) == {"y"}
    Path("var").mkdir()
    Path("var/input").touch()
    run = done(wingspan.run(["sh", "make"], inputs=["make", "var"], outputs=["v*"], pool="personal"))
    assert "var/x" in run.outputs()


@pytest.mark.parametrize("seconds", [False, True])
def test_a_change_is_seen_whatever_the_times(
    folders: Path, monkeypatch: pytest.MonkeyPatch, done, seconds: bool
) -> None:
    """Older times that tar, cp -p and touch leave, a change at once of the same size, and an ls that
    tells whole seconds.
    """
    if seconds:
        programs = folders.parent / "bin"
        programs.mkdir()
        (programs / "ls").write_text(
            f"#!/bin/sh\n{shutil.which('ls')} \"$@\" | sed 's/\\(:[0-9][0-9]\\)[.][0-9]* /\\1 /'\n"
        )
        (programs / "ls").chmod(0o755)
        monkeypatch.setenv("PATH", f"{programs}:{os.environ['PATH']}")
    for name in "abcde":
        Path(f"{name}.csv").write_text("old\n")
    script = "echo new >a.csv; echo new >x; touch -d 2001-01-01 x; cp -p x b.csv; mv x c.csv; echo new >d.csv; touch -d 2001-01-01 d.csv"
    inputs = [f"{name}.csv" for name in "abcde"]
    run = done(wingspan.run(["sh", "-c", script], inputs=inputs, outputs=["*.csv"], pool="local"))
    assert _texts(run) == {f"{name}.csv": "new\n" for name in "abcd"}


@pytest.mark.parametrize("outputs", [["a", "l/x"], ["l/x", "a"], ["l/*", "a"]])
def test_a_link_on_the_way_to_an_output(pool: str, done, outputs: list[str]) -> None:
    """What another output moves is there under both paths."""
    script = "mkdir a; echo x >a/x; ln -s a l"
    run = done(wingspan.run(["sh", "-c", script], outputs=outputs, pool=pool))
    run.check()
    assert _texts(run) == {"a/x": "x\n", "l/x": "x\n"}


def test_only_what_an_output_names_comes_back(folders: Path, pool: str, done) -> None:
    """What a command puts into the folder of the outputs itself is no output: it does not come back, and
    is not fetched.
    """
    script = (
        "mkdir -p outputs-0/.git/hooks; echo evil >outputs-0/.envrc; echo evil >outputs-0/.git/hooks/post-checkout; "
        "echo evil >.envrc; echo good >result.txt; ln -sfn /etc outputs-0/etc"
    )
    run = done(wingspan.run(["sh", "-c", script], outputs=["*.txt"], pool=pool))
    run.check()
    assert _texts(run) == {"result.txt": "good\n"}
    names = {path.name for path in run._outputs(0).rglob("*")}
    assert names == {"result.txt", ".wingspan-outcome"}
    run.fetch("fetched")
    assert [path.name for path in Path("fetched").rglob("*")] == ["result.txt"]


def test_what_a_machine_adds_to_the_outputs_is_not_handed_on(pool: str, done) -> None:
    """The access point looks for itself: files that no output names, and links, are not fetched, whoever
    put them there.
    """
    run = done(wingspan.run(["sh", "-c", "mkdir d; echo good >d/x"], outputs=["d/*", "e"], pool=pool))
    folder = run._outputs(0)
    (folder / ".envrc").write_text("evil")
    (folder / "d/.hidden").write_text("evil")
    (folder / "d/link").symlink_to("/etc/passwd")
    (folder / "e").symlink_to("/etc")
    assert set(run.outputs()) == {"d/x"}


def test_a_value_of_a_sweep_is_no_pattern(pool: str, done) -> None:
    """A parameter's value in an output's path means itself, and not what it would match as a pattern."""
    run = done(
        wingspan.run(
            ["sh", "-c", "echo x >$1; echo y >a", "sh", "{v}"],
            outputs=["{v}"],
            sweep={"v": ["[ab]"]},
            pool=pool,
        )
    )
    assert set(run.outputs()) == {"[ab]"}


def test_others_can_read_nothing_of_a_run(folders: Path, pool: str, done) -> None:
    """Whatever the umask, what a run keeps is its owner's alone: secrets in variables, inputs, scripts,
    outputs.
    """
    (folders / "secret").mkdir(mode=0o700)
    (folders / "secret/in").write_text("x")
    (folders / "secret/tool").write_text("#!/bin/sh\n")
    (folders / "secret/tool").chmod(0o755)
    before = os.umask(0)
    try:
        run = done(
            wingspan.run(
                ["sh", "-c", "umask 0; mkdir out; cp secret/in out; secret/tool"],
                inputs=["secret"],
                outputs=["out"],
                variables={"API_TOKEN": "hush"},
                pool=pool,
            )
        )
    finally:
        os.umask(before)
    run.check()
    assert run.path.stat().st_mode & 0o777 == 0o700
    ours = [
        run.path / name
        for name in ("run.json", "job.sh", "inputs", "inputs/secret", "inputs/secret/in", "logs")
    ]
    ours += list(run._outputs(0).rglob("*"))
    assert [path for path in ours if path.lstat().st_mode & 0o077] == []
    assert os.access(run.path / "inputs/secret/tool", os.X_OK)


def test_a_mistyped_output_names_what_was_written(folders: Path, pool: str, done, wingspan_cli) -> None:
    """status, fetch and --follow say what the command wrote instead, and which name was most likely meant."""
    words = ["-o", "modle.pt", "-n", "mistyped", "-p", pool]
    script = "touch model.pt log.txt"
    run = done(wingspan.run(["sh", "-c", script], outputs=["modle.pt"], name="mistyped", pool=pool))
    reason = run.status().jobs[0].reason
    assert reason is not None
    assert reason.startswith("it did not write modle.pt; it wrote model.pt, log.txt,")
    assert "Was --output model.pt meant?" in reason
    for told in (wingspan_cli("status", "mistyped").stdout, wingspan_cli("fetch", "mistyped").stderr):
        assert "it wrote model.pt" in told
    run.remove()
    followed = wingspan_cli("run", "--follow", *words, "--", "sh", "-c", script)
    assert followed.returncode == 120
    assert "it wrote model.pt" in followed.stderr
