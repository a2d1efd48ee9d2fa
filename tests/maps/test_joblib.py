"""joblib's `Parallel` on a pool."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest
from joblib import Parallel, delayed, parallel_config

import wingspan
import wingspan.joblib
from _waiting import until


class OwnError(Exception):
    pass


def fails(x: int) -> int:
    if x == 3:
        raise OwnError(x)
    return x


def in_parallel(n: int) -> tuple[int, int]:
    return sum(Parallel(n_jobs=2)(delayed(abs)(-number) for number in range(n))), os.getpid()


def where(x: int) -> tuple[int, int]:
    return x, os.getpid()


def test_calls_are_done_by_workers_in_batches() -> None:
    """Outputs come in order, from other processes, which stay for the next `Parallel`."""
    with parallel_config("wingspan", pool="local", n_jobs=2):
        first = Parallel()(delayed(where)(number) for number in range(300))
        second = Parallel()(delayed(where)(number) for number in range(4))
    assert [x for x, _ in first] == list(range(300))
    assert {pid for _, pid in second} <= {pid for _, pid in first}
    assert os.getpid() not in {pid for _, pid in first}
    # Nobody has to collect garbage for that.
    until(lambda: wingspan.tags() == (), "nothing is left of it")


def test_errors_nested_calls_and_generators() -> None:
    """An error is the function's own and ends the rest; a nested `Parallel` stays in its worker; generators
    work, in order and as they come."""
    with parallel_config("wingspan", pool="local", n_jobs=2):
        with pytest.raises(OwnError) as raised:
            Parallel()(delayed(fails)(number) for number in range(1000))
        assert raised.value.args == (3,)
        nested = Parallel()(delayed(in_parallel)(number) for number in range(4))
        assert [total for total, _ in nested] == [0, 0, 1, 3]
        assert os.getpid() not in {pid for _, pid in nested}
        assert list(Parallel(return_as="generator")(delayed(abs)(-x) for x in range(9))) == list(range(9))
        unordered = Parallel(return_as="generator_unordered")(delayed(abs)(-x) for x in range(9))
        assert sorted(unordered) == list(range(9))


def test_how_many_jobs() -> None:
    """1 is this process, as joblib has it; a negative number is what the pool has; 0 means nothing."""
    with parallel_config("wingspan", pool="local"):
        assert Parallel(n_jobs=1)(delayed(os.getpid)() for _ in range(2)) == [os.getpid()] * 2
        assert os.getpid() not in Parallel()(delayed(os.getpid)() for _ in range(2))
        with pytest.raises(ValueError, match="no meaning"):
            Parallel(n_jobs=0)(delayed(abs)(x) for x in [1])


def test_without_joblib_it_says_what_to_install() -> None:
    """A missing joblib is an error with a next step."""
    script = "import sys; sys.modules['joblib'] = None; import wingspan.joblib"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install 'wingspan[joblib]'" in done.stderr
