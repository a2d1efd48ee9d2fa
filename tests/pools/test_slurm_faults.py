"""What Slurm says in ways that this machine's does not: other versions, other people's jobs, tasks that
change meanwhile.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

import wingspan
from wingspan.delivery.bundle_source import machine_requirement
from wingspan.errors import PoolError, SubmitError
from wingspan.jobs import JobDescription, Submission
from wingspan.maps._jobs import Job
from wingspan.maps._keeper_events import GiveUp
from wingspan.maps._lost import why_lost
from wingspan.pools import JobState, slurm, slurm_commands
from wingspan.pools._select import slurm_configured
from wingspan.pools.slurm import SlurmPool
from wingspan.pools.slurm_queue import read_queue

#: As 24.11.5 has said it.
FORGOTTEN = PoolError("squeue: slurm_load_jobs error: Invalid job id specified")


def number(value: int | None) -> dict[str, Any]:
    return {"set": value is not None, "infinite": False, "number": value or 0}


def task(cluster: int, which: int | str, *states: str, reason: str = "None") -> dict[str, Any]:
    """What ``squeue --json`` of 24.11.5 says of a task, or of several that wait."""
    single = isinstance(which, int)
    return {
        "array_job_id": number(cluster),
        "array_task_id": number(which if isinstance(which, int) else None),
        "array_task_string": "" if single else which,
        "job_state": list(states),
        "state_reason": reason,
        "exit_code": {
            "status": ["SUCCESS"],
            "return_code": number(0),
            "signal": {"id": number(None), "name": ""},
        },
        "nodes": "",
    }


def old(cluster: int, which: int, state: str, code: int = 0) -> dict[str, Any]:
    """The same by 22.05.8."""
    return {
        "array_job_id": cluster,
        "array_task_id": which,
        "array_task_string": "",
        "job_state": state,
        "state_reason": "None",
        "exit_code": code,
        "nodes": "node",
    }


class FakeSlurm:
    """Gives one answer of squeue after the other, and refuses what it is told to refuse."""

    def __init__(self, *answers: Sequence[dict[str, Any]] | PoolError) -> None:
        self.answers = list(answers)
        self.refusals: dict[str, PoolError] = {}
        self.told: list[tuple[str, ...]] = []

    def __call__(self, *words: str, given: str | None = None) -> str:
        if words[0] != "squeue":
            self.told.append(words)
            if words[1] in self.refusals:
                raise self.refusals[words[1]]
            return ""
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, PoolError):
            raise answer
        return json.dumps({"jobs": answer})


@pytest.fixture
def says(monkeypatch: pytest.MonkeyPatch) -> Any:
    def install(*answers: Sequence[dict[str, Any]] | PoolError) -> FakeSlurm:
        fake = FakeSlurm(*answers)
        monkeypatch.setattr(slurm_commands, "_has_json", None)
        monkeypatch.setattr(slurm_commands, "call", fake)
        return fake

    return install


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "slurm").mkdir()
    return tmp_path


def write(folder: Path, name: str, *states: str) -> None:
    lines = [json.dumps({"state": state, "time": 1.0}) for state in states]
    (folder / "slurm" / name).write_text("".join(f"{line}\n" for line in lines))


def last(folder: Path, name: str) -> str:
    return str(json.loads((folder / "slurm" / name).read_text().splitlines()[-1])["state"])


def submission(count: int) -> Submission:
    return Submission(pool="slurm", cluster="7", count=count)


def test_a_job_that_slurm_has_forgotten_has_left(says: Any, folder: Path) -> None:
    """From 23.02 on squeue fails for a single job after MinJobAge: what ran is lost, what waited was
    cancelled; none is asked for for ever.
    """
    says(FORGOTTEN)
    write(folder, "7.0", "running")
    watcher = SlurmPool().watch([submission(2)], folder)
    assert [event.state for event in watcher.poll()] == [JobState.RUNNING]
    ran, waited = watcher.ask()
    assert (ran.state, ran.code, ran.signal, waited.state) == (
        JobState.COMPLETED,
        None,
        None,
        JobState.REMOVED,
    )
    assert "without a word" in str(ran.reason)
    assert "cancelled" in str(waited.reason)
    assert list(watcher.ask()) == []


def test_no_answer_is_no_end(says: Any, folder: Path) -> None:
    """Other errors of squeue tell nothing of the jobs."""
    says(PoolError("squeue: slurm_load_jobs error: Socket timed out on send/recv operation"))
    with pytest.raises(PoolError, match="timed out"):
        SlurmPool().watch([submission(1)], folder).ask()


def test_jobs_of_others_may_be_as_they_like(says: Any) -> None:
    """22.05 tells of everybody's, whatever was asked for; those that cannot be read are nobody's business
    here.
    """
    cut = task(8, "0,2,5-7,9,11,13,15,17,19,21,23,25,27,29,31,33,35,37,47-49...", "PENDING")
    says([cut, {}, task(7, "0-1%1", "PENDING")])
    assert [each.name for each in slurm_commands.queue(["7"])] == ["7_0", "7_1"]
    says([{**cut, "array_job_id": 7}])
    with pytest.raises(PoolError, match="cannot be read"):
        slurm_commands.queue(["7"])


def test_what_is_no_json_is_an_error_of_the_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    """An answer that was cut, or that a plugin is missing for."""
    monkeypatch.setattr(slurm_commands, "call", lambda *_: '{"jobs": [')
    with pytest.raises(PoolError, match="cannot be read"):
        slurm_commands.queue(["7"])


def test_programs_speak_any_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of jobs are bytes; and squeue is asked not to cut the numbers of an array."""
    program = tmp_path / "squeue"
    program.write_bytes(b'#!/bin/sh\nprintf \'{"jobs": [], "name": "caf\\351 %s"}\' "$SLURM_BITSTR_LEN"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    assert slurm_commands.call("squeue") == '{"jobs": [], "name": "caf� 0"}'
    assert slurm_commands.queue(["7"]) == []


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("TIMEOUT", "ask for more"),
        ("OUT_OF_MEMORY", "ask for more"),
        ("PREEMPTED", "preempted"),
        ("NODE_FAIL", "node failed"),
        ("BOOT_FAIL", "boot"),
        ("LAUNCH_FAILED", "LAUNCH_FAILED"),
    ],
)
def test_only_who_cancels_takes_a_job_away(name: str, words: str) -> None:
    """What Slurm itself ends has ended, without an exit code and with a reason."""
    for answer in ([task(7, 0, name)], [old(7, 0, name)], [task(7, 0, name, "COMPLETING")]):
        (each,) = read_queue({"jobs": answer}, {"7"})
        assert (each.state, each.code, each.signal) == (JobState.COMPLETED, None, None)
        assert words in str(each.reason)
    for answer in ([task(7, 0, "CANCELLED")], [old(7, 0, "CANCELLED")]):
        (each,) = read_queue({"jobs": answer}, {"7"})
        assert (each.state, each.reason) == (JobState.REMOVED, "it was cancelled")
    (each,) = read_queue({"jobs": [old(7, 0, "FAILED", 3 << 8)]}, {"7"})
    assert (each.state, each.code) == (JobState.COMPLETED, 3)


