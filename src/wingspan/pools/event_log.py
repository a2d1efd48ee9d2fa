"""HTCondor's job event log, read with HTCondor's own reader, as `JobEvent`.

The reader is asked only for events that are written to their ends. At a half-written one it would sleep for a
second, with the whole process, and of one of which a few bytes are there it would lose the event.
"""

from __future__ import annotations

import contextlib
import datetime
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from wingspan._open import OpenFiles
from wingspan.pools._base import JobEvent, JobState

if TYPE_CHECKING:
    from htcondor2 import JobEventLog

__all__ = ["EventLog", "submitted_clusters"]

#: HoldReasonCode of a job that a person holds (HTCondor manual, "HoldReasonCode": UserRequest).
USER_REQUEST = 1
#: Why Wingspan releases a job that was held because it took too much: it asks for more now.
ASKS_FOR_MORE = "asks for more, through wingspan"
#: ReasonCode and SubCode of the eviction of a job that took more memory than it had asked for
#: (HTCondor's sources, ``CONDOR_HOLD_CODE``: StartdHeldJob and JobOutOfResources).
_TOOK_TOO_MUCH_CODES, _OF_MEMORY = (21, 34), 102
#: At most so many unreadable events are passed over at a time.
_MOST_UNREADABLE = 100
#: The line that ends an event, and how many bytes are searched for it at a time.
_END, _PIECE = b"...", 1 << 20


class EventLog:
    """New events of one log. The log need not be there yet: HTCondor makes it at the first event."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._log: JobEventLog | None = None
        self._parked: Any = None
        self._whole = _Whole(path)
        self._lock = threading.RLock()
        #: How often the memory of each job was raised.
        self._raised: dict[tuple[str, int], int] = {}

    def poll(self) -> list[JobEvent]:
        """Events since the last call, oldest first; a half-written one is left for the next time."""
        with self._lock:
            if self._log is None and not self._open():
                return []
            _open_logs.use(self)
            if not self._whole.look():
                return []
            told = [_translate(event) for event in _events(self._log, self._whole)]
            return [self._counted(event) for event in told if event is not None]

    def _counted(self, event: JobEvent) -> JobEvent:
        """The event, which says how often the job's memory had been raised by then."""
        if not event.raised:
            return event
        job = (event.cluster, event.proc)
        self._raised[job] = self._raised.get(job, 0) + event.raised
        return attrs.evolve(event, raised=self._raised[job])

    def _open(self) -> bool:
        if not self._path.exists():
            return False
        from wingspan.pools.personal.activation import import_bindings

        htcondor2 = import_bindings()
        try:
            if self._parked is None:
                self._log = htcondor2.JobEventLog(str(self._path))
            else:
                log = htcondor2.JobEventLog.__new__(htcondor2.JobEventLog)
                log.__setstate__(self._parked)
                self._log = log
        except htcondor2.HTCondorException:
            return False  # it was there a moment ago: its map or run was removed
        return True

    def _park(self, _: int) -> bool:
        """Close the file, and remember how far it was read; False if it is being read this moment."""
        if not self._lock.acquire(blocking=False):
            return False
        try:
            if self._log is not None:
                self._parked = self._log.__getstate__()
                self._log.close()
                self._log = None
        finally:
            self._lock.release()
        return True

    def close(self) -> None:
        with self._lock:
            _open_logs.forget(self)
            self._parked = None
            if self._log is not None:
                self._log.close()
                self._log = None


_open_logs = OpenFiles(64, EventLog._park)


