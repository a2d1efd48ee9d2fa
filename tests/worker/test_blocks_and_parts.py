"""What a worker claims: blocks, parts with needs of their own, the pilot that decides them, and the records
that it writes.
"""

from __future__ import annotations

import json

import pytest

from wingspan.worker import blocks, formats, history, outbox, parts, pilot, rounds
from wingspan.worker.transports import FileTransport

KEY = bytes(32)
MB = 1 << 20


@pytest.fixture
def transport(tmp_path):
    for folder in ("rounds", "results"):
        (tmp_path / folder).mkdir()
    connection = FileTransport(str(tmp_path))
    yield connection
    connection.close()


def block(*runs, functions=(), **fields):
    return blocks.Block(2, 5, 0, runs, fields.pop("alone", False), False, functions, **fields)


def records(transport, name):
    """``(fields, payload)`` of each record of a results file, as their owner reads them."""
    data, found = transport.read("results/" + name), []
    for _, count, headers, after in formats.whole_frames(name, KEY, data, 0):
        position = headers + count * formats.RECORD.size
        for number in range(count):
            fields = formats.RECORD.unpack_from(data, headers + number * formats.RECORD.size)
            found.append((fields, data[position : position + fields[-1]]))
            position += fields[-1]
        assert position == after
    return found


def test_a_block_is_taken_from_its_beginning():
    """Each run is taken with the function that belongs to it, and then the block is exhausted."""
    one = block((3, 7), (9, 10), functions=["a.pkl", "b.pkl"])
    assert (one.remaining, one.next_run(), one.function) == (5, (3, 7), "a.pkl")
    one.take(3, 5)
    assert (one.next_run(), one.function, one.exhausted) == ((5, 7), "a.pkl", False)
    one.take(5, 7)
    assert (one.next_run(), one.function) == ((9, 10), "b.pkl")
    one.take(9, 10)
    assert one.exhausted


def test_unwanted_components_leave_a_block():
    """What nobody wants any more is neither taken nor awaited; the rest keeps its function."""
    one = block((0, 5), (8, 9), functions=["a.pkl", "b.pkl"])
    one.drop(lambda component: component in (1, 2, 8))
    assert one.remaining == 3
    taken = []
    while not one.exhausted:
        first, stop = one.next_run()
        taken.append((first, stop, one.function))
        one.take(first, stop)
    assert taken == [(0, 1, "a.pkl"), (3, 5, "a.pkl")]


def test_runs_are_cut_where_the_function_changes():
    """A retry calls for each component the function of the round that wanted it afresh."""
    plans = {
        0: rounds.plan_for(rounds.INITIAL, range(10), 1),
        1: rounds.plan_for(rounds.RERUN, [3, 4], 1, function="new.pkl"),
        2: rounds.plan_for(rounds.RETRY, range(10), 1),
    }
    cut = blocks.with_functions(plans, [(1, 6), (8, 9)], 2)
    first = rounds.FUNCTION
    assert cut == ([(1, 3), (3, 5), (5, 6), (8, 9)], [first, "new.pkl", first, first])
    assert blocks.with_functions(plans, [(3, 5)], 1) == ([(3, 5)], ["new.pkl"])
    assert blocks.with_functions({0: plans[0]}, [(1, 6), (8, 9)], 0) == ([(1, 6), (8, 9)], [first] * 2)


def test_free_blocks_lie_between_the_claims():
    """Only blocks that this worker may do count; what is no number among the claims is no claim."""
    state = blocks.Round(0, rounds.plan_for(rounds.INITIAL, range(10), 1, 1))
    state.mine = [(0, 4), (6, 10)]
    assert blocks.free_runs(["1", "5", "8", ".lock"], state) == [(0, 1), (2, 4), (6, 8), (9, 10)]
    assert blocks.free_runs(map(str, range(10)), state) == []


def test_the_components_of_parts():
    """A block of a later part has the components of that part, across gaps, and knows which they are."""
    ranges = [(0, 2), (5, 6), (8, 12)]
    plan = rounds.Plan.of(
        rounds.INITIAL, [parts.Part({}, [(2, 5)], 2, 1), parts.Part({"request_memory": 9}, ranges, 4, 1)]
    )
    assert plan.blocks == 4
    assert [plan.components(number) for number in range(4)] == [
        [(2, 4)],
        [(4, 5)],
        [(0, 2), (5, 6), (8, 9)],
        [(9, 12)],
    ]
    assert [number for number in range(-1, 14) if number in plan.parts[1]] == [0, 1, 5, 8, 9, 10, 11]
    assert plan.parts[1].stretch(3) == 2


