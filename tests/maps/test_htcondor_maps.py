"""Maps on a real personal HTCondor pool."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import wingspan
from _on_disk import submissions
from _waiting import PATIENCE, until
from wingspan import ComponentStatus
from wingspan.pools import get_pool

pytestmark = pytest.mark.htcondor

RUNNING = ComponentStatus.RUNNING


@pytest.fixture(autouse=True)
def pool(personal_pool, data_dir):
    """The session's personal pool is the personal pool of this test's data folder."""
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "personal-pool").symlink_to(personal_pool.directory)
    return get_pool("personal")


def queue(pool, m):
    """Job ads of the map that are in the schedd's queue."""
    with pool.personal.activate():
        return pool.personal.schedd().query(f'WingspanMap == "{m.path.name}"')


def test_a_map_on_a_real_pool(pool):
    """Outputs, errors, what is printed, measures and hosts come through chirp from real jobs."""

    def work(x):
        print("out", x)
        print("err", x, file=sys.stderr)
        return 1 / x, "_CONDOR_SLOT" in os.environ, str(Path.cwd())

    m = wingspan.map(work, range(200), tag="real", pool="personal")
    with pytest.raises(wingspan.ComponentErrors, match="1 of 200"):
        m.wait(timeout=PATIENCE)
    assert [output[0] for output in m[1:]] == [1 / x for x in range(1, 200)]
    assert all(output[1] for output in m[1:])
    assert str(m.path) not in {output[2] for output in m[1:]}
    with pytest.raises(ZeroDivisionError):
        m[0]
    assert m.errors[0].host == socket.gethostname()
    assert "return 1 / x" in m.errors[0].traceback
    assert m.stdout(199) == "out 199\n"
    assert m.stderr(0) == "err 0\n"
    assert len(m.runtimes) == 200
    assert m.status().pools == ("personal",)
    assert list(wingspan.load("real").iter(return_exceptions=True))[1:] == m[1:]


def test_the_queue_is_empty_when_a_map_is_complete(pool):
    """Workers that wait in the queue of a complete map are taken out of it."""
    m = wingspan.map(abs, range(-50, 0), pool="personal", options=wingspan.Options(workers=30))
    m.wait(timeout=PATIENCE)
    assert list(m) == list(range(50, 0, -1))
    until(lambda: m.wait().is_done and not queue(pool, m), "the queue is empty")


def test_the_queue_is_empty_when_all_outputs_were_read(pool, gate):
    """The same where nobody calls `wait`: reading the last output is enough."""
    wait = gate.wait
    m = wingspan.map(lambda x: wait(), range(200), pool="personal", options=wingspan.Options(workers=200))
    until(lambda: ComponentStatus.RUNNING in m.statuses, "some run")
    gate.open()
    assert list(m) == [None] * 200
    until(lambda: not [ad for ad in queue(pool, m) if ad["JobStatus"] == 1], "nothing waits any more")
    until(lambda: m.status().workers.get("removed"), "the status says that they were removed")


def test_workers_of_a_rerun_are_not_taken_for_left_over(pool, gate):
    """A client that still believes the map complete, and empties the queue, leaves the workers of another
    client's rerun alone.
    """
    wait = gate.wait
    m = wingspan.map(
        lambda x: wait(), range(200), pool="personal", tag="again", options=wingspan.Options(workers=200)
    )
    until(lambda: ComponentStatus.RUNNING in m.statuses, "some run")
    gate.open()
    until(lambda: m.is_done, "all are done")
    other = wingspan.load("again")
    other.rerun([7])
    m._keeper.tidy()
    other.wait(timeout=PATIENCE)
    assert other.status().counts[ComponentStatus.COMPLETED] == 200


def test_a_map_is_loaded_before_its_event_log_is_there(pool, gate):
    """A map that has just been submitted, whose events.log is not there yet, can be loaded and waited for."""
    wait = gate.wait
    m = wingspan.map(lambda x: wait() or x, [1, 2], tag="early", pool="personal")
    (m.path / "events.log").unlink(missing_ok=True)
    early = wingspan.load("early")
    assert sum(early.status().counts.values()) == 2
    assert not early.is_done
    gate.open()
    assert list(early.iter(timeout=PATIENCE)) == [1, 2]


