"""Runs on real pools: files go and come, and a run stays what it is."""

from __future__ import annotations

import contextlib
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import wingspan
from _waiting import PATIENCE, until
from wingspan.errors import PoolUnavailable
from wingspan.pools import get_pool
from wingspan.runs import (
    OutputMissing,
    RunError,
    RunExists,
    RunFailed,
    RunNotFound,
    WouldOverwrite,
    load_run,
    run_names,
)


def test_files_keep_their_paths_both_ways(folders: Path, pool: str, done) -> None:
    """Inputs and outputs, those of folders and with blanks in their names too, keep their relative paths."""
    (folders / "data/deep").mkdir(parents=True)
    (folders / "data/deep/a b.txt").write_text("one")
    (folders / "main.sh").write_text(
        "mkdir -p res/x; cat 'data/deep/a b.txt' >'res/x/o p.txt'; echo two >res/second.csv\n"
    )
    run = done(
        wingspan.run(["sh", "main.sh"], inputs=["data", "main.sh"], outputs=["res/x", "res/*.csv"], pool=pool)
    )
    run.check()
    assert {name: path.read_text() for name, path in run.outputs().items()} == {
        "res/x/o p.txt": "one",
        "res/second.csv": "two\n",
    }
    fetched = run.fetch("got")
    assert (folders / "got/res/x/o p.txt").read_text() == "one"
    assert len(fetched[0]) == 2


def test_what_was_submitted_is_what_runs(folders: Path, done) -> None:
    """An input that is edited or removed after the submission does not change the run, nor does a rerun
    see it.
    """
    (folders / "in.txt").write_text("first")
    run = wingspan.run(["cp", "in.txt", "out.txt"], inputs=["in.txt"], outputs=["out.txt"], pool="local")
    (folders / "in.txt").unlink()
    assert done(run).outputs()["out.txt"].read_text() == "first"
    run.rerun([0])
    assert done(run).outputs()["out.txt"].read_text() == "first"


def test_an_output_that_was_not_written_is_named(pool: str, done) -> None:
    """The job fails, is not held, says which output is missing, and what was written comes back all the
    same.
    """
    run = done(
        wingspan.run(["sh", "-c", "echo x >there.txt"], outputs=["there.txt", "not/there.pt"], pool=pool)
    )
    job = run.status().jobs[0]
    assert (job.state, job.missing) == ("failed", ("not/there.pt",))
    assert list(run.outputs()) == ["there.txt"]
    with pytest.raises(OutputMissing, match=r"not/there\.pt"):
        run.check()


def test_a_command_that_fails_says_so(pool: str, done) -> None:
    """Exit code and both streams of a failed command are there."""
    run = done(wingspan.run(["sh", "-c", "echo said; echo complained >&2; exit 7"], pool=pool))
    job = run.status().jobs[0]
    assert (job.state, job.code) == ("failed", 7)
    assert run.stdout() == "said\n"
    assert run.stderr() == "complained\n"
    with pytest.raises(RunFailed, match="exit code 7"):
        run.check()


def test_another_process_finds_the_run(done, wingspan_cli) -> None:
    """A run is found by its name by another process, with its state and its outputs."""
    done(wingspan.run(["sh", "-c", "echo hello >o.txt"], outputs=["o.txt"], name="mine", pool="local"))
    found = json.loads(wingspan_cli("runs", "--json").stdout)
    assert [(one["name"], one["state"]) for one in found] == [("mine", "completed")]
    assert wingspan_cli("fetch", "mine").returncode == 0
    assert Path("o.txt").read_text() == "hello\n"


def test_a_run_can_be_removed_while_it_runs(pool: str) -> None:
    """Removing a run ends its jobs and takes its files and its name away."""
    marker = Path("ran-to-its-end").absolute()
    run = wingspan.run(["sh", "-c", f"sleep 600; touch '{marker}'"], name="gone", pool=pool)
    until(lambda: run.status().state == "running", "the job's start")
    run.remove()
    assert "gone" not in run_names()
    with pytest.raises(RunNotFound, match="gone"):
        load_run("gone")
    assert not marker.exists()


