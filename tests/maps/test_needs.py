"""Components that need different things: groups of workers, each for components of its own."""

from __future__ import annotations

import json
import os
import signal
from collections import defaultdict
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

import wingspan
from _on_disk import change_map_json, key, plans, submissions
from _waiting import PATIENCE, until
from wingspan import Options
from wingspan.errors import SettingsError, SubmitError
from wingspan.maps._errors import InvalidInputs, MapError
from wingspan.maps._needs import MOST_GROUPS, MOST_KINDS, Asked
from wingspan.pools import get_pool
from wingspan.pools.local import LocalPool
from wingspan.worker import parts, rounds
from wingspan.worker.transports import FileTransport

MB = 1 << 20


def groups_of(options: Options, inputs: list, call: str = "map") -> list:
    asked = Asked(options, call)
    assert list(asked.reading(inputs)) == inputs
    return asked.groups(range(len(inputs)))


@given(st.lists(st.tuples(st.integers(1, 1 << 16), st.sampled_from([1, 2, 4])), min_size=1, max_size=200))
def test_many_different_values_become_few_groups(asked) -> None:
    """Each component is in one group, which asks for what its most demanding component wants."""
    options = Options(request_memory=[mb for mb, _ in asked], request_cpus=[cpus for _, cpus in asked])
    groups = groups_of(options, list(range(len(asked))))
    assert sorted(number for _, members in groups for number in members) == list(range(len(asked)))
    assert 1 <= len(groups) <= MOST_GROUPS
    for needs, members in groups:
        assert needs.get("request_memory") == max(asked[number][0] for number in members) * MB
        assert {asked[number][1] for number in members} == {needs.get("request_cpus", 1)}
    if len(set(asked)) <= MOST_GROUPS:
        assert len(groups) == len(set(asked))


@given(
    st.lists(st.sets(st.integers(0, 60), min_size=1), min_size=1, max_size=4),
    st.integers(1, 20),
    st.none() | st.integers(1, 9),
)
def test_a_plan_of_parts_is_cut_and_kept(sets, workers, block_size) -> None:
    """Each component is in one block, each block in one part; the signed text says it all."""
    seen: set[int] = set()
    groups = []
    for number, chosen in enumerate(sets):
        if chosen - seen:
            groups.append(({"request_memory": number}, chosen - seen))
        seen |= chosen
    plan = rounds.plan_by_needs(rounds.RERUN, groups, workers, block_size)
    done: list[int] = []
    for block in range(plan.blocks):
        inside = [one for first, stop in plan.components(block) for one in range(first, stop)]
        done += inside
        assert {json.dumps(rounds.needs_of({0: plan}, one)) for one in inside} == {
            json.dumps(plan.part_of(block).needs)
        }
    assert sorted(done) == sorted(seen)
    assert all(number in plan for number in seen)
    assert -1 not in plan
    again = rounds.Plan.loads(b"k" * 32, plan.dumps(b"k" * 32, 3), 3)
    assert again is not None
    assert (again.ranges, again.blocks) == (plan.ranges, plan.blocks)
    assert [part.to_plain() for part in again.parts] == [part.to_plain() for part in plan.parts]
    kept = rounds.plan_again({3: again}, rounds.REPAIR, done, workers)
    assert all(rounds.needs_of({4: kept}, one) == rounds.needs_of({3: plan}, one) for one in done)
    newer = rounds.plan_by_needs(rounds.RERUN, [({"request_memory": 99}, done[::2])], workers)
    both = {3: plan, 4: newer}
    grouped = rounds.groups_of(both, [*sorted(done), 70])
    assert sorted(one for _, members in grouped for one in members) == [*sorted(done), 70]
    assert all(rounds.needs_of(both, one) == needs for needs, members in grouped for one in members)
    assert [members[0] for _, members in grouped] == sorted(members[0] for _, members in grouped)
    assert all(members == sorted(members) for _, members in grouped)


