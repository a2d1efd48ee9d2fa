"""The attendant of a Jupyter server: a process that has the pool ready and stops it when the server has
ended.

It is a process of its own for two reasons: the pool starts while Jupyter does; and it outlives a server that
was killed. The server holds the other end of the attendant's standard input, which the kernel closes with the
server.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from wingspan._words import counted
from wingspan.errors import WingspanError

if TYPE_CHECKING:
    from wingspan.pools.personal import Tenant

__all__ = ["NOTE", "main", "start_attendant"]

#: Environment variable of the server: the file that the attendant writes what the page shows of the pool to.
NOTE = "_WINGSPAN_POOL_NOTE"


def start_attendant(note: Path, *, keep: bool) -> subprocess.Popen[bytes]:
    """Start an attendant; closing its ``stdin`` has it stop the pool and end.

    Args:
        note: Where it writes what the page shows of the pool.
        keep: The pool stays when the attendant ends.
    """
    options = ["--keep-pool"] if keep else []
    return subprocess.Popen(
        [sys.executable, "-m", "wingspan.notebooks.attendant", str(note), *options],
        stdin=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C in the terminal is the server's affair
    )


def main(arguments: list[str]) -> int:
    """Have the pool ready, wait for the server to end, stop the pool."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Thread(target=_interrupt_at_the_end, daemon=True).start()
    tenant = None
    try:
        tenant = _tenant()
        _make_ready(tenant, Path(arguments[0]))
        threading.Event().wait()
    except KeyboardInterrupt:
        pass
    finally:
        for number in (signal.SIGINT, signal.SIGTERM):  # a second one must not break off what stops the pool
            signal.signal(number, signal.SIG_IGN)
        if tenant is not None:
            _leave(tenant, keep="--keep-pool" in arguments)
    return 0


def _interrupt_at_the_end() -> None:
    """Interrupt the main thread, whatever it does, when the server has ended."""
    with contextlib.suppress(OSError):
        sys.stdin.buffer.read()
    os.kill(os.getpid(), signal.SIGINT)


def _tenant() -> Tenant | None:
    """A tenant of the personal pool, if that is the one that maps will use, as far as can be told without
    asking anybody.
    """
    from wingspan.pools import personal_pool

    try:
        if personal_pool() is not None:
            from wingspan.pools.personal import PersonalPool, Tenant

            tenant = Tenant(PersonalPool())
            tenant.move_in()
            return tenant
    except (WingspanError, OSError):  # told when the pool is made ready
        pass
    return None


def _make_ready(tenant: Tenant | None, note: Path) -> None:
    from wingspan.pool import ensure
    from wingspan.pools import personal_pool

    try:
        ready = ensure(progress=_Lines())
    except WingspanError as error:
        # The server goes on: maps say the same when they are made, and a site's pool may come back.
        _say(f"There is no pool: {error}")
        _write_note(note, "Pool: none", f"There is no pool: {error}")
        return
    if tenant is not None and personal_pool(ready.kind) is not None:
        tenant.note_start()
    _say(f"Maps run on {ready}.")
    _write_note(note, f"Pool: {ready.kind}", f"Maps run on {ready}.")


def _write_note(note: Path, short: str, text: str) -> None:
    """Write what the page shows; see `wingspan.notebooks.page`."""
    from wingspan.worker import trust

    with contextlib.suppress(OSError):
        told = {"ready": True, "short": short, "text": text}
        trust.write_whole(str(note), json.dumps(told).encode())


def _leave(tenant: Tenant, *, keep: bool) -> None:
    jobs = tenant.pool.unfinished_jobs()
    try:
        what = tenant.leave(keep=keep)
    except WingspanError as error:
        _say(str(error))
        return
    if what == "stopped":
        waiting = (
            f"; {counted(jobs, 'job')} in its queue will go on when it is started again: wingspan pool start"
            if jobs
            else ""
        )
        _say(f"The personal pool is stopped{waiting}.")
    elif what == "kept":
        _say("The personal pool stays: wingspan pool stop stops it.")
    elif what == "used":
        _say("The personal pool stays, as another notebook uses it.")


def _say(text: str) -> None:
    """Print a line for people on the terminal, among the lines of Jupyter's log."""
    from wingspan._shown import shown

    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(f"[wingspan] {shown(text)}\n")
        sys.stderr.flush()


class _Lines:
    """Says what begins, if it is worth a line: HTCondor being downloaded, say."""

    def start(self, description: str, total: float | None = None) -> int:
        _say(f"{description} …")
        return 0

    def advance(self, task: int, amount: float = 1) -> None:
        pass

    def finish(self, task: int) -> None:
        pass


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
