"""Where a worker's next block comes from, on a real folder."""

from __future__ import annotations

import os

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.maps._simulated import KEY, Counting, InMemory, Memory, finish, simulate
from wingspan.worker import rounds
from wingspan.worker.transports import FileTransport
from wingspan.worker.work import WorkSource


class Folder:
    """The parts of a map's folder that work sources look at."""

    def __init__(self, path):
        for name in ("rounds", "results"):
            (path / name).mkdir(parents=True)
        self.path = path
        self.transport = FileTransport(str(path))

    def publish(self, number, kind, components, workers=1, block_size=1):
        plan = rounds.plan_for(kind, components, workers, block_size)
        assert rounds.publish(self.transport, KEY, number, plan, f"n{number}")

    def source(self, name, retries=0, lease=120.0):
        (self.path / "results" / name).touch()
        return WorkSource(self.transport, KEY, int(name.split(".")[0]), name, retries, lease)

    def finish(self, name, block, failed=(), components=None):
        """Write records of a block, and that it is done."""
        finish(self.transport, name, block, failed, components)

    def silence(self, name, seconds):
        path = self.path / "results" / name
        past = path.stat().st_mtime - seconds
        os.utime(path, (past, past))


@pytest.fixture
def folder(tmp_path):
    made = Folder(tmp_path / "map")
    yield made
    made.transport.close()


def taken(source):
    """All blocks a source finds: ``(round, block)``."""
    found = []
    while (block := source.next_block()) is not None:
        found.append((block.round, block.number))
    return found


def test_a_worker_alone_takes_every_block_once(folder):
    """One worker finds all blocks, each once."""
    folder.publish(0, rounds.INITIAL, range(17), block_size=3)
    assert sorted(taken(folder.source("0.0"))) == [(0, block) for block in range(6)]


@settings(max_examples=25)
@given(st.data(), st.integers(1, 5), st.integers(1, 60), st.booleans())
def test_workers_share_all_blocks(tmp_path_factory, data, workers, count, fall):
    """However the calls of several workers interleave, each block is taken exactly once, and none is left;
    also where blocks fall.
    """
    folder = Folder(tmp_path_factory.mktemp("share") / "map")
    if fall:
        plan = rounds.Plan(rounds.INITIAL, [(0, 90)], 9, data.draw(st.integers(1, 6)), falls=(4, 3, 2, 1))
        assert rounds.publish(folder.transport, KEY, 0, plan, "n0")
        count = plan.blocks
    else:
        folder.publish(0, rounds.INITIAL, range(count), workers=workers)
    sources = [folder.source(f"{worker}.0") for worker in range(workers)]
    found, active = [], list(range(workers))
    while active:
        chosen = data.draw(st.sampled_from(active))
        block = sources[chosen].next_block()
        if block is None:
            active.remove(chosen)
        else:
            found.append(block.number)
    assert sorted(found) == list(range(count))


def test_workers_begin_in_their_own_stretches(folder):
    """Workers that start at once do not meet: each begins where its stretch begins."""
    folder.publish(0, rounds.INITIAL, range(100), workers=4)
    sources = [folder.source(f"{worker}.0") for worker in range(4)]
    assert [source.next_block().number for source in sources] == [0, 25, 50, 75]


def test_whoever_helps_begins_with_what_is_large(folder):
    """Where blocks fall, a worker that has done its own stretch takes the largest blocks that are free of
    another, since what takes long is to be begun early; and it tries none that another has.
    """
    plan = rounds.Plan(rounds.INITIAL, [(0, 100)], 20, 2, falls=(4, 3, 2, 1))
    assert rounds.publish(folder.transport, KEY, 0, plan, "n0")
    other = folder.source("1.0")
    assert other.next_block().number == 4
    counting = Counting(folder.transport)
    (folder.path / "results/0.0").touch()
    assert taken(WorkSource(counting, KEY, 0, "0.0", 0, 120.0)) == [
        (0, block) for block in (0, 1, 2, 3, 5, 6, 7)
    ]
    assert counting.claims == 7