def test_a_hold_reaches_all_that_it_can(says: Any, folder: Path) -> None:
    """A task that has ended meanwhile makes scontrol fail: the others are held and say so, those that
    wait too; it is no error.
    """
    write(folder, "7.0", "running")
    write(folder, "7.1", "running")
    running = task(7, 0, "RUNNING")
    held = task(7, "2", "PENDING", reason="JobHeldUser")
    fake = says(
        [running, task(7, 1, "RUNNING"), task(7, "2", "PENDING")],
        [running, task(7, 1, "RUNNING"), task(7, "2", "PENDING")],
        [task(7, 0, "PENDING", "COMPLETING", reason="JobHeldUser"), task(7, 1, "COMPLETED"), held],
    )
    fake.refusals["requeuehold"] = PoolError("scontrol: 7_1: Job has already finished")
    SlurmPool().act("hold", [submission(3)], folder, "why")
    assert fake.told == [
        ("scontrol", "requeuehold", "incomplete", "7_0,7_1"),
        ("scontrol", "hold", "7_2"),
    ]
    assert [last(folder, f"7.{which}") for which in range(3)] == ["held", "running", "held"]


def test_a_hold_that_fails_says_so(says: Any, folder: Path) -> None:
    """Refused again and again, it is an error; what was held before is written down."""
    fake = says(
        [task(7, 0, "RUNNING"), task(7, "1", "PENDING")],
        [task(7, 0, "RUNNING"), task(7, "1", "PENDING")],
        [task(7, 0, "RUNNING"), task(7, "1", "PENDING", reason="JobHeldUser")],
    )
    fake.refusals["requeuehold"] = PoolError("scontrol: 7_0: Requested operation is presently disabled")
    with pytest.raises(PoolError, match="presently disabled"):
        SlurmPool().act("hold", [submission(2)], folder, "why")
    assert last(folder, "7.1") == "held"
    assert not (folder / "slurm" / "7.0").exists()


