"""The command line of runs, in processes of its own."""

from __future__ import annotations

import json
from pathlib import Path

import wingspan


def test_a_run_from_beginning_to_end(folders: Path, wingspan_cli) -> None:
    """run, wait, status, logs, fetch, rerun, hold, release and rm do what they say, by the run's name."""
    (folders / "in.txt").write_text("payload\n")
    started = wingspan_cli(
        *("run", "-p", "local", "-n", "mine", "-i", "in.txt", "-o", "out/o.txt", "--set", "MINE=a b"),
        *("--", "sh", "-c", 'mkdir out; cp in.txt out/o.txt; echo "said $MINE"; echo grumble >&2'),
    )
    assert started.returncode == 0, started.stderr
    assert "mine: 1 job in the local pool" in started.stdout
    assert wingspan_cli("wait", "mine").returncode == 0
    status = json.loads(wingspan_cli("status", "mine", "--json").stdout)
    assert (status["state"], status["jobs"][0]["code"]) == ("completed", 0)
    assert "mine: completed" in wingspan_cli("status", "mine").stdout
    logs = wingspan_cli("logs", "mine")
    assert (logs.stdout, logs.stderr) == ("said a b\n", "grumble\n")
    assert wingspan_cli("logs", "mine", "--stderr").stdout == "grumble\n"
    assert wingspan_cli("fetch", "mine").stdout == "out/o.txt\n"
    assert (folders / "out/o.txt").read_text() == "payload\n"
    assert "nothing to do again" in wingspan_cli("rerun", "mine").stdout
    assert "1 job again" in wingspan_cli("rerun", "mine", "--all").stdout
    assert wingspan_cli("wait", "mine").returncode == 0
    for action in ("hold", "release"):
        assert wingspan_cli(action, "mine").returncode == 0
    assert wingspan_cli("rm", "mine").stdout == "mine: removed\n"
    assert json.loads(wingspan_cli("runs", "--json").stdout) == []


def test_follow_ends_as_the_job_does(wingspan_cli) -> None:
    """--follow prints both streams and exits with the job's exit code."""
    done = wingspan_cli("run", "-p", "local", "-f", "-q", "--", "sh", "-c", "echo out; echo err >&2; exit 9")
    assert done.returncode == 9
    assert "out\n" in done.stdout
    assert "err\n" in done.stderr


def test_a_failure_is_an_exit_code(wingspan_cli) -> None:
    """wait and fetch of a run without its output exit with an error that names it; timeouts have their own code."""
    wingspan_cli("run", "-q", "-p", "local", "-n", "bad", "-o", "never.pt", "--", "true")
    waited = wingspan_cli("wait", "bad")
    assert waited.returncode == 120
    assert "never.pt" in waited.stderr
    fetched = wingspan_cli("fetch", "bad", "--wait")
    assert fetched.returncode == 1
    assert "never.pt" in fetched.stderr
    wingspan_cli("run", "-q", "-p", "local", "-n", "long", "--", "sleep", "100")
    assert wingspan_cli("wait", "long", "--timeout", "0.2").returncode == 124


def test_maps_and_runs_share_commands(wingspan_cli) -> None:
    """status and rm of a map's tag are the map's, of a run's name the run's; of neither, an error."""
    wingspan.map(abs, [-1], tag="amap", pool="local").wait()
    wingspan.run(["true"], name="arun", pool="local").wait()
    assert "abs on 1 inputs" in wingspan_cli("status", "amap").stdout
    assert "arun: completed, true" in wingspan_cli("status", "arun").stdout
    assert wingspan_cli("status", "neither").returncode == 1
    assert wingspan_cli("rm", "amap").returncode == 0
    assert wingspan_cli("rm", "arun").returncode == 0
    assert wingspan.tags() == ()


def test_render_on_the_command_line(folders: Path, wingspan_cli) -> None:
    """render writes the files and prints their names."""
    done = wingspan_cli("render", "htcondor", "made", "-n", "x", "--sweep", "a=1,2", "--", "echo", "{a}")
    assert done.returncode == 0, done.stderr
    assert {Path(line).name for line in done.stdout.split()} == {
        *("x.sub", "job.sh", "submit.sh", "interact.sh", "README.md", "params.csv"),
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
