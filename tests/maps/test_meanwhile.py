"""A map or a run is removed by another process at any moment of what this one does with it."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import random
import shutil

import pytest

import wingspan
from _meanwhile import meanwhile
from _waiting import PATIENCE, until
from wingspan import MapRemoved, TagExists, TagNotFound
from wingspan.jobs import Submission
from wingspan.maps._folder import remove_map_folder, tags_root
from wingspan.maps._tags import remove_tag, write_tag
from wingspan.pools.local import LocalPool
from wingspan.runs import RunNotFound
from wingspan.runs._files import declared_files
from wingspan.runs._folder import remove_run_folder
from wingspan.runs._spec import RunSpec

#: How many moments of each deed are tried, and which.
MOMENTS = int(os.environ.get("WINGSPAN_TEST_EXAMPLES", "3"))
SEED = int(os.environ.get("WINGSPAN_TEST_SEED", "8"))
MANY = 10**6

OF_MAPS = {
    "load": lambda m: wingspan.load(m.tag),
    "load_maps": lambda m: wingspan.load_maps(),
    "clean": lambda m: wingspan.clean(),
    "status": lambda m: m.status(),
    "statuses": lambda m: m.statuses,
    "errors": lambda m: dict(m.errors),
    "runtimes": lambda m: m.runtimes,
    "stdout": lambda m: m.stdout(0),
    "input": lambda m: m.input(1),
    "rerun": lambda m: m.rerun([0]),
    "hold": lambda m: m.hold(),
    "release": lambda m: m.release(),
    "pause": lambda m: m.pause(),
    "resume": lambda m: m.resume(),
    "vacate": lambda m: m.vacate(),
    "cancel": lambda m: m.cancel(),
    "set_memory": lambda m: m.set_memory("1GB"),
    "retag": lambda m: m.retag("another"),
    "remove": lambda m: m.remove(),
    "fetch": lambda m: m.fetch("fetched"),
    "output_files": lambda m: [dict(files) for files in map(m.output_files.files, range(2))],
    "provenance": lambda m: m.provenance(0),
    "report": lambda m: m.report("report.html"),
}
OF_RUNS = {
    "load_run": lambda r: wingspan.load_run(r.name),
    "status": lambda r: r.status(),
    "outputs": lambda r: r.outputs,
    "stdout": lambda r: r.stdout(),
    "rerun": lambda r: r.rerun(),
    "hold": lambda r: r.hold(),
    "release": lambda r: r.release(),
    "cancel": lambda r: r.cancel(),
    "remove": lambda r: r.remove(),
    "fetch": lambda r: r.fetch("fetched"),
}


def moments(deed, how_many):
    """Some of the moments from 1 to `how_many`; which ones depends on the seed."""
    every = range(1, how_many + 1)
    return sorted(random.Random(f"{SEED}{deed}").sample(every, min(MOMENTS, how_many)))


def count(things, do):
    """On how many files of `things` something happens while `do` is done."""
    seen = []

    def concerns(path):
        if path.startswith(things):
            seen.append(path)
        return False

    with meanwhile(concerns, MANY, int):
        do()
    return len(seen)


@pytest.fixture
def here(tmp_path, monkeypatch):
    """The test's folder is the current one."""
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def restored(tmp_path):
    """Makes the map or run that was made first again, as often as somebody has removed it."""

    def keep(thing, tag=None):
        shutil.copytree(thing.path, tmp_path / "kept", symlinks=True)

        def restore():
            shutil.rmtree(thing.path, ignore_errors=True)
            shutil.copytree(tmp_path / "kept", thing.path, symlinks=True)
            if tag is not None:
                remove_tag(tags_root(), "another", thing.path.name)
                with contextlib.suppress(TagExists):
                    write_tag(tags_root(), tag, thing.path.name)

        return restore

    return keep


