"""The program that supervises the processes of one local submission (see `wingspan.pools.local_job`).

It runs once for each local run, so it imports little: what a person waits for first is its start.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from wingspan._cores import usable_cores
from wingspan._files import append_line
from wingspan.pools._states import JobState
from wingspan.worker import trust
from wingspan.worker.idle import run_facts

TYPE_CHECKING = False  # as in typing, which is not imported here
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

__all__ = ["Supervisor", "end_group"]

#: The job's number, as everywhere in a `JobDescription`.
_PROCESS = "$(Process)"
#: Seconds for what clears up behind a job.
_CLEARING = 1.5


class Supervisor:
    """Runs the processes of one submission."""

    def __init__(self, folder: Path, order: dict[str, Any]) -> None:
        self.folder, self.order = folder, order
        cores = usable_cores()
        self.at_once = max(1, cores // max(1, int(order["cpus"])))
        self.running: dict[int, tuple[int, subprocess.Popen[bytes], float]] = {}
        #: When they are killed: processes that were told to end, and groups of processes whose first has
        #: ended.
        self.told: dict[int, float] = {}
        self.left: dict[int, tuple[float, int]] = {}
        self.untold: list[bytes] = []
        self.ending = False
        facts = {"cluster": order["cluster"], "proc": order["count"] - 1, "note": order["note"]}
        with (folder / "workers" / f"{order['cluster']}.run").open("r+b") as file:
            file.write(run_facts(facts, os.getpid()))

    def tell(self, process: int, state: JobState, **more: object) -> None:
        entry = {
            "cluster": self.order["cluster"],
            "proc": process,
            "state": state.value,
            "time": time.time(),
            **more,
        }
        self.untold.append(json.dumps(entry).encode())
        self.write_down()

    def write_down(self) -> None:
        """Append to the log what is not in it yet; if the disk is full, later."""
        while self.untold:
            try:
                append_line(self.folder / "local.log", self.untold[0])
            except OSError:
                return
            del self.untold[0]

    def run(self) -> None:
        signal.signal(signal.SIGTERM, self.end)
        waiting = list(range(self.order["count"]))
        while (waiting or self.running or self.left) and not self.ending:
            while waiting and len(self.running) < self.at_once and self.start(waiting[0]):
                del waiting[0]
            self.reap()
            self.write_down()
            time.sleep(0.02)
        while self.running or self.left:  # its owner ends it
            for pid in self.running:
                self.tell_to_end(pid)
            self.reap()
            time.sleep(0.01)
        while self.untold and not self.ending:
            self.write_down()
            time.sleep(0.1)

    def start(self, process: int) -> bool:
        """Start one; False if that cannot be done now, as the disk is full."""
        try:
            self._start(process)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            return False
        return True

    def _start(self, process: int) -> None:
        command = [word.replace(_PROCESS, str(process)) for word in self.order["command"]]
        names = [self.order[which].replace(_PROCESS, str(process)) for which in ("stdout", "stderr")]
        lock = os.open(self.lock_of(process), os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with (
                open(names[0], "ab", opener=trust.opener) as out,
                open(names[1], "ab", opener=trust.opener) as err,
            ):
                started = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=out,
                    stderr=err,
                    start_new_session=True,
                    cwd=self.folder,
                    env={**os.environ, **self.order["environment"]},
                    pass_fds=(lock,),
                    preexec_fn=_end_with_parent(),  # noqa: PLW1509 - this process has one thread
                )
            os.pwrite(lock, b"%d" % started.pid, 0)
        finally:
            os.close(lock)
        self.running[started.pid] = (process, started, time.monotonic())
        self.tell(process, JobState.RUNNING, pid=started.pid)

    def lock_of(self, process: int) -> Path:
        return self.folder / "workers" / f"{self.order['cluster']}.{process}.job"

    def tell_to_end(self, pid: int) -> None:
        """Send SIGTERM first, as batch systems do, so that processes can tidy up."""
        if pid not in self.told:
            self.told[pid] = time.monotonic() + self.order["patience"]
            end_group(pid, signal.SIGTERM)

    def reap(self) -> None:
        now, limit = time.monotonic(), self.order["time_limit"]
        for pid, (process, child, started) in list(self.running.items()):
            code = child.poll()
            over = limit is not None and now - started > limit
            if code is None:
                if over:
                    self.tell_to_end(pid)
                if now > self.told.get(pid, now):
                    child.kill()  # and not yet what is to clear up behind it
                continue
            del self.running[pid]
            self.left[pid] = now + _CLEARING, process
            end_group(pid, signal.SIGTERM)
            if self.told.pop(pid, None) is None:
                facts = {"signal": -code} if code < 0 else {"code": code}
                self.tell(process, JobState.COMPLETED, **facts)
            elif over:
                reason = f"it ran for longer than its limit of {limit} s"
                self.tell(process, JobState.REMOVED, reason=reason)
            else:
                self.tell(process, JobState.IDLE, reason="ended by its owner")
        for pid, (deadline, process) in list(self.left.items()):
            # what it left behind ends with it, as with HTCondor
            if not end_group(pid, signal.SIGKILL if now > deadline else 0) or now > deadline:
                del self.left[pid]
                self.lock_of(process).unlink(missing_ok=True)

    def end(self, *_: object) -> None:
        self.ending = True


def end_group(group: int, which: int) -> bool:
    """Send a signal to a group of processes (0: none); whether a process is in it."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, which)
        return True
    return False


def _end_with_parent() -> Callable[[], None] | None:
    """What a new process calls to get SIGTERM when its parent dies (prctl(2)); None where it cannot."""
    if sys.platform != "linux":
        return None
    import ctypes

    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def end_with_parent() -> None:
        prctl(1, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return end_with_parent


if __name__ == "__main__":
    Supervisor(Path(sys.argv[1]), json.loads(sys.argv[2])).run()
