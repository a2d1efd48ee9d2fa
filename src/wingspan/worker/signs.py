"""Signs of life of a worker: what its component prints, and that it is still at it."""

import os
import time

from . import formats, offspring, pipes
from .limits import kill_family
from .measures import disk_usage, peak_kib

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Deque, Optional

    from .child import Chunk, Executor
    from .outbox import Outbox
    from .retired import RetiredExecutors
    from .transports import Transport
    from .work import WorkSource

#: A component that takes longer than this is announced as running (s).
ANNOUNCE_SECONDS = 0.4


class SignsOfLife(object):
    """What a `Supervisor` tells of the component that its executor is at."""

    transport: "Transport"
    outbox: "Outbox"
    source: "WorkSource"
    retired: "RetiredExecutors"
    chunks: "Deque[Chunk]"
    announced: "int"
    given_up: "int"
    next_look: "float"

    @property
    def _running(self) -> "Executor":
        raise NotImplementedError

    def _print(
        self,
        number: "int",
        index: "int",
        out_start: "int",
        out_end: "Optional[int]",
        err_start: "int",
        err_end: "Optional[int]",
        process: "Optional[Executor]" = None,
    ) -> "None":
        process = process or self._running
        for kind, data in process.printed((out_start, err_start), (out_end, err_end)):
            self.outbox.add(kind, payload=data, number=number, index=index)

    def _print_live(self) -> "None":
        """Append the output that the running component has printed so far."""
        component, out, err = self._running.board.get()[:3]
        if component >= 0 and self.chunks:
            chunk = self.chunks[0]
            if component == chunk.indices[chunk.done]:
                self._print(chunk.block.round, component, out, None, err, None)

    def _look_seconds(self) -> "float":
        """Seconds between two looks whether what runs is still wanted: fewer where a look is cheap."""
        is_cheap = self.transport.name == "file" or "_WINGSPAN_PERSONAL_POOL" in os.environ
        return 2 * ANNOUNCE_SECONDS if is_cheap else self.outbox.heartbeat_seconds

    def _give_up(self, component: "int") -> "None":
        """End the executor, with what it has started: nobody wants the outcome of its component."""
        self.given_up = component
        kill_family(self._running.pid)

    def _end_cancelled(self) -> "None":
        """End the executor if it has just begun a component that was cancelled: more of its chunk may be."""
        if not self.chunks or not self.source.cancels:
            return
        chunk = self.chunks[0]
        component = chunk.indices[chunk.done]
        if self.source.is_superseded(component, chunk.block.round):
            self._give_up(component)

    def _wait_for_inputs(self) -> "None":
        """Nothing to do, and inputs may come: sleep for a moment, and show that this worker is there."""
        coming = self.source.coming
        assert coming is not None
        self._look_after_others()
        if self.outbox.silent(time.monotonic()) > coming.sign_seconds:
            self.outbox.add(formats.HEARTBEAT)
            self.outbox.flush()
        time.sleep(coming.pause())

    def _look_after_others(self) -> "None":
        """Collect processes that have ended, and executors that are to end."""
        offspring.reap([self._running.pid, *self.retired.pids])
        self.retired.look()

    def _look_at_disk(self) -> "None":
        """For a pilot: how much a component has in the job's scratch folder."""
        folder = os.environ.get("_CONDOR_SCRATCH_DIR")
        if folder and self.source.usual.get("pilot"):
            self.source.disk_taken = max(self.source.disk_taken, disk_usage(folder))

    def _announce(self) -> "None":
        self._look_after_others()
        component, _, _, started = self._running.board.get()[:4]
        if not self.chunks:
            return
        if component < 0:
            if (
                component == pipes.SOME
                and self.outbox.silent(time.monotonic()) > self.outbox.heartbeat_seconds
            ):
                self.outbox.add(formats.HEARTBEAT)  # one of many fast ones has turned out to be long
            return
        process, now = self._running, time.time()
        if now - started < ANNOUNCE_SECONDS:
            return
        self._look_at_disk()
        if self.source.is_superseded(component, self.chunks[0].block.round):
            # Its owner wants it done again, or not at all, and this execution may have no end.
            self._give_up(component)
            return
        first = component != self.announced
        if (
            first
            or process.has_unsent()
            or self.outbox.silent(time.monotonic()) > self.outbox.heartbeat_seconds
        ):
            self.announced = component
            self._print_live()
            number = self.chunks[0].block.round
            self.outbox.add(
                formats.HEARTBEAT,
                number=number,
                index=component,
                started=started,
                wall=now - started,
                peak=peak_kib(process.pid),
            )
