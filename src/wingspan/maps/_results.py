"""Finding records in ``results/*``: where each component's record is.

Nothing is unpickled until somebody asks for it.

Any number of processes may do this at once, while workers append. A frame that is not whole yet is read again
the next time. A file that has a damaged frame is read up to that frame.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator
from typing import Any

from wingspan.maps._components import MOST_ROUNDS, WorkerStart
from wingspan.maps._folder import MapFolder
from wingspan.maps._records import Records, alone
from wingspan.maps._shares import take_in
from wingspan.worker import formats, rounds
from wingspan.worker.history import OUTCOMES
from wingspan.worker.parts import ranges_of
from wingspan.worker.transports import read_at

__all__ = ["Results"]


#: How much of a file is read at a time, and how much where a file is mostly pieces of large outputs, between
#: which frames lie (bytes).
_READ_BYTES, _AROUND_PIECES = 1 << 23, 1 << 12
#: Two changes of a folder within this time (s) may carry the same time stamp.
_COARSE_CLOCK = 2.0


class Results(Records):
    """The results of a map, as far as they have been read."""

    def __init__(self, folder: MapFolder) -> None:
        super().__init__(folder)
        self._rounds_written: tuple[int, float] = (0, 0.0)

    @alone
    def poll(self) -> bool:
        """Take in what was appended since the last call; True if there was anything."""
        changed = self._poll_rounds()
        take_in(self._folder.path)
        try:
            with os.scandir(self._folder.path / "results") as entries:
                # Plain files only: workers, and others who reach the folder, may put a link, a folder or a
                # pipe there.
                sizes = [
                    (entry.name, entry.stat().st_size)
                    for entry in entries
                    if entry.is_file(follow_symlinks=False)
                ]
        except FileNotFoundError:
            raise self._folder.damaged("the folder results is missing") from None
        if self._folder.info.open:
            # After the sizes: what is read is of components that have been counted.
            changed = self._poll_inputs() or changed
        for name, size in sizes:
            start = self.starts.get(name)
            if start is None:
                number, _, rest = name.partition(".")
                if not (number.lstrip("c").isdigit() and rest.isdigit()):
                    continue
                start = self.add_start(name)
                changed = True
            if size > start.frames_end and start.trouble is None:
                changed = self._read(start, size) or changed
        return changed

    def _poll_inputs(self) -> bool:
        """Of an open map: see whether there are more components."""
        was_open = self.is_open
        self.is_open = self._folder.count()
        if self._folder.n > self.n:
            self.grow(self._folder.n)
            return True
        return was_open is not self.is_open

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
            self.add_round(number, plan)
        if 0 not in self.plans:
            raise self._folder.damaged("the plan of round 0 is missing")
        return bool(numbers)

    def _read(self, start: WorkerStart, size: int) -> bool:
        descriptor = self._descriptor(start.file)
        before, self._reading = start.frames_end, start.file
        try:
            while start.frames_end < size:
                # Pieces of large outputs are skipped: they are checked when somebody wants the output.
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
        """Take in the whole frames of `data`, which follows what has been read; False if it begins with none.

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
            if number >= MOST_ROUNDS:
                raise ValueError(f"a record at byte {base + header} names the round {number:,}")
            if kind in OUTCOMES:
                start.productive = True
                if start.number >= 0:
                    self.add_cost(record)
            if kind == formats.RUN:
                self._take_run(start.name, file, record, base + header, base + payload)
            elif kind in OUTCOMES:
                counts = component < self.n and (epoch is None or number >= epoch[component])
                if counts and self.cancelled:
                    self.uncancel(component)
                if counts and (not state[component] or self._is_better(component, record, start.name)):
                    self.settle(component, kind, file, number, base + header, base + payload)
                if component == start.component:
                    start.component = None
            else:
                content = data[payload : payload + length]
                if len(content) < length:
                    content = read_at(descriptor, length, base + payload)
                self._take_other(start, file, record, base + payload, content)
            header += size
            payload += length

    def _is_better(self, component: int, record: tuple[Any, ...], name: str) -> bool:
        """Of two records of a component, this one counts, in whatever order they are read.

        A component may be done twice, after a worker was lost. An output is better than an error; then the
        older round counts, then the record that ended earlier, then the worker's name.
        """
        known = self._record(component)

        def rank(one: tuple[Any, ...], worker: str) -> tuple[bool, int, float, str]:
            return one[0] == formats.ERROR, one[3], one[5] + one[6], worker

        return rank(record, name) < rank(known, self._name_of(component))

    def _take_run(self, name: str, file: int, record: tuple[Any, ...], header: int, payload: int) -> None:
        """Outputs of several components, in one record."""
        count, number, first = record[2], record[3], record[4]
        if count < 1 or first >= self.n:
            return
        stop = min(first + count, self.n)
        for component in self.cancelled.intersection(range(first, stop)) if self.cancelled else ():
            if self._epoch is None or number >= self._epoch[component]:
                self.uncancel(component)
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
                    self.settle(component, formats.OUTPUT, file, number, header, payload)
            ranges = ranges_of([component for component in counts if not state[component]])
        for low, high in ranges:
            self.settle_run(low, high, file, number, header, payload)

    def _take_other(
        self, start: WorkerStart, file: int, record: tuple[Any, ...], at: int, payload: bytes
    ) -> None:
        try:
            self._take_note(start, file, record, at, payload)
        except (ValueError, TypeError, RecursionError) as error:
            # It is signed, but our workers do not write such a note. It is skipped; all others are used.
            if not start.has_odd_notes:
                start.has_odd_notes = True
                import logging  # seldom needed

                logging.getLogger("wingspan").warning(
                    "A note of worker %s cannot be read and is passed over: %s", start.name, error
                )

    def _take_note(
        self, start: WorkerStart, file: int, record: tuple[Any, ...], at: int, payload: bytes
    ) -> None:
        kind, number, component, length = record[0], record[3], record[4], record[9]
        if kind in (formats.STDOUT, formats.STDERR):
            self._printed.setdefault((component, kind), []).append((number, file, at, length))
        elif kind == formats.LEFT:
            names = json.loads(payload)
            if type(names) is not list or any(type(name) is not str for name in names):
                raise ValueError("files that it left are no list of names")
            self.left_files.update(names)
        elif kind == formats.GPU:
            self.take_gpu(component, number, json.loads(payload))
        else:
            start.take_note(record, payload, self.n)