@pytest.mark.parametrize(
    ("own", "shared", "expected"),
    [
        (None, False, True),  # a worker that a person has submitted
        ({"request_memory": 8}, False, True),
        ({"request_memory": 9}, False, False),
        ({"request_memory": 9}, True, True),
        ({"request_memory": 7}, True, False),
        ({"request_memory": 9, "request_cpus": 1}, True, False),  # the options ask for two
        ({}, True, True),  # as much as the machine has
    ],
)
def test_a_part_is_done_by_workers_that_have_enough(own, shared, expected):
    """Those with equal needs do it, and where it is shared those with at least as much of everything."""
    part = parts.Part({"request_memory": 8}, [(0, 4)], 1, 1, shared)
    assert part.is_for(own, {"request_cpus": 2}) is expected


def test_a_shared_part_is_read_back():
    """What is written of a part in a plan is all that there is to it."""
    for shared in (False, True):
        part = parts.Part({"request_disk": 3}, [(0, 4), (7, 9)], 2, 3, shared)
        again = parts.Part.from_plain(json.loads(json.dumps(part.to_plain())))
        assert (again.needs, again.ranges, again.block_size) == (part.needs, part.ranges, 2)
        assert (again.workers, again.shared, again.length, again.blocks) == (3, shared, 6, 3)


def test_needs_of_workers(transport):
    """The newest signed line about a worker counts; torn lines and those with another key do not."""
    assert parts.needs_of_worker(transport, KEY, 3) == {}
    lines = [
        parts.needs_line(KEY, 0, 4, {"request_memory": 1}),
        parts.needs_line(KEY, 2, 2, {"request_memory": 2}),
        parts.needs_line(KEY, 4, 1, None),
        parts.needs_line(b"1" * 32, 0, 9, {"request_memory": 666}),
        parts.needs_line(KEY, 0, 9, {"request_memory": 7})[:-1],
    ]
    transport.append(parts.NEEDS, *lines)
    found = [parts.needs_of_worker(transport, KEY, worker) for worker in (1, 2, 3, 4, 5)]
    assert found == [{"request_memory": 1}, {"request_memory": 2}, {"request_memory": 2}, None, {}]
    assert parts.needs_of_worker(transport, KEY, parts.FIRST_EXTERNAL) is None


def with_a_pilot(transport, memory_kib, wall):
    """A map whose pilot, components 0 and 1, is half finished."""
    rest = [parts.Part({}, [(2, 12)], 2, 5), parts.Part({"request_memory": 7}, [(12, 13)], 1, 1)]
    transport.write_whole(pilot.FILE, pilot.dumps(KEY, rest, True, 2))
    box = outbox.Outbox(transport, KEY, "0.0")
    box.add(formats.OUTPUT, index=0, wall=wall, peak=memory_kib)
    box.add(formats.HEARTBEAT, peak=1 << 30)
    box.add(formats.OUTPUT, index=9, wall=1e6, peak=1 << 30)  # not of the pilot
    box.flush()
    return box, {0: rounds.plan_for(rounds.INITIAL, range(2), 1)}


def test_the_rest_waits_for_its_pilot(transport):
    """Nothing is published before each component of the pilot has an outcome, and nothing twice."""
    box, plans = with_a_pilot(transport, 1024, 1.0)
    assert pilot.plan_for_rest(transport, KEY, plans, {}, 0) is None
    box.add(formats.ERROR, index=1)
    box.flush()
    plan = pilot.plan_for_rest(transport, KEY, plans, {}, 0)
    assert plan is not None
    assert pilot.plan_for_rest(transport, KEY, {**plans, 1: plan}, {}, 0) is None


def test_what_the_pilot_took_decides_what_the_rest_asks_for(transport):
    """A quarter more memory, disk and time in steps; what a component has asked for itself stays."""
    box, plans = with_a_pilot(transport, 1000 * 1024, 700.0)
    box.add(formats.OUTPUT, index=1, wall=2.0, peak=1)
    box.flush()
    plan = pilot.plan_for_rest(transport, KEY, plans, {}, 100 * MB)
    assert plan.measured == {"components": 2, "memory": 1000 * MB, "wall": 700.0, "disk": 100 * MB}
    first, second = plan.parts
    assert first.needs == {
        "request_memory": 1328 * MB,  # 1.25 * 1000 + 64, in steps of 16
        "request_disk": 384 * MB,  # 1.25 * 100 + 256
        "time": 4200,  # three times two components of 700 s each
    }
    assert second.needs == {"request_memory": 7, "request_disk": 384 * MB, "time": 2100}
    assert first.shared
    assert second.shared
    assert "time" not in pilot.plan_for_rest(transport, KEY, plans, {"time": 60}, 0).parts[0].needs


def test_a_map_without_a_pilot_has_no_rest(transport):
    """No file: the map is too small. A file that is signed with another key is told of."""
    plans = {0: rounds.plan_for(rounds.INITIAL, range(2), 1)}
    assert pilot.plan_for_rest(transport, KEY, plans, {}, 0) is None
    transport.write_whole(pilot.FILE, pilot.dumps(b"1" * 32, [], False, 2))
    with pytest.raises(ValueError, match="pilot is not signed with this map's key"):
        pilot.plan_for_rest(transport, KEY, plans, {}, 0)


