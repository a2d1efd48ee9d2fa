"""Maps on a pool whose jobs cannot speak with the access point: no chirp, and no disk that is shared."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

import wingspan
from _on_disk import submissions
from _waiting import PATIENCE, until
from wingspan import ComponentStatus, Options
from wingspan.maps import MapError
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.pools.personal import PersonalPool

pytestmark = pytest.mark.htcondor


class _Elsewhere(PersonalHTCondorPool):
    """The personal pool, as if its machines were others."""

    shares_files = False


@pytest.fixture(autouse=True)
def pool(personal_pool: PersonalPool, data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> _Elsewhere:
    data_dir.mkdir(parents=True, exist_ok=True)
    (data_dir / "personal-pool").symlink_to(personal_pool.directory)
    elsewhere = _Elsewhere()
    monkeypatch.setattr("wingspan.maps._keeper_submits.get_pool", lambda kind, place=None: elsewhere)
    return elsewhere


@contextmanager
def without_chirp(pool: _Elsewhere) -> Iterator[None]:
    """Jobs that start meanwhile have no chirp: HTCondor's starters read the configuration when they begin."""
    file = pool.personal.config_file
    text = file.read_text()
    try:
        file.write_text(f"{text}\nENABLE_CHIRP = false\n")
        yield
    finally:
        file.write_text(text)


def test_each_worker_gets_its_share_beforehand(
    pool: _Elsewhere, tmp_path: Path, gate: SimpleNamespace
) -> None:
    """Outputs, what is printed, files, errors and retries come back by file transfer. A worker that is sent
    off
    its machine keeps what it has done: no component that was finished is done again.
    """
    log, wait, folder = str(tmp_path / "done"), gate.wait, str(tmp_path)

    (tmp_path / "given/deep").mkdir(parents=True)
    given_file = tmp_path / "given/deep/é"
    given_file.write_text("from here")
    (tmp_path / "link").symlink_to(tmp_path / "given")
    given = wingspan.TransferPath(tmp_path / "link")

    def work(x: int, given: Path) -> int:
        component = wingspan.component()
        assert (given / "deep/é").read_text() == "from here"
        assert not given.is_relative_to(folder)
        if x == 1:
            Path(log + ".begun").touch()
            wait()
        with Path(log).open("a") as file:
            file.write(f"{x} ")
        print("printed", x)
        Path("file").write_text(str(x))
        component.transfer_output_files("file")
        if x == 3 and component.attempt == 1:
            raise ValueError("once")
        return 2 * x

    options = Options(chirp=False, workers=1, retries=1)
    m = wingspan.starmap(work, [(x, given) for x in range(5)], tag="shares", pool=pool, options=options)
    # A worker that looks here sees that this is not what it was given: it takes what came along.
    os.utime(given_file, ns=(moment := given_file.stat().st_mtime_ns, moment ^ 1))
    until(Path(log + ".begun").exists, "the second component has begun")
    assert m.statuses == [ComponentStatus.IDLE] * 5
    m.vacate()
    until(lambda: "\n004 (" in (m.path / "events.log").read_text(), "it was sent away")
    gate.open()
    m.wait(timeout=PATIENCE)
    assert list(m) == [0, 2, 4, 6, 8]
    assert m.stdout(2) == "printed 2\n"
    assert [(m.output_files[x] / "file").read_text() for x in range(5)] == list("01234")
    assert sorted(Path(log).read_text().split()) == list("012334")
    assert any("chirp is switched off" in note for note in m.status().notes)
    until(lambda: m.wait().is_done and not (m.path / "shares").exists(), "what was sent is gone")
    m.rerun([4])
    m.wait(timeout=PATIENCE)
    assert Path(log).read_text().split()[-1] == "4"


def test_chirp_is_switched_off_half_way(pool: _Elsewhere, tmp_path: Path, gate: SimpleNamespace) -> None:
    """What a worker has done by chirp counts; it finds chirp switched off when it is started again, and says
    so;
    the rest is done by workers that need none. Nothing is lost, and what was finished is not done again.
    """
    log, wait = str(tmp_path / "done"), gate.wait

    def work(x: int) -> int:
        if x == 2:
            wait()
        with Path(log).open("a") as file:
            file.write(f"{x} ")
        return x

    m = wingspan.map(work, range(6), tag="half-way", pool=pool, options=Options(workers=1))
    until(lambda: m.statuses[2] is ComponentStatus.RUNNING, "two are done, by chirp")
    with without_chirp(pool):
        m.vacate()
        until(lambda: "\n004 (" in (m.path / "events.log").read_text(), "it was sent away")
        gate.open()
        m.wait(timeout=PATIENCE)
    assert list(m) == list(range(6))
    assert sorted(Path(log).read_text().split()) == list("012345")
    assert [one.get("way", "") for one in submissions(m)] == ["", "transfer"]


