"""Inputs that come while workers are at work: those of open maps, and those of chains."""

from __future__ import annotations

import json
import os
import pickle
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from wingspan.worker import coming, failure, formats, rebuild, rounds
from wingspan.worker.blocks import Round
from wingspan.worker.coming import Coming
from wingspan.worker.transports import FileTransport
from wingspan.worker.upstream import Chained, ChainedInputs

KEY = bytes(range(32))
FACTS = {"look_seconds": 0.02, "idle_seconds": None}


def folder(path: Path) -> FileTransport:
    for name in ("results", "rounds/0/claims", "rounds/0/takes"):
        (path / name).mkdir(parents=True, exist_ok=True)
    return FileTransport(str(path))


def index(*numbers: int) -> bytes:
    return struct.pack(f"<{len(numbers)}Q", *numbers)


@pytest.fixture
def opened(tmp_path: Path) -> FileTransport:
    """An open map without inputs."""
    transport = folder(tmp_path)
    transport.write_whole("inputs.idx", index(0))
    transport.write_whole(coming.OWNER, b"")
    transport.write_whole("results/0.0", b"")
    return transport


STATE = Round(0, rounds.plan_for(rounds.INITIAL, range(coming.MOST), 1, 1))


def test_calls_are_offered_in_their_order(opened: FileTransport) -> None:
    """Each once, as soon as its end is in the index; a number that is torn is not there yet."""
    inputs = Coming(opened, FACTS, 60, "0.0")
    assert inputs.candidate(STATE) is None
    opened.write_whole("inputs.idx", index(0, 5, 9) + b"\x0c\x00")
    assert [inputs.candidate(STATE) for _ in range(3)] == [0, 1, None]
    opened.write_whole("inputs.idx", index(0, 5, 9, 12))
    assert [inputs.candidate(STATE) for _ in range(2)] == [2, None]
    assert inputs.more_may_come()
    opened.write_whole("inputs.idx", index(0, 5, 9, 12, coming.CLOSED))
    assert inputs.candidate(STATE) is None
    assert (inputs.count, inputs.is_closed, inputs.more_may_come()) == (3, True, False)


def test_a_worker_that_is_far_behind_lists_the_claims(opened: FileTransport) -> None:
    """After some blocks that others had, it goes on where none is claimed."""
    opened.write_whole("inputs.idx", index(*range(101)))
    for block in range(90):
        opened.create_exclusively(f"rounds/0/claims/{block}", b"")
    inputs = Coming(opened, FACTS, 60, "0.0")
    tried = []
    while len(tried) < 2 or tried[-1] < 90:
        tried.append(inputs.candidate(STATE))
        inputs.tried(tried[-1] >= 90)
    assert len(tried) == coming.FAR_BEHIND + 1


def test_nobody_waits_for_an_owner_who_is_silent(opened: FileTransport, tmp_path: Path) -> None:
    """Longer than a lease, by the clock where the files are; nor for one who has removed the map."""
    inputs = Coming(opened, FACTS, 60, "0.0")
    inputs._next_check = 0.0
    assert inputs.more_may_come()
    long_ago = time.time() - 100
    os.utime(tmp_path / coming.OWNER, (long_ago, long_ago))
    inputs._next_check = 0.0
    assert not inputs.more_may_come()
    assert not inputs.more_may_come()
    idle = Coming(opened, {**FACTS, "idle_seconds": 0.0}, 1000, "0.0")
    idle._quiet_since -= 1
    assert not idle.more_may_come()


class Earlier:
    """An earlier map, written record by record."""

    def __init__(self, root: Path, name: str, n: int, retries: int = 0) -> None:
        self.transport = folder(root / name)
        self.name = name
        self.transport.write_whole("map.json", json.dumps({"n": n, "retries": retries}).encode())
        self.transport.write_whole("key", KEY)
        plan = rounds.plan_for(rounds.INITIAL, range(n), 1)
        self.transport.write_whole("rounds/0/plan", plan.dumps(KEY, 0))
        self.ends: dict[str, int] = {}

    def write(self, *records: tuple[int, int, int, bytes], worker: str = "0.0") -> None:
        """Append a frame of ``(kind, round, component, payload)``; a RUN's count is in its payload."""
        headers, payloads = [], []
        for kind, number, component, payload in records:
            count = len(pickle.loads(payload)) if kind == formats.RUN else 1
            if kind == formats.RUN:
                payload = struct.pack(f"<{count}f", *[0.0] * count) + payload
            headers.append(
                formats.RECORD.pack(kind, 0, count, number, component, 1.0, 0.0, 0.0, 0, len(payload))
            )
            payloads.append(payload)
        end = self.ends.get(worker, 0)
        frame = formats.frame(KEY, worker, end, headers, payloads)
        self.transport.append(f"results/{worker}", frame)
        self.ends[worker] = end + len(frame)

    def publish(self, kind: str, components: list[int], number: int) -> None:
        plan = rounds.plan_for(kind, components, 1)
        assert rounds.publish(self.transport, KEY, number, plan, f"n{number}")


