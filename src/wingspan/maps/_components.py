"""What is known of every component of a map, in memory: no file is opened here.

`wingspan.maps._results.Results` reads the records and fills this.
"""

from __future__ import annotations

import json
from array import array
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import compress
from typing import TYPE_CHECKING, Any, cast

import attrs

from wingspan.maps._places import Places
from wingspan.worker import failure, formats, rounds

if TYPE_CHECKING:
    from wingspan.maps._facts import WorkerFacts

__all__ = [
    "ERROR",
    "NOTHING",
    "OUTPUT",
    "ComponentProgress",
    "Components",
    "Measures",
    "WorkerStart",
    "sorted_numbers",
]

NOTHING, OUTPUT, ERROR, CANCELLED = 0, 1, 2, 3
#: Rounds are numbers of two bytes here.
MOST_ROUNDS = 1 << 16


@attrs.frozen
class Measures:
    """What doing a component took.

    Attributes:
        started: Unix time.
        wall: Seconds.
        cpu: Seconds of processor time, user and system, its child processes included.
        peak_memory: Bytes of resident memory at most.
        attempt: 1 for the first, 2 after one retry.
        worker: Name of the worker that did it.
        gpu_use: Use of its GPUs, 0 to 1: the mean of samples a second apart, and of all its GPUs. None where
            it had none, or was too quick for a sample.
        gpu_memory: The most bytes of GPU memory that were taken on them, by whomever; None as before.
    """

    started: float
    wall: float
    cpu: float
    peak_memory: int
    attempt: int
    worker: str
    gpu_use: float | None = None
    gpu_memory: int | None = None


@attrs.frozen
class ComponentProgress:
    """How far a component says that it is (`wingspan.component`).

    Attributes:
        fraction: 0 at its beginning, 1 at its end.
        message: What it is at, in its own words.
        time: When it said so, Unix time.
    """

    fraction: float
    message: str
    time: float

    def __str__(self) -> str:
        return f"{self.fraction:.0%}" + (f" {self.message}" if self.message else "")

    @classmethod
    def read(cls, told: Any, time: float) -> ComponentProgress:
        """What a worker has written.

        Raises:
            ValueError: Our workers do not write such a thing.
        """
        if type(told) is not dict or type(told.get("message")) is not str:
            raise ValueError("its progress has no message")
        if type(told.get("fraction")) is not float or not 0 <= told["fraction"] <= 1:
            raise ValueError("its progress is not a number from 0 to 1")
        return cls(told["fraction"], told["message"], time)


