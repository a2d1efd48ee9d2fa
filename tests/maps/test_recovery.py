"""What stops in the middle, or is stopped on purpose, goes on: nothing is taken for a loss that was none."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

import wingspan
from _on_disk import finished, plans, processes, starts, submissions
from _waiting import PATIENCE, until
from wingspan import ComponentStatus
from wingspan.pools.personal.processes import ProcessIdentity
from wingspan.worker.transports import FileTransport

RUNNING = ComponentStatus.RUNNING


def test_every_way_to_read_gives_what_was_done_again():
    """After a rerun of one of many quick components all ways to read outputs give its new value, and the
    others their old one.
    """
    m = wingspan.map(lambda x: time.time_ns(), range(1000), pool="local", options=wingspan.Options(workers=1))
    m.wait(PATIENCE)
    before = m[:]
    assert list(m) == before
    reading = iter(m)
    assert next(reading) == before[0]
    m.rerun([500])
    m.wait(PATIENCE)
    new = m[500]
    assert new != before[500]
    expected = [*before[:500], new, *before[501:]]

    async def collect(iterator):
        return [output async for output in iterator]

    async def everything():
        return await m

    for outputs in (
        list(m),
        m[:],
        list(wingspan.load(m.tag)),
        [output for _, output in m.iter_with_inputs()],
        asyncio.run(everything()),
        asyncio.run(collect(m.aiter())),
        [before[0], *reading],
    ):
        assert outputs == expected
    assert sorted(m.iter_as_available()) == sorted(expected)


def test_what_its_owner_holds_is_not_lost(gate):
    """However often its owner holds and releases a map, no component is given up; nor is one after its
    workers were sent away.
    """
    wait = gate.wait
    m = wingspan.map(lambda x: wait(), [1, 2], pool="local", options=wingspan.Options(workers=2))
    for turn in range(6):
        until(lambda: all(status is RUNNING for status in m.statuses), "both run")
        if turn % 2:
            m.vacate()
        else:
            m.hold()
            wingspan.load(m.tag).release()
    assert not m.errors
    gate.open()
    assert m.wait(PATIENCE).is_done
    assert not m.errors


#: Makes a map whose workers it has submitted when it is killed, before it could write that down.
_SUBMITTER = """
import os, signal, sys
import wingspan
from wingspan.pools.submissions import SubmissionLog

go = sys.argv[2]

def work(x):
    import os, time
    while not os.path.exists(go):
        time.sleep(0.01)
    return x * x

SubmissionLog.add = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
options = wingspan.Options(workers=2, block_size=1, request_memory="64MB")
wingspan.map(work, [1, 2], tag="adopted", pool=sys.argv[1], options=options)
"""


def test_workers_of_a_killed_submitter_are_found(engine, other_python, tmp_path):
    """Workers that nobody has written down are the map's: they are held, released and removed with it,
    and no others are started.
    """
    go = tmp_path / "go"
    assert other_python(_SUBMITTER, engine, go, check=False).returncode == -signal.SIGKILL
    m = wingspan.load("adopted")
    until(lambda: all(status is RUNNING for status in m.statuses), "both run")
    m.hold()
    until(lambda: m.status().counts[ComponentStatus.HELD] == 2, "both are held")
    m.release()
    until(lambda: m.status().counts[RUNNING] == 2, "both run again")
    go.touch()
    assert list(m.iter(timeout=PATIENCE)) == [1, 4]
    if engine != "local":  # there others take the place of those that were held
        assert len(submissions(m)) == 1
    m.remove()
    go.unlink()
    assert other_python(_SUBMITTER, engine, go, check=False).returncode == -signal.SIGKILL
    found = wingspan.load("adopted")
    until(lambda: found.status().counts[RUNNING] == 2, "both run")
    pids = processes(found)
    wingspan.remove("adopted")
    until(lambda: not any(is_at_work(pid, found.path) for pid in pids), "no worker is left")
    # What HTCondor may still write of a job, clean takes away.
    until(lambda: wingspan.clean() == () and not os.listdir(found.path.parent), "nothing is left")


def is_at_work(pid: int, folder: Path) -> bool:
    """The process is there and has files of the map open, or is started for it."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes()
        links = [str(entry.readlink()) for entry in Path(f"/proc/{pid}/fd").iterdir()]
    except OSError:
        return False
    return str(folder).encode() in words or any(link.startswith(str(folder)) for link in links)


def test_what_runs_for_ever_is_ended_when_it_is_done_again(engine, tmp_path):
    """A rerun of a component that has no end stops it: one process works on it, not two; a rerun of what
    is missing leaves it alone.
    """
    beats, end = tmp_path / "beats", tmp_path / "end"

    def endless(x, beats=beats, end=end):
        while not end.exists():
            with beats.open("a") as file:
                file.write(f"{os.getpid()}\n")
            time.sleep(0.05)
        return x

    options = wingspan.Options(workers=1, request_memory="64MB")
    m = wingspan.map(endless, [7], tag="endless", pool=engine, options=options)
    until(lambda: m.statuses == [RUNNING], "it runs")
    first = beats.read_text().split()[0]
    assert m.rerun().components == ()
    m.rerun([0])
    until(lambda: beats.read_text().split()[-1] != first, "it runs again")

    until(lambda: ProcessIdentity.of(int(first)) is None, "the first one has ended")
    size = beats.stat().st_size
    written = until(lambda: len(new := beats.read_text()[size:].split()) > 10 and new, "more of its beats")
    assert len(set(written)) == 1
    end.touch()
    assert list(m.iter(timeout=PATIENCE)) == [7]
    assert not m.errors


