"""Pickles in pieces: every byte comes once and in order, and what is cut or damaged is never taken."""

from __future__ import annotations

import os
import pickle
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.worker import formats
from wingspan.worker.compatibility import header
from wingspan.worker.rebuild import CODE_MARKS
from wingspan.worker.rounds import function_name
from wingspan.worker.streams import (
    Function,
    Gathering,
    Stream,
    has_mark,
    pickle_bytes,
    signed_pieces,
    stored_pieces,
)
from wingspan.worker.transports import FileTransport

KEY = b"k" * formats.KEY_BYTES
PIECES = st.lists(st.binary(max_size=6), max_size=6)


@settings(max_examples=40)
@given(PIECES, st.lists(st.tuples(st.booleans(), st.integers(0, 9)), max_size=8))
def test_reads_of_any_length_give_the_bytes_in_order(
    pieces: list[bytes], reads: list[tuple[bool, int]]
) -> None:
    """However the bytes are cut into pieces, each read gets the next ones, and fewer only at the end."""
    stream, whole, at = Stream(pieces), b"".join(pieces), 0
    for into, length in reads:
        if into:
            target = bytearray(length)
            got = bytes(target[: stream.readinto(memoryview(target))])
        else:
            got = stream.read(length)
        assert got == whole[at : at + length]
        at += len(got)


@settings(max_examples=40)
@given(st.lists(st.sampled_from([b"", b"a", b"\n", b"b\nc", b"\n\n", b"long "]), max_size=8))
def test_lines_end_where_they_end(pieces: list[bytes]) -> None:
    """A line goes to its newline, in whatever piece that is; the last may have none."""
    stream, lines = Stream(pieces), []
    while line := stream.readline():
        lines.append(line)
    assert lines == b"".join(pieces).splitlines(keepends=True)


def test_a_pickle_is_read_from_pieces() -> None:
    """The unpickler reads a value from pieces of three bytes, a large array of bytes among it."""
    value = {"name": b"x" * 100_000, "more": [1, 2.5, "three"]}
    data = pickle.dumps(value, 5)
    stream = Stream(data[at : at + 3] for at in range(0, len(data), 3))
    assert pickle.Unpickler(stream).load() == value


def test_the_rest_of_a_stream_is_read_though_nobody_wants_it() -> None:
    """After a pickle that could not be read, what sends the pieces gets rid of all of them."""
    taken = []

    def pieces() -> Iterator[bytes]:
        for number in range(4):
            taken.append(number)
            yield b"abc"

    stream = Stream(pieces())
    assert stream.read(4) == b"abca"
    stream.drain()
    assert taken == [0, 1, 2, 3]
    assert stream.read(1) == b""


def test_a_damaged_length_asks_for_no_memory() -> None:
    """A read of a terabyte gives what is there."""
    assert Stream([b"ab", b"c"]).read(1 << 40) == b"abc"


def test_buffers_of_any_shape_are_plain_bytes() -> None:
    """A pickler writes bytes, or the buffer of an array in whatever shape."""
    square = memoryview(bytes(range(12))).cast("B", (3, 4))
    assert bytes(pickle_bytes(pickle.PickleBuffer(square))) == bytes(range(12))
    assert bytes(pickle_bytes(b"abc")) == b"abc"


def test_small_pickles_are_kept_and_large_ones_are_sent_in_order() -> None:
    """Up to the limit nothing is sent; beyond it everything is, what was kept first; the next pickle begins
    with nothing.
    """
    sent: list[bytes] = []
    gathering = Gathering(lambda view: sent.append(bytes(view)), keep=5)
    gathering.write(b"abc")
    gathering.write(b"de")
    assert (gathering.kept(), gathering.is_large, sent) == (b"abcde", False, [])
    gathering.write(b"f")
    gathering.write(b"gh")
    assert (gathering.is_large, gathering.length, sent) == (True, 8, [b"abc", b"de", b"f", b"gh"])
    gathering.begin()
    gathering.write(b"x")
    assert (gathering.kept(), gathering.is_large, gathering.length) == (b"x", False, 1)