def test_who_does_what() -> None:
    """A worker does parts of its own needs; one of a person does all; a shared part whoever has enough."""
    part = parts.Part({"request_memory": 200}, [(0, 3)], 1, 1)
    shared = parts.Part({"request_memory": 200}, [(0, 3)], 1, 1, shared=True)
    assert part.is_for({"request_memory": 200}, {})
    assert not part.is_for({"request_memory": 300}, {})
    assert part.is_for(None, {})
    assert shared.is_for({"request_memory": 300}, {})
    assert shared.is_for({}, {"request_memory": None})
    assert not shared.is_for({}, {"request_memory": 100})
    line = parts.needs_line(b"k" * 32, 5, 2, {"request_cpus": 2})
    assert parts.read_needs(b"k" * 32, line + b"torn") == [
        {"first": 5, "count": 2, "needs": {"request_cpus": 2}}
    ]
    assert parts.read_needs(b"x" * 32, line) == []


def test_components_get_what_they_ask_for(engine) -> None:
    """Equal needs share workers, others do not; so it stays when they are done again with more."""

    def where(x: int) -> tuple[int, str]:
        return x, os.environ.get("OMP_NUM_THREADS", "")

    options = Options(
        request_memory=lambda x: 60 + 40 * (x % 2), request_cpus=[1, 2, 1, 2], workers=4, block_size=1
    )
    m = wingspan.map(where, range(4), tag="needs", pool=engine, options=options)
    assert {one.components: one.options.request_memory // MB for one in m.requests} == {
        (0, 2): 60,
        (1, 3): 100,
    }
    m.wait(PATIENCE)
    assert list(m) == [(0, "1"), (1, "2"), (2, "1"), (3, "2")]
    assert _workers_by_needs(m)[60, 1] == {0, 2}
    assert _workers_by_needs(m)[100, 2] == {1, 3}
    assert len(m.submit_description().split("# 2 components: ")) == 3
    if engine == "personal":
        wanted = f'WingspanMap == "{m.path.name}"'
        with get_pool("personal").personal.activate():
            schedd = get_pool("personal").personal.schedd()
            ads = [*schedd.query(wanted), *schedd.history(wanted, ["RequestMemory", "RequestCpus"], 9)]
        assert {(ad["RequestMemory"], ad["RequestCpus"]) for ad in ads} == {(60, 1), (100, 2)}
    m.rerun([1, 2], options=Options(request_memory="150MB"))
    m.wait(PATIENCE)
    assert list(m) == [(0, "1"), (1, "2"), (2, "1"), (3, "2")]
    assert _workers_by_needs(m)[150, 2] == {1}
    assert _workers_by_needs(m)[150, 1] == {2}
    m.remove()


def _workers_by_needs(m: wingspan.Map) -> dict[tuple[int, int], set[int]]:
    """Which components were done by workers that had asked for so many MB and cores."""
    done = defaultdict(set)
    for entry in submissions(m):
        needs = entry.get("needs", {})
        numbers = range(entry["first"], entry["first"] + entry["count"])
        asked = needs.get("request_memory", 0) // MB, needs.get("request_cpus", 1)
        for number in m.components:
            if int(m.provenance(number).worker.split(".")[0]) in numbers:
                done[asked].add(number)
    return done