def test_what_is_printed_is_seen_while_it_runs(pool, gate):
    """stdout and RUNNING are seen through chirp while the component runs."""
    wait = gate.wait

    def printing(x):
        print("first line")
        wait()
        print("last line")

    m = wingspan.map(printing, [1], pool="personal")
    until(lambda: m.stdout(0) == "first line\n", "the first line")
    until(lambda: m.statuses == [RUNNING], "it is announced")
    gate.open()
    m.wait(timeout=PATIENCE)
    assert m.stdout(0) == "first line\nlast line\n"


def test_retries_land(pool, tmp_path):
    """A component that fails twice is done by its third attempt."""
    folder = str(tmp_path)

    def fragile(x):
        path = Path(folder, f"tries-{x}")
        with path.open("a") as file:
            file.write(".")
        if path.stat().st_size < 3:
            raise ValueError("not yet")
        return x

    m = wingspan.map(fragile, range(5), pool="personal", options=wingspan.Options(retries=2))
    m.wait(timeout=PATIENCE)
    assert list(m) == list(range(5))
    assert {measures.attempt for measures in m.runtimes.values()} == {3}
    again = wingspan.map(fragile, range(5, 8), pool="personal", options=wingspan.Options(retries=1))
    again.wait(timeout=PATIENCE, errors_ok=True)
    assert len(again.errors) == 3


def test_crashes_are_their_component_s_error(pool):
    """os._exit and SIGKILL of the executor in a job: that component's error; the others are done by the
    same jobs.
    """

    def crash(x):
        if x == 3:
            os._exit(7)
        if x == 4:
            os.kill(os.getpid(), 9)
        return x

    m = wingspan.map(crash, range(8), pool="personal", options=wingspan.Options(workers=2))
    m.wait(timeout=PATIENCE, errors_ok=True)
    assert {i: (e.exited_with, e.signal) for i, e in m.errors.items()} == {3: (7, None), 4: (None, 9)}
    assert [m[i] for i in (0, 1, 2, 5, 6, 7)] == [0, 1, 2, 5, 6, 7]


def test_local_workers_join_a_map_of_the_pool(pool, gate):
    """`add_workers(pool="local")`: processes of this machine share the blocks of a map on HTCondor."""
    wait = gate.wait

    def where(x):
        wait()
        return "condor" if "_CONDOR_SLOT" in os.environ else "local"

    options = wingspan.Options(workers=1, block_size=1)
    m = wingspan.map(where, range(3), pool="personal", options=options)
    until(lambda: m.status().counts[RUNNING] == 1, "the job runs")
    m.add_workers(2, pool="local")
    until(lambda: m.status().counts[RUNNING] == 3, "the local workers run too")
    assert set(m.status().pools) == {"personal", "local"}
    gate.open()
    assert sorted(m.iter(timeout=PATIENCE)) == ["condor", "local", "local"]


def test_a_long_map_can_be_done_by_few_idle_jobs(pool):
    """max_idle keeps the queue short (late materialization); the map is done all the same."""
    options = wingspan.Options(workers=8, max_idle=1)
    m = wingspan.map(lambda x: x + 1, range(100), pool="personal", options=options)
    assert sum(m.iter(timeout=PATIENCE)) == 5050
    assert len(queue(pool, m)) <= 8


def test_jobs_that_are_not_made_yet_are_not_gone(pool, gate):
    """Asked about a submission with max_idle, the schedd has no ads of the jobs that it is still to make:
    they are not lost.
    """
    wait = gate.wait
    options = wingspan.Options(workers=12, max_idle=1)
    m = wingspan.map(lambda x: wait() or x, range(12), pool="personal", options=options)
    until(lambda: ComponentStatus.RUNNING in m.statuses, "some run")
    m._keeper.ask()
    workers = m.status().workers
    assert "removed" not in workers
    assert workers["unmaterialized"] >= 1
    gate.open()
    assert list(m.iter(timeout=PATIENCE)) == list(range(12))