def test_what_has_ended_is_not_sent_back(says: Any, folder: Path) -> None:
    """Slurm cleans up after it, or has not seen its end yet: neither a hold nor a vacate touches it."""
    write(folder, "7.0", "running", "completed")
    write(folder, "7.1", "running", "completed")
    fake = says([task(7, 0, "RUNNING"), old(7, 1, "COMPLETING"), task(7, 2, "COMPLETED", "COMPLETING")])
    SlurmPool().act("vacate", [submission(3)], folder, "why")
    SlurmPool().act("hold", [submission(3)], folder, "why")
    assert fake.told == []


def test_an_end_stays_an_end(says: Any, folder: Path) -> None:
    """What was written after it, by who took the job for a running one, is not read."""
    write(folder, "7.0", "running", "completed", "held")
    events = list(SlurmPool().watch([submission(1)], folder).poll())
    assert [event.state for event in events] == [JobState.RUNNING, JobState.COMPLETED]


def test_a_release_waits_for_held_tasks_only(
    says: Any, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As long as their nodes clean up after them, asking once a second; a task that ends by itself is not
    waited for.
    """
    slept: list[float] = []
    monkeypatch.setattr(slurm.time, "sleep", slept.append)
    write(folder, "7.0", "running", "held")
    write(folder, "7.1", "running", "completed")
    ends = old(7, 1, "COMPLETING")
    fake = says(
        [old(7, 0, "COMPLETING"), ends],
        [task(7, "0", "PENDING", reason="JobHeldUser"), ends],
        [task(7, "0", "PENDING", reason="JobHeldUser"), ends],
        [task(7, "0", "PENDING"), ends],
    )
    SlurmPool().act("release", [submission(2)], folder, "why")
    assert slept == [1.0]
    assert fake.told == [("scontrol", "release", "7_0")]
    assert [last(folder, f"7.{which}") for which in range(2)] == ["idle", "completed"]


def test_many_records_are_read_less_often(folder: Path) -> None:
    """A thousand workers: 500 files a second are opened, not five thousand."""
    for which in range(1000):
        write(folder, f"7.{which}", "running")
    watcher = SlurmPool().watch([submission(1000)], folder)
    begin = slurm.time.monotonic()
    assert len(list(watcher.poll())) == 1000
    assert watcher._next_look - begin >= 2.0


def test_other_clusters_are_refused(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Jobs that a profile sends elsewhere could be neither watched nor removed."""
    monkeypatch.setenv("WINGSPAN_CONFIG_DIR", str(tmp_path))
    (tmp_path / "config.toml").write_text('[profile.far]\ntitle = "far"\nsbatch = { clusters = "other" }\n')
    job = JobDescription(name="a", executable="/bin/true", working_dir=tmp_path, profile="far")
    with pytest.raises(SubmitError, match="other clusters") as caught:
        SlurmPool().submit(job)
    assert "login node" in str(caught.value.hint)


def test_slurm_is_told_no_requirements() -> None:
    """An environment for another architecture is the partition's business."""
    assert machine_requirement("linux-riscv64", SlurmPool()) is None


def test_a_cluster_is_found_wherever_it_was_installed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beside its programs; or sinfo knows, which is not waited for for long."""
    monkeypatch.delenv("SLURM_CONF", raising=False)
    monkeypatch.setattr("wingspan.pools._select._SLURM_FOLDERS", ())
    (tmp_path / "bin").mkdir()
    monkeypatch.setenv("PATH", str(tmp_path / "bin"), prepend=":")

    def program(name: str, script: str) -> None:
        path = tmp_path / "bin" / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    program("sbatch", "")
    program("sinfo", "echo debug")
    assert slurm_configured() == "sinfo knows a cluster"
    program("sinfo", "exit 1")
    assert slurm_configured() is None
    monkeypatch.setattr("wingspan.pools._select._SINFO_SECONDS", 0.05)
    program("sinfo", "exec sleep 600")
    assert slurm_configured() is None
    (tmp_path / "etc").mkdir()
    (tmp_path / "etc" / "slurm.conf").touch()
    assert slurm_configured() == f"{tmp_path}/etc/slurm.conf is there"


def test_a_component_that_is_given_up_says_what_ended_its_workers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that takes longer than a worker's time ends with what to ask for, not with a guess."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(tmp_path))
    m = wingspan.map(abs, [-1], pool="local", options=wingspan.Options(workers=0))
    (ended,) = read_queue({"jobs": [task(7, 0, "TIMEOUT")]}, {"7"})
    m._keeper.jobs.by_worker[0] = Job(worker=0, pool="slurm", state=ended.state, reason=ended.reason)
    m._keeper.refresh()
    m._keeper._do_give_up(GiveUp((0,), why_lost(m._keeper.jobs, 4)))
    assert (
        'times: it ran for longer than its time limit: ask for more (--time 4h, Options(time="4h"))'
        in str(m.errors[0].text)
    )
    m.remove()
