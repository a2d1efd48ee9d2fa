"""Several clients of one map at the same moment."""

from __future__ import annotations

import importlib
import os
import pickle
import random
import signal
import sys
import threading
import time

import pytest

import wingspan
from _on_disk import key, plans, processes, starts
from _waiting import PATIENCE, until
from wingspan import ComponentStatus
from wingspan.maps._functions import pickle_function
from wingspan.pools.local import LocalPool
from wingspan.worker import formats, rebuild, rounds

RUNNING = ComponentStatus.RUNNING


def together(*calls):
    """Answers of `calls`, made at the same moment by a thread each."""
    barrier, answers = threading.Barrier(len(calls)), [None] * len(calls)

    def make(number):
        barrier.wait()
        answers[number] = calls[number]()

    threads = [threading.Thread(target=make, args=(number,)) for number in range(len(calls))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return answers


def test_no_two_workers_have_one_number():
    """Clients that add workers at the same moment, each another count of them, get numbers of their own."""
    m = wingspan.map(abs, [1], pool="local", tag="race")
    m.wait(PATIENCE)
    folder = wingspan.load("race")._folder
    taken = {0}
    for _ in range(60):
        sets = together(*(lambda count=count: (folder.reserve_workers(count), count) for count in (0, 2, 3)))
        for first, count in sets:
            numbers = set(range(first, first + count))
            assert not numbers & taken
            taken |= numbers


def test_what_each_of_several_lost_workers_had_is_repaired(gate):
    """Clients that repair different losses at the same moment: only one can publish the next round, the
    others publish those after it.
    """
    wait = gate.wait
    m = wingspan.map(
        lambda x: wait(),
        range(6),
        pool="local",
        tag="lost",
        options=wingspan.Options(workers=6, block_size=1),
    )
    until(lambda: all(status is RUNNING for status in m.statuses), "all run")
    names = starts(m)
    for pid in processes(m):
        os.kill(pid, signal.SIGKILL)
    keepers = [wingspan.load("lost")._keeper for _ in names]
    for keeper in keepers:
        keeper.refresh()
    published = together(
        *(
            lambda keeper=keeper, name=name: keeper.repair({name})
            for keeper, name in zip(keepers, names, strict=True)
        )
    )
    assert all(published)
    repaired = sorted(
        component
        for plan in plans(m).values()
        if plan.kind == rounds.REPAIR
        for first, stop in plan.ranges
        for component in range(first, stop)
    )
    assert repaired == list(range(6))
    gate.open()
    m.wait(PATIENCE)


def by_many_workers(m, workers, each):
    """Let `workers` more worker starts have done `each` components of `m`, one after the other."""
    for worker in range(workers):
        name, first = f"{worker + 1}.0", worker * each
        payloads = [pickle.dumps([component] * 50) for component in range(first, first + each)]
        headers = [
            formats.RECORD.pack(formats.OUTPUT, 0, 1, 0, first + at, time.time(), 0.0, 0.0, 0, len(payload))
            for at, payload in enumerate(payloads)
        ]
        frame = formats.frame(key(m), name, 0, headers, payloads)
        (m.path / "results" / name).write_bytes(frame)


def test_threads_may_read_one_map():
    """Threads read outputs through one `Map` object, of more workers than it keeps files open of; each
    gets what it asked for.
    """
    m = wingspan.map(abs, range(1000), pool="local", options=wingspan.Options(workers=0))
    by_many_workers(m, 100, 10)
    before = len(os.listdir("/proc/self/fd"))

    def read(seed):
        numbers = random.Random(seed)
        return all(
            m[component] == [component] * 50 for component in (numbers.randrange(1000) for _ in range(4000))
        )

    assert together(*(lambda seed=seed: read(seed) for seed in range(8))) == [True] * 8
    assert len(os.listdir("/proc/self/fd")) - before < 80


def test_threads_may_make_maps_of_the_user_s_own_modules(tmp_path, monkeypatch):
    """However many threads pickle functions of an own module at once, each pickle names the module and
    brings its source.
    """
    (tmp_path / "own_of_threads.py").write_text("def double(x):\n    return 2 * x\n")
    monkeypatch.syspath_prepend(tmp_path)
    double = importlib.import_module("own_of_threads").double

    def pickles():
        found = set()
        for _ in range(100):
            function = pickle_function(double)
            found.add((rebuild.loads(function.kept()) is double, *function.own.pack()["modules"]))
        return found

    try:
        assert together(*[pickles] * 6) == [{(True, "own_of_threads")}] * 6
    finally:
        del sys.modules["own_of_threads"]


def test_clean_leaves_a_map_that_is_being_submitted():
    """Between its folder and its first job a map that nobody named looks as if nobody worked on it."""

    class Cleaned(LocalPool):
        def submit(self, job):
            assert wingspan.clean() == ()
            return super().submit(job)

    m = wingspan.map(abs, [-1], pool=Cleaned())
    assert list(m) == [1]
    assert wingspan.clean() == (m.tag,)


def test_a_map_removed_by_another_says_so():
    """A Map whose folder was removed by another process raises MapRemoved, whatever it is asked."""
    m = wingspan.map(abs, [-1], tag="gone", pool="local")
    m.wait()
    wingspan.remove("gone")
    assert not m.exists
    for ask in (
        m.wait,
        m.rerun,
        m.status,
        lambda: wingspan.maps.Map(m._folder)[0],
        lambda: m.input(0),
        lambda: m.stdout(0),
        lambda: m.statuses,
        lambda: m.add_workers(1),
        lambda: m.retag("other"),
    ):
        with pytest.raises(wingspan.MapRemoved):
            ask()
    m.remove()
    assert wingspan.tags() == ()


def test_two_sessions_agree_on_components_that_were_done_twice():
    """Of two records of a component the same one counts, whoever reads them and in whatever order."""
    import random

    def draw(_):
        time.sleep(0.2)
        return random.random()

    m = wingspan.map(draw, range(12), tag="twice", pool="local", options=wingspan.Options(workers=2))
    until(lambda: m.status().counts[wingspan.ComponentStatus.COMPLETED] >= 2)
    m.rerun(m.components)
    outputs = m[:]
    assert list(wingspan.load("twice")) == outputs
