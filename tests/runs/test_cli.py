"""The command line of runs: a run's whole life and what follows it in processes of their own, the rest in
this one.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import wingspan
from _waiting import until
from wingspan.runs import run_names


def test_a_run_from_beginning_to_end(folders: Path, wingspan_process) -> None:
    """run, wait, status, logs, fetch, rerun, hold, release and rm do what they say, by the run's name."""
    (folders / "in.txt").write_text("payload\n")
    started = wingspan_process(
        *("run", "-p", "local", "-n", "mine", "-i", "in.txt", "-o", "out/o.txt", "--set", "MINE=a b"),
        *("--", "sh", "-c", 'mkdir out; cp in.txt out/o.txt; echo "said $MINE"; echo grumble >&2'),
    )
    assert started.returncode == 0, started.stderr
    assert "mine: 1 job in the local pool" in started.stdout
    assert wingspan_process("wait", "mine").returncode == 0
    status = json.loads(wingspan_process("status", "mine", "--json").stdout)
    assert (status["state"], status["jobs"][0]["code"]) == ("completed", 0)
    assert "mine: completed" in wingspan_process("status", "mine").stdout
    logs = wingspan_process("logs", "mine")
    assert (logs.stdout, logs.stderr) == ("said a b\n", "grumble\n")
    assert wingspan_process("logs", "mine", "--stderr").stdout == "grumble\n"
    assert wingspan_process("fetch", "mine").stdout == "out/o.txt\n"
    assert (folders / "out/o.txt").read_text() == "payload\n"
    assert "nothing to do again" in wingspan_process("rerun", "mine").stdout
    assert "1 job again" in wingspan_process("rerun", "mine", "--all").stdout
    assert wingspan_process("wait", "mine").returncode == 0
    for action in ("hold", "release"):
        assert wingspan_process(action, "mine").returncode == 0
    assert wingspan_process("rm", "mine").stdout == "mine: removed\n"
    assert json.loads(wingspan_process("runs", "--json").stdout) == []


def test_follow_ends_as_the_job_does(wingspan_process) -> None:
    """--follow prints both streams and exits with the job's exit code."""
    done = wingspan_process(
        "run", "-p", "local", "-f", "-q", "--", "sh", "-c", "echo out; echo err >&2; exit 9"
    )
    assert done.returncode == 9
    assert "out\n" in done.stdout
    assert "err\n" in done.stderr


def test_one_command_brings_the_files(folders: Path, wingspan_cli) -> None:
    """--fetch stays until the job has ended and leaves its outputs here; with --follow it prints and
    exits as the job does.
    """
    script = "mkdir out; echo made > out/o.txt; echo said"
    done = wingspan_cli("run", "-p", "local", "-o", "out/o.txt", "--fetch", "--", "sh", "-c", script)
    assert done.returncode == 0, done.stderr
    assert (folders / "out/o.txt").read_text() == "made\n"
    assert "said" not in done.stdout
    both = wingspan_cli(
        "run", "-p", "local", "-o", "b", "--fetch", "-fq", "--", "sh", "-c", "touch b; echo said; exit 3"
    )
    assert both.returncode == 3
    assert "said\n" in both.stdout
    assert (folders / "b").exists()


def test_who_follows_a_job_that_is_held_is_told(wingspan_cli) -> None:
    """--follow, --fetch and logs -f end when a job is held, and say so, instead of waiting for ever."""
    wingspan_cli("run", "-q", "-p", "local", "-n", "long", "--", "sleep", "600")
    assert wingspan_cli("hold", "long").returncode == 0
    followed = wingspan_cli("logs", "-f", "long")
    assert (followed.returncode, "held" in followed.stderr) == (0, True)
    fetched = wingspan_cli("fetch", "--wait", "long")
    assert (fetched.returncode, "held" in fetched.stderr) == (1, True)


