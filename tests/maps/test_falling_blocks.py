"""Maps of many workers, whose blocks fall (`wingspan.worker.parts.Part.falls`)."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path

import pytest

import wingspan
from _each_engine import use_engine
from wingspan.maps import _create, _shares
from wingspan.pools.htcondor import PersonalHTCondorPool
from wingspan.worker import rounds

COUNT = 2 * sum(rounds.FALLS)


@pytest.fixture
def few_are_many(monkeypatch):
    """Two workers count as many, so that they do what 625 would do."""
    monkeypatch.setattr(rounds, "MANY_WORKERS", 2)
    monkeypatch.setattr(rounds, "MANY_COMPONENTS", COUNT // 2)


def told(m, number=0):
    """The format of the map, and whether a round's blocks fall."""
    plan = rounds.Plan.loads(
        m.path.joinpath("key").read_bytes(), m.path.joinpath(f"rounds/{number}/plan").read_bytes(), number
    )
    return json.loads(m.path.joinpath("map.json").read_text())["format"], plan.falls


class _Elsewhere(PersonalHTCondorPool):
    """The personal pool, as if its machines were others: by chirp, which reaches only what the map names."""

    shares_files = False
    limits_access = True


@pytest.mark.parametrize("engine", ["local", pytest.param("elsewhere", marks=pytest.mark.htcondor)])
def test_a_map_whose_blocks_fall_is_done_and_rerun(few_are_many, engine, request, data_dir):
    """Workers do all of it, and their claims are names of the files in which they list what they take, by the
    file system and by chirp; its format keeps older Wingspans away; the blocks of a rerun fall, too.
    """
    pool = engine
    if engine == "elsewhere":
        use_engine(request, "personal")
        pool = _Elsewhere()
    folder = str(data_dir / "maps")

    def names_of_a_claim(x):
        names = []
        for claim in Path(folder).glob("*/rounds/*/claims/*"):
            with contextlib.suppress(FileNotFoundError):  # an older round is folded just now
                names.append(claim.stat().st_nlink)
        return x, min(names) > 1

    m = wingspan.map(names_of_a_claim, range(COUNT), pool=pool, options=wingspan.Options(workers=2))
    assert list(m) == [(x, True) for x in range(COUNT)]
    assert told(m) == (4, True)
    m.rerun(range(COUNT))
    assert list(m) == [(x, True) for x in range(COUNT)]
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
