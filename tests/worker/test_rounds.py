"""Rounds: every component is in exactly one block, one writer wins a round, one worker a block."""

from __future__ import annotations

import contextlib
import errno
import multiprocessing
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _waiting import PATIENCE
from wingspan.worker import rounds
from wingspan.worker.parts import ranges_of
from wingspan.worker.transports import FileTransport, Gone

KEY = bytes(32)
numbers = st.sets(st.integers(0, 300), min_size=1, max_size=80)


@pytest.fixture
def transport(tmp_path):
    (tmp_path / "rounds").mkdir()
    connection = FileTransport(str(tmp_path))
    yield connection
    connection.close()


@given(numbers, st.integers(1, 20), st.integers(1, 8))
def test_blocks_partition_the_components(chosen, block_size, workers):
    """Each component is in exactly one block, in ascending order, and no block is larger than asked."""
    plan = rounds.plan_for(rounds.RERUN, chosen, workers, block_size)
    blocks = [
        [component for first, stop in plan.components(block) for component in range(first, stop)]
        for block in range(plan.blocks)
    ]
    assert [component for block in blocks for component in block] == sorted(chosen)
    assert all(0 < len(block) <= block_size for block in blocks)
    assert all((component in plan) == (component in chosen) for component in range(-1, 302))


@given(st.integers(1, 8), st.integers(0, 100), st.integers(0, 5))
def test_blocks_that_fall_partition_the_components(workers, more, before):
    """Where blocks fall, each component is in one block, none is empty, those of a worker's stretch get
    smaller, and a plan that is read back says the same.
    """
    length = workers * sum(rounds.FALLS) + more
    cut = before + length // 2
    ranges = [(before, cut), (cut + 3, before + length + 3)]
    plan = rounds.Plan(rounds.RERUN, ranges, 9, workers, falls=rounds.FALLS)
    blocks = [
        [component for first, stop in plan.components(block) for component in range(first, stop)]
        for block in range(plan.blocks)
    ]
    assert [component for block in blocks for component in block] == [
        component for first, stop in ranges for component in range(first, stop)
    ]
    part = plan.parts[0]
    assert [part.count(block, block + 1) for block in range(plan.blocks)] == list(map(len, blocks))
    for worker in range(workers):
        own = list(map(len, blocks[part.stretch(worker) : part.own_stop(worker)]))
        assert len(own) == len(rounds.FALLS)
        assert all(0 < after <= size + 1 for size, after in zip(own, own[1:]))  # noqa: RUF007
    again = rounds.Plan.loads(KEY, plan.dumps(KEY, 1), 1)
    assert [again.components(block) for block in range(again.blocks)] == [
        plan.components(block) for block in range(plan.blocks)
    ]
    parts = rounds.Plan.of(rounds.RERUN, [part, rounds.Plan(rounds.RERUN, [(900, 990)], 9, 2).parts[0]])
    again = rounds.Plan.loads(KEY, parts.dumps(KEY, 1), 1)
    assert [part.falls for part in again.parts] == [rounds.FALLS, ()]


def test_blocks_fall_where_many_workers_have_many_components():
    """Few blocks a worker do where many share a round; where they are few, or each has few components, or
    workers may not know such blocks, or somebody has chosen a size, all blocks are equal.
    """
    many = rounds.MANY_WORKERS, rounds.MANY_WORKERS * rounds.MANY_COMPONENTS

    def falls(workers, count, kind=rounds.INITIAL, **how):
        plan = rounds.plan_for(kind, range(count), workers, **{"may_fall": True, **how})
        assert plan.blocks <= rounds.MAX_BLOCKS
        return plan.falls

    assert falls(*many)
    assert not falls(many[0] - 1, many[1])
    assert not falls(many[0], many[1] - 1)
    assert not falls(*many, may_fall=False)
    assert not falls(*many, block_size=10)
    assert not falls(*many, kind=rounds.REPAIR)
    assert not falls(5000, 5000 * rounds.MANY_COMPONENTS)
    first = rounds.plan_for(rounds.INITIAL, range(many[1]), many[0], may_fall=True)
    assert rounds.plan_again({0: first}, rounds.RERUN, range(many[1]), many[0]).falls
    plain = rounds.plan_for(rounds.INITIAL, range(many[1]), many[0])
    assert not rounds.plan_again({0: plain}, rounds.RERUN, range(many[1]), many[0]).falls