def test_a_group_whose_workers_are_gone_gets_others(data_dir, gate) -> None:
    """They are submitted while the workers of other groups go on; nothing is done by these."""
    wait, pids = gate.wait, data_dir.parent / "pids"
    pids.mkdir()

    def work(x: int) -> int:
        (pids / f"{x}.{os.getppid()}").touch()
        if x < 2 or len(list(pids.glob("3.*"))) < 2:
            wait()
        return x

    options = Options(request_memory=[50, 50, 60, 60], workers=2, block_size=1)
    m = wingspan.map(work, range(4), pool="local", options=options)
    until(lambda: list(pids.glob("[23].*")) and list(pids.glob("[01].*")))
    (first,) = list(pids.glob("[23].*"))
    os.kill(int(first.suffix[1:]), signal.SIGKILL)
    keeper = m._keeper
    until(
        lambda: (keeper.refresh(), keeper.reconcile()) and len(submissions(m)) > 2,
        lambda: m.status(),
    )
    assert submissions(m)[-1]["needs"] == {"request_memory": 60 * MB}
    gate.open()
    m.wait(PATIENCE)
    assert list(m) == [0, 1, 2, 3]
    assert _workers_by_needs(m)[50, 1] == {0, 1}


def test_helpers_do_everything(data_dir, gate) -> None:
    """`add_workers` adds workers for all components; they ask for the most that any needs."""
    wait = gate.wait
    m = wingspan.map(
        lambda x: wait() or x,
        range(4),
        pool="local",
        options=Options(request_memory=[50, 60, 70, 80], workers=1),
    )
    m.add_workers(1)
    assert submissions(m)[-1]["needs"] == "all"
    assert m._keeper.options_of(None).request_memory == 80 * MB
    gate.open()
    m.wait(PATIENCE)
    assert list(m) == [0, 1, 2, 3]


def test_numbers_of_refused_workers_get_new_needs(data_dir, gate, monkeypatch) -> None:
    """The next workers get the numbers of workers that the scheduler refused, and not their needs."""
    wait = gate.wait
    m = wingspan.map(
        lambda x: wait(), [0, 1], tag="refused", pool="local", options=Options(request_cpus=[1, 2], workers=2)
    )
    first = max(entry["first"] + entry["count"] for entry in submissions(m))

    def refuse(*_) -> None:
        raise SubmitError("not now")

    with monkeypatch.context() as refusing:
        refusing.setattr(LocalPool, "submit", refuse)
        with pytest.raises(SubmitError):
            m._keeper._submit(LocalPool(), 1, needs={"request_cpus": 2}, for_held=False)
    m._keeper._submit(LocalPool(), 1, needs={}, for_held=False)
    assert submissions(m)[-1]["first"] == first
    assert parts.needs_of_worker(FileTransport(str(m.path)), key(m), first) == {}
    gate.open()
    m.wait(timeout=PATIENCE)


def fail(x: int) -> int:
    raise ZeroDivisionError("no")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"request_memory": ["1GB", "2GB"]}, "request_memory has 2 values, and there are 3 inputs"),
        ({"request_cpus": [1, 2, 3, 4]}, "request_cpus has 4 values, and there are 3 inputs"),
        ({"request_memory": fail}, "request_memory fails for component 0: ZeroDivisionError: no"),
        ({"request_memory": lambda x: -x}, "component 0: request_memory=0 is less than 1 MB"),
        ({"request_gpus": lambda x: x - 1}, "component 0: request_gpus=-1 must be a whole number"),
        ({"request_cpus": lambda x: [x]}, "component 0: request_cpus=[0]"),
        ({"requirements": lambda x: "Has Singularity ("}, "component 0: requirements="),
    ],
)
@pytest.mark.parametrize("kind", [list, iter], ids=["list", "generator"])
def test_what_cannot_be_asked_for(data_dir, options, words, kind) -> None:
    """Is told with both numbers, or with the component; nothing is left on disk."""
    with pytest.raises(InvalidInputs) as caught:
        wingspan.map(abs, kind([0, 1, 2]), pool="local", options=Options(**options))
    assert words in str(caught.value)
    assert not [path for path in (data_dir / "maps").glob("*") if path.is_dir()]


