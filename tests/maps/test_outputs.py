"""Outputs of maps, on real local workers: indexing, slices, iteration, waiting, and asyncio."""

from __future__ import annotations

import asyncio
import datetime
import operator
import pickle
from collections.abc import Sequence

import pytest

import wingspan
from _waiting import PATIENCE, until
from wingspan import ComponentStatus


@pytest.fixture(scope="module")
def squares(tmp_path_factory):
    """A finished map that tests only read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("WINGSPAN_DATA_DIR", str(tmp_path_factory.mktemp("squares")))
        made = wingspan.map(lambda x: x * x, range(7), tag="squares", pool="local")
        made.wait()
        yield made
        made.remove()


def fail_on_odd(x):
    if x % 2:
        raise ValueError(f"{x} is odd")
    return 10 * x


def test_a_map_is_a_sequence_of_its_outputs(squares):
    """Indexing, slices and negative numbers mean what they mean for a list."""
    expected = [x * x for x in range(7)]
    assert isinstance(squares, Sequence)
    assert len(squares) == 7
    assert list(squares) == expected
    assert [squares[i] for i in range(-7, 7)] == [expected[i] for i in range(-7, 7)]
    for cut in (slice(None), slice(2, 5), slice(-3, None), slice(None, None, -2), slice(5, 2), slice(0, 99)):
        assert squares[cut] == expected[cut]
    assert list(reversed(squares)) == expected[::-1]
    assert 36 in squares
    assert 37 not in squares
    assert squares.index(9) == 3
    assert squares.count(4) == 1


@pytest.mark.parametrize("index", [7, -8, 10**30])
def test_a_number_without_a_component_is_an_index_error(squares, index):
    """A number beyond either end raises IndexError, from every method that takes one."""
    for ask in (squares.__getitem__, squares.get, squares.input, squares.stdout, squares.stderr):
        with pytest.raises(IndexError, match="squares"):
            ask(index)


def test_inputs_come_back(squares):
    """Inputs can be read again: one, all, and beside the outputs."""
    assert squares.input(3) == 3
    assert squares.input(-1) == 6
    assert list(squares.iter_inputs()) == list(range(7))
    assert list(squares.iter_with_inputs()) == [(x, x * x) for x in range(7)]
    assert sorted(squares.iter_as_available_with_inputs()) == [(x, x * x) for x in range(7)]


def test_a_loaded_map_equals_the_one_that_was_made(squares, monkeypatch):
    """`load` gives the same map: equal, of the same hash, with the same outputs."""
    monkeypatch.setenv("WINGSPAN_DATA_DIR", str(squares.path.parents[1]))
    again = wingspan.load("squares")
    assert again is not squares
    assert again == squares
    assert hash(again) == hash(squares)
    assert again != object()
    assert list(again) == list(squares)
    assert [one.tag for one in wingspan.load_maps("squ*")] == ["squares"]


def test_a_finished_map_says_so(squares):
    """Statuses, summary, repr, HTML, runtimes and memory of a finished map."""
    assert squares.is_done
    assert set(squares.statuses) == {ComponentStatus.COMPLETED}
    status = squares.status()
    assert status.is_done
    assert status.counts[ComponentStatus.COMPLETED] == 7
    assert set(status.counts) == set(ComponentStatus)
    assert status.message is None
    assert "7 completed" in str(status)
    assert "squares" in repr(squares)
    assert "7 completed" in squares._repr_html_()
    assert squares.components_by_status() == {ComponentStatus.COMPLETED: tuple(range(7))}
    assert squares.errors == {}
    assert squares.holds == {}
    assert set(squares.runtimes) == set(range(7))
    assert all(measures.wall >= 0 and measures.cpu >= 0 for measures in squares.runtimes.values())
    assert all(peak > 2**20 for peak in squares.memory.values())


def test_starmap_takes_positional_and_keyword_arguments():
    """args and kwargs are put together, the shorter filled up with nothing; the inputs are (args, kwargs)."""
    m = wingspan.starmap(
        lambda *args, **kwargs: (args, kwargs), [(1, 2), (3,)], [{"a": 1}, {}, {"b": 2}], pool="local"
    )
    assert list(m) == [((1, 2), {"a": 1}), ((3,), {}), ((), {"b": 2})]
    assert m.input(0) == ((1, 2), {"a": 1})


def test_build_map_makes_a_map_of_the_recorded_calls():
    """The map is made when the block ends, and not before."""
    with wingspan.build_map(pow, tag="powers", pool="local") as builder:
        builder(2, 3)
        builder(3, 2)
        assert len(builder) == 2
        with pytest.raises(wingspan.MapError, match="not made yet"):
            _ = builder.map
    assert list(builder.map) == [8, 9]
    assert builder.map.tag == "powers"


def test_build_map_makes_nothing_when_its_block_fails():
    """An exception in the block comes through, and there is no map."""

    def half():
        with wingspan.build_map(pow, tag="half", pool="local") as builder:
            builder(2, 3)
            raise KeyError("half-way")

    with pytest.raises(KeyError):
        half()
    assert wingspan.tags() == ()


def test_iteration_raises_a_component_s_error_where_it_stands():
    """In-order iteration gives what comes before a failed component, then raises its exception."""
    m = wingspan.map(fail_on_odd, range(4), pool="local")
    outputs = iter(m)
    assert next(outputs) == 0
    with pytest.raises(ValueError, match="1 is odd"):
        next(outputs)


@pytest.mark.parametrize("method", ["iter", "iter_as_available"])
def test_iteration_can_give_exceptions_instead_of_raising(method):
    """With return_exceptions=True every component gives an output or its exception."""
    m = wingspan.map(fail_on_odd, range(6), pool="local")
    pairs = sorted(getattr(m, method)(with_inputs=True, return_exceptions=True), key=operator.itemgetter(0))
    assert [x for x, _ in pairs] == list(range(6))
    assert [y for x, y in pairs if x % 2 == 0] == [0, 20, 40]
    assert [str(y) for x, y in pairs if x % 2] == ["1 is odd", "3 is odd", "5 is odd"]
    assert all(type(y) is ValueError for x, y in pairs if x % 2)


def test_as_available_does_not_wait_for_the_slow(gate):
    """A component that is not done keeps no other back when iterating as available."""
    wait = gate.wait

    def slow_first(x):
        if x == 0:
            wait()
        return x

    m = wingspan.map(slow_first, range(5), pool="local", options=wingspan.Options(workers=2, block_size=1))
    outputs = m.iter_as_available()
    assert {next(outputs) for _ in range(4)} == {1, 2, 3, 4}
    gate.open()
    assert list(outputs) == [0]


def test_nothing_waits_behind_a_slow_component_that_others_could_do(gate):
    """Where each component is claimed by itself, none is claimed ahead, however quick those before were."""
    wait = gate.wait

    def slow_second(x):
        if x == 1:
            wait()
        return x

    m = wingspan.map(slow_second, range(3), pool="local", options=wingspan.Options(workers=1, block_size=1))
    until(lambda: m.status().counts[wingspan.ComponentStatus.RUNNING] == 1, "the slow component")
    m.add_workers(1)
    assert m.get(2, timeout=PATIENCE) == 2
    gate.open()
    assert list(m) == [0, 1, 2]


def test_what_is_not_there_yet(gate):
    """Timeouts: 0 asks without waiting, others raise TimeoutError; the map goes on and its output comes."""
    wait = gate.wait

    def waiting(x):
        wait()
        return x

    m = wingspan.map(waiting, [7], tag="waiting", pool="local")
    with pytest.raises(wingspan.OutputNotReady, match="component 0 of map 'waiting'"):
        m.get(0, timeout=0)
    with pytest.raises(LookupError):
        m.get(0, timeout=datetime.timedelta(0))
    for attempt in (
        lambda: m.get(0, timeout=0.01),
        lambda: m.get(-1, timeout=datetime.timedelta(milliseconds=10)),
        lambda: m.wait(0.01),
        lambda: list(m.iter(timeout=0.01)),
        lambda: list(m.iter_as_available(timeout=0.01)),
    ):
        with pytest.raises(TimeoutError, match="waiting"):
            attempt()
    until(lambda: m.statuses == [ComponentStatus.RUNNING], "the component is announced as running")
    assert not m.is_done
    assert m.status().counts[ComponentStatus.RUNNING] == 1
    gate.open()
    assert m.wait().is_done
    assert m.get(0, timeout=0) == 7


def test_asyncio_gets_the_outputs():
    """`await m`, `async for` and `aiter_as_available` give the outputs."""
    m = wingspan.map(lambda x: -x, range(5), pool="local")

    async def use():
        in_order = [y async for y in m]
        as_available = [pair async for pair in m.aiter_as_available(with_inputs=True)]
        return in_order, sorted(as_available), await m

    in_order, as_available, awaited = asyncio.run(use())
    assert in_order == awaited == [0, -1, -2, -3, -4]
    assert as_available == [(x, -x) for x in range(5)]


def test_asyncio_goes_on_while_a_map_is_waited_for(gate):
    """Waiting for an output does not block the event loop: another task opens the gate."""
    wait = gate.wait

    def waiting(x):
        wait()
        return x

    m = wingspan.map(waiting, [1], pool="local")

    async def use():
        outputs = asyncio.create_task(anext_of(m))
        await asyncio.sleep(0)
        gate.open()
        return await outputs

    async def anext_of(one):
        return await one.__aiter__().__anext__()

    assert asyncio.run(asyncio.wait_for(use(), PATIENCE)) == 1


def test_asyncio_raises_a_component_s_error():
    """A failed component raises its exception in `async for`, or is given with return_exceptions=True."""
    m = wingspan.map(fail_on_odd, [1], pool="local")

    async def raising():
        return [y async for y in m]

    async def giving():
        return [y async for y in m.aiter_as_available(return_exceptions=True)]

    with pytest.raises(ValueError, match="1 is odd"):
        asyncio.run(raising())
    assert [str(y) for y in asyncio.run(giving())] == ["1 is odd"]


def test_many_outputs_of_every_size():
    """20,000 small outputs and a few of megabytes come back whole and in order."""

    def output(x):
        return bytes([x % 256]) * (3_000_000 if x % 5000 == 17 else x % 50)

    m = wingspan.map(output, range(20_000), pool="local")
    for x, y in enumerate(m):
        assert y == output(x)
    assert x == 19_999


def test_asyncio_knows_inputs_and_timeouts(gate):
    """In-order iteration gives inputs on request, and raises MapTimeout when its time is over; the map
    goes on.
    """
    wait = gate.wait

    def slow_end(x):
        if x == 2:
            wait()
        return 10 * x

    m = wingspan.map(slow_end, range(3), pool="local")

    async def in_time():
        with pytest.raises(wingspan.MapTimeout, match="in time"):
            async for _ in m.aiter(timeout=0.5):
                pass

    assert m[1] == 10
    asyncio.run(in_time())
    gate.open()
    assert asyncio.run(_pairs(m)) == [(0, 0), (1, 10), (2, 20)]


async def _pairs(m):
    return [pair async for pair in m.aiter(with_inputs=True)]


def test_a_cancelled_wait_leaves_the_map_usable(gate):
    """Cancelling a task that waits for an output breaks neither the map nor a later wait."""
    wait = gate.wait
    m = wingspan.map(lambda x: wait() or x, [5], pool="local")

    async def cancelled():
        waiting = asyncio.create_task(_pairs(m))
        await asyncio.sleep(0.05)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        gate.open()
        return await m

    assert asyncio.run(cancelled()) == [5]


def test_a_map_says_when_it_was_made_and_of_which_function():
    """`created` is an aware datetime, `function_name` the function's own name."""
    before = datetime.datetime.now(datetime.timezone.utc)
    m = wingspan.map(abs, [-1], pool="local")
    assert before <= m.created <= datetime.datetime.now(datetime.timezone.utc)
    assert m.function_name == "abs"
    assert wingspan.load(m.tag).created == m.created