@pytest.mark.parametrize("deed", OF_MAPS)
def test_a_map_that_is_removed_meanwhile(deed, restored, here):
    """Whatever is done with a map that another process removes at that moment: it is done, or the map was
    removed, and nothing else is said. Who wanted to remove it hears nothing.
    """
    may_be_said = (TagNotFound,) if deed in ("remove", "clean") else (MapRemoved, TagNotFound)
    made = wingspan.map(abs, range(2), pool="local", tag="short-lived")
    made.wait(PATIENCE)
    until(lambda: os.listdir(made.path / "rounds/0") == ["plan"], "nobody tidies it any more")
    restore, do, path = restored(made, "short-lived"), OF_MAPS[deed], str(made.path)
    things = (path, str(tags_root()))
    one = wingspan.load("short-lived")
    for number in moments(deed, count(things, lambda: do(one))):
        restore()
        one = wingspan.load("short-lived")

        def remove(one=one):
            remove_map_folder(one.path, "short-lived")

        with (
            contextlib.suppress(*may_be_said),
            meanwhile(lambda seen: seen.startswith(things), number, remove),
        ):
            do(one)


@pytest.mark.parametrize("deed", OF_RUNS)
def test_a_run_that_is_removed_meanwhile(deed, restored, here):
    """The same for a run."""
    made = wingspan.run(["touch", "made"], outputs=["made"], name="short-lived-run", pool="local")
    made.wait(PATIENCE)
    restore, do, path = restored(made), OF_RUNS[deed], str(made.path)
    one = wingspan.load_run(made.name)
    for number in moments(deed, count((path,), lambda: do(one))):
        restore()
        one = wingspan.load_run(made.name)
        with (
            contextlib.suppress(RunNotFound),
            meanwhile(lambda seen: seen.startswith(path), number, lambda: remove_run_folder(made.path)),
        ):
            do(one)


def test_workers_that_came_while_their_map_was_being_removed(gate):
    """One process removes a map to which another has just added workers: whoever waits is told that the map
    is being removed, and not that its owner has taken its workers away.
    """
    wait = gate.wait
    made = wingspan.map(
        lambda x: wait(), [1], tag="short-lived", pool="local", options=wingspan.Options(workers=1)
    )
    removing, other = (wingspan.load("short-lived")._keeper for _ in range(2))
    removing.refresh()
    made.add_workers(1)
    removing.remove_for_good("its owner wanted it")
    with pytest.raises(MapRemoved, match="is being removed"):
        wingspan.load("short-lived").wait(PATIENCE)
    assert other.refresh()
    assert other.is_going


def test_files_that_vanish_while_they_are_listed(tmp_path, monkeypatch):
    """Of a folder in which somebody renames and removes files, what is still there is found."""
    walk = os.walk

    def walk_and_remove(top):
        for place, folders, names in walk(top):
            (tmp_path / "gone").unlink(missing_ok=True)
            yield place, folders, names

    for name in ("gone", "here"):
        (tmp_path / name).write_text(name)
    spec = RunSpec(name="listed", base=tmp_path, steps=(), outputs=("*",))
    monkeypatch.setattr("os.walk", walk_and_remove)
    assert declared_files(tmp_path, spec, 0) == {"here": tmp_path / "here"}


def test_a_worker_of_a_map_that_is_removed_while_its_jobs_are_looked_at(tmp_path):
    """The file by which a local worker shows that it is alive is removed just before it is read: that worker
    is passed over.
    """
    (tmp_path / "workers").mkdir()
    file = tmp_path / "workers" / "0.run"
    file.write_bytes(json.dumps({"cluster": "local-1", "proc": 0, "pid": os.getpid()}).encode())
    with file.open("rb") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        pool, jobs = LocalPool(), [Submission(pool="local", cluster="local-1", count=1)]
        with meanwhile(lambda path: path == str(file), 2, file.unlink) as moment:
            list(pool.watch(jobs, tmp_path).poll())
        assert moment.came
        with meanwhile(lambda path: path == str(file), 2, file.unlink) as moment:
            file.write_bytes(b"{}")
            assert list(pool._running(tmp_path)) == []


def test_what_is_left_of_runs_is_removed_by_two_processes_at_once(monkeypatch, tmp_path):
    """One process removes the folder that HTCondor made for a removed run just before another one looks how
    old it is.
    """
    (tmp_path / "runs" / "left").mkdir(parents=True)
    (tmp_path / "runs" / "mine").mkdir()

    def is_aftermath(path):
        path.rmdir()
        return True

    monkeypatch.setattr("wingspan.runs._folder.is_aftermath", is_aftermath)
    remove_run_folder(tmp_path / "runs" / "mine")
    assert list((tmp_path / "runs").iterdir()) == []
