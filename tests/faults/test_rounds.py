"""A few rounds of random faults on the real engines, judged in a fresh process each.

``make faults SEED=… ROUNDS=…`` does more.
"""

from __future__ import annotations

import itertools
import os

import pytest

from faults.lane import Lane
from faults.plans import plan_round
from faults.rounds import Round

SEED, FIRST = 20261130, 0


@pytest.fixture(scope="module")
def lane(tmp_path_factory):
    """Where the rounds take place, for all of them."""
    lane = Lane(tmp_path_factory.mktemp("faults"))
    yield lane
    lane.end()


def numbers(pool: str, what: str, count: int) -> list[int]:
    """Numbers of the first rounds that are of this kind."""
    of_kind = (
        n for n in itertools.count(FIRST) if (plan := plan_round(SEED, n)).pool == pool and plan.what == what
    )
    return list(itertools.islice(of_kind, count))


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [*numbers("local", "map", 4), *numbers("local", "run", 2)])
def test_nothing_is_lost_on_the_local_pool(lane, number):
    """Whatever is killed, cut or done at once: it ends, with the right outputs, for every reader, or says
    what to do; then nothing is left of it.
    """
    assert Round(lane, plan_round(SEED, number)).run() == []


@pytest.mark.slow
@pytest.mark.htcondor
@pytest.mark.timeout(900)
@pytest.mark.parametrize("number", [*numbers("personal", "map", 2), *numbers("personal", "run", 1)])
def test_nothing_is_lost_on_htcondor(lane, personal_pool, number):
    """The same, with the daemons of a personal HTCondor pool among what is killed."""
    lane.start_pool()
    assert Round(lane, plan_round(SEED, number)).run() == []


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a small disk")
def test_nothing_is_lost_on_a_disk_that_fills(tmp_path_factory):
    """The same, where the disk is full now and then."""
    import subprocess

    try:
        lane = Lane(tmp_path_factory.mktemp("disk"), disk=24)
    except subprocess.CalledProcessError:
        pytest.skip("this container may not mount anything")
    try:
        plan = plan_round(SEED, 0, pool="local", what="map", disk=True, only=("fill_disk",))
        assert Round(lane, plan).run() == []
    finally:
        lane.end()
