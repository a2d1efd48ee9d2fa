"""What a supervisor and its executor say to each other, over real pipes: chunks, groups of records, the
board, pieces of large outputs, messages.
"""

from __future__ import annotations

import os
import pickle
import threading
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from _executor_end import ExecutorEnd
from wingspan.worker import channel, child, formats, pipes
from wingspan.worker.blocks import Block
from wingspan.worker.inputs import Inputs
from wingspan.worker.slots import SLOTS, Slots
from wingspan.worker.transports import FileTransport

RECORD = formats.RECORD.pack(formats.OUTPUT, 0, 1, 0, 5, 0.0, 0.0, 0.0, 0, 3)


@pytest.fixture
def pipe():
    """A real pipe: ``(where to read, where to write)``."""
    ends = os.pipe()
    yield ends
    for descriptor in ends:
        os.close(descriptor)


def group(headers=(RECORD,), payload=b"abc", failed=(), count=1):
    """As an executor packs it."""
    head = pipes.GROUP.pack(count, len(headers), len(failed), len(payload), 0.5, 1, 2, 3, 4)
    return head + b"".join(map(pipes.FAILED.pack, failed)) + b"".join(headers) + payload


def chunk(folder, texts=(b"a", b"", b"ccc", b"dd"), first=7, held=True):
    """Components 7 to 10 of a block, each with its pickled input."""
    ends = [sum(map(len, texts[:number])) for number in range(len(texts) + 1)]
    (folder / "inputs.bin").write_bytes(b"".join(texts))
    (folder / "inputs.idx").write_bytes(array("Q", [0] * first + ends).tobytes())
    inputs = Inputs(FileTransport(str(folder)), first + len(texts))
    indices = range(first, first + len(texts))
    data = inputs.read(indices.start, indices.stop) if held else None
    return child.Chunk(
        Block(3, 0, 0, [(7, 11)], False, False), indices, inputs.bounds(7, 7 + len(texts)), data, inputs
    )


def received(message):
    """``({component: its input}, fields of the head)``, as an executor reads a chunk."""
    length, number, attempt, may_go_on, count, first = pipes.CHUNK.unpack_from(message)
    body = message[pipes.CHUNK.size :]
    assert len(body) == length
    bounds = array("Q", body[: 8 * (count + 1)])
    data = body[8 * (count + 1) :]
    found = {
        first + at: bytes(data[bounds[at] - bounds[0] : bounds[at + 1] - bounds[0]]) for at in range(count)
    }
    return found, (number, attempt, may_go_on)


@pytest.mark.parametrize("held", [True, False])
def test_a_chunk_brings_inputs(tmp_path, held):
    """Each component gets its own input, whether it is held in memory or read while it is sent."""
    texts = (b"a", b"", b"ccc", b"dd") if held else (b"x" * 3000000,)
    one = chunk(tmp_path, texts, held=held)
    inputs, head = received(b"".join(one.encode(1000, may_go_on=True)))
    assert inputs == dict(enumerate(texts, 7))
    assert head == (3, formats.MAX_ATTEMPT, True)


def test_a_chunk_goes_on_behind_what_is_done(tmp_path):
    """What is done, and what took the executor down, is not sent again; behind the last there is nothing."""
    one = chunk(tmp_path)
    one.done = 1
    inputs, _ = received(b"".join(one.rest(1).encode(0)))
    assert inputs == {9: b"ccc", 10: b"dd"}
    one.done = 3
    assert one.rest(1) is None


@pytest.mark.parametrize(
    ("unwanted", "expected"),
    [
        ([], [{7: b"a", 8: b"", 9: b"ccc", 10: b"dd"}]),
        ([8], [{7: b"a"}, {9: b"ccc", 10: b"dd"}]),
        ([7, 10], [{8: b"", 9: b"ccc"}]),
        ([7, 8, 9, 10], []),
    ],
)
def test_a_chunk_without_what_nobody_wants(tmp_path, unwanted, expected):
    """The others stay, each with its own input."""
    found = chunk(tmp_path).parts(unwanted.__contains__)
    assert [received(b"".join(one.encode(0)))[0] for one in found] == expected


def test_a_large_input_is_never_held(tmp_path):
    """Neither the rest nor the wanted part of such a chunk has bytes in memory."""
    one = chunk(tmp_path, (b"large",), held=False)
    assert one.rest(0).data is None
    assert [part.data for part in one.parts(lambda component: False)] == [None]


@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.lists(st.integers(0, 2**32 - 1), max_size=2), st.binary(max_size=9)),
        max_size=3,
    )
)
def test_groups_arrive_byte_by_byte(sent):
    """However a pipe cuts them, the groups that come out are those that went in, and nothing stays behind."""
    buffer, arrived = bytearray(), []
    for number in b"".join(
        group([RECORD] * count, payload, failed, count) for count, failed, payload in sent
    ):
        buffer.append(number)
        arrived += [
            (one.count, list(one.failed), one.payload, one.headers, one.wall, one.ranges)
            for one in pipes.groups(buffer)
        ]
    assert not buffer
    assert arrived == [
        (count, failed, payload, RECORD * count, 0.5, [1, 2, 3, 4]) for count, failed, payload in sent
    ]


def test_a_group_says_where_a_piece_lies():
    """A piece of a large output has no records: only its slot and its length."""
    data = bytearray(pipes.GROUP.pack(pipes.PIECE, 0, 2, 1000, 0.0, 0, 0, 0, 0) + group())
    piece, other = pipes.groups(data)
    assert (piece.count, piece.slot, piece.length) == (pipes.PIECE, 2, 1000)
    assert (other.count, other.payload) == (1, b"abc")