def test_records_are_read_back_with_their_payloads(transport):
    """Several frames follow each other, and a late attempt is written as the last one that there is."""
    box = outbox.Outbox(transport, KEY, "0.0")
    box.add(formats.OUTPUT, payload=b"abc", attempt=1000, number=2, index=7, started=5.0, wall=1.5, peak=8)
    box.add(formats.STDOUT, payload=b"printed", number=2, index=7)
    assert not transport.names("results")
    box.flush()
    box.add(formats.HEARTBEAT)
    box.flush()
    (first, output), (_, printed), (last, nothing) = records(transport, "0.0")
    assert first[:6] == (formats.OUTPUT, formats.MAX_ATTEMPT, 1, 2, 7, 5.0)
    assert (first[6], first[8], output, printed, nothing) == (1.5, 8, b"abc", b"printed", b"")
    assert (last[0], last[4]) == (formats.HEARTBEAT, formats.NO_COMPONENT)
    assert history.finished_components(transport, KEY, "0.0", 2) == {7: False}


def test_much_is_appended_at_once(transport):
    """A megabyte is not gathered any longer, and nothing of it is appended a second time."""
    box = outbox.Outbox(transport, KEY, "0.0")
    box.add(formats.OUTPUT, payload=bytes(outbox.FRAME_BYTES), index=1)
    assert len(records(transport, "0.0")) == 1
    box.flush()
    assert len(records(transport, "0.0")) == 1


def test_a_large_output_is_pieced_together(transport):
    """Its record says where its pieces lie, and behind other records; an error has no pieces."""
    box = outbox.Outbox(transport, KEY, "0.0")
    places = [box.append_piece(memoryview(b"first ")), box.append_piece(memoryview(b"second"))]
    before = formats.RECORD.pack(formats.STDOUT, 0, 1, 0, 1, 0.0, 0.0, 0.0, 0, 2)
    record = formats.RECORD.pack(formats.LARGE, 0, 1, 0, 1, 0.0, 0.0, 0.0, 0, 1)
    box.add_packed(*outbox.with_pieces(before + record, b"hi\0", places))
    box.flush()
    _, (fields, payload) = records(transport, "0.0")
    assert (fields[0], payload[:1]) == (formats.LARGE, b"\0")
    data = transport.read("results/0.0")
    found = [data[begin : begin + length] for begin, length in formats.PIECE.iter_unpack(payload[1:])]
    assert b"".join(found) == b"first second"
    error = formats.RECORD.pack(formats.ERROR, 0, 1, 0, 1, 0.0, 0.0, 0.0, 0, 1)
    assert outbox.with_pieces(error, b"e", places) == (error, b"e")


def test_what_failed_is_told_when_its_records_are_safe(transport):
    """Others may try it again; of a block without attempts left, or of a folded round, nobody is told."""
    transport.make_folder("rounds/2")
    transport.make_folder("rounds/2/takes")
    box = outbox.Outbox(transport, KEY, "0.0")
    one, last = block((0, 9)), block((9, 10), may_retry=False)
    one.failed, last.failed = [3, 4], [9]
    box.add(formats.ERROR, index=3)
    box.block_done(one)
    box.block_done(last)
    assert transport.names("rounds/2/takes") == []
    box.flush()
    assert sorted(transport.names("rounds/2/takes")) == sorted(rounds.failed_names(KEY, 2, [3, 4]))
    assert (box.due(0.0), transport.size("results/0.0") > 0) == (formats.HEARTBEAT_SECONDS, True)
    transport.remove_tree("rounds/2")
    box.block_done(one)
    assert box.due(0.0) == 0.0
    box.flush()
    assert transport.names("rounds") == []


def test_what_cannot_be_appended_is_told_of_by_nobody(tmp_path):
    """Where a frame cannot be appended, neither it nor what failed in it is told of afterwards."""
    transport = FileTransport(str(tmp_path))
    (tmp_path / "rounds/2/takes").mkdir(parents=True)
    box = outbox.Outbox(transport, KEY, "0.0")
    one = block((0, 9))
    one.failed = [3]
    box.add(formats.ERROR, index=3)
    box.block_done(one)
    with pytest.raises(FileNotFoundError):  # results is not there
        box.flush()
    (tmp_path / "results").mkdir()
    box.flush()
    assert (transport.names("results"), transport.names("rounds/2/takes")) == ([], [])
    transport.close()


def test_each_start_of_a_worker_has_a_name_of_its_own(transport):
    """A worker that starts again does not write into the file of its earlier start, and carries both on."""
    assert [outbox.first_free_name(transport, 4) for _ in range(3)] == ["4.0", "4.1", "4.2"]
    assert history.with_earlier("4.2") == ["4.0", "4.1", "4.2"]
    assert history.with_earlier("4.0") == ["4.0"]
