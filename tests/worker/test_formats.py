"""Records and frames: what was written whole is read, anything else is not."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.worker import formats

KEY = bytes(range(32))
OTHER_KEY = bytes(reversed(range(32)))

records = st.lists(st.tuples(st.integers(0, 2**32 - 2), st.binary(max_size=60)), min_size=1, max_size=8)


def packed(numbered):
    headers = [
        formats.RECORD.pack(formats.OUTPUT, 0, 1, 0, index, 1.5, 0.25, 0.125, 7, len(payload))
        for index, payload in numbered
    ]
    return headers, [payload for _, payload in numbered]


def written(frames, name="0.0", key=KEY):
    """A results file of these frames."""
    data = b""
    for numbered in frames:
        data += formats.frame(key, name, len(data), *packed(numbered))
    return data


def read(data, name="0.0", key=KEY, offset=0):
    """``(index, payload)`` of all records in whole frames."""
    found = []
    for _, count, body, _ in formats.whole_frames(name, key, data, offset):
        at = body + count * formats.RECORD.size
        for record in formats.RECORD.iter_unpack(data[body:at]):
            found.append((record[4], data[at : at + record[9]]))
            at += record[9]
    return found


@given(st.lists(records, max_size=5))
def test_what_is_written_is_read(frames):
    """All records of all frames come back, in order."""
    assert read(written(frames)) == [record for numbered in frames for record in numbered]


@given(st.lists(records, min_size=1, max_size=4), st.data())
def test_a_torn_tail_is_no_error(frames, data):
    """A file cut anywhere gives the records of the frames that are whole, and raises nothing."""
    whole = written(frames)
    cut = data.draw(st.integers(0, len(whole)))
    ends = [len(written(frames[: count + 1])) for count in range(len(frames))]
    complete = sum(end <= cut for end in ends)
    assert read(whole[:cut]) == [record for numbered in frames[:complete] for record in numbered]


@settings(max_examples=200)
@given(st.lists(records, min_size=1, max_size=3), st.data())
def test_a_flipped_bit_is_never_believed(frames, data):
    """Whatever bit is flipped, only frames before it are given; no wrong record comes out."""
    whole = bytearray(written(frames))
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    before = []
    end = 0
    for count, numbered in enumerate(frames):
        end = len(written(frames[: count + 1]))
        if end * 8 > bit:
            break
        before += numbered
    found = []
    try:
        for _, count, body, _ in formats.whole_frames("0.0", KEY, bytes(whole), 0):
            found += read_frame(bytes(whole), count, body)
    except ValueError:
        pass
    assert found == before


def read_frame(data, count, body):
    at = body + count * formats.RECORD.size
    found = []
    for record in formats.RECORD.iter_unpack(data[body:at]):
        found.append((record[4], data[at : at + record[9]]))
        at += record[9]
    return found


@pytest.mark.parametrize(
    ("name", "key", "offset"),
    [("0.1", KEY, 0), ("0.0", OTHER_KEY, 0), ("0.0", KEY, 1)],
    ids=["file", "key", "place"],
)
def test_a_frame_counts_only_where_it_was_written(name, key, offset):
    """A frame moved to another file or place, or signed with another key, is refused."""
    data = written([[(1, b"payload")]])
    assert read(data) == [(1, b"payload")]
    with pytest.raises(ValueError, match="not signed with this map's key"):
        read(data, name=name, key=key, offset=offset)


def test_a_count_that_cannot_be_is_refused():
    """A frame that claims more records than its body can hold is no frame."""
    head = formats.FRAME.pack(formats.FRAME_MAGIC, 10, 1000, bytes(16))
    with pytest.raises(ValueError, match=r"no frame at byte 0 of 0\.0"):
        read(head + bytes(10))


@given(st.text(max_size=50))
def test_signed_text_is_verified(text):
    """What `sign` signed, `verify` gives back; with another key, cut or altered, it does not."""
    signed = formats.sign(KEY, text)
    assert formats.verify(KEY, signed) == text.encode()
    assert formats.verify(OTHER_KEY, signed) is None
    assert formats.verify(KEY, signed[: len(signed) // 2]) is None
    assert formats.verify(KEY, b"x" + signed) is None
    assert formats.verify(KEY, b"") is None


def test_the_layout_of_a_record_does_not_change_by_accident():
    """Maps of last year are read by this year's Wingspan: sizes are part of the format."""
    assert formats.FRAME.size == 32
    assert formats.RECORD.size == 40