class _Whole:
    """How many events of a log are written to their ends and have not been read.

    Attributes:
        left: Not fewer than there are. It may be more after unreadable events, and where the site has logs
            written as XML or JSON (DEFAULT_USERLOG_FORMAT_OPTIONS): only the reader knows their ends.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._searched = 0
        self.left = 0

    def look(self) -> bool:
        """Look for new ones; true if some are left."""
        with contextlib.suppress(OSError), self._path.open("rb") as file:
            if not self._searched and file.read(1) in (b"<", b"{"):
                self.left = sys.maxsize
                return True
            file.seek(self._searched)
            rest = b""
            while piece := file.read(_PIECE):
                lines, _, rest = (rest + piece).rpartition(b"\n")
                self.left += [line.rstrip() for line in lines.split(b"\n")].count(_END)
            self._searched = file.tell() - len(rest)
        return self.left > 0


def _events(log: JobEventLog, whole: _Whole) -> Iterator[Any]:
    """New events of `log`, without those that a full disk or a dying machine has cut."""
    import htcondor2  # imported before, to make `log`

    for _ in range(_MOST_UNREADABLE):
        try:
            events = log.events(0)
            while whole.left > 0:
                event = next(events, None)
                if event is None:
                    whole.left = 0
                    break
                whole.left -= 1
                yield event
        except htcondor2.HTCondorException:
            continue  # the reader has passed it; the scheduler is asked about the job after a silence
        return


def submitted_clusters(path: Path) -> dict[str, tuple[int, str]]:
    """The clusters of jobs that a log tells of: how many jobs each has, and its ``submit_event_user_notes``.

    The schedd writes this, whatever becomes of the submitter.
    """
    if not (whole := _Whole(path)).look():
        return {}
    from wingspan.pools.personal.activation import import_bindings

    htcondor2 = import_bindings()
    found: dict[str, tuple[int, str]] = {}
    with contextlib.suppress(htcondor2.HTCondorException), htcondor2.JobEventLog(str(path)) as log:
        for event in _events(log, whole):
            if event.type is htcondor2.JobEventType.SUBMIT:
                count, notes = found.get(str(event.cluster), (0, str(event.get("UserNotes") or "")))
                found[str(event.cluster)] = (count + 1, notes)
    return found


def _translate(event: Any) -> JobEvent | None:
    from htcondor2 import JobEventType as Type  # there already: by the reader of the log

    states = {
        Type.SUBMIT: JobState.IDLE,
        Type.EXECUTE: JobState.RUNNING,
        Type.JOB_EVICTED: JobState.IDLE,
        Type.SHADOW_EXCEPTION: JobState.IDLE,
        Type.JOB_RECONNECT_FAILED: JobState.IDLE,
        Type.JOB_DISCONNECTED: JobState.IDLE,
        Type.JOB_RECONNECTED: JobState.RUNNING,
        Type.JOB_TERMINATED: JobState.COMPLETED,
        Type.JOB_ABORTED: JobState.REMOVED,
        Type.CLUSTER_REMOVE: JobState.REMOVED,
        Type.JOB_HELD: JobState.HELD,
        Type.JOB_RELEASED: JobState.IDLE,
        Type.JOB_SUSPENDED: JobState.SUSPENDED,
        Type.JOB_UNSUSPENDED: JobState.RUNNING,
    }
    state = states.get(event.type)
    if state is None:
        return None
    code = event.get("HoldReasonCode") if state is JobState.HELD else event.get("ReturnValue")
    reason = (
        event.get("HoldReason")
        or event.get("Reason")
        or event.get("DisconnectReason")
        or event.get("Message")
    )
    signal = event.get("TerminatedBySignal")
    return JobEvent(
        cluster=str(event.cluster),
        proc=event.proc if event.type is not Type.CLUSTER_REMOVE else -1,
        state=state,
        time=_time(event["EventTime"]),
        code=None if code is None else int(code),
        reason=None if reason is None else str(reason),
        signal=None if signal is None else int(signal),
        host=event.get("SlotName") or event.get("ExecuteHost"),
        notes=event.get("UserNotes") if event.type is Type.SUBMIT else None,
        schedd=event.get("SubmitHost") if event.type is Type.SUBMIT else None,
        by_person=state is JobState.HELD and code == USER_REQUEST,
        raised=int(_asks_for_more(event, Type)),
    )


def _asks_for_more(event: Any, types: Any) -> bool:
    """The job took more memory than it had asked for, and is started again with more."""
    if event.type is types.JOB_RELEASED:
        return ASKS_FOR_MORE in str(event.get("Reason") or "")
    return (
        event.type is types.JOB_EVICTED
        and event.get("ReasonCode") in _TOOK_TOO_MUCH_CODES
        and event.get("ReasonSubCode") == _OF_MEMORY
    )


def _time(text: str) -> float:
    """Seconds since the epoch. The bindings' own property imports a parser of all formats for that, which
    takes 6 ms.

    >>> _time("2026-11-30T12:00:00Z")
    1796040000.0
    """
    when = datetime.datetime.fromisoformat(text.removesuffix("Z"))
    return (when.replace(tzinfo=datetime.timezone.utc) if text.endswith("Z") else when).timestamp()
