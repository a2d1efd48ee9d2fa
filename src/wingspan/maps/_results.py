"""Reading ``results/*``: an index of where each component's record is; nothing is unpickled until somebody asks for it.

Any number of processes may do this at once, while workers append. A frame that is not all there yet is looked at again next time; a file
with a frame that is wrong is read up to there and no further.
"""

from __future__ import annotations

import functools
import json
import logging
import os
import pickle
import threading
import time
import weakref
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Concatenate, ParamSpec, TypeVar

import attrs

from wingspan._open import OpenFiles
from wingspan.errors import WingspanError
from wingspan.maps._folder import MapFolder
from wingspan.maps._pickled import Pickled
from wingspan.worker import failure, formats, rebuild, rounds
from wingspan.worker.history import OUTCOMES
from wingspan.worker.pickling import PROTOCOL
from wingspan.worker.streams import signed_pieces
from wingspan.worker.transports import Gone, read_at

__all__ = ["Measures", "Results", "WorkerStart"]

_log = logging.getLogger("wingspan")

NOTHING, OUTPUT, ERROR = 0, 1, 2
#: Rounds are numbers of two bytes here.
_MOST_ROUNDS = 1 << 16
#: Read this much around a record: the next one asked for usually lies behind it.
_WINDOW = 1 << 18
#: Files of results that are open at once, of all maps of this process.
_MOST_OPEN = 64
#: Read so much of a file at a time; of one that is mostly pieces of large outputs, so much at each frame of records (bytes).
_READ_BYTES, _AROUND_PIECES = 1 << 23, 1 << 12
#: Two changes of a folder within this time (s) may carry the same time stamp.
_COARSE_CLOCK = 2.0


_Given = ParamSpec("_Given")
_Answer = TypeVar("_Answer")


def _alone(
    method: Callable[Concatenate[Results, _Given], _Answer],
) -> Callable[Concatenate[Results, _Given], _Answer]:
    """A method that no two threads are in at once: they share open files and what was read last."""

    @functools.wraps(method)
    def alone(self: Results, /, *args: _Given.args, **kwargs: _Given.kwargs) -> _Answer:
        with self._lock:
            try:
                return method(self, *args, **kwargs)
            except Gone:
                raise self._folder.removed() from None
            except OSError as error:
                if isinstance(error, WingspanError):
                    raise
                raise self._folder.trouble(error, "read") from error

    return alone


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
    """

    started: float
    wall: float
    cpu: float
    peak_memory: int
    attempt: int
    worker: str


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
        round: The round for which it is at that one.
        since: When that one started, Unix time.
        left: It ended in order.
        frames_end: How far its file has been read.
        has_pieces: There are large outputs in its file.
        productive: It has finished at least one component.
        trouble: Why the rest of its file is not read.
        has_odd_notes: Something that it signed is not what our workers write.
        last_seen: When its file was last seen to grow, Unix time.
    """

    name: str
    number: int
    file: int
    facts: dict[str, Any] | None = None
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