def test_every_job_of_a_sweep_is_followed(wingspan_cli) -> None:
    """--follow and logs pass on what all jobs print, whole lines with the job's number before them;
    numbers choose.
    """
    script = "printf 'äa{n}\\nb'; echo err{n} >&2"
    done = wingspan_cli(
        "run", "-p", "local", "-n", "many", "-f", "--sweep", "n=1,2,3", "--", "sh", "-c", script
    )
    assert done.returncode == 0
    assert sorted(done.stdout.splitlines()) == sorted(
        f"{n}: {text}" for n in range(3) for text in (f"äa{n + 1}", "b")
    )
    assert "2: err3\n" in done.stderr
    logs = wingspan_cli("logs", "many").stdout
    assert logs == "0: äa1\n0: b\n1: äa2\n1: b\n2: äa3\n2: b\n"
    assert wingspan_cli("logs", "many", "1").stdout == "äa2\nb"
    assert wingspan_cli("logs", "many", "0", "2", "--stderr").stdout == "0: err1\n2: err3\n"
    assert "0 to 2" in wingspan_cli("logs", "many", "3").stderr


#: clock_nanosleep, by its number on x86-64 and on aarch64: a command that waits is in it most of the time,
#: one that starts never.
_SLEEPS = {"230", "115"}


