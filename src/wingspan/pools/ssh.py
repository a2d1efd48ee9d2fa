"""The pool of an access point that is reached through SSH, from a machine that has no scheduler: a laptop.

A map or run that is made for it is sent to the access point, whose own Wingspan submits its jobs and looks
after it as if it had been made there. Here lies a copy, which `wingspan.pools.ssh_mirror` keeps up to date.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from wingspan._words import notice
from wingspan.errors import PoolError, PoolUnavailable, SettingsError
from wingspan.jobs import JobDescription, Submission
from wingspan.pools._base import Action, JobEvent, PlainPool
from wingspan.pools.gpus import Gpu
from wingspan.pools.ssh_connection import Address, Connection, connection_to, making_sense
from wingspan.pools.ssh_mirror import PATIENCE, Mirror
from wingspan.progress import NO_PROGRESS, Progress

__all__ = ["SshPool"]


class SshPool(PlainPool):
    """The pool of an access point.

    Args:
        kind: ``ssh://[user@]host[:port][/pool]``.
    """

    elsewhere = True
    shares_files = False

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.address: Address = Address.parse(kind)

    @property
    def connection(self) -> Connection:
        """The connection of this process; opened if there is none.

        Raises:
            PoolUnavailable: The access point cannot be reached.
        """
        return connection_to(self.address)

    def title(self) -> str:
        """What it is, for people."""
        return f"{self.address.name}, through SSH"

    def launch(self) -> tuple[str, tuple[str, ...], bool]:
        """Its jobs are submitted over there."""
        raise PoolError(f"jobs of {self.kind} are submitted on the access point", hint=None)

    def make_ready(self, progress: Progress = NO_PROGRESS) -> None:
        """Connect, and have the access point make its pool ready.

        Raises:
            PoolError: One of both cannot be done.
        """
        self.connection.progress = progress
        told = self.connection.ask("pool", pool=self.address.pool)[0]
        with making_sense(self.address):
            self.own: bool = bool(told["own"])
            self.sends_mail: bool = bool(told["sends_mail"])
            self.rewards_short_jobs: bool = bool(told["rewards_short_jobs"])

    def default_workers(self, count: int) -> int:
        """As the access point says."""
        told = self.connection.ask("workers", pool=self.address.pool, count=count)[0]
        with making_sense(self.address):
            return int(told["workers"])

    def gpus(self) -> list[Gpu]:
        """It does not list them here."""
        raise PoolError(
            f"GPUs of {self.kind} are not listed from here",
            hint=f"ssh {self.address.host} wingspan gpus",
        )

    def submit(self, job: JobDescription) -> Submission:
        """Only whole maps and runs are sent."""
        raise PoolError(
            f"{self.kind} takes maps and runs as a whole, and no single jobs",
            hint=f"do this on the access point: ssh {self.address.host}",
        )

    def describe(self, job: JobDescription) -> str:
        """It is described over there."""
        raise SettingsError(
            f"jobs of {self.kind} are described on the access point",
            hint=f"ssh {self.address.host} wingspan render …",
        )

    # What is done to a map or run that is there.

    def act(self, action: Action, submissions: Sequence[Submission], folder: Path, reason: str) -> None:
        """Have it done over there, to all jobs of the map or run."""
        if not folder.name.startswith("."):  # else it was removed here, and before that over there
            Mirror(folder, self.kind).change("act", action=action, reason=reason)

    def find(self, folder: Path, *, ask: bool) -> list[tuple[Submission, str]]:
        """The access point looks after that."""
        return []

    def why_waiting(self, submissions: Sequence[Submission], folder: Path) -> str | None:
        """As the access point says."""
        mirror = Mirror(folder, self.kind)
        waiting = mirror.ask("why").get("waiting")
        return None if waiting is None else str(waiting)

    def watch(self, submissions: Sequence[Submission], folder: Path) -> SshWatcher:
        """Follow the jobs by looking at the copy of the map or run."""
        return SshWatcher(Mirror(folder, self.kind))


class SshWatcher:
    """Brings what is new of a map or run, and tells what has become of its jobs."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._seen, self._is_silent = (0, 0), False

    def poll(self) -> Iterable[JobEvent]:
        """What happened since the last call.

        Where the access point does not answer, nothing is known to have happened: a notice says so.

        Raises:
            PoolUnavailable: It has not answered for minutes.
        """
        try:
            self._mirror.look(reconcile=True)
        except PoolUnavailable as error:
            if self._mirror.silent_seconds > PATIENCE:
                raise
            if not self._is_silent:
                notice(f"{error.message}; its jobs are shown as they were known last")
            self._is_silent = True
        else:
            self._is_silent = False
        new, self._seen = self._mirror.events_since(self._seen)
        return new

    def ask(self) -> Iterable[JobEvent]:
        """The access point asks its scheduler when that is due."""
        return self.poll()

    def close(self) -> None:
        """The connection stays, for others."""
