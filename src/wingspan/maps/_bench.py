"""What the workers of a map cost the access point: measured on a pool, or simulated.

Measured: a map whose components sleep, beside as many plain jobs that sleep for as long. The workers count
what they ask, the time of HTCondor's shadows is what Linux says of these processes, and requests to the
schedd are counted where they are made. Simulated: the same code of the workers, in one process, with the map
in memory.
"""

from __future__ import annotations

import contextlib
import functools
import os
import re
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs

from wingspan.errors import PoolError
from wingspan.jobs import JobDescription
from wingspan.maps._simulated import Counting, InMemory, Memory, simulate
from wingspan.pools import JobState, Pool
from wingspan.worker import rounds

__all__ = ["Load", "counted_requests", "measure_load", "simulate_load", "slots_of"]

#: Blocks of each worker of a measured map, whose components sleep.
_BLOCKS = 8
#: Components of each worker of a simulated map: as many as make its blocks fall, where it has enough workers.
_COMPONENTS = rounds.MANY_COMPONENTS
#: Seconds between two looks at the shadows.
_LOOK_SECONDS = 0.1
#: Seconds for which plain jobs may wait in the queue, beside ten times what they take.
_PATIENCE = 600.0


@attrs.frozen(kw_only=True)
class Load:
    """What so many workers of one map cost.

    Attributes:
        workers: How many.
        is_measured: Real jobs did it; else it was simulated.
        blocks: How many blocks they did.
        seconds: How long the map took, from its submission to its last record; None: simulated.
        claims, appends: Operations on files that grow with the work.
        looks: How often they asked whether what they do is still wanted: it grows with the time.
        others: All other operations on files, of all workers together.
        others_at_most: Of one worker at most.
        written, read: Bytes that workers wrote to the access point, and read from it.
        files: Files in the map's folder at most, and when it is complete.
        files_left: When it is complete.
        shadow_seconds: Processor time of the shadows; None: unknown.
        plain_seconds: The same for plain jobs that take as long.
        requests: Requests to the schedd and the collector, by name; None: simulated.
    """

    workers: int
    is_measured: bool
    blocks: int
    seconds: float | None = None
    claims: int
    appends: int
    looks: int
    others: int
    others_at_most: int
    written: int
    read: int
    files: int
    files_left: int
    shadow_seconds: float | None = None
    plain_seconds: float | None = None
    requests: dict[str, int] | None = None

    @property
    def extra(self) -> float | None:
        """What 100 workers take of a core of the access point, beyond what 100 plain jobs take."""
        if self.shadow_seconds is None or self.plain_seconds is None or not self.seconds:
            return None
        return (self.shadow_seconds - self.plain_seconds) / self.seconds * 100 / self.workers

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {**attrs.asdict(self), "extra_cores_per_100_workers": self.extra}


def slots_of(pool: Pool) -> int:
    """How many jobs of one core a pool can run at a time; 0: its machines do not say."""
    ads = pool.machine_ads('SlotType =!= "Dynamic"', ["SlotType", "TotalSlotCpus", "Cpus"])
    if not ads:
        return pool.default_workers(1 << 20) if pool.runs_here else 0
    return sum(
        int(ad.get("TotalSlotCpus") or ad.get("Cpus") or 1) if ad.get("SlotType") == "Partitionable" else 1
        for ad in ads
    )


def simulate_load(workers: int) -> Load:
    """What so many workers would ask, each of which is the real code in this process.

    Args:
        workers: How many. The map has so many components for each that it is cut into blocks as one of many
            short components is.
    """
    memory = Memory()
    transports = [Counting(InMemory(memory)) for _ in range(workers)]
    with _signatures_are_checked_once():
        publisher: Any = InMemory(memory)
        blocks = len(simulate(publisher, transports, workers * _COMPONENTS, block_size=None))
    others = [len(transport.others) for transport in transports]
    return Load(
        workers=workers,
        is_measured=False,
        blocks=blocks,
        claims=sum(transport.claims for transport in transports),
        appends=sum(transport.appends for transport in transports),
        looks=sum(transport.looks for transport in transports),
        others=sum(others),
        others_at_most=max(others),
        written=sum(transport.written for transport in transports),
        read=sum(transport.read_bytes for transport in transports),
        files=memory.most_files,
        files_left=memory.count_files(),
    )


@contextlib.contextmanager
def _signatures_are_checked_once() -> Iterator[None]:
    """Every worker checks the signatures of all others' notes. Here they are one process, which needs to
    check each only once.
    """
    parse = rounds.parse_settled
    rounds.parse_settled = functools.lru_cache(maxsize=None)(parse)
    try:
        yield
    finally:
        rounds.parse_settled = parse


