"""A schedd on another host that sees no folder of this machine: jobs are spooled to it."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

import wingspan
from _far_schedd import FarSchedd, schedd_elsewhere
from _on_disk import submissions
from _own_folders import data_dir
from _waiting import PATIENCE, until
from wingspan.errors import PoolUnavailable, SettingsError
from wingspan.maps import MapError
from wingspan.pools import htcondor_spool
from wingspan.pools.htcondor_jobs import HTCondorWatcher
from wingspan.pools.htcondor_spool import SpoolingPool

__all__ = ["data_dir"]


@pytest.fixture(scope="module")
def far_schedd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FarSchedd]:
    """A schedd that sees no folder of a test."""
    hidden = tmp_path_factory.getbasetemp()
    with schedd_elsewhere(hidden, tmp_path_factory.mktemp("client")) as made:
        yield made


@pytest.fixture
def pool(far_schedd: FarSchedd, monkeypatch: pytest.MonkeyPatch) -> str:
    """The name of the pool, for a client that has a token."""
    monkeypatch.setenv("CONDOR_CONFIG", str(far_schedd.config))
    return far_schedd.pool


@pytest.mark.htcondor
def test_the_schedd_has_an_address_of_its_own(far_schedd: FarSchedd) -> None:
    """The tests below speak with another host by the network: nothing listens on a port of this one."""
    if far_schedd.address is None:
        pytest.skip("no network namespace can be made here: the schedd listens on this host's loopback")
    port = int(far_schedd.pool.rpartition(":")[2])
    socket.create_connection((far_schedd.address, port), timeout=PATIENCE).close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=PATIENCE)


def test_a_schedd_whose_collector_nobody_named() -> None:
    """The hint says how to name it: this machine's configuration may know none."""
    error = RuntimeError("Unable to determine collector host.")
    assert "schedd://ap1/cm.example.org" in str(SpoolingPool("schedd://ap1")._unavailable(error).hint)
    assert "collector" not in str(SpoolingPool("schedd://ap1/cm")._unavailable(error).hint)


