"""What is done with all submissions of a map or run (`wingspan.pools.submission_log` has their list)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from wingspan._files import disk_error
from wingspan.errors import PoolError
from wingspan.pools._select import get_pool
from wingspan.pools.submission_log import LoggedSubmission, SubmissionLog

__all__ = ["LoggedSubmission", "SubmissionLog", "by_pool", "remove_jobs"]


def by_pool(submissions: Iterable[LoggedSubmission]) -> dict[str, list[LoggedSubmission]]:
    """These submissions by the kind of their pool, in the order in which the pools were first used."""
    found: dict[str, list[LoggedSubmission]] = {}
    for submission in submissions:
        found.setdefault(submission.pool, []).append(submission)
    return found


def remove_jobs(
    folder: Path, reason: str, *, force: bool = False, but: Iterable[LoggedSubmission] = ()
) -> None:
    """Take the jobs of a map or run out of their queues, when nothing but its log can be read.

    Args:
        folder: Of the map or run.
        reason: Why, for the scheduler's own notes.
        force: Go on where a scheduler does not answer, or the log cannot be read.
        but: Not these: they are out already.

    Raises:
        PoolError: A scheduler does not answer.
        DiskError: The log cannot be read.
    """
    try:
        submissions = SubmissionLog(folder).entries()
    except OSError as error:
        if force:
            return
        kept = "With --force (force=True) everything is removed but its jobs, if it has any"
        raise disk_error(error, "it is not known which jobs are to be removed", folder, kept) from error
    known = {(one.pool, one.cluster) for one in but}
    for submission in submissions:
        if (submission.pool, submission.cluster) in known:
            continue
        try:
            get_pool(submission.pool, submission.place).act("remove", [submission], folder, reason)
        except PoolError:
            if not force:
                raise