def test_the_board_says_what_the_executor_is_at():
    """None at first; then the component, where its output begins, and since when."""
    board = pipes.Board()
    assert board.get() == (-1, 0, 0, 0.0)
    board.set(2**32 - 2, 5, 1 << 40, 17.25)
    assert board.get() == (2**32 - 2, 5, 1 << 40, 17.25)


def test_large_messages_arrive_whole(pipe):
    """Also those that are larger than a pipe, written and read in many calls."""
    read, write = pipe
    sent = os.urandom(3 * formats.PIECE_BYTES + 17)
    writer = threading.Thread(target=pipes.write_all, args=(write, sent))
    writer.start()
    arrived = list(pipes.coming(read, len(sent)))
    writer.join()
    assert b"".join(arrived) == sent
    assert max(map(len, arrived)) == formats.PIECE_BYTES


def test_the_setup_is_read_back(pipe):
    """The lengths that precede it say where it ends, and where the function does."""
    read, write = pipe
    pipes.write_all(
        write, pipes.setup_message(1234, {"python": "3.11"}, "one", True, "/f", path=("/p",), cores=2)
    )
    length, function = pipes.SETUP.unpack(pipes.read_exactly(read, pipes.SETUP.size))
    fields = pickle.loads(pipes.read_exactly(read, length))
    assert function == 1234
    assert fields == ({"python": "3.11"}, "one", True, "/f", None, ["/p"], 2, None, {})


def test_slots_are_lent_and_given_back():
    """All of them are free at first; what is written to one is there, and it is lent again."""
    slots = Slots()
    taken = [slots.take() for _ in range(SLOTS)]
    assert sorted(taken) == list(range(SLOTS))
    for slot in taken:
        slots.view(slot, 1)[:] = bytes([slot])
    assert [bytes(slots.view(slot, 1)) for slot in taken] == [bytes([slot]) for slot in taken]
    slots.give_back(taken[2])
    assert slots.take() == taken[2]
    slots.in_supervisor()
    slots.give_back(0)  # the executor has ended: that is noticed elsewhere
    slots.close()


@pytest.fixture
def speaking():
    """Both ends of a channel, in one process: ``(what the supervisor has, what the executor has)``."""
    both = channel.Channel()
    speaker = channel.Speaker(both._say, both._answers)
    for descriptor in (both._say, both.said):
        os.set_blocking(descriptor, False)
    yield both, speaker
    for descriptor in (both.said, both._say, both._answers, both._answer):
        os.close(descriptor)


def test_a_component_says_things(speaking):
    """Messages arrive whole and in their order; what is no message of ours is passed over."""
    both, speaker = speaking
    assert list(both.messages()) == []
    assert speaker.say(kind="progress", fraction=0.5)
    for text in (b"no json", b"[1]"):
        os.write(both._say, channel._LENGTH.pack(len(text)) + text)
    assert speaker.say(kind="progress", fraction=1.0)
    assert [message["fraction"] for message in both.messages()] == [0.5, 1.0]


def test_a_component_that_says_too_much_is_not_held_up(speaking):
    """A message that is too large, or for which the pipe has no room, is dropped, and it is told so."""
    both, speaker = speaking
    assert not speaker.say(kind="progress", message="x" * channel._MOST_BYTES)
    said = 0
    while speaker.say(kind="progress", message="x" * 1000, number=said):
        said += 1
    numbers = []
    while len(numbers) < said:
        numbers += [message["number"] for message in both.messages()]
    assert numbers == list(range(said))


def test_a_component_asks_and_is_answered(speaking):
    """The answer is what the call returns, an error is an OSError with its words."""
    both, speaker = speaking
    both.answer({"place": "here"})
    assert speaker.ask(kind="keep", name="a") == {"place": "here"}
    both.answer({"error": "the disk is full"})
    with pytest.raises(OSError, match="the disk is full"):
        speaker.ask(kind="keep", name="b")
    assert [message["name"] for message in both.messages()] == ["a", "b"]
    with pytest.raises(ValueError, match=r"keep: \d+ bytes of names are too much for one call"):
        speaker.ask(kind="keep", name="x" * channel._MOST_BYTES)


@pytest.fixture
def executor(tmp_path):
    """The supervisor's end of an executor."""
    one = ExecutorEnd(str(tmp_path))
    yield one
    one.clean()


def test_an_executor_is_sent_what_its_pipe_takes(executor):
    """The supervisor never waits for it: what the pipe does not take stays queued, in its order."""
    large = os.urandom(1 << 18)
    executor.send((b"first", b"", large))
    executor.send((b"last",))
    assert executor.pending
    arrived = b""
    while len(arrived) < len(large) + 9:
        arrived += os.read(executor.reading, 1 << 16)
        executor.write()
    assert arrived == b"first" + large + b"last"
    assert not executor.pending


def test_nothing_is_queued_for_a_dead_executor(executor):
    """Its pipe is closed: that is no error here, and what was meant for it is dropped."""
    executor.stop_reading()
    executor.send((b"first", b"second"))
    assert not executor.pending


def test_what_was_printed_is_asked_for_once(executor):
    """Both streams, between the places that are given, in pieces of a megabyte at most."""
    assert not executor.has_unsent()
    os.write(executor.out, b"before" + b"x" * (1 << 20))
    os.write(executor.err, b"warning")
    assert executor.has_unsent()
    assert list(executor.printed((0, 0), (child.PRINTED_FROM + 6, child.PRINTED_FROM))) == [
        (formats.STDOUT, b"before")
    ]
    os.write(executor.out, b"end")
    assert list(executor.printed((0, 3), (None, None))) == [
        (formats.STDOUT, b"x" * (1 << 20)),
        (formats.STDOUT, b"end"),
        (formats.STDERR, b"rning"),
    ]
    assert not executor.has_unsent()
    assert list(executor.printed((0, 0), (None, None))) == []
