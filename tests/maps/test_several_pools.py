"""One map in several pools at once: workers of all of them share its components."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
from click.testing import CliRunner

import wingspan
from _each_engine import use_engine
from _on_disk import map_json, submissions
from _waiting import PATIENCE, until
from wingspan.cli.maps import status as cli_status
from wingspan.errors import PoolError, SettingsError
from wingspan.jobs import Submission
from wingspan.maps._components import Components
from wingspan.maps._jobs import Jobs
from wingspan.maps._several import for_all, on_each, told_by_pool, without_a_sign
from wingspan.pools.personal import PersonalPool

POOLS = ["local", "personal", "slurm"]


@pytest.fixture
def pools(request: pytest.FixtureRequest) -> list[str]:
    """All engines, ready."""
    return [use_engine(request, name) for name in POOLS]


@pytest.fixture
def mortal_pool(data_dir: Path) -> Iterator[PersonalPool]:
    """A personal pool that a test may stop, and that ``pool="personal"`` is."""
    directory = Path(tempfile.mkdtemp(prefix="wingspan-pool-", dir="/var/tmp"))
    pool = PersonalPool(directory, cpus=1)
    data_dir.mkdir(exist_ok=True)
    (data_dir / "personal-pool").symlink_to(directory)
    try:
        pool.start()
        yield pool
    finally:
        pool.stop()
        shutil.rmtree(directory, ignore_errors=True)


def where(number: int) -> str:
    """Which pool a component runs in."""
    if "SLURM_JOB_ID" in os.environ:
        return "slurm"
    return "personal" if "_CONDOR_SCRATCH_DIR" in os.environ else "local"


def waiting_at(gate: SimpleNamespace):
    """A function that waits, and says where."""
    wait, told = gate.wait, where

    def wait_and_tell(number: int) -> str:
        wait()
        return told(number)

    return wait_and_tell


def all_at_work(m: wingspan.Map, count: int) -> bool:
    return m.status().counts[wingspan.ComponentStatus.RUNNING] == count


@pytest.mark.htcondor
@pytest.mark.slurm
def test_workers_of_three_pools_do_one_map(pools: list[str], gate: SimpleNamespace) -> None:
    """Each pool gets workers of its own, all take components of the one map until these are done, and the
    status says what each pool has done.
    """
    options = wingspan.Options(workers=1, block_size=1)
    m = wingspan.map(waiting_at(gate), range(12), pool=pools, options=options, tag="together")
    until(lambda: all_at_work(m, 3), lambda: m.status())
    gate.open()
    m.wait(PATIENCE)
    assert set(m) == set(pools)
    status = m.status()
    assert status.by_pool == {kind: list(m).count(kind) for kind in pools}
    assert set(status.pools) == set(pools)
    assert all(f"{kind} {status.by_pool[kind]} component" in str(status) for kind in pools)
    told = CliRunner().invoke(cli_status, ["together"]).output
    assert f"done by    {told_by_pool(status.by_pool)}" in told
    assert dict(m._source().report().facts)["pools"] == told_by_pool(status.by_pool)


@pytest.mark.htcondor
@pytest.mark.slurm
def test_what_is_done_to_a_map_is_done_in_all_its_pools(pools: list[str], gate: SimpleNamespace) -> None:
    """hold holds the workers of every pool, release lets all go on, cancel takes the jobs out of every
    queue, and rerun brings workers back to every pool.
    """
    options = wingspan.Options(workers=1, block_size=1)
    m = wingspan.map(waiting_at(gate), range(6), pool=pools, options=options)
    until(lambda: all_at_work(m, 3), lambda: m.status())
    m.hold()
    until(lambda: m._keeper.ask() or m.status().workers == {"held": 3}, m.status)
    m.release()
    until(lambda: m._keeper.ask() or not m.status().workers.get("held"), m.status)
    m.cancel()
    until(lambda: m._keeper.ask() or not m._keeper.jobs.live(), m.status)
    before = len(submissions(m))
    gate.open()
    m.rerun()
    m.wait(PATIENCE)
    assert {entry["pool"] for entry in submissions(m)[before:]} == set(pools)


@pytest.mark.htcondor
@pytest.mark.slurm
@pytest.mark.parametrize("begins", ["with the first output", "when all is done"])
def test_what_follows_a_map_is_done_in_several_pools(
    pools: list[str], begins: str, gate: SimpleNamespace, tmp_path: Path
) -> None:
    """A chain, and a map that begins after another: workers of all the pools do it."""
    options = wingspan.Options(workers=1, block_size=1)
    first = wingspan.map(abs, range(6), pool="local", options=options)
    if begins == "with the first output":
        m = wingspan.map(waiting_at(gate), first, pool=pools, options=options)
        chain = map_json(m)["chain"]
        stays = {way: facts["stay_seconds"] for way, facts in chain["by_way"].items()}
        assert stays["file"] is None, "nobody brings back a process"
        assert stays["chirp"] is not None, "HTCondor brings its workers back"
    else:
        m = wingspan.map(waiting_at(gate), range(6), pool=pools, options=options, after=first)
    until(lambda: all_at_work(m, 3), lambda: m.status())
    gate.open()
    m.wait(PATIENCE)
    assert set(m) == set(pools)


@pytest.mark.htcondor
def test_a_pool_that_dies_leaves_its_components_to_the_others(
    mortal_pool: PersonalPool, gate: SimpleNamespace, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When a pool is stopped half-way, whoever waits goes on waiting, and workers of the other pools do what
    its workers had begun.
    """
    monkeypatch.setenv("WINGSPAN_LEASE_SECONDS", "2")
    options = wingspan.Options(workers=1, block_size=1)
    m = wingspan.map(waiting_at(gate), range(4), pool=["personal", "local"], options=options)
    until(lambda: all_at_work(m, 2), lambda: m.status())
    mortal_pool.stop()
    gate.open()
    m.wait(PATIENCE)
    assert list(m) == ["local"] * 4
    assert m.status().by_pool == {"personal": 0, "local": 4}
    again = m.rerun([0])  # the pool that is stopped takes no workers: that is noted, and the other does it
    m.wait(PATIENCE)
    assert again.components == (0,)


