"""Runs and maps on a real Slurm cluster."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _on_disk import submissions
from _slurm_cluster import SlurmCluster
from _waiting import PATIENCE, until
from wingspan.errors import PoolError, PoolUnavailable, SubmitError
from wingspan.jobs import JobDescription, Submission
from wingspan.pools import choose_pool, get_pool, slurm_commands, waiting
from wingspan.pools._explain import explain_choice
from wingspan.runs import Run, RunFailed, load_runs

pytestmark = pytest.mark.slurm


@pytest.fixture(autouse=True)
def cluster(
    slurm_cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[SlurmCluster]:
    """A login node of the cluster, with a data folder of the test's own; its jobs are gone afterwards."""
    for name, value in slurm_cluster.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("WINGSPAN_POOL", raising=False)
    monkeypatch.delenv("CONDOR_CONFIG", raising=False)
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path / "my data"))
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path / "config"))
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    yield slurm_cluster
    for run in load_runs():
        run.remove(force=True)


def shell(script: str, **options: object) -> Run:
    return wingspan.run(["sh", "-c", script], pool="slurm", **options)


def test_a_run_goes_there_and_its_files_come_back() -> None:
    """A command runs in an allocation, with its inputs; its outputs, its words and its exit code come
    back. An output that has an address goes there.
    """
    Path("in.txt").write_text("payload")
    run = shell(
        "cp in.txt out.txt; cp in.txt sent.txt; echo $SLURM_JOB_NAME; nproc >&2",
        inputs=["in.txt"],
        outputs=["out.txt", f"sent.txt=file://{Path.cwd()}/there/{{number}}.txt"],
        name="first",
    )
    status = run.wait(PATIENCE)
    assert (status.state, status.jobs[0].code) == ("completed", 0)
    assert run.stdout() == "first\n"
    run.fetch()
    assert Path("out.txt").read_text() == Path("there/0.txt").read_text() == "payload"


def test_a_sweep_is_one_array(cluster: SlurmCluster) -> None:
    """Each row is a task of one array job, with its parameters, and fails by itself."""
    run = shell('echo "it is {x}"; exit {x}', sweep={"x": ["0", "3", "0"]})
    jobs = run.wait(PATIENCE).jobs
    assert [(job.state, job.code) for job in jobs] == [("completed", 0), ("failed", 3), ("completed", 0)]
    assert [run.stdout(number) for number in range(3)] == ["it is 0\n", "it is 3\n", "it is 0\n"]


def test_held_jobs_stop_and_go_on() -> None:
    """A hold takes a running job off its node and keeps it in the queue; released, it begins again; rm
    empties the queue.
    """
    run = shell('if [ -e "$MARK" ]; then exit 0; fi; sleep 600', variables={"MARK": str(Path.cwd() / "mark")})
    until(lambda: run.status().state == "running")
    run.hold()
    until(lambda: run.status().state == "held")
    Path("mark").touch()
    run.release()
    assert run.wait(PATIENCE).state == "completed"


def test_a_vacated_job_comes_back() -> None:
    """It is requeued, and begins again."""
    run = shell('if [ -e "$MARK" ]; then exit 0; fi; sleep 600', variables={"MARK": str(Path.cwd() / "mark")})
    until(lambda: run.status().state == "running")
    Path("mark").touch()
    run.vacate()
    assert run.wait(PATIENCE).state == "completed"