def chained(
    root: Path, *maps: str, whole: bool = False, stay: float | None = 60.0, idle: float = 60.0
) -> tuple[Chained, ChainedInputs]:
    facts: dict[str, Any] = {"maps": maps, "tags": maps, "whole": whole, "look_seconds": 0.02}
    made = Chained(folder(root / "later"), {**facts, "stay_seconds": stay, "idle_seconds": idle}, 60, "0.0")
    return made, ChainedInputs(folder(root / "later"), 3, made)


@pytest.mark.parametrize(("way", "stays"), [("file", True), ("chirp", False)])
def test_a_worker_stays_as_long_as_the_way_it_has_says(tmp_path: Path, way: str, stays: bool) -> None:
    """Of workers in several pools, those leave that somebody brings back."""
    Earlier(tmp_path, "first", 3)
    by_way = {"chirp": {"look_seconds": 0.02, "stay_seconds": 0.0}, "file": {"stay_seconds": None}}
    facts = {"maps": ["first"], "tags": ["first"], "whole": False, "look_seconds": 0.02, "by_way": by_way}
    transport = folder(tmp_path / "later")
    transport.name = way
    chain = Chained(transport, {**facts, "stay_seconds": 0.0, "idle_seconds": 60.0}, 60, "0.0")
    assert ready(chain, round_of(3)) == []
    assert chain.more_may_come() is stays


def ready(chain: Chained, state: Round) -> list[int]:
    """All blocks that can be claimed now."""
    found = []
    while (block := chain.candidate(state)) is not None:
        found.append(block)
    return found


def round_of(n: int) -> Round:
    state = Round(0, rounds.plan_for(rounds.INITIAL, range(n), 1, 1))
    state.mine = [(0, n)]
    return state


def error(text: str) -> bytes:
    return failure.dumps(failure.crash("lost", text))


def given_to(inputs: ChainedInputs, component: int) -> Any:
    """What the function is given."""
    return rebuild.loads(bytes(inputs.read(component, component + 1)))


def test_a_block_is_offered_once_its_inputs_are_there(tmp_path: Path) -> None:
    """In whatever order they come, each once; in the end nothing is waited for."""
    first = Earlier(tmp_path, "first", 3)
    chain, inputs = chained(tmp_path, "first")
    state = round_of(3)
    assert ready(chain, state) == []
    assert chain.more_may_come()
    first.write((formats.OUTPUT, 0, 2, pickle.dumps("c")))
    assert ready(chain, state) == [2]
    assert not state.exhausted
    first.write((formats.RUN, 0, 0, pickle.dumps(["a", "b"])))
    assert ready(chain, state) == [0, 1]
    assert (state.exhausted, chain.is_closed, chain.more_may_come()) == (True, True, False)
    assert [given_to(inputs, component) for component in range(3)] == ["a", "b", "c"]


def test_inputs_of_a_block_that_an_earlier_start_has_claimed(tmp_path: Path) -> None:
    """A worker that is started again goes on with what it had claimed before it has looked for anything; what
    is not there any more is an error."""
    first = Earlier(tmp_path, "first", 2)
    first.write((formats.OUTPUT, 0, 0, pickle.dumps("a")))
    _, inputs = chained(tmp_path, "first")
    assert given_to(inputs, 0) == "a"
    with pytest.raises(rebuild.InputFailed, match="component 1 of map 'first', which is being done again"):
        given_to(inputs, 1)


@pytest.mark.parametrize(
    ("stay", "silent", "waits"), [(60.0, 100, True), (0.0, 0, False), (None, 0, True), (None, 100, False)]
)
def test_how_long_a_worker_waits(tmp_path: Path, stay: float | None, silent: float, waits: bool) -> None:
    """Where something brings it back: as long as it is told to. Elsewhere: as long as a worker of the earlier
    map shows within a lease that it is alive."""
    first = Earlier(tmp_path, "first", 1)
    first.write((formats.HEARTBEAT, 0, 0, b""))
    long_ago = time.time() - silent
    os.utime(tmp_path / "first" / "results" / "0.0", (long_ago, long_ago))
    chain, _ = chained(tmp_path, "first", stay=stay, idle=0.0)
    chain._transport.write_whole("results/0.0", b"")
    assert ready(chain, round_of(1)) == []
    chain.more_may_come()
    assert chain.more_may_come() is waits


