"""Values that are large: they arrive, and nobody needs much more memory than they have bytes."""

from __future__ import annotations

import hashlib
import os
import pickle
import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import wingspan
from _engines import disk
from _on_disk import key
from _waiting import PATIENCE
from wingspan.worker import formats, streams
from wingspan.worker.pickling import PROTOCOL, Dumper

ONE = wingspan.Options(workers=1)
MIB = 1 << 20


def _content(length, seed=0):
    """Bytes that are the same only where length and seed are."""
    block = hashlib.sha256(str(seed).encode()).digest() * 4096
    return (block * (length // len(block) + 1))[:length]


@pytest.mark.slow
def test_two_gigabytes_and_more_go_there_and_back(other_python, monkeypatch):
    """An input and an output of more than the kernel moves in one call arrive; caller, reader and
    executor need their size and a tenth.
    """
    script = """
import resource, wingspan
length = 2_200_000_000
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
def there_and_back(given):
    return given
given = bytearray(length)
given[-1] = 7
m = wingspan.map(there_and_back, [given], pool="local", options=wingspan.Options(workers=1))
assert peak() < 1.1 * length, peak()
del given
m.wait()
assert length < m.memory[0] < 1.1 * length, m.memory[0]
came = m[0]
zeros = bytes(length // 100)
assert (len(came), came[-1]) == (length, 7)
assert all(came[at : at + len(zeros)] == zeros for at in range(0, length - len(zeros), len(zeros)))
assert came[-len(zeros) : -1] == zeros[1:]
assert peak() < 1.1 * length, peak()
m.remove()
"""
    # The tests' own folders may be in memory.
    with tempfile.TemporaryDirectory(dir=disk(), ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("WINGSPAN_DATA_DIR", folder)
        other_python(script)


@pytest.mark.parametrize(
    "length", [formats.LARGE_BYTES - 50, formats.LARGE_BYTES, MIB - 30, MIB, 5 * MIB + 3]
)
@pytest.mark.parametrize("kind", ["bytes", "bytearray", "str", "array", "list"])
def test_outputs_and_inputs_of_many_sizes(length, kind):
    """Whatever its size and type, a value comes back as it was."""
    numpy = pytest.importorskip("numpy")
    plain = _content(length)
    value = {
        "bytes": lambda: plain,
        "bytearray": lambda: bytearray(plain),
        "str": lambda: "é" + plain.hex()[:length],
        "array": lambda: numpy.asfortranarray(
            numpy.frombuffer(plain[: length // 16 * 16], "f8").reshape(-1, 2)
        ),
        "list": lambda: [plain[: length // 2], {"rest": plain[length // 2 :]}, *range(1000)],
    }[kind]()
    m = wingspan.map(lambda given: given, [value, value, 1], pool="local", options=ONE)
    for came in (m[0], m[1], m.input(0), next(m.iter_inputs())):
        assert type(came) is type(value)
        assert pickle.dumps(came) == pickle.dumps(value)
    assert m[2] == 1


def test_a_reader_of_many_keeps_none(other_python):
    """Going through 300 outputs of a megabyte takes the memory of a few."""
    script = """
import resource, wingspan
m = wingspan.map(lambda x: bytes(1 << 20), range(300), pool="local", options=wingspan.Options(workers=2))
m.wait()
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
assert sum(len(output) for output in m) == 300 << 20
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
assert grown < 30 << 10, grown
"""
    other_python(script)


@pytest.mark.parametrize("what", ["bytes(300 << 20)", "numpy.zeros(300 << 17)"])
def test_a_closure_over_much_is_written_as_it_is_pickled(other_python, what):
    """The caller needs at most 50 MiB above an object of 300 MiB that its function holds; so does the
    worker.
    """
    pytest.importorskip("numpy")
    script = f"""
import resource, numpy, wingspan
def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
with wingspan.build_map(abs, pool="local") as warm:
    warm(-1)
list(warm.map)
much = {what}
size = memoryview(much).nbytes
memoryview(much).cast("B").tobytes()[:0]  # its pages are there
before = max(peak(), size >> 10)
def length(_):
    return memoryview(much).nbytes
m = wingspan.map(length, range(3), pool="local", options=wingspan.Options(workers=1))
assert list(m) == [size] * 3
assert peak() - before < 50 << 10, peak() - before
assert m.memory[0] < size + (100 << 20), m.memory[0]
"""
    other_python(script)


def test_a_large_output_that_cannot_be_pickled_after_all():
    """What was sent of it is forgotten: it is that component's error, and the others are as they should
    be.
    """

    def half(x):
        return [bytes(3 * MIB), (n for n in ()) if x % 2 else x]

    m = wingspan.map(half, range(6), pool="local", options=ONE)
    m.wait(PATIENCE, errors_ok=True)
    assert set(m.errors) == {1, 3, 5}
    assert all("generator" in str(error) for error in m.errors.values())
    assert [m[i] for i in (0, 2, 4)] == [[bytes(3 * MIB), i] for i in (0, 2, 4)]


def test_an_executor_that_dies_while_it_pickles():
    """A crash amid a large output is that component's error; the next one is whole."""

    class Deadly:
        def __init__(self, dies):
            self.dies = dies

        def __reduce__(self):
            if self.dies:
                os._exit(9)
            return (int, (5,))

    def half(x):
        return [bytes(3 * MIB), Deadly(x == 1)]

    m = wingspan.map(half, range(3), pool="local", options=ONE)
    m.wait(PATIENCE, errors_ok=True)
    assert set(m.errors) == {1}
    assert "exited with code 9" in str(m.errors[1])
    assert [m[0], m[2]] == [[bytes(3 * MIB), 5]] * 2


def test_an_input_that_cannot_be_unpickled_is_read_to_its_end():
    """An error amid a large input is that component's; the next inputs are their own."""

    class Bad:
        def __reduce__(self):
            return (int, ("no number",))

    inputs = [[bytes(9 * MIB), Bad(), bytes(9 * MIB)], [bytes(9 * MIB)], 3]
    m = wingspan.map(lambda given: given if given == 3 else len(given), inputs, pool="local", options=ONE)
    m.wait(PATIENCE, errors_ok=True)
    assert set(m.errors) == {0}
    assert (m[1], m[2]) == (1, 3)


@pytest.mark.parametrize("how", ["bit", "cut", "moved"])
def test_a_damaged_large_output_is_told_when_it_is_read(how):
    """Nothing of it is unpickled; the error says how it is had again, and then it is."""
    m = wingspan.map(lambda x: [_content(2 * MIB, x), x], range(3), pool="local", options=ONE, tag="large")
    m.wait(PATIENCE)
    path = m.path / "results" / m.runtimes[0].worker
    data = bytearray(path.read_bytes())
    place = data.index(_content(100))
    if how == "bit":
        data[place + 1000] ^= 1
    elif how == "moved":
        at = data.index(formats.PIECE_MAGIC)
        second = data.index(formats.PIECE_MAGIC, at + 4)
        size = formats.FRAME.size + MIB
        data[at : at + size], data[second : second + size] = (
            data[second : second + size],
            data[at : at + size],
        )
    else:
        data[place : place + 4096] = bytes(4096)
    path.write_bytes(data)
    again = wingspan.load("large")
    assert again.is_done
    with pytest.raises(wingspan.MapDamaged, match="component 0") as caught:
        again[0]
    assert caught.value.hint == "m.rerun([0]) does it again"
    assert again[1] == [_content(2 * MIB, 1), 1]
    again.rerun([0])
    assert again.get(0, timeout=PATIENCE) == [_content(2 * MIB, 0), 0]


def test_a_status_reads_no_large_outputs():
    """To know that a map is done its large outputs are not read."""
    m = wingspan.map(lambda x: bytes(20 * MIB), range(3), pool="local", options=ONE, tag="large")
    m.wait(PATIENCE)

    def read_so_far():
        return int(Path("/proc/self/io").read_text().split()[1])

    before = read_so_far()
    assert wingspan.load("large").status().is_done
    assert read_so_far() - before < 20 * MIB


def test_an_evicted_worker_resumes_behind_large_outputs():
    """What a start has finished is known to the next from the records behind the pieces."""
    from wingspan.worker.history import finished_components
    from wingspan.worker.outbox import Outbox
    from wingspan.worker.transports import FileTransport

    m = wingspan.map(lambda x: x, range(4), options=wingspan.Options(workers=0))
    transport, signed = FileTransport(str(m.path)), key(m)
    transport.create_exclusively("results/0.0", b"")
    box = Outbox(transport, signed, "0.0")
    pieces = [box.append_piece(memoryview(pickle.dumps([bytes(MIB)])[:MIB]))]
    box.add(formats.LARGE, payload=b"\0" + formats.PIECE.pack(*pieces[0]), index=2)
    box.flush()
    box.append_piece(memoryview(bytes(MIB)))
    assert finished_components(transport, signed, "0.0", 0) == {2: False}
    assert finished_components(transport, bytes(32), "0.0", 0) == {}
    transport.close()


@settings(max_examples=int(os.environ.get("WINGSPAN_EXAMPLES", "100")))
@given(
    st.recursive(
        st.none() | st.integers() | st.text() | st.binary(max_size=400) | st.floats(allow_nan=False),
        lambda some: st.lists(some) | st.dictionaries(st.text(), some),
        max_leaves=30,
    ),
    st.lists(st.integers(1, 300), min_size=1),
    st.sampled_from([0, 2, PROTOCOL]),
)
def test_a_pickle_in_any_pieces_is_read(value, lengths, protocol):
    """However a pickle is cut, it is read to its end and no further."""
    data = pickle.dumps(value, protocol)
    pieces, at = [], 0
    for length in lengths:
        pieces.append(memoryview(data)[at : at + length])
        at += length
    stream = streams.Stream([*pieces, data[at:], b"more"])
    assert pickle.load(stream) == value
    assert stream.read(10) == b"more"


@given(st.lists(st.binary(max_size=3000), max_size=5), st.integers(0, 5000))
def test_what_is_gathered_is_what_was_pickled(parts, keep):
    """Small pickles are kept, large ones go out, and either is whole."""
    sent = []
    gathering = streams.Gathering(lambda data: sent.append(bytes(data)), keep)
    gathering.begin()
    Dumper().dump(parts, gathering.write)
    whole = b"".join(sent) if gathering.is_large else gathering.kept()
    assert pickle.loads(whole) == parts
    assert gathering.length == len(whole)
    assert gathering.is_large == (len(whole) > keep)