def test_a_list_of_one_pool_is_that_pool() -> None:
    """It is a map as any other, and nothing is said of several pools."""
    m = wingspan.map(abs, [-1], pool=["local"])
    assert (list(m), m.status().by_pool) == ([1], {})


def test_pools_that_cannot_be_together_are_refused() -> None:
    """No pool, one pool twice, and a pool that keeps its maps on another machine: each is an error, and no
    map is made.
    """
    for named, told in (([], "names no pool"), (["local", "local"], "named twice")):
        with pytest.raises(SettingsError, match=told):
            wingspan.map(abs, [1], pool=named)
    with pytest.raises(SettingsError, match="there is no pool 'nowhere'"):
        wingspan.map(abs, [1], pool=["local", "nowhere"])
    with pytest.raises(SettingsError, match="keeps its maps on another machine"):
        wingspan.map(abs, [1], pool=["local", "ssh://host"])
    first = wingspan.map(abs, [1], pool="local")
    with pytest.raises(SettingsError, match="keeps its maps on another machine") as refused:
        wingspan.map(abs, first, pool=["local", "ssh://host"])
    assert "make the map there" in str(refused.value.hint)
    assert len(wingspan.load_maps()) == 1


def test_one_pool_that_fails_is_not_all_that_fail() -> None:
    """What is done in several pools is done in each, whatever goes wrong in another; the first error is
    raised then, or, where one is enough, only if none has done it.
    """
    seen = []

    def act(one: int) -> None:
        seen.append(one)
        if one:
            raise PoolError(f"pool {one}")

    with pytest.raises(PoolError, match="pool 1"):
        for_all([1, 0, 2], act)
    assert for_all([1, 0, 2], act, any_will_do=True) == [1, 2]
    with pytest.raises(PoolError, match="pool 2"):
        for_all([2, 1], act, any_will_do=True)
    assert seen == [1, 0, 2, 1, 0, 2, 2, 1]


def test_a_pool_is_silent_when_neither_it_nor_its_workers_say_anything() -> None:
    """Where a scheduler does not answer, workers that have written something within their lease are alive."""
    jobs, known = Jobs(), Components(4, 0)
    for first, kind in enumerate(("a", "b", "c")):
        jobs.add(Submission(pool=kind, cluster="1", count=1), first)
    known.add_start("0.0").last_seen = 95.0
    known.add_start("1.0").last_seen = 80.0
    now = {"lease": 10.0, "now": 100.0}
    assert without_a_sign([], ["a", "b", "c"], jobs, known, **now) == {"b", "c"}
    assert without_a_sign(["a"], ["c"], jobs, known, **now) == {"a", "c"}
    assert without_a_sign(["a"], ["b", "c"], jobs, known, **now) == {"a"}, "none would be left"


@pytest.mark.parametrize(("once", "asked"), [(True, ["a", "b"]), (False, ["a", "b", "c"])])
def test_a_pool_that_takes_no_workers_is_noted(once: bool, asked: list[str]) -> None:
    """Workers go to the other pools then, and a note says why; if none takes any, its error is raised."""
    notes: list[str] = []
    folder = SimpleNamespace(
        info=SimpleNamespace(pool="a", pools=("b", "c")), note=notes.append, notes=lambda: notes
    )
    seen = []

    def add(kind: str) -> int:
        seen.append(kind)
        if kind == "a":
            raise PoolError("closed today")
        return 2

    assert on_each(folder, add, once=once) == (2 if once else 4)  # type: ignore[arg-type]
    assert seen == asked
    assert notes == ["the a pool takes no workers now, and others do the map: closed today"]
    folder.info.pools = ()
    with pytest.raises(PoolError, match="closed today"):
        on_each(folder, add, once=once)  # type: ignore[arg-type]
