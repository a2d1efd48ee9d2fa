"""What is loaded once, and the seeds of components."""

from __future__ import annotations

import threading

import pytest

from wingspan.worker import loaded, seeds
from wingspan.worker.loaded import once


@pytest.fixture(autouse=True)
def _nothing_loaded(monkeypatch):
    monkeypatch.setattr(loaded, "_loaded", {})


class Counter:
    """A function that counts its calls: equal only to itself, and its pickle says nothing of the calls."""

    calls: list[object] = []

    def __call__(self, *args, **kwargs):
        Counter.calls.append((args, kwargs))
        return len(Counter.calls)


@pytest.fixture
def load(monkeypatch):
    monkeypatch.setattr(Counter, "calls", [])
    return Counter()


def test_equal_arguments_load_once(load):
    """Values decide, not objects; what cannot be hashed is told apart by its pickle."""
    assert once(load, [1, {"a": 2}], name="x", more=(3,)) == 1
    assert once(load, [1, {"a": 2}], more=(3,), name="x") == 1
    assert once(load, [1, {"a": 3}], more=(3,), name="x") == 2
    assert once(load, [1, {"a": 2}], more=(3,)) == 3
    assert once(load, "name", "x") == 4


def test_numbers_that_are_equal_are_not_the_same(load):
    """1, 1.0 and True are three arguments."""
    assert [once(load, one) for one in (1, 1.0, True, 1)] == [1, 2, 3, 1]


class Plain:
    def __init__(self, value):
        self.value = value


def test_objects_that_come_anew_with_each_input_are_told_by_their_values(load):
    """Their class has no equality of its own, so their pickle counts."""
    assert [once(load, Plain(value)) for value in (1, 1, 2)] == [1, 1, 2]


def test_an_object_that_cannot_be_pickled_is_itself(load):
    """A lock is one argument, and another lock another one."""
    one, other = threading.Lock(), threading.Lock()
    assert [once(load, lock) for lock in (one, one, other)] == [1, 1, 2]


def test_an_argument_that_nothing_tells_apart_is_refused(load):
    """The error names its class, says why, and what to do."""
    with pytest.raises(TypeError, match=r"once cannot tell this list from others: .*give a path or a name"):
        once(load, [threading.Lock()])
    assert Counter.calls == []


def test_a_call_that_raises_is_done_again():
    """Its error is not kept in place of a value."""
    answers = [None, 5]

    def read():
        answer = answers.pop(0)
        if answer is None:
            raise OSError("not yet")
        return answer

    with pytest.raises(OSError, match="not yet"):
        once(read)
    assert once(read) == 5
    assert once(read) == 5


def test_none_is_kept():
    """A function that returns None has loaded, too."""
    calls = []
    assert once(calls.append, 1) is once(calls.append, 1) is None
    assert len(calls) == 1


def function_with(value, default=0, *, named=0):
    def read(more=default, *, other=named):
        return object(), value, more, other

    return read


def test_a_function_that_is_defined_anew_is_the_same():
    """As long as its code, what it closes over and its defaults are; each of them tells functions apart."""
    first = once(function_with("a"))
    assert once(function_with("a")) is first
    others = [once(function_with("b")), once(function_with("a", 1)), once(function_with("a", named=1))]
    assert len({id(one) for one in [first, *others]}) == 4


def test_functions_in_functions_count():
    """A function that closes over another one is told by what that one closes over."""
    assert once(function_with(function_with("a"))) is once(function_with(function_with("a")))
    assert once(function_with(function_with("a"))) is not once(function_with(function_with("b")))


def test_a_function_that_closes_over_itself_has_an_end():
    """It is looked into only so deep; and a variable that has no value yet is none."""

    def make():
        def read():
            return object(), read, missing

        if read is None:
            missing = 1
        return read

    first, second = make(), make()
    assert loaded._key_of_function(first) == loaded._key_of_function(second)
    assert loaded._key_of_function(first) != loaded._key_of_function(function_with(1))


def test_threads_load_once(load):
    """All of them get what the first has loaded."""
    both, got = threading.Barrier(4), []

    def ask():
        both.wait()
        got.append(once(load, "model"))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got == [1, 1, 1, 1]


def test_a_fork_can_load_though_a_thread_held_the_lock(load, monkeypatch):
    """In a forked process that thread does not exist: the lock is a new one."""
    held = threading.Lock()
    held.acquire()
    monkeypatch.setattr(loaded, "_lock", [held])
    loaded._after_fork()
    assert once(load) == 1


@pytest.mark.parametrize(
    ("entropy", "key", "words"),
    [
        (0, (), [2968811710, 3677149159, 745650761, 2884920346, 2642120001]),
        (5, (7,), [4037575360, 475697274, 2445172038, 1042379297, 2256390117]),
        (2**200 + 3, (1, 2**40), [1941464766, 1882131257, 1042924138, 2079677044, 3091755582]),
    ],
)
def test_seeds_are_those_of_numpy(entropy, key, words):
    """The words that numpy's `SeedSequence` has generated, with numpy or without; a seed is four of them."""
    assert seeds.state(entropy, key, 5) == words
    if len(key) == 1:
        assert seeds.seed_of(entropy, key[0]) == sum(
            word << 32 * place for place, word in enumerate(words[:4])
        )
