"""Any command as plain processes on this machine: the local pool's way of executing runs.

A supervisor, detached from the caller, starts the processes of a submission, as many at a time as there are
cores for them, and appends what happens to ``local.log`` in the run's folder. That it is alive is known by a
lock on ``workers/<cluster>.run``, as with the workers of maps (see `wingspan.pools.local`), so that the same
code ends it.

Each process and its children hold the lock on ``workers/<cluster>.<process>.job``, a file that goes when they
have ended. If the supervisor is killed, nobody could tell how they end. So they are ended: on Linux at once,
elsewhere by the next process that looks at the run.
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
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import attrs

from wingspan._cores import usable_cores
from wingspan._files import append_line
from wingspan._python import this_python
from wingspan.jobs import JobDescription, Submission
from wingspan.pools._base import JobEvent, JobState
from wingspan.pools.outliving import let_go
from wingspan.worker import trust
from wingspan.worker.idle import run_facts

__all__ = ["LocalJobWatcher", "end_orphans", "is_alive", "is_local_job", "lock_holders", "submit_local_job"]

#: What a line raises that a crash has left half-written.
_TORN = (ValueError, TypeError, KeyError, AttributeError)
_PREFIX = "process-"
#: The job's number, as everywhere in a `JobDescription`.
_PROCESS = "$(Process)"
#: Seconds for a job to end by itself before it is killed, and then for what clears up behind it.
_PATIENCE, _CLEARING = 3.0, 1.5


def is_local_job(submission: Submission) -> bool:
    """The jobs were submitted by `submit_local_job`."""
    return submission.cluster.startswith(_PREFIX)


def submit_local_job(job: JobDescription) -> Submission:
    """Start a supervisor for the processes of `job`, in a session of its own."""
    folder = job.working_dir
    assert folder is not None
    cluster = f"{_PREFIX}{os.getpid()}-{time.time_ns()}"
    trust.make_folder(str(folder / "workers"))
    order = {
        "cluster": cluster,
        "note": job.note,
        "count": job.count,
        "cpus": job.resources.cpus,
        "command": [job.executable, *job.arguments],
        "environment": dict(job.environment),
        "stdout": str(job.stdout),
        "stderr": str(job.stderr),
        "time_limit": job.resources.time_limit,
        "patience": _PATIENCE,
    }
    facts = {"cluster": cluster, "proc": job.count - 1, "note": job.note}
    lock = os.open(folder / "workers" / f"{cluster}.run", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        os.pwrite(lock, run_facts(facts, None), 0)
        # The supervisor itself writes its process id: if this process dies here, nothing is half written.
        with open(folder / "workers" / "supervisor.err", "ab", opener=trust.opener) as errors:
            process = subprocess.Popen(
                [this_python(), "-m", __name__, str(folder), json.dumps(order)],
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                start_new_session=True,
                pass_fds=(lock,),
                cwd=folder,  # `python -m` imports from there first: not from the user's own files
            )
        let_go(process)
    finally:
        os.close(lock)
    return Submission(pool="local", cluster=cluster, count=job.count)


class _Supervisor:
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
            _kill(pid, signal.SIGTERM)

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
            _kill(pid, signal.SIGTERM)
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
            if not _kill(pid, signal.SIGKILL if now > deadline else 0) or now > deadline:
                del self.left[pid]
                self.lock_of(process).unlink(missing_ok=True)

    def end(self, *_: object) -> None:
        self.ending = True


def _kill(group: int, which: int) -> bool:
    """Whether a process is in the group."""
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


def orphans(folder: Path, cluster: str = "*") -> list[Path]:
    """Lock files of processes that run on though their supervisor is gone."""
    return [
        path
        for path in sorted((folder / "workers").glob(f"{cluster}.*.job"))
        if not is_alive(path.with_name(f"{path.name.split('.')[0]}.run")) and is_alive(path)
    ]


def end_orphans(folder: Path, cluster: str = "*") -> list[Path]:
    """End processes whose supervisor is gone: SIGTERM, and after `_PATIENCE` seconds SIGKILL.

    Returns:
        The files of those that are still there.
    """
    left = orphans(folder, cluster)
    for path in left:
        try:
            pid, told = ([*map(float, path.read_bytes().split()), 0.0, 0.0])[:2]
        except (OSError, ValueError):
            continue
        if told and time.time() - told > _PATIENCE:
            _kill(int(pid), signal.SIGKILL)
            for holder in lock_holders(path):  # what has left its group
                with contextlib.suppress(OSError):
                    os.kill(holder, signal.SIGKILL)
        elif pid and not told:
            with contextlib.suppress(OSError):
                path.write_bytes(b"%d %.3f" % (pid, time.time()))
            _kill(int(pid), signal.SIGTERM)
    return left


def lock_holders(path: Path) -> list[int]:
    """Processes that have this file open, where the kernel tells (Linux)."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError), os.scandir(process / "fd") as entries:
            for entry in entries:
                with contextlib.suppress(OSError):
                    if path.samefile(entry.path):
                        found.append(int(process.name))
                        break
    return [pid for pid in found if pid != os.getpid()]


@attrs.define
class LocalJobWatcher:
    """Reads ``local.log``; looks at the locks only when asked."""

    submissions: list[Submission]
    folder: Path
    _offset: int = 0

    def poll(self) -> Iterable[JobEvent]:
        events: list[JobEvent] = []
        try:
            with (self.folder / "local.log").open("rb") as file:
                file.seek(self._offset)
                for line in file:
                    if not line.endswith(b"\n"):
                        break
                    self._offset += len(line)
                    with contextlib.suppress(*_TORN):
                        facts = json.loads(line)
                        facts.pop("pid", None)
                        events.append(JobEvent(**{**facts, "state": JobState(facts["state"])}))
        except FileNotFoundError:
            pass
        return events

    def ask(self) -> Iterable[JobEvent]:
        """Those whose supervisor is gone: held by their owner, or lost (the machine was restarted)."""
        if is_alive(self.folder / "lock"):
            return []  # somebody ends jobs, or starts others in their place, this moment
        # Locks first: a supervisor that ends between the two looks has written everything down.
        gone = [
            submission
            for submission in self.submissions
            if not is_alive(self.folder / "workers" / f"{submission.cluster}.run")
        ]
        if not gone:
            return []
        told: dict[tuple[str, int], JobState] = {}
        for event in LocalJobWatcher(self.submissions, self.folder).poll():
            told[(event.cluster, event.proc)] = event.state
        held = (self.folder / "held").exists()
        reason = (
            "held by its owner" if held else "its process is gone: it was ended, or the machine restarted"
        )
        events = []
        for submission in gone:
            ending = {path.name for path in end_orphans(self.folder, submission.cluster)}
            for process in range(submission.count):
                state = told.get((submission.cluster, process), JobState.IDLE)
                if not state.is_final and f"{submission.cluster}.{process}.job" not in ending:
                    events.append(
                        JobEvent(
                            cluster=submission.cluster,
                            proc=process,
                            state=JobState.HELD if held else JobState.REMOVED,
                            time=time.time(),
                            reason=reason,
                            by_person=held,
                        )
                    )
        return events

    def close(self) -> None:
        pass


def is_alive(path: Path) -> bool:
    """Some process holds the lock (flock(2)) on this file."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


if __name__ == "__main__":
    _Supervisor(Path(sys.argv[1]), json.loads(sys.argv[2])).run()