def test_a_name_is_free_again_when_its_run_was_removed(
    use_personal_pool, done, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is left of a run whose job is at work when it is removed; a folder that HTCondor made anew
    to log an end is in nobody's way.
    """
    monkeypatch.setattr("wingspan.runs._watch._END_SECONDS", PATIENCE)  # HTCondor may take its time
    run = wingspan.run(["sleep", "600"], name="mine", pool="personal")
    until(lambda: run.status().state == "running", "the job's start")
    run.remove()
    assert run_names() == ()
    assert os.listdir(run.path.parent) == []
    run.path.mkdir()
    (run.path / "events.log").touch()
    assert run_names() == ()
    with pytest.raises(RunNotFound):
        load_run("mine")
    again = done(wingspan.run(["true"], name="mine", pool="personal"))
    assert again.status().state == "completed"
    run.path.with_name("other").mkdir()
    (run.path.with_name("other") / "events.log").touch()
    os.utime(run.path.with_name("other"), (0, 0))
    again.remove()
    assert not run.path.with_name("other").exists()


@pytest.mark.htcondor
def test_a_pool_that_was_stopped_is_told(folders: Path, done, wingspan_cli) -> None:
    """Nothing runs in a pool that is stopped: status, list and wait say so, with what to do; started
    again, the run goes on.
    """
    gate = folders / "gate"
    command = f"while [ ! -e '{gate}' ]; do sleep 0.05; done"
    run = wingspan.run(["sh", "-c", command], name="left", pool="personal")  # a pool of the test's own
    personal = get_pool("personal").personal  # type: ignore[attr-defined]
    try:
        until(lambda: run.status().state == "running", "the job's start")
        personal.stop()
        assert run.status().state == "idle"
        assert "wingspan pool start" in str(run.status())
        assert "wingspan pool start" in wingspan_cli("status", "left").stdout
        assert json.loads(wingspan_cli("runs", "--json").stdout)[0]["state"] == "idle"
        with pytest.raises(PoolUnavailable, match="stopped"):
            wingspan.load_run("left").wait(PATIENCE)
        assert "wingspan pool start" in wingspan_cli("logs", "-f", "left").stderr
        personal.start()
        gate.touch()
        assert done(run).status().state == "completed"
    finally:
        personal.stop()


@pytest.mark.parametrize("where", ["found", "given"])
def test_programs_are_those_of_whoever_made_the_run(
    folders: Path, pool: str, done, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Without an environment a job on this machine finds on PATH what was found when it was submitted;
    --set PATH wins.
    """
    for name in ("mine", "other"):
        (folders / name).mkdir()
        (folders / name / "own-program").write_text(f"#!/bin/sh\necho {name}\n")
        (folders / name / "own-program").chmod(0o755)
    monkeypatch.setenv("PATH", f"{folders / 'mine'}:{os.environ['PATH']}")
    given = {} if where == "found" else {"PATH": f"{folders / 'other'}:/usr/bin:/bin"}
    run = done(wingspan.run(["own-program"], pool=pool, variables=given))
    assert run.stdout() == ("mine\n" if where == "found" else "other\n")


def test_a_home_that_is_set_is_the_jobs_home(done) -> None:
    """The job's folder is its HOME unless --set says otherwise."""
    command = ["sh", "-c", 'echo "$HOME"']
    assert done(wingspan.run(command, variables={"HOME": "/x"}, pool="local")).stdout() == "/x\n"
    assert "wingspan-run." in done(wingspan.run(command, pool="local")).stdout()


def test_a_folder_for_temporary_files_that_is_not_there_is_passed_over(done, monkeypatch) -> None:
    """The variable may be another machine's, as Slurm and the local pool hand it on: the job runs in /tmp."""
    monkeypatch.setenv("TMPDIR", "/nowhere/at/all")
    assert done(wingspan.run(["pwd"], pool="local")).stdout().startswith("/tmp/wingspan-run.")


def test_a_failure_is_told_with_the_last_words(pool: str, done) -> None:
    """The reason has the last line of standard error: mostly that is all one wants to know."""
    run = done(wingspan.run([sys.executable, "-c", "print('hi'); 1/0"], pool=pool))
    assert run.status().jobs[0].reason == "it ended with exit code 1: ZeroDivisionError: division by zero"
    missing = done(wingspan.run(["sh", "-c", "exec no-such-program"], pool=pool))
    assert "127: " in str(missing.status().jobs[0].reason)
    assert "no-such-program" in str(missing.status())


def test_inputs_are_those_of_the_submission(folders: Path, done) -> None:
    """A large file that is written anew in place afterwards is not what the run, or its repetition, reads."""
    data = folders / "data.bin"
    data.write_bytes(b"A" * (65 << 20))
    run = done(wingspan.run(["head", "-c", "1", "data.bin"], inputs=["data.bin"], pool="local"))
    with data.open("r+b") as file:
        file.write(b"B")
    run.rerun([0])
    assert done(run).stdout() == "A"


def test_what_no_output_names_is_told(folders: Path, pool: str, done) -> None:
    """Files stay behind unless an output names them: they are told by name, without what was there before
    and what is of no use.
    """
    (folders / "in.txt").touch()
    script = "mkdir -p res sub/deep empty __pycache__; touch __pycache__/x 'a b' res/o.txt sub/deep/y"
    run = done(wingspan.run(["sh", "-c", script], inputs=["in.txt"], outputs=["res/o.txt"], pool=pool))
    assert list(run.outputs()) == ["res/o.txt"]
    assert run.status().jobs[0].left == ("a b", "sub")


def test_how_a_run_shows_itself(done) -> None:
    """As text it counts its jobs and says what is wrong; in a notebook as well, with a bar, and nothing
    of it is taken for HTML.
    """
    run = done(wingspan.run(["sh", "-c", "exit {how}; #<b>"], sweep={"how": [0, 3]}, pool="local"))
    said = str(run.status())
    assert said.startswith(
        f"run {run.name}: 2 jobs: 1 completed, 1 failed\njob 1 failed: it ended with exit code 3"
    )
    shown = run._repr_html_()
    assert "width:50.00%" in shown
    assert "exit code 3" in shown
    assert "<b>'" not in shown


def test_run_names_all_its_keywords() -> None:
    """An editor completes what `wingspan.run` takes, and a keyword that is not one is an error of `run`."""
    import inspect

    from wingspan.runs._request import RunRequest

    def described(of: Callable[..., object]) -> dict[str, object]:
        return {one.name: one.default for one in inspect.signature(of).parameters.values()}

    ours, asked = described(wingspan.run), described(RunRequest)
    others = {"pool", "progress", "exist_ok", "rehearse", "row", "inputs_from", "unknown"}
    assert set(ours) - set(asked) == others
    same = set(asked) & set(ours) - {"after"}  # the request has what this means
    assert {name: ours[name] for name in same} == {name: asked[name] for name in same}
    with pytest.raises(TypeError, match=r"^run\(\)"):
        wingspan.run(["true"], output=["x"])


def test_hold_and_release(pool: str, done, folders: Path) -> None:
    """A held run does not go on; released, it begins again and completes."""
    gate = folders / "gate"
    command = f"while [ ! -e '{gate}' ]; do sleep 0.05; done; echo through >o.txt"
    run = wingspan.run(["sh", "-c", command], outputs=["o.txt"], pool=pool)
    until(lambda: run.status().state == "running", "the job's start")
    run.hold()
    until(lambda: run.status().state == "held", "the hold")
    with pytest.raises(RunFailed, match="held"):
        run.wait(PATIENCE)
    gate.touch()
    run.release()
    assert done(run).outputs()["o.txt"].read_text() == "through\n"


def test_rerun_does_only_what_failed(folders: Path, pool: str, done) -> None:
    """After a rerun of the failed jobs, the others' outputs are those of the first time."""
    switch = folders / "switch"
    command = f"[ {{n}} = 0 ] || [ -e '{switch}' ] || exit 3; date +%s%N >o.txt"
    run = done(wingspan.run(["sh", "-c", command], sweep={"n": [0, 1]}, outputs=["o.txt"], pool=pool))
    assert [job.state for job in run.status().jobs] == ["completed", "failed"]
    before = run.outputs(0)["o.txt"].read_text()
    switch.touch()
    assert run.rerun() == [1]
    assert [job.state for job in done(run).status().jobs] == ["completed", "completed"]
    assert run.outputs(0)["o.txt"].read_text() == before


def test_a_job_that_is_named_twice_is_done_again_once(done) -> None:
    """Two copies of a job would write the same files."""
    run = done(wingspan.run(["sh", "-c", "exit 3"], pool="local"))
    assert run.rerun([0, 0]) == [0]
    done(run)
    assert len((run.path / "submissions").read_text().splitlines()) == 2


def test_a_rerun_leaves_what_is_held(folders: Path) -> None:
    """On this machine all jobs of a run are held or none: one of them is not done again meanwhile, and
    what to do first is said.
    """
    command = f"[ {{n}} = 0 ] && exit 3; touch '{folders}/begun'; sleep 600"
    run = wingspan.run(["sh", "-c", command], sweep={"n": [0, 1]}, pool="local")
    until(lambda: run.status().jobs[0].state == "failed" and (folders / "begun").exists(), "the failure")
    run.hold()
    with pytest.raises(RunError, match=r"job 1 .* is held") as caught:
        run.rerun([0])
    assert f"wingspan release {run.name}" in str(caught.value.hint)
    assert [job.state for job in run.status().jobs] == ["failed", "held"]


def test_vacate_is_for_jobs_that_run(done) -> None:
    """A job that was ended by its time limit is not begun again."""
    run = done(wingspan.run(["sleep", "600"], time=1, pool="local"))
    assert run.status().state == "removed"
    run.vacate()
    assert run.status().state == "removed"
    assert len((run.path / "submissions").read_text().splitlines()) == 1


def test_who_follows_a_held_job_is_let_go() -> None:
    """`Run.follow` ends when the job is held, as --follow does."""
    run = wingspan.run(["sh", "-c", "echo begun; sleep 600"], pool="local")
    until(lambda: run.stdout() == "begun\n", "the start")
    run.hold()
    assert "".join(run.follow()) == "begun\n"
    with pytest.raises(RunError, match="has no job 1"):
        next(run.follow(1))


def test_output_is_seen_while_the_job_runs(folders: Path, pool: str) -> None:
    """What a job prints can be read before it ends."""
    gate = folders / "gate"
    run = wingspan.run(
        ["sh", "-c", f"echo early; while [ ! -e '{gate}' ]; do sleep 0.05; done; echo late"], pool=pool
    )
    until(lambda: run.stdout() == "early\n", "the first line")
    assert not run.status().is_done
    gate.touch()
    assert "".join(run.follow()) == "early\nlate\n"


def test_a_command_takes_signals_and_may_have_children(folders: Path) -> None:
    """A command that is told to end by hold hears SIGTERM."""
    heard, ready = folders / "heard", folders / "ready"
    script = f"trap \"touch '{heard}'; exit 0\" TERM; touch '{ready}'; while :; do sleep 0.05; done"
    run = wingspan.run(["sh", "-c", script], pool="local")
    until(ready.exists, "the command's start")
    run.hold()
    until(heard.exists, "the signal")


def test_the_name_is_free_or_an_error(done) -> None:
    """A name in use is refused, be it a run's or a map's, and the first run is untouched; made-up names
    differ.
    """
    first = done(wingspan.run(["true"], name="taken", pool="local"))
    with pytest.raises(RunExists, match="taken"):
        wingspan.run(["true"], name="taken", pool="local")
    assert first.status().state == "completed"
    m = wingspan.map(abs, [1], tag="mapped", pool="local")
    with pytest.raises(RunExists, match="map"):
        wingspan.run(["true"], name="mapped", pool="local")
    m.wait()
    m.remove()
    assert [wingspan.run(["true"], pool="local").name for _ in range(2)] == ["true-1", "true-2"]


def test_fetch_does_not_overwrite_what_differs(folders: Path, done) -> None:
    """A file of another content is left alone, unless it is said to be replaced; an equal one is no
    obstacle.
    """
    run = done(wingspan.run(["sh", "-c", "echo new >o.txt"], outputs=["o.txt"], pool="local"))
    (folders / "o.txt").write_text("mine")
    with pytest.raises(WouldOverwrite, match=r"o\.txt"):
        run.fetch()
    assert (folders / "o.txt").read_text() == "mine"
    run.fetch(overwrite=True)
    run.fetch()
    assert (folders / "o.txt").read_text() == "new\n"


def test_a_supervisor_that_is_killed_is_noticed() -> None:
    """A run whose processes are gone is not said to run for ever; it can be done again."""
    run = wingspan.run(["sleep", "600"], pool="local")
    until(lambda: run.status().state == "running", "the start")
    facts = json.loads(next((run.path / "workers").glob("process-*.run")).read_text())
    os.kill(facts["pid"], 9)
    until(lambda: run.status().state == "removed", "the notice")
    child = json.loads((run.path / "local.log").read_text().splitlines()[0])["pid"]
    with contextlib.suppress(ProcessLookupError):  # it ends with its supervisor where the kernel sees to that
        os.killpg(child, 9)
    assert run.rerun() == [0]


def test_the_time_limit_ends_a_local_job(done) -> None:
    """A job that runs for longer than --time is ended and says so."""
    run = done(wingspan.run(["sleep", "600"], time=1, pool="local"))
    job = run.status().jobs[0]
    assert job.state == "removed"
    assert "limit" in str(job.reason)


def test_variables_and_odd_arguments_arrive(pool: str, done) -> None:
    """Arguments with quotes, blanks, dollars and line ends, and variables, reach the command as they are."""
    odd = ["it's", 'say "hi"', "a  b", "$HOME", "line\nbreak", "", "*", "{n}", "back\\slash"]
    script = 'for word; do printf "%s|" "$word"; done; printf "%s" "$MINE"'
    run = done(wingspan.run(["sh", "-c", script, "sh", *odd], variables={"MINE": "a 'b' $c"}, pool=pool))
    assert run.stdout() == "".join(f"{word}|" for word in odd) + "a 'b' $c"


def test_who_follows_gets_whole_characters() -> None:
    """What a job prints may be looked at between two bytes of a character."""
    run = wingspan.run(["sh", "-c", r"printf 'caf\303'; sleep 1; printf '\251!'"], pool="local")
    assert "".join(run.follow()) == "café!"
