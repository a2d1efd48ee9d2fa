"""Chains: maps whose inputs are outputs of earlier maps.

``chain`` of ``map.json`` names the earlier maps, whose folders lie beside this one's. A worker reads their
records, headers only, and claims a block as soon as all its inputs are there. What it hands to the function
is the very pickle that the earlier worker wrote.
"""

import collections
import json
import pickle
import time
from array import array

from . import failure, formats, rebuild, rounds
from .coming import Coming, Pace
from .history import OUTCOMES
from .inputs import Inputs
from .pickling import PROTOCOL
from .transports import Gone

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, Deque, Dict, Iterator, List, Optional, Set, Tuple, Union

    from .blocks import Round
    from .transports import Transport

#: Where the record of an outcome lies.
Record = collections.namedtuple("Record", "kind number ended name frame payload length count first")
#: The size that is enough for one bounds table (bytes).
_ENOUGH = 1 << 20


class Upstream(object):
    """One earlier map, as its records tell it.

    Attributes:
        tag: Its name.
        n: How many components.
        is_gone: It was removed.
    """

    def __init__(self, transport: "Transport", tag: "str") -> "None":
        self._transport = transport
        self.tag, self.n, self.is_gone = tag, 0, False
        self._ends: "Dict[str, int]" = {}
        self._records: "Dict[int, List[Record]]" = {}
        self._plans: "Set[int]" = set()
        #: Rounds that wanted components again, oldest first.
        self._afresh: "List[Tuple[int, rounds.Plan]]" = []
        self._held: "Tuple[str, int, bytes]" = ("", -1, b"")
        try:
            info = json.loads(transport.read("map.json").decode())
            self._key = transport.read("key")
            self.n, self._retries = info["n"], info.get("retries", 0)
        except (FileNotFoundError, Gone):
            self.is_gone = True

    def look(self) -> "bool":
        """Read what is new; true if there is anything."""
        if self.is_gone:
            return False
        try:
            names = [name for name in self._transport.names("results") if not name.startswith(".")]
            news = sum(self._read(name) for name in names) > 0  # all of them are read
            for number in rounds.round_numbers(self._transport):
                if number not in self._plans:
                    data = self._transport.read("rounds/%d/plan" % number)
                    plan = rounds.Plan.loads(self._key, data, number)
                    if plan is not None:
                        self._plans.add(number)
                        if plan.kind in (rounds.RERUN, rounds.RETRY):
                            self._afresh.append((number, plan))
                        news = True
            if not names and self._transport.modified("map.json") is None:
                raise Gone(self.tag)
            return news
        except (FileNotFoundError, Gone):
            self.is_gone = self._transport.modified("map.json") is None
            return self.is_gone

    def _read(self, name: "str") -> "bool":
        """Take in the records of one file, behind what was read before."""
        path, size = "results/" + name, formats.RECORD.size
        offset = begin = self._ends.get(name, 0)
        first = formats.FRAME.size + formats.DIGEST_BYTES + 64 * size
        while offset >= 0:
            data = self._transport.read(path, first, offset)
            if len(data) < formats.FRAME.size:
                break
            try:
                frame = formats.Frame(name, offset, data)
                if not frame.is_piece:
                    if len(data) < frame.signed:
                        data += self._transport.read(path, frame.signed - len(data), offset + len(data))
                    if len(data) < frame.payloads or not self._transport.read(
                        path, 1, offset + frame.end - 1
                    ):
                        break  # not all of it is there yet
                    frame.check(self._key, name, offset, data)
            except ValueError:
                offset = -1  # nobody reads on behind what is damaged
                break
            at = frame.payloads
            for record in formats.RECORD.iter_unpack(data[frame.headers : frame.payloads]):
                if record[0] in OUTCOMES:
                    found = Record(
                        record[0],
                        record[3],
                        record[5] + record[6],
                        name,
                        offset,
                        at,
                        record[9],
                        record[2],
                        record[4],
                    )
                    for component in range(found.first, found.first + found.count):
                        self._records.setdefault(component, []).append(found)
                at += record[9]
            offset += frame.end
        self._ends[name] = offset
        return offset != begin

    def signs(self) -> "Iterator[float]":
        """When each of its workers wrote last, by the clock of the machine that keeps the files."""
        for name in self._ends:
            written = self._transport.modified("results/" + name)
            if written is not None:
                yield written

    def record(self, component: "int") -> "Optional[Record]":
        """The record that counts; None while there is none."""
        records = self._records.get(component)
        if not records:
            return None
        epoch = attempts = 0
        for number, plan in self._afresh:
            if component in plan:
                epoch, attempts = number, attempts + 1 if plan.kind == rounds.RETRY else 0
        counts = [one for one in records if one.number >= epoch] if epoch else records
        if not counts:
            return None
        best = min(counts, key=_rank) if len(counts) > 1 else counts[0]
        if best.kind == formats.ERROR and attempts < self._retries:
            return None  # it will be tried again
        return best

    def _payload(self, record: "Record") -> "bytes":
        name, offset, data = self._held
        if (name, offset) != (record.name, record.frame):
            path = "results/" + record.name
            head = self._transport.read(path, formats.FRAME.size, record.frame)
            frame = formats.Frame(record.name, record.frame, head)
            data = self._transport.read(path, frame.end, record.frame)
            frame.check(self._key, record.name, record.frame, data)
            frame.check_payloads(record.name, record.frame, data, [memoryview(data)[frame.payloads :]])
            self._held = (record.name, record.frame, data)
        return data[record.payload : record.payload + record.length]

    def pickled(self, component: "int") -> "Union[bytes, Large]":
        """The pickle of an output.

        Raises:
            InputFailed: There is none, and there will be none: the message says why.
        """
        if self.is_gone:
            raise rebuild.InputFailed(
                "its input is component %d of map %r, which was removed" % (component, self.tag)
            )
        record = self.record(component)
        if record is None and self.look():  # of a block that an earlier start of this worker has claimed
            record = self.record(component)
        if record is None:
            raise rebuild.InputFailed(
                "its input is component %d of map %r, which is being done again" % (component, self.tag)
            )
        try:
            payload = self._payload(record)
            if record.kind == formats.ERROR:
                raise rebuild.InputFailed(
                    "its input is component %d of map %r, which failed: %s"
                    % (component, self.tag, _told(payload))
                )
            if record.kind == formats.RUN:
                values = failure.plain(payload[4 * record.count :])
                return pickle.dumps(values[component - record.first], PROTOCOL)
            if record.kind == formats.LARGE:
                pieces = list(formats.PIECE.iter_unpack(payload[1:]))
                return Large(self._transport, self._key, record.name, pieces)
            return payload
        except (FileNotFoundError, Gone, ValueError) as error:
            if self._transport.modified("map.json") is None:
                self.is_gone = True
                return self.pickled(component)
            raise rebuild.InputFailed(
                "its input is component %d of map %r, which cannot be read: %s" % (component, self.tag, error)
            )


