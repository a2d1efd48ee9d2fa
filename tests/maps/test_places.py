"""Where records are: what is known of components does not depend on how many each record tells of."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from wingspan.maps._components import Components
from wingspan.maps._places import Newcomers, Places
from wingspan.worker import formats

RUNS = st.lists(st.tuples(st.integers(0, 50), st.integers(1, 9)), max_size=20)


@given(runs=RUNS)
def test_newcomers_come_once_for_each_record_in_their_order(runs: list[tuple[int, int]]) -> None:
    """Whether they are taken in between, or all at the end."""
    places, eager = Places(), []
    lazy, cursor = Newcomers(places), Newcomers(places)
    for first, count in runs:
        places.add(0, 0, 0, 0, first, count)
        while cursor.are_there():
            eager.append(cursor.take())
    wanted = [component for first, count in runs for component in range(first, first + count)]
    assert eager == wanted
    assert [lazy.take() for _ in wanted] == wanted
    assert not lazy.are_there()


@given(sizes=st.lists(st.integers(1, 5), min_size=1, max_size=10), number=st.integers(0, 3))
def test_a_run_is_known_as_its_components_are(sizes: list[int], number: int) -> None:
    """The same file, round and places, in one record or in several."""
    n = sum(sizes)
    together, apart = Components(n, 0), Components(n, 0)
    low = 0
    for at, size in enumerate(sizes):
        together.settle_run(low, low + size, at, number, 10 * at, 10 * at + 5)
        for component in range(low, low + size):
            apart.settle(component, formats.OUTPUT, at, number, 10 * at, 10 * at + 5)
        low += size
    for known in (together, apart):
        known._names = [f"{at}.0" for at in range(len(sizes))]

    def facts(known: Components) -> list[tuple[object, ...]]:
        return [
            (
                known.state[one],
                known.round_of(one),
                known._name_of(one),
                known._header_of(one),
                known._payload_of(one),
            )
            for one in range(n)
        ]

    assert facts(together) == facts(apart)
    assert together.is_done
