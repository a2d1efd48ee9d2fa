"""Workers of a personal pool that wait between maps, on a real HTCondor: they help at once, and are in
nobody's way.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import wingspan
from _jobs import finished, submit
from _on_disk import submissions
from _waiting import PATIENCE, until
from wingspan import ComponentStatus, Map, Options
from wingspan.pools import get_pool, warm
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool
from wingspan.pools.personal.processes import ProcessIdentity
from wingspan.settings import load_settings

pytestmark = pytest.mark.htcondor


@pytest.fixture(autouse=True)
def pool(
    personal_pool: PersonalPool, data_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> PersonalHTCondorPool:
    """The session's personal pool, without jobs; what its jobs find is known from one that has run.

    However slow this machine is, warm workers neither retire nor leave: they end with the pool.
    """
    monkeypatch.setattr(warm, "RETIRES_SECONDS", 2 * PATIENCE)
    monkeypatch.setenv("WINGSPAN_IDLE_SECONDS", f"{2 * PATIENCE:.0f}")
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "personal-pool").symlink_to(personal_pool.directory)
    pool = get_pool("personal")
    assert isinstance(pool, PersonalHTCondorPool)
    assert wingspan.map(abs, [-1], pool="personal")[0] == 1
    until(lambda: list((personal_pool.directory / "warm").glob("*.json")), "what a job wrote down")
    asked = ["ClusterId", "ProcId", "JobStatus", "HoldReason", "Iwd"]
    until(
        lambda: not pool.job_ads("true", asked),
        lambda: f"an empty queue, but there is {pool.job_ads('true', asked)}",
    )
    return pool


def facts(x: Any) -> dict[str, Any]:
    """Of the process that this runs in."""
    return {
        "warm": "CONDOR_STARTER_PID" not in os.environ,
        "environment": dict(os.environ),
        "folder": str(Path.cwd()),
        "files": sorted(os.listdir()),
        "uid": os.getuid(),
        "parent": os.getppid(),
    }


def cluster_of(m: Map) -> int:
    return int(submissions(m)[-1]["cluster"])


def states(pool: PersonalHTCondorPool, m: Map) -> list[int]:
    """JobStatus of the map's jobs."""
    return [ad["JobStatus"] for ad in pool.job_ads(f"ClusterId == {cluster_of(m)}", ["JobStatus"])]


def waits(pid: int) -> None:
    """Return when the worker listens for its next map: who asks earlier is given another one."""
    idle = load_settings().cache_dir / "idle"
    until(lambda: list(idle.glob(f"*/{pid}.sock")), f"worker {pid} waits for work")


def held_at(gate: SimpleNamespace, note: Path) -> Callable[[Any], dict[str, Any]]:
    """A function that notes in the file that it has begun, waits at the gate, and answers the `facts`."""
    wait = gate.wait

    def component(x: Any) -> dict[str, Any]:
        with note.open("a") as file:
            file.write(f"{os.getpid()} {os.getppid()}\n")
        wait()
        return facts(x)

    return component


def begun(note: Path) -> list[int]:
    """Process ids of executor and worker, once the component has noted them."""
    return [
        int(word) for word in until(lambda: note.exists() and note.read_text(), "a begun component").split()
    ]


def test_the_next_map_is_done_by_a_process_that_is_like_a_job(pool: PersonalHTCondorPool) -> None:
    """Between two maps the process is the same; account, variables and folder are as in a job of the pool."""
    jobs = wingspan.map(facts, [0], pool="personal", options=Options(custom={"Mine": 1}))[0]
    first = wingspan.map(facts, [0], pool="personal")[0]
    waits(first["parent"])
    second = wingspan.map(facts, [0], pool="personal")[0]
    assert [jobs["warm"], first["warm"], second["warm"]] == [False, True, True]
    assert first["parent"] == second["parent"]
    assert first["uid"] == jobs["uid"]
    own = ("_CONDOR_ANCESTOR_", "_CONDOR_CHIRP", "_CONDOR_JOB_PIDS", "CONDOR_STARTER_PID")
    wanted = {name for name in jobs["environment"] if not name.startswith(own)}
    assert set(first["environment"]) == wanted
    for name in ("PATH", "HOME", "OMP_NUM_THREADS"):
        assert first["environment"][name] == jobs["environment"][name]
    assert first["environment"]["TMPDIR"] == first["folder"]
    assert first["folder"] != second["folder"]
    assert first["files"] == [".job.ad", ".machine.ad"]
    assert not Path(first["folder"]).exists()


def in_other_processes(x: int) -> tuple[int, list[int]]:
    with multiprocessing.get_context("spawn").Pool(1) as processes:
        return os.getppid(), processes.map(abs, [x])


def test_its_components_may_start_processes_when_its_first_map_is_removed(pool: PersonalHTCondorPool) -> None:
    """A warm worker outlives the map that it was started for; multiprocessing works in it all the same."""
    one = Options(workers=1)
    first = wingspan.map(lambda _: os.getppid(), [0], pool="personal", options=one)
    worker = first[0]
    waits(worker)
    first.remove()
    m = wingspan.map(in_other_processes, [-3], pool="personal", options=one)
    assert m.get(0, timeout=PATIENCE) == (worker, [3])


def test_a_long_component_has_its_slot(
    pool: PersonalHTCondorPool, gate: SimpleNamespace, tmp_path: Path
) -> None:
    """While a warm worker is at a component, the map's job takes a slot; the component is done once."""
    m = wingspan.map(held_at(gate, tmp_path / "note"), [0], pool="personal")
    begun(tmp_path / "note")
    until(lambda: states(pool, m) == [2], "a running job")
    until(lambda: m.status().workers == {"running": 1}, "a worker that is told of")
    gate.open()
    assert m[0]["warm"]
    assert len((tmp_path / "note").read_text().splitlines()) == 1
    until(lambda: not states(pool, m), "the end of the job")


