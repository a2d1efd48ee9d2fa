"""The pool that maps and runs get here: `ensure` has it ready before they are made."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from wingspan.progress import Progress

__all__ = ["ReadyPool", "ensure"]


@attrs.frozen(repr=False)
class ReadyPool:
    """A pool that takes jobs now, and why it is this one.

    Printed, or as the last line of a cell, it is a sentence.

    Attributes:
        kind: ``"personal"``, ``"htcondor"``, ``"slurm"`` or ``"local"``.
        title: What it is, for people.
        reason: Why it was chosen.
        is_fallback: Nothing better was to be had.
    """

    kind: str
    title: str
    reason: str
    is_fallback: bool = False

    def __repr__(self) -> str:
        return f"{self.title} ({self.reason})"


def ensure(name: str | None = None, *, progress: Progress | None = None) -> ReadyPool:
    """Have the pool ready that maps and runs will use, and say which it is.

    The site's pool is used where this machine's configuration names one: HTCondor's (``_condor_SCHEDD_HOST``,
    ``CONDOR_CONFIG``, ``/etc/condor``), or Slurm's. So the execution point beside a notebook of the OSPool
    counts, too. Else the personal pool is started, or found running; where no HTCondor can be had, maps run
    as processes on this machine. May be called any number of times.

    Args:
        name: A kind of pool; None chooses, as maps do.
        progress: Hears of HTCondor being obtained; None: drawn here, if a person looks.

    Raises:
        SettingsError: There is no pool of that name.
        PoolError: The pool that was named cannot be used, or the site's does not answer.
        OnAccessPoint: This machine is a site's access point, and the pool would compute on it.

    >>> ensure("local").kind
    'local'
    """
    from wingspan.pools import choose_pool

    if progress is not None:
        choice = choose_pool(name, progress)
    else:
        from wingspan.maps._display import default_progress

        with default_progress() as drawn:
            choice = choose_pool(name, drawn)
    return ReadyPool(choice.pool.kind, choice.pool.title(), choice.reason, choice.is_fallback)