def test_a_second_start_resumes_what_the_first_left(folder):
    """Claims of an earlier start come first, without what has a record already; other workers' claims do
    not.
    """
    folder.publish(0, rounds.INITIAL, range(8), workers=2, block_size=4)
    first = folder.source("0.0")
    begun = first.next_block()
    folder.finish("0.0", begun, components=[0, 1])
    again = folder.source("0.1")
    resumed = again.next_block()
    assert (resumed.number, resumed.next_run(), resumed.remaining) == (0, (2, 4), 2)
    assert taken(again) == [(0, 1)]
    assert taken(folder.source("1.0")) == []
    assert taken(folder.source("1.1")) == []


def test_where_blocks_fall_a_lost_worker_is_known_by_its_claims(folder):
    """Claims that are names of a worker's own list say whose they are: its next start resumes what is left of
    them, and where there is none, another worker repairs it.
    """
    plan = rounds.Plan(rounds.INITIAL, [(0, 12)], 3, 2, falls=(3, 2, 1))
    assert rounds.publish(folder.transport, KEY, 0, plan, "n0")
    begun = folder.source("0.0").next_block()
    folder.finish("0.0", begun, components=[0, 1])
    again = folder.source("0.1").next_block()
    assert (again.number, again.next_run()) == (0, (2, 3))
    folder.silence("0.1", 200)
    other = folder.source("1.0")
    while (block := other.next_block()) is not None:
        folder.finish("1.0", block)
    assert other.another_round()
    assert other.next_block().next_run() == (2, 3)


def test_what_failed_before_an_eviction_is_retried(folder):
    """A component that failed in the part of a block that an earlier start did is retried like any other."""
    folder.publish(0, rounds.INITIAL, range(4), block_size=4)
    folder.finish("0.0", folder.source("0.0").next_block(), failed=[1], components=[0, 1])
    again = folder.source("0.1", retries=1)
    resumed = again.next_block()
    assert (resumed.next_run(), resumed.failed) == ((2, 4), [1])
    folder.finish("0.1", resumed, failed=[1, 3], components=None)
    assert again.another_round()
    retried = again.next_block()
    assert (retried.round, retried.attempt, retried.next_run()) == (1, 1, (1, 2))
    assert again.next_block().next_run() == (3, 4)


def test_a_finished_block_is_not_resumed(folder):
    """What was said to be done is not done again by the next start."""
    folder.publish(0, rounds.INITIAL, range(2))
    first = folder.source("0.0")
    block = first.next_block()
    folder.finish("0.0", block)
    assert taken(folder.source("0.1")) == [(0, 1)]


def test_a_torn_record_is_done_again(folder):
    """A record whose frame is cut counts as not done."""
    folder.publish(0, rounds.INITIAL, range(4), block_size=4)
    block = folder.source("0.0").next_block()
    folder.finish("0.0", block, components=[0])
    path = folder.path / "results/0.0"
    path.write_bytes(path.read_bytes()[:-1])
    assert folder.source("0.1").next_block().next_run() == (0, 4)


def test_newer_rounds_make_older_blocks_empty(folder):
    """Components that a rerun wants afresh are left out of older blocks."""
    folder.publish(0, rounds.INITIAL, range(4), block_size=2)
    folder.publish(1, rounds.RERUN, [1, 2, 3], block_size=2)
    source = folder.source("0.0")
    blocks = []
    while (block := source.next_block()) is not None:
        runs = []
        while not block.exhausted:
            first, stop = block.next_run()
            runs.append((first, stop))
            block.take(first, stop)
        blocks.append((block.round, runs))
    assert blocks == [(0, [(0, 1)]), (0, []), (1, [(1, 3)]), (1, [(3, 4)])]


def test_failures_are_retried_so_often(folder):
    """A worker that has run dry publishes a round for what failed, until the attempts are used up."""
    folder.publish(0, rounds.INITIAL, range(3))
    source = folder.source("0.0", retries=2)
    attempts = []
    for _ in range(3):
        while (block := source.next_block()) is not None:
            attempts.append((block.attempt, block.next_run()))
            folder.finish("0.0", block, failed=[1] if block.next_run() == (1, 2) else [])
        if not source.another_round():
            break
    assert sorted(attempts) == [(0, (0, 1)), (0, (1, 2)), (0, (2, 3)), (1, (1, 2)), (2, (1, 2))]
    assert not source.another_round()
    assert [rounds.Plan.loads(KEY, folder.transport.read(f"rounds/{n}/plan"), n).kind for n in (1, 2)] == [
        "retry"
    ] * 2


