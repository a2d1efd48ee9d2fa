"""Numbers and names that a site asks for: jobs in the queue, accounting, room for files."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Literal

import attrs

from wingspan.errors import SettingsError

__all__ = [
    "AccountingMissing",
    "AccountingRules",
    "QueueRules",
    "Quota",
    "QuotaExceeded",
    "TooManyJobs",
]

#: How a quota is asked for. A profile names one of these, never a command of its own.
QuotaWay = Literal["quota", "lfs", "get_quotas", "fs", "statvfs"]


class AccountingMissing(SettingsError):
    """The site wants an account for each job, and none is given."""


class TooManyJobs(SettingsError):
    """The site lets one person have fewer jobs in the queue."""


class QuotaExceeded(SettingsError):
    """There is not enough room left for what would be written."""


@attrs.frozen(kw_only=True)
class QueueRules:
    """How many jobs a site takes.

    Attributes:
        per_submission: The most jobs of one submission; more become several submissions.
        per_owner: The most jobs that one person may have in the queue.
        max_idle: With this ``max_idle`` a submission may have more jobs than `per_owner`: HTCondor puts only
            so many into the queue at a time.
    """

    per_submission: int | None = None
    per_owner: int | None = None
    max_idle: int | None = None


@attrs.frozen(kw_only=True)
class AccountingRules:
    """What a job must say about the account that it runs on.

    Attributes:
        command: Submit command, such as ``accounting_group``; for Slurm an option of sbatch.
        attributes: Job attributes that HTCondor makes of it: who sets one of these has said it, too.
        example: A value, for people.
        page: Where people read which value is theirs.
    """

    command: str
    attributes: tuple[str, ...] = ()
    example: str = "…"
    page: str | None = None

    def check(self, site: str, submit: Collection[str], custom: Collection[str]) -> None:
        """See that the job says it.

        Args:
            site: Name of the profile.
            submit: Names of the job's submit commands.
            custom: Names of its further attributes.

        Raises:
            AccountingMissing: It is not.
        """
        said = {name.lower() for name in (*submit, *custom)}
        wanted = {name.lower() for name in (self.command, *self.attributes)}
        if said & wanted:
            return
        page = f"; {self.page} says which is yours" if self.page else ""
        raise AccountingMissing(
            f"the site wants {self.command} with every job, and ends a job without it at once; it is not set",
            hint=f'for good: [profile.{site}.every.submit] with {self.command} = "{self.example}" in config.toml; '
            f'for a map: Options(submit={{"{self.command}": "{self.example}"}}){page}',
        )


@attrs.frozen(kw_only=True)
class Quota:
    """How much a person may keep in a folder.

    Attributes:
        name: What it is called: ``home``, ``staging``.
        folder: The folder, with ``{home}``, ``{user}``, ``{letter}`` and ``{host}``.
        size: Bytes that the site gives, where nobody tells how many it is for this person.
        items: Files and folders that it gives; None: it does not count them.
        ask: How this person's numbers are asked for.
    """

    name: str
    folder: str
    size: int | None = None
    items: int | None = None
    ask: QuotaWay = "statvfs"

    def place(self, names: Mapping[str, str]) -> str:
        """The folder of the person that `names` tell of."""
        return self.folder.format_map(names)
