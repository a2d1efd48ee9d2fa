"""A pilot: some components first, and what they took decides what the others ask for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wingspan
from _on_disk import map_json, plans, submissions
from _waiting import PATIENCE, until
from wingspan import Options
from wingspan.errors import SettingsError
from wingspan.maps._needs import with_pilot
from wingspan.worker import pilot
from wingspan.worker.parts import Part

MB = 1 << 20


def test_a_pilot_decides_what_the_others_ask_for(engine, gate) -> None:
    """A few workers do it; others, with what was measured, help with the rest; this is written and shown."""
    wait = gate.wait

    def fill(x: int) -> int:
        if x >= 2:
            wait()
        return len(bytearray(60 * MB)) // MB + x

    options = Options(pilot=2, workers=3, block_size=1, request_memory="200MB")
    m = wingspan.map(fill, range(9), tag="pilot", pool=engine, options=options)
    keeper = m._keeper
    until(lambda: (keeper.refresh(), keeper.reconcile()) and len(submissions(m)) > 1, m.status)
    gate.open()
    status = m.wait(PATIENCE)
    assert list(m) == [60 + x for x in range(9)]
    ahead, rest = m.requests
    assert (ahead.components, ahead.options.request_memory) == ((0, 1), 200 * MB)
    assert rest.components == tuple(range(2, 9))
    assert 128 * MB <= rest.options.request_memory <= 400 * MB
    assert (rest.options.time is None) is (engine != "slurm")
    assert len(status.notes) == 1
    assert "pilot: 2 components took at most" in status.notes[0]
    first, *others = submissions(m)
    assert "needs" not in first
    assert [one["needs"]["request_memory"] for one in others] == [rest.options.request_memory]
    m.remove()


ALONE = """
import sys, wingspan
wingspan.map(abs, range(-20, 0), tag=sys.argv[1], pool="local", options=wingspan.Options(pilot=3, workers=2))
"""


def test_a_pilot_goes_on_without_anybody(data_dir, other_python) -> None:
    """Its workers do the rest, if they have enough for it, while nobody waits."""
    other_python(ALONE, "alone")
    m = wingspan.load("alone")
    until(lambda: m.is_done)
    assert list(m) == list(range(20, 0, -1))
    assert len(submissions(m)) == 1


def test_a_pilot_with_failures_and_different_needs(data_dir) -> None:
    """What fails counts as measured; what components ask for themselves stays as it is."""
    options = Options(
        pilot=2, retries=1, request_memory=[300, 300, 300, 400], request_cpus=lambda x: 1 + x // 3, workers=1
    )
    m = wingspan.map(lambda x: 1 // x, range(4), pool="local", options=options)
    m.wait(PATIENCE, errors_ok=True)
    assert set(m.errors) == {0}
    asked = {
        one.components: (one.options.request_memory // MB, one.options.request_cpus) for one in m.requests
    }
    assert asked == {(0, 1): (300, 1), (2,): (300, 1), (3,): (400, 2)} or asked == {
        (0, 1, 2): (300, 1),
        (3,): (400, 2),
    }
    assert plans(m)[max(plans(m))].measured["components"] == 2


@given(st.integers(2, 60), st.data())
def test_pilot_and_rest_are_all(count, data) -> None:
    """Each component is in the pilot or in the rest, with its own needs."""
    first = data.draw(st.integers(1, count - 1))
    border = data.draw(st.integers(0, count))
    groups = [({"request_cpus": 2}, range(border)), ({}, range(border, count))]
    plan = with_pilot(groups, range(first), 8, None, timed=False)
    ahead = [one for part in plan.parts for low, high in part.ranges for one in range(low, high)]
    later = [one for part in plan.rest for low, high in part.ranges for one in range(low, high)]
    assert sorted(ahead) == list(range(first))
    assert sorted(later) == list(range(first, count))
    for part in (*plan.parts, *plan.rest):
        assert all(
            (part.needs == {"request_cpus": 2}) is (one < border)
            for low, high in part.ranges
            for one in (low, high - 1)
        )


def test_what_is_asked_for_after_a_pilot() -> None:
    """A margin above what was measured, in steps of 16 MB; a time only where Slurm is told none."""
    measured = {"components": 2, "memory": 100 * MB, "wall": 60.0, "disk": 0}
    part = Part({}, [(0, 100)], 1, 10)
    assert pilot.needs_after(measured, part, {}, False) == {"request_memory": 192 * MB}
    assert pilot.needs_after({**measured, "disk": 1 << 30}, part, {}, False)["request_disk"] == 1536 * MB
    assert pilot.needs_after(measured, part, {}, True)["time"] == 1800
    assert pilot.needs_after({**measured, "wall": 600.0}, part, {}, True)["time"] == 18000
    assert "time" not in pilot.needs_after(measured, part, {"time": 60}, True)


@pytest.mark.parametrize("value", [0, -1, 2.5, True, "ten"])
def test_no_such_pilot(value) -> None:
    """It is a whole number of components."""
    with pytest.raises(SettingsError, match="pilot="):
        Options(pilot=value)


def test_a_pilot_of_all_is_none(data_dir) -> None:
    """A map that has no more components than the pilot is done as ever."""
    m = wingspan.map(abs, [-1, -2], pool="local", options=Options(pilot=5, workers=1))
    m.wait(PATIENCE)
    assert m.status().notes == ()
    assert map_json(m)["format"] == 2


def test_no_pilot_where_inputs_come_later(data_dir) -> None:
    """Of a chain and of an executor nobody knows the inputs when workers are submitted."""
    first = wingspan.map(abs, [-1, -2], pool="local", options=Options(workers=1))
    with pytest.raises(SettingsError, match="pilot goes by the inputs, and a chain's"):
        first.map(abs, options=Options(pilot=1))
    with (
        wingspan.Executor(pool="local", options=Options(pilot=2)) as executor,
        pytest.raises(SettingsError, match="pilot goes by the inputs, and an executor's"),
    ):
        executor.submit(abs, -1).result(PATIENCE)