def measure_load(pool: Pool, workers: int, seconds: float = 20.0) -> Load:
    """Have `workers` real jobs do a map, and as many plain jobs sleep for as long.

    Args:
        pool: Where: one whose jobs write HTCondor's event log.
        workers: How many. Where fewer can run at a time, the others come later, and there is less to do for
            them.
        seconds: How long each worker is to be at work.

    Raises:
        PoolError: The pool does not take the jobs.
    """
    from wingspan.maps._api import map as make_map
    from wingspan.maps._options import Options

    pause = seconds / _BLOCKS
    options = Options(workers=workers, block_size=1, custom={"WingspanBench": True}, memo=False)
    with counted_requests() as requests, _counting_workers(), _Shadows() as shadows:
        begin = time.monotonic()
        m = make_map(time.sleep, [pause] * (workers * _BLOCKS), pool=pool, options=options)
        try:
            most = 0
            while not m.is_done:
                most = max(most, _count_files(m.path))
                with contextlib.suppress(TimeoutError):
                    m.wait(timeout=1.0)
            took = time.monotonic() - begin
            _wait_for_byes(m)
            asked = dict(requests)
            used = shadows.seconds_of({one.cluster for one in m._folder.submissions.entries()})
            starts = [start for start in m._keeper.results.starts.values() if start.counts is not None]
            counts = [start.counts or {} for start in starts]
            left = _count_files(m.path)
        finally:
            m.remove(force=True)
    return Load(
        workers=workers,
        is_measured=True,
        blocks=workers * _BLOCKS,
        seconds=took,
        claims=sum(one["claims"] for one in counts),
        appends=sum(one["appends"] for one in counts),
        looks=sum(one["looks"] for one in counts),
        others=sum(one["others"] for one in counts),
        others_at_most=max((one["others"] for one in counts), default=0),
        written=sum(one["written"] for one in counts),
        read=sum(one["read"] for one in counts),
        files=most,
        files_left=left,
        shadow_seconds=used,
        plain_seconds=_plain(pool, workers, seconds) if used is not None else None,
        requests=asked,
    )


def _wait_for_byes(m: Any) -> None:
    """Let the workers end: what they have counted is the last that they say."""
    deadline = time.monotonic() + 30.0
    while time.monotonic() < deadline:
        m._keeper.refresh()
        live = {job.worker for job in m._keeper.jobs.live() if job.state is JobState.RUNNING}
        if not live:
            return
        time.sleep(0.2)


def _count_files(folder: Path) -> int:
    """A file of several names is one, as for a quota."""
    found = set()
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(FileNotFoundError):  # a round is folded meanwhile
                facts = os.lstat(f"{place}/{name}")
                found.add((facts.st_dev, facts.st_ino))
    return len(found)


def _plain(pool: Pool, count: int, seconds: float) -> float | None:
    """Processor time of the shadows of plain jobs that sleep."""
    with tempfile.TemporaryDirectory(prefix="wingspan-bench-") as name, _Shadows() as shadows:
        folder = Path(name)
        job = JobDescription(
            name="wingspan-bench",
            executable="/bin/sleep",
            arguments=(str(round(seconds)),),
            count=count,
            working_dir=folder,
            log=str(folder / "events.log"),
            transfer_files=not pool.shares_files,
        )
        submission = pool.submit(job)
        watcher = pool.watch([submission], folder)
        ended: set[int] = set()
        until = time.monotonic() + _PATIENCE + 10 * seconds
        try:
            while len(ended) < count:
                if time.monotonic() > until:  # held, or no machine takes them
                    return None
                ended.update(event.proc for event in watcher.poll() if event.state.is_final)
                time.sleep(0.1)
        finally:
            watcher.close()
            if len(ended) < count:
                pool.act("remove", [submission], folder, "wingspan bench was interrupted")
        return shadows.seconds_of({submission.cluster})


@contextlib.contextmanager
def _counting_workers() -> Iterator[None]:
    """The workers of maps that are made meanwhile count what they ask."""
    os.environ["WINGSPAN_COUNT_OPERATIONS"] = "1"
    try:
        yield
    finally:
        del os.environ["WINGSPAN_COUNT_OPERATIONS"]


@contextlib.contextmanager
def counted_requests() -> Iterator[Counter[str]]:
    """Requests of this process to schedds and collectors, by name."""
    counts: Counter[str] = Counter()
    try:
        from wingspan.pools.personal.activation import import_bindings

        htcondor2 = import_bindings()
    except (PoolError, ImportError):
        yield counts  # there is no HTCondor here that could be asked
        return
    saved: list[tuple[Any, str, Any]] = []

    def counted(what: str, method: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(method)
        def call(*arguments: Any, **named: Any) -> Any:
            counts[what] += 1
            return method(*arguments, **named)

        return call

    for owner in (htcondor2.Schedd, htcondor2.Collector):
        for name in ("query", "submit", "act", "edit", "history", "reschedule", "locate", "locateAll"):
            method = getattr(owner, name, None)
            if method is not None:
                saved.append((owner, name, method))
                setattr(owner, name, counted(f"{owner.__name__}.{name}", method))
    try:
        yield counts
    finally:
        for owner, name, method in saved:
            setattr(owner, name, method)


class _Shadows:
    """Looks at the shadows on this machine: the processor time that each has used, as Linux tells it."""

    def __init__(self) -> None:
        self._seconds: dict[tuple[str, int], float] = {}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> _Shadows:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def seconds_of(self, clusters: set[str]) -> float | None:
        """Seconds of the shadows of these clusters; None: none was seen, so they run under another user."""
        found = [seconds for (cluster, _), seconds in self._seconds.items() if cluster in clusters]
        return sum(found) if found else None

    def _watch(self) -> None:
        while not self._ended.wait(_LOOK_SECONDS):
            for pid in filter(str.isdigit, os.listdir("/proc")):
                with contextlib.suppress(OSError, ValueError, IndexError):
                    self._look(int(pid))

    def _look(self, pid: int) -> None:
        with open(f"/proc/{pid}/cmdline", "rb") as file:  # noqa: PTH123 - many of them, often
            words = file.read().decode("utf-8", "replace").split("\0")
        if not words[0].endswith("condor_shadow"):
            return
        job = next((word for word in words[1:] if re.fullmatch(r"\d+\.\d+", word)), None)
        if job is None:
            return  # it serves no job yet: a schedd asks each new shadow for its version
        with open(f"/proc/{pid}/schedstat") as file:  # noqa: PTH123 - many of them, often
            used = int(file.read().split()[0]) / 1e9
        self._seconds[job.split(".")[0], pid] = used