def test_nothing_is_retried_unasked(folder):
    """Without retries a failure is final."""
    folder.publish(0, rounds.INITIAL, range(1))
    source = folder.source("0.0")
    folder.finish("0.0", source.next_block(), failed=[0])
    assert source.next_block() is None
    assert not source.another_round()
    assert rounds.round_numbers(folder.transport) == [0]


def test_what_a_silent_worker_had_is_taken_over(folder):
    """Claims of a worker that was silent for longer than a lease are repaired, without what it finished;
    a living one's are not.
    """
    folder.publish(0, rounds.INITIAL, range(8), workers=2, block_size=4)
    lost, alive, other = (folder.source(f"{worker}.0") for worker in range(3))
    folder.finish("0.0", lost.next_block(), components=[0])
    alive.next_block()
    assert other.next_block() is None
    assert not other.another_round()
    folder.silence("0.0", 121)
    assert other.another_round()
    repaired = []
    while (block := other.next_block()) is not None:
        assert block.alone
        repaired.append(block.next_run())
    assert repaired == [(1, 2), (2, 3), (3, 4)]
    assert not other.another_round()


def test_a_claim_that_was_never_signed_is_taken_over(folder):
    """A worker that died between creating and signing its claim does not block that block for ever."""
    folder.publish(0, rounds.INITIAL, range(1))
    folder.source("7.0")
    (folder.path / "rounds/0/takes/7.0").write_bytes(rounds.take_line(KEY, "7.0", 0, 0))
    folder.silence("7.0", 121)
    claim = folder.path / "rounds/0/claims/0"
    claim.touch()
    source = folder.source("0.0")
    assert source.next_block() is None
    assert not source.another_round()
    past = claim.stat().st_mtime - 121
    os.utime(claim, (past, past))
    assert source.another_round()
    assert source.next_block().next_run() == (0, 1)


def test_a_plan_of_somebody_else_is_refused(folder):
    """A round whose plan is not signed with the map's key is not worked on."""
    plan = rounds.plan_for(rounds.INITIAL, range(4), 1)
    rounds.publish(folder.transport, b"x" * 32, 0, plan, "evil")
    with pytest.raises(ValueError, match="not signed"):
        folder.source("0.0")


@pytest.mark.parametrize("retries", [0, 1])
@pytest.mark.parametrize("workers", [2, 50, 200])
def test_the_end_of_a_map_asks_little_of_the_access_point(tmp_path, workers, retries):
    """Beside claims and appends a worker makes at most 20 file operations in its life, however many there
    are; four are made by others.
    """
    folder = Folder(tmp_path / "map")
    transports = [Counting(FileTransport(str(folder.path))) for _ in range(workers)]
    failing = frozenset([3, 20 * workers - 1] if retries else [])
    done = simulate(folder.transport, transports, 20 * workers, retries=retries, failing=failing)
    assert sorted(first for first, failed in done if not failed) == list(range(20 * workers))
    assert sum(failed for _, failed in done) == len(failing)
    for transport in transports:
        assert len(transport.others) <= 12 + (8 if retries else 0), transport.others
        transport.close()
    assert sorted(os.listdir(folder.path / "rounds/0")) == ["plan"]
    folder.transport.close()