class Results:
    """What is known of every component.

    Attributes:
        state: One of `NOTHING`, `OUTPUT`, `ERROR` a component.
        finished: How many components have a record that counts.
        arrived: Components in the order in which their records were found.
        failed: Components whose record is an error.
        retryable: Those of them that have attempts left.
        plans: Rounds by number.
        starts: Worker starts by name.
        starts_of: Worker starts by number of the worker.
        left_files: Names of files that components wrote into folders that go with their jobs.
        replaced: Changes whenever a record that counted does so no longer.
    """

    def __init__(self, folder: MapFolder) -> None:
        n = folder.n
        self._folder = folder
        self._lock = threading.RLock()
        self.n = n
        self.state = bytearray(n)
        self.finished = 0
        self.arrived = array("L")
        self.failed: set[int] = set()
        self.retryable: set[int] = set()
        self._retries = folder.info.retries
        self.plans: dict[int, rounds.Plan] = {}
        self.starts: dict[str, WorkerStart] = {}
        self.starts_of: dict[int, list[WorkerStart]] = {}
        self.left_files: set[str] = set()
        self._names: list[str] = []
        self._file = array("I", bytes(4 * n))
        self._round = array("H", bytes(2 * n))
        self._header_at = array("Q", bytes(8 * n))
        self._payload_at = array("Q", bytes(8 * n))
        self._epoch: array[int] | None = None
        self._attempts: array[int] | None = None
        self._printed: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
        self._descriptors: dict[int, int] = {}
        self._reading = -1
        # A session may make thousands of maps and never close one.
        weakref.finalize(self, _close_all, self._descriptors)
        self._window: tuple[int, int, bytes] = (-1, 0, b"")
        self._rounds_written: tuple[int, float] = (0, 0.0)
        self._run: tuple[tuple[int, int], list[Any], int] | None = None
        self.replaced = 0

    # -- finding new records -------------------------------------------------------------------------------------------

    @_alone
    def poll(self) -> bool:
        """Take in what was appended since the last call; True if there was anything."""
        changed = self._poll_rounds()
        try:
            with os.scandir(self._folder.path / "results") as entries:
                # Plain files only: whoever reaches the folder may put a link, a folder or a pipe there.
                sizes = [
                    (entry.name, entry.stat().st_size)
                    for entry in entries
                    if entry.is_file(follow_symlinks=False)
                ]
        except FileNotFoundError:
            raise self._folder.damaged("the folder results is missing") from None
        for name, size in sizes:
            start = self.starts.get(name)
            if start is None:
                number, _, rest = name.partition(".")
                if not (number.lstrip("c").isdigit() and rest.isdigit()):
                    continue
                worker = int(number) if number.isdigit() else -1
                start = self.starts[name] = WorkerStart(name, worker, len(self._names))
                self._names.append(name)
                self.starts_of.setdefault(start.number, []).append(start)
                changed = True
            if size > start.frames_end and start.trouble is None:
                changed = self._read(start, size) or changed
        return changed

    def _poll_rounds(self) -> bool:
        now, written = time.monotonic(), self._folder.rounds_written()
        if written != self._rounds_written[0]:
            self._rounds_written = (written, now)
        elif self.plans and now - self._rounds_written[1] > _COARSE_CLOCK:
            return False
        numbers = [
            number for number in rounds.round_numbers(self._folder.transport) if number not in self.plans
        ]
        for number in numbers:
            try:
                data = self._folder.transport.read(f"rounds/{number}/plan")
                plan = rounds.Plan.loads(self._folder.key, data, number, any_round=self._folder.is_old)
            except FileNotFoundError:
                raise self._folder.damaged(f"the plan of round {number} is missing") from None
            if plan is None:
                raise self._folder.damaged(
                    f"the plan of round {number} is cut, not signed with its key, or of another round"
                )
            self.plans[number] = plan
            if plan.kind in (rounds.RERUN, rounds.RETRY):
                self._begin_epoch(number, plan)
        if 0 not in self.plans:
            raise self._folder.damaged("the plan of round 0 is missing")
        return bool(numbers)

    def _begin_epoch(self, number: int, plan: rounds.Plan) -> None:
        if self._epoch is None or self._attempts is None:
            self._epoch = array("H", bytes(2 * self.n))
            self._attempts = array("H", bytes(2 * self.n))
        for first, stop in plan.ranges:
            for component in range(first, stop):
                self._epoch[component] = max(self._epoch[component], number)
                self._attempts[component] = self._attempts[component] + 1 if plan.kind == rounds.RETRY else 0
                self.retryable.discard(component)
                if self.state[component] and self._round[component] < number:
                    self.replaced += 1
                    self.state[component] = NOTHING
                    self.finished -= 1
                    self.failed.discard(component)

    def _read(self, start: WorkerStart, size: int) -> bool:
        descriptor = self._descriptor(start.file)
        before, self._reading = start.frames_end, start.file
        try:
            while start.frames_end < size:
                # Pieces of large outputs are passed over: they are checked when somebody wants the output.
                length = _AROUND_PIECES if start.has_pieces else _READ_BYTES
                data = read_at(descriptor, min(length, size - start.frames_end), start.frames_end)
                if not self._take_frames(start, descriptor, data, size):
                    break
        except ValueError as error:
            start.trouble = str(error)
        finally:
            self._reading = -1
        if start.frames_end == before:
            return False
        start.last_seen = os.fstat(descriptor).st_mtime
        return True

    def _take_frames(self, start: WorkerStart, descriptor: int, data: bytes, size: int) -> bool:
        """Take in what is whole of `data`, which lies at the end of what has been read; False if no whole frame begins there.

        Raises:
            ValueError: A frame is wrong.
        """
        key, name, base, position = self._folder.key, start.name, start.frames_end, 0
        while position + formats.FRAME.size <= len(data):
            at = base + position
            frame = formats.Frame(name, at, data, position)
            if at + frame.end > size:
                return False  # not all there yet
            if frame.is_piece:
                start.has_pieces = True
                position += frame.end
                start.frames_end = base + position
                continue
            if position + frame.signed > len(data):
                if position:
                    return True  # the next read begins with it
                data = read_at(descriptor, min(frame.end, max(frame.signed, _READ_BYTES)), at)
            frame.check(key, name, at, data, position)
            frame.check_payloads(
                name, at, data, self._payloads_of(frame, descriptor, data, position, at), position
            )
            self._take(start, descriptor, data, frame, position)
            position += frame.end
            start.frames_end = base + position
        return position > 0

    @staticmethod
    def _payloads_of(
        frame: formats.Frame, descriptor: int, data: bytes, position: int, at: int
    ) -> Iterator[bytes | memoryview]:
        """The payloads of a frame, in pieces: from `data` as far as they are in it."""
        yield (known := memoryview(data)[position + frame.payloads : position + frame.end])
        done = frame.payloads + len(known)
        while done < frame.end:
            piece = read_at(descriptor, min(_READ_BYTES, frame.end - done), at + done)
            if not piece:
                raise ValueError(f"the frame at byte {at} was cut while it was read")
            done += len(piece)
            yield piece

    def _take(
        self, start: WorkerStart, descriptor: int, data: bytes, frame: formats.Frame, position: int
    ) -> None:
        file = start.file
        base = start.frames_end - position
        size = formats.RECORD.size
        header = position + frame.headers
        payload = position + frame.payloads
        state, epoch = self.state, self._epoch
        for record in formats.RECORD.iter_unpack(memoryview(data)[header:payload]):
            kind, number, component, length = record[0], record[3], record[4], record[9]
            if number >= _MOST_ROUNDS:
                raise ValueError(f"a record at byte {base + header} names the round {number:,}")
            if kind in OUTCOMES:
                start.productive = True
            if kind == formats.RUN:
                self._take_run(start.name, file, record, base + header, base + payload)
            elif kind in OUTCOMES:
                if component < self.n and (epoch is None or number >= epoch[component]):
                    if not state[component]:
                        self.finished += 1
                        self._settle(component, kind, file, number, base + header, base + payload)
                    elif self._is_better(component, record, start.name):
                        self._settle(component, kind, file, number, base + header, base + payload)
                if component == start.component:
                    start.component = None
            else:
                content = data[payload : payload + length]
                if len(content) < length:
                    content = read_at(descriptor, length, base + payload)
                self._take_other(start, file, record, base + payload, content)
            header += size
            payload += length

    def _settle(self, component: int, kind: int, file: int, number: int, header: int, payload: int) -> None:
        """This is the record of the component that counts."""
        self.replaced += bool(self.state[component])
        self.state[component] = ERROR if kind == formats.ERROR else OUTPUT
        self._file[component] = file
        self._round[component] = number
        self._header_at[component] = header
        self._payload_at[component] = payload
        self.arrived.append(component)
        self.failed.discard(component)
        self.retryable.discard(component)
        if kind == formats.ERROR:
            self.failed.add(component)
            if self.attempts(component) < self._retries:
                self.retryable.add(component)

    def _is_better(self, component: int, record: tuple[Any, ...], name: str) -> bool:
        """Of two records of a component, this one counts, in whatever order they are read.

        After a worker was lost a component may have been done twice. An output is better than an error; then the
        older round, the earlier end, the worker's name decide.
        """
        known = self._record(component)

        def rank(one: tuple[Any, ...], worker: str) -> tuple[bool, int, float, str]:
            return one[0] == formats.ERROR, one[3], one[5] + one[6], worker

        return rank(record, name) < rank(known, self._names[self._file[component]])

    def _take_run(self, name: str, file: int, record: tuple[Any, ...], header: int, payload: int) -> None:
        """Outputs of several components, in one record."""
        count, number, first = record[2], record[3], record[4]
        if count < 1 or first >= self.n:
            return
        stop = min(first + count, self.n)
        epoch, state = self._epoch, self.state
        if (
            stop - first == count
            and not any(state[first:stop])
            and (epoch is None or max(epoch[first:stop]) <= number)
        ):
            ranges = [(first, stop)]
        else:
            counts = [
                component for component in range(first, stop) if epoch is None or number >= epoch[component]
            ]
            for component in counts:
                if state[component] and self._is_better(component, record, name):
                    self._settle(component, formats.OUTPUT, file, number, header, payload)
            ranges = rounds.ranges_of([component for component in counts if not state[component]])
        for low, high in ranges:
            length = high - low
            state[low:high] = bytes([OUTPUT]) * length
            self._file[low:high] = array("I", [file]) * length
            self._round[low:high] = array("H", [number]) * length
            self._header_at[low:high] = array("Q", [header]) * length
            self._payload_at[low:high] = array("Q", [payload]) * length
            self.finished += length
            self.arrived.extend(range(low, high))

    def _take_other(
        self, start: WorkerStart, file: int, record: tuple[Any, ...], at: int, payload: bytes
    ) -> None:
        try:
            self._take_note(start, file, record, at, payload)
        except (ValueError, TypeError, RecursionError) as error:
            # Signed, and not what our workers write. It is of no use; all others are.
            if not start.has_odd_notes:
                start.has_odd_notes = True
                _log.warning("A note of worker %s cannot be read and is passed over: %s", start.name, error)

    def _take_note(
        self, start: WorkerStart, file: int, record: tuple[Any, ...], at: int, payload: bytes
    ) -> None:
        kind, number, component, length = record[0], record[3], record[4], record[9]
        if kind in (formats.STDOUT, formats.STDERR):
            self._printed.setdefault((component, kind), []).append((number, file, at, length))
        elif kind == formats.HELLO:
            facts = json.loads(payload)
            if type(facts) is not dict or any(
                type(value) not in (str, int, float, type(None)) for value in facts.values()
            ):
                raise ValueError("what it says of its machine is no table of texts and numbers")
            start.facts = facts
        elif kind == formats.HEARTBEAT:
            start.component = component if component < self.n else None
            start.round = number
            start.since = record[5]
            start.peak_memory = record[8] * 1024
        elif kind == formats.REFUSED:
            start.refused = failure.loads(payload)
        elif kind == formats.LEFT:
            names = json.loads(payload)
            if type(names) is not list or any(type(name) is not str for name in names):
                raise ValueError("files that it left are no list of names")
            self.left_files.update(names)
        elif kind == formats.BYE:
            start.left = True
            start.component = None

    # -- reading records -----------------------------------------------------------------------------------------------

    def _descriptor(self, file: int) -> int:
        _open_files.use(self, file)
        descriptor = self._descriptors.get(file)
        if descriptor is None:
            try:
                descriptor = os.open(
                    self._folder.path / "results" / self._names[file],
                    os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK,
                )
            except FileNotFoundError:
                raise self._folder.damaged(f"the file results/{self._names[file]} is missing") from None
            self._descriptors[file] = descriptor
        return descriptor

    def _close_one(self, file: int) -> bool:
        """Close a file that was used longest ago; False if it is being read this moment."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if file == self._reading:
                return False
            descriptor = self._descriptors.pop(file, None)
            if descriptor is not None:
                os.close(descriptor)
        finally:
            self._lock.release()
        return True

    def _bytes(self, file: int, at: int, length: int) -> bytes:
        window_file, window_at, window = self._window
        if file == window_file and window_at <= at and at + length <= window_at + len(window):
            return window[at - window_at : at - window_at + length]
        data = read_at(self._descriptor(file), max(length, _WINDOW), at)
        if len(data) < length:
            raise self._folder.damaged(
                f"the file results/{self._names[file]} is cut at byte {at + len(data)}"
            )
        if length > _WINDOW:
            return data  # nothing lies behind it, and a large one is not to be kept
        self._window = (file, at, data)
        return data[:length]

    def _record(self, component: int) -> tuple[Any, ...]:
        return formats.RECORD.unpack(
            self._bytes(self._file[component], self._header_at[component], formats.RECORD.size)
        )

    @_alone
    def payload(self, component: int) -> bytes:
        """The pickle of a finished component's output, or its error."""
        record = self._record(component)
        if record[0] == formats.RUN:
            values, first = self.run_of(component)
            return pickle.dumps(values[component - first], PROTOCOL)
        return self._bytes(self._file[component], self._payload_at[component], int(record[9]))

    @_alone
    def output(self, component: int) -> Pickled:
        """The pickle of a finished component's output, to be read as it is wanted."""
        record = self._record(component)
        if record[0] != formats.LARGE:
            data = self.payload(component)
            return Pickled(rebuild.holds_code(data), [data])
        table = self._bytes(self._file[component], self._payload_at[component], int(record[9]))
        name = self._names[self._file[component]]
        pieces = list(formats.PIECE.iter_unpack(table[1:]))
        return Pickled(table[0] == 1, self._checked(component, self._file[component], name, pieces))

    def _checked(
        self, component: int, file: int, name: str, pieces: list[tuple[int, int]]
    ) -> Iterator[memoryview]:
        # A descriptor of its own: others are closed when there are many, and this may be read slowly.
        with self._lock:
            descriptor = os.dup(self._descriptor(file))
        try:
            yield from signed_pieces(descriptor, self._folder.key, name, pieces)
        except ValueError as error:
            told = self._folder.damaged(f"the output of component {component} is not whole: {error}")
            told.hint = f"m.rerun([{component}]) does it again"
            raise told from None
        finally:
            os.close(descriptor)

    @_alone
    def run_of(self, component: int) -> tuple[list[Any], int]:
        """Outputs that lie in one record with that of `component`, and whose the first is."""
        where = (self._file[component], self._header_at[component])
        if self._run is not None and self._run[0] == where:
            return self._run[1], self._run[2]
        record = self._record(component)
        if record[0] != formats.RUN:
            return [], component
        data = self._bytes(self._file[component], self._payload_at[component], int(record[9]))
        # Only plain immutable types are written in runs: there is nothing in them that needs a certain interpreter.
        try:
            values: list[Any] = failure.plain(data[4 * record[2] :])
            if type(values) is not list or len(values) != record[2]:
                raise ValueError(f"it is no list of {record[2]}")
        except ValueError as error:
            raise self._folder.damaged(
                f"outputs in results/{self._names[self._file[component]]} are not whole: {error}"
            ) from None
        self._run = (where, values, int(record[4]))
        return values, int(record[4])

    @_alone
    def outputs_from(self, component: int) -> list[Any]:
        """Outputs of `component` and of those after it whose records are in one with its own; none where it has a record of its own.

        What is answered holds as long as `replaced` stays as it is.
        """
        values, first = self.run_of(component)
        stop = min(first + len(values), self.n)
        if stop <= component:
            return []
        length = stop - component
        state, file, header = self.state[component], self._file[component], self._header_at[component]
        if (
            self.state.count(state, component, stop) < length
            or self._file[component:stop] != array("I", [file]) * length
            or self._header_at[component:stop] != array("Q", [header]) * length
        ):  # some were done again: their records are elsewhere
            stop = next(
                at
                for at in range(component, stop)
                if (self.state[at], self._file[at], self._header_at[at]) != (state, file, header)
            )
        return values[component - first : stop - first]

    @_alone
    def measures(self, component: int) -> Measures:
        """What a finished component took."""
        record = self._record(component)
        started, wall, cpu = record[5], record[6], record[7]
        if record[0] == formats.RUN:
            place = component - record[4]
            walls = array("f", self._bytes(self._file[component], self._payload_at[component], 4 * record[2]))
            started, wall, cpu = started + sum(walls[:place]), walls[place], walls[place]
        return Measures(
            started=started,
            wall=wall,
            cpu=cpu,
            peak_memory=record[8] * 1024,
            attempt=record[1] + 1,
            worker=self._names[self._file[component]],
        )

    def start_of(self, component: int) -> WorkerStart:
        """The worker start that finished a component."""
        return self.starts[self._names[self._file[component]]]

    def newest_starts(self) -> list[WorkerStart]:
        """The newest start of each worker: what an older one said last is long over.

        Who was evicted in the middle of a component said that it is at it, and never that it left.
        """
        return [
            max(starts, key=lambda one: int(one.name.rpartition(".")[2]))
            for number, starts in self.starts_of.items()
            if number >= 0
        ]

    def at_work(self) -> Iterator[WorkerStart]:
        """The newest starts that are at a component whose outcome, in that round, is not known and counts."""
        for start in self.newest_starts():
            component = start.component
            if component is None:
                continue
            done = self.state[component] and self._round[component] >= start.round
            outdated = self._epoch is not None and self._epoch[component] > start.round
            if not done and not outdated:
                yield start

    @_alone
    def printed(self, component: int, kind: int) -> bytes:
        """What a component has printed so far, in its newest round and newest start."""
        pieces = self._printed.get((component, kind), [])
        if not pieces:
            return b""
        newest = max(piece[0] for piece in pieces)
        of_newest = [piece for piece in pieces if piece[0] == newest]
        file = self._file[component] if self.state[component] else of_newest[-1][1]
        chosen = [piece for piece in of_newest if piece[1] == file] or of_newest
        return b"".join(self._bytes(piece[1], piece[2], piece[3]) for piece in chosen)

    def unfinished(self) -> list[int]:
        """Components without a record that counts."""
        return [component for component, state in enumerate(self.state) if not state]

    def attempts(self, component: int) -> int:
        """How often a component has been retried since it was last wanted afresh."""
        return 0 if self._attempts is None else self._attempts[component]

    def tries(self, component: int) -> int:
        """Which time it was that a finished component's record is of: 1, and one more for each retry and rerun before."""
        last = self._round[component]
        again = (rounds.RERUN, rounds.RETRY)
        return 1 + sum(
            number <= last and plan.kind in again and component in plan for number, plan in self.plans.items()
        )

    def repairs(self, component: int) -> int:
        """How often whoever did a component was lost, since it was last wanted afresh."""
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
        return self._round[component]

    @_alone
    def close(self) -> None:
        """Close the files."""
        _close_all(self._descriptors)


_open_files = OpenFiles(_MOST_OPEN, Results._close_one)


def _close_all(descriptors: dict[int, int]) -> None:
    while descriptors:
        os.close(descriptors.popitem()[1])


def sorted_numbers(components: Sequence[int], n: int) -> list[int]:
    """Component numbers, ascending, each once."""
    return sorted({int(component) for component in components if 0 <= component < n})