def test_every_question_to_a_map_that_another_has_removed_is_answered(engine, other_python, gate):
    """While its workers are at work another process removes the map: MapRemoved, whatever is asked, and
    no folder is left or made anew.
    """
    wait = gate.wait
    options = wingspan.Options(workers=2, block_size=1, request_memory="64MB")
    m = wingspan.map(lambda x: wait(), [1, 2], tag="gone", pool=engine, options=options)
    until(lambda: m.status().counts[RUNNING] == 2, "both run")
    other_python("import wingspan; wingspan.remove('gone')")
    for ask in (
        m.wait,
        m.status,
        m.rerun,
        m.hold,
        m.release,
        m.vacate,
        lambda: m[0],
        lambda: m.errors,
        lambda: m.statuses,
        lambda: m.runtimes,
        lambda: m.stdout(0),
        lambda: m.input(0),
        lambda: m.add_workers(1),
        lambda: m.retag("else"),
        lambda: list(m.iter_as_available()),
    ):
        with pytest.raises(wingspan.MapRemoved):
            ask()
    m.remove()
    assert wingspan.tags() == ()
    until(lambda: wingspan.clean() == () and not os.listdir(m.path.parent), "nothing is left")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_a_full_disk_is_told_and_survived(tmp_path, monkeypatch):
    """Whatever is asked of a map whose disk is full names the file, what is kept and what to do; with
    room again it goes on by itself.
    """
    disk = tmp_path / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(disk)], check=False).returncode:
        pytest.skip("this container may not mount anything")
    try:
        monkeypatch.setenv("WINGSPAN_DATA_DIR", str(disk / "data"))

        def work(x):
            time.sleep(0.02)
            return b"x" * 5000

        options = wingspan.Options(workers=2)
        m = wingspan.map(work, range(300), tag="full", pool="local", options=options)
        m.get(0, timeout=PATIENCE)
        filler = disk / "filler"
        with contextlib.suppress(OSError), filler.open("wb", buffering=0) as file:
            while True:
                file.write(bytes(512))
        for ask in (
            lambda: m.wait(PATIENCE, progress=False),
            lambda: m.rerun([0]),
            m.hold,
            lambda: m.retag("else"),
            m.vacate,
        ):
            told = None
            try:
                ask()
            except wingspan.WingspanError as error:
                told = error
            if told is None:
                # Workers end when they cannot write: then there is nobody to be sent away, and nothing to be
                # written.
                assert ask == m.vacate
                continue
            assert str(disk) in str(told) or isinstance(told, wingspan.WorkersCannotStart)
            assert told.hint
        assert not (m.path / "held").exists()
        filler.unlink()
        while True:
            try:
                assert m.wait(PATIENCE, progress=False).is_done
                break
            except wingspan.WorkersCannotStart:
                m.rerun()  # as its hint says
        assert list(m) == [b"x" * 5000] * 300
        m.remove()
    finally:
        subprocess.run(["umount", "-l", str(disk)], check=True)


def test_many_maps_need_few_files(tmp_path, other_python):
    """A session with more live maps than it may have files open reads all of them."""
    script = """
import resource
resource.setrlimit(resource.RLIMIT_NOFILE, (96, 96))
import wingspan
maps = [wingspan.map(abs, [-n], pool="local", options=wingspan.Options(workers=1)) for n in range(150)]
assert [m[0] for m in maps] == list(range(150))
assert all(m.status().is_done for m in maps)
assert [m[0] for m in maps] == list(range(150))
"""
    other_python(script)


def test_clean_gives_a_map_with_results_its_tag_back(data_dir):
    """A map whose tag was lost is no litter if somebody named it and it has results; one without results
    is, and so is a removed one.
    """
    m = wingspan.map(abs, [-1], tag="precious", pool="local")
    m.wait(PATIENCE)
    half = m.path.with_name("20200101-000000-00000000")
    removed = m.path.with_name(f".removed-{half.name}-1")
    being_made = m.path.with_name(".new-20200101-000000-00000001")
    for folder in (half, removed, being_made):
        folder.mkdir()
    (data_dir / "tags" / "precious").unlink()
    for folder in (half, m.path):
        os.utime(folder, (0, 0))
    assert wingspan.clean() == ()
    assert wingspan.load("precious")[0] == 1
    being_made.rmdir()
    assert os.listdir(m.path.parent) == [m.path.name]


#: Gives a map another tag and is killed at the so-manieth change that it makes.
_RETAG = """
import os, sys
import wingspan
from faults.actors import kill_at

m = wingspan.load("before")
kill_at(int(sys.argv[1]))
m.retag("after")
os._exit(0)
"""