def _rank(record: "Record") -> "Tuple[bool, int, float, str]":
    """As readers of a map choose: an output, the older round, the earlier end, the worker's name."""
    return record.kind == formats.ERROR, record.number, record.ended, record.name


def _told(payload: "bytes") -> "str":
    """An error as one line of text."""
    fields = failure.loads(payload)
    chain = fields["chain"]
    if chain:
        return "%s: %s" % (chain[0]["type"], chain[0]["message"])
    return str(fields.get("message") or fields["stage"])


class Large(object):
    """The pickle of a large output, in pieces."""

    def __init__(
        self, transport: "Transport", key: "bytes", name: "str", pieces: "List[Tuple[int, int]]"
    ) -> "None":
        self._transport, self._key, self._name, self._pieces = transport, key, name, pieces
        self.length = sum(length for _, length in pieces)

    def __iter__(self) -> "Iterator[bytes]":
        head = formats.FRAME.size
        for begin, length in self._pieces:
            data = self._transport.read("results/" + self._name, head + length, begin - head)
            if not formats.is_piece(self._key, self._name, begin - head, data[:head], data[head:]):
                raise ValueError("the piece at byte %d of %s is damaged" % (begin, self._name))
            yield data[head:]


class Chained(Pace):
    """Which blocks of a chain's map can be done, and what their inputs are: as `Coming` is for an open map.

    Args:
        transport: The way to the map's folder.
        facts: ``chain`` of ``map.json``: ``maps`` (the folders of the earlier maps), ``tags`` (their names),
            ``whole`` (each component takes all outputs), ``look_seconds`` (the longest time between two looks
            for inputs), ``stay_seconds``, after which a worker leaves that has had nothing to do for so long
            (None: it stays as long as a worker of the earlier maps is alive), and ``idle_seconds``, after
            which it asks whether one is. Where workers reach the map in several ways (``by_way``: the names
            of transports), the two former ones may differ.
        lease: How long a worker may be silent (s).
        name: Name of this start of a worker: when it last wrote tells what time it is where the files are.
    """

    #: Blocks are claimed ahead, as in any map.
    alone = False
    #: The scheduler may start this worker again when it has left.
    comes_back = True

    def __init__(
        self, transport: "Transport", facts: "Dict[str, Any]", lease: "float", name: "str"
    ) -> "None":
        self.upstreams = [
            Upstream(transport.beside(name), tag) for name, tag in zip(facts["maps"], facts["tags"])
        ]
        facts = dict(facts, **facts.get("by_way", {}).get(transport.name, {}))
        Pace.__init__(self, facts["look_seconds"], lease)
        self.whole = facts["whole"]
        self._stay: "Optional[float]" = facts.get("stay_seconds")
        self._idle = facts["idle_seconds"]
        self._lease = lease
        self._results = "results/" + name
        self._transport = transport
        #: Since when this worker has had nothing to do; None: it has.
        self._unused_since: "Optional[float]" = None
        self._next_question, self._is_alone = 0.0, False
        self._waiting: "Dict[int, List[int]]" = {}
        self._ready: "Dict[int, Deque[int]]" = {}

    def rules(self, state: "Round") -> "bool":
        """It says which blocks of this round can be claimed."""
        return True

    def candidate(self, state: "Round") -> "Optional[int]":
        """The next block whose inputs are there; None when there is none."""
        number = state.number
        if number not in self._waiting:
            self._waiting[number] = [block for low, high in state.mine for block in range(low, high)]
            self._ready[number] = collections.deque()
            self._look()
            self._sort(state)
        if not self._ready[number] and self._waiting[number] and self._look():
            self._sort(state)
        if self._ready[number]:
            self._unused_since = None
            return self._ready[number].popleft()
        state.exhausted = not self._waiting[number]
        return None

    def _look(self) -> "bool":
        news = sum(one.look() for one in self.upstreams) > 0  # all of them look
        if news:
            self.something_came()
        return news or any(one.is_gone for one in self.upstreams)

    def _sort(self, state: "Round") -> "None":
        """See which blocks have their inputs."""
        still: "List[int]" = []
        for block in self._waiting[state.number]:
            is_ready = all(
                self._is_there(component)
                for first, stop in state.plan.components(block)
                for component in range(first, stop)
            )
            (self._ready[state.number] if is_ready else still).append(block)
        self._waiting[state.number] = still

    def _is_there(self, component: "int") -> "bool":
        if any(one.is_gone for one in self.upstreams):
            return True  # it is an error, and nothing else will come
        wanted = [(one, range(one.n) if self.whole else [component]) for one in self.upstreams]
        return all(one.record(number) is not None for one, numbers in wanted for number in numbers)

    def tried(self, won: "bool") -> "None":
        """The last candidate was claimed, by this worker or by somebody else before."""

    @property
    def is_closed(self) -> "bool":
        """The inputs of all blocks are there."""
        return not any(self._waiting.values())

    def more_may_come(self) -> "bool":
        """It is worth waiting."""
        if self.is_closed:
            return False
        now = time.monotonic()
        if self._unused_since is None:
            self._unused_since = now
        if self._stay is not None:
            return now - self._unused_since < self._stay
        if self.quiet() >= self._idle and now >= self._next_question:
            self._next_question = now + self._lease / 4
            self._is_alone = not self._somebody_works()
        return self.quiet() < self._idle or not self._is_alone

    def _somebody_works(self) -> "bool":
        """A worker of an earlier map has shown within a lease that it is alive."""
        now = self._transport.modified(self._results)
        times = [last for one in self.upstreams for last in one.signs()]
        return now is None or bool(times and now - max(times) <= self._lease)


