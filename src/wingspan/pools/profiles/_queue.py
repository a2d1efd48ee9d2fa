"""How many jobs a site takes: of one submission, and of one person."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wingspan.pools.profiles._limits import TooManyJobs
from wingspan.pools.profiles._load import chosen_profile

if TYPE_CHECKING:
    from wingspan.pools._base import Pool

__all__ = ["check_room", "submittable"]


def submittable(pool: Pool, profile: str | None, count: int) -> tuple[int, int]:
    """How many of `count` jobs may be submitted now, and how many of them in one submission.

    Args:
        pool: Where.
        profile: Name of the site's profile; None: that of this machine, if the pool follows it.
        count: How many are wanted.

    Raises:
        TooManyJobs: The site takes none at present.
        PoolUnavailable: No scheduler answers.
    """
    most = pool.largest_submission(count)
    if profile is None and not pool.follows_site:
        return count, most
    site = chosen_profile(profile)
    rules = site.queue
    if rules.per_submission is not None:
        most = min(most, rules.per_submission)
    if rules.per_owner is None or rules.max_idle is not None:
        return count, most
    queued = pool.queued_jobs() or 0
    if queued >= rules.per_owner:
        raise TooManyJobs(
            f"{site.title or site.name} lets a person have {rules.per_owner:,} jobs in the queue, and you have {queued:,}",
            hint="wait until some have ended, or cancel some (wingspan list, wingspan cancel)",
        )
    return min(count, rules.per_owner - queued), most


def check_room(pool: Pool, profile: str | None, count: int, what: str) -> None:
    """See that the site takes all of `count` jobs.

    Args:
        pool: Where.
        profile: As for `submittable`.
        count: How many.
        what: Whose jobs they are, for the message: ``"the run"``.

    Raises:
        TooManyJobs: It does not.
        PoolUnavailable: No scheduler answers.
    """
    allowed, _ = submittable(pool, profile, count)
    if allowed < count:
        site = chosen_profile(profile)
        raise TooManyJobs(
            f"{site.title or site.name} lets a person have {site.queue.per_owner:,} jobs in the queue: {what} has {count:,}, and "
            f"only {allowed:,} more are taken now",
            hint="split the sweep, or wait until other jobs of yours have ended; a map needs fewer jobs than it has components",
        )
