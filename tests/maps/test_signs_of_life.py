"""What a worker's start said last counts only while it is the newest."""

from __future__ import annotations

import pytest

import wingspan
from _on_disk import key
from _waiting import PATIENCE
from wingspan.maps import ComponentStatus
from wingspan.worker import failure, formats
from wingspan.worker.outbox import Outbox
from wingspan.worker.transports import FileTransport


@pytest.fixture
def external():
    """A map without workers, and what appends to the results file of a start."""
    m = wingspan.map(lambda x: x, range(3), options=wingspan.Options(workers=0))
    transport = FileTransport(str(m.path))
    boxes = {}

    def say(start, kind, component, number=0):
        box = boxes.setdefault(start, Outbox(transport, key(m), start))
        payload = failure.dumps(failure.crash("crash", "it failed")) if kind == formats.ERROR else b""
        box.add(kind, payload=payload, number=number, index=component)
        box.flush()

    yield m, say
    transport.close()


def test_an_evicted_start_is_at_nothing(external):
    """A component that a start was at when it was evicted, and that failed in the next start, is in
    errors and not running.
    """
    m, say = external
    say("0.0", formats.HEARTBEAT, 1)
    assert m.statuses[1] is ComponentStatus.RUNNING
    for component in range(3):
        say("0.1", formats.ERROR, component)
    m.wait(PATIENCE, errors_ok=True)
    assert set(m.errors) == {0, 1, 2}
    assert m.statuses == [ComponentStatus.ERRORED] * 3
    assert m.is_done
    assert m.status().is_done


def test_the_newest_start_counts_though_it_is_found_first(external):
    """A component is running where the newest start says so, in whatever order the files are read."""
    m, say = external
    say("0.1", formats.HEARTBEAT, 2)
    assert m.statuses[2] is ComponentStatus.RUNNING
    say("0.0", formats.HEARTBEAT, 1)
    assert m.statuses == [ComponentStatus.IDLE, ComponentStatus.IDLE, ComponentStatus.RUNNING]


def test_a_sign_of_an_older_round_is_over(external):
    """A worker that said in an older round that it is at a component does not keep it running once
    another worker has done it.
    """
    m, say = external
    say("0.0", formats.HEARTBEAT, 0)
    say("1.0", formats.ERROR, 0)
    assert m.statuses[0] is ComponentStatus.ERRORED
    m._keeper.publish("rerun", [0])
    assert m.statuses[0] is ComponentStatus.IDLE
    say("0.0", formats.HEARTBEAT, 0, number=1)
    assert m.statuses[0] is ComponentStatus.RUNNING