@pytest.mark.htcondor
def test_a_map_is_spooled_and_retrieved(pool: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Files that all components get, and attributes of each one's job, go to the schedd; outputs, errors,
    streams and files come back by HTCondor's own transfer, and components are done again. Nothing here was
    seen by the schedd or its machines.
    """

    def works(x: int) -> int:
        ad = Path(os.environ["_CONDOR_JOB_AD"]).read_text().splitlines()
        print("working on", x, [line for line in ad if line.startswith("Part =")])
        if x == 3:
            raise ValueError("three")
        Path("out.txt").write_text(Path("in.txt").read_text() + str(x))
        wingspan.component().transfer_output_files("out.txt")
        return x * x

    (tmp_path / "in.txt").write_text("given ")
    options = wingspan.Options(
        workers=2, input_files=[str(tmp_path / "in.txt")], custom={"Part": [7, 7, 8, 8, 8]}
    )
    m = wingspan.map(works, range(5), pool=pool, options=options)
    m.wait(PATIENCE, errors_ok=True)
    assert ("ValueError: three" in str(m.errors[3]), "working on 2" in m.stdout[2]) == (True, True)
    assert ("Part = 7" in m.stdout[1], "Part = 8" in m.stdout[2]) == (True, True)
    assert (m.output_files[4] / "out.txt").read_text() == "given 4"
    assert "on another host" in (m.status().message or "".join(m.status().notes))
    with monkeypatch.context() as patch:
        patch.setattr("wingspan.maps._shares.MOST_FILES", 0)
        with pytest.raises(MapError, match="their schedd is on another host"):
            wingspan.map(str, [wingspan.TransferPath(tmp_path / "in.txt")], pool=pool)
    m.rerun(function=lambda x: -x)
    assert list(m) == [0, 1, 4, -3, 16]
    m.remove()


@pytest.mark.htcondor
def test_jobs_of_a_spooled_map_are_held_and_released(pool: str) -> None:
    """Jobs are held also right after they were submitted, while their files are on the way; what was held
    goes on, and leaves the queue with its map.
    """

    def works_on(x: int) -> None:
        import time

        while True:
            time.sleep(0.1)

    m = wingspan.map(works_on, [1], pool=pool)
    m.hold()
    with pytest.raises(wingspan.ComponentHeld):
        m.wait(PATIENCE)
    m.release()
    until(lambda: m.status().workers.get("running"), m.status)
    m.remove()


@pytest.mark.htcondor
def test_one_job_that_cannot_be_retrieved_keeps_no_other_from_it(
    pool: str,
    far_schedd: FarSchedd,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What one job has made is lost at the schedd: outputs of the others arrive, a notice names the job and
    what to do, and another job does what it had to do. The history is not asked about jobs that were
    retrieved.
    """
    monkeypatch.setattr(htcondor_spool, "_TRY_AGAIN", (0.0,))
    asked = []
    history = HTCondorWatcher._ask_history
    monkeypatch.setattr(
        HTCondorWatcher, "_ask_history", lambda *args: asked.append(args[2]) or history(*args)
    )
    m = wingspan.map(lambda x: -x, range(2), pool=pool, options=wingspan.Options(workers=2))
    (cluster,) = [one["cluster"] for one in submissions(m)]
    spool = f"cluster{cluster}.proc1.subproc0"
    until(lambda: not _unfinished(pool, cluster), "the jobs have ended")
    (made,) = [one for one in far_schedd.shared.rglob(spool) if one.is_dir()]
    made.rename(made.with_name("away"))
    made.write_text("no folder")
    assert list(m) == [0, -1]
    assert caplog.text.count(f"the output of job {cluster}.1 cannot be retrieved, tried 2 times") == 1
    assert "condor_transfer_data -name" in caplog.text
    assert [one["count"] for one in submissions(m)] == [2, 1]
    assert asked == []
    watcher = SpoolingPool(pool).watch(m._folder.submissions.entries(), m.path)
    (lost,) = [event for event in (*watcher.ask(), *watcher.ask()) if event.proc == 1]
    assert (lost.code, str(lost.reason).partition(":")[0]) == (None, "its output cannot be retrieved")
    m.remove()


def _unfinished(pool: str, cluster: str) -> list[object]:
    """Jobs of a cluster that have not ended."""
    return SpoolingPool(pool).job_ads(f"ClusterId == {cluster} && JobStatus != 4", ["ProcId"])


@pytest.mark.htcondor
def test_a_run_is_spooled_and_retrieved(pool: str, tmp_path: Path) -> None:
    """Its inputs go to the schedd, and outputs and print-outs come back."""
    (tmp_path / "a.txt").write_text("hello")
    command = ["sh", "-c", "cat a.txt; cat a.txt > out.txt"]
    r = wingspan.run(command, inputs=["a.txt"], outputs=["out.txt"], workspace=tmp_path, pool=pool)
    assert r.wait(PATIENCE).state == "completed"
    assert (r.stdout(), r.outputs()["out.txt"].read_text()) == ("hello", "hello")
    r.remove()


@pytest.mark.htcondor
def test_a_schedd_that_does_not_answer_is_named(pool: str) -> None:
    """One of that name is not there, or nobody is: an error, and no map is left."""
    with pytest.raises(PoolUnavailable, match="does not answer"):
        wingspan.map(abs, [-1], pool=f"schedd://nobody@nowhere/{pool.rpartition('/')[2]}")
    with pytest.raises(SettingsError, match="names no schedd"):
        wingspan.map(abs, [-1], pool="schedd://a b")
    assert wingspan.tags() == ()


@pytest.mark.htcondor
def test_a_schedd_on_another_host_with_a_shared_home(
    far_schedd: FarSchedd, monkeypatch: pytest.MonkeyPatch
) -> None:
    """``_condor_SCHEDD_HOST`` names it: with the map's folder on a shared disk all is as on its own host."""
    schedd, _, collector = far_schedd.pool.removeprefix("schedd://").partition("/")
    monkeypatch.setenv("CONDOR_CONFIG", str(far_schedd.config))
    monkeypatch.setenv("_condor_COLLECTOR_HOST", collector)
    monkeypatch.setenv("_condor_SCHEDD_HOST", schedd)
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(far_schedd.shared / "home"))
    m = wingspan.map(lambda x: x * x, range(5), options=wingspan.Options(workers=2))
    assert list(m) == [0, 1, 4, 9, 16]
    assert m.status().pools == ("htcondor",)
    m.remove()