def test_lists_are_checked_where_they_are_written() -> None:
    """The message names the place in the list; too many kinds that cannot be rounded are refused."""
    with pytest.raises(SettingsError, match=r"request_memory\[1\]='2 apples' is no size"):
        Options(request_memory=["1GB", "2 apples"])
    with pytest.raises(SettingsError, match=r"request_cpus\[0\]=0 must"):
        Options(request_cpus=[0])
    cores = list(range(1, MOST_KINDS + 2))
    assert len(groups_of(Options(request_cpus=cores[:-1]), cores[:-1])) == MOST_KINDS
    with pytest.raises(InvalidInputs, match=f"{MOST_KINDS + 1} different things"):
        groups_of(Options(request_cpus=cores), cores)


def test_layers_and_requirements_of_components() -> None:
    """A later layer replaces the values of components; requirements of all and of each hold together."""
    each = Options(request_memory=[1, 2], requirements=["HasX", None])
    assert each.merged(Options(request_memory="3GB")).each.keys() == {"requirements"}
    assert Options(request_memory="3GB").merged(each).each["request_memory"] == (MB, 2 * MB)
    both = Options(requirements="Common").merged(each)
    found = {tuple(members): needs for needs, members in groups_of(both, ["a", "b"])}
    assert found[0,]["requirements"] == "(Common) && (HasX)"
    assert "requirements" not in found[1,]
    assert not each.merged(Options(requirements=None)).each.get("requirements")
    generator = Options(request_cpus=(number for number in (1, 2)))
    assert [len(groups_of(generator, ["a", "b"])) for _ in range(2)] == [2, 2]  # and may be used again


def test_a_starmap_asks_with_all_arguments() -> None:
    """The function is called as the map's is."""
    options = Options(request_memory=lambda a, b=1: a * b)
    groups = groups_of(options, [((2,), {"b": 5}), ((3,), {})], "starmap")
    assert [needs["request_memory"] // MB for needs, _ in groups] == [10, 3]


@pytest.mark.parametrize(
    "options", [{"retries": 2}, {"environment": "x"}, {"request_memory": [1, 2]}, {"workers": 0}]
)
def test_what_rerun_cannot_change(data_dir, options) -> None:
    """Options of the whole map, lists, and no workers at all."""
    m = wingspan.map(abs, [1], pool="local", options=Options(workers=1))
    m.wait(PATIENCE)
    with pytest.raises(SettingsError, match="rerun"):
        m.rerun([0], options=Options(**options))
    assert m.is_done


def test_a_rerun_may_have_fewer_workers(data_dir, gate) -> None:
    """At most so many are submitted for it, and its blocks are cut for them."""
    wait = gate.wait
    m = wingspan.map(lambda x: x and wait(), [0] * 6, pool="local", options=Options(workers=1))
    m.wait(PATIENCE)
    m.rerun(options=Options(workers=3), components=range(6))
    assert plans(m)[max(plans(m))].workers == 3
    assert submissions(m)[-1]["count"] == 3
    assert m.options.workers == 1


def test_maps_of_earlier_versions(data_dir) -> None:
    """Their workers know nothing of needs: they are read as before, and refuse other options."""
    m = wingspan.map(abs, [-1], tag="early", pool="local", options=Options(workers=1))
    m.wait(PATIENCE)
    change_map_json(m, needs=None)
    early = wingspan.load("early")
    with pytest.raises(MapError, match="whose workers all ask for the same"):
        early.rerun([0], options=Options(request_memory="1GB"))
    assert early[0] == 1


def test_set_memory_of_groups(data_dir) -> None:
    """It holds for what was asked for before, and not for what is asked for later."""
    m = wingspan.map(abs, [-1, -2], pool="local", options=Options(request_memory=[50, 60], workers=1))
    m.wait(PATIENCE)
    m.set_memory("100MB")
    assert {one.options.request_memory for one in m.requests} == {100 * MB}
    m.rerun([1], options=Options(request_memory="70MB"))
    m.wait(PATIENCE)
    found = SimpleNamespace(
        **{f"c{one.components[0]}": one.options.request_memory // MB for one in m.requests}
    )
    assert (found.c0, found.c1) == (100, 70)
