"""The file ``submissions`` of a map or run: which jobs work on it, one line for each submission.

A line is appended as soon as the scheduler has taken the jobs. Nothing is rewritten or removed, so that any
number of processes may read and append at once. What an older Wingspan has written for a map or for a run is
read in the same way.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import attrs

from wingspan._files import JsonLog, lock
from wingspan.jobs import Submission

__all__ = ["LOCK", "LoggedSubmission", "SubmissionLog"]

#: File beside the log, by which one process keeps others from writing.
LOCK = "submissions.lock"
#: Seconds for which another process is waited for.
_LOCK_SECONDS = 10.0

#: The field of a line that says that the jobs are external. Its name on disk is older than the word.
_EXTERNAL = "by_hand"


@attrs.frozen(kw_only=True)
class LoggedSubmission(Submission):
    """Jobs that a pool took, as they stand in the log.

    Attributes:
        first: Number of the first job in the map (its worker) or in the run.
        time: When it was written down, Unix time.
        place: Which of several pools of its kind has the jobs (`Pool.place`).
        inputs: Of a run: which version of the inputs the jobs have.
        for_held: Of a map: these workers take the place of others that are held.
        external: A person has submitted the jobs with the scheduler's own commands.
        needs: Of a map: what these workers need beyond the map's options; ``"all"``: they do everything. Of a
            run: what these jobs ask for instead of what it was made with.
        way: Of a map: how these workers reach it, where that is not the pool's own way: ``"transfer"`` or
            ``"file"``.
    """

    first: int
    time: float = 0.0
    place: str | None = None
    inputs: int = 0
    for_held: bool = False
    external: bool = False
    needs: Any = None
    way: str = ""

    @property
    def numbers(self) -> range:
        """Numbers of the jobs in the map or the run."""
        return range(self.first, self.first + self.count)

    @classmethod
    def from_json(cls, entry: dict[str, Any]) -> LoggedSubmission:
        """What a line says.

        Raises:
            ValueError: It makes no sense. So do the errors of a field that is missing (KeyError) or of
                another type (TypeError, OverflowError).
        """
        place = entry.get("place")
        read = cls(
            pool=str(entry["pool"]),
            cluster=str(entry["cluster"]),
            count=int(entry["count"]),
            first=int(entry["first"]),
            time=float(entry.get("time") or 0.0),
            place=None if place is None else str(place),
            inputs=int(entry.get("inputs") or 0),
            for_held=bool(entry.get("for_held")),
            external=bool(entry.get(_EXTERNAL)),
            needs=entry.get("needs"),
            way=str(entry.get("way") or ""),
        )
        if not read.pool or not read.cluster or min(read.count, read.first, read.inputs) < 0:
            raise ValueError(f"no submission: {entry!r}")
        return read

    def to_json(self) -> dict[str, Any]:
        """The line, without what it need not say."""
        optional = {
            "place": self.place,
            "inputs": self.inputs,
            "for_held": self.for_held,
            _EXTERNAL: self.external,
            "needs": self.needs,
            "way": self.way,
        }
        return {
            "pool": self.pool,
            "cluster": self.cluster,
            "count": self.count,
            "first": self.first,
            "time": self.time,
            **{name: value for name, value in optional.items() if value},
        }


class SubmissionLog:
    """Which jobs work on one map or run.

    Args:
        folder: The folder of the map or run; nothing else in it need be readable.
    """

    def __init__(self, folder: Path) -> None:
        self._log = JsonLog(folder / "submissions")
        self._read: list[dict[str, Any]] | None = None
        self._known: tuple[LoggedSubmission, ...] = ()

    def entries(self) -> tuple[LoggedSubmission, ...]:
        """All submissions, oldest first; the file is read only if it has grown.

        Two processes may have written down the same jobs of ours: they are named once. Of an external
        submission each line is named, as later ones tell of more jobs. Lines that a crash has cut are left
        out.

        Raises:
            OSError: The file is there and cannot be read.
        """
        read = self._log.entries()
        if read is not self._read:
            self._known = tuple(_once(read))
            self._read = read
        return self._known

    def add(
        self,
        submission: Submission,
        *,
        first: int,
        place: str | None = None,
        inputs: int = 0,
        for_held: bool = False,
        external: bool = False,
        needs: Any = None,
        way: str = "",
    ) -> None:
        """Write down jobs that a pool took; the arguments are those of `LoggedSubmission`.

        Raises:
            OSError: It cannot be written.
        """
        logged = LoggedSubmission(
            pool=submission.pool,
            cluster=submission.cluster,
            count=submission.count,
            first=first,
            time=time.time(),
            place=place,
            inputs=inputs,
            for_held=for_held,
            external=external,
            needs=needs,
            way=way,
        )
        self.append(logged)

    def alone(self) -> AbstractContextManager[bool]:
        """A lock, held while it is decided what to write down. Its value says whether it was obtained.

        Processes that see the same submission at once, and did not submit it themselves, would all write it.
        """
        return lock(self._log.path.with_name(LOCK), patience=_LOCK_SECONDS)

    def append(self, entry: LoggedSubmission) -> None:
        """Write down jobs as another log has them.

        Raises:
            OSError: It cannot be written.
        """
        self._log.append(entry.to_json())


def _once(entries: Iterable[dict[str, Any]]) -> Iterator[LoggedSubmission]:
    known = set()
    for entry in entries:
        try:
            read = LoggedSubmission.from_json(entry)
        except (ValueError, TypeError, LookupError, OverflowError):
            continue
        jobs = read.pool, read.cluster, read.first
        if read.external or jobs not in known:
            if not read.external:
                known.add(jobs)
            yield read
