"""From the state of each component to the grid, and how quickly it goes on."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from wingspan.views._cells import StateGrid, cell_size, measure_cells, state_cells
from wingspan.views._model import STATES
from wingspan.views._pace import Pace

CODES = {name: code for code, name in enumerate(STATES)}


@given(st.integers(1, 10**8), st.integers(1, 5000))
def test_there_are_never_more_cells_than_asked_for(count, most):
    """Cells are of a size that keeps them few, and not more than two and a half times larger than need be."""
    size = cell_size(count, most)
    assert -(-count // size) <= most
    assert size == 1 or size <= 2.5 * -(-count // most)


@given(
    st.binary(min_size=1, max_size=300).map(lambda data: bytes(byte % 3 for byte in data)),
    st.dictionaries(st.integers(0, 299), st.sampled_from(["running", "held", "suspended"]), max_size=20),
    st.sampled_from(["idle", "held", "removed"]),
    st.integers(1, 400),
    st.data(),
)
def test_each_cell_tells_what_its_components_are(codes, exceptions, rest, most, data):
    """A failure shows in its cell whatever else is in it, then a hold, then work; the level is the share
    that is finished.
    """
    first = data.draw(st.integers(0, len(codes) - 1))
    stop = data.draw(st.integers(first + 1, len(codes)))
    exceptions = {at: state for at, state in exceptions.items() if at < len(codes) and not codes[at]}
    cells = state_cells(codes, exceptions, rest, first, stop, most)
    assert (cells.first, cells.stop, cells.low) == (first, stop, None)
    names = ["completed" if code == 1 else "errored" if code == 2 else rest for code in codes]
    for at, state in exceptions.items():
        names[at] = state
    assert len(cells.data) == 2 * -(-(stop - first) // cells.size)
    for cell, low in enumerate(range(first, stop, cells.size)):
        within = names[low : min(low + cells.size, stop)]
        state, level = STATES[cells.data[2 * cell]], cells.data[2 * cell + 1]
        finished = sum(name in ("completed", "errored") for name in within)
        if cells.size == 1:
            assert state == within[0]
        elif "errored" in within:
            assert state == "errored"
        elif exceptions.keys() & set(range(low, low + len(within))):
            assert state in ("held", "running", "suspended")
        else:
            assert state == ("completed" if finished else rest)
        assert level == 255 * finished // len(within)


@given(
    st.integers(1, 2000),
    st.lists(
        st.tuples(
            st.lists(st.tuples(st.integers(0, 1999), st.integers(0, 3)), max_size=5),
            st.dictionaries(st.integers(0, 1999), st.sampled_from(["running", "held"]), max_size=3),
            st.sampled_from(["idle", "held"]),
            st.sampled_from([(0, 2000), (0, 2000), (500, 700)]),
        ),
        min_size=2,
        max_size=6,
    ),
)
def test_a_grid_that_is_brought_up_to_date_is_the_one_that_is_made_anew(most, looks):
    """Whatever has changed between two looks: components, exceptions, the rest's state, what is shown."""
    grid, codes = StateGrid(), bytearray(2000)
    for changes, exceptions, rest, (first, stop) in looks:
        for component, code in changes:
            codes[component] = code
        seen = grid.cells(codes, exceptions, rest, first, stop, most)
        assert seen == state_cells(codes, exceptions, rest, first, stop, most)


def test_a_cell_of_cancelled_components_is_shown_as_removed():
    """Also where a cell is several components: all of them are cancelled; one that waits makes it idle."""
    cells = state_cells(bytes([3, 3, 3, 0]), {}, "idle", 0, 4, 2)
    assert [STATES[code] for code in cells.data[::2]] == ["removed", "idle"]


@given(st.lists(st.one_of(st.none(), st.floats(1e-9, 1e12)), min_size=1, max_size=50))
def test_measures_keep_their_order(values):
    """What took longer is never paler; what is not known is told from what is."""
    cells = measure_cells(values.__getitem__, 0, len(values), "runtime", 100)
    known = sorted(
        (value, shade) for value, shade in zip(values, cells.data, strict=True) if value is not None
    )
    assert all(shade == 0 for value, shade in zip(values, cells.data, strict=True) if value is None)
    assert all(1 <= shade <= 255 for _, shade in known)
    assert [shade for _, shade in known] == sorted(shade for _, shade in known)


@given(
    st.lists(
        st.tuples(st.floats(0.01, 100), st.integers(0, 50), st.integers(0, 5)), min_size=1, max_size=2000
    )
)
def test_what_was_seen_is_kept_short(steps):
    """However long somebody looks, a few hundred points are kept, in order, the newest among them."""
    pace, now, done = Pace(), 0.0, 0
    for seconds, more, running in steps:
        now, done = now + seconds, done + more
        pace.see(now, done, running)
    times = [time for time, _, _ in pace.points]
    assert len(times) <= 241
    assert times == sorted(times)
    assert pace.points[-1] == (now, done, steps[-1][2])
    rate = pace.rate()
    assert rate is None or rate > 0