@attrs.define
class WorkerStart:
    """One start of one worker, as its results file tells it.

    Attributes:
        name: ``"<worker>.<start>"``.
        number: Number of the worker; -1 for what a client wrote.
        file: Number of its results file, in the order in which they were found.
        facts: Host, Python, process id and so on; None before it said hello.
        refused: Why it could not do anything, or None.
        component: The component it said it is at, or None.
        round: The round to which that belongs.
        since: When that one started, Unix time.
        left: It ended in order.
        frames_end: How far its file has been read.
        has_pieces: There are large outputs in its file.
        productive: It has finished at least one component.
        trouble: Why the rest of its file is not read.
        has_odd_notes: Something that it signed is not what our workers write.
        last_seen: When its file was last seen to grow, Unix time.
        progress: What its component said last of how far it is, and which component that is.
        counts: What it has asked of the access point, where that was counted (`wingspan.worker.counting`).
    """

    name: str
    number: int
    file: int
    facts: WorkerFacts | None = None
    refused: dict[str, Any] | None = None
    component: int | None = None
    round: int = 0
    since: float = 0.0
    peak_memory: int = 0
    left: bool = False
    productive: bool = False
    frames_end: int = 0
    has_pieces: bool = False
    trouble: str | None = None
    has_odd_notes: bool = False
    last_seen: float = 0.0
    progress: tuple[int, ComponentProgress] | None = None
    counts: dict[str, int] | None = None

    def take_note(self, record: tuple[Any, ...], payload: bytes, n: int) -> None:
        """Take in what it says of itself.

        Args:
            record: The fields of `formats.RECORD`.
            payload: What comes with it.
            n: How many components the map has.

        Raises:
            ValueError, TypeError, RecursionError: Our workers do not write such a thing.
        """
        kind, number, component = record[0], record[3], record[4]
        if kind == formats.HELLO:
            facts = json.loads(payload)
            if type(facts) is not dict or any(
                type(value) not in (str, int, float, type(None)) for value in facts.values()
            ):
                raise ValueError("its description of the machine is not a table of texts and numbers")
            self.facts = cast("WorkerFacts", facts)
        elif kind == formats.HEARTBEAT:
            self.component = component if component < n else None
            self.round = number
            self.since = record[5]
            self.peak_memory = record[8] * 1024
        elif kind == formats.PROGRESS:
            if self.component != component:
                self.since = record[5]
            self.component = component if component < n else None
            self.round = number
            self.progress = component, ComponentProgress.read(json.loads(payload), record[5])
        elif kind == formats.REFUSED:
            self.refused = failure.loads(payload)
        elif kind == formats.BYE:
            self.left = True
            self.component = None
            if payload:
                counts = json.loads(payload)
                if type(counts) is not dict or any(type(count) is not int for count in counts.values()):
                    raise ValueError("its counts are not a table of numbers")
                self.counts = counts