@given(st.integers(1, 10**6), st.integers(1, 5000))
def test_a_plan_has_neither_too_many_nor_too_few_blocks(count, workers):
    """Blocks are few enough to claim and, where there are components enough, one at least for each worker."""
    plan = rounds.plan_for(rounds.INITIAL, range(count), workers)
    assert 1 <= plan.blocks <= rounds.MAX_BLOCKS
    assert plan.blocks >= min(count, workers, rounds.MAX_BLOCKS // 2)
    assert all(0 <= plan.stretch(worker) < plan.blocks for worker in range(min(workers, 50) + 5))


@given(numbers)
def test_runs_of_numbers_are_put_together(chosen):
    """Ranges hold exactly the numbers, ascending, with a gap between any two."""
    ranges = ranges_of(list(chosen) + list(chosen))
    assert [number for first, stop in ranges for number in range(first, stop)] == sorted(chosen)
    assert all(before[1] < after[0] for before, after in zip(ranges, ranges[1:]))  # noqa: RUF007


@given(numbers, st.sampled_from([rounds.INITIAL, rounds.RERUN, rounds.RETRY]), st.integers(1, 9))
def test_plans_are_read_back(chosen, kind, block_size):
    """A plan is the same after writing and reading; with another key it is None."""
    plan = rounds.plan_for(kind, chosen, 3, block_size)
    again = rounds.Plan.loads(KEY, plan.dumps(KEY, 3), 3)
    assert (again.kind, again.ranges, again.block_size, again.workers, again.blocks) == (
        plan.kind,
        plan.ranges,
        plan.block_size,
        plan.workers,
        plan.blocks,
    )
    assert rounds.Plan.loads(b"x" * 32, plan.dumps(KEY, 3), 3) is None
    assert rounds.Plan.loads(KEY, plan.dumps(KEY, 3)[:-5], 3) is None
    assert rounds.Plan.loads(KEY, plan.dumps(KEY, 3), 2) is None


def test_one_writer_wins_a_round(transport, tmp_path):
    """Of two who publish the same round one wins; the loser leaves nothing behind."""
    first = rounds.plan_for(rounds.INITIAL, range(4), 1)
    second = rounds.plan_for(rounds.RERUN, [3], 1)
    assert rounds.publish(transport, KEY, 0, first, "a")
    assert not rounds.publish(transport, KEY, 0, second, "b")
    assert rounds.round_numbers(transport) == [0]
    assert rounds.Plan.loads(KEY, transport.read("rounds/0/plan"), 0).kind == rounds.INITIAL
    assert [path.name for path in (tmp_path / "rounds").iterdir()] == ["0"]


def claims_of(transport, owner, by_link):
    """What a worker gets that tries to claim all of 200 blocks."""
    for block in range(200):
        line = rounds.take_line(KEY, owner, 0, block, named=by_link)
        transport.append(f"rounds/0/takes/{owner}", line)
        if rounds.claim(transport, KEY, 0, block, owner, by_link):
            yield block


def race(folder, number, by_link, barrier, won):
    transport = FileTransport(folder)
    plan = rounds.plan_for(rounds.RERUN, [number], 1)
    barrier.wait()
    claims = list(claims_of(transport, f"{number}.0", by_link))
    published = rounds.publish(transport, KEY, 1, plan, str(number))
    won.put((number, published, claims))


@pytest.mark.parametrize("by_link", [False, True])
def test_processes_race_for_blocks_and_rounds(transport, tmp_path, by_link):
    """Four processes that claim the same 200 blocks and publish the same round: each has one owner, also
    where claims are further names of the files in which owners list what they take.
    """
    rounds.publish(transport, KEY, 0, rounds.plan_for(rounds.INITIAL, range(200), 4, 1), "x")
    context = multiprocessing.get_context("fork")
    barrier, won = context.Barrier(4), context.Queue()
    racers = [context.Process(target=race, args=(str(tmp_path), n, by_link, barrier, won)) for n in range(4)]
    for racer in racers:
        racer.start()
    results = [won.get(timeout=PATIENCE) for _ in racers]
    for racer in racers:
        racer.join()
    won.close()
    won.join_thread()
    assert sorted(block for _, _, claims in results for block in claims) == list(range(200))
    (winner,) = [number for number, published, _ in results if published]
    assert winner in rounds.Plan.loads(KEY, transport.read("rounds/1/plan"), 1)
    for number, _, claims in results:
        for block in claims:
            data = transport.read(f"rounds/0/claims/{block}")
            assert rounds.claim_owner(KEY, 0, block, data) == f"{number}.0"
            assert rounds.claim_owner(b"x" * 32, 0, block, data) is None
    inodes = {path.stat().st_ino for path in (tmp_path / "rounds/0").rglob("*") if path.is_file()}
    assert len(inodes) == 1 + 4 + (0 if by_link else 200)


def test_where_files_have_one_name_claims_are_files(transport, tmp_path, monkeypatch):
    """A file system that refuses a second name for a file is asked once; claims are files there."""
    rounds.publish(transport, KEY, 0, rounds.plan_for(rounds.INITIAL, range(200), 4, 1), "x")
    asked = []

    def link(path, new):
        asked.append(new)
        raise PermissionError(errno.EPERM, "no links here")

    monkeypatch.setattr(os, "link", link)
    assert list(claims_of(transport, "3.0", by_link=True)) == list(range(200))
    assert list(claims_of(transport, "4.0", by_link=True)) == []
    assert len(asked) == 1
    assert rounds.claim_owner(KEY, 0, 9, transport.read("rounds/0/claims/9")) == "3.0"


def test_a_claim_whose_first_answer_was_lost_is_its_owners(transport, tmp_path):
    """NFS may ask for a link twice, and answers then that it is there: it belongs to its owner after all, but
    to nobody who claims it once more.
    """
    rounds.publish(transport, KEY, 0, rounds.plan_for(rounds.INITIAL, range(4), 1, 1), "x")
    for owner in ("3.0", "4.0"):
        transport.append(f"rounds/0/takes/{owner}", rounds.take_line(KEY, owner, 0, 2, named=True))
    os.link(tmp_path / "rounds/0/takes/3.0", tmp_path / "rounds/0/claims/2")
    assert not rounds.claim(transport, KEY, 0, 2, "4.0", by_link=True)
    assert rounds.claim(transport, KEY, 0, 2, "3.0", by_link=True)
    assert not rounds.claim(transport, KEY, 0, 2, "3.0", by_link=True)


def test_a_claim_that_was_made_though_an_error_came_back_is_its_owners(transport, monkeypatch):
    """A soft mount gives up on an answer: what the server has done counts."""
    rounds.publish(transport, KEY, 0, rounds.plan_for(rounds.INITIAL, range(4), 1, 1), "x")
    transport.append("rounds/0/takes/3.0", rounds.take_line(KEY, "3.0", 0, 2, named=True))
    real = os.link

    def link(path, new):
        real(path, new)
        raise OSError(errno.EIO, "no answer")

    monkeypatch.setattr(os, "link", link)
    assert rounds.claim(transport, KEY, 0, 2, "3.0", by_link=True)
    assert not rounds.claim(transport, KEY, 0, 2, "4.0")


def test_a_claim_that_was_made_though_no_answer_came_back_is_its_owners(transport, tmp_path, monkeypatch):
    """By chirp, or where the mount answers nothing at all, the worker hears only that it has no link: it
    looks whose the claim is.
    """
    rounds.publish(transport, KEY, 0, rounds.plan_for(rounds.INITIAL, range(4), 1, 1), "x")
    for owner in ("3.0", "4.0"):
        transport.append(f"rounds/0/takes/{owner}", rounds.take_line(KEY, owner, 0, 2, named=True))
    real = os.link

    def link(path, new):
        with contextlib.suppress(FileExistsError):
            real(path, new)
        raise OSError(errno.EIO, "no answer")

    def samefile(one, other):
        raise OSError(errno.EIO, "no answer")

    monkeypatch.setattr(os, "link", link)
    monkeypatch.setattr(os.path, "samefile", samefile)
    another = FileTransport(str(tmp_path))
    assert rounds.claim(transport, KEY, 0, 2, "3.0", by_link=True)
    assert not rounds.claim(transport, KEY, 0, 2, "3.0", by_link=True)
    assert not rounds.claim(another, KEY, 0, 2, "4.0", by_link=True)


def test_a_claim_counts_only_for_its_own_block(transport):
    """A claim that is cut, copied to another block or round, or signed with another key has no owner."""
    rounds.publish(transport, KEY, 0, rounds.plan_for(rounds.INITIAL, range(4), 1, 1), "x")
    assert rounds.claim(transport, KEY, 0, 2, "7.1")
    assert not rounds.claim(transport, KEY, 0, 2, "8.0")
    data = transport.read("rounds/0/claims/2")
    assert rounds.claim_owner(KEY, 0, 2, data) == "7.1"
    assert rounds.claim_owner(KEY, 0, 3, data) is None
    assert rounds.claim_owner(KEY, 1, 2, data) is None
    assert rounds.claim_owner(b"x" * 32, 0, 2, data) is None
    assert rounds.claim_owner(KEY, 0, 2, data[:-3]) is None
    assert rounds.claim_owner(KEY, 0, 2, b"") is None


@given(st.lists(st.integers(0, 999), max_size=6), st.data())
def test_takes_are_read_up_to_the_torn_one(blocks, data):
    """What a start set out to claim comes back; a line that is not whole, of another start or round, or
    not signed, is left out.
    """
    lines = [rounds.take_line(KEY, "3.1", 2, block) for block in blocks]
    text = b"".join(lines)
    assert rounds.parse_takes(KEY, "3.1", 2, text) == blocks
    cut = data.draw(st.integers(0, len(text)))
    whole = [block for count, block in enumerate(blocks) if len(b"".join(lines[: count + 1])) <= cut]
    assert rounds.parse_takes(KEY, "3.1", 2, text[:cut]) == whole
    for key, name, number in ((b"x" * 32, "3.1", 2), (KEY, "3.0", 2), (KEY, "3.1", 1)):
        assert rounds.parse_takes(key, name, number, text) == []


@given(st.sets(st.integers(0, 2**32 - 2), max_size=40) | st.sets(st.integers(0, 3000), max_size=2000))
def test_names_tell_what_failed(components):
    """The names of files say which components failed; each is short enough for a file system, and counts
    for its map only.
    """
    names = rounds.failed_names(KEY, 7, components)
    assert all(len(name) <= 255 for name in names)
    told = [rounds.parse_failed(KEY, name) for name in names]
    assert all(number == 7 for number, _ in told)
    assert sorted(component for _, some in told for component in some) == sorted(components)
    for name in names:
        assert rounds.parse_failed(b"x" * 32, name) is None
        assert rounds.parse_failed(KEY, name.replace("failed.7", "failed.8")) is None


@given(st.text(st.characters(codec="ascii"), max_size=60))
def test_other_names_tell_nothing(name):
    """Any other file beside them is passed over."""
    assert rounds.parse_settled(KEY, name) is None
    assert rounds.parse_settled(KEY, "settled." + name) is None
    assert rounds.parse_failed(KEY, name) is None
    assert rounds.parse_failed(KEY, "failed." + name) is None


def test_a_settled_name_is_read():
    """It says who, and up to which round; not for another map."""
    name = rounds.settled_name(KEY, "12.3", 4)
    assert rounds.parse_settled(KEY, name) == ("12.3", 4)
    assert rounds.parse_settled(b"x" * 32, name) is None
    assert rounds.parse_settled(KEY, name.replace("12.3", "12.4")) is None


def test_a_removed_map_is_gone(tmp_path):
    """Whoever lists rounds of a map that was removed learns that it is gone."""
    transport = FileTransport(str(tmp_path / "removed"))
    with pytest.raises(Gone):
        rounds.round_numbers(transport)
