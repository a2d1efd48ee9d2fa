"""What stops in the middle, or is stopped on purpose, goes on: nothing is taken for a loss that was none."""

from __future__ import annotations

import asyncio
import time

import wingspan
from wingspan import ComponentStatus

RUNNING = ComponentStatus.RUNNING


def test_every_way_to_read_gives_what_was_done_again():
    """After a rerun of one of many quick components all ways to read outputs give its new value, and the others their old one."""
    m = wingspan.map(lambda x: time.time_ns(), range(1000), pool="local", options=wingspan.Options(workers=1))
    m.wait(60)
    before = m[:]
    assert list(m) == before
    reading = iter(m)
    assert next(reading) == before[0]
    m.rerun([500])
    m.wait(60)
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


def test_what_its_owner_holds_is_not_lost(gate, until):
    """However often its owner holds and releases a map, no component is given up; nor is one after its workers were sent away."""
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
    assert m.wait(60).is_done
    assert not m.errors