class Components:
    """What is known of every component.

    Attributes:
        n: How many there are.
        state: For each component `NOTHING`, `OUTPUT`, `ERROR` or `CANCELLED`.
        finished: How many components have a record that counts, or were cancelled.
        places: Where the records are, in the order in which they were found.
        failed: Components whose record is an error.
        retryable: Those of them that have attempts left.
        enlarged: Those that are done again with a larger request, whatever attempts they have.
        cancelled: Components that their owner has cancelled, and that have no record.
        plans: Rounds by number.
        starts: Worker starts by name.
        starts_of: Worker starts by number of the worker.
        is_open: More components may come.
        replaced: Changes whenever a record that counted does so no longer.
        wall, cpu: Seconds that workers have spent on components so far, those that were done again included.
        peak_memory: The most that a component has taken (bytes).
        ended: When the last of them ended, Unix time; 0: none has.

    Args:
        n: How many there are.
        retries: How often a component that fails is tried again.
    """

    def __init__(self, n: int, retries: int) -> None:
        self.n = n
        self.state = bytearray(n)
        self.finished = 0
        self.places = Places()
        self.failed: set[int] = set()
        self.retryable: set[int] = set()
        self.enlarged: set[int] = set()
        self.cancelled: set[int] = set()
        self._unwanted: set[int] = set()
        self.plans: dict[int, rounds.Plan] = {}
        self.starts: dict[str, WorkerStart] = {}
        self.starts_of: dict[int, list[WorkerStart]] = {}
        self.replaced = 0
        self.wall = self.cpu = self.ended = 0.0
        self.peak_memory = 0
        self.is_open = False
        self._retries = retries
        self._names: list[str] = []
        self._place = array("I", [0]) * n
        self._epoch: array[int] | None = None
        self._attempts: array[int] | None = None

    def done_by(self) -> Counter[int]:
        """How many components have a record that counts, by the number of the worker that wrote it."""
        done: Counter[int] = Counter()
        for place, count in Counter(compress(self._place, self._has_record())).items():
            done[self.starts[self._names[self.places.files[place]]].number] += count
        return done

    def _has_record(self) -> Iterator[bool]:
        return (state in (OUTPUT, ERROR) for state in self.state)

    # -- news ------------------------------------------------------------------------------------------------

    def grow(self, n: int) -> None:
        """There are `n` components now, more than before."""
        more = n - self.n
        self.state.extend(bytes(more))
        self._place.extend(array("I", [0]) * more)
        for counts in (self._epoch, self._attempts):
            if counts is not None:
                counts.frombytes(bytes(more * counts.itemsize))
        self.n = n

    def add_start(self, name: str) -> WorkerStart:
        """A results file was found that is named after this start of a worker."""
        number = name.partition(".")[0]
        start = WorkerStart(name, int(number) if number.isdigit() else -1, len(self._names))
        self.starts[name] = start
        self._names.append(name)
        self.starts_of.setdefault(start.number, []).append(start)
        return start

    def add_cost(self, record: tuple[Any, ...]) -> None:
        """A worker has spent this on a component, or on several; `record` has the fields of
        `formats.RECORD`."""
        self.wall += record[6]
        self.cpu += record[7]
        self.ended = max(self.ended, record[5] + record[6])
        self.peak_memory = max(self.peak_memory, record[8] * 1024)

    def add_round(self, number: int, plan: rounds.Plan) -> None:
        """A round was published."""
        self.plans[number] = plan
        if plan.kind == rounds.CANCEL:
            self._cancel(number, plan)
        if plan.kind not in (rounds.RERUN, rounds.RETRY):
            return
        # What older rounds made of these components no longer counts.
        if self._epoch is None or self._attempts is None:
            self._epoch = array("H", bytes(2 * self.n))
            self._attempts = array("H", bytes(2 * self.n))
        for first, stop in plan.ranges:
            for component in range(first, stop):
                self._epoch[component] = max(self._epoch[component], number)
                self._attempts[component] = self._attempts[component] + 1 if plan.kind == rounds.RETRY else 0
                self.retryable.discard(component)
                self._unwanted.discard(component)
                self.uncancel(component)
                if self.state[component] and self.round_of(component) < number:
                    self.replaced += 1
                    self.state[component] = NOTHING
                    self.finished -= 1
                    self.failed.discard(component)

    def _cancel(self, number: int, plan: rounds.Plan) -> None:
        """These are not wanted any more. What is finished of them counts, also if it is only read later."""
        for first, stop in plan.ranges:
            for component in range(first, stop):
                self._unwanted.add(component)
                self.retryable.discard(component)
                if self.state[component] == NOTHING:
                    self.state[component] = CANCELLED
                    self._place[component] = self.places.add(0, number, 0, 0, component)
                    self.cancelled.add(component)
                    self.finished += 1

    def uncancel(self, component: int) -> None:
        """There is a record of the component after all, or it is wanted again."""
        if component in self.cancelled:
            self.cancelled.discard(component)
            self.state[component] = NOTHING
            self.finished -= 1
            self.replaced += 1

    def settle(self, component: int, kind: int, file: int, number: int, header: int, payload: int) -> None:
        """This is the record of the component that counts.

        Args:
            component: Its number.
            kind: Of the record.
            file: Number of the results file.
            number: Of the round.
            header, payload: Where they are in the file.
        """
        self.finished += not self.state[component]
        self.replaced += bool(self.state[component])
        self.state[component] = ERROR if kind == formats.ERROR else OUTPUT
        self._place[component] = self.places.add(file, number, header, payload, component)
        self.failed.discard(component)
        self.retryable.discard(component)
        if kind == formats.ERROR:
            self.failed.add(component)
            if self.attempts(component) < self._retries and component not in self._unwanted:
                self.retryable.add(component)

    def settle_run(self, low: int, high: int, file: int, number: int, header: int, payload: int) -> None:
        """As `settle`, for outputs of components ``low … high - 1``, none of which has a record so far."""
        length = high - low
        self.state[low:high] = bytes([OUTPUT]) * length
        place = self.places.add(file, number, header, payload, low, length)
        self._place[low:high] = array("I", [place]) * length
        self.finished += length

    @property
    def is_done(self) -> bool:
        """All components that are there are finished; of an open map, others may come."""
        return self.finished == self.n and not self.retryable

    # -- what follows from it --------------------------------------------------------------------------------

    def start_of(self, component: int) -> WorkerStart:
        """The worker start that finished a component."""
        return self.starts[self._name_of(component)]

    def newest_starts(self) -> list[WorkerStart]:
        """The newest start of each worker.

        An older start that was evicted in the middle of a component has said that it is at it, and never that
        it left.
        """
        return [
            max(starts, key=lambda one: int(one.name.rpartition(".")[2]))
            for number, starts in self.starts_of.items()
            if number >= 0
        ]

    def at_work(self) -> Iterator[WorkerStart]:
        """The newest starts that are at a component whose outcome is not known, in a round that still
        counts."""
        for start in self.newest_starts():
            component = start.component
            if component is None:
                continue
            done = self.state[component] and self.round_of(component) >= start.round
            outdated = self._epoch is not None and self._epoch[component] > start.round
            if not done and not outdated:
                yield start

    def first_round_that_counts(self, component: int) -> int:
        """Records of `component` from older rounds do not count any more."""
        return 0 if self._epoch is None else self._epoch[component]

    def unfinished(self) -> list[int]:
        """Components without a record that counts."""
        return [component for component, state in enumerate(self.state) if not state]

    def attempts(self, component: int) -> int:
        """How often a component has been retried since it was made, or since the last rerun."""
        return 0 if self._attempts is None else self._attempts[component]

    def tries(self, component: int) -> int:
        """How often a finished component had been begun when its record was written: 1, and 1 for each retry
        and rerun."""
        last = self.round_of(component)
        again = (rounds.RERUN, rounds.RETRY)
        return 1 + sum(
            number <= last and plan.kind in again and component in plan for number, plan in self.plans.items()
        )

    def repairs(self, component: int) -> int:
        """How often the worker of a component was lost, since it was made, or since the last rerun."""
        lost = 0
        for _, plan in sorted(self.plans.items()):
            if component in plan and plan.kind in (rounds.REPAIR, rounds.RERUN):
                lost = lost + 1 if plan.kind == rounds.REPAIR else 0
        return lost

    def in_newer_round(self, component: int, number: int) -> bool:
        """Some round after `number` does this component."""
        return any(newer > number and component in plan for newer, plan in self.plans.items())

    def round_of(self, component: int) -> int:
        """The round of a finished component's record."""
        return self.places.rounds[self._place[component]]

    def _file_of(self, component: int) -> int:
        """The number of the results file that has a finished component's record."""
        return self.places.files[self._place[component]]

    def _name_of(self, component: int) -> str:
        """The worker start that wrote it."""
        return self._names[self._file_of(component)]

    def _header_of(self, component: int) -> int:
        """Where in the file it begins."""
        return self.places.headers[self._place[component]]

    def _payload_of(self, component: int) -> int:
        """Where in the file that begins which comes with it."""
        return self.places.payloads[self._place[component]]

    def validate(self) -> None:
        """For tests: see that what is kept twice agrees.

        Raises:
            AssertionError: It does not.
        """
        assert self.finished == self.n - self.state.count(NOTHING), "finished is not what has a record"
        assert self.cancelled == {number for number, state in enumerate(self.state) if state == CANCELLED}
        assert self.cancelled <= self._unwanted
        assert self.failed == {number for number, state in enumerate(self.state) if state == ERROR}
        assert self.retryable <= self.failed, "what has not failed cannot be tried again"
        assert all(self.attempts(number) < self._retries for number in self.retryable - self.enlarged)
        assert sorted(self.plans) == list(range(len(self.plans))), "a round is missing"
        assert self._names == list(self.starts), "a start has no file, or a file no start"
        assert sum(map(len, self.starts_of.values())) == len(self.starts)


def sorted_numbers(components: Sequence[int], n: int) -> list[int]:
    """Component numbers, ascending, each once."""
    return sorted({int(component) for component in components if 0 <= component < n})
