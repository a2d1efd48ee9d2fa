"""How often a worker asks the access point for something, by a clock that the test sets."""

from __future__ import annotations

import pytest

from wingspan.maps._simulated import KEY, InMemory, Memory
from wingspan.worker import pace as module
from wingspan.worker.outbox import Outbox
from wingspan.worker.pace import BURST, Pace


class Clock:
    """What the module takes for the time; sleeping lets it pass."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        return self.now

    time = monotonic

    def sleep(self, seconds: float) -> None:
        self.now += seconds


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(module, "time", clock)
    monkeypatch.setattr("wingspan.worker.outbox.time", clock)
    return clock


def test_all_workers_together_keep_to_the_budget(clock: Clock) -> None:
    """A worker's part is the budget by their number; a burst is free, after that it waits for each."""
    pace = Pace.of_map({"operations": 500, "workers": 1000}, lease=120.0)
    begin = clock.now
    for _ in range(100):
        assert pace.may_claim(False, lambda: None, lambda: False)
    asked = 2 * 100
    assert clock.now - begin == pytest.approx((asked - BURST) / 0.5, rel=0.05)


def test_what_waits_is_appended_first_and_the_end_is_not_missed(clock: Clock) -> None:
    """A worker that has to wait appends what it has gathered; one that is told to end does not wait on; one
    that has something to do is not stopped.
    """
    pace = Pace(1.0, lease=120.0)
    pace.take(2 * BURST)
    flushed: list[bool] = []
    assert not pace.may_claim(True, lambda: flushed.append(True), lambda: False)
    assert flushed == []
    begin = clock.now
    assert not pace.may_claim(False, lambda: flushed.append(True), lambda: clock.now > begin + 1)
    assert flushed == [True]
    assert clock.now < begin + 2


def test_nobody_is_taken_for_lost_because_of_a_small_budget(clock: Clock) -> None:
    """However small the budget is: signs of life and records come several times in a lease."""
    pace = Pace.of_map({"operations": 0.001, "workers": 10_000}, lease=120.0)
    pace.take(1000)
    assert max(pace.between, pace.heartbeat, pace.due()) <= 30.0
    free = Pace.of_map({"workers": 10_000}, lease=120.0)
    free.take(1000)
    assert (free.between, free.heartbeat, free.due()) == (0.0, 0.0, 0.0)


def test_a_slow_access_point_is_asked_less_often(clock: Clock) -> None:
    """After an append that took a second, records are gathered for twenty; after a quick one as before."""

    class Slow(InMemory):
        name, flush_seconds, takes = "chirp", 0.5, 1.0

        def append(self, path: str, *parts: bytes | memoryview) -> None:
            clock.now += self.takes
            super().append(path, *parts)

    transport = Slow(Memory())
    box = Outbox(transport, KEY, "0.0")  # type: ignore[arg-type]
    box.add(4)
    assert box.due(clock.now) == pytest.approx(0.5)
    box.flush()
    box.add(4)
    assert box.due(clock.now) == pytest.approx(20.0)
    transport.takes = 0.001
    box.flush()
    box.add(4)
    assert box.due(clock.now) == pytest.approx(0.5)


def test_what_was_asked_beyond_the_budget_is_no_debt(clock: Clock) -> None:
    """A worker that gave signs of life for hours asks for a block within a quarter of the lease."""
    pace = Pace(0.02, lease=120.0)
    for _ in range(1000):
        pace.take()
        clock.now += 30
    begin = clock.now
    assert pace.may_claim(False, lambda: None, lambda: False)
    assert clock.now - begin <= 31