class ChainedInputs(Inputs):
    """The inputs of a chain's map: outputs of the earlier maps.

    Of one earlier map it is its pickle; of several, and where all outputs go to one component, a pickle of
    a tuple of pickles.
    """

    def __init__(self, transport: "Transport", count: "int", chained: "Chained") -> "None":
        Inputs.__init__(self, transport, count)
        self._chained = chained
        self._made: "Dict[int, Union[bytes, Large]]" = {}

    def _input(self, component: "int") -> "Union[bytes, Large]":
        if component not in self._made:
            self._made[component] = self._make(component)
        return self._made[component]

    def _make(self, component: "int") -> "Union[bytes, Large]":
        upstreams, whole = self._chained.upstreams, self._chained.whole
        try:
            if len(upstreams) == 1 and not whole:
                return upstreams[0].pickled(component)
            pickles = []
            for one in upstreams:
                for number in range(one.n) if whole else [component]:
                    pickled = one.pickled(number)
                    pickles.append(b"".join(pickled) if isinstance(pickled, Large) else pickled)
            return pickle.dumps(tuple(pickles), PROTOCOL)
        except rebuild.InputFailed as error:
            return pickle.dumps(_Failing(str(error)), PROTOCOL)

    def bounds(self, first: "int", stop: "int") -> "array[int]":
        ends, end = array("Q", [0]), 0
        self._made = {number: made for number, made in self._made.items() if number >= first}
        for component in range(first, stop):
            made = self._input(component)
            end += made.length if isinstance(made, Large) else len(made)
            ends.append(end)
            if end > _ENOUGH:
                break
        return ends

    def pieces(self, component: "int") -> "Iterator[bytes]":
        made = self._made.pop(component) if component in self._made else self._make(component)
        return iter(made) if isinstance(made, Large) else iter([made])

    def read(self, first: "int", stop: "int") -> "Union[bytes, memoryview]":
        parts = [self._input(component) for component in range(first, stop)]
        return b"".join([b"".join(one) if isinstance(one, Large) else one for one in parts])


class _Failing(object):
    """Is pickled as a call that raises the error when it is read."""

    def __init__(self, text: "str") -> "None":
        self._text = text

    def __reduce__(self) -> "Tuple[Any, ...]":
        return rebuild.input_failed, (self._text,)


def coming_of(
    info: "Dict[str, Any]", transport: "Transport", lease: "float", name: "str"
) -> "Optional[Union[Coming, Chained]]":
    """Tells which inputs are there, where not all of them are from the beginning; `info` is ``map.json``."""
    if info.get("open"):
        return Coming(transport, info["open"], lease, name)
    return Chained(transport, info["chain"], lease, name) if info.get("chain") else None


def inputs_of(transport: "Transport", count: "int", coming: "Optional[Union[Coming, Chained]]") -> "Inputs":
    """Where the inputs of a map's components come from."""
    if isinstance(coming, Chained):
        return ChainedInputs(transport, count, coming)
    return Inputs(transport, count, coming)