def test_errors_and_what_is_done_again(tmp_path: Path) -> None:
    """An error is waited with as long as it will be tried again; then it is what the component raises; a
    newer round's output takes its place."""
    first = Earlier(tmp_path, "first", 2, retries=1)
    chain, inputs = chained(tmp_path, "first")
    state = round_of(2)
    first.write((formats.ERROR, 0, 0, error("bad luck")), (formats.OUTPUT, 0, 1, pickle.dumps(5)))
    assert ready(chain, state) == [1]
    first.publish(rounds.RETRY, [0], 1)
    first.write((formats.ERROR, 1, 0, error("again")))
    assert ready(chain, state) == [0]
    with pytest.raises(rebuild.InputFailed, match="component 0 of map 'first', which failed: again"):
        given_to(inputs, 0)
    first.publish(rounds.RERUN, [0, 1], 2)
    chain, inputs = chained(tmp_path, "first")
    assert ready(chain, round_of(2)) == []
    first.write((formats.OUTPUT, 2, 0, pickle.dumps(7)), worker="1.0")
    chain, inputs = chained(tmp_path, "first")
    assert ready(chain, round_of(2)) == [0]
    assert given_to(inputs, 0) == 7


def test_several_maps_and_all_of_one(tmp_path: Path) -> None:
    """Pickles of the arguments; and of everything, once all is there."""
    for name, value in (("first", 1), ("second", 2)):
        Earlier(tmp_path, name, 1).write((formats.OUTPUT, 0, 0, pickle.dumps(value)))
    chain, inputs = chained(tmp_path, "first", "second")
    assert ready(chain, round_of(1)) == [0]
    assert [pickle.loads(one) for one in given_to(inputs, 0)] == [1, 2]
    third = Earlier(tmp_path, "third", 2)
    chain, inputs = chained(tmp_path, "third", whole=True)
    state = round_of(1)
    third.write((formats.OUTPUT, 0, 1, pickle.dumps("y")))
    assert ready(chain, state) == []
    third.write((formats.OUTPUT, 0, 0, pickle.dumps("x")))
    assert ready(chain, state) == [0]
    assert [pickle.loads(one) for one in given_to(inputs, 0)] == ["x", "y"]


def test_a_map_that_is_gone_and_one_that_is_damaged(tmp_path: Path) -> None:
    """What can never come is an error; frames that are not signed are not read."""
    first = Earlier(tmp_path, "first", 2)
    first.write((formats.OUTPUT, 0, 0, pickle.dumps("a")))
    chain, inputs = chained(tmp_path, "first")
    state = round_of(2)
    assert ready(chain, state) == [0]
    file = tmp_path / "first" / "results" / "1.0"
    forged = formats.RECORD.pack(formats.OUTPUT, 0, 1, 0, 1, 1.0, 0, 0, 0, 1)
    file.write_bytes(formats.frame(bytes(32), "1.0", 0, [forged], [b"x"]))
    assert ready(chain, state) == []
    first.transport.remove_tree(".")
    (tmp_path / "first").exists() and first.transport.remove_tree("results")
    assert ready(chain, state) == [1]
    with pytest.raises(rebuild.InputFailed, match="component 1 of map 'first', which was removed"):
        given_to(inputs, 1)


@settings(max_examples=40)
@given(
    cut=st.integers(min_value=0, max_value=400),
    flipped=st.integers(min_value=0, max_value=399),
)
def test_a_torn_or_damaged_file_never_gives_a_wrong_input(cut: int, flipped: int) -> None:
    """Whatever is missing at the end or changed in the middle: an input is the one that was written, or it
    is not there, or it is an error."""
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        first = Earlier(root, "first", 3)
        for component in range(3):
            first.write((formats.OUTPUT, 0, component, pickle.dumps(f"output {component}")))
        file = root / "first" / "results" / "0.0"
        data = bytearray(file.read_bytes())
        data[flipped % len(data)] ^= 0x10
        file.write_bytes(bytes(data[: len(data) - cut % len(data)]))
        chain, inputs = chained(root, "first")
        for component in ready(chain, round_of(3)):
            try:
                found = given_to(inputs, component)
            except rebuild.InputFailed as error:
                found = str(error)
            assert found == f"output {component}" or "cannot be read" in found