_STUMBLES = """
import os, shutil, socket, subprocess, sys, threading

host, port, cookie = open(os.environ["_CONDOR_CHIRP_CONFIG"]).read().split()
listens = socket.create_server(("127.0.0.1", 0))
with open(".stumbles", "w") as file:
    file.write("127.0.0.1 %d %s" % (listens.getsockname()[1], cookie))

def forward(source, target):
    while data := source.recv(65536):
        target.sendall(data)
    target.shutdown(socket.SHUT_WR)

def answer():
    for _ in range(2):
        listens.accept()[0].close()
    open(sys.argv[1], "w").close()
    while True:
        here, there = listens.accept()[0], socket.create_connection((host, int(port)))
        for pair in ((here, there), (there, here)):
            threading.Thread(target=forward, args=pair, daemon=True).start()

threading.Thread(target=answer, daemon=True).start()
environ = dict(os.environ, _CONDOR_CHIRP_CONFIG=os.path.abspath(".stumbles"))
sys.exit(subprocess.run([sys.executable, *sys.argv[2:]], env=environ).returncode)
"""


def test_a_channel_that_fails_in_passing_is_tried_again(
    pool: _Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first two connections to chirp break off: the worker tries again, and the map is not shared out."""
    program, both = tmp_path / "stumbles.py", tmp_path / "both"
    program.write_text(_STUMBLES)
    executable, before, sends = pool.launch()
    monkeypatch.setattr(pool, "launch", lambda: (executable, (str(program), str(both), *before), sends))
    m = wingspan.map(abs, [-1, -2], tag="stumbles", pool=pool, options=Options(workers=1))
    m.wait(timeout=PATIENCE)
    assert list(m) == [1, 2]
    (entry,) = submissions(m)
    assert (entry.get("way", ""), m.status().notes) == ("", ())
    assert both.exists()


def test_what_needs_a_line_is_refused(
    pool: _Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A map that cannot be done without a line says so at once, and what to do."""
    with pytest.raises(MapError, match=r"takes calls while its workers run, .* chirp is switched off"):
        with wingspan.Executor(pool=pool, options=Options(chirp=False)) as executor:
            executor.submit(abs, -1).result(timeout=PATIENCE)
    (tmp_path / "input").write_bytes(b"0" * 2000)
    monkeypatch.setattr("wingspan.maps._shares.MOST_FILES", 1999)
    with pytest.raises(MapError, match=r"files that its components read .* chirp is switched off") as told:
        wingspan.map(
            lambda path: 0,
            [wingspan.TransferPath(tmp_path / "input")],
            pool=pool,
            options=Options(chirp=False),
        )
    assert "osdf:///" in str(told.value)


def test_a_share_that_is_lost_is_done_by_others(
    pool: _Elsewhere, tmp_path: Path, gate: SimpleNamespace, caplog: pytest.LogCaptureFixture
) -> None:
    """A worker is taken out of the queue while another is at work: a new one gets what it had. Who cancels a
    component is told that workers do not hear of it.
    """
    wait, begun = gate.wait, str(tmp_path)

    def work(x: int) -> int:
        Path(begun, f"begun-{x}").touch()
        wait()
        return x

    options = Options(chirp=False, workers=2, block_size=2)
    m = wingspan.map(work, range(4), tag="lost", pool=pool, options=options)
    until(lambda: Path(begun, "begun-0").exists() and Path(begun, "begun-2").exists(), "both are at work")
    (entry,) = submissions(m)
    with pool._schedd() as schedd:
        import htcondor2

        schedd.act(htcondor2.JobAction.Remove, f"ClusterId == {entry['cluster']} && ProcId == 0", ("lost", 0))
    until(lambda: m.status().workers.get("removed") == 1, "it is gone")
    assert m.cancel([3]) == (3,)
    assert "what they finish counts" in caplog.text
    gate.open()
    m.wait(timeout=PATIENCE)
    assert list(m) == [0, 1, 2, 3]
    assert [one["count"] for one in submissions(m)] == [2, 1]


def test_long_shares_are_kept_as_they_grow(
    pool: _Elsewhere, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A worker that is long at work has HTCondor keep what it has done, and goes on where it was: here after
    each
    block.
    """
    monkeypatch.setattr("wingspan.maps._shares.CHECKPOINT_SECONDS", 0.0)
    log = str(tmp_path / "done")

    def work(x: int) -> int:
        with Path(log).open("a") as file:
            file.write(f"{x} ")
        return x

    m = wingspan.map(work, range(2), pool=pool, options=Options(chirp=False, workers=1))
    m.wait(timeout=PATIENCE)
    assert list(m) == [0, 1]
    assert sorted(Path(log).read_text().split()) == ["0", "1"]
    assert len(list((m.path / "results").iterdir())) > 1
