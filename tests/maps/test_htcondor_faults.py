"""Faults on a real HTCondor pool: each ends complete, or with a status and an error that says what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wingspan
from _on_disk import finished, processes, submissions
from _waiting import PATIENCE, until
from wingspan import ComponentStatus
from wingspan.maps._folder import remove_map_folder
from wingspan.maps._results import Results
from wingspan.pools import get_pool
from wingspan.pools.personal import PersonalPool
from wingspan.pools.personal.processes import boot_id

pytestmark = pytest.mark.htcondor

RUNNING, HELD, COMPLETED = ComponentStatus.RUNNING, ComponentStatus.HELD, ComponentStatus.COMPLETED
N = 6


@pytest.fixture
def shared_pool(personal_pool, data_dir):
    """The session's personal pool is the personal pool of this test's data folder."""
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "personal-pool").symlink_to(personal_pool.directory)
    return personal_pool


@pytest.fixture
def own_pool(data_dir, tmp_path_factory):
    """A pool of this test alone, whose daemons may be killed."""
    pool = PersonalPool(data_dir / "personal-pool", cpus=2)
    pool.start()
    yield pool
    pool.stop()


@pytest.fixture
def begun(gate):
    """Makes a map of squares of which the first is done and the workers wait at the gate in others."""
    wait = gate.wait

    def square(x):
        if x:
            wait()
        return x * x

    def make(workers=2, **options):
        chosen = wingspan.Options(workers=workers, block_size=1, **options)
        m = wingspan.map(square, range(N), tag="faulty", pool="personal", options=chosen)
        assert m.get(0, timeout=PATIENCE) == 0
        until(lambda: m.status().counts[RUNNING] == workers, "the workers run")
        return m

    return make


def assert_complete(m):
    """The map ends with all its outputs."""
    assert list(m.iter(timeout=PATIENCE)) == [x * x for x in range(N)]
    assert m.wait(timeout=PATIENCE).is_done


def supervisors(m):
    """Process ids of the workers that said hello and have not left."""
    return processes(m, have_left=False)


def clusters(m):
    """Cluster numbers of the map's jobs."""
    return [entry["cluster"] for entry in submissions(m)]


def act(pool, action, m):
    """Do something to the map's jobs behind Wingspan's back, as condor_hold and the like do."""
    import htcondor2

    constraint = " || ".join(f"ClusterId == {cluster}" for cluster in clusters(m))
    with pool.activate():
        pool.schedd().act(getattr(htcondor2.JobAction, action), constraint)


def daemons(pool, name):
    """Process ids of the pool's daemons of that name."""
    found = []
    for pid in pool.processes():
        try:
            if Path(f"/proc/{pid}/comm").read_text().strip() == name[:15]:
                found.append(pid)
        except FileNotFoundError:
            continue
    return found


def shadows(pool, m):
    """Process ids of the shadows of the map's jobs."""
    found = []
    for pid in daemons(pool, "condor_shadow"):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if any(word.decode().split(".")[0] in clusters(m) for word in words[1:3]):
            found.append(pid)
    return found