def test_code_in_a_pickle_is_noticed() -> None:
    """Small writes are looked at for code that travels by value; a large one is one value's content; the next
    pickle begins without code.
    """
    gathering = Gathering(lambda _: None)
    gathering.write(CODE_MARKS[0] + b" " * (1 << 17))
    assert not gathering.holds_code
    gathering.write(b"..." + CODE_MARKS[0])
    assert gathering.holds_code
    gathering.begin()
    assert not gathering.holds_code


@pytest.mark.parametrize("mark", CODE_MARKS)
def test_code_is_found_wherever_pieces_are_cut(mark: bytes) -> None:
    """A mark that lies in several pieces, short ones too, is found; without its last byte there is none."""
    code, none = b"." * 7 + mark + b"." * 20, b"." * 7 + mark[:-1] + b"." * 20
    for length in range(1, len(code) + 1):
        assert has_mark(code[at : at + length] for at in range(0, len(code), length))
        assert not has_mark(none[at : at + length] for at in range(0, len(none), length))


def _results(folder: Path, *outputs: bytes) -> list[tuple[int, int]]:
    """A results file with these pieces in it: beginning and length of each."""
    data, places = b"", []
    for output in outputs:
        data += formats.piece_head(KEY, "results/0.0", len(data), output)
        places.append((len(data), len(output)))
        data += output
    (folder / "file").write_bytes(data)
    return places


@pytest.mark.parametrize("wrong", ["", "bit", "cut", "key", "moved"])
def test_pieces_of_a_large_output_are_checked(tmp_path: Path, wrong: str) -> None:
    """Whole pieces come in order; one that is altered, cut, signed with another key or taken from another
    place is an error that says where it is.
    """
    places = _results(tmp_path, b"first", b"second piece")
    data = bytearray((tmp_path / "file").read_bytes())
    if wrong == "bit":
        data[-1] ^= 1
    elif wrong == "cut":
        del data[-1:]
    elif wrong == "moved":
        data.insert(places[1][0] - formats.FRAME.size, 0)
        places[1] = places[1][0] + 1, places[1][1]
    (tmp_path / "file").write_bytes(data)
    descriptor = os.open(tmp_path / "file", os.O_RDONLY)
    try:
        pieces = signed_pieces(descriptor, b"s" * 32 if wrong == "key" else KEY, "results/0.0", places)
        if not wrong:
            assert [bytes(piece) for piece in pieces] == [b"first", b"second piece"]
            assert list(signed_pieces(descriptor, KEY, "results/0.0", [])) == []
            return
        at = places[0 if wrong == "key" else 1][0]
        with pytest.raises(ValueError, match=rf"the piece at byte {at} of results/0\.0 is damaged"):
            list(map(bytes, pieces))
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("size", [10, formats.PIECE_BYTES + 1000], ids=["small", "large"])
@pytest.mark.parametrize("knows_length", [True, False])
def test_a_function_is_read_without_its_first_line(tmp_path: Path, size: int, knows_length: bool) -> None:
    """Its pickle comes whole, each time it is asked for, with the facts of the first line; a content that
    does not match the name is refused.
    """
    pickled = os.urandom(size)
    content = header({"python": "3.11"}) + pickled
    name = function_name([content])
    path = tmp_path / name
    path.parent.mkdir()
    path.write_bytes(content)
    function = Function(FileTransport(str(tmp_path)), name, len(content) if knows_length else None)
    assert function.facts == {"python": "3.11"}
    assert function.length == size
    assert b"".join(function.pieces()) == b"".join(function.pieces()) == pickled
    function.check()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ValueError, match=f"the function in {name} of the map is cut or altered"):
        function.check()


def test_a_function_that_is_cut_is_an_error(tmp_path: Path) -> None:
    """Of a file that ends early, or within its first line, nothing is called a function."""
    (tmp_path / "f").write_bytes(b'{"python": ')
    with pytest.raises(ValueError, match="cut before the end of its first line"):
        Function(FileTransport(str(tmp_path)), "f", None)
    with pytest.raises(EOFError, match="f of the map is cut"):
        list(stored_pieces(FileTransport(str(tmp_path)), "f", 0, 100))