def test_a_job_that_others_cancel_is_known_to_be_gone(
    cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Slurm is asked when the job is silent: whoever waits does not wait for ever, and learns why."""
    import wingspan.runs._watch as module

    monkeypatch.setattr(module, "_SILENCE", 1.0)
    run = shell("sleep 600")
    until(lambda: run.status().state == "running")
    cluster.command("scancel", submissions(run)[0]["cluster"])
    (job,) = run.wait(PATIENCE).jobs
    assert (job.state, job.reason) == ("removed", "it was cancelled")


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Jobs that wait are asked about at once."""
    monkeypatch.setattr(waiting, "PATIENCE", 0.5)


@pytest.mark.usefixtures("impatient")
def test_what_waits_for_others_says_so() -> None:
    """Beside a job that has the whole cluster, a run and a map say that they wait, and Slurm's code for
    it.
    """
    first = shell("sleep 600", cpus=4)
    until(lambda: first.status().state == "running")
    second = shell("true")
    m = wingspan.map(abs, [-1], pool="slurm")
    try:
        until(lambda: second.status().message is not None and m.status().message is not None)
        for message in (second.status().message, m.status().message):
            assert "waits: " in str(message)
            assert "(Resources" in str(message) or "(Priority" in str(message)
        assert "1 of 1 nodes of the partition test could run it" in f"{second.status()} {m.status()}"
    finally:
        m.remove()


@pytest.fixture
def slurm_of_2020(cluster: SlurmCluster, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SlurmCluster:
    """The cluster, with commands that refuse every option which Slurm 20.11 does not know."""
    real = {name: shutil.which(name, path=os.environ["PATH"]) for name in _NEWER}
    folder = tmp_path / "slurm-20.11"
    folder.mkdir()
    for name, options in _NEWER.items():
        program = folder / name
        cases = "|".join(part for option in options.split() for part in (option, f"{option}=*"))
        program.write_text(
            f"""#!/bin/sh
for word; do
    case $word in
    {cases}) echo "{name}: unrecognized option '$word'" >&2; exit 1 ;;
    esac
done
exec {real[name]} "$@"
"""
        )
        program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    monkeypatch.setattr(slurm_commands, "_has_json", None)
    with pytest.raises(PoolError, match="unrecognized option"):
        slurm_commands.call("squeue", "--json")
    return cluster


#: Options that are newer than 20.11 (release notes of 21.08 to 25.11); of --me it is in doubt.
_NEWER = {
    "squeue": "--json --yaml --me --only-job-state --expand-patterns",
    "sinfo": "--json --yaml",
    "scontrol": "--json --yaml --details-json",
    "scancel": "--me --cron --admin-comment",
    "sbatch": "--container --container-id --prefer --tres-bind --tres-per-task --oom-kill-step --segment --external",
    "srun": "--container --container-id --prefer --tres-bind --tres-per-task --external --external-launcher --send-libs",
}


@pytest.mark.usefixtures("impatient")
def test_slurm_of_2020_will_do(slurm_of_2020: SlurmCluster) -> None:
    """With commands that know no more than those of Slurm 20.11, which has no JSON, runs and maps run, are
    explained, held, released, found again and cancelled.
    """
    first = shell("sleep 600", cpus=4)
    until(lambda: first.status().state == "running")
    second = shell("exit 3", name="second")
    m = wingspan.map(abs, [-1, -2], pool="slurm")
    until(lambda: "1 of 1 nodes of the partition test could run it" in f"{second.status()} {m.status()}")
    second.hold()
    until(lambda: second.status().state == "held")
    found = [note for _, note in get_pool("slurm").find(m.path, ask=True)]
    assert len(found) == 1
    assert found[0]
    first.cancel()
    assert sorted(m) == [1, 2]
    second.release()
    assert second.wait(PATIENCE).jobs[0].code == 3
    assert get_pool("slurm").queued_jobs() is not None
    assert slurm_commands._has_json is False


@pytest.mark.usefixtures("impatient")
def test_nodes_that_are_away_are_told(cluster: SlurmCluster) -> None:
    """Where all nodes that could run a job are drained, the status says so."""
    cluster.command("scontrol", "update", "nodename=node", "state=drain", "reason=test")
    try:
        run = shell("true")
        until(lambda: "all of them are down or drained" in str(run.status().message))
        run.cancel()
    finally:
        cluster.command("scontrol", "update", "nodename=node", "state=resume")


def lines_of(path: str) -> list[str]:
    return Path(path).read_text().splitlines() if Path(path).exists() else []


def test_a_job_that_is_requeued_again_and_again_says_so(cluster: SlurmCluster) -> None:
    """Slurm starts a job anew each time its node gives up on it: the status counts the starts."""
    run = shell('echo begun >>"$DIARY"; sleep 600', variables={"DIARY": str(Path.cwd() / "diary")})
    number = submissions(run)[0]["cluster"]

    def has_begun(times: int) -> bool:
        cluster.start_now(number)
        return len(lines_of("diary")) == times

    for starts in range(1, 4):
        until(lambda: has_begun(starts))
        cluster.command("scontrol", "requeue", number)
    until(lambda: "started it again 3 times" in str(run.status().message))


def test_a_job_that_slurm_will_not_start_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """More time than the partition gives: sbatch takes the job, it waits for ever, and the status names
    the limit.
    """
    import wingspan.runs._watch as module

    monkeypatch.setattr(module, "_SILENCE", 1.0)
    run = shell("true", time="30 d")
    until(lambda: run.status().jobs[0].reason is not None)
    (job,) = run.status().jobs
    assert job.state == "idle"
    assert "PartitionTimeLimit" in str(job.reason)
    assert str(job.reason) in str(run.status())


def test_a_record_that_a_killed_job_left_unfinished_is_passed_over() -> None:
    """What such a job wrote (seen: no time, as the signal ended date, too) does not keep the status from
    being read.
    """
    run = shell("while [ ! -e %s ]; do sleep 0.1; done" % (Path.cwd() / "gate"))
    until(lambda: run.status().state == "running")
    (record,) = (run.path / "slurm").iterdir()
    with record.open("a") as file:
        file.write('{"state": "running", "time": , "host": "a"}\n[]\n')
    assert run.status().state == "running"
    Path("gate").touch()
    assert run.wait(PATIENCE).state == "completed"


def test_a_rerun_that_slurm_refuses_loses_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The scheduler is not there: outputs and logs of the job that was to be done again are as they were."""
    run = shell("echo a >o.txt; echo said", outputs=["o.txt"])
    assert run.wait(PATIENCE).state == "completed"
    with monkeypatch.context() as patch:
        patch.setenv("SLURM_CONF", str(Path.cwd() / "nowhere.conf"))
        with pytest.raises(PoolUnavailable):
            run.rerun([0])
    assert run.outputs()["o.txt"].read_text() == "a\n"
    assert run.stdout() == "said\n"
    assert run.status().state == "completed"
    run.rerun([0])
    assert run.wait(PATIENCE).state == "completed"
    assert not list(run.path.glob(".earlier*"))


def test_rm_empties_the_queue(cluster: SlurmCluster) -> None:
    """No job of a run that was removed is left."""
    run = shell("sleep 600")
    job = submissions(run)[0]["cluster"]
    until(lambda: run.status().state == "running")
    run.remove()
    cluster.wait_for(job)


def test_what_no_node_has_is_refused() -> None:
    """The error is Slurm's, and nothing is left behind."""
    with pytest.raises(SubmitError, match="Requested node configuration is not available"):
        shell("true", memory="900 GB")
    assert load_runs() == []


def test_a_profile_speaks_to_sbatch(tmp_path: Path) -> None:
    """Options of the site's profile are given to sbatch, which refuses a partition that is not there."""
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "config.toml").write_text(
        '[profile.here]\ntitle = "here"\n[profile.here.sbatch]\npartition = "absent"\n'
    )
    with pytest.raises(SubmitError, match="partition"):
        shell("true", profile="here")


def test_a_map_runs_there() -> None:
    """Workers are tasks of an array; they share the components by the file system, and failures are told."""

    def double(number: int) -> tuple[int, bool]:
        return 2 * number, "SLURM_JOB_ID" in os.environ

    m = wingspan.map(double, range(500), pool="slurm", options=wingspan.Options(workers=3))
    m.wait(timeout=PATIENCE)
    assert m[:] == [(2 * number, True) for number in range(500)]
    m.remove()


def test_a_worker_has_the_time_that_was_asked_for(cluster: SlurmCluster) -> None:
    """It is --time."""
    m = wingspan.map(abs, [1], pool="slurm", options=wingspan.Options(time="2h"))
    job = submissions(m)[0]["cluster"]
    assert "TimeLimit=02:00:00" in cluster.command("scontrol", "show", "job", job)
    m.wait(timeout=PATIENCE)
    m.remove()


def test_it_is_chosen_on_a_login_node(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where nobody names a pool, a configured cluster is used, and doctor says why; one that does not
    answer is an error.
    """
    assert choose_pool().pool.kind == "slurm"
    (chosen,) = [one for one in explain_choice() if one.chosen]
    assert (chosen.kind, "the cluster answers" in chosen.reason) == ("slurm", True)
    monkeypatch.setenv("SLURM_CONF", str(tmp_path / "absent.conf"))
    with pytest.raises(PoolUnavailable, match="absent"):
        choose_pool("slurm")
    with pytest.raises(PoolUnavailable, match="SLURM_CONF is"):
        choose_pool()
    assert [(one.chosen, one.usable) for one in explain_choice() if one.kind == "slurm"] == [(True, False)]


def test_workers_that_slurm_takes_away_come_back() -> None:
    """Held, released and sent off their nodes, workers resume what they had claimed; every component is
    there once.
    """
    gate = Path.cwd() / "gate"

    def wait_at(number: int, gate: str = str(gate)) -> int:
        import os

        while not os.path.exists(gate):  # noqa: PTH110 - in a worker
            time.sleep(0.05)
        return number

    options = wingspan.Options(workers=2, block_size=5)
    m = wingspan.map(wait_at, range(20), pool="slurm", options=options)
    until(lambda: m.status().workers.get("running", 0) == 2)
    m.hold()
    until(lambda: m.status().workers.get("held", 0) == 2)
    m.release()
    until(lambda: m.status().workers.get("running", 0) == 2)
    gate.touch()
    m.vacate()
    m.wait(timeout=PATIENCE)
    assert m[:] == list(range(20))
    m.remove()


def test_what_is_done_is_not_done_again(cluster: SlurmCluster) -> None:
    """A run that has ended stays ended, whoever vacates, holds or requeues it: its outputs are those of
    its only execution.
    """
    run = shell("echo once; echo once >>o.txt", outputs=["o.txt"])
    assert run.wait(PATIENCE).state == "completed"
    run.vacate()
    run.hold()
    task = f"{submissions(run)[0]['cluster']}_0"
    until(lambda: "JobState=COMPLETED" in cluster.command("scontrol", "show", "job", task))
    cluster.command("scontrol", "requeue", task)
    cluster.wait_for(task)
    assert (run.status().state, run.stdout()) == ("completed", "once\n")


def test_a_failure_that_is_requeued_stays_one(cluster: SlurmCluster) -> None:
    """For Slurm, too: jobs that depend on it (afterok) are not begun."""
    run = shell("echo once; exit 3")
    assert run.wait(PATIENCE).jobs[0].code == 3
    task = f"{submissions(run)[0]['cluster']}_0"
    until(lambda: "JobState=FAILED" in cluster.command("scontrol", "show", "job", task))
    cluster.command("scontrol", "requeue", task)
    until(lambda: "Restarts=1" in cluster.command("scontrol", "show", "job", task))
    cluster.wait_for(task)
    assert "ExitCode=3:0" in cluster.command("scontrol", "show", "job", task)
    assert (run.status().jobs[0].code, run.stdout()) == (3, "once\n")


def test_time_that_is_over_fails_a_run_and_not_a_map(
    cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run says what to ask for; other workers of a map go on with what those had begun whose time was
    over.
    """
    import wingspan.maps._keeper_state as keeper
    import wingspan.runs._watch as module

    monkeypatch.setattr(module, "_SILENCE", 1.0)
    monkeypatch.setattr(keeper, "ASK_AFTER_SECONDS", 1.0)
    gate = Path.cwd() / "gate"

    def wait_at(number: int, gate: str = str(gate)) -> int:
        import os

        while number > 4 and not os.path.exists(gate):  # noqa: PTH110 - in a worker
            time.sleep(0.05)
        return number

    run = shell("sleep 600", time="1 h")
    options = wingspan.Options(workers=2, block_size=5)
    m = wingspan.map(wait_at, range(20), pool="slurm", options=options)
    until(lambda: run.status().state == "running" and m.status().workers.get("running", 0) == 2)
    workers = submissions(m)[0]["cluster"]
    # Slurm looks at its clock twice a minute: both at once.
    cluster.end_soon(workers)
    cluster.end_soon(submissions(run)[0]["cluster"])
    (job,) = run.wait(PATIENCE).jobs
    assert (job.state, job.code) == ("failed", None)
    assert "--time" in str(job.reason)
    with pytest.raises(RunFailed, match="time limit"):
        run.check()
    cluster.wait_for(workers)
    gate.touch()
    m.wait(timeout=PATIENCE)
    assert m[:] == list(range(20))
    assert len(submissions(m)) > 1
    m.remove()


def test_long_arrays_go_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the cluster takes two tasks in an array, a sweep of five is three arrays, each job with its
    own row, words and outputs.
    """
    from wingspan.pools import slurm_commands

    assert slurm_commands.largest_array() == 1001  # what Slurm has where nothing is configured
    monkeypatch.setattr(slurm_commands, "SMALL_ARRAY", 1)
    monkeypatch.setattr(slurm_commands, "largest_array", lambda: 2)
    rows = ["a", "b b", "c", "d", "e"]
    run = shell('echo "it is {x}"; echo {x} >o.txt; echo "not {x}" >&2', sweep={"x": rows}, outputs=["o.txt"])
    assert [job.state for job in run.wait(PATIENCE).jobs] == ["completed"] * 5
    assert [(entry["first"], entry["count"]) for entry in submissions(run)] == [(0, 2), (2, 2), (4, 1)]
    assert [run.stdout(each) for each in range(5)] == [f"it is {row}\n" for row in rows]
    assert [run.stderr(each) for each in range(5)] == [f"not {row}\n" for row in rows]
    assert [run.outputs(each)["o.txt"].read_text() for each in range(5)] == [f"{row}\n" for row in rows]
    m = wingspan.map(abs, range(-50, 0), pool="slurm", options=wingspan.Options(workers=3))
    m.wait(timeout=PATIENCE)
    assert [(entry["first"], entry["count"]) for entry in submissions(m)] == [(0, 2), (2, 1)]
    assert sorted(m[:]) == list(range(1, 51))
    m.remove()


def test_of_parts_one_is_refused(cluster: SlurmCluster, monkeypatch: pytest.MonkeyPatch) -> None:
    """A map goes on with the workers that it has; of a run nothing is left in the queue."""
    from wingspan.pools import slurm, slurm_commands

    took: list[str] = []
    submit = slurm.SlurmPool.submit

    def once(self: slurm.SlurmPool, job: JobDescription) -> Submission:
        if len(took) % 2:
            took.append("")
            raise SubmitError("Slurm refused the jobs: QOSMaxSubmitJobPerUserLimit")
        submission = submit(self, job)
        took.append(submission.cluster)
        return submission

    monkeypatch.setattr(slurm_commands, "SMALL_ARRAY", 1)
    monkeypatch.setattr(slurm_commands, "largest_array", lambda: 2)
    monkeypatch.setattr(slurm.SlurmPool, "submit", once)
    m = wingspan.map(abs, range(-50, 0), pool="slurm", options=wingspan.Options(workers=3))
    m.wait(timeout=PATIENCE)
    assert [entry["count"] for entry in submissions(m)] == [2]
    m.remove()
    with pytest.raises(SubmitError, match="QOSMaxSubmit"):
        shell("sleep 60{x}", sweep={"x": [1, 2, 3]})
    assert load_runs() == []
    cluster.wait_for(took[2])


def test_scattered_arrays_are_read_in_full(cluster: SlurmCluster) -> None:
    """squeue cuts their numbers at 64 bytes where it is not asked for all."""
    from wingspan.pools.slurm_commands import queue

    numbers = [*range(0, 60, 2), *range(100, 160, 3)]
    listed = ",".join(map(str, numbers))
    job = cluster.command("sbatch", "--parsable", "--hold", f"--array={listed}", "--wrap", "true").strip()
    assert sorted(task.number for task in queue([job])) == numbers
    cluster.command("scancel", job)
    cluster.wait_for(job)