SUBMIT = """
import os, signal, sys, time, wingspan
go = sys.argv[1]
def slow(x, go=go):
    while not os.path.exists(go + "/go"):
        time.sleep(0.01)
    return x * x
wingspan.map(slow, range(6), tag="faulty", pool="personal")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_kill_9_of_the_submitting_python(shared_pool, other_python, tmp_path):
    """The map goes on without any client; a later session only reads it."""
    assert other_python(SUBMIT, tmp_path, check=False).returncode == -signal.SIGKILL
    m = wingspan.load("faulty")
    (tmp_path / "go").touch()
    until(lambda: len(finished(m)) == N, "all results, with nobody looking after the map")
    assert_complete(m)
    assert len(clusters(m)) == 1


def test_kill_9_of_a_worker(shared_pool, begun, gate):
    """A supervisor that is killed comes back as its job and resumes what it had claimed."""
    m = begun()
    os.kill(supervisors(m)[0], signal.SIGKILL)
    gate.open()
    assert_complete(m)


def test_kill_9_of_every_worker(shared_pool, begun, gate):
    """All supervisors at once: the jobs come back and resume."""
    m = begun()
    for pid in supervisors(m):
        os.kill(pid, signal.SIGKILL)
    gate.open()
    assert_complete(m)


def test_kill_9_of_an_executor(shared_pool, begun, gate):
    """The component that was running fails with the signal; the rest is done; rerun does it."""
    m = begun(workers=1)
    (supervisor,) = supervisors(m)
    (executor,) = Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split()
    os.kill(int(executor), signal.SIGKILL)
    gate.open()
    m.wait(timeout=PATIENCE, errors_ok=True)
    (component,) = m.errors
    assert m.errors[component].signal == signal.SIGKILL
    m.rerun(m.errors)
    assert_complete(m)


def test_kill_9_of_the_shadows(shared_pool, begun, gate):
    """Without their shadows the jobs start again; nothing is lost, and nothing counts twice."""
    m = begun()
    pids = until(lambda: shadows(shared_pool, m), "the shadows")
    for pid in pids:
        os.kill(pid, signal.SIGKILL)
    gate.open()
    assert_complete(m)
    assert len(m.runtimes) == N


def test_vacate(shared_pool, begun, gate):
    """Vacated jobs start again and resume; `m.vacate()` and condor_vacate_job are the same."""
    m = begun()
    first = supervisors(m)
    m.vacate()
    until(lambda: not set(first) & set(supervisors(m)) or set(supervisors(m)) - set(first), "other starts")
    act(shared_pool, "Vacate", m)
    gate.open()
    assert_complete(m)


def test_hold_and_release(shared_pool, begun, gate):
    """Held by its owner: the status and an error say so and how to go on; after release it is completed."""
    m = begun()
    m.hold()
    until(lambda: m.status().counts[HELD] == N - 1, "it is held")
    with pytest.raises(wingspan.ComponentHeld, match="held by its owner") as caught:
        m.wait(timeout=PATIENCE)
    assert "release" in caught.value.hint
    assert m[0] == 0
    hold = m.holds[N - 1]
    assert "held by its owner" in hold.reason
    assert isinstance(hold.code, int)
    gate.open()
    m.release()
    assert_complete(m)
    assert m.holds == {}


def test_a_hold_behind_our_back(shared_pool, begun, gate):
    """condor_hold by somebody else is seen in the event log, with HTCondor's reason; condor_release lets
    it go on.
    """
    m = begun()
    act(shared_pool, "Hold", m)
    with pytest.raises(wingspan.ComponentHeld, match="code"):
        m.wait(timeout=PATIENCE)
    gate.open()
    act(shared_pool, "Release", m)
    until(lambda: m.status().counts[HELD] == 0, "it is released")
    assert_complete(m)


def test_one_held_worker_does_not_hold_the_map(shared_pool, begun, gate):
    """When one job of two is held, the other does its share; the held one leaves the queue at the end."""
    import htcondor2

    m = begun()
    with shared_pool.activate():
        shared_pool.schedd().act(htcondor2.JobAction.Hold, f"ClusterId == {clusters(m)[0]} && ProcId == 0")
    until(lambda: m.status().workers.get("held"), "one is held")

    def offered_anew():
        m._keeper.refresh()
        m._keeper.reconcile()
        return m._keeper.state.repaired

    until(offered_anew, "what the held one had claimed is offered to the other, while that is there")
    gate.open()
    assert_complete(m)

    def left():
        m.wait()
        with shared_pool.activate():
            return shared_pool.schedd().query(f"ClusterId == {clusters(m)[0]}", ["ProcId"])

    until(lambda: not left(), "the queue is empty")


def test_condor_rm_behind_our_back(shared_pool, begun, gate):
    """Removed jobs are an error that says how to go on; nothing is resubmitted unasked; rerun completes
    it.
    """
    m = begun()
    act(shared_pool, "Remove", m)
    with pytest.raises(wingspan.ComponentRemoved, match="removed") as caught:
        m.wait(timeout=PATIENCE)
    assert "rerun" in caught.value.hint
    assert ComponentStatus.REMOVED in m.statuses
    assert m[0] == 0
    assert len(clusters(m)) == 1
    gate.open()
    m.rerun()
    assert_complete(m)


def test_a_removed_map_leaves_no_job(shared_pool, begun):
    """`remove` of a running map takes its jobs out of the queue and ends its processes."""
    m = begun()
    pids, cluster = supervisors(m), clusters(m)[0]
    m.remove()

    def queued():
        with shared_pool.activate():
            return shared_pool.schedd().query(f"ClusterId == {cluster}", ["ProcId"])

    until(lambda: not queued(), "the queue is empty")
    until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in pids), "the workers end")


def test_a_silent_worker_is_replaced_by_another(shared_pool, gate, monkeypatch):
    """What a worker has that stands still for longer than a lease is done by the next; no client is
    needed.
    """
    monkeypatch.setenv("WINGSPAN_LEASE_SECONDS", "3")
    wait = gate.wait

    def square(x):
        if x:
            wait()
        return x * x

    options = wingspan.Options(workers=2, block_size=1)
    m = wingspan.map(square, range(N), tag="faulty", pool="personal", options=options)
    assert m.get(0, timeout=PATIENCE) == 0
    until(lambda: m.status().counts[RUNNING] == 2, "both run")
    victim, other = supervisors(m)
    os.kill(victim, signal.SIGSTOP)
    try:
        gate.open()
        results = Results(m._folder)

        def finished(count):
            results.poll()
            return results.finished >= count

        # The other worker does what the victim has not claimed, and may be gone before the lease is over.
        until(lambda: finished(N) or not Path(f"/proc/{other}").exists(), "the other ends")
        time.sleep(3)  # the lease itself; the outcome does not depend on how much longer it takes
        m.add_workers(1)
        until(lambda: finished(N), "all results, while the victim stands still")
    finally:
        os.kill(victim, signal.SIGCONT)
    assert_complete(m)


def test_kill_9_of_the_schedd(own_pool, begun, gate):
    """The master starts another schedd, the jobs are in its queue: the map is completed."""
    m = begun()
    (pid,) = daemons(own_pool, "condor_schedd")
    os.kill(pid, signal.SIGKILL)
    gate.open()
    until(lambda: daemons(own_pool, "condor_schedd") not in ([], [pid]), "another schedd")
    assert_complete(m)


@pytest.mark.slow
def test_the_access_point_reboots(own_pool, begun, gate):
    """kill -9 of every daemon, shadow and job, and another boot of the machine after that: whoever waits
    starts
    the pool again, and the map is completed.
    """
    m = begun()
    for pid in own_pool.processes():
        os.kill(pid, signal.SIGKILL)
    until(lambda: own_pool.status().state == "crashed", "the crash is seen")
    state = own_pool.directory / "state.json"
    state.write_text(state.read_text().replace(boot_id(), "an earlier boot"))
    assert own_pool.status().state == "stopped"
    gate.open()
    assert_complete(m)
    assert own_pool.status().state == "running"


def test_a_stopped_pool_is_told(own_pool, begun, gate):
    """Asking something of the jobs of a pool that is stopped is a PoolError; outputs can be read."""
    begun()
    own_pool.stop()
    again = wingspan.load("faulty")
    assert again[0] == 0
    with pytest.raises(wingspan.PoolError) as caught:
        again.hold()
    assert "pool start" in caught.value.hint
    gate.open()


WAITER = """
import wingspan
m = wingspan.load("faulty")
m.wait()
print(sum(m))
"""


def test_two_processes_wait_through_a_fault(shared_pool, begun, gate):
    """Two sessions that wait while all workers are killed both end with all outputs."""
    m = begun()
    waiters = [subprocess.Popen([sys.executable, "-c", WAITER], stdout=subprocess.PIPE) for _ in range(2)]
    act(shared_pool, "Vacate", m)
    for pid in supervisors(m):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue
    gate.open()
    assert_complete(m)
    assert [waiter.communicate(timeout=PATIENCE)[0] for waiter in waiters] == [b"55\n", b"55\n"]


def test_workers_tidied_away_were_not_removed_by_anybody(shared_pool, gate):
    """Jobs that left the queue because the map was complete are no reason for others to stop waiting when
    its owner does it again.
    """
    options = wingspan.Options(workers=12, request_memory="64MB")
    m = wingspan.map(lambda x: x * x, range(N), tag="tidied", pool="personal", options=options)
    m.wait(PATIENCE)
    until(
        lambda: m._keeper.tidy() or (not m._keeper.refresh() and not m._keeper.jobs.live()), "all have left"
    )
    other = wingspan.load("tidied")
    other.status()
    # As somebody does who reruns, and who has not submitted workers yet, or dies before.
    m._keeper.publish("rerun", range(N))
    assert other.wait(PATIENCE).is_done
    assert_complete(other)


@pytest.mark.parametrize("always", [False, True])
def test_a_worker_that_is_held_is_replaced(shared_pool, tmp_path, always):
    """A held worker that is the last one left has another started in its place; a component that holds
    every worker ends that soon.
    """
    once = tmp_path / "once"

    def square(x):
        if x == 0 and (always or not once.exists()):
            once.touch()
            os.kill(os.getppid(), signal.SIGKILL)  # its worker: HTCondor holds the job
            time.sleep(600)
        return x * x

    options = wingspan.Options(
        workers=2, block_size=1, request_memory="64MB", submit={"on_exit_hold": "ExitBySignal"}
    )
    m = wingspan.map(square, range(N), tag="held", pool="personal", options=options)
    (cluster,) = clusters(m)

    def states():
        with shared_pool.activate():
            return [
                ad["JobStatus"] for ad in shared_pool.schedd().query(f"ClusterId == {cluster}", ["JobStatus"])
            ]

    until(
        lambda: states() == [5], "one is held, and the other has ended"
    )  # nobody has looked at the map so far
    m = wingspan.load("held")
    if not always:
        assert_complete(m)
        return
    with pytest.raises((wingspan.ComponentHeld, wingspan.ComponentErrors)):
        m.wait(PATIENCE)
    assert len(clusters(m)) <= 3


def test_jobs_of_a_map_that_was_removed_before_they_are_submitted(shared_pool, monkeypatch):
    """Another process removes a map just before this one submits jobs of it: the scheduler, which does not
    find the folder, refuses them, and what is told is that the map was removed.
    """
    m = wingspan.map(abs, [1], pool="personal")
    m.wait(timeout=PATIENCE)
    pool = type(get_pool("personal"))
    queue = pool._queue

    def remove_and_queue(self, schedd, description):
        remove_map_folder(m.path, m.tag)
        return queue(self, schedd, description)

    monkeypatch.setattr(pool, "_queue", remove_and_queue)
    with pytest.raises(wingspan.MapRemoved):
        m.add_workers(1)


@pytest.mark.htcondor
@pytest.mark.parametrize("moment", ["before it is written down", "after"])
def test_workers_submitted_while_the_map_is_removed_do_not_stay(shared_pool, monkeypatch, moment):
    """Another process removes the map as this one submits: its jobs leave the queue, and it is told."""
    m = wingspan.map(abs, [1], pool="personal")
    m.wait(timeout=PATIENCE)
    remover = wingspan.load(m.tag)
    taken = []
    pool = type(get_pool("personal"))
    submit = pool.submit

    def submit_and_remove(self, job):
        submission = submit(self, job)
        taken.append(submission.cluster)
        if moment == "before it is written down":
            remover.remove()
        return submission

    end_jobs = type(remover)._end_jobs

    def end_jobs_and_submit(self, *given):
        known = end_jobs(self, *given)
        m.add_workers(1)  # the remover has already looked which jobs there are
        return known

    monkeypatch.setattr(pool, "submit", submit_and_remove)
    if moment == "after":
        monkeypatch.setattr(type(remover), "_end_jobs", end_jobs_and_submit)
        remover.remove()
    else:
        with pytest.raises(wingspan.MapRemoved):
            m.add_workers(1)

    def left():
        with shared_pool.activate():
            found = shared_pool.schedd().query(f"ClusterId == {taken[0]}", ["JobStatus"])
        return [ad for ad in found if ad["JobStatus"] not in (3, 4)]  # removed, completed

    until(lambda: not left(), left)
    assert not m.exists