def test_ctrl_c_leaves_the_run_alone(folders: Path) -> None:
    """Whoever looks on and presses Ctrl-C is told that the run goes on, and how to come back."""
    wingspan.run(["sh", "-c", "echo begun; sleep 600"], name="long", pool="local")
    for words in (["logs", "-f", "long"], ["wait", "long"], ["fetch", "--wait", "long"]):
        with subprocess.Popen(
            [sys.executable, "-m", "wingspan", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as looking:
            assert looking.stdout is not None
            assert looking.stderr is not None
            if words[0] == "logs":
                assert looking.stdout.readline() == "begun\n"
            else:
                # nothing is printed that says that it waits
                system_call = Path(f"/proc/{looking.pid}/syscall")
                until(lambda path=system_call: path.read_text().split()[0] in _SLEEPS, "the waiting")
            looking.send_signal(signal.SIGINT)
            said = looking.stderr.read()
            assert looking.wait() == 130
        assert "wingspan wait long" in said
        assert "Traceback" not in said
    assert wingspan.load_run("long").status().state == "running"


def test_patterns_stand_for_runs(wingspan_cli) -> None:
    """A name with a star that no shell has expanded means the runs that match; of none, of maps and runs,
    that is said.
    """
    for name in ("sweep-1", "sweep-2", "other"):
        wingspan.run(["true"], name=name, pool="local").wait()
    assert wingspan_cli("wait", "sweep-?").returncode == 0
    unasked = wingspan_cli("rm", "sweep-*")
    assert (unasked.returncode, "needs --yes where nobody can be asked" in unasked.stderr) == (2, True)
    assert wingspan_cli("rm", "sweep-*", "--yes").stdout == "sweep-1: removed\nsweep-2: removed\n"
    assert run_names() == ("other",)
    none = wingspan_cli("rm", "sweep-*")
    assert (none.returncode, "no map and no run has a name like 'sweep-*'" in none.stderr) == (1, True)


def test_an_unknown_name_may_be_one_of_either(wingspan_cli) -> None:
    """Commands of maps and runs alike say that neither has it, and name the nearest of both."""
    wingspan.run(["true"], name="training", pool="local").wait()
    for command in ("status", "wait", "hold", "release", "vacate", "rerun", "rm"):
        done = wingspan_cli(command, "trainign")
        assert done.returncode == 1
        assert "no map and no run has the name 'trainign'" in done.stderr
        assert "did you mean 'training'?" in done.stderr


def test_files_without_an_output_are_a_surprise_that_is_told(wingspan_cli) -> None:
    """At the submission that none will come back, and afterwards which ones did not."""
    done = wingspan_cli("run", "-p", "local", "-n", "lost", "-f", "--", "sh", "-c", "touch model.pt")
    assert done.returncode == 0
    assert "no --output" in done.stderr
    for said in (done, wingspan_cli("fetch", "lost"), wingspan_cli("status", "lost")):
        assert "wrote model.pt too, which no --output names" in said.stderr


def test_the_newest_run_is_the_first_of_the_list(wingspan_cli) -> None:
    """Runs are listed by when they were made, whatever their names."""
    for name in ("train-2", "train-10", "a"):
        wingspan.run(["true"], name=name, pool="local")
    assert [one["name"] for one in json.loads(wingspan_cli("runs", "--json").stdout)] == [
        "a",
        "train-10",
        "train-2",
    ]
    lines = wingspan_cli("runs").stdout.splitlines()
    assert [line.split()[0] for line in lines] == ["NAME", "a", "train-10", "train-2"]


def test_a_failure_is_an_exit_code(wingspan_cli) -> None:
    """wait and fetch of a run without its output exit with an error that names it; timeouts have their
    own code.
    """
    wingspan_cli("run", "-q", "-p", "local", "-n", "bad", "-o", "never.pt", "--", "true")
    waited = wingspan_cli("wait", "bad")
    assert waited.returncode == 120
    assert "never.pt" in waited.stderr
    fetched = wingspan_cli("fetch", "bad", "--wait")
    assert fetched.returncode == 1
    assert "never.pt" in fetched.stderr
    wingspan_cli("run", "-q", "-p", "local", "-n", "long", "--", "sleep", "600")
    assert wingspan_cli("wait", "long", "--timeout", "0.2").returncode == 124


def test_maps_and_runs_share_commands(wingspan_cli) -> None:
    """status and rm of a map's tag are the map's, of a run's name the run's; of neither, an error."""
    wingspan.map(abs, [-1], tag="amap", pool="local").wait()
    wingspan.run(["true"], name="arun", pool="local").wait()
    assert "abs on 1 input," in wingspan_cli("status", "amap").stdout
    assert "arun: completed, true" in wingspan_cli("status", "arun").stdout
    assert wingspan_cli("status", "neither").returncode == 1
    assert wingspan_cli("rm", "amap").returncode == 0
    assert wingspan_cli("rm", "arun").returncode == 0
    assert wingspan.tags() == ()


def test_maps_and_runs_in_one_command_are_refused_whole(wingspan_cli) -> None:
    """Nothing is done to either, whichever is named first, and what to write instead is said."""
    wingspan.map(abs, [-1], tag="amap", pool="local").wait()
    wingspan.run(["true"], name="arun", pool="local").wait()
    for words in (("amap", "arun"), ("arun", "amap")):
        for command in ("rm", "wait", "hold"):
            done = wingspan_cli(command, *words)
            assert done.returncode == 2
            assert f"wingspan {command} amap, and wingspan {command} arun" in done.stderr
    assert (wingspan.tags(), run_names()) == (("amap",), ("arun",))


def test_nothing_is_done_where_one_of_several_names_is_wrong(wingspan_cli) -> None:
    """A mistyped name is noticed before the other runs are touched or waited for."""
    wingspan.run(["sleep", "600"], name="long", pool="local")
    for command in ("wait", "hold", "vacate", "release"):
        done = wingspan_cli(command, "long", "logn")
        assert (done.returncode, done.stdout) == (1, "")
        assert "'logn'" in done.stderr
    assert wingspan.load_run("long").status().state in ("idle", "running")


def test_every_failure_is_told(wingspan_cli) -> None:
    """`wait` of several runs tells of each one that failed, and exits as the last of them did."""
    for name, code in (("one", "3"), ("two", "4")):
        wingspan.run(["sh", "-c", f"exit {code}"], name=name, pool="local")
    done = wingspan_cli("wait", "one", "two")
    assert done.returncode == 4
    assert "one: job 0 failed" in done.stderr
    assert "two: job 0 failed" in done.stderr


def test_a_stray_file_among_the_runs_is_none(folders: Path, wingspan_cli) -> None:
    """The list shows runs, whatever else somebody has put there."""
    wingspan.run(["true"], name="arun", pool="local").wait()
    (wingspan.load_run("arun").path.parent / "notes.txt").write_text("mine\n")
    assert [one["name"] for one in json.loads(wingspan_cli("runs", "--json").stdout)] == ["arun"]


def test_an_output_that_is_here_already_is_told_at_once(folders: Path, wingspan_cli) -> None:
    """Not only when the job has ended; it stays, and how to replace it is said."""
    (folders / "o.txt").write_text("mine\n")
    words = ("run", "-p", "local", "-n", "again", "-o", "o.txt", "--fetch")
    done = wingspan_cli(*words, "--", "sh", "-c", "echo new > o.txt")
    assert done.returncode == 1
    assert "o.txt is here already" in done.stderr
    assert (folders / "o.txt").read_text() == "mine\n"
    assert wingspan_cli("fetch", "again", "--overwrite").returncode == 0
    assert (folders / "o.txt").read_text() == "new\n"


def test_a_job_that_begins_again_is_followed_from_its_beginning(folders: Path) -> None:
    """Its file is shorter then: what was printed before does not hide what is printed now."""
    from wingspan.cli._streams import _Stream

    run = wingspan.run(["echo", "a long first line"], name="again", pool="local")
    run.wait()
    shown: list[str] = []
    looking = _Stream(run, 0, "out", "0: ", False)
    import click

    real, click.echo = click.echo, lambda text, **_: shown.append(text)
    try:
        looking.show(last=False)
        run.log_path(0, "out").write_text("SECOND\n")
        looking.show(last=True)
    finally:
        click.echo = real
    assert shown == ["0: a long first line\n", "0: SECOND\n"]


def test_the_manifest_of_a_folder_above_counts_for_commands_too(folders: Path, wingspan_cli) -> None:
    """[tool.wingspan] of pyproject.toml, from a folder below it: its inputs are relative to where it
    stands.
    """
    (folders / "pyproject.toml").write_text(
        '[tool.pixi.workspace]\nname = "w"\nchannels = []\nplatforms = ["linux-64"]\n'
        '[tool.wingspan]\nmemory = "123MB"\ninputs = ["data.txt", "below/near.txt"]\n'
    )
    (folders / "data.txt").write_text("data\n")
    below = folders / "below"
    below.mkdir()
    (below / "near.txt").write_text("near\n")
    run = wingspan.run(["cat", "data.txt", "near.txt"], name="below", pool="local", workspace=below)
    run.wait()
    assert run.stdout() == "data\nnear\n"
    assert run.spec.resources.memory == 123 << 20


def test_a_time_of_two_numbers_is_refused(wingspan_cli) -> None:
    """30:00 are minutes to Slurm and hours to others."""
    done = wingspan_cli("run", "-p", "local", "--time", "30:00", "--", "true")
    assert done.returncode == 2
    assert "minutes or hours" in done.stderr


def test_help_of_commands_that_runs_have_too_says_so(wingspan_cli) -> None:
    """Without a name it is that of maps, and tells of runs; with the name of a run it is that of runs."""
    assert "With the NAME of a run: Remove runs" in " ".join(wingspan_cli("rm", "--help").stdout.split())
    wingspan_cli("run", "-p", "local", "-n", "here", "--follow", "--", "true")
    assert wingspan_cli("rm", "here", "--help").stdout.startswith("Usage: wingspan rm [OPTIONS] NAME")


def test_a_run_that_has_ended_is_not_held(wingspan_cli) -> None:
    """There is nothing to hold, to release or to send away, which is what these commands say."""
    wingspan_cli("run", "-p", "local", "-n", "over", "--follow", "--", "true")
    for action in ("hold", "release", "vacate"):
        done = wingspan_cli(action, "over")
        assert (done.stdout, f"nothing to {action}" in done.stderr) == ("", True)


def test_render_on_the_command_line(folders: Path, wingspan_cli) -> None:
    """render writes the files and prints their names."""
    done = wingspan_cli("render", "htcondor", "made", "-n", "x", "--sweep", "a=1,2", "--", "echo", "{a}")
    assert done.returncode == 0, done.stderr
    assert {Path(line).name for line in done.stdout.split()} == {
        *("x.sub", "job.sh", "submit.sh", "interact.sh", "shell.sh", "README.md", "params.csv"),
    }


def test_interactive_shell(folders: Path, wingspan_cli, monkeypatch) -> None:
    """--interactive opens the user's shell in a folder with the inputs."""
    (folders / "in.txt").write_text("here")
    shell = folders / "shell.sh"
    shell.write_text("#!/bin/sh\ncat in.txt; exit 3\n")
    shell.chmod(0o755)
    monkeypatch.setenv("SHELL", str(shell))
    done = wingspan_cli("run", "--interactive", "-q", "-p", "local", "-i", "in.txt")
    assert (done.returncode, done.stdout) == (3, "here")