def old_frame(key, name, offset, headers, payloads):
    """A frame as maps of format 1 have it (Wingspan before 2026-12): keyed BLAKE2b over everything."""
    import hashlib

    body = b"".join(headers) + b"".join(payloads)
    code = hashlib.blake2b(key=key, digest_size=16)
    code.update(b"%s\0%d\0%d\0%d\0" % (name.encode(), offset, len(body), len(headers)))
    code.update(body)
    return formats.FRAME.pack(b"WSF1", len(body), len(headers), code.digest()) + body


@given(st.lists(records, max_size=5), st.data())
def test_frames_of_old_maps_are_read(frames, data):
    """Frames of format 1 are read like those of today, and refused where a bit is flipped."""
    whole = b""
    for numbered in frames:
        whole += old_frame(KEY, "0.0", len(whole), *packed(numbered))
    assert read(whole) == [record for numbered in frames for record in numbered]
    if whole:
        bit = data.draw(st.integers(8 * formats.FRAME.size, 8 * len(whole) - 1))
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << bit % 8
        try:
            assert len(read(bytes(flipped))) < sum(map(len, frames))
        except ValueError:
            pass


@given(records, st.data())
def test_headers_are_known_without_their_payloads(numbered, data):
    """Headers are checked by themselves; a bit flipped in a payload is seen when the payloads are."""
    whole = bytearray(written([numbered]))
    frame = formats.Frame("0.0", 0, bytes(whole))
    frame.check(KEY, "0.0", 0, bytes(whole[: frame.signed]))
    if frame.payloads == frame.end:
        return
    bit = data.draw(st.integers(8 * frame.payloads, 8 * frame.end - 1))
    whole[bit // 8] ^= 1 << bit % 8
    frame.check(KEY, "0.0", 0, bytes(whole))
    with pytest.raises(ValueError, match="is damaged"):
        frame.check_payloads("0.0", 0, bytes(whole), [bytes(whole[frame.payloads :])])


@given(st.binary(min_size=1, max_size=2000), st.data())
def test_a_piece_counts_only_as_it_was_written(content, data):
    """A piece with a flipped bit, elsewhere, or signed with another key is refused."""
    head = formats.piece_head(KEY, "0.0", 64, content)
    assert formats.is_piece(KEY, "0.0", 64, head, content)
    assert not formats.is_piece(OTHER_KEY, "0.0", 64, head, content)
    assert not formats.is_piece(KEY, "0.1", 64, head, content)
    assert not formats.is_piece(KEY, "0.0", 65, head, content)
    whole = bytearray(head + content)
    bit = data.draw(st.integers(0, 8 * len(whole) - 1))
    whole[bit // 8] ^= 1 << bit % 8
    assert not formats.is_piece(KEY, "0.0", 64, bytes(whole[: len(head)]), bytes(whole[len(head) :]))


def test_pieces_are_passed_over():
    """A reader of records takes no notice of the pieces between their frames."""
    first = formats.frame(KEY, "0.0", 0, *packed([(1, b"a")]))
    piece = formats.piece_head(KEY, "0.0", len(first), b"x" * 100) + b"x" * 100
    second = formats.frame(KEY, "0.0", len(first + piece), *packed([(2, b"b")]))
    assert read(first + piece + second) == [(1, b"a"), (2, b"b")]
