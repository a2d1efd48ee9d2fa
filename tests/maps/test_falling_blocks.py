"""Maps of many workers, whose blocks fall (`wingspan.worker.parts.Part.falls`)."""

from __future__ import annotations

import json

import pytest

import wingspan
from wingspan.maps import _create, _shares
from wingspan.worker import rounds

COUNT = 2 * sum(rounds.FALLS)


@pytest.fixture
def few_are_many(monkeypatch):
    """Two workers count as many, so that they do what 250 would do."""
    monkeypatch.setattr(rounds, "MANY_WORKERS", 2)
    monkeypatch.setattr(rounds, "MANY_COMPONENTS", COUNT // 2)


def told(m, number=0):
    """The format of the map, and whether a round's blocks fall."""
    plan = rounds.Plan.loads(
        m.path.joinpath("key").read_bytes(), m.path.joinpath(f"rounds/{number}/plan").read_bytes(), number
    )
    return json.loads(m.path.joinpath("map.json").read_text())["format"], plan.falls


def test_a_map_whose_blocks_fall_is_done_and_rerun(few_are_many):
    """Workers do all of it; its format keeps older Wingspans away; the blocks of a rerun fall, too."""
    m = wingspan.map(lambda x: x * x, range(COUNT), pool="local", options=wingspan.Options(workers=2))
    assert list(m) == [x * x for x in range(COUNT)]
    assert told(m) == (4, True)
    m.rerun(range(COUNT))
    assert list(m) == [x * x for x in range(COUNT)]
    assert told(m, 1) == (4, True)


def test_a_map_of_an_older_format_goes_on_as_it_began(monkeypatch):
    """The workers of a map that was made when all blocks were equal may know no others: a rerun has none."""
    m = wingspan.map(abs, range(COUNT), pool="local", options=wingspan.Options(workers=2))
    m.wait()
    monkeypatch.setattr(rounds, "MANY_WORKERS", 2)
    monkeypatch.setattr(rounds, "MANY_COMPONENTS", 1)
    m.rerun(range(COUNT))
    assert list(m) == list(range(COUNT))
    assert told(m, 1) == (2, False)


def test_shares_of_blocks_that_fall_are_equal(few_are_many, monkeypatch):
    """Where workers are given their blocks beforehand, each gets about as many components as the others, into
    however many shares blocks that fall are divided.
    """
    monkeypatch.setattr(_create, "PLANNED_WORKERS", 6)
    m = wingspan.map(abs, range(COUNT * 3), pool="local", options=wingspan.Options(workers=0))
    assert told(m)[1]
    folder, known = m._keeper.folder, m._keeper.results
    known.poll()
    plan = known.plans[0]
    largest = max(plan.parts[0].count(block, block + 1) for block in range(plan.blocks))
    for among in range(1, 15):
        given = _shares.assign(folder, known, 0, among, among, {}, {})
        sizes = [sum(plan.parts[0].count(block, block + 1) for block in share[0]) for share in given]
        assert sum(sizes) == COUNT * 3
        assert max(sizes) - min(sizes) <= 2 * largest
        _shares.release(folder, 0, given)