@pytest.mark.parametrize("index", ["a", 1.5, None])
def test_what_is_no_number_is_a_type_error(index):
    """Indexing with something that is no integer raises TypeError, as a list does."""
    m = wingspan.map(abs, [1], pool="local")
    with pytest.raises(TypeError):
        m[index]
    with pytest.raises(TypeError):
        m.get(index)


async def _gather_while_looking(m):
    seen = []
    async for output in m.aiter_as_available():
        assert m.is_done in (True, False)  # somebody looks meanwhile
        seen.append(output)
    return seen


def test_as_available_ends_though_somebody_looks_meanwhile():
    """aiter_as_available gives everything also when each turn of its loop refreshes the map."""
    import asyncio

    m = wingspan.map(abs, range(-20, 0), pool="local", options=wingspan.Options(workers=2, block_size=1))
    assert sorted(asyncio.run(_gather_while_looking(m))) == list(range(1, 21))


def test_a_map_can_be_pickled():
    """A pickled Map is the same map again."""

    m = wingspan.map(abs, [-1], pool="local")
    assert pickle.loads(pickle.dumps(m)) == m
    assert pickle.loads(pickle.dumps(m))[0] == 1


def test_a_starmap_of_arrays():
    """Arguments may come as anything that can be iterated over, arrays too, which are neither true nor
    false.
    """
    numpy = pytest.importorskip("numpy")
    for rows in (numpy.array([[1, 2], [3, 4]]), [numpy.array([1, 2]), numpy.array([3, 4])]):
        assert list(wingspan.starmap(lambda a, b: int(a + b), rows, pool="local")) == [3, 7]
