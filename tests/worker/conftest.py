"""A worker's two processes in this one: real pipes between them, and a real folder of a map."""

from __future__ import annotations

import copy
import os
import select
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest

from _waiting import PATIENCE
from wingspan.worker import formats, inside
from wingspan.worker.channel import Channel
from wingspan.worker.departing import Departures
from wingspan.worker.hearing import Hearing
from wingspan.worker.outbox import Outbox
from wingspan.worker.printed import Printed
from wingspan.worker.transports import FileTransport

KEY = bytes(range(32))


def two_ends():
    """A channel's two ends, each with descriptors of its own, as they are after a fork."""
    one = Channel()
    twin = copy.copy(one)
    for name, value in vars(one).items():
        if isinstance(value, int):
            setattr(twin, name, os.dup(value))
    one.in_supervisor()
    return one, twin.in_executor()


class Ends:
    """Both ends of a channel: the supervisor's and the executor's."""

    def __init__(self):
        self.channel, self.speaker = two_ends()
        self._open = [True, True]

    def write(self, data):
        os.write(self.speaker._say, data)

    def end_supervisor(self):
        if self._open[0]:
            self._open[0] = False
            self.channel.close()

    def end_executor(self):
        if self._open[1]:
            self._open[1] = False
            os.close(self.speaker._say)
            os.close(self.speaker._answers)


@pytest.fixture
def ends():
    both = Ends()
    yield both
    both.end_supervisor()
    both.end_executor()


@pytest.fixture
def own_scratch(tmp_path, monkeypatch):
    """Scratch folders of this test are made here, and a component is begun in a folder of its own."""
    scratch, work = tmp_path / "scratch", tmp_path / "work"
    scratch.mkdir()
    work.mkdir()
    monkeypatch.delenv("_CONDOR_SCRATCH_DIR", raising=False)
    monkeypatch.setenv("TMPDIR", str(scratch))
    monkeypatch.chdir(work)
    monkeypatch.setattr(inside, "_desk", [])
    monkeypatch.setattr(inside, "_work", [])
    monkeypatch.setattr(Printed, "written", [False])
    return SimpleNamespace(scratch=scratch, work=work)


class Worker:
    """One start of a worker: its two processes' parts, and the map's folder."""

    def __init__(self, folder, name="1.0", facts=None):
        self.name = name
        self.ends = Ends()
        self.transport = FileTransport(str(folder))
        self.outbox = Outbox(self.transport, KEY, name)
        self.hearing = Hearing(self.transport, KEY, name, self.outbox)
        self.at = None
        setting = {"plan": None, "transport": "file", "map": str(folder), "worker": name}
        work = str(Path.cwd())
        facts = {"tag": "a map", "seed": 5} if facts is None else facts
        self.work = inside.Work(
            lambda: self.at, self.ends.speaker, facts, Departures(setting, None), lambda: work
        )
        inside.install(self.work)

    @contextmanager
    def answering(self):
        """The supervisor's side hears one question, in a thread; none, where the other side asks nothing."""
        over, end = os.pipe()

        def answer():
            if self.ends.channel.said in select.select([self.ends.channel.said, over], [], [], PATIENCE)[0]:
                self.hearing.take(self.ends.channel)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield
        finally:
            os.close(end)
            thread.join(PATIENCE)
            os.close(over)

    def hear(self):
        self.hearing.take(self.ends.channel)

    def records(self):
        """What the map's owner reads: kind, round, attempt, component and payload of each record."""
        self.outbox.flush()
        try:
            data = self.transport.read("results/" + self.name)
        except FileNotFoundError:
            return []
        found = []
        for _, count, headers, end in formats.whole_frames(self.name, KEY, data, 0):
            payload = headers + count * formats.RECORD.size
            for one in range(count):
                fields = formats.RECORD.unpack_from(data, headers + one * formats.RECORD.size)
                found.append(
                    (fields[0], fields[3], fields[1], fields[4], data[payload : payload + fields[-1]])
                )
                payload += fields[-1]
            assert payload == end
        return found

    def close(self):
        self.transport.close()
        self.ends.end_supervisor()
        self.ends.end_executor()


@pytest.fixture
def new_worker(own_scratch, tmp_path):
    folder = tmp_path / "map"
    (folder / "results").mkdir(parents=True)
    made = []

    def new(*args, **kwargs):
        made.append(Worker(folder, *args, **kwargs))
        return made[-1]

    yield new
    for one in made:
        one.work.clear()
        one.close()


@pytest.fixture
def worker(new_worker):
    made = new_worker()
    made.at = (0, 0, 7)
    return made
