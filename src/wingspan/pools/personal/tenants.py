"""Tenants of a personal pool: it runs for as long as there is one, and the last to leave stops it.

A tenant is a process that wants the pool for as long as it lives: `wingspan notebook` is one. Each has a file
in the pool's folder and holds a lock on it, which the kernel drops with the process; a tenant that was killed
is therefore no tenant any more. A pool that somebody else had started is never stopped: ``tenants/.started``
says that the pool was started for tenants.
"""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path
from typing import Literal

from wingspan.pools.personal.locking import exclusive
from wingspan.pools.personal.pool import PersonalPool
from wingspan.worker import trust

__all__ = ["Leaving", "Tenant"]

#: What became of the pool when a tenant left: it was stopped; it stays as it was asked to; others use it;
#: somebody else had started it; or it did not run.
Leaving = Literal["stopped", "kept", "used", "not ours", "not running"]


class Tenant:
    """This process's claim to a personal pool, from `move_in` until `leave`.

    Args:
        pool: The pool.
    """

    def __init__(self, pool: PersonalPool) -> None:
        self.pool: PersonalPool = pool
        self._folder = pool.directory / "tenants"
        self._file = self._folder / f"{os.getpid()}-{os.urandom(4).hex()}"
        self._descriptor: int | None = None

    def move_in(self) -> None:
        """Become a tenant.

        A pool that is started from now on, if it does not run, is started for its tenants.
        """
        trust.make_folder(str(self.pool.directory))
        trust.make_folder(str(self._folder))
        with exclusive(self._folder / ".lock"):
            if not self._others() and self._is_anothers():
                self._started_file.unlink(missing_ok=True)
            self._descriptor = trust.open_file(str(self._file), os.O_RDWR | os.O_CREAT)
            fcntl.flock(self._descriptor, fcntl.LOCK_EX)
            if self._master() is None:
                trust.write_whole(str(self._started_file), b"null\n")

    def note_start(self) -> None:
        """Write down which pool it is that has been started: one that follows it after a crash of the
        machine is another.
        """
        with exclusive(self._folder / ".lock"):
            if self._started_file.exists():
                trust.write_whole(str(self._started_file), json.dumps(self._master()).encode() + b"\n")

    def leave(self, *, keep: bool = False) -> Leaving:
        """Stop the pool if nobody else uses it and it was started for tenants.

        Args:
            keep: Leave it running, also when the other tenants leave.

        Raises:
            PoolError: It cannot be stopped.
        """
        if not self._folder.is_dir():
            return "not running"
        with exclusive(self._folder / ".lock"):
            if self._descriptor is not None:
                self._file.unlink(missing_ok=True)
                os.close(self._descriptor)
                self._descriptor = None
            running = self.pool.status().state == "running"
            if keep:
                self._started_file.unlink(missing_ok=True)
                return "kept" if running else "not running"
            if self._others():
                return "used"
            if not self._started_file.exists():
                return "not ours" if running else "not running"
            self.pool.stop()
            self._started_file.unlink(missing_ok=True)
            return "stopped" if running else "not running"

    @property
    def _started_file(self) -> Path:
        return self._folder / ".started"

    def _is_anothers(self) -> bool:
        """The pool that was started for tenants runs no more, and this one was started by hand after they
        had been killed.
        """
        try:
            started = json.loads(self._started_file.read_text(encoding="utf-8"))
        except (OSError, ValueError):
            return False
        return started is not None and started != self._master()

    def _master(self) -> list[object] | None:
        """What names the pool's running master: its process id, and when the pool was started."""
        status = self.pool.status()
        return [status.master_pid, status.started] if status.state == "running" else None

    def _others(self) -> list[Path]:
        """The files of the living tenants but this one; those of dead ones are removed.

        For use under the lock.
        """
        found = []
        for path in self._folder.iterdir():
            if path.name.startswith(".") or path == self._file:
                continue
            try:
                descriptor = trust.open_file(str(path), os.O_RDWR)
            except FileNotFoundError:
                continue
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                found.append(path)
            else:
                path.unlink(missing_ok=True)
            finally:
                os.close(descriptor)
        return found
