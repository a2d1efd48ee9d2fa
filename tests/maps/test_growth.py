"""More memory for what was killed because it took more than it had asked for."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

import wingspan
from _on_disk import submissions
from _waiting import PATIENCE, until
from wingspan import Options
from wingspan.errors import SettingsError
from wingspan.jobs import JobDescription, Resources
from wingspan.maps._growth import exceeded, grown
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.htcondor_jobs import constraint_of
from wingspan.pools.slurm_queue import read_queue
from wingspan.pools.submit_description import submit_description
from wingspan.worker import failure

MB = 1 << 20


def test_what_takes_too_much_is_done_again_with_more(engine, tmp_path) -> None:
    """With twice as much, by workers of its own, on every engine; the status says so."""
    flag = tmp_path / "flag"

    def work(x: int, flag: Path = flag) -> tuple[int, int]:
        if x == 1 and not flag.exists():
            flag.touch()
            held = bytearray(300 * MB)
            for at in range(0, len(held), 4096):
                held[at] = 1
            threading.Event().wait(PATIENCE)  # until it is killed
        return x

    options = Options(request_memory="150MB", retry_memory="400MB", workers=1)
    m = wingspan.map(work, range(3), tag="grows", pool=engine, options=options)
    status = m.wait(PATIENCE)
    assert list(m) == [0, 1, 2]
    assert len(status.notes) == 1
    assert "1 component took more than it had asked for" in str(status)
    (again,) = [one for one in m.requests if one.components == (1,)]
    assert 300 * MB <= again.options.request_memory <= 400 * MB
    (entry,) = [entry for entry in submissions(m) if entry.get("needs")]
    made = m.provenance(1)
    assert int(made.worker.split(".")[0]) in range(entry["first"], entry["first"] + entry["count"])
    assert made.attempt == 2
    m.remove()


def test_growth_has_an_end(data_dir) -> None:
    """What takes more than the most that may be asked for has failed, and says why."""

    def greedy(x: int) -> None:
        held = bytearray(400 * MB)
        for at in range(0, len(held), 4096):
            held[at] = 1
        threading.Event().wait(PATIENCE)

    options = Options(request_memory="120MB", retry_memory="150MB", workers=1, retries=0)
    m = wingspan.map(greedy, [1], pool="local", options=options)
    status = m.wait(PATIENCE, errors_ok=True)
    assert status.counts[wingspan.ComponentStatus.ERRORED] == 1
    assert "its job asked for 150 MiB" in m.errors[0].text  # whenever it was looked at while it grew
    assert [one.options.request_memory for one in m.requests] == [150 * MB]
    assert len(status.notes) == 1


def test_requests_grow_up_to_the_most() -> None:
    """By twice at least, by more where more was taken; None when there is no more."""
    options = Options(request_memory="1GB", retry_memory="5GB")
    assert grown("memory", {}, options) == {"request_memory": 2048 * MB}
    assert grown("memory", {"request_cpus": 2}, options, taken=3 << 30) == {
        "request_cpus": 2,
        "request_memory": 3840 * MB,
    }
    assert grown("memory", {"request_memory": 4096 * MB}, options) == {"request_memory": 5120 * MB}
    assert grown("memory", {"request_memory": 5120 * MB}, options) is None
    assert grown("disk", {}, options) is None
    assert grown("disk", {}, Options(retry_disk="1GB")) == {"request_disk": 256 * MB}


def test_which_errors_count() -> None:
    """A kill for memory, and a full disk; no other crash, nothing that cannot be read."""
    assert exceeded(failure.dumps(failure.crash("crash", "killed", exceeded="memory"))) == "memory"
    assert exceeded(failure.dumps(failure.crash("crash", "killed", signal=9))) is None
    full = failure.describe(OSError(28, "No space left on device"), "call", lambda value: b"")
    assert exceeded(failure.dumps(full)) == "disk"
    assert exceeded(b"damaged") is None


def test_the_schedd_asks_for_more_where_it_can() -> None:
    """HTCondor 25.10 and later; older ones know no such commands."""
    job = JobDescription(
        name="a",
        executable="x",
        resources=Resources(memory=100 * MB, retry_memory=350 * MB, retry_disk=1 << 30),
    )
    text = submit_description(job, retries=True)
    assert "retry_request_memory = 204800KB, 358400KB\n" in text
    assert "retry_request_disk" not in text
    assert "retry" not in submit_description(job)


def test_slurm_says_what_ran_out_of_memory() -> None:
    """The state OUT_OF_MEMORY, whatever version writes it."""
    job = {"array_job_id": 7, "array_task_id": 0, "array_task_string": ""}
    for state in ("OUT_OF_MEMORY", ["OUT_OF_MEMORY"], ["COMPLETED"]):
        (task,) = read_queue({"jobs": [{**job, "job_state": state}]}, {"7"})
        assert task.exceeded == ("memory" if "OUT_OF_MEMORY" in state else None)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            {"request_memory": "4GB", "retry_memory": "2GB"},
            "retry_memory='2GB' is less than request_memory='4GB'",
        ),
        ({"retry_disk": -1}, "retry_disk=-1 is no size"),
        ({"retry_memory": [1, 2]}, "is no size"),
    ],
)
def test_silly_values(options, words) -> None:
    """Are refused where they are written."""
    with pytest.raises(SettingsError) as caught:
        Options(**options)
    assert words in caught.value.message


def test_held_jobs_ask_for_more(data_dir, personal_pool, tmp_path) -> None:
    """A job that HTCondor holds for its memory asks for twice as much and goes on; others stay held."""
    pool = PersonalHTCondorPool(personal_pool)
    submissions = []
    for subcode in ("102", "1"):
        submit = {"on_exit_hold": "NumJobStarts == 1", "on_exit_hold_subcode": subcode}
        job = JobDescription(
            name="held",
            executable="/bin/true",
            transfer_files=False,
            working_dir=tmp_path,
            submit=submit,
            resources=Resources(memory=40 * MB),
        )
        submissions.append(pool.submit(job))

    def states() -> dict[int, int]:
        wanted = constraint_of(submissions)
        return {int(ad["ClusterId"]): int(ad["JobStatus"]) for ad in pool.job_ads(wanted)}

    until(lambda: set(states().values()) == {5}, states)
    assert pool.enlarge(submissions, memory=30 * MB, disk=None) == 0
    assert pool.enlarge(submissions, memory=None, disk=1 << 40) == 0
    assert pool.enlarge(submissions, memory=70 * MB, disk=None) == 1
    until(lambda: list(states().values()) == [5], states)
    with personal_pool.activate():
        wanted = f"ClusterId == {submissions[0].cluster}"
        (ended,) = personal_pool.schedd().history(wanted, ["RequestMemory", "JobStatus"], 1)
    assert (ended["RequestMemory"], ended["JobStatus"]) == (70, 4)
    pool.act("remove", submissions, tmp_path, "the test is over")
