"""The error for workers that end before they begin."""

from __future__ import annotations

from wingspan.maps._errors import WorkersCannotStart
from wingspan.maps._folder import MapFolder
from wingspan.maps._jobs import Job
from wingspan.maps._worker_job import output_name

__all__ = ["broken_start"]

#: Exit code of a Python that could not write what it had printed (its documentation, ``sys.exit``).
_COULD_NOT_WRITE = 120


def broken_start(folder: MapFolder, worker: int, job: Job) -> tuple[WorkersCannotStart, str]:
    """The error for a worker that ended before it began, with what it wrote to standard error."""
    path = folder.path / "workers" / output_name(worker, 0, "err")
    try:
        tail = path.read_text(encoding="utf-8", errors="replace").strip().split("\n")[-10:]
    except OSError:
        tail = []
    ended = (
        f"killed by signal {job.signal}"
        if job.signal
        else f"exit code {job.code}"
        if job.code is not None
        else job.reason or "ended"
    )
    words = "\n".join(f"  {line}" for line in tail if line)
    if not words and (folder.disk_is_full or job.code == _COULD_NOT_WRITE):
        error = WorkersCannotStart(
            f"the workers of map {folder.info.tag!r} end before they begin ({ended}): they cannot write to "
            f"{folder.path}; the disk {'is' if folder.disk_is_full else 'was'} full",
            hint="free some space, then m.rerun(); what is finished is kept",
        )
        return error, "the disk is full"
    error = WorkersCannotStart(
        f"the workers of map {folder.info.tag!r} end before they begin ({ended})"
        + (
            f"; the last lines of their standard error:\n{words}"
            if words
            else "; they wrote nothing to standard error"
        ),
        hint="mend what their standard error says, then m.rerun()",
    )
    return error, words