def test_what_takes_long_is_done_by_jobs(pool: PersonalHTCondorPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm worker takes no more components after some seconds: the job goes on."""
    # Long enough for the first component to begin on a busy machine, and less than all of them take.
    monkeypatch.setattr(warm, "RETIRES_SECONDS", 6.0)

    def component(x: int) -> bool:
        time.sleep(0.3)
        return bool(facts(x)["warm"])

    done = list(wingspan.map(component, range(40), pool="personal", options=Options(workers=1)))
    assert done[0]
    assert not done[-1]
    assert done == sorted(done, reverse=True)


@pytest.mark.parametrize("started", [False, True], ids=["before its job has started", "for a running job"])
def test_hold_ends_a_warm_worker(
    pool: PersonalHTCondorPool, gate: SimpleNamespace, tmp_path: Path, started: bool
) -> None:
    """The owner's hold ends the component, as it does in a job; after the release it is done."""
    m = wingspan.map(held_at(gate, tmp_path / "note"), [0], pool="personal")
    pids = begun(tmp_path / "note")
    if started:
        until(lambda: states(pool, m) == [2], "a running job")
    m.hold()
    until(lambda: ProcessIdentity.of(pids[0]) is None, "the executor's end")
    until(lambda: m.statuses == [ComponentStatus.HELD], "a held component")
    m.release()
    gate.open()
    m.wait(timeout=PATIENCE)
    assert len((tmp_path / "note").read_text().splitlines()) == 2


@pytest.mark.parametrize("started", [False, True], ids=["before its job has started", "for a running job"])
def test_a_hold_behind_our_back_ends_it_too(
    pool: PersonalHTCondorPool, gate: SimpleNamespace, tmp_path: Path, started: bool
) -> None:
    """condor_hold of the job reaches the warm worker that does its work."""
    import htcondor2

    m = wingspan.map(held_at(gate, tmp_path / "note"), [0], pool="personal")
    pids = begun(tmp_path / "note")
    if started:
        until(lambda: states(pool, m) == [2], "a running job")
    with pool.personal.activate():
        pool.personal.schedd().act(htcondor2.JobAction.Hold, f"ClusterId == {cluster_of(m)}")
    until(lambda: all(ProcessIdentity.of(pid) is None for pid in pids), "the worker's end")


def test_the_job_goes_on_where_a_warm_worker_is_killed(
    pool: PersonalHTCondorPool, gate: SimpleNamespace, tmp_path: Path
) -> None:
    """After a kill -9 of the warm worker the job does the component, and nobody needs to look."""
    m = wingspan.map(held_at(gate, tmp_path / "note"), [0], pool="personal")
    os.kill(begun(tmp_path / "note")[1], signal.SIGKILL)
    until(lambda: len((tmp_path / "note").read_text().splitlines()) == 2, "a second start")
    gate.open()
    assert not m[0]["warm"]


def test_removing_the_map_ends_its_warm_worker(
    pool: PersonalHTCondorPool, gate: SimpleNamespace, tmp_path: Path
) -> None:
    """A map that is removed while a warm worker is at it leaves no process at work and no folder."""
    m = wingspan.map(held_at(gate, tmp_path / "note"), [0], pool="personal")
    pids = begun(tmp_path / "note")
    m.remove()
    assert not m.path.exists()
    until(lambda: ProcessIdentity.of(pids[0]) is None, "the executor's end")


def test_a_full_pool_lends_no_worker(
    pool: PersonalHTCondorPool, tmp_path: Path, personal_pool: PersonalPool
) -> None:
    """While other jobs have or wait for all slots, a map waits for its own: nothing runs beside them."""
    import htcondor2

    first = wingspan.map(facts, [0], pool="personal")[0]
    assert first["warm"]
    waits(first["parent"])
    cluster = submit(personal_pool, tmp_path, "exec sleep 1000", count=4)
    try:
        m = wingspan.map(facts, [0], pool="personal")
        until(lambda: len(list(tmp_path.glob("out.*"))) == 4, "a full pool")
        assert not list((m.path / "workers").glob("*.run"))
        assert m.statuses == [ComponentStatus.IDLE]
    finally:
        with personal_pool.activate():
            personal_pool.schedd().act(htcondor2.JobAction.Remove, f"ClusterId == {cluster}")
    assert not m[0]["warm"]


def test_waiting_workers_hold_no_slot_and_no_map(
    pool: PersonalHTCondorPool, tmp_path: Path, personal_pool: PersonalPool
) -> None:
    """While they wait, a job that wants all cores runs, no map has workers, and the map's folder can go."""
    m = wingspan.map(facts, range(4), pool="personal", options=Options(workers=4))
    waiting = {output["parent"] for output in m if output["warm"]}
    assert waiting
    until(lambda: m.status().workers.keys() <= {"completed", "removed"}, "a map without workers")
    cluster = submit(personal_pool, tmp_path, "echo done", request_cpus="4")
    until(lambda: finished(tmp_path, cluster), "a job that wants the whole pool")
    m.remove()
    assert not m.path.exists()
    assert all(ProcessIdentity.of(pid) is not None for pid in waiting)


def test_they_end_by_themselves(pool: PersonalHTCondorPool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A warm worker that nobody needs leaves after its time, and its folder with it."""
    monkeypatch.setenv("WINGSPAN_IDLE_SECONDS", "0.5")
    told = wingspan.map(facts, [0], pool="personal")[0]
    assert told["warm"]
    until(lambda: ProcessIdentity.of(told["parent"]) is None, "its end")