@settings(max_examples=15, deadline=None)
@given(st.data(), st.integers(1, 6), st.integers(1, 40), st.booleans())
def test_a_map_in_memory_is_as_one_on_disk(tmp_path_factory, data, workers, count, one_lost):
    """Workers do the same, and ask the same, whether the map is on a disk or in the memory in which
    10,000 of them are counted.
    """
    failing = data.draw(st.frozensets(st.integers(0, count - 1), max_size=3))
    folder, memory = Folder(tmp_path_factory.mktemp("as") / "map"), Memory()

    def forget(path):
        memory.file(path)[1][0] -= 1000

    told = []
    for transport, lost in (
        (folder.transport, lambda path: folder.silence(path.partition("/")[2], 1000)),
        (InMemory(memory), forget),
    ):
        each_its_own = [
            FileTransport(str(folder.path)) if lost is not forget else transport for _ in range(workers + 1)
        ]
        counting = [Counting(each, in_order=True) for each in each_its_own]
        done = simulate(
            transport, counting, count, retries=1, failing=failing, lost=lost if one_lost else None
        )
        asked = [(each.claims, each.appends, [name for name, _ in each.others]) for each in counting]
        told.append((done, asked))
        for each in counting:
            each.close()
    assert told[0] == told[1]
    assert memory.count_files() == sum(len(names) for _, _, names in os.walk(folder.path))
    folder.transport.close()


def test_whoever_comes_after_the_fold_finds_nothing_to_do(folder):
    """A worker that starts, or goes on, when a complete round was folded ends; it does nothing again."""
    folder.publish(0, rounds.INITIAL, range(4), workers=2)
    late, first = folder.source("1.0"), folder.source("0.0")
    while (block := first.next_block()) is not None:
        folder.finish("0.0", block)
    assert not first.another_round()
    assert sorted(os.listdir(folder.path / "rounds/0")) == ["plan"]
    for source in (late, folder.source("2.0"), folder.source("0.1")):
        assert source.next_block() is None
        assert not source.another_round()
    folder.publish(1, rounds.RERUN, [2], workers=1)
    assert late.another_round()
    assert taken(late) == [(1, 0)]


def test_a_fold_that_was_broken_off_is_finished(folder):
    """Claims that went while the takes are still there: workers find the round folded, and another fold
    removes the rest.
    """
    folder.publish(0, rounds.INITIAL, range(2))
    (folder.path / "rounds/0/claims").rename(folder.path / "rounds/0/.claims.x")
    source = folder.source("0.0")
    assert source.next_block() is None
    assert not source.another_round()
    rounds.fold(folder.transport, 0, "y")
    assert sorted(os.listdir(folder.path / "rounds/0")) == [".claims.x", "plan"]


def test_a_map_with_a_worker_that_is_not_done_is_not_folded(folder):
    """As long as anybody has claimed something and not finished it, the claims stay."""
    folder.publish(0, rounds.INITIAL, range(2), workers=2)
    first, second = folder.source("0.0"), folder.source("1.0")
    one, two = first.next_block(), second.next_block()
    folder.finish("0.0", one)
    assert first.next_block() is None
    assert not first.another_round()
    assert (folder.path / "rounds/0/claims").is_dir()
    folder.finish("1.0", two)
    assert second.next_block() is None
    assert not second.another_round()
    assert not (folder.path / "rounds/0/claims").exists()


def test_a_plan_of_another_round_is_refused(folder):
    """A signed plan counts for the round that it was written for: copied to another number it is refused."""
    folder.publish(0, rounds.INITIAL, range(4))
    folder.publish(1, rounds.RERUN, [1])
    (folder.path / "rounds/1/plan").write_bytes((folder.path / "rounds/0/plan").read_bytes())
    with pytest.raises(ValueError, match="not signed"):
        folder.source("0.0")


def test_forged_notes_change_nothing(folder):
    """Who has not the key cannot make others believe that a worker is settled, has taken, or has failed
    at something.
    """
    folder.publish(0, rounds.INITIAL, range(3), workers=3)
    lost = folder.source("0.0")
    folder.finish("0.0", lost.next_block(), components=[])
    takes = folder.path / "rounds/0/takes"
    (takes / rounds.settled_name(b"x" * 32, "0.0", 0)).touch()
    (takes / rounds.failed_names(b"x" * 32, 0, [1])[0]).touch()
    (takes / "9.0").write_bytes(rounds.take_line(b"x" * 32, "9.0", 0, 1))
    folder.silence("0.0", 200)
    other = folder.source("1.0", retries=3)
    while (block := other.next_block()) is not None:
        folder.finish("1.0", block)
    assert other.another_round()
    assert [other.next_block().next_run() for _ in range(1)] == [(0, 1)]
    assert (other.next_block(), list(other._rounds)) == (None, [0, 1])