def test_a_retag_that_is_killed_anywhere_leaves_one_tag(other_python, monkeypatch):
    """Wherever it is killed the map has one tag when it was loaded, can be given another, and leaves none
    when it is removed.
    """
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
    number, done = 1, False
    while not done:
        m = wingspan.map(abs, [-1], tag="before", pool="local")
        m.wait(PATIENCE)
        done = other_python(_RETAG, number, check=False).returncode == 0
        found = wingspan.load_maps()
        assert {one.path for one in found} == {m.path}, number
        assert wingspan.tags() == (wingspan.load(wingspan.tags()[0]).tag,), number
        wingspan.load(wingspan.tags()[0]).retag("other")
        assert wingspan.tags() == ("other",), number
        wingspan.remove("other")
        assert wingspan.tags() == (), number
        number += 1
    assert number > 4


def test_a_repair_repeats_only_what_was_claimed():
    """When all workers are killed, what nobody had taken is not done twice."""
    import signal

    m = wingspan.map(
        lambda x: time.sleep(0.1) or x, range(40), pool="local", options=wingspan.Options(workers=2)
    )
    until(lambda: m.status().counts[wingspan.ComponentStatus.COMPLETED] >= 2)

    def told() -> list[int]:
        """Process ids of the workers; a worker that is only starting has none yet."""
        return [json.loads(path.read_text())["pid"] for path in (m.path / "workers").glob("*.run")]

    for pid in until(lambda: all(pids := told()) and pids, "both workers' process ids"):
        os.kill(pid, signal.SIGKILL)
    assert m[:] == list(range(40))
    assert sum(plan.length for number, plan in plans(m).items() if number) <= 8


@pytest.mark.parametrize("action", ["release", "vacate"])
def test_local_maps_go_on_though_nobody_waits(action):
    """After release and vacate local workers take the place of those that were ended, without a client
    that waits.
    """
    m = wingspan.map(lambda x: time.sleep(0.05) or x, range(30), tag="onward", pool="local")
    until(lambda: m.status().counts[wingspan.ComponentStatus.COMPLETED] >= 1)
    if action == "release":
        m.hold()
    getattr(m, action)()
    until(lambda: len(finished(m)) == 30, "the map goes on by itself")


def test_a_rerun_right_after_the_end_needs_nobody_who_waits():
    """rerun brings workers of its own: those that seem to run may have looked for work for the last time."""
    m = wingspan.map(abs, range(-8, 0), tag="again", pool="local")
    m.wait()
    m.rerun([1, 2])
    again = wingspan.load("again")
    until(lambda: again.is_done, "the rerun is done")


def test_a_map_of_an_earlier_commit_gets_workers():
    """Sets of workers had their count in the name: first-<number>-<count>."""
    m = wingspan.map(abs, range(4), pool="local", options=wingspan.Options(workers=2))
    assert list(m) == [0, 1, 2, 3]
    (m.path / "workers/first-0").rename(m.path / "workers/first-0-2")
    (m.path / "workers/first-0-2").write_bytes(b"")
    m.rerun()
    assert list(m) == [0, 1, 2, 3]


FULL = """
import os, resource, sys
import wingspan

os.environ["LC_FULL_DISK"] = sys.argv[1]  # workers of our own: the limit is theirs from the start
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
resource.setrlimit(resource.RLIMIT_FSIZE, (2 << 20, hard))  # less than the output, more than worker.pyz
m = wingspan.map(lambda x: bytes(x), [3 << 20], pool="local")
try:
    m.wait()
except wingspan.WorkersCannotStart as error:
    print(len(list((m.path / "results").iterdir())), error)
"""


def test_a_disk_that_is_full_is_told_by_the_first_worker(other_python, tmp_path):
    """A part of a record on a full disk (here: a file that may not grow) is taken back, so that what the
    worker says of it can be read.
    """
    told = other_python(FULL, tmp_path).stdout
    assert "the worker itself failed: OSError" in told
    assert "File too large" in told
    assert int(told.split()[0]) <= 2


def test_claims_that_another_process_removes_while_they_are_read(gate, monkeypatch):
    """One process looks for what lost workers had claimed while another one sees the map complete, and
    removes the claims: nothing is lost, and nothing is done again.
    """
    wait = gate.wait

    def component(number):
        wait()
        return time.time_ns()

    m = wingspan.map(
        component, range(3), pool="local", tag="two-readers", options=wingspan.Options(workers=1)
    )
    until(lambda: RUNNING in m.statuses, m.status)
    transport = FileTransport
    listed = transport.names

    def names(self, path):
        found = listed(self, path)
        if path.endswith("/claims") and found:
            gate.open()
            code = "import wingspan; wingspan.load('two-readers').wait()"
            subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE)
            assert listed(self, path) == []
        return found

    monkeypatch.setattr(transport, "names", names)
    assert not m._keeper.repair(set(starts(m)))
    monkeypatch.undo()
    assert m.wait(PATIENCE).is_done
    assert [path.name for path in (m.path / "rounds").iterdir()] == ["0"]