def test_options_reach_the_job(pool, gate):
    """Resources, requirements and custom attributes are in the job's ad, strings quoted by us."""
    wait = gate.wait
    options = wingspan.Options(
        workers=1,
        request_memory="200MB",
        request_disk="50MB",
        requirements='OpSys == "LINUX"',
        custom={"+WantThis": True, "Said": 'a "quoted" $(thing) and more', "Number": 2.5},
    )
    m = wingspan.map(lambda x: wait(), [1], tag="options", pool="personal", options=options)
    until(lambda: m.statuses == [RUNNING], "it runs")
    (ad,) = queue(pool, m)
    assert ad["RequestMemory"] == 200
    assert ad["RequestDisk"] == 50 * 1024
    assert ad["WantThis"] is True
    assert ad["Said"] == 'a "quoted" $(thing) and more'
    assert ad["Number"] == 2.5
    assert ad["JobBatchName"] == "options"
    assert "LINUX" in str(ad.lookup("Requirements"))
    gate.open()
    m.wait(timeout=PATIENCE)


def test_a_data_folder_with_spaces_and_quotes(tmp_path, personal_pool, monkeypatch):
    """The path of the data folder may have spaces, quotes, commas and letters of any language."""
    data = tmp_path / "my data, 'ünd' more"
    data.mkdir()
    (data / "personal-pool").symlink_to(personal_pool.directory)
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(data))
    m = wingspan.map(lambda x: x, range(5), pool="personal")
    assert list(m.iter(timeout=PATIENCE)) == list(range(5))
    m.remove()


@pytest.mark.parametrize("python", ["missing", "fails"])
def test_workers_that_cannot_start_are_told_in_seconds(pool, python, tmp_path, monkeypatch):
    """A wrong interpreter, or one that ends at once: an error with the reason or stderr, not silence."""
    program = tmp_path / "python"
    if python == "fails":
        program.write_text("#!/bin/sh\necho 'libpython is not here' >&2\nexit 127\n")
        program.chmod(0o755)
    monkeypatch.setattr(type(pool), "launch", lambda self: (str(program), (), False))
    m = wingspan.map(abs, [1, 2], tag="startless", pool="personal", options=wingspan.Options(workers=2))
    kinds = (wingspan.WorkersCannotStart, wingspan.ComponentHeld)
    with pytest.raises(kinds, match="libpython is not here" if python == "fails" else str(program)) as caught:
        m.wait(timeout=PATIENCE)
    assert caught.value.hint
    m.remove()
    assert queue(pool, m) == []


def test_a_function_that_workers_cannot_load_is_told(pool):
    """A missing module: one error with the module's name; no endless resubmission."""

    class Unloadable:
        def __call__(self, x):
            return x

        def __reduce__(self):
            return (__import__, ("no_such_module_anywhere",))

    m = wingspan.map(Unloadable(), range(100), pool="personal")
    with pytest.raises(wingspan.WorkersCannotStart, match="no_such_module_anywhere"):
        m.wait(timeout=PATIENCE)
    assert len(submissions(m)) <= 2


SECOND = """
import sys, wingspan
m = wingspan.load("shared")
m.rerun(range(int(sys.argv[1]), 40, 2))
m.wait()
assert list(m) == list(range(0, -40, -1)), list(m)
print("fine")
"""


def test_two_processes_at_once(pool):
    """Two other processes rerun and wait on one map at once, while this one reads it."""
    m = wingspan.map(lambda x: -x, range(40), tag="shared", pool="personal")
    m.wait(timeout=PATIENCE)
    others = [
        subprocess.Popen(
            [sys.executable, "-c", SECOND, str(part)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=Path.cwd(),
        )
        for part in range(2)
    ]
    assert list(m.iter(timeout=PATIENCE)) == list(range(0, -40, -1))
    for other in others:
        out, err = other.communicate(timeout=PATIENCE)
        assert out == b"fine\n", err.decode()
    assert list(m.iter(timeout=PATIENCE)) == list(range(0, -40, -1))
